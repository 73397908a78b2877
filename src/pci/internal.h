/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the PCI core share and nobody else calls. */
#ifndef PINFOLD_PCI_INTERNAL_H
#define PINFOLD_PCI_INTERNAL_H

#include "pci/pci.h"

static inline uint32_t cfg_get(const uint8_t *p, unsigned int size)
{
	uint32_t v = 0;

	for (unsigned int i = 0; i < size; i++)
		v |= (uint32_t)p[i] << (8 * i);
	return v;
}

static inline void cfg_put(uint8_t *p, unsigned int size, uint32_t v)
{
	for (unsigned int i = 0; i < size; i++)
		p[i] = v >> (8 * i);
}

static inline uint32_t cfg_get16(const struct pci_func *f, unsigned int off)
{
	return cfg_get(f->cfg + off, 2);
}

/* Recomputes what struct pci_func derives from cfg. True if decode, master or the power state changed. */
bool pci_state_update(struct pci_func *f);

void pci_peers_init(struct pci_func *f); /* peer.c */
void pci_peers_fini(struct pci_func *f);

/* func.c: resets everything but leaves it to the caller to say why. */
void pci_cfg_reset(struct pci_func *f); /* config.c: writable bits to their reset values */
void pci_bar_place(struct pci_func *f); /* bar.c: bus addresses from domain and bdf */
void pci_bars_free(struct pci_func *f);
void pci_bars_decode_changed(struct pci_func *f);

void pci_intx_update(struct pci_func *f); /* intx.c: the line, after what it depends on has changed */

/* msi.c: sends what pends and may go */
void pci_msi_update(struct pci_func *f);

/* msix.c */
void pci_msix_reset(struct pci_func *f);
void pci_msix_update(struct pci_func *f); /* msix_live; delivers what pends when it turns true */
/* The capability's control word went from old to what cfg says. */
void pci_msix_control_changed(struct pci_func *f, uint32_t old);
/*
 * Access to the part of a BAR that may hold the table or the PBA. False: it touches neither, ask the device.
 */
bool pci_msix_mmio_read(struct pci_func *f, uint64_t off, unsigned int size, uint64_t *val);
bool pci_msix_mmio_write(struct pci_func *f, uint64_t off, unsigned int size, uint64_t val);

#endif
