/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void vector_disable(void)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd;
	} s = {.h = {.argsz = sizeof(s),
		     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		     .index = VFIO_PCI_MSIX_IRQ_INDEX,
		     .start = 1,
		     .count = 1},
	       .fd = -1};

	ioctl(device, VFIO_DEVICE_SET_IRQS, &s);
}

int main(void)
{
	driver_start_msix();
	vector_disable(); /* the completion queue still has its interrupt enabled */
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	while (!nvme_has_completion())
		;
	driver_stop();
}
