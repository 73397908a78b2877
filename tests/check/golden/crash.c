/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <signal.h>

/* No class of finding: what becomes of a report when the program dies. */
int main(void)
{
	driver_start();
	nvme_rw(false, 0, PAGE, 16 * DATA_IOVA);
	raise(SIGSEGV);
}
