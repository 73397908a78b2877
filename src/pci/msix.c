/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MSI-X, PCI Local Bus 3.0 section 6.8.2. A vector is in one of three states: idle, pending (its PBA bit is set) or
 * delivered, which is idle again. Invariant: no vector pends that could be sent; every step that opens the way
 * (unmask, function unmask, enable, bus master) delivers what pends before it returns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "base/event.h"
#include "pci/inject.h"
#include "pci/internal.h"

_Static_assert(sizeof(struct msix_entry) == PCI_MSIX_ENTRY_SIZE, "an entry is laid out as in the table");
_Static_assert(offsetof(struct msix_entry, data) == PCI_MSIX_ENTRY_DATA, "data");
_Static_assert(offsetof(struct msix_entry, ctrl) == PCI_MSIX_ENTRY_VECTOR_CTRL, "vector control");

static uint64_t table_size(const struct pci_func *f)
{
	return (uint64_t)f->msix_n * PCI_MSIX_ENTRY_SIZE;
}

static unsigned int pba_words(unsigned int n)
{
	return (n + 63) / 64;
}

static uint64_t pba_size(const struct pci_func *f)
{
	return pba_words(f->msix_n) * 8UL;
}

static bool layout_valid(const struct pci_func *f, unsigned int n, unsigned int bar, uint64_t table, uint64_t pba)
{
	uint64_t tlen = (uint64_t)n * PCI_MSIX_ENTRY_SIZE, plen = pba_words(n) * 8UL;

	if (!n || n > PCI_MSIX_MAX || bar >= PCI_BARS || f->msix_cap || f->bar[bar].mem)
		return false;
	if ((table | pba) & 7 || table + tlen > f->bar[bar].size || pba + plen > f->bar[bar].size)
		return false;
	return table + tlen <= pba || pba + plen <= table;
}

/* An access of up to 8 bytes that ends in the table starts up to 7 bytes before it. */
static void window_set(struct pci_func *f)
{
	struct pci_bar *b = &f->bar[f->msix_table_bar];
	uint64_t first = MIN(f->msix_table_off, f->msix_pba_off);
	uint64_t end = MAX(f->msix_table_off + table_size(f), f->msix_pba_off + pba_size(f));

	b->msix_first = first - MIN(first, 7UL);
	b->msix_len = end - b->msix_first;
}

int pci_add_msix(struct pci_func *f, unsigned int n, unsigned int bar, uint32_t table_off, uint32_t pba_off)
{
	struct msix_entry *table;
	uint64_t *pba;
	int off;

	if (!layout_valid(f, n, bar, table_off, pba_off))
		return -EINVAL;
	table = calloc(n, sizeof(*table));
	pba = calloc(pba_words(n), sizeof(*pba));
	off = table && pba ? pci_add_cap(f, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF) : -ENOMEM;
	if (off < 0) {
		free(table);
		free(pba);
		return off;
	}
	pci_cfg_define(f, off + PCI_MSIX_FLAGS, 2, n - 1, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 0);
	pci_cfg_define(f, off + PCI_MSIX_TABLE, 4, table_off | bar, 0, 0);
	pci_cfg_define(f, off + PCI_MSIX_PBA, 4, pba_off | bar, 0, 0);
	f->msix_cap = off;
	f->msix_n = n;
	f->msix_table_bar = f->msix_pba_bar = bar;
	f->msix_table_off = table_off;
	f->msix_pba_off = pba_off;
	f->msix_table = table;
	f->msix_pba = pba;
	window_set(f);
	pci_msix_reset(f);
	return 0;
}

static uint32_t msix_control(const struct pci_func *f)
{
	return f->msix_cap ? cfg_get16(f, f->msix_cap + PCI_MSIX_FLAGS) : 0;
}

