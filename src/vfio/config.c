/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration space as a client sees it: partly the function's own, partly a shadow. Which bits are which follows
 * Linux 6.12 drivers/vfio/pci/vfio_pci_config.c: identity, BARs and the links between capabilities are shadowed; what
 * would let a client steer its own interrupts or reach other functions cannot be written.
 */
#include <errno.h>
#include <string.h>

#include "pci/sriov.h"
#include "vfio/internal.h"

#define ALL		0xffffffffu
#define EXT_CFG_BASE	256
#define EXT_CAP_ID(h)	((h)&0xffff)
#define EXT_CAP_NEXT(h) ((h) >> 20 & 0xffc)
#define HIDDEN_ID	0 /* the null capability */

static uint32_t get_bits(const uint8_t *p, unsigned int off, unsigned int size)
{
	uint32_t v = 0;

	memcpy(&v, p + off, size);
	return v;
}

static void put_bits(uint8_t *p, unsigned int off, unsigned int size, uint32_t v)
{
	memcpy(p + off, &v, size);
}

static void set_rule(struct vconfig *vc, unsigned int off, unsigned int size, uint32_t virt, uint32_t write)
{
	put_bits(vc->virt, off, size, virt);
	put_bits(vc->write, off, size, write);
}

static void set_range(struct vconfig *vc, unsigned int off, unsigned int len, uint8_t write)
{
	memset(vc->virt + off, 0, len);
	memset(vc->write + off, write, len);
}

/* ---- rules, made when the function is opened ---- */

static void header_rules(struct vconfig *vc)
{
	unsigned int off;

	set_range(vc, 0, PCI_STD_HEADER_SIZEOF, 0);
	set_rule(vc, PCI_VENDOR_ID, 4, ALL, 0);
	set_rule(vc, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE, ALL);
	set_rule(vc, PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0);
	set_rule(vc, PCI_CACHE_LINE_SIZE, 1, 0, ALL);
	set_rule(vc, PCI_LATENCY_TIMER, 1, 0, ALL);
	set_rule(vc, PCI_BIST, 1, 0, ALL);
	for (off = PCI_BASE_ADDRESS_0; off <= PCI_BASE_ADDRESS_5; off += 4)
		set_rule(vc, off, 4, ALL, ALL);
	set_rule(vc, PCI_ROM_ADDRESS, 4, ALL, ALL);
	set_rule(vc, PCI_CAPABILITY_LIST, 1, ALL, 0);
	set_rule(vc, PCI_INTERRUPT_LINE, 1, ALL, ALL);
	set_rule(vc, PCI_INTERRUPT_PIN, 1, ALL, 0);
}

static void pm_rules(struct vconfig *vc, unsigned int pos)
{
	const uint16_t pme = PCI_PM_CTRL_PME_ENABLE | PCI_PM_CTRL_PME_STATUS;

	set_rule(vc, pos + PCI_PM_PMC, 2, PCI_PM_CAP_PME_MASK, 0);
	set_rule(vc, pos + PCI_PM_CTRL, 2, pme, (uint16_t)~pme);
	set_rule(vc, pos + PCI_PM_CTRL + 2, 2, 0, ALL);
	/* Power management events end at the host. */
	put_bits(vc->shadow, pos + PCI_PM_PMC, 2, get_bits(vc->shadow, pos + PCI_PM_PMC, 2) & ~PCI_PM_CAP_PME_MASK);
	put_bits(vc->shadow, pos + PCI_PM_CTRL, 2, get_bits(vc->shadow, pos + PCI_PM_CTRL, 2) & ~pme);
}

static void express_rules(struct vconfig *vc, unsigned int pos)
{
	/* The payload size is a property of the whole fabric. */
	set_rule(vc, pos + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR | PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_READRQ,
		 (uint16_t)~PCI_EXP_DEVCTL_PHANTOM);
	set_rule(vc, pos + PCI_EXP_DEVCTL2, 2, 0, (uint16_t)~PCI_EXP_DEVCTL2_ARI);
}

/* Where the function sends messages to is the host's business; what the client writes there it finds again. */
static void msi_rules(struct vconfig *vc, unsigned int pos)
{
	set_rule(vc, pos + PCI_MSI_FLAGS, 1, ALL, ALL);
	set_rule(vc, pos + PCI_MSI_ADDRESS_LO, 4, ALL, ALL);
	set_rule(vc, pos + PCI_MSI_ADDRESS_HI, 4, ALL, ALL);
	set_rule(vc, pos + PCI_MSI_DATA_64, 2, ALL, ALL);
	set_rule(vc, pos + PCI_MSI_MASK_64, 4, 0, ALL);
	set_rule(vc, pos + PCI_MSI_PENDING_64, 4, 0, ALL);
}

