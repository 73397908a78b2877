/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void source_map(void *buffer)
{
	struct vfio_iommu_type1_dma_map m = {.argsz = sizeof(m),
					     .flags = VFIO_DMA_MAP_FLAG_READ,
					     .vaddr = (uintptr_t)buffer,
					     .iova = DATA_IOVA,
					     .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

int main(void)
{
	driver_start();
	source_map(pages_alloc(PAGE));
	nvme_rw(false, 0, PAGE, DATA_IOVA); /* reading a disk writes memory */
	driver_stop();
}
