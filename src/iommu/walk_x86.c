/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * x86-64 paging as VT-d's first stage uses it: Intel Virtualization Technology for Directed I/O, "First-Stage
 * Translation" (3.6) and "First-Stage Paging Entries" (9.7). Extended accessed flags (EAFE) are off; snoop and memory
 * type bits mean nothing here. Rights are those of all levels together and so are judged at the leaf: an entry that is
 * not present further down is reported first, as a processor does.
 */
#include "iommu/walk_format.h"

#define X86_P	 BIT64(0)
#define X86_RW	 BIT64(1)
#define X86_US	 BIT64(2)
#define X86_A	 BIT64(5)
#define X86_D	 BIT64(6)
#define X86_PS	 BIT64(7) /* in a page table entry it is PAT */
#define X86_XD	 BIT64(63)
#define X86_ADDR WALK_BITS(51, 12)

/* Inherited: what some level above does not allow. */
enum { NO_WRITE = 1, NO_USER = 2, NO_EXEC = 4 };

static int x86_check(const struct walk_config *cfg)
{
	unsigned int update = cfg->flags & (WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY);

	if (cfg->flags & ~(WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY | WALK_HUGE | WALK_WRITE_PROTECT | WALK_NO_EXECUTE))
		return -EINVAL;
	if (update && update != (WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY))
		return -EINVAL;
	if ((cfg->input_bits != 48 && cfg->input_bits != 57) || cfg->output_bits > 52 || cfg->granule != 12)
		return -EINVAL;
	return IS_ALIGNED(cfg->root, 4096) ? 0 : -EINVAL;
}

static void x86_geometry(const struct walk_config *cfg, struct walk_geometry *g)
{
	*g = (struct walk_geometry){
	    .root = cfg->root, .page_shift = 12, .last_bits = 9, .bits = 9, .levels = cfg->input_bits == 57 ? 5 : 4};
}

static bool x86_input_fits(const struct walk_config *cfg, uint64_t iova)
{
	return walk_canonical(iova, cfg->input_bits);
}

/* The size bit exists in page directories (2 MiB) and, if supported, in the tables above them (1 GiB). */
static bool x86_may_be_huge(const struct walk_state *w)
{
	return w->level == 1 || (w->level == 2 && w->cfg->flags & WALK_HUGE);
}

static enum walk_fault x86_parse(const struct walk_state *w, struct walk_entry *e)
{
	uint64_t reserved = X86_ADDR & ~WALK_BITS(w->cfg->output_bits - 1, 0);

	if (!(e->raw & X86_P))
		return WALK_NOT_PRESENT;
	e->leaf = w->level == 0 || (e->raw & X86_PS && x86_may_be_huge(w));
	if (e->leaf && w->level)
		reserved |= WALK_BITS(w->shift - 1, 13); /* bit 12 is PAT */
	else if (w->level)
		reserved |= X86_PS;
	if (e->raw & reserved)
		return WALK_RESERVED;
	e->addr = e->raw & X86_ADDR;
	if (!(e->raw & X86_RW))
		e->inherited |= NO_WRITE;
	if (!(e->raw & X86_US))
		e->inherited |= NO_USER;
	if (e->raw & X86_XD && w->cfg->flags & WALK_NO_EXECUTE)
		e->inherited |= NO_EXEC;
	if (w->cfg->flags & WALK_UPDATE_ACCESSED && !e->leaf)
		e->want |= X86_A;
	return WALK_OK;
}

static int x86_rights(const struct walk_state *w, unsigned int no)
{
	bool privileged = w->access & WALK_PRIV;
	int prot = IOMMU_READ;

	if (no & NO_USER && !privileged)
		return WALK_PRIV;
	if (!(no & NO_WRITE) || (privileged && !(w->cfg->flags & WALK_WRITE_PROTECT)))
		prot |= IOMMU_WRITE;
	if (!(no & NO_EXEC))
		prot |= WALK_EXEC;
	return prot | (no & NO_USER ? WALK_PRIV : 0);
}

/* 3.6.2: A is set by any use, D by a write, in one go with the walk. */
static enum walk_fault x86_admit(const struct walk_state *w, struct walk_entry *e)
{
	e->prot = x86_rights(w, e->inherited);
	if (walk_denied(w, e->prot))
		return WALK_PERMISSION;
	if (!(w->cfg->flags & WALK_UPDATE_ACCESSED))
		return WALK_OK;
	e->want |= X86_A;
	if (w->access & IOMMU_WRITE)
		e->want |= X86_D;
	if (!(e->want & X86_D))
		e->prot &= ~IOMMU_WRITE;
	return WALK_OK;
}

const struct walk_format walk_x86 = {
    .check = x86_check,
    .geometry = x86_geometry,
    .input_fits = x86_input_fits,
    .parse = x86_parse,
    .admit = x86_admit,
};
