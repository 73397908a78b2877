/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BAR 0. Drivers use accesses of any width, and two dwords for a qword, so a register is found by the bytes that an
 * access touches: a read takes what it covers, and a write changes what it covers.
 */
#include "devices/ioat/ioat.h"

struct reg {
	uint8_t off, size;
};

static const struct reg general_regs[] = {
    {IOAT_CHANCNT, 1}, {IOAT_XFERCAP, 1},   {IOAT_GENCTRL, 1},	 {IOAT_INTRCTRL, 1}, {IOAT_ATTNSTATUS, 4},
    {IOAT_CBVER, 1},   {IOAT_INTRDELAY, 2}, {IOAT_CS_STATUS, 2}, {IOAT_DMACAP, 4},
};

static const struct reg chan_regs[] = {
    {IOAT_CHANCTRL, 2},	 {IOAT_DMA_COMP, 2}, {IOAT_CHANCMD, 1}, {IOAT_DMACOUNT, 2}, {IOAT_CHANSTS, 8},
    {IOAT_CHAINADDR, 8}, {IOAT_CHANCMP, 8},  {IOAT_CDAR, 8},	{IOAT_CHANERR, 4},  {IOAT_ERRMASK, 4},
};

/* ---- one register ---- */
static uint64_t general_read(struct ioat *d, unsigned int reg)
{
	uint64_t v;

	switch (reg) {
	case IOAT_CHANCNT:
		return d->nchans;
	case IOAT_XFERCAP:
		return d->xfercap;
	case IOAT_GENCTRL:
		return d->genctrl;
	case IOAT_INTRCTRL:
		v = d->intrctrl | (d->attn ? IOAT_INTRCTRL_STATUS : 0);
		if (d->attn && d->intrctrl & IOAT_INTRCTRL_MASTER)
			v |= IOAT_INTRCTRL_INT;
		d->intrctrl &= ~IOAT_INTRCTRL_MASTER;
		ioat_line_update(d);
		return v;
	case IOAT_ATTNSTATUS:
		v = d->attn;
		d->attn = 0;
		ioat_line_update(d);
		return v;
	case IOAT_CBVER:
		return d->version;
	case IOAT_INTRDELAY:
		return d->intrdelay;
	case IOAT_DMACAP:
		return IOAT_DMACAP_FILL;
	default:
		return 0;
	}
}

static void general_write(struct ioat *d, unsigned int reg, uint64_t val, uint64_t mask)
{
	switch (reg) {
	case IOAT_GENCTRL:
		d->genctrl = val & IOAT_GENCTRL_DEBUG;
		break;
	case IOAT_INTRCTRL:
		d->intrctrl = val & (IOAT_INTRCTRL_MASTER | IOAT_INTRCTRL_MSIX);
		ioat_line_update(d);
		break;
	case IOAT_INTRDELAY:
		d->intrdelay = ((d->intrdelay & ~mask) | val) & IOAT_INTRDELAY_MASK;
		break;
	default:
		pci_misuse(&d->f, MISUSE_READ_ONLY, 0, reg, 1, true, "the register is read-only");
		break;
	}
}

static uint64_t chan_read(struct ioat_chan *c, unsigned int reg)
{
	uint64_t v;

	switch (reg) {
	case IOAT_CHANCTRL:
		v = c->ctrl;
		c->ctrl |= IOAT_CHANCTRL_IN_USE;
		return v;
	case IOAT_DMA_COMP:
		return IOAT_DMA_COMP_V2;
	case IOAT_DMACOUNT:
		return c->count;
	case IOAT_CHANSTS:
		return ioat_chan_status(c);
	case IOAT_CHAINADDR:
		return c->chain;
	case IOAT_CHANCMP:
		return c->cmp;
	case IOAT_CDAR:
		return c->cur;
	case IOAT_CHANERR:
		return c->err;
	case IOAT_ERRMASK:
		return c->errmask;
	default:
		return 0; /* CHANCMD: every command is done when its write is */
	}
}

