/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void first_map(void *buffer)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = DATA_IOVA, .size = 4 * PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static void first_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = DATA_IOVA - 4 * PAGE, .size = 4 * PAGE};

	ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u); /* not what was mapped: it succeeds, and u.size is 0 */
}

static void second_map(void *buffer)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m); /* EEXIST, and nobody looks */
}

int main(void)
{
	driver_start();
	first_map(pages_alloc(4 * PAGE));
	first_unmap();
	second_map(pages_alloc(PAGE));
	nvme_rw(false, 0, PAGE, DATA_IOVA);
	driver_stop();
}
