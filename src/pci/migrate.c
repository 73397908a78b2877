/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/migrate.h"

#include <errno.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "base/util.h"
#include "pci/internal.h"

#define IDENTITY "pci.identity"
#define CONFIG	 "pci.config"
#define PENDING	 "pci.pending"
#define VERSION	 1

#define SAVE_MAX (4u << 20)

bool pci_can_migrate(const struct pci_func *f)
{
	return f->ops->save;
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

int pci_save(struct pci_func *f, struct state_out *o)
{
	state_begin(o, CONFIG, VERSION, 0);
	state_put(o, f->cfg, PCI_CFG_SIZE);
	state_end(o);
	state_begin(o, PENDING, VERSION, 0);
	for (unsigned int i = 0; i < pending_words(f); i++)
		state_put_u64(o, f->msix_pba[i]);
	state_end(o);
	f->ops->save(f, o);
	return state_finish(o);
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
	size_t max = SAVE_MAX;

	for (unsigned int i = 0; i < PCI_BARS; i++)
		if (f->bar[i].mem)
			max += 2 * f->bar[i].size;
	return max;
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

/* Bits of a byte that are the function's state: others are its nature, the host's, or the bus's. */
static uint8_t state_bits(const struct pci_func *f, unsigned int off)
{
	bool bar = off >= PCI_BASE_ADDRESS_0 && off < PCI_BASE_ADDRESS_0 + 4 * PCI_BARS;
	bool msix = f->msix_cap && off - (f->msix_cap + PCI_MSIX_FLAGS) < 2;

	return bar || msix ? 0 : f->wmask[off] | f->w1c[off];
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

static void commit(struct pci_func *f, const struct state_in *config, struct state_in pending)
{
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
	struct state_in config, pending;
	struct state s;
	int err;

	err = state_open(&s, buf, len, f->name);
	if (!err)
		err = check_identity(f, &s);
	if (!err)
		err = state_take(&s, CONFIG, VERSION, &config);
	if (!err)
		err = state_take(&s, PENDING, VERSION, &pending);
	if (!err && (!check_config(f, &config) || !check_pending(f, pending)))
		err = -EINVAL;
	if (!err)
		err = f->ops->load(f, &s);
	if (!err)
		commit(f, &config, pending);
	return err;
}
