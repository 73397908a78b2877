/* SPDX-License-Identifier: BSD-3-Clause */
/* Base address registers and the way from a bus access to the device's registers. Doorbells pass here: no loops. */
#include <errno.h>
#include <linux/pci_regs.h>

#include "base/event.h"
#include "base/guard.h"
#include "pci/barmem.h"
#include "pci/internal.h"
#include "pci/sriov.h"

static unsigned int bar_reg(unsigned int index)
{
	return PCI_BASE_ADDRESS_0 + 4 * index;
}

static bool bar_is_upper_half(const struct pci_func *f, unsigned int index)
{
	return index > 0 && f->bar[index - 1].size && f->bar[index - 1].mem64;
}

/*
 * PCI Local Bus 3.0 section 6.2.5.1. Sizing needs no code of its own: the address bits below the size cannot be
 * written, so all ones read back as the size's two's complement.
 */
int pci_add_bar(struct pci_func *f, unsigned int index, uint64_t size, bool mem64, bool prefetch)
{
	uint32_t flags = PCI_BASE_ADDRESS_SPACE_MEMORY;

	if (index >= PCI_BARS || (mem64 && index + 1 >= PCI_BARS))
		return -EINVAL;
	if (size < PF_PAGE_SIZE || (size & (size - 1)) || (!mem64 && size > BIT64(31)))
		return -EINVAL;
	if (f->bar[index].size || bar_is_upper_half(f, index) || (mem64 && f->bar[index + 1].size))
		return -EINVAL;
	if (mem64)
		flags |= PCI_BASE_ADDRESS_MEM_TYPE_64;
	if (prefetch)
		flags |= PCI_BASE_ADDRESS_MEM_PREFETCH;
	f->bar[index] = (struct pci_bar){.size = size, .mem64 = mem64, .prefetch = prefetch};
	pci_cfg_define(f, bar_reg(index), 4, flags, -size, 0);
	if (mem64)
		pci_cfg_define(f, bar_reg(index + 1), 4, 0, -size >> 32, 0);
	return 0;
}

int pci_add_mem_bar(struct pci_func *f, unsigned int index, uint64_t size, bool mem64, bool prefetch)
{
	struct barmem *m;
	int err;

	if (size < PF_PAGE_SIZE || (size & (size - 1)))
		return -EINVAL;
	err = barmem_new(size, &m);
	if (err)
		return err;
	err = pci_add_bar(f, index, size, mem64, prefetch);
	if (err) {
		barmem_free(m);
		return err;
	}
	f->bar[index].mem = m;
	if (f->decode)
		barmem_restore(m);
	return 0;
}

void pci_bars_free(struct pci_func *f)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		if (f->bar[i].mem)
			barmem_free(f->bar[i].mem);
		f->bar[i].mem = NULL;
	}
}

/* Rule A4: the end of decode is the end of every other way in. */
void pci_bars_decode_changed(struct pci_func *f)
{
	struct list *users = &f->mem_users;
	bool on = f->decode && !f->mem_held && !f->away;

	while (!on && !list_empty(users)) {
		struct pci_mem_user *u = list_first(users, struct pci_mem_user, node);

		list_del(&u->node);
		u->revoke(u);
	}
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct barmem *m = f->bar[i].mem;

		if (m && on)
			barmem_restore(m);
		else if (m)
			barmem_revoke(m);
		if (m && !f->mem_lazy)
			barmem_settle(m);
	}
}

bool pci_mem_moving(struct pci_func *f)
{
	bool moving = false;

	for (unsigned int i = 0; i < PCI_BARS; i++)
		moving |= f->bar[i].mem && barmem_moving(f->bar[i].mem);
	return moving;
}

void pci_mem_forget(struct pci_func *f)
{
	for (unsigned int i = 0; i < PCI_BARS; i++)
		if (f->bar[i].mem && !f->bar[i].mem_kept)
			barmem_forget(f->bar[i].mem);
}

void pci_mem_hold(struct pci_func *f, bool hold)
{
	if (hold == f->mem_held)
		return;
	f->mem_held = hold;
	pci_bars_decode_changed(f);
}

void pci_mem_user_add(struct pci_func *f, struct pci_mem_user *u)
{
	list_add_tail(&f->mem_users, &u->node);
}

void pci_mem_user_del(struct pci_mem_user *u)
{
	list_del(&u->node);
}

void pci_mem_renew(struct pci_func *f)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *b = &f->bar[i];

		if (!b->mem)
			continue;
		barmem_renew(b->mem);
		if (!b->mem_kept)
			barmem_clear(b->mem);
	}
}

uint64_t pci_bar_address(const struct pci_func *f, unsigned int bar)
{
	uint64_t a;

	if (bar >= PCI_BARS || !f->bar[bar].size)
		return 0;
	a = cfg_get(f->cfg + bar_reg(bar), 4) & ~0xfU;
	if (f->bar[bar].mem64)
		a |= (uint64_t)cfg_get(f->cfg + bar_reg(bar + 1), 4) << 32;
	return a;
}

