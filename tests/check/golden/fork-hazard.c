/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <sys/wait.h>
#include <unistd.h>

static void buffer_map(void *buffer)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static void buffer_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u);
}

static void helper(void)
{
	buffer_unmap(); /* cleans up what it has inherited */
	_exit(0);
}

int main(void)
{
	driver_start();
	buffer_map(pages_alloc(PAGE));
	if (!fork())
		helper();
	wait(NULL);
	nvme_rw(false, 0, PAGE, DATA_IOVA);
	driver_stop();
}
