/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "base/util.h"
#include "pci/barmem.h"
#include "pci/internal.h"

#define IDENTITY "pci.identity"
#define MEMORY	 "pci.memory" /* and the BAR's number */
#define CONFIG	 "pci.config"
#define PENDING	 "pci.pending"
#define VERSION	 1

#define SAVE_MAX   (4u << 20)
#define MEMORY_MAX (1ull << 30) /* a record says its length in 32 bits, and it takes time */

static uint64_t memory_size(const struct pci_func *f)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < PCI_BARS; i++)
		size += f->bar[i].mem ? f->bar[i].size : 0;
	return size;
}

bool pci_can_migrate(const struct pci_func *f)
{
	return f->ops->save && memory_size(f) <= MEMORY_MAX;
}

/* ---- stopping ---- */

int pci_quiesce(struct pci_func *f)
{
	int err;

	f->run = PCI_QUIET;
	err = f->ops->quiesce(f);
	if (err && err != -EAGAIN)
		pci_run(f);
	return err;
}

void pci_stop(struct pci_func *f)
{
	f->run = PCI_STOPPED;
	pci_msix_update(f);
}

void pci_unstop(struct pci_func *f)
{
	f->run = PCI_QUIET;
	pci_msix_update(f);
}

void pci_run(struct pci_func *f)
{
	if (f->run == PCI_RUNNING)
		return;
	f->run = PCI_RUNNING;
	pci_msix_update(f);
	f->ops->run(f);
}

/* ---- saving ---- */

static unsigned int pending_words(const struct pci_func *f)
{
	return DIV_ROUND_UP(f->msix_n, 64);
}

/* What a driver has found out about the function, and relies on. */
static void put_identity(struct state_out *o, const struct pci_func *f)
{
	state_put(o, f->cfg + PCI_VENDOR_ID, 4);
	state_put(o, f->cfg + PCI_CLASS_REVISION, 4);
	state_put(o, f->cfg + PCI_SUBSYSTEM_VENDOR_ID, 4);
	state_put_u32(o, f->msix_n);
	for (unsigned int i = 0; i < PCI_BARS; i++)
		state_put_u64(o, f->bar[i].size);
}

void pci_save_identity(struct pci_func *f, struct state_out *o)
{
	state_start(o, f->name);
	state_begin(o, IDENTITY, VERSION, 0);
	put_identity(o, f);
	state_end(o);
}

/* A BAR's memory: those of its pages that are not zero, or not as they have been saved before. */
static const char *memory_name(unsigned int bar, char name[16])
{
	snprintf(name, 16, MEMORY "%u", bar);
	return name;
}

/* How long it is at most. */
static void count_memory(const struct pci_bar *b, struct state_out *o)
{
	static const struct state_page page;

	for (uint64_t off = 0; off < b->size; off += PF_PAGE_SIZE)
		state_put(o, &page, sizeof(page));
}

int pci_save_after(struct pci_func *f, struct state_out *o, struct precopy *p)
{
	char name[16];

	state_begin(o, CONFIG, VERSION, 0);
	state_put(o, f->cfg, PCI_CFG_SIZE);
	state_end(o);
	state_begin(o, PENDING, VERSION, 0);
	for (unsigned int i = 0; i < pending_words(f); i++)
		state_put_u64(o, f->msix_pba[i]);
	state_end(o);
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		if (!f->bar[i].mem)
			continue;
		state_begin(o, memory_name(i, name), VERSION, 0);
		if (o->count)
			count_memory(&f->bar[i], o);
		else
			precopy_rest(p, i);
		state_end(o);
	}
	f->ops->save(f, o);
	return state_finish(o);
}

int pci_save(struct pci_func *f, struct state_out *o)
{
	struct precopy *p = o->count ? NULL : precopy_new(f, o);
	int err = -ENOMEM;

	if (o->count || p)
		err = pci_save_after(f, o, p);
	precopy_free(p);
	return err;
}

size_t pci_save_size(struct pci_func *f)
{
	struct state_out o;

	state_out_init(&o, true);
	pci_save_identity(f, &o);
	pci_save(f, &o);
	return o.len;
}

size_t pci_save_max(const struct pci_func *f)
{
	return SAVE_MAX + 3 * (memory_size(f) / PF_PAGE_SIZE) * sizeof(struct state_page);
}

/* ---- loading ---- */

static int check_identity(const struct pci_func *f, struct state *s)
{
	struct state_out mine;
	struct state_in in;
	int err;

	err = state_take(s, IDENTITY, VERSION, &in);
	if (err)
		return err;
	state_out_init(&mine, false);
	put_identity(&mine, f);
	if (mine.failed)
		err = -ENOMEM;
	else if (in.left != mine.len || memcmp(in.at, mine.buf, mine.len))
		err = -EINVAL;
	state_out_fini(&mine);
	return err;
}

/* MSI: which messages pend, of those there are. */
static uint8_t msi_pending_bits(const struct pci_func *f, unsigned int off)
{
	unsigned int i = off - (f->msi_cap + PCI_MSI_PENDING_64);

	return f->msi_cap && i < 4 ? (uint8_t)((BIT64(f->msi_n) - 1) >> 8 * i) : 0;
}

