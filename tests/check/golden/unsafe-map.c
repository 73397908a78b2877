/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void peer_map(volatile void *bar)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)bar, .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

int main(void)
{
	driver_start();
	peer_map(nvme_bar());
	driver_stop();
}
