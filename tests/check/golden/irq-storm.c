/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"
#include <sys/eventfd.h>

#define COMMANDS 6000

static void interrupts_enable(void)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd[2];
	} s = {.h = {.argsz = sizeof(s),
		     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		     .index = VFIO_PCI_MSIX_IRQ_INDEX,
		     .count = 2},
	       .fd = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)}};

	ioctl(device, VFIO_DEVICE_SET_IRQS, &s); /* and nobody ever reads them */
}

int main(void)
{
	driver_start();
	interrupts_enable();
	for (int i = 0; i < COMMANDS; i++)
		nvme_identify(1, 0, NVME_IOVA + 4 * PAGE); /* looks into the queue until the answer is there */
	driver_stop();
}
