/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O translation tables of s390 PCI functions: region-first, -second and -third tables, segment tables and page
 * tables, in the formats of z/Architecture Principles of Operation (SA22-7832), chapter 3, "Dynamic Address
 * Translation", "Translation Tables". Big-endian, no accessed or dirty bits (those are in the storage key), one
 * privilege. Bits below are counted from the least significant one; the manual counts from the other end.
 */
#include "iommu/walk_format.h"

/* Region and segment table entries. */
#define S390_TL	       WALK_BITS(1, 0) /* last quarter of the next table that exists */
#define S390_TT	       WALK_BITS(3, 2) /* type: the table in which the entry stands */
#define S390_I	       BIT64(5)
#define S390_TF_SHIFT  6 /* first quarter of the next table that exists */
#define S390_P	       BIT64(9)
#define S390_FC	       BIT64(10) /* the entry is a frame */
#define S390_ORIGIN    WALK_BITS(63, 12)
#define S390_PT_ORIGIN WALK_BITS(63, 11)
#define S390_SEGMENT   WALK_BITS(63, 20)

/* Page table entries. */
#define S390_PTE_IEP BIT64(8)
#define S390_PTE_I   BIT64(10)
#define S390_PTE_0   BIT64(11)

#define PT_BITS	    8
#define REGION_BITS 11

enum { NO_WRITE = 1 };

static int s390_check(const struct walk_config *cfg)
{
	if (cfg->flags & ~WALK_HUGE || cfg->granule != 12)
		return -EINVAL;
	if (cfg->input_bits != 31 && cfg->input_bits != 42 && cfg->input_bits != 53 && cfg->input_bits != 64)
		return -EINVAL;
	return cfg->root & ~S390_ORIGIN ? -EINVAL : 0;
}

static void s390_geometry(const struct walk_config *cfg, struct walk_geometry *g)
{
	*g = (struct walk_geometry){.root = cfg->root,
				    .page_shift = 12,
				    .last_bits = PT_BITS,
				    .bits = REGION_BITS,
				    .levels = 1 + (cfg->input_bits - 20) / REGION_BITS};
}

static bool s390_input_fits(const struct walk_config *cfg, uint64_t iova)
{
	return !walk_too_wide(iova, cfg->input_bits);
}

/* A page table entry: frame, bit that must be zero, invalid, protection. */
static enum walk_fault s390_parse_page(struct walk_entry *e)
{
	if (e->raw & S390_PTE_I)
		return WALK_NOT_PRESENT;
	if (e->raw & S390_PTE_0)
		return WALK_RESERVED;
	e->leaf = true;
	e->addr = e->raw & S390_ORIGIN;
	return WALK_OK;
}

/* Segment table entries have type 0, region-third 1, -second 2, -first 3: our level less one. */
static enum walk_fault s390_parse(const struct walk_state *w, struct walk_entry *e)
{
	if (e->raw & S390_P)
		e->inherited |= NO_WRITE;
	if (!w->level)
		return s390_parse_page(e);
	if (e->raw & S390_I)
		return WALK_NOT_PRESENT;
	if ((e->raw & S390_TT) >> 2 != w->level - 1)
		return WALK_RESERVED;
	/* Region-third frames of 2 GiB (EDAT-2) are not for us: better refused than taken for a table. */
	if (w->level == 2 && e->raw & S390_FC)
		return WALK_RESERVED;
	if (w->level > 1) {
		/* Table offset and length count quarters of the next table; what lies outside them is not there. */
		e->first = ((e->raw >> S390_TF_SHIFT) & 3) << (REGION_BITS - 2);
		e->last = (((e->raw & S390_TL) + 1) << (REGION_BITS - 2)) - 1;
		e->addr = e->raw & S390_ORIGIN;
		return WALK_OK;
	}
	if (!(e->raw & S390_FC)) {
		e->addr = e->raw & S390_PT_ORIGIN;
		return WALK_OK;
	}
	if (!(w->cfg->flags & WALK_HUGE))
		return WALK_RESERVED;
	e->leaf = true;
	e->addr = e->raw & S390_SEGMENT;
	return WALK_OK;
}

static enum walk_fault s390_admit(const struct walk_state *w, struct walk_entry *e)
{
	e->prot = IOMMU_READ;
	if (!(e->inherited & NO_WRITE))
		e->prot |= IOMMU_WRITE;
	/* Instruction-execution protection has the same bit in both kinds of leaf. */
	if (!(e->raw & S390_PTE_IEP))
		e->prot |= WALK_EXEC;
	return walk_denied(w, e->prot) ? WALK_PERMISSION : WALK_OK;
}

const struct walk_format walk_s390 = {
    .check = s390_check,
    .geometry = s390_geometry,
    .input_fits = s390_input_fits,
    .parse = s390_parse,
    .admit = s390_admit,
    .big_endian = true,
};
