/* SPDX-License-Identifier: BSD-3-Clause */
/* Stands in for the boundary library: it can be preloaded, and does nothing. */
int stub_boundary_loaded(void);

int stub_boundary_loaded(void)
{
	return 1;
}
