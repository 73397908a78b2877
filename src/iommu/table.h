/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A domain's own translations: a radix page table from IOVA to host pointer.
 *
 * A table (of the tree) has 512 entries of 8 bytes; an entry is empty, a leaf (host pointer and permissions) or a lower
 * table. A leaf at level k covers 1 << (leaf_shift + 9 k) bytes, so a huge leaf takes one slot of an upper table. Since
 * a walk adds an offset to a pointer, the host pointer of a huge leaf need not be aligned as the IOVA is: only to the
 * smallest leaf.
 *
 * Each leaf has a dirty bit. They lie beside the tables, 64 bytes for each, in pages of their own: to read the dirty
 * bits of 1 TiB of 4 KiB leaves is to read 32 MiB.
 *
 * Invariants.
 *   - Leaves never overlap; a leaf's size is one of config.pgsizes; host is aligned to 1 << leaf_shift.
 *   - No table is empty, except the root: an empty struct table has one table.
 *   - A dirty bit is set only where its entry is not empty. That of an entry that holds a table is set if any bit below
 *     is; it may stay set when no bit below is left, until someone reads with clear.
 *   - A free table, and its dirty bits, are all zero: nothing is zeroed when it is used again.
 *   - table_unmap, table_free and what handles dirty bits neither fail nor allocate. What may fail reserves all the
 *     tables it can need before it changes an entry.
 * One thread: no locks. Ranges are aligned to 1 << leaf_shift and lie below 1 << bits: the caller has checked them, it
 * is asserted. An address to look up may be anything.
 */
#ifndef PINFOLD_IOMMU_TABLE_H
#define PINFOLD_IOMMU_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table;

struct table_config {
	unsigned int leaf_shift; /* log2 of the smallest leaf: 12; 11 for the kernel's mock domain. 11 at least */
	unsigned int bits;	 /* width of an IOVA: more than leaf_shift, up to 64 */
	uint64_t pgsizes;	 /* allowed leaf sizes, ORed: 1 << leaf_shift always, and any 1 << (leaf_shift + 9 k) */
};

struct table *table_new(const struct table_config *cfg); /* NULL: out of memory */
void table_free(struct table *t);			 /* whatever is mapped; NULL is fine */

/*
 * Maps [iova, iova + len), where nothing is mapped, to host with prot (IOMMU_READ | IOMMU_WRITE; 0 is a leaf that no
 * one may use). With large the largest leaves that the alignment of iova and len allow, else the smallest only.
 * -ENOMEM: nothing has changed.
 */
int table_map(struct table *t, uint64_t iova, char *host, uint64_t len, int prot, bool large);

/*
 * Unmaps all leaves in [iova, iova + len), which no leaf straddles (table_split makes sure of that), and frees the
 * tables that this empties. Holes are fine. Return: the bytes that were mapped.
 */
uint64_t table_unmap(struct table *t, uint64_t iova, uint64_t len);

/*
 * Makes sure that no leaf straddles iova: the leaf that does is cut into the largest that end or begin there, as dirty
 * as it was. -ENOMEM: nothing has changed.
 */
int table_split(struct table *t, uint64_t iova);

struct table_leaf {
	uint64_t iova, size;
	char *host;
	int prot;
	bool dirty;
};

/* The leaf that holds iova. False: none, and out is untouched. */
bool table_walk(const struct table *t, uint64_t iova, struct table_leaf *out);

/*
 * As table_walk, but the answer extends over the leaves before and after that continue it seamlessly (IOVA, host, equal
 * prot) until it holds reach bytes before and after iova. dirty is that of the leaf that holds iova.
 */
bool table_walk_run(const struct table *t, uint64_t iova, uint64_t reach, struct table_leaf *out);

/* The first leaf that ends after iova. False: none, and out is untouched. */
bool table_first(const struct table *t, uint64_t iova, struct table_leaf *out);

/* ---- dirty leaves ---- */

/* Marks every leaf that [iova, iova + len) touches; len may be 0; needs no alignment. */
void table_set_dirty(struct table *t, uint64_t iova, uint64_t len);

/*
 * Calls fn for the dirty ranges in [iova, iova + len), in order and merged, cut to it. With clear they are clean
 * afterwards; but a leaf that the range cuts stays dirty, as its other part has not been reported. fn leaves t alone;
 * NULL: nobody wants to know, which is faster.
 * Return: bytes reported.
 */
typedef void table_dirty_fn(void *ctx, uint64_t iova, uint64_t len);
uint64_t table_read_dirty(struct table *t, uint64_t iova, uint64_t len, bool clear, table_dirty_fn *fn, void *ctx);

/*
 * The same as a bitmap, in words: ORs bit (x - iova) >> shift into bits for each dirty x in the range; bits holds
 * len >> shift bits, rounded up. 64 leaves at a time if shift is leaf_shift. Return: as table_read_dirty.
 */
uint64_t table_read_dirty_bitmap(struct table *t, uint64_t iova, uint64_t len, bool clear, unsigned int shift,
				 uint64_t *bits);

void table_clear_dirty(struct table *t);

/* ---- for reports and tests ---- */

/* Bytes of tables in use, the root included, and of address space reserved for more. */
struct table_memory {
	uint64_t used, reserved;
};
struct table_memory table_memory(const struct table *t);

#endif
