/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interrupt pin, PCI Local Bus 3.0 section 2.2.6: a level, which stays until the device has been served. The device
 * says whether it wants service; whether the line follows is the core's to know.
 */
#include <linux/pci_regs.h>

#include "base/event.h"
#include "pci/internal.h"

void pci_add_intx(struct pci_func *f)
{
	pci_cfg_define(f, PCI_INTERRUPT_PIN, 1, 1 /* INTA# */, 0, 0);
}

/* Section 6.2.3: the status bit shows what the device wants, also while COMMAND says that the line does not. */
void pci_intx_update(struct pci_func *f)
{
	bool enabled =
	    !(cfg_get16(f, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) && !pci_msix_enabled(f) && !pci_msi_enabled(f);
	bool level = f->intx_wanted && enabled && f->d0 && !f->away && f->run != PCI_STOPPED;

	f->cfg[PCI_STATUS] = (f->cfg[PCI_STATUS] & ~PCI_STATUS_INTERRUPT) | (f->intx_wanted ? PCI_STATUS_INTERRUPT : 0);
	if (likely(level == f->intx_level))
		return;
	f->intx_level = level;
	if (!f->sink || !f->sink->intx)
		return;
	if (level)
		event_emit(f->evs, EVENT_IRQ, .who = f->bdf);
	f->sink->intx(f->sink, level);
}

void pci_intx_set(struct pci_func *f, bool on)
{
	if (likely(on == f->intx_wanted))
		return;
	f->intx_wanted = on;
	pci_intx_update(f);
}