/* Bits of a byte that are the function's state: others are its nature, the host's, or the bus's. */
static uint8_t state_bits(const struct pci_func *f, unsigned int off)
{
	bool bar = off - PCI_BASE_ADDRESS_0 < 4 * PCI_BARS;
	bool msix = f->msix_cap && off - (f->msix_cap + PCI_MSIX_FLAGS) < 2;
	bool msi = f->msi_cap && off - (f->msi_cap + PCI_MSI_FLAGS) < PCI_MSI_PENDING_64 - PCI_MSI_FLAGS;

	return bar || msix || msi ? 0 : f->wmask[off] | f->w1c[off] | msi_pending_bits(f, off);
}

static bool check_config(const struct pci_func *f, const struct state_in *in)
{
	unsigned int state;

	if (in->left != PCI_CFG_SIZE)
		return false;
	if (!f->pm_cap)
		return true;
	state = in->at[f->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK;
	return state == 0 || state == 3; /* the two that every function has */
}

static bool check_pending(const struct pci_func *f, struct state_in in)
{
	uint64_t last = 0;

	for (unsigned int i = 0; i < pending_words(f); i++)
		last = state_get_u64(&in);
	return state_good(&in) && !(f->msix_n % 64 && last >> f->msix_n % 64);
}

/* Pages in order, whole, and within the BAR. */
static bool check_memory(const struct pci_bar *b, struct state_in in)
{
	uint64_t next = 0;

	if (in.left % sizeof(struct state_page))
		return false;
	while (in.left) {
		uint64_t off = state_get_u64(&in);

		if (off < next || off >= b->size || off % PF_PAGE_SIZE)
			return false;
		next = off + PF_PAGE_SIZE;
		in.at += PF_PAGE_SIZE;
		in.left -= PF_PAGE_SIZE;
	}
	return true;
}

static int take_memory(const struct pci_func *f, struct state *s, struct state_in memory[PCI_BARS])
{
	unsigned int at = 0;
	struct state_in in;
	char name[16];
	int err = 0;

	while (state_take_next(s, STATE_EARLY, VERSION, &at, &in)) {
		uint64_t bar = state_get_u64(&in);

		if (bar >= PCI_BARS || !f->bar[bar].mem || !check_memory(&f->bar[bar], in))
			return -EINVAL;
	}
	for (unsigned int i = 0; i < PCI_BARS && !err; i++) {
		if (!f->bar[i].mem)
			continue;
		err = state_take(s, memory_name(i, name), VERSION, &memory[i]);
		if (!err && !check_memory(&f->bar[i], memory[i]))
			err = -EINVAL;
	}
	return err;
}

static void commit_pages(struct pci_bar *b, struct state_in in)
{
	while (in.left) {
		uint64_t off = state_get_u64(&in);

		barmem_write(b->mem, off, in.at, PF_PAGE_SIZE);
		in.at += PF_PAGE_SIZE;
		in.left -= PF_PAGE_SIZE;
	}
}

/* The last word on a page counts; one of which nothing is said is zero. */
static void commit_memory(struct pci_func *f, struct state *s, const struct state_in memory[PCI_BARS])
{
	static const uint8_t zero[PF_PAGE_SIZE];
	unsigned int at = 0;
	struct state_in in;

	for (unsigned int i = 0; i < PCI_BARS; i++)
		for (uint64_t off = 0; f->bar[i].mem && off < f->bar[i].size; off += PF_PAGE_SIZE)
			barmem_write(f->bar[i].mem, off, zero, PF_PAGE_SIZE);
	while (state_take_next(s, STATE_EARLY, VERSION, &at, &in)) {
		uint64_t bar = state_get_u64(&in);

		commit_pages(&f->bar[bar], in);
	}
	for (unsigned int i = 0; i < PCI_BARS; i++)
		if (f->bar[i].mem)
			commit_pages(&f->bar[i], memory[i]);
}

static void commit(struct pci_func *f, struct state *s, const struct state_in *config, struct state_in pending,
		   const struct state_in memory[PCI_BARS])
{
	commit_memory(f, s, memory);
	for (unsigned int i = 0; i < PCI_CFG_SIZE; i++) {
		uint8_t m = state_bits(f, i);

		f->cfg[i] = (f->cfg[i] & ~m) | (config->at[i] & m);
	}
	for (unsigned int i = 0; i < pending_words(f); i++)
		f->msix_pba[i] = state_get_u64(&pending);
	if (pci_state_update(f) && f->ops->command_changed)
		f->ops->command_changed(f);
	pci_msix_update(f);
}

int pci_load(struct pci_func *f, const void *buf, size_t len)
{
	struct state_in config, pending, memory[PCI_BARS];
	struct state s;
	int err;

	err = state_open(&s, buf, len, f->name);
	if (!err)
		err = check_identity(f, &s);
	if (!err)
		err = state_take(&s, CONFIG, VERSION, &config);
	if (!err)
		err = state_take(&s, PENDING, VERSION, &pending);
	if (!err)
		err = take_memory(f, &s, memory);
	if (!err && (!check_config(f, &config) || !check_pending(f, pending)))
		err = -EINVAL;
	if (!err)
		err = f->ops->load(f, &s);
	if (!err)
		commit(f, &s, &config, pending, memory);
	return err;
}
