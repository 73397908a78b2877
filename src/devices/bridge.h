/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports of a root complex and of switches. Their configuration is the topology; nothing is routed by it. */
#ifndef PINFOLD_DEVICES_BRIDGE_H
#define PINFOLD_DEVICES_BRIDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "pci/pci.h"

bool bridge_is(const struct pci_func *f);
/* PCI_EXP_TYPE_ROOT_PORT, _UPSTREAM or _DOWNSTREAM for a bridge; PCI_EXP_TYPE_ENDPOINT for anything else. */
unsigned int bridge_type(const struct pci_func *f);
/* The bus below; 0: not given. */
unsigned int bridge_secondary(const struct pci_func *f);
/* Once it and all below it have their places: its buses, and the memory that is behind it. */
void bridge_set_buses(struct pci_func *f, unsigned int secondary, unsigned int subordinate);
/* What is below: whether the slot holds anything, and whether the link to it is up. */
void bridge_set_link(struct pci_func *f, bool present, bool up);

#endif