static void bar_set_address(struct pci_func *f, unsigned int bar, uint64_t addr)
{
	unsigned int reg = bar_reg(bar);
	uint32_t lo = cfg_get(f->cfg + reg, 4) & 0xf;

	pci_cfg_define(f, reg, 4, lo | (uint32_t)addr, cfg_get(f->wmask + reg, 4), 0);
	if (f->bar[bar].mem64)
		pci_cfg_define(f, reg + 4, 4, addr >> 32, cfg_get(f->wmask + reg + 4, 4), 0);
}

/*
 * A 512 MiB window per function for its 64-bit BARs, above 32 TiB, or one of 64 GiB above 256 TiB for a function that
 * needs more; natural alignment wastes less than the sizes' sum. 32-bit BARs get 1 MiB per function below 4 GiB, which
 * repeats every four buses. Nothing routes by these addresses, so a clash is ugly and no more.
 */
void pci_bar_place(struct pci_func *f)
{
	/* Each BAR of virtual functions is an array over all of them (PCI Express Base 4.0 section 9.2.1.1.1). */
	uint64_t number = f->physfn ? f->physfn->sriov->total : 1, at = f->virtfn;
	uint16_t bdf = f->physfn ? pci_vf_bdf(f->physfn, 0) : f->bdf;
	uint64_t id = (uint64_t)f->domain << 16 | bdf, total = 0, hi, lo;

	for (unsigned int i = 0; i < PCI_BARS; i++)
		total += f->bar[i].size;
	hi = total <= BIT64(28) ? BIT64(45) + (id << 29) : BIT64(48) + (id << 36);
	lo = 0xc0000000 + ((id & 0x3ff) << 20);
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *b = &f->bar[i];
		uint64_t *next = b->mem64 ? &hi : &lo;

		if (!b->size)
			continue;
		*next = ALIGN_UP(*next, b->size);
		bar_set_address(f, i, *next + at * b->size);
		*next += number * b->size;
	}
	if (f->rom)
		pci_cfg_define(f, PCI_ROM_ADDRESS, 4, ALIGN_UP(lo, f->rom_size),
			       (uint32_t)-f->rom_size | PCI_ROM_ADDRESS_ENABLE, 0);
}

static bool range_invalid(const struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	/* size - 1 > 7 also catches 0; off is compared before it is added to. */
	if (bar >= PCI_BARS || size - 1 > 7 || (size & (size - 1)))
		return true;
	return f->bar[bar].size < size || off > f->bar[bar].size - size;
}

static uint64_t size_mask(unsigned int size)
{
	return ~0ULL >> (64 - 8 * size);
}

int pci_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t *val)
{
	struct pci_bar *b;
	uint64_t v = 0;

	if (unlikely(range_invalid(f, bar, off, size)))
		return -EINVAL;
	if (unlikely(!f->decode))
		return -EIO;
	b = &f->bar[bar];
	f->accesses++;
	if (unlikely(f->away)) {
		v = ~0ULL;
	} else if (unlikely(b->mem != NULL)) {
		if (barmem_read(b->mem, off, &v, size))
			return -EIO;
	} else if (unlikely(b->view != NULL)) {
		if (guard_copy(&v, b->view + off, size))
			return -EIO;
	} else if (off - b->msix_first >= b->msix_len || !pci_msix_mmio_read(f, off, size, &v)) {
		v = f->ops->bar_read(f, bar, off, size);
	}
	*val = v & size_mask(size);
	event_emit(f->evs, EVENT_MMIO, .who = f->bdf, .addr = (uint64_t)bar << 40 | off, .len = size, .value = *val);
	return 0;
}

int pci_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct pci_bar *b;

	if (unlikely(range_invalid(f, bar, off, size)))
		return -EINVAL;
	if (unlikely(!f->decode))
		return -EIO;
	b = &f->bar[bar];
	f->accesses++;
	val &= size_mask(size);
	/* Before the device acts on it: what follows (DMA, interrupts) then follows in the stream too. */
	event_emit(f->evs, EVENT_MMIO, .flags = EVENT_WRITE, .who = f->bdf, .addr = (uint64_t)bar << 40 | off,
		   .len = size, .value = val);
	if (unlikely(f->away))
		return 0;
	if (unlikely(b->mem != NULL))
		return barmem_write(b->mem, off, &val, size);
	if (unlikely(b->view != NULL))
		return guard_copy(b->view + off, &val, size) ? -EIO : 0;
	if (off - b->msix_first >= b->msix_len || !pci_msix_mmio_write(f, off, size, val))
		f->ops->bar_write(f, bar, off, size, val);
	return 0;
}
