/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of the radix table: table.c (translations), table_dirty.c and table_pool.c (memory).
 *
 * An entry:
 *   empty   0
 *   leaf    host pointer, aligned to 2 KiB at least | prot << 2 | ENTRY_LEAF
 *   table   pointer to 512 entries, aligned to 4 KiB | entries in it that are not empty << 2 | ENTRY_TABLE
 * So the entry of the next leaf of a seamless run is this one plus the leaf's size, and the count of a table lies in
 * the cache line through which one came to it.
 *
 * Tables come from chunks of 2 MiB, aligned to their size, so that a table's address gives its dirty bits:
 *
 *   64-byte lines 0-7      struct chunk
 *   64-byte lines 8-511    the dirty bits of pages 8-511
 *   4 KiB pages 8-511      tables
 */
#ifndef PINFOLD_IOMMU_TABLE_PRIVATE_H
#define PINFOLD_IOMMU_TABLE_PRIVATE_H

#include "base/list.h"
#include "base/util.h"
#include "iommu/iommu.h"
#include "iommu/table.h"

enum {
	TABLE_BITS = 9,
	TABLE_ENTRIES = 1 << TABLE_BITS,
	TABLE_BYTES = TABLE_ENTRIES * 8,
	TABLE_LEVELS = 6, /* for 64 bits */
	TABLE_WORDS = TABLE_ENTRIES / 64,
};

#define ENTRY_LEAF	 1ULL
#define ENTRY_TABLE	 2ULL
#define ENTRY_TYPE	 3ULL
#define ENTRY_PROT_SHIFT 2
#define ENTRY_HOST	 (~0x7ffULL)
#define ENTRY_COUNT	 0x3ffULL
#define ENTRY_ONE	 (1ULL << 2) /* one of a table's count */

#define CHUNK_BYTES  (2UL << 20)
#define CHUNK_PAGES  (CHUNK_BYTES / TABLE_BYTES)
#define CHUNK_HEADER 8 /* pages, and lines */
#define CHUNK_TABLES (CHUNK_PAGES - CHUNK_HEADER)

_Static_assert(CHUNK_PAGES *TABLE_WORDS * 8 == CHUNK_HEADER * TABLE_BYTES, "a line for each page");

struct chunk {
	struct list node;		 /* in pool->open if it has a free table, else in pool->full */
	uint64_t free[CHUNK_PAGES / 64]; /* a bit for each page; those of the header are never set */
	unsigned int nfree;
};

struct table_pool {
	struct list open, full; /* chunk.node. In open, those that are all free come last. */
	uint64_t nchunk, nfree; /* chunks; free tables */
	uint64_t nidle;		/* chunks that are all free */
};

struct table {
	uint64_t root; /* an entry; its count may be 0 */
	uint64_t last; /* the last IOVA */
	unsigned int leaf_shift;
	unsigned int top;	  /* the root's level */
	unsigned int leaf_levels; /* bit k: leaves of level k are allowed */
	bool dirty;		  /* as the dirty bit of an entry that holds the root would be */
	struct table_pool pool;
};

/* ---- entries ---- */

static inline bool entry_is_leaf(uint64_t e)
{
	return e & ENTRY_LEAF;
}

static inline char *entry_host(uint64_t e)
{
	return (char *)(e & ENTRY_HOST);
}

static inline int entry_prot(uint64_t e)
{
	return (e >> ENTRY_PROT_SHIFT) & (IOMMU_READ | IOMMU_WRITE);
}

static inline uint64_t *entry_table(uint64_t e)
{
	return (uint64_t *)(e & ~(uint64_t)(TABLE_BYTES - 1));
}

static inline unsigned int entry_count(uint64_t e)
{
	return (e >> 2) & ENTRY_COUNT;
}

/* ---- places: the slot at a level that holds an IOVA ---- */

static inline unsigned int level_shift(const struct table *t, unsigned int level)
{
	return t->leaf_shift + TABLE_BITS * level;
}

static inline unsigned int slot_index(uint64_t iova, unsigned int shift)
{
	return (iova >> shift) % TABLE_ENTRIES;
}

static inline uint64_t slot_first(uint64_t iova, unsigned int shift)
{
	return iova & ~((1ULL << shift) - 1);
}

static inline uint64_t slot_last(uint64_t iova, unsigned int shift)
{
	return iova | ((1ULL << shift) - 1);
}

/* The first IOVA of the table whose slots are of this size. */
static inline uint64_t node_first(uint64_t iova, unsigned int shift)
{
	return iova & ~(((uint64_t)TABLE_ENTRIES << shift) - 1);
}

/* ---- dirty bits ---- */

static inline uint64_t *node_dirty(const uint64_t *node)
{
	uintptr_t page = (uintptr_t)node, chunk = page & ~(CHUNK_BYTES - 1);

	return (uint64_t *)(chunk + (page - chunk) / (TABLE_BYTES / 64));
}

static inline bool dirty_test(const uint64_t *bits, unsigned int i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static inline void dirty_set(uint64_t *bits, unsigned int i)
{
	bits[i / 64] |= 1ULL << (i % 64);
}

static inline void dirty_clear(uint64_t *bits, unsigned int i)
{
	bits[i / 64] &= ~(1ULL << (i % 64));
}

/* Bits first to last of a word, inclusive, as far as they lie in word w. */
static inline uint64_t dirty_mask(unsigned int w, unsigned int first, unsigned int last)
{
	uint64_t low = first > w * 64 ? ~0ULL << (first % 64) : ~0ULL;
	uint64_t high = last < w * 64 + 63 ? ~0ULL >> (63 - last % 64) : ~0ULL;

	return low & high;
}

static inline bool dirty_any(const uint64_t *bits)
{
	uint64_t any = 0;

	for (unsigned int w = 0; w < TABLE_WORDS; w++)
		any |= bits[w];
	return any;
}

/* ---- memory ---- */

void table_pool_init(struct table_pool *p);
void table_pool_fini(struct table_pool *p); /* gives all back, used or not */

/* Makes sure that n tables are free; -ENOMEM: nothing has changed. */
int table_pool_reserve(struct table_pool *p, uint64_t n);
/* Cannot fail: it was reserved. Zero, its dirty bits too. */
uint64_t *table_pool_get(struct table_pool *p);
void table_pool_put(struct table_pool *p, uint64_t *node); /* zero, as above */
/* Gives back what is more than a small stock. Reserves are void afterwards. */
void table_pool_trim(struct table_pool *p);

#endif
