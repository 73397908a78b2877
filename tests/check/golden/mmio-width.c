/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void disable(volatile uint8_t *bar)
{
	bar[0x14] = 0; /* one byte of CC */
}

int main(void)
{
	driver_start();
	disable(nvme_bar());
	driver_stop();
}
