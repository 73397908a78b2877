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

static void buffer_free(void *buffer)
{
	munmap(buffer, PAGE); /* and not from the device */
}

int main(void)
{
	driver_start();
	buffer_free(buffer_new());
	nvme_rw(false, 0, PAGE, DATA_IOVA);
	driver_stop();
}
