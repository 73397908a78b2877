/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void version_set(volatile uint32_t *bar)
{
	bar[8 / 4] = 0x10400; /* VS */
}

int main(void)
{
	driver_start();
	version_set(nvme_bar());
	driver_stop();
}