/* Bytes of the capability at pos, 0 if clients shall not see it. */
static unsigned int cap_len(const struct vconfig *vc, unsigned int id, unsigned int pos)
{
	switch (id) {
	case PCI_CAP_ID_PM:
		return PCI_PM_SIZEOF;
	case PCI_CAP_ID_MSI:
		return PCI_MSI_PENDING_64 + 4; /* all that there are here have 64 bits and masks */
	case PCI_CAP_ID_VNDR:
		return vc->shadow[pos + PCI_CAP_FLAGS];
	case PCI_CAP_ID_EXP:
		return (vc->shadow[pos + PCI_EXP_FLAGS] & PCI_EXP_FLAGS_VERS) == 1 ? 20 : 60;
	case PCI_CAP_ID_MSIX:
		return PCI_CAP_MSIX_SIZEOF;
	case PCI_CAP_ID_AF:
		return PCI_CAP_AF_SIZEOF;
	default:
		return 0;
	}
}

static void cap_rules(struct vconfig *vc, unsigned int id, unsigned int pos, unsigned int len)
{
	set_range(vc, pos, len, id == PCI_CAP_ID_VNDR ? 0xff : 0);
	set_rule(vc, pos + PCI_CAP_LIST_ID, 1, ALL, 0);
	set_rule(vc, pos + PCI_CAP_LIST_NEXT, 1, ALL, 0);
	if (id == PCI_CAP_ID_PM)
		pm_rules(vc, pos);
	else if (id == PCI_CAP_ID_MSI)
		msi_rules(vc, pos);
	else if (id == PCI_CAP_ID_EXP && len >= PCI_EXP_DEVCTL2 + 2)
		express_rules(vc, pos);
}

/* Walks the list; capabilities that stay hidden are taken out of the shadow's links. */
static void walk_caps(struct vconfig *vc)
{
	unsigned int prev = PCI_CAPABILITY_LIST, pos, left = (EXT_CFG_BASE - PCI_STD_HEADER_SIZEOF) / 4;
	bool any = false;

	pos = vc->shadow[PCI_CAPABILITY_LIST] & ~3u;
	while (pos >= PCI_STD_HEADER_SIZEOF && left--) {
		unsigned int id = vc->shadow[pos], len = cap_len(vc, id, pos);
		unsigned int next = vc->shadow[pos + PCI_CAP_LIST_NEXT] & ~3u;

		if (len && pos + len <= EXT_CFG_BASE) {
			cap_rules(vc, id, pos, len);
			vc->shadow[prev] = pos;
			prev = pos + PCI_CAP_LIST_NEXT;
			any = true;
		}
		pos = next;
	}
	vc->shadow[prev] = 0;
	if (!any)
		vc->shadow[PCI_STATUS] &= ~PCI_STATUS_CAP_LIST;
}

static unsigned int ext_cap_len(const struct vconfig *vc, unsigned int id, unsigned int pos)
{
	switch (id) {
	case PCI_EXT_CAP_ID_ERR:
		return PCI_ERR_ROOT_COMMAND;
	case PCI_EXT_CAP_ID_DSN:
		return PCI_EXT_CAP_DSN_SIZEOF;
	case PCI_EXT_CAP_ID_ARI:
		return PCI_EXT_CAP_ARI_SIZEOF;
	case PCI_EXT_CAP_ID_ATS:
		return PCI_EXT_CAP_ATS_SIZEOF;
	case PCI_EXT_CAP_ID_PRI:
		return PCI_EXT_CAP_PRI_SIZEOF;
	case PCI_EXT_CAP_ID_LTR:
		return PCI_EXT_CAP_LTR_SIZEOF;
	case PCI_EXT_CAP_ID_SRIOV:
		return PCI_EXT_CAP_SRIOV_SIZEOF;
	case PCI_EXT_CAP_ID_VNDR:
	case PCI_EXT_CAP_ID_DVSEC: /* length in bits 31:20 of the dword behind the header */
		return get_bits(vc->shadow, pos + 4, 4) >> 20;
	default:
		return 0;
	}
}

