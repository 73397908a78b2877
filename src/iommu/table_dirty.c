/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <string.h>
#include "iommu/table_private.h"

/* ---- set ---- */

/*
 * Marks the slots of a table from iova's on, as far as they are leaves that begin before last and lie in it. Return:
 * the first IOVA after those.
 */
static uint64_t leaves_set_dirty(const uint64_t *node, uint64_t *bits, unsigned int shift, uint64_t iova, uint64_t last)
{
	unsigned int i = slot_index(iova, shift);
	uint64_t at = slot_first(iova, shift);

	do {
		dirty_set(bits, i);
		at += 1ULL << shift;
	} while (at - 1 < last && ++i < TABLE_ENTRIES && entry_is_leaf(node[i]));
	return at;
}

/*
 * One descent for each table of leaves; bits of upper tables are set on the way, before what is below is known. A loop:
 * this stands in the path of each DMA write while dirty leaves are tracked.
 */
void table_set_dirty(struct table *t, uint64_t iova, uint64_t len)
{
	uint64_t last, at = iova;

	if (!len || iova > t->last)
		return;
	last = iova + MIN(len - 1, t->last - iova);
	t->dirty = true;
	do {
		unsigned int shift = level_shift(t, t->top), i = slot_index(at, shift);
		const uint64_t *node = entry_table(t->root);

		while (node[i] && !entry_is_leaf(node[i])) {
			dirty_set(node_dirty(node), i);
			node = entry_table(node[i]);
			shift -= TABLE_BITS;
			i = slot_index(at, shift);
		}
		at = node[i] ? leaves_set_dirty(node, node_dirty(node), shift, at, last) : slot_last(at, shift) + 1;
	} while (at - 1 < last);
}

/* ---- what is reported, and to whom ---- */

struct report {
	uint64_t first, last; /* what was asked for */
	uint64_t total;
	/* ranges */
	table_dirty_fn *fn;
	void *ctx;
	uint64_t iova, len; /* the range that may still grow; len 0: none */
	/* or a bitmap */
	uint64_t *bits;
	unsigned int shift;
};

static void bitmap_fill(uint64_t *bits, uint64_t first, uint64_t last)
{
	uint64_t low = ~0ULL << (first % 64), high = ~0ULL >> (63 - last % 64);

	if (first / 64 == last / 64) {
		bits[first / 64] |= low & high;
		return;
	}
	bits[first / 64] |= low;
	for (uint64_t w = first / 64 + 1; w < last / 64; w++)
		bits[w] = ~0ULL;
	bits[last / 64] |= high;
}

/* [iova, iova + len) is dirty and lies in the range. */
static inline void report_range(struct report *r, uint64_t iova, uint64_t len)
{
	uint64_t at = iova - r->first;

	if (r->bits) {
		bitmap_fill(r->bits, at >> r->shift, (at + len - 1) >> r->shift);
	} else if (!r->fn) {
		return;
	} else if (r->len && r->iova + r->len == iova) {
		r->len += len;
	} else {
		if (r->len)
			r->fn(r->ctx, r->iova, r->len);
		r->iova = iova;
		r->len = len;
	}
}

/* Two words at a time, which every x86-64 can do. */
typedef uint64_t pair __attribute__((vector_size(16), aligned(8)));

/* A byte for each byte of words: how many of its bits are set. */
static inline pair byte_counts(pair words)
{
	words -= words >> 1 & 0x5555555555555555;
	words = (words & 0x3333333333333333) + (words >> 2 & 0x3333333333333333);
	return (words + (words >> 4)) & 0x0f0f0f0f0f0f0f0f;
}

static inline uint64_t bits_count(uint64_t word)
{
	return byte_counts((pair){word})[0] * 0x0101010101010101 >> 56;
}

/* 64 leaves of size 1 << shift from base on, of which only such as lie in the range are set. */
static inline void report_word(struct report *r, uint64_t base, unsigned int shift, uint64_t word)
{
	r->total += bits_count(word) << shift;
	if (r->bits && r->shift == shift) {
		uint64_t at = (base - r->first) >> shift, spill;

		if (base < r->first) {
			r->bits[0] |= word >> ((r->first - base) >> shift);
			return;
		}
		r->bits[at / 64] |= word << (at % 64);
		spill = at % 64 ? word >> (64 - at % 64) : 0;
		if (spill)
			r->bits[at / 64 + 1] |= spill;
		return;
	}
	if (!r->bits && !r->fn)
		return;
	while (word) {
		unsigned int i = __builtin_ctzll(word);
		uint64_t rest = ~(word >> i);
		unsigned int n = rest ? __builtin_ctzll(rest) : 64;

		report_range(r, base + ((uint64_t)i << shift), (uint64_t)n << shift);
		word &= i + n == 64 ? 0 : ~0ULL << (i + n);
	}
}