static void ctrl_write(struct ioat_chan *c, uint16_t val, uint16_t mask)
{
	uint16_t writable = mask & IOAT_CHANCTRL_WRITABLE;

	c->ctrl = (c->ctrl & ~writable) | (val & writable);
	c->ctrl &= ~(val & IOAT_CHANCTRL_INT_DIS);
	c->ctrl &= ~(mask & ~val & IOAT_CHANCTRL_IN_USE);
}

static void chan_write(struct ioat_chan *c, unsigned int reg, uint64_t val, uint64_t mask)
{
	switch (reg) {
	case IOAT_CHANCTRL:
		ctrl_write(c, val, mask);
		break;
	case IOAT_CHANCMD:
		ioat_chan_command(c, val);
		break;
	case IOAT_DMACOUNT:
		ioat_chan_append(c, (c->count & ~mask) | val);
		break;
	case IOAT_CHAINADDR:
		ioat_chan_set_chain(c, (c->chain & ~mask) | val);
		break;
	case IOAT_CHANCMP:
		c->cmp = (c->cmp & ~mask) | val;
		c->cmp_old = false;
		c->cmp_given = dma_dev_moves(c->dev->f.dma);
		break;
	case IOAT_CHANERR:
		c->err &= ~val;
		break;
	case IOAT_ERRMASK:
		c->errmask = (c->errmask & ~mask) | val;
		break;
	default:
		ioat_chan_misuse(c, MISUSE_READ_ONLY, reg, "the register is read-only");
		break;
	}
}

/* ---- accesses ---- */
/* The registers of a block, or NULL where there is none. *c: the channel, NULL for the general block. */
static const struct reg *block_find(struct ioat *d, uint64_t off, struct ioat_chan **c, size_t *n)
{
	uint64_t block = off / IOAT_CHAN_SIZE;

	*c = NULL;
	*n = block ? ARRAY_SIZE(chan_regs) : ARRAY_SIZE(general_regs);
	if (!block)
		return general_regs;
	if (block > d->nchans)
		return NULL;
	*c = &d->chan[block - 1];
	return chan_regs;
}

static uint64_t bytes_mask(unsigned int size)
{
	return size == 8 ? ~0ULL : (1ULL << 8 * size) - 1;
}

static bool covers_register(const struct reg *r, size_t n, uint64_t at, unsigned int size)
{
	for (size_t i = 0; r && i < n; i++)
		if (r[i].off < at + size && at < (uint64_t)r[i].off + r[i].size)
			return true;
	return false;
}

/* An access lies in one block, or begins in one and ends in the next, whose first bytes are then not looked at. */
uint64_t ioat_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	struct ioat *d = container_of(f, struct ioat, f);
	uint64_t at = off % IOAT_CHAN_SIZE, val = 0, v;
	struct ioat_chan *c;
	const struct reg *r;
	size_t n;

	r = block_find(d, off, &c, &n);
	for (size_t i = 0; r && i < n; i++, r++) {
		if (r->off >= at + size || at >= (uint64_t)r->off + r->size)
			continue;
		v = c ? chan_read(c, r->off) : general_read(d, r->off);
		val |= r->off >= at ? v << 8 * (r->off - at) : v >> 8 * (at - r->off);
	}
	return val & bytes_mask(size);
}

void ioat_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct ioat *d = container_of(f, struct ioat, f);
	uint64_t at = off % IOAT_CHAN_SIZE, mask = bytes_mask(size), v, m;
	struct ioat_chan *c;
	const struct reg *r;
	size_t n;

	val &= mask;
	r = block_find(d, off, &c, &n);
	if (!covers_register(r, n, at, size))
		pci_misuse(f, MISUSE_RANGE, bar, off, size, true, "there is no register");
	for (size_t i = 0; r && i < n; i++, r++) {
		if (r->off >= at + size || at >= (uint64_t)r->off + r->size)
			continue;
		v = r->off >= at ? val >> 8 * (r->off - at) : val << 8 * (at - r->off);
		m = r->off >= at ? mask >> 8 * (r->off - at) : mask << 8 * (at - r->off);
		m &= bytes_mask(r->size);
		if (c)
			chan_write(c, r->off, v & m, m);
		else
			general_write(d, r->off, v & m, m);
	}
}
