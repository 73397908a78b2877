/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RISC-V Sv39, Sv48 and Sv57: The RISC-V Instruction Set Manual, volume II, version 1.12: "Virtual Address Translation
 * Process" (4.3.2, the steps named below), Sv39 (4.4), Sv48 (4.5), Sv57 (4.6), Svnapot (5), Svpbmt (6); the Svade and
 * Svadu extensions for accessed and dirty bits. The RISC-V IOMMU walks the first stage in the same way.
 */
#include "iommu/walk_format.h"

#define RV_V	BIT64(0)
#define RV_R	BIT64(1)
#define RV_W	BIT64(2)
#define RV_X	BIT64(3)
#define RV_U	BIT64(4)
#define RV_A	BIT64(6)
#define RV_D	BIT64(7)
#define RV_PPN	WALK_BITS(53, 10)
#define RV_RES	WALK_BITS(60, 54)
#define RV_PBMT WALK_BITS(62, 61)
#define RV_N	BIT64(63)

static int riscv_check(const struct walk_config *cfg)
{
	unsigned int update = cfg->flags & (WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY);

	if (cfg->flags & ~(WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY | WALK_BIG_ENDIAN | WALK_SUPERVISOR_USER |
			   WALK_NAPOT | WALK_MEMORY_TYPE))
		return -EINVAL;
	if (update && update != (WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY))
		return -EINVAL;
	if (cfg->input_bits != 39 && cfg->input_bits != 48 && cfg->input_bits != 57)
		return -EINVAL;
	if (cfg->output_bits > 56 || cfg->granule != 12)
		return -EINVAL;
	return IS_ALIGNED(cfg->root, 4096) ? 0 : -EINVAL;
}

static void riscv_geometry(const struct walk_config *cfg, struct walk_geometry *g)
{
	*g = (struct walk_geometry){
	    .root = cfg->root, .page_shift = 12, .last_bits = 9, .bits = 9, .levels = (cfg->input_bits - 12) / 9};
}

static bool riscv_input_fits(const struct walk_config *cfg, uint64_t iova)
{
	return walk_canonical(iova, cfg->input_bits);
}

/* Step 3: what no leaf, and what no pointer, may have set. */
static uint64_t riscv_reserved(const struct walk_state *w, bool leaf)
{
	uint64_t reserved = RV_RES;

	if (!leaf)
		return reserved | RV_PBMT | RV_N | RV_U | RV_A | RV_D;
	if (!(w->cfg->flags & WALK_MEMORY_TYPE))
		reserved |= RV_PBMT;
	if (!(w->cfg->flags & WALK_NAPOT) || w->level)
		reserved |= RV_N;
	return reserved;
}

/* Steps 3, 4 and 6. */
static enum walk_fault riscv_parse(const struct walk_state *w, struct walk_entry *e)
{
	if (!(e->raw & RV_V))
		return WALK_NOT_PRESENT;
	e->leaf = e->raw & (RV_R | RV_X);
	if ((e->raw & (RV_R | RV_W)) == RV_W || (!e->leaf && !w->level) || e->raw & riscv_reserved(w, e->leaf))
		return WALK_RESERVED;
	e->addr = (e->raw & RV_PPN) << 2;
	if (!e->leaf)
		return WALK_OK;
	if ((e->raw & RV_PBMT) == RV_PBMT)
		return WALK_RESERVED;
	if (e->raw & RV_N) {
		/* Svnapot: ppn[3:0] 1000 stands for 64 KiB; the other encodings are reserved. */
		if ((e->addr & 0xf000) != 0x8000)
			return WALK_RESERVED;
		e->shift = 16;
	}
	return IS_ALIGNED(e->addr, BIT64(w->shift)) ? WALK_OK : WALK_RESERVED;
}

/* Step 5. */
static int riscv_rights(const struct walk_state *w, uint64_t raw)
{
	int prot = 0;

	if (raw & RV_R)
		prot |= IOMMU_READ;
	if (raw & RV_W)
		prot |= IOMMU_WRITE;
	if (raw & RV_X)
		prot |= WALK_EXEC;
	if (!(raw & RV_U))
		return w->access & WALK_PRIV ? prot | WALK_PRIV : WALK_PRIV;
	if (!(w->access & WALK_PRIV))
		return prot;
	/* Supervisors may read and write user pages if SUM says so, and execute them never. */
	return w->cfg->flags & WALK_SUPERVISOR_USER ? prot & ~WALK_EXEC : 0;
}

/* Steps 5 and 7. */
static enum walk_fault riscv_admit(const struct walk_state *w, struct walk_entry *e)
{
	e->prot = riscv_rights(w, e->raw);
	if (walk_denied(w, e->prot))
		return WALK_PERMISSION;
	e->want |= RV_A;
	if (w->access & IOMMU_WRITE)
		e->want |= RV_D;
	if (e->want != e->raw && !(w->cfg->flags & WALK_UPDATE_ACCESSED))
		return WALK_ACCESS_FLAG;
	if (!(e->want & RV_D))
		e->prot &= ~IOMMU_WRITE;
	return WALK_OK;
}

const struct walk_format walk_riscv = {
    .check = riscv_check,
    .geometry = riscv_geometry,
    .input_fits = riscv_input_fits,
    .parse = riscv_parse,
    .admit = riscv_admit,
};
