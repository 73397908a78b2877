/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "iommu/table_private.h"

/* ---- a new table, and its end ---- */

static unsigned int config_levels(const struct table_config *cfg)
{
	return (cfg->bits - cfg->leaf_shift + TABLE_BITS - 1) / TABLE_BITS;
}

static unsigned int config_leaf_levels(const struct table_config *cfg)
{
	unsigned int levels = 0;

	for (unsigned int k = 0; k < config_levels(cfg); k++)
		if (cfg->pgsizes >> (cfg->leaf_shift + TABLE_BITS * k) & 1)
			levels |= BIT(k);
	return levels;
}

struct table *table_new(const struct table_config *cfg)
{
	struct table *t;

	assert(cfg->leaf_shift >= 11 && cfg->bits > cfg->leaf_shift && cfg->bits <= 64);
	assert(cfg->pgsizes >> cfg->leaf_shift & 1);
	t = mem_calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->leaf_shift = cfg->leaf_shift;
	t->last = ~0ULL >> (64 - cfg->bits);
	t->top = config_levels(cfg) - 1;
	t->leaf_levels = config_leaf_levels(cfg);
	assert(t->top < TABLE_LEVELS);
	table_pool_init(&t->pool);
	if (table_pool_reserve(&t->pool, 1)) {
		free(t);
		return NULL;
	}
	t->root = (uint64_t)table_pool_get(&t->pool) | ENTRY_TABLE;
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	table_pool_fini(&t->pool);
	free(t);
}

struct table_memory table_memory(const struct table *t)
{
	const struct table_pool *p = &t->pool;

	return (struct table_memory){
	    .used = (p->nchunk * CHUNK_TABLES - p->nfree) * TABLE_BYTES,
	    .reserved = p->nfree * TABLE_BYTES,
	};
}

static void range_check(const struct table *t, uint64_t iova, uint64_t len)
{
	assert(iova <= t->last && len && len - 1 <= t->last - iova);
	assert(IS_ALIGNED(iova | len, 1ULL << t->leaf_shift));
}

/* ---- map ---- */

/* How many whole slots of this size lie in [first, last]. */
static uint64_t whole_slots(uint64_t first, uint64_t last, unsigned int shift)
{
	uint64_t begin = first ? ((first - 1) >> shift) + 1 : 0;
	uint64_t end = (last >> shift) + (slot_last(last, shift) == last);

	return end > begin ? end - begin : 0;
}

/* The tables that [first, last] needs if there is none yet but the root: one for each slot that no leaf fills. */
static uint64_t tables_needed(const struct table *t, uint64_t first, uint64_t last, unsigned int leaf_levels)
{
	uint64_t n = 0;

	for (unsigned int k = 1; k <= t->top; k++) {
		unsigned int shift = level_shift(t, k), leaves = leaf_levels >> k;

		n += (last >> shift) - (first >> shift) + 1;
		if (leaves) {
			unsigned int above = TABLE_BITS * __builtin_ctz(leaves);

			n -= whole_slots(first, last, shift + above) << above;
		}
	}
	return n;
}

/* Writes n entries of consecutive leaves. Return: their old contents, ORed. */
static uint64_t leaves_write(uint64_t *e, unsigned int n, uint64_t leaf, uint64_t size)
{
	uint64_t old = 0;

	for (unsigned int i = 0; i < n; i++, leaf += size) {
		old |= e[i];
		e[i] = leaf;
	}
	return old;
}

/*
 * Maps [first, last], which lies within the table that *slot holds, to leaf: host | prot | type of the first. Recursion
 * is as deep as the tree.
 */
static void node_map(struct table *t, uint64_t *slot, unsigned int level, uint64_t first, uint64_t last, uint64_t leaf,
		     unsigned int leaf_levels)
{
	unsigned int shift = level_shift(t, level), i = slot_index(first, shift), end = slot_index(last, shift);
	uint64_t *node = entry_table(*slot), base = first;
	bool leaves = leaf_levels & BIT(level);

	while (i <= end) {
		uint64_t at = node_first(base, shift) + ((uint64_t)i << shift), to;

		first = MAX(at, base);
		if (leaves && first == at && slot_last(at, shift) <= last) {
			unsigned int n = end - i + (slot_last(last, shift) == last);
			uint64_t old = leaves_write(node + i, n, leaf + (at - base), 1ULL << shift);

			assert(!old);
			*slot += n * ENTRY_ONE;
			i += n;
			continue;
		}
		to = MIN(last, slot_last(at, shift));
		assert(!entry_is_leaf(node[i]));
		if (!node[i]) {
			node[i] = (uint64_t)table_pool_get(&t->pool) | ENTRY_TABLE;
			*slot += ENTRY_ONE;
		}
		node_map(t, &node[i], level - 1, first, to, leaf + (first - base), leaf_levels);
		i++;
	}
}

