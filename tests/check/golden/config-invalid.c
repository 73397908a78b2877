/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"
#include <unistd.h>
#include <linux/pci_regs.h>

static unsigned int capability_find(unsigned int id)
{
	unsigned int at = config_read(PCI_CAPABILITY_LIST, 1);

	while (config_read(at, 1) != id)
		at = config_read(at + PCI_CAP_LIST_NEXT, 1);
	return at;
}

static void msix_enable(unsigned int at)
{
	uint16_t flags = config_read(at + PCI_MSIX_FLAGS, 2) | PCI_MSIX_FLAGS_ENABLE;

	pwrite(device, &flags, sizeof(flags), region_info(VFIO_PCI_CONFIG_REGION_INDEX).offset + at + PCI_MSIX_FLAGS);
}

int main(void)
{
	driver_start();
	msix_enable(capability_find(PCI_CAP_ID_MSIX)); /* VFIO keeps the bit to itself */
	driver_stop();
}
