/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <unistd.h>
#include <linux/pci_regs.h>

static void status_read(uint64_t bar)
{
	uint32_t status;

	pread(device, &status, sizeof(status), bar + 0x1c); /* CSTS */
}

int main(void)
{
	uint32_t command;

	driver_start();
	command = config_read(PCI_COMMAND, 2);
	config_write(PCI_COMMAND, 2, command & ~PCI_COMMAND_MEMORY);
	status_read(region_info(VFIO_PCI_BAR0_REGION_INDEX).offset);
	config_write(PCI_COMMAND, 2, command);
	driver_stop();
}
