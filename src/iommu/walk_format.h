/* SPDX-License-Identifier: BSD-3-Clause */
/* What a page table format is to the skeleton in walk.c. Private to the walkers. */
#ifndef PINFOLD_IOMMU_WALK_FORMAT_H
#define PINFOLD_IOMMU_WALK_FORMAT_H

#include "base/util.h"
#include "iommu/walk.h"

#define WALK_ACCESS_MASK (IOMMU_READ | IOMMU_WRITE | WALK_EXEC)

/* The table of level 0 has 2^last_bits entries, those above it 2^bits. */
struct walk_geometry {
	uint64_t root; /* as the format aligns it */
	unsigned int page_shift, last_bits, bits;
	unsigned int levels;
};

/* A walk under way, as its format sees it. */
struct walk_state {
	const struct walk_config *cfg;
	const struct walk_format *fmt;
	const struct walk_mem *mem;
	bool big_endian;
	uint64_t iova;
	int access;
	unsigned int level, shift; /* shift: log2 of what one entry of this level covers */
	unsigned int inherited;	   /* what the entries above forbid; bits of the format's own */
};

/* What a format makes of its private copy of an entry. */
struct walk_entry {
	uint64_t raw;
	uint64_t addr;		/* of the next table; of the frame, where bits below shift do not count */
	uint64_t want;		/* what raw has to become before it is used */
	uint64_t first, last;	/* the indices that the next table has */
	unsigned int inherited; /* for the next level */
	unsigned int shift;	/* log2 of the frame */
	bool leaf;
	int prot;
};

/*
 * parse   fills *e but prot from e->raw; want and inherited come set to raw and to the state's.
 * admit   of a leaf whose address is good: prot and want, or why the access is refused.
 * Neither sees memory, and both may be called again for the same level with another raw.
 */
struct walk_format {
	int (*check)(const struct walk_config *cfg);
	void (*geometry)(const struct walk_config *cfg, struct walk_geometry *g);
	bool (*input_fits)(const struct walk_config *cfg, uint64_t iova);
	enum walk_fault (*parse)(const struct walk_state *w, struct walk_entry *e);
	enum walk_fault (*admit)(const struct walk_state *w, struct walk_entry *e);
	bool big_endian;
};

extern const struct walk_format walk_x86, walk_arm, walk_riscv, walk_s390;

/* The bits [hi:lo]. */
#define WALK_BITS(hi, lo) ((~0ULL >> (63 - (hi))) & (~0ULL << (lo)))

/* True if x needs more than bits bits. */
static inline bool walk_too_wide(uint64_t x, unsigned int bits)
{
	return bits < 64 && x >> bits;
}

/* True if x is the sign extension of its low bits bits. */
static inline bool walk_canonical(uint64_t x, unsigned int bits)
{
	return (uint64_t)((int64_t)(x << (64 - bits)) >> (64 - bits)) == x;
}

/* True if prot lacks something that the access asks for. */
static inline bool walk_denied(const struct walk_state *w, int prot)
{
	return w->access & WALK_ACCESS_MASK & ~prot;
}

#endif
