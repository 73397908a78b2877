/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void buffer_map(void *buffer)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = DATA_IOVA, .size = 4 * PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static void buffer_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = DATA_IOVA + 16 * PAGE, .size = 4 * PAGE};

	ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u); /* succeeds, and u.size is 0 now */
}

int main(void)
{
	driver_start();
	buffer_map(pages_alloc(4 * PAGE));
	buffer_unmap();
	driver_stop();
}
