/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSI with 64-bit addresses and per-vector masking, PCI Local Bus 3.0 section 6.8.1. The same invariant as for MSI-X:
 * no vector pends that could be sent.
 */
#include <errno.h>
#include <linux/pci_regs.h>

#include "base/event.h"
#include "pci/inject.h"
#include "pci/internal.h"

#define MSI_BYTES 24

static uint32_t control(const struct pci_func *f)
{
	return cfg_get16(f, f->msi_cap + PCI_MSI_FLAGS);
}

bool pci_msi_enabled(const struct pci_func *f)
{
	return f->msi_cap && control(f) & PCI_MSI_FLAGS_ENABLE;
}

/* Multiple Message Enable, which software may set to more than the function asked for. */
static unsigned int vectors(const struct pci_func *f)
{
	return MIN(1U << ((control(f) & PCI_MSI_FLAGS_QSIZE) >> 4), f->msi_n);
}

int pci_add_msi(struct pci_func *f, unsigned int n)
{
	int off;

	if (!n || n > PCI_MSI_MAX || n & (n - 1) || f->msi_cap)
		return -EINVAL;
	off = pci_add_cap(f, PCI_CAP_ID_MSI, MSI_BYTES);
	if (off < 0)
		return off;
	pci_cfg_define(f, off + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | __builtin_ctz(n) << 1,
		       PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE, 0);
	pci_cfg_define(f, off + PCI_MSI_ADDRESS_LO, 4, 0, ~3U, 0);
	pci_cfg_define(f, off + PCI_MSI_ADDRESS_HI, 4, 0, ~0U, 0);
	pci_cfg_define(f, off + PCI_MSI_DATA_64, 2, 0, 0xffff, 0);
	pci_cfg_define(f, off + PCI_MSI_MASK_64, 4, 0, (uint32_t)(BIT64(n) - 1), 0);
	pci_cfg_define(f, off + PCI_MSI_PENDING_64, 4, 0, 0, 0);
	f->msi_cap = off;
	f->msi_n = n;
	return 0;
}

static uint32_t pending(const struct pci_func *f)
{
	return cfg_get(f->cfg + f->msi_cap + PCI_MSI_PENDING_64, 4);
}

static void set_pending(struct pci_func *f, uint32_t bits)
{
	cfg_put(f->cfg + f->msi_cap + PCI_MSI_PENDING_64, 4, bits);
}

void pci_msi_update(struct pci_func *f)
{
	uint32_t send;

	if (likely(!f->msi_cap))
		return;
	if (!pci_msi_enabled(f)) {
		/*
		 * What a disabled MSI left pending must not reach whoever enables it next; but of a function that is
		 * stopped it may have come with its state.
		 */
		if (f->run != PCI_STOPPED)
			set_pending(f, 0);
		return;
	}
	if (!f->master || f->run == PCI_STOPPED)
		return;
	send = pending(f) & ~cfg_get(f->cfg + f->msi_cap + PCI_MSI_MASK_64, 4);
	set_pending(f, pending(f) & ~send);
	for (; send; send &= send - 1) {
		unsigned int v = __builtin_ctz(send);
		bool heard = f->sink && f->sink->msi;

		event_emit(f->evs, EVENT_IRQ, .who = f->bdf, .value = v, .error = heard ? 0 : ENOTCONN);
		if (heard)
			f->sink->msi(f->sink, v);
	}
}

void pci_msi_raise(struct pci_func *f, unsigned int v)
{
	if (!f->msi_cap || v >= f->msi_n || f->away || inject_irq(f, v))
		return;
	if (!pci_msi_enabled(f)) {
		event_emit(f->evs, EVENT_IRQ, .who = f->bdf, .value = v, .error = ENOTCONN);
		return;
	}
	/* With fewer messages than vectors, several vectors share one. */
	set_pending(f, pending(f) | BIT(v % vectors(f)));
	pci_msi_update(f);
}

void pci_msi_enable(struct pci_func *f, unsigned int n)
{
	uint32_t ctl;

	if (!f->msi_cap)
		return;
	ctl = control(f) & ~(uint32_t)(PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	if (n)
		ctl |= PCI_MSI_FLAGS_ENABLE | (n > 1 ? 32 - __builtin_clz(n - 1) : 0) << 4;
	if (!n || f->run != PCI_STOPPED)
		set_pending(f, 0);
	cfg_put(f->cfg + f->msi_cap + PCI_MSI_FLAGS, 2, ctl);
	cfg_put(f->cfg + f->msi_cap + PCI_MSI_MASK_64, 4, 0);
	pci_msix_update(f); /* the pin follows */
}