static uint64_t leaf_entry(const char *host, int prot)
{
	return (uint64_t)host | (uint64_t)prot << ENTRY_PROT_SHIFT | ENTRY_LEAF;
}

int table_map(struct table *t, uint64_t iova, char *host, uint64_t len, int prot, bool large)
{
	unsigned int leaf_levels = large ? t->leaf_levels : 1;
	uint64_t last = iova + len - 1, need = 2 * t->top;
	int r;

	range_check(t, iova, len);
	assert(IS_ALIGNED((uintptr_t)host, 1ULL << t->leaf_shift));
	assert(!(prot & ~(IOMMU_READ | IOMMU_WRITE)));
	/* A range with no more than two lowest tables has no more than two at any level. */
	if (t->pool.nfree < need || len > TABLE_ENTRIES << t->leaf_shift)
		need = tables_needed(t, iova, last, leaf_levels);
	r = table_pool_reserve(&t->pool, need);
	if (unlikely(r))
		return r;
	node_map(t, &t->root, t->top, iova, last, leaf_entry(host, prot), leaf_levels);
	return 0;
}

/* ---- unmap ---- */

static unsigned int leaves_clear(uint64_t *e, unsigned int n)
{
	unsigned int present = 0;

	for (unsigned int i = 0; i < n; i++) {
		present += e[i] & ENTRY_LEAF;
		e[i] = 0;
	}
	return present;
}

/* The lowest level: entries i to end are empty or leaves, and they go. */
static uint64_t node_unmap_leaves(struct table *t, uint64_t *slot, unsigned int i, unsigned int end, bool dirty)
{
	uint64_t *node = entry_table(*slot), *bits = node_dirty(node);
	unsigned int n = leaves_clear(node + i, end - i + 1);

	if (dirty)
		for (unsigned int w = i / 64; w <= end / 64; w++)
			bits[w] &= ~dirty_mask(w, i, end);
	*slot -= n * ENTRY_ONE;
	return (uint64_t)n << t->leaf_shift;
}

/*
 * Unmaps what lies in [first, last], a range within the table that *slot holds. dirty: there may be dirty bits. Return:
 * bytes.
 */
static uint64_t node_unmap(struct table *t, uint64_t *slot, unsigned int level, uint64_t first, uint64_t last,
			   bool dirty)
{
	unsigned int shift = level_shift(t, level), i = slot_index(first, shift), end = slot_index(last, shift);
	uint64_t *node = entry_table(*slot), *bits = node_dirty(node);
	uint64_t at = slot_first(first, shift), bytes = 0;

	if (!level)
		return node_unmap_leaves(t, slot, i, end, dirty);
	for (; i <= end; i++, at += 1ULL << shift) {
		uint64_t from = MAX(first, at), to = MIN(last, slot_last(at, shift)), e = node[i];

		if (!e)
			continue;
		if (entry_is_leaf(e)) {
			assert(from == at && to == slot_last(at, shift));
			bytes += 1ULL << shift;
		} else {
			bytes += node_unmap(t, &node[i], level - 1, from, to, dirty && dirty_test(bits, i));
			if (entry_count(node[i]))
				continue;
			table_pool_put(&t->pool, entry_table(e));
		}
		node[i] = 0;
		*slot -= ENTRY_ONE;
		if (dirty)
			dirty_clear(bits, i);
	}
	return bytes;
}

uint64_t table_unmap(struct table *t, uint64_t iova, uint64_t len)
{
	uint64_t bytes;

	if (!len)
		return 0;
	range_check(t, iova, len);
	bytes = node_unmap(t, &t->root, t->top, iova, iova + len - 1, t->dirty);
	if (!entry_count(t->root))
		t->dirty = false;
	table_pool_trim(&t->pool);
	return bytes;
}

/* ---- look up ---- */

/* A leaf's entry, and where it stands. */
struct place {
	const uint64_t *entry;
	unsigned int i, shift;
};

static inline bool place_find(const struct table *t, uint64_t iova, struct place *p)
{
	unsigned int shift = level_shift(t, t->top);
	const uint64_t *node = entry_table(t->root);

	if (unlikely(iova > t->last))
		return false;
	for (;; shift -= TABLE_BITS) {
		unsigned int i = slot_index(iova, shift);
		uint64_t e = node[i];

		if (likely(entry_is_leaf(e))) {
			*p = (struct place){.entry = &node[i], .i = i, .shift = shift};
			return true;
		}
		if (!e)
			return false;
		node = entry_table(e);
	}
}

