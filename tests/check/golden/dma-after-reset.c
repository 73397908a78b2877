/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void controller_disable(volatile uint32_t *bar)
{
	bar[0x14 / 4] = 0; /* CC */
}

static void queues_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = NVME_IOVA, .size = 5 * PAGE};

	ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u);
}

/* The new queues are elsewhere, and nobody says so: a reset through CC.EN leaves ASQ and ACQ as they were. */
static void controller_enable(volatile uint32_t *bar)
{
	bar[0x14 / 4] = 4 << 20 | 6 << 16 | 1; /* CC */
	bar[0x1000 / 4] = 1;		       /* there is a command in the admin queue */
}

int main(void)
{
	driver_start();
	controller_disable(nvme_bar());
	queues_unmap();
	controller_enable(nvme_bar());
	device_close();
}
