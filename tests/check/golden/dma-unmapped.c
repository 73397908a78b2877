/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

int main(void)
{
	driver_start();
	nvme_rw(false, 0, PAGE, 16 * DATA_IOVA); /* an address that nothing was mapped at */
	driver_stop();
}