static bool vector_masked(const struct pci_func *f, unsigned int v)
{
	return f->msix_table[v].ctrl & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static void vector_drop(struct pci_func *f, unsigned int v)
{
	event_emit(f->evs, EVENT_IRQ, .who = f->bdf, .value = v, .error = ENOTCONN);
}

static void vector_deliver(struct pci_func *f, unsigned int v)
{
	if (unlikely(!f->sink)) {
		vector_drop(f, v);
		return;
	}
	event_emit(f->evs, EVENT_IRQ, .who = f->bdf, .value = v);
	f->sink->msix(f->sink, v);
}

void pci_msix_raise(struct pci_func *f, unsigned int v)
{
	if (unlikely(v >= f->msix_n || f->away) || inject_irq(f, v))
		return;
	if (likely(f->msix_live && !vector_masked(f, v)))
		vector_deliver(f, v);
	else if (msix_control(f) & PCI_MSIX_FLAGS_ENABLE)
		f->msix_pba[v / 64] |= BIT64(v % 64);
	else
		vector_drop(f, v);
}

static void vector_deliver_pending(struct pci_func *f, unsigned int v)
{
	if (!f->msix_live || vector_masked(f, v) || !(f->msix_pba[v / 64] & BIT64(v % 64)))
		return;
	/* Cleared before the sink runs: it may look at the PBA, or raise again. */
	f->msix_pba[v / 64] &= ~BIT64(v % 64);
	vector_deliver(f, v);
}

static void pba_clear(struct pci_func *f)
{
	if (f->msix_n)
		memset(f->msix_pba, 0, pba_size(f));
}

void pci_msix_update(struct pci_func *f)
{
	uint32_t on = msix_control(f) & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	bool was_live = f->msix_live;

	pci_intx_update(f);
	pci_msi_update(f);
	f->msix_live = on == PCI_MSIX_FLAGS_ENABLE && f->master && f->run != PCI_STOPPED;
	if (!f->msix_live || was_live)
		return;
	for (unsigned int w = 0; w < pba_words(f->msix_n); w++)
		for (uint64_t bits = f->msix_pba[w]; bits; bits &= bits - 1)
			vector_deliver_pending(f, w * 64 + __builtin_ctzll(bits));
}

void pci_msix_control_changed(struct pci_func *f, uint32_t old)
{
	/* What a disabled MSI-X left pending must not reach whoever enables it next. */
	if (old & ~msix_control(f) & PCI_MSIX_FLAGS_ENABLE)
		pba_clear(f);
	pci_msix_update(f);
}

static void table_clear(struct pci_func *f)
{
	for (unsigned int v = 0; v < f->msix_n; v++)
		f->msix_table[v] = (struct msix_entry){.ctrl = PCI_MSIX_ENTRY_CTRL_MASKBIT};
}

void pci_msix_reset(struct pci_func *f)
{
	table_clear(f);
	pba_clear(f);
	pci_msix_update(f);
}

/* What pends when MSI-X goes off was raised while nobody listened to the vector, and nobody ever will. */
static void pending_drop(struct pci_func *f)
{
	for (unsigned int w = 0; w < pba_words(f->msix_n); w++)
		for (uint64_t bits = f->msix_pba[w]; bits; bits &= bits - 1)
			vector_drop(f, w * 64 + __builtin_ctzll(bits));
}

void pci_msix_enable(struct pci_func *f, bool on)
{
	uint32_t ctrl;

	if (!f->msix_cap)
		return;
	if (!on && event_wanted(f->evs, EVENT_IRQ))
		pending_drop(f);
	ctrl = msix_control(f) & ~(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	cfg_put(f->cfg + f->msix_cap + PCI_MSIX_FLAGS, 2, on ? ctrl | PCI_MSIX_FLAGS_ENABLE : ctrl);
	table_clear(f);
	/* Of a function that is stopped what pends may have come with its state. */
	if (!on || f->run != PCI_STOPPED)
		pba_clear(f);
	pci_msix_update(f);
}

void pci_msix_set_entry_masked(struct pci_func *f, unsigned int v, bool masked)
{
	if (v >= f->msix_n)
		return;
	f->msix_table[v].ctrl = masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
	vector_deliver_pending(f, v);
}

/* ---- the table and the PBA as memory ---- */

static void table_write_dword(struct pci_func *f, uint64_t off, uint32_t val)
{
	unsigned int v = off / PCI_MSIX_ENTRY_SIZE;
	struct msix_entry *e = &f->msix_table[v];

	switch (off % PCI_MSIX_ENTRY_SIZE) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		e->addr = (e->addr & ~0xffffffffULL) | (val & ~3U);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		e->addr = (e->addr & 0xffffffffULL) | (uint64_t)val << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		e->data = val;
		break;
	case PCI_MSIX_ENTRY_VECTOR_CTRL:
		pci_msix_set_entry_masked(f, v, val & PCI_MSIX_ENTRY_CTRL_MASKBIT);
		break;
	}
}

static bool overlaps(uint64_t off, unsigned int size, uint64_t first, uint64_t len)
{
	return off < first + len && first < off + size;
}

static bool touches_msix(const struct pci_func *f, uint64_t off, unsigned int size)
{
	return overlaps(off, size, f->msix_table_off, table_size(f)) ||
	       overlaps(off, size, f->msix_pba_off, pba_size(f));
}

bool pci_msix_mmio_read(struct pci_func *f, uint64_t off, unsigned int size, uint64_t *val)
{
	const uint8_t *mem = (const uint8_t *)f->msix_table;
	uint64_t rel = off - f->msix_table_off;

	if (!touches_msix(f, off, size))
		return false;
	*val = ~0ULL;
	/* Both areas are multiples of 8 long and aligned to 8, so an aligned access lies in one of them or in none. */
	if (off & (size - 1))
		return true;
	if (rel >= table_size(f)) {
		mem = (const uint8_t *)f->msix_pba;
		rel = off - f->msix_pba_off;
	}
	*val = 0;
	memcpy(val, mem + rel, size);
	return true;
}

bool pci_msix_mmio_write(struct pci_func *f, uint64_t off, unsigned int size, uint64_t val)
{
	uint64_t rel = off - f->msix_table_off;

	if (!touches_msix(f, off, size))
		return false;
	if (size < 4 || off & (size - 1) || rel >= table_size(f))
		return true;
	table_write_dword(f, rel, val);
	if (size == 8)
		table_write_dword(f, rel + 4, val >> 32);
	return true;
}
