/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <sys/mman.h>

static void *buffer_new(void)
{
	void *buffer = pages_alloc(PAGE);
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
	return buffer;
}

static void buffer_clear(void *buffer)
{
	madvise(buffer, PAGE, MADV_DONTNEED); /* zeros, in a new page */
}

int main(void)
{
	void *buffer;

	driver_start();
	buffer = buffer_new();
	buffer_clear(buffer);
	nvme_rw(false, 0, PAGE, DATA_IOVA);
	driver_stop();
}
