/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#define POOL_SIZE (480 * 1024) /* of 512 KiB, most of the time */

static void pool_map(void *pool)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)pool, .iova = DATA_IOVA, .size = POOL_SIZE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

int main(void)
{
	driver_start();
	pool_map(pages_alloc(POOL_SIZE));
	nvme_rw(false, 0, PAGE, DATA_IOVA);
	driver_stop();
}
