/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void buffer_map(void *buffer, uint64_t size)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = DATA_IOVA, .size = size};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static void buffer_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u);
}

int main(void)
{
	driver_start();
	buffer_map(pages_alloc(PAGE), PAGE);
	buffer_unmap(); /* too early */
	nvme_rw(false, 0, PAGE, DATA_IOVA);
	driver_stop();
}
