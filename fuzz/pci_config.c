/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A function's bus side: configuration accesses, BAR accesses around the MSI-X table, interrupts, resets, in any order
 * and with any arguments. What must hold: read-only bits stay, derived state follows cfg, the device is called only
 * while it decodes and only inside its BARs, no vector pends that could be sent.
 *
 * Input: records of 12 bytes: operation, size, offset (2), value (8). Seeds are not needed.
 */
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "base/event.h"
#include "pci/pci.h"

#define VECTORS	  70
#define BAR0_SIZE 0x4000

struct record {
	uint8_t op, size;
	uint16_t off;
	uint64_t val;
} __attribute__((packed));

static uint8_t first[PCI_CFG_SIZE];

#define REQUIRE(cond)                                                                                                  \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			abort();                                                                                       \
	} while (0)

static void check_access(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	REQUIRE(pci_mem_enabled(f) && f->d0);
	REQUIRE(bar < PCI_BARS && off < f->bar[bar].size && size <= f->bar[bar].size - off);
	REQUIRE(bar != 0 || off + size <= f->msix_table_off || off >= f->msix_table_off + 16 * VECTORS);
	REQUIRE(bar != 0 || off + size <= f->msix_pba_off || off >= f->msix_pba_off + 16);
}

static uint64_t bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	check_access(f, bar, off, size);
	return off * 0x0101010101010101;
}

static void bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	check_access(f, bar, off, size);
	pci_msix_raise(f, val % (VECTORS + 1));
}

static void reset(struct pci_func *f)
{
	REQUIRE(!f->decode && !f->master && f->d0);
	pci_msix_raise(f, 1);
}

static void sink_msix(struct pci_irq_sink *s, unsigned int v)
{
	REQUIRE(v < VECTORS);
}

static void check_state(const struct pci_func *f)
{
	bool live = f->msix_live;

	for (unsigned int i = 0; i < 0x100; i++)
		REQUIRE(!((f->cfg[i] ^ first[i]) & ~(f->wmask[i] | f->w1c[i])));
	REQUIRE(f->d0 == !(f->cfg[f->pm_cap + PCI_PM_CTRL] & 3));
	REQUIRE(f->decode == (f->d0 && (f->cfg[PCI_COMMAND] & PCI_COMMAND_MEMORY)));
	REQUIRE(f->master == (f->d0 && (f->cfg[PCI_COMMAND] & PCI_COMMAND_MASTER)));
	REQUIRE(live == (f->master && (f->cfg[f->msix_cap + 3] & 0xc0) == 0x80));
	for (unsigned int v = 0; v < VECTORS; v++) {
		bool pends = f->msix_pba[v / 64] >> v % 64 & 1;

		REQUIRE(!(f->msix_table[v].ctrl & ~1U) && !(f->msix_table[v].addr & 3));
		REQUIRE(!pends || !live || (f->msix_table[v].ctrl & 1));
		REQUIRE(!pends || (f->cfg[f->msix_cap + 3] & 0x80));
	}
}

static void step(struct pci_func *f, const struct record *r)
{
	/* Mostly the header and the capabilities, and mostly the table. */
	unsigned int cfg_off = r->op & 0x40 ? r->off : r->off & 0xff;
	uint64_t bar_off = r->op & 0x40 ? r->val : 0x2000 + (r->off & 0x17ff), v;

	switch (r->op & 7) {
	case 0:
		pci_cfg_read(f, cfg_off, r->size);
		break;
	case 1:
	case 2:
		pci_cfg_write(f, cfg_off, r->size & 0x80 ? r->size : 1U << (r->size & 3), r->val);
		break;
	case 3:
		pci_bar_read(f, r->size >> 5, bar_off, r->size & 0x1f, &v);
		break;
	case 4:
		pci_bar_write(f, r->size >> 5, bar_off, r->size & 0x1f, r->val);
		break;
	case 5:
		pci_msix_raise(f, r->off & 0x7f);
		break;
	case 6:
		pci_msix_set_entry_masked(f, r->off & 0x7f, r->size & 1);
		break;
	case 7:
		if (r->size < 16)
			pci_msix_enable(f, r->size & 1);
		else if (r->size == 16)
			pci_func_reset(f);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pci_func_ops ops = {.bar_read = bar_read, .bar_write = bar_write, .reset = reset};
	static const struct pci_ids ids = {.vendor = 0x1b36, .device = 0x10, .class = 0x010802};
	struct pci_irq_sink sink = {.msix = sink_msix};
	struct events evs;
	struct pci_func f;
	struct record r;

	events_init(&evs);
	if (pci_func_init(&f, &ops, "fuzz", &ids, &evs) || pci_add_bar(&f, 0, BAR0_SIZE, true, false) ||
	    pci_add_bar(&f, 2, 4096, false, true) || pci_add_pm(&f) || pci_add_express(&f) ||
	    pci_add_msix(&f, VECTORS, 0, 0x2000, 0x3000))
		abort();
	pci_func_place(&f, 0, 0x100, 0);
	f.sink = &sink;
	memcpy(first, f.cfg, sizeof(first));
	for (; size >= sizeof(r); data += sizeof(r), size -= sizeof(r)) {
		memcpy(&r, data, sizeof(r));
		step(&f, &r);
		check_state(&f);
	}
	pci_func_fini(&f);
	return 0;
}
