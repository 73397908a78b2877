/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stopping a function, saving its state, and giving it the state of another one.
 *
 *   running  <->  quiet  <->  stopped        save: quiet or stopped; load: stopped
 *
 * What is saved: what software can write in configuration space, which interrupts pend, and what the device adds
 * (pci_func_ops). What is not, because it belongs to whoever has the function open: where interrupts go and whether
 * MSI-X is on, and the BARs' addresses.
 */
#ifndef PINFOLD_PCI_MIGRATE_H
#define PINFOLD_PCI_MIGRATE_H

#include <stddef.h>
#include "base/util.h"
#include "pci/pci.h"
#include "pci/precopy.h"
#include "pci/state.h"

/* Of a BAR's memory, as a record has it. */
struct state_page {
	uint64_t off;
	uint8_t data[PF_PAGE_SIZE];
};
_Static_assert(sizeof(struct state_page) == 8 + PF_PAGE_SIZE, "the layout is the format");

#define STATE_EARLY "pci.early" /* memory saved while the function ran: the BAR's number, then pages */

bool pci_can_migrate(const struct pci_func *f);

/* Of a running function, which is quiet from now on. As pci_func_ops.quiesce; on an error it runs again. */
int pci_quiesce(struct pci_func *f);
void pci_stop(struct pci_func *f);   /* a quiet one */
void pci_unstop(struct pci_func *f); /* back to quiet; delivers what pends */
void pci_run(struct pci_func *f);    /* from any state */

/*
 * The parts of a saved state: what the function is, which is known at any time, and the rest. Both into one o, in this
 * order. pci_save: 0 or -ENOMEM.
 */
void pci_save_identity(struct pci_func *f, struct state_out *o);
int pci_save(struct pci_func *f, struct state_out *o);
/* The same after p has been at work, into what p was made for. NULL: it has not. */
int pci_save_after(struct pci_func *f, struct state_out *o, struct precopy *p);
/* How many bytes both parts would have now, to be taken as an estimate. */
size_t pci_save_size(struct pci_func *f);
/* More than any state of this function needs. */
size_t pci_save_max(const struct pci_func *f);
/* 0, -EINVAL (not a state of such a function, or not a sound one), -ENOMEM. On error nothing has changed. */
int pci_load(struct pci_func *f, const void *buf, size_t len);

#endif
