/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function that remembers what reached it. The engine is replaced by a flag, so that these tests need nothing
 * below the PCI layer but the event stream.
 */
#ifndef PINFOLD_TESTS_PCI_TESTDEV_H
#define PINFOLD_TESTS_PCI_TESTDEV_H

#include "base/event.h"
#include "pci/pci.h"

#define TESTDEV_BAR0_SIZE 0x4000
#define TESTDEV_VECTORS	  70 /* two words of PBA, the second one partly used */
#define TESTDEV_TABLE	  0x2000
#define TESTDEV_PBA	  0x3000
#define TESTDEV_IRQS	  256

struct testdev {
	struct pci_func f;
	struct pci_irq_sink sink;
	struct events evs;
	struct event_listener listener;

	unsigned int reads, writes, resets, command_changes;
	uint64_t last_off, last_val;
	unsigned int last_bar, last_size;
	bool master_in_reset;

	unsigned int irqs[TESTDEV_VECTORS]; /* deliveries by vector */
	unsigned int events_irq, events_dropped, events_mmio;
	struct event last_mmio;
};

/* Vector 0..69, BAR 0 (16 KiB, 64-bit) with table and PBA, BAR 2 (1 MiB, 32-bit, prefetchable); all capabilities. */
void testdev_init(struct testdev *t);
void testdev_fini(struct testdev *t);
void testdev_command(struct testdev *t, uint16_t command);
void testdev_listen(struct testdev *t); /* counts events from now on */

/* The stub of the engine. */
bool testdev_dma_master(const struct dma_dev *d);
uint32_t testdev_dma_bdf(const struct dma_dev *d);

#endif
