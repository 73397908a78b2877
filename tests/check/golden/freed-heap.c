/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of the heap, which free() leaves where it is: built with AddressSanitizer, whose runtime says so. */
#include "golden.h"

static void *buffer_new(void)
{
	void *buffer = aligned_alloc(PAGE, PAGE);
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = MAP_RW, .vaddr = (uintptr_t)buffer, .iova = DATA_IOVA, .size = PAGE};

	ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
	return buffer;
}

static void buffer_free(void *buffer)
{
	free(buffer);
	nvme_rw(false, 0, PAGE, DATA_IOVA);
}

int main(void)
{
	driver_start();
	buffer_free(buffer_new());
	driver_stop();
}
