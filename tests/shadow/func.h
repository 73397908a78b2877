/* SPDX-License-Identifier: BSD-3-Clause */
/* A PCI function that does nothing, dressed as an NVMe controller. */
#ifndef PINFOLD_TESTS_SHADOW_FUNC_H
#define PINFOLD_TESTS_SHADOW_FUNC_H

#include <stdint.h>

struct pci_func;

/* Aborts if it cannot. */
void func_make(struct pci_func *f, uint16_t bdf, unsigned int group);

#endif