static void ext_cap_rules(struct vconfig *vc, unsigned int id, unsigned int pos, unsigned int len)
{
	/* Uncorrectable: undefined, DLP to TLP prefix blocked; the bits in between that the specification reserves not.
	 */
	const uint32_t unc = 0x03fff031, cor = 0x0000f1c1, ctl = PCI_ERR_CAP_ECRC_GENE | PCI_ERR_CAP_ECRC_CHKE;
	bool raw = id == PCI_EXT_CAP_ID_VNDR || id == PCI_EXT_CAP_ID_DVSEC;

	set_range(vc, pos, len, raw ? 0xff : 0);
	set_rule(vc, pos, 4, ALL, 0);
	if (id != PCI_EXT_CAP_ID_ERR)
		return;
	set_rule(vc, pos + PCI_ERR_UNCOR_STATUS, 4, 0, unc);
	set_rule(vc, pos + PCI_ERR_UNCOR_MASK, 4, 0, unc);
	set_rule(vc, pos + PCI_ERR_UNCOR_SEVER, 4, 0, unc);
	set_rule(vc, pos + PCI_ERR_COR_STATUS, 4, 0, cor);
	set_rule(vc, pos + PCI_ERR_COR_MASK, 4, 0, cor);
	set_rule(vc, pos + PCI_ERR_CAP, 4, 0, ctl);
}

static void set_ext_next(struct vconfig *vc, unsigned int pos, unsigned int next)
{
	uint32_t h = get_bits(vc->shadow, pos, 4);

	put_bits(vc->shadow, pos, 4, (h & 0x000fffff) | next << 20);
}

static void walk_ext_caps(struct vconfig *vc)
{
	unsigned int prev = 0, pos = EXT_CFG_BASE, left = (PCI_CFG_SIZE - EXT_CFG_BASE) / 4;

	while (pos >= EXT_CFG_BASE && left--) {
		uint32_t h = get_bits(vc->shadow, pos, 4);
		unsigned int id = EXT_CAP_ID(h), len = ext_cap_len(vc, id, pos);

		if (len >= 4 && pos + len <= PCI_CFG_SIZE) {
			ext_cap_rules(vc, id, pos, len);
			if (prev)
				set_ext_next(vc, prev, pos);
			prev = pos;
		} else if (pos == EXT_CFG_BASE) {
			/* The list begins here whatever is in it: an anonymous head stands for what is hidden. */
			set_rule(vc, pos, 4, ALL, 0);
			put_bits(vc->shadow, pos, 4, HIDDEN_ID);
			prev = pos;
		}
		pos = EXT_CAP_NEXT(h);
	}
	set_ext_next(vc, prev, 0);
}

/* BAR sizing: address bits below the size, and the type bits, do not follow what was written. */
static void fix_bars(struct vfio_dev *d)
{
	const struct pci_func *f = d->f;
	uint8_t *shadow = d->cfg.shadow;
	unsigned int i;

	for (i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &f->bar[i];
		unsigned int off = PCI_BASE_ADDRESS_0 + 4 * i;
		uint64_t mask = ~(bar->size - 1);
		uint32_t type = 0;

		if (!bar->size) {
			put_bits(shadow, off, 4, 0);
			continue;
		}
		if (bar->mem64)
			type |= PCI_BASE_ADDRESS_MEM_TYPE_64;
		if (bar->prefetch)
			type |= PCI_BASE_ADDRESS_MEM_PREFETCH;
		put_bits(shadow, off, 4, (get_bits(shadow, off, 4) & (uint32_t)mask & ~15u) | type);
		if (bar->mem64 && ++i < PCI_BARS)
			put_bits(shadow, off + 4, 4, get_bits(shadow, off + 4, 4) & (uint32_t)(mask >> 32));
	}
	if (f->rom)
		put_bits(shadow, PCI_ROM_ADDRESS, 4,
			 get_bits(shadow, PCI_ROM_ADDRESS, 4) & ((uint32_t)-f->rom_size | PCI_ROM_ADDRESS_ENABLE));
	else
		put_bits(shadow, PCI_ROM_ADDRESS, 4, 0);
}

/*
 * A virtual function has the identity that its physical function gives it; what it says of its memory is the client's
 * own, and switches nothing.
 */
