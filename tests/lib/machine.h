/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a device under test is plugged into: memory behind an IOVA space, a loop, and the other side of its function,
 * which it calls as the VFIO layer would. A failed CHECK aborts: fuzz targets use this file too.
 */
#ifndef PINFOLD_TESTS_LIB_MACHINE_H
#define PINFOLD_TESTS_LIB_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/event.h"
#include "base/loop.h"
#include "check.h"
#include "pci/pci.h"

#define MACHINE_PAGE	4096UL
#define MACHINE_VECTORS 65

struct machine {
	struct loop *loop;
	struct events evs;
	struct event_listener listener;
	unsigned int faults;
	char fault_line[256]; /* the last one's */
	bool fault_old;	      /* it says that its address is from before a reset */
	uint64_t written;     /* bytes that the device wrote */
	struct backing_cache *cache;
	struct mm_owner *owner;
	struct pages *pages; /* all of mem */
	struct ioas *ioas;
	struct domain *domain;
	uint8_t *mem; /* a file, mapped */
	uint64_t len;
	int memfd;
	struct pci_func *f;
	struct pci_irq_sink sink;
	unsigned int irqs[MACHINE_VECTORS];
	bool line;	    /* INTx */
	unsigned int edges; /* how often it was asserted */
};

/* len bytes of memory, mapped nowhere. last: the highest IOVA. */
void machine_open(struct machine *m, uint64_t len, uint64_t last);
void machine_map(struct machine *m, uint64_t iova, uint64_t off, uint64_t len, int prot); /* IOMMU_READ, _WRITE */
/* The function of a device specification, decoding, mastering the bus; MSI-X is on, every vector unmasked. */
void machine_plug(struct machine *m, const char *spec);
void machine_stop(struct machine *m); /* the function, for its state to be saved or loaded */
/* Its state and identity, at most max bytes, as a blob for pci_load(). Returns the length. */
size_t machine_save(struct machine *m, uint8_t *blob, size_t max);
void machine_unplug(struct machine *m); /* destroys the function */
void machine_close(struct machine *m);	/* after it */

#endif
