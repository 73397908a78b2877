/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void ring(volatile uint32_t *bar)
{
	bar[(0x1000 + 2 * 9 * 4) / 4] = 1; /* the doorbell of submission queue 9 */
}

int main(void)
{
	driver_start();
	ring(nvme_bar()); /* there are queues 0 and 1 */
	driver_stop();
}