static void virtual_function_rules(struct vfio_dev *d)
{
	struct vconfig *vc = &d->cfg;

	put_bits(vc->shadow, PCI_VENDOR_ID, 2, pci_func_vendor(d->f));
	put_bits(vc->shadow, PCI_DEVICE_ID, 2, pci_func_device(d->f));
	vc->shadow[PCI_INTERRUPT_PIN] = 0;
	set_rule(vc, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY, ALL);
	vc->shadow[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
}

void config_open(struct vfio_dev *d)
{
	struct vconfig *vc = &d->cfg;

	memcpy(vc->shadow, d->f->cfg, PCI_CFG_SIZE);
	/* What belongs to no capability goes straight to the function: devices keep registers there. */
	set_range(vc, 0, PCI_CFG_SIZE, 0xff);
	header_rules(vc);
	if (get_bits(vc->shadow, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST)
		walk_caps(vc);
	if (d->f->exp_cap && get_bits(vc->shadow, EXT_CFG_BASE, 4))
		walk_ext_caps(vc);
	fix_bars(d);
	if (d->f->physfn)
		virtual_function_rules(d);
}

/* ---- access ---- */

static bool overlaps(unsigned int off, unsigned int size, unsigned int first, unsigned int len)
{
	return off < first + len && off + size > first;
}

static uint32_t read_piece(struct vfio_dev *d, unsigned int off, unsigned int size)
{
	uint32_t virt = get_bits(d->cfg.virt, off, size);
	uint32_t shadow = get_bits(d->cfg.shadow, off, size);

	return (pci_cfg_read(d->f, off, size) & ~virt) | (shadow & virt);
}

/* Through to the function, with bits that a client may not write as they are. */
static void write_through(struct vfio_dev *d, unsigned int off, unsigned int size, uint32_t val)
{
	uint32_t mask = get_bits(d->cfg.write, off, size) & ~get_bits(d->cfg.virt, off, size);

	if (!mask)
		return;
	/* Halves without writable bits stay untouched: they may hold bits that writing back as read would clear. */
	if (size == 4 && (!(mask & 0xffff) || !(mask >> 16))) {
		write_through(d, off, 2, val & 0xffff);
		write_through(d, off + 2, 2, val >> 16);
		return;
	}
	/* Not what is read, which is all ones while the function is away. */
	pci_cfg_write(d->f, off, size, (get_bits(d->f->cfg, off, size) & ~mask) | (val & mask));
}

static unsigned int pm_state(const struct pci_func *f)
{
	return f->cfg[f->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK;
}

/* A function that resets itself on its way from D3hot to D0 gets its configuration back, as from the host kernel. */
static void write_pm_ctrl(struct vfio_dev *d, unsigned int off, unsigned int size, uint32_t val)
{
	struct pci_func *f = d->f;
	uint8_t before[PCI_CFG_SIZE];
	unsigned int old = pm_state(f);

	memcpy(before, f->cfg, sizeof(before));
	write_through(d, off, size, val);
	if (old != 3 && pm_state(f) == 3)
		memcpy(d->before_d3, before, sizeof(before));
	if (old == 3 && pm_state(f) == 0 && !(f->cfg[f->pm_cap + PCI_PM_CTRL] & PCI_PM_CTRL_NO_SOFT_RESET))
		device_restore(d, d->before_d3);
}

void config_set_d0(struct vfio_dev *d)
{
	unsigned int at = d->f->pm_cap + PCI_PM_CTRL;

	if (d->f->pm_cap && pm_state(d->f))
		write_pm_ctrl(d, at, 2, pci_cfg_read(d->f, at, 2) & ~PCI_PM_CTRL_STATE_MASK);
}

static void command_written(struct vfio_dev *d)
{
	bool disabled = get_bits(d->cfg.shadow, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;

	if (disabled != d->intx_disabled)
		irq_intx_disable_changed(d, disabled);
}

/* Function level reset is the client's to ask for; the read request size it may lower, but not below one payload. */
static void devctl_written(struct vfio_dev *d)
{
	unsigned int at = d->f->exp_cap + PCI_EXP_DEVCTL;
	uint32_t ctl = get_bits(d->cfg.shadow, at, 2), real, rrs, mps;

	if (ctl & PCI_EXP_DEVCTL_BCR_FLR) {
		put_bits(d->cfg.shadow, at, 2, ctl & ~PCI_EXP_DEVCTL_BCR_FLR);
		if (pci_cfg_read(d->f, d->f->exp_cap + PCI_EXP_DEVCAP, 4) & PCI_EXP_DEVCAP_FLR)
			device_reset(d);
	}
	real = pci_cfg_read(d->f, at, 2);
	rrs = (ctl & PCI_EXP_DEVCTL_READRQ) >> 12;
	mps = (real & PCI_EXP_DEVCTL_PAYLOAD) >> 5;
	rrs = MAX(rrs, mps);
	if (rrs << 12 != (real & PCI_EXP_DEVCTL_READRQ))
		pci_cfg_write(d->f, at, 2, (real & ~PCI_EXP_DEVCTL_READRQ) | rrs << 12);
}

/* MSI is set up by SET_IRQS alone; then a client may switch it off and on, with no more vectors than it has. */
static void msi_flags_written(struct vfio_dev *d)
{
	unsigned int at = d->f->msi_cap + PCI_MSI_FLAGS, qmax = d->msi_used ? __builtin_ctz(d->msi_used) : 0;
	uint32_t flags = get_bits(d->cfg.shadow, at, 2);

	if (d->irq_type != VFIO_PCI_MSI_IRQ_INDEX)
		flags &= ~PCI_MSI_FLAGS_ENABLE;
	if ((flags & PCI_MSI_FLAGS_QSIZE) >> 4 > qmax)
		flags = (flags & ~PCI_MSI_FLAGS_QSIZE) | qmax << 4;
	put_bits(d->cfg.shadow, at, 2, flags);
	pci_cfg_write(d->f, at, 2, flags);
}

/* COMMAND, the power state, FLR. */
static bool may_change_decode(const struct pci_func *f, unsigned int off, unsigned int size)
{
	return overlaps(off, size, PCI_COMMAND, 2) || (f->pm_cap && overlaps(off, size, f->pm_cap + PCI_PM_CTRL, 1)) ||
	       (f->exp_cap && overlaps(off, size, f->exp_cap + PCI_EXP_DEVCTL, 2));
}

static void write_piece(struct vfio_dev *d, unsigned int off, unsigned int size, uint32_t val)
{
	uint32_t mask = get_bits(d->cfg.write, off, size) & get_bits(d->cfg.virt, off, size);
	uint32_t shadow = get_bits(d->cfg.shadow, off, size);

	if (may_change_decode(d->f, off, size))
		device_settle(d);
	put_bits(d->cfg.shadow, off, size, (shadow & ~mask) | (val & mask));
	if (d->f->pm_cap && overlaps(off, size, d->f->pm_cap + PCI_PM_CTRL, 1))
		write_pm_ctrl(d, off, size, val);
	else
		write_through(d, off, size, val);
	if (overlaps(off, size, PCI_COMMAND, 2))
		command_written(d);
	if (d->f->msi_cap && overlaps(off, size, d->f->msi_cap + PCI_MSI_FLAGS, 1))
		msi_flags_written(d);
	if (overlaps(off, size, PCI_BASE_ADDRESS_0, 24) || overlaps(off, size, PCI_ROM_ADDRESS, 4))
		fix_bars(d);
	if (d->f->exp_cap && overlaps(off, size, d->f->exp_cap + PCI_EXP_DEVCTL, 2))
		devctl_written(d);
}

static unsigned int piece_size(uint64_t off, size_t left)
{
	if (left >= 4 && off % 4 == 0)
		return 4;
	return left >= 2 && off % 2 == 0 ? 2 : 1;
}

static bool in_config(uint64_t off, size_t len)
{
	return off < PCI_CFG_SIZE && len <= PCI_CFG_SIZE - off;
}

static void say_out_of_range(struct vfio_dev *d, uint64_t off, size_t len, bool write)
{
	pci_misuse(d->f, MISUSE_RANGE, VFIO_PCI_CONFIG_REGION_INDEX, off, MIN(len, (size_t)UINT32_MAX), write,
		   "configuration space ends at 0x1000");
}

/* ---- writes that no driver makes ---- */

static void say(struct vfio_dev *d, enum event_misuse kind, unsigned int off, unsigned int size, const char *text)
{
	pci_misuse(d->f, kind, VFIO_PCI_CONFIG_REGION_INDEX, off, size, true, text);
}

static uint64_t bar_written(const struct vfio_dev *d, unsigned int bar)
{
	uint64_t a = get_bits(d->cfg.shadow, PCI_BASE_ADDRESS_0 + 4 * bar, 4) & ~15u;

	if (d->f->bar[bar].mem64)
		a |= (uint64_t)get_bits(d->cfg.shadow, PCI_BASE_ADDRESS_0 + 4 * bar + 4, 4) << 32;
	return a;
}

/* What all ones read back as, which is how the size is found out. */
static uint64_t bar_size_answer(const struct pci_bar *b)
{
	return ~(b->size - 1) & (b->mem64 ? ~0ull : 0xffffffffu);
}

/* The addresses mean nothing to VFIO; to a guest, or on a bus, two BARs would answer, or none. */
static void judge_bars(struct vfio_dev *d, unsigned int off, unsigned int size)
{
	const struct pci_bar *bar = d->f->bar;

	for (unsigned int i = 0; i < PCI_BARS; i++) {
		uint64_t at = bar_written(d, i);

		if (!bar[i].size)
			continue;
		if (at == bar_size_answer(&bar[i])) {
			say(d, MISUSE_CONFIG, off, size, "memory is switched on with a BAR as it was left by sizing");
			return;
		}
		for (unsigned int j = 0; j < i; j++) {
			uint64_t other = bar_written(d, j);

			if (!bar[j].size || !at || !other || at >= other + bar[j].size || other >= at + bar[i].size)
				continue;
			say(d, MISUSE_CONFIG, off, size, "memory is switched on with two BARs at the same addresses");
			return;
		}
	}
}

static bool judge_power(const struct pci_func *f, uint32_t val)
{
	uint32_t has = get_bits(f->cfg, f->pm_cap + PCI_PM_PMC, 2);

	switch (val & PCI_PM_CTRL_STATE_MASK) {
	case 1:
		return has & PCI_PM_CAP_D1;
	case 2:
		return has & PCI_PM_CAP_D2;
	default:
		return true;
	}
}

/* Of the header: what capabilities have is cleared by writing 1, or a guest's to write. So is STATUS. */
static bool read_only(const struct vfio_dev *d, unsigned int off, unsigned int size)
{
	return off < PCI_STD_HEADER_SIZEOF && !overlaps(off, size, PCI_STATUS, 2) && !get_bits(d->cfg.write, off, size);
}

/* The byte of Message Control that has the enable bit. */
static bool enables_msix(const struct pci_func *f, unsigned int off, unsigned int size, uint32_t val)
{
	unsigned int at = f->msix_cap + PCI_MSIX_FLAGS + 1;

	return f->msix_cap && overlaps(off, size, at, 1) && val >> 8 * (at - off) & (PCI_MSIX_FLAGS_ENABLE >> 8);
}

/* Before it takes place. Whoever writes back what he has read does no wrong, so only what differs counts. */
static void write_judge(struct vfio_dev *d, unsigned int off, unsigned int size, uint32_t val)
{
	const struct pci_func *f = d->f;
	uint32_t now = read_piece(d, off, size);

	if (f->away)
		return;
	if (off == PCI_COMMAND && val & ~now & PCI_COMMAND_MEMORY)
		judge_bars(d, off, size);
	if (f->pm_cap && off == f->pm_cap + PCI_PM_CTRL && !judge_power(f, val))
		say(d, MISUSE_CONFIG, off, size, "the function does not have this power state");
	if (enables_msix(f, off, size, val))
		say(d, MISUSE_MSIX_WRITE, off, size,
		    "MSI-X was enabled where VFIO does not take it, and SET_IRQS never did it");
	if (val != now && read_only(d, off, size))
		say(d, MISUSE_CONFIG, off, size, "the register is read-only");
}

ssize_t config_read(struct vfio_dev *d, void *buf, size_t len, uint64_t off)
{
	size_t done, n;

	if (!in_config(off, len)) {
		say_out_of_range(d, off, len, false);
		return -EFAULT;
	}
	for (done = 0; done < len; done += n) {
		uint32_t val;

		n = piece_size(off + done, len - done);
		val = read_piece(d, off + done, n);
		memcpy((uint8_t *)buf + done, &val, n);
	}
	return len;
}

ssize_t config_write(struct vfio_dev *d, const void *buf, size_t len, uint64_t off)
{
	size_t done, n;

	if (!in_config(off, len)) {
		say_out_of_range(d, off, len, true);
		return -EFAULT;
	}
	for (done = 0; done < len; done += n) {
		uint32_t val = 0;

		n = piece_size(off + done, len - done);
		memcpy(&val, (const uint8_t *)buf + done, n);
		if (event_wanted(d->f->evs, EVENT_MISUSE))
			write_judge(d, off + done, n, val);
		write_piece(d, off + done, n, val);
	}
	return len;
}
