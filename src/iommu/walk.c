/* SPDX-License-Identifier: BSD-3-Clause */
/* The skeleton of all walkers: from the root down, one entry per level. */
#include <endian.h>

#include "iommu/walk_format.h"

static const struct walk_format *const formats[] = {
    [WALK_X86] = &walk_x86,
    [WALK_ARM] = &walk_arm,
    [WALK_RISCV] = &walk_riscv,
    [WALK_S390] = &walk_s390,
};
_Static_assert(ARRAY_SIZE(formats) == WALK_FORMATS, "each format has its walker");

int walk_config_check(const struct walk_config *cfg)
{
	if ((unsigned int)cfg->format >= WALK_FORMATS || cfg->flags & ~WALK_FLAGS_ALL)
		return -EINVAL;
	if (cfg->output_bits < 32 || cfg->output_bits > 64 || walk_too_wide(cfg->root, cfg->output_bits))
		return -EINVAL;
	return formats[cfg->format]->check(cfg);
}

static int entry_load(const struct walk_state *w, uint64_t addr, uint64_t *raw)
{
	uint64_t stored;

	if (w->mem->load(w->mem->ctx, addr, &stored, sizeof(stored)))
		return -EFAULT;
	*raw = w->big_endian ? be64toh(stored) : le64toh(stored);
	return 0;
}

static int entry_update(const struct walk_state *w, uint64_t addr, uint64_t old, uint64_t new)
{
	if (w->big_endian)
		return w->mem->update(w->mem->ctx, addr, __builtin_bswap64(old), __builtin_bswap64(new));
	return w->mem->update(w->mem->ctx, addr, old, new);
}

/*
 * From here on e->addr is what iova translates to. A frame larger than all that can be output (of Sv57, say) counts
 * only as far as that reaches.
 */
static void leaf_narrow(const struct walk_state *w, struct walk_entry *e)
{
	uint64_t offset = BIT64(e->shift) - 1;

	e->addr = (e->addr & ~offset) | (w->iova & offset);
	e->shift = MIN(e->shift, w->cfg->output_bits);
}

/* Judges e->raw, which nobody else can change. */
static enum walk_fault entry_decode(const struct walk_state *w, struct walk_entry *e)
{
	enum walk_fault fault;

	e->want = e->raw;
	e->inherited = w->inherited;
	e->first = 0;
	e->last = UINT64_MAX;
	e->leaf = false;
	e->shift = w->shift;
	fault = w->fmt->parse(w, e);
	if (fault)
		return fault;
	if (e->leaf)
		leaf_narrow(w, e);
	if (walk_too_wide(e->addr, w->cfg->output_bits))
		return WALK_ADDRESS_SIZE;
	return e->leaf ? w->fmt->admit(w, e) : WALK_OK;
}

/*
 * Loads and judges the entry at addr, and sets the bits that its use sets. Who loses the race for it starts again with
 * what is there now: the bits must not be set in an entry that means something else.
 */
static enum walk_fault entry_take(const struct walk_state *w, uint64_t addr, struct walk_entry *e)
{
	for (unsigned int i = 0; i < WALK_TRIES; i++) {
		enum walk_fault fault;
		int r;

		if (entry_load(w, addr, &e->raw))
			return WALK_TABLE;
		fault = entry_decode(w, e);
		if (fault || e->want == e->raw)
			return fault;
		r = entry_update(w, addr, e->raw, e->want);
		if (r != -EAGAIN)
			return r ? WALK_TABLE : WALK_OK;
	}
	return WALK_BUSY;
}

static int fault_set(struct walk_fault_info *info, enum walk_fault kind, unsigned int level, uint64_t entry_addr)
{
	*info = (struct walk_fault_info){.kind = kind, .level = level, .entry_addr = entry_addr};
	return -EFAULT;
}

static void result_set(const struct walk_state *w, const struct walk_entry *e, struct walk_result *res)
{
	*res = (struct walk_result){
	    .addr = e->addr,
	    .size = BIT64(e->shift),
	    .prot = e->prot,
	    .level = w->level,
	};
}

int walk(const struct walk_config *cfg, const struct walk_mem *mem, uint64_t iova, int access, struct walk_result *res,
	 struct walk_fault_info *fault)
{
	const struct walk_format *fmt = formats[cfg->format];
	struct walk_state w = {.cfg = cfg, .fmt = fmt, .mem = mem, .iova = iova, .access = access};
	struct walk_entry e = {.last = UINT64_MAX};
	struct walk_geometry g;

	if (!(access & WALK_ACCESS_MASK))
		w.access |= IOMMU_READ;
	w.big_endian = fmt->big_endian || cfg->flags & WALK_BIG_ENDIAN;
	fmt->geometry(cfg, &g);
	e.addr = g.root;
	if (!fmt->input_fits(cfg, iova))
		return fault_set(fault, WALK_ADDRESS_SIZE, g.levels - 1, 0);
	for (w.level = g.levels; w.level--;) {
		unsigned int bits = w.level ? g.bits : g.last_bits;
		enum walk_fault kind;
		uint64_t index, entry_addr;

		w.shift = g.page_shift + (w.level ? g.last_bits + (w.level - 1) * g.bits : 0);
		index = (iova >> w.shift) & (BIT64(bits) - 1);
		if (add_overflows(e.addr, index * 8, &entry_addr) || walk_too_wide(entry_addr, cfg->output_bits))
			return fault_set(fault, WALK_ADDRESS_SIZE, w.level, entry_addr);
		if (index < e.first || index > e.last)
			return fault_set(fault, WALK_NOT_PRESENT, w.level, entry_addr);
		kind = entry_take(&w, entry_addr, &e);
		if (kind)
			return fault_set(fault, kind, w.level, entry_addr);
		if (e.leaf) {
			result_set(&w, &e, res);
			return 0;
		}
		w.inherited = e.inherited;
	}
	/* No format takes an entry of level 0 for a table. */
	return fault_set(fault, WALK_RESERVED, 0, 0);
}