/*
 * The whole lowest table, from base on, if its bits are words of the bitmap, or for nobody: what large ranges consist
 * of. False: it is not so.
 */
static bool report_line(struct report *r, uint64_t base, unsigned int shift, const uint64_t *line)
{
	uint64_t at = (base - r->first) >> shift, counts;
	const pair *from = (const pair *)line;
	pair *to, sum = {};

	if (r->bits ? r->shift != shift || at % 64 : !!r->fn)
		return false;
	to = r->bits ? (pair *)(r->bits + at / 64) : NULL;
	for (unsigned int i = 0; i < TABLE_WORDS / 2; i++) {
		if (to)
			to[i] |= from[i];
		sum += byte_counts(from[i]);
	}
	/* A byte of counts is 64 at most. */
	counts = sum[0] + sum[1];
	counts = (counts & 0x00ff00ff00ff00ff) + (counts >> 8 & 0x00ff00ff00ff00ff);
	r->total += (counts * 0x0001000100010001 >> 48) << shift;
	return true;
}

/* ---- read ---- */

static void node_read_leaves(const struct table *t, struct report *r, uint64_t *bits, uint64_t first, uint64_t last,
			     bool clear)
{
	unsigned int shift = t->leaf_shift, i = slot_index(first, shift), end = slot_index(last, shift);
	uint64_t base = node_first(first, shift);

	if (end - i == TABLE_ENTRIES - 1 && report_line(r, base, shift, bits)) {
		if (clear)
			memset(bits, 0, TABLE_WORDS * 8);
		return;
	}
	for (unsigned int w = i / 64; w <= end / 64; w++) {
		uint64_t word = bits[w] & dirty_mask(w, i, end);

		if (!word)
			continue;
		report_word(r, base + ((uint64_t)w * 64 << shift), shift, word);
		if (clear)
			bits[w] &= ~word;
	}
}

/* [first, last] lies within this table. With clear: is nothing in the table dirty any more? */
static bool node_read(const struct table *t, struct report *r, const uint64_t *node, unsigned int level, uint64_t first,
		      uint64_t last, bool clear)
{
	unsigned int shift = level_shift(t, level), i = slot_index(first, shift), end = slot_index(last, shift);
	uint64_t *bits = node_dirty(node), base = node_first(first, shift);

	if (!level) {
		node_read_leaves(t, r, bits, first, last, clear);
		return clear && !dirty_any(bits);
	}
	for (unsigned int w = i / 64; w <= end / 64; w++) {
		for (uint64_t word = bits[w] & dirty_mask(w, i, end); word; word &= word - 1) {
			unsigned int k = w * 64 + __builtin_ctzll(word);
			uint64_t at = base + ((uint64_t)k << shift);
			uint64_t from = MAX(at, first), to = MIN(slot_last(at, shift), last);
			bool clean = clear;

			if (entry_is_leaf(node[k])) {
				report_range(r, from, to - from + 1);
				r->total += to - from + 1;
				clean &= from == at && to == slot_last(at, shift);
			} else {
				clean = node_read(t, r, entry_table(node[k]), level - 1, from, to, clear);
			}
			if (clean)
				dirty_clear(bits, k);
		}
	}
	return clear && !dirty_any(bits);
}

static uint64_t table_report(struct table *t, uint64_t iova, uint64_t len, bool clear, struct report *r)
{
	if (!len || !t->dirty)
		return 0;
	assert(iova <= t->last && len - 1 <= t->last - iova && IS_ALIGNED(iova | len, 1ULL << t->leaf_shift));
	r->first = iova;
	r->last = iova + len - 1;
	if (node_read(t, r, entry_table(t->root), t->top, r->first, r->last, clear))
		t->dirty = false;
	if (r->len)
		r->fn(r->ctx, r->iova, r->len);
	return r->total;
}

uint64_t table_read_dirty(struct table *t, uint64_t iova, uint64_t len, bool clear, table_dirty_fn *fn, void *ctx)
{
	return table_report(t, iova, len, clear, &(struct report){.fn = fn, .ctx = ctx});
}

uint64_t table_read_dirty_bitmap(struct table *t, uint64_t iova, uint64_t len, bool clear, unsigned int shift,
				 uint64_t *bits)
{
	return table_report(t, iova, len, clear, &(struct report){.bits = bits, .shift = shift});
}

static void node_clean(const uint64_t *node, unsigned int level)
{
	uint64_t *bits = node_dirty(node);

	for (unsigned int w = 0; w < TABLE_WORDS; w++) {
		for (uint64_t word = level ? bits[w] : 0; word; word &= word - 1) {
			uint64_t e = node[w * 64 + __builtin_ctzll(word)];

			if (!entry_is_leaf(e))
				node_clean(entry_table(e), level - 1);
		}
		bits[w] = 0;
	}
}

void table_clear_dirty(struct table *t)
{
	if (t->dirty)
		node_clean(entry_table(t->root), t->top);
	t->dirty = false;
}
