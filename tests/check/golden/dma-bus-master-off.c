/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <linux/pci_regs.h>

static void mastering_stop(void)
{
	config_write(PCI_COMMAND, 2, config_read(PCI_COMMAND, 2) & ~PCI_COMMAND_MASTER);
}

int main(void)
{
	driver_start();
	mastering_stop();
	nvme_put_read(0, NVME_IOVA);
	nvme_ring(); /* the controller cannot fetch the command */
	driver_stop();
}
