/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <unistd.h>
#include <linux/pci_regs.h>

static void mastering_stop(void)
{
	uint16_t command = config_read(PCI_COMMAND, 2) & ~PCI_COMMAND_MASTER;

	pwrite(device, &command, sizeof(command), region_info(VFIO_PCI_CONFIG_REGION_INDEX).offset + PCI_COMMAND);
}

int main(void)
{
	driver_start();
	mastering_stop();
	nvme_put_read(0, NVME_IOVA);
	nvme_ring(); /* the controller cannot fetch the command */
	driver_stop();
}
