/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"
#include <unistd.h>

static void past_the_end_read(struct vfio_region_info r)
{
	uint32_t v;

	pread(device, &v, sizeof(v), r.offset + r.size);
}

int main(void)
{
	driver_start();
	past_the_end_read(region_info(VFIO_PCI_BAR0_REGION_INDEX));
	driver_stop();
}
