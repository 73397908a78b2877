/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A function's BARs as peer memory (mm/peer.h).
 *
 * They are a user of the function's memory like any other (struct pci_mem_user): the end of decode, whatever it is that
 * ends it, takes everything back and drops what has been posted, before the call that caused it returns (rule A4).
 *
 * Writes of other devices to registers are posted: they are carried out from the loop, in order, when the DMA that they
 * came with is over. A device that acted on them at once could be in the midst of its own work, or have its own DMA end
 * in the registers of the one that waits for it. Reads push what was posted before them, unless the function itself is
 * waiting for an answer (then it would read its own registers through a loop of devices).
 */
#ifndef PINFOLD_PCI_PEER_H
#define PINFOLD_PCI_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mm_owner;
struct pages;
struct pci_func;

/* Takes all memory of the function's back from other devices: for when it goes without decode being switched off. */
void pci_peers_revoke(struct pci_func *f);

/*
 * Is that a file through which clients map the function's memory? As memory of a client's it would be out of reach of
 * all this: nothing could be revoked, and nobody would be asked.
 */
bool pci_owns_file(const struct pci_func *f, dev_t dev, ino_t ino);

/*
 * [off, off + len) of a BAR, page aligned, as pages that go by client addresses from va on. legacy: whoever gets at
 * them may have them (rule B3). 0, -ENODEV (memory is off), -EINVAL (not within the BAR), -ENOMEM.
 */
int pci_bar_pages(struct pci_func *f, unsigned int bar, uint64_t off, uint64_t len, uint64_t va, bool legacy,
		  struct mm_owner *who, struct pages **out);

#endif
