/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <sys/mman.h>

static void bar_map(void *bar)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)bar, .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

int main(void)
{
	uint64_t offset;

	driver_start();
	offset = region_info(VFIO_PCI_BAR2_REGION_INDEX).offset;
	bar_map(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, offset));
	nvme_rw(false, 0, PAGE, DATA_IOVA);
	driver_stop();
}