static bool place_dirty(const struct table *t, const struct place *p)
{
	return t->dirty && dirty_test(node_dirty(p->entry - p->i), p->i);
}

static void place_leaf(const struct table *t, const struct place *p, uint64_t iova, struct table_leaf *out)
{
	uint64_t e = *p->entry;

	out->iova = slot_first(iova, p->shift);
	out->size = 1ULL << p->shift;
	out->host = entry_host(e);
	out->prot = entry_prot(e);
	out->dirty = place_dirty(t, p);
}

bool table_walk(const struct table *t, uint64_t iova, struct table_leaf *out)
{
	struct place p;

	if (!place_find(t, iova, &p))
		return false;
	place_leaf(t, &p, iova, out);
	return true;
}

/* The leaves after out's last one, which p is: how many bytes of them continue it, until there are want. */
static uint64_t run_up(const struct table *t, struct place p, const struct table_leaf *out, uint64_t want)
{
	uint64_t next = out->iova + out->size, expect = leaf_entry(out->host, out->prot) + out->size, got = 0;

	while (got < want && next - 1 != t->last) {
		uint64_t size;

		if (++p.i < TABLE_ENTRIES && entry_is_leaf(p.entry[1]))
			p.entry++;
		else if (!place_find(t, next, &p))
			break;
		if (*p.entry != expect)
			break;
		size = 1ULL << p.shift;
		expect += size;
		got += size;
		next += size;
	}
	return got;
}

/* The same before out's first. */
static uint64_t run_down(const struct table *t, struct place p, const struct table_leaf *out, uint64_t want)
{
	uint64_t first = out->iova, expect = leaf_entry(out->host, out->prot), got = 0;

	while (got < want && first) {
		uint64_t size;

		if (p.i && entry_is_leaf(p.entry[-1])) {
			p.i--;
			p.entry--;
		} else if (!place_find(t, first - 1, &p)) {
			break;
		}
		size = 1ULL << p.shift;
		expect -= size;
		if (*p.entry != expect)
			break;
		got += size;
		first -= size;
	}
	return got;
}

bool table_walk_run(const struct table *t, uint64_t iova, uint64_t reach, struct table_leaf *out)
{
	uint64_t before, after, up = 0, down = 0;
	struct place p;

	if (!place_find(t, iova, &p))
		return false;
	place_leaf(t, &p, iova, out);
	before = iova - out->iova;
	after = out->size - before;
	if (after < reach)
		up = run_up(t, p, out, reach - after);
	if (before < reach)
		down = run_down(t, p, out, reach - before);
	out->iova -= down;
	out->host -= down;
	out->size += up + down;
	return true;
}

/* The first leaf of this table that ends after iova, an address in it. */
static bool node_leaf(const struct table *t, const uint64_t *node, unsigned int level, uint64_t iova,
		      struct table_leaf *out)
{
	unsigned int shift = level_shift(t, level);
	uint64_t at = slot_first(iova, shift);

	for (unsigned int i = slot_index(iova, shift); i < TABLE_ENTRIES; i++, at += 1ULL << shift) {
		if (entry_is_leaf(node[i])) {
			place_leaf(t, &(struct place){.entry = &node[i], .i = i, .shift = shift}, at, out);
			return true;
		}
		if (node[i] && node_leaf(t, entry_table(node[i]), level - 1, MAX(iova, at), out))
			return true;
	}
	return false;
}

bool table_first(const struct table *t, uint64_t iova, struct table_leaf *out)
{
	return iova <= t->last && node_leaf(t, entry_table(t->root), t->top, iova, out);
}

/* ---- split ---- */

/* The leaf goes and comes back in two parts; what that needs is reserved first, as if all its tables went with it. */
int table_split(struct table *t, uint64_t iova)
{
	struct table_leaf leaf;
	uint64_t last, entry;
	int r;

	assert(IS_ALIGNED(iova, 1ULL << t->leaf_shift));
	if (!table_walk(t, iova, &leaf) || leaf.iova == iova)
		return 0;
	last = leaf.iova + leaf.size - 1;
	r = table_pool_reserve(&t->pool, tables_needed(t, leaf.iova, iova - 1, t->leaf_levels) +
					     tables_needed(t, iova, last, t->leaf_levels));
	if (r)
		return r;
	entry = leaf_entry(leaf.host, leaf.prot);
	node_unmap(t, &t->root, t->top, leaf.iova, last, t->dirty);
	node_map(t, &t->root, t->top, leaf.iova, iova - 1, entry, t->leaf_levels);
	node_map(t, &t->root, t->top, iova, last, entry + (iova - leaf.iova), t->leaf_levels);
	if (leaf.dirty)
		table_set_dirty(t, leaf.iova, leaf.size);
	return 0;
}
