/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void buffer_map(void *buffer, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = iova, .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static void buffer_unmap(uint64_t iova)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = iova, .size = PAGE};

	ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u);
}

static unsigned int block_of(unsigned int i)
{
	return i == 3 ? 1U << 30 : i; /* far beyond the end */
}

static void request(void *buffer, uint64_t iova, unsigned int block)
{
	buffer_map(buffer, iova);
	if (nvme_rw(false, block, PAGE, iova))
		return; /* and the mapping stays */
	buffer_unmap(iova);
}

int main(void)
{
	driver_start();
	for (unsigned int i = 0; i < 32; i++)
		request(pages_alloc(PAGE), DATA_IOVA + i * PAGE, block_of(i));
	nvme_stop();
	device_close();
}
