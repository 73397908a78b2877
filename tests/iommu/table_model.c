/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/util.h"
#include "iommu/iommu.h"
#include "iommu/table.h"
#include "table_model.h"

enum {
	LEAVES = 6000,
	BITMAP_WORDS = 1024,
	SPREAD = 600, /* leaves, one to a lowest table, that use up what the pool has */
	TABLE_SIZE = 4096,
};

#define check(x)                                                                                                       \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "table model: %s:%d: %s\n", __FILE__, __LINE__, #x);                           \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct leaf {
	uint64_t first, last;
	uint64_t host;
	int prot;
	bool dirty;
};

struct range {
	uint64_t first, last;
};

struct model {
	const uint8_t *in;
	size_t left;
	bool (*fail)(bool on);
	struct table_config cfg;
	struct table *table;
	uint64_t top; /* the last IOVA */
	struct leaf leaf[LEAVES];
	unsigned int n;
};

/* ---- the program ---- */

static unsigned int byte(struct model *m)
{
	if (!m->left)
		return 0;
	m->left--;
	return *m->in++;
}

static uint64_t bytes(struct model *m, unsigned int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | byte(m);
	return v;
}

static uint64_t leaf_size(const struct model *m)
{
	return 1ULL << m->cfg.leaf_shift;
}

/* A size at which something may happen: of a leaf at some level, times a little. */
static uint64_t any_size(struct model *m)
{
	unsigned int shift = m->cfg.leaf_shift + 9 * (byte(m) % 4);
	uint64_t size;

	if (shift >= m->cfg.bits)
		shift = m->cfg.leaf_shift;
	size = (uint64_t)(1 + byte(m) % 8) << shift;
	if (byte(m) % 4 == 0)
		size += bytes(m, 2) % 1024 << m->cfg.leaf_shift;
	else if (byte(m) % 4 == 0)
		size -= leaf_size(m) * (size > leaf_size(m));
	return size;
}

/* Near a place where tables meet, more often than not. */
static uint64_t any_address(struct model *m)
{
	static const unsigned int near[] = {0, 9, 18, 27};
	unsigned int kind = byte(m), shift = m->cfg.leaf_shift + near[kind % 4];
	uint64_t base = (uint64_t)(byte(m) % 4) << (shift < m->cfg.bits ? shift : m->cfg.leaf_shift);

	if (kind & 0x10)
		base = m->top - base + 1;
	if (kind & 0x20)
		base ^= 1ULL << (m->cfg.bits - 1);
	if (kind & 0x40)
		base += bytes(m, 2) % 1024 << m->cfg.leaf_shift;
	if (kind & 0x80)
		base -= (uint64_t)(byte(m) % 4) << m->cfg.leaf_shift;
	return base & m->top & ~(leaf_size(m) - 1);
}

/* last of [first, first + size), as far as there are addresses. */
static uint64_t range_last(const struct model *m, uint64_t first, uint64_t size)
{
	return size - 1 > m->top - first ? m->top : first + size - 1;
}

/* ---- the model ---- */

/* The index of the first leaf that ends at or after iova. */
static unsigned int model_find(const struct model *m, uint64_t iova)
{
	unsigned int i = 0;

	while (i < m->n && m->leaf[i].last < iova)
		i++;
	return i;
}

/* The greatest leaf that may stand at first. */
static uint64_t model_choose(const struct model *m, uint64_t first, uint64_t last, bool large)
{
	uint64_t best = leaf_size(m);

	for (unsigned int shift = m->cfg.leaf_shift; large && shift < m->cfg.bits; shift += 9) {
		uint64_t size = 1ULL << shift;

		if ((m->cfg.pgsizes & size) && first % size == 0 && last - first >= size - 1)
			best = size;
	}
	return best;
}

/* How many leaves [first, last] takes; stops counting beyond what the model can hold. */
static unsigned int model_count(const struct model *m, uint64_t first, uint64_t last, bool large)
{
	unsigned int n = 0;

	for (uint64_t at = first; n <= LEAVES; n++) {
		uint64_t size = model_choose(m, at, last, large);

		if (last - at == size - 1)
			return n + 1;
		at += size;
	}
	return n;
}

static void model_map(struct model *m, uint64_t first, uint64_t last, uint64_t host, int prot, bool large, bool dirty)
{
	unsigned int n = model_count(m, first, last, large), i = model_find(m, first);
	uint64_t at = first;

	memmove(&m->leaf[i + n], &m->leaf[i], (m->n - i) * sizeof(m->leaf[0]));
	m->n += n;
	for (; n; n--, i++) {
		uint64_t size = model_choose(m, at, last, large);

		m->leaf[i] = (struct leaf){at, at + size - 1, host + (at - first), prot, dirty};
		at += size;
	}
}

static uint64_t model_unmap(struct model *m, uint64_t first, uint64_t last)
{
	unsigned int i = model_find(m, first), end = i;
	uint64_t gone = 0;

	for (; end < m->n && m->leaf[end].first <= last; end++)
		gone += m->leaf[end].last - m->leaf[end].first + 1;
	memmove(&m->leaf[i], &m->leaf[end], (m->n - end) * sizeof(m->leaf[0]));
	m->n -= end - i;
	return gone;
}

/* Tables: the root, and every place at every level that has a leaf below. */
static uint64_t model_tables(const struct model *m)
{
	uint64_t n = 1;

	for (unsigned int shift = m->cfg.leaf_shift + 9; shift < m->cfg.bits; shift += 9) {
		bool any = false;
		uint64_t before = 0;

		for (unsigned int i = 0; i < m->n; i++) {
			const struct leaf *l = &m->leaf[i];

			if (l->last - l->first >= (1ULL << shift) - 1 || (any && l->first >> shift == before))
				continue;
			any = true;
			before = l->first >> shift;
			n++;
		}
	}
	return n;
}

/* ---- they agree ---- */

static bool leaf_equal(const struct leaf *l, const struct table_leaf *t)
{
	return l->first == t->iova && l->last - l->first == t->size - 1 && l->host == (uint64_t)t->host &&
	       l->prot == t->prot && l->dirty == t->dirty;
}

static void check_all(const struct model *m)
{
	struct table_leaf out;
	uint64_t at = 0;

	for (unsigned int i = 0; i < m->n; i++) {
		check(table_first(m->table, at, &out));
		check(leaf_equal(&m->leaf[i], &out));
		check(table_walk(m->table, m->leaf[i].first, &out) && leaf_equal(&m->leaf[i], &out));
		check(table_walk(m->table, m->leaf[i].last, &out) && leaf_equal(&m->leaf[i], &out));
		at = m->leaf[i].last + 1;
	}
	if (!m->n || m->leaf[m->n - 1].last != m->top)
		check(!table_first(m->table, at, &out));
	check(table_memory(m->table).used == model_tables(m) * TABLE_SIZE);
}

static void check_walk(struct model *m)
{
	uint64_t iova = any_address(m) + byte(m), reach = any_size(m);
	unsigned int i, low, high;
	struct table_leaf out = {.size = 1};
	struct leaf *l = m->leaf;

	if (byte(m) % 2)
		reach = leaf_size(m) * (byte(m) % 32);
	if (byte(m) == 0)
		iova = m->top + byte(m);
	i = model_find(m, iova);
	if (i == m->n || l[i].first > iova) {
		check(!table_walk(m->table, iova, &out) && !table_walk_run(m->table, iova, reach, &out));
		check(out.size == 1);
		return;
	}
	check(table_walk(m->table, iova, &out) && leaf_equal(&l[i], &out));
	low = high = i;
	while (high + 1 < m->n && l[high].last - iova + 1 < reach && l[high + 1].first == l[high].last + 1 &&
	       l[high + 1].host - l[high].host == l[high + 1].first - l[high].first && l[high + 1].prot == l[i].prot)
		high++;
	while (low && iova - l[low].first < reach && l[low - 1].last + 1 == l[low].first &&
	       l[low].host - l[low - 1].host == l[low].first - l[low - 1].first && l[low - 1].prot == l[i].prot)
		low--;
	check(table_walk_run(m->table, iova, reach, &out));
	check(out.iova == l[low].first && out.size == l[high].last - l[low].first + 1);
	check((uint64_t)out.host == l[low].host && out.prot == l[i].prot && out.dirty == l[i].dirty);
}

/* ---- operations ---- */

static bool failing(struct model *m, bool on)
{
	return m->fail && m->fail(on);
}

static void do_map(struct model *m)
{
	uint64_t first = any_address(m), last = range_last(m, first, any_size(m)), host;
	int prot = byte(m) % 4, r;
	bool large = byte(m) % 4;
	unsigned int i = model_find(m, first);

	if (i < m->n && m->leaf[i].first <= first)
		return;
	if (i < m->n && m->leaf[i].first <= last)
		last = m->leaf[i].first - 1;
	if (m->n + model_count(m, first, last, large) > LEAVES)
		return;
	host = ((bytes(m, 2) + 1) << 44) + first;
	if (byte(m) % 2)
		host = 1ULL << 60 | first; /* such that leaves continue each other */
	else if (byte(m) % 4 == 0)
		host += leaf_size(m);
	failing(m, byte(m) % 2);
	r = table_map(m->table, first, (char *)host, last - first + 1, prot, large);
	check(r == (failing(m, false) ? -ENOMEM : 0));
	if (!r)
		model_map(m, first, last, host, prot, large, false);
}

static void do_split(struct model *m, uint64_t iova)
{
	unsigned int i = model_find(m, iova);
	struct leaf l;
	bool cuts = i < m->n && m->leaf[i].first < iova;
	int r;

	l = m->leaf[cuts ? i : 0];
	if (cuts && m->n + model_count(m, l.first, iova - 1, true) + model_count(m, iova, l.last, true) > LEAVES)
		return;
	failing(m, byte(m) % 2);
	r = table_split(m->table, iova);
	check(r == (failing(m, false) ? -ENOMEM : 0));
	if (r || !cuts)
		return;
	model_unmap(m, l.first, l.last);
	model_map(m, l.first, iova - 1, l.host, l.prot, true, l.dirty);
	model_map(m, iova, l.last, l.host + (iova - l.first), l.prot, true, l.dirty);
}

/* What straddles the borders is cut, or goes with the rest. */
static void do_unmap(struct model *m)
{
	uint64_t first = any_address(m), last = range_last(m, first, any_size(m));
	bool all = byte(m) == 0;
	unsigned int i;

	if (all) {
		first = 0;
		last = m->top;
	}
	if (byte(m) % 2) {
		do_split(m, first);
		if (last != m->top)
			do_split(m, last + 1);
	}
	i = model_find(m, first);
	if (i < m->n && m->leaf[i].first < first)
		first = m->leaf[i].first;
	i = model_find(m, last);
	if (i < m->n && m->leaf[i].first <= last)
		last = m->leaf[i].last;
	if (last - first == UINT64_MAX)
		last >>= 1; /* a length has 64 bits, too */
	failing(m, true);
	check(table_unmap(m->table, first, last - first + 1) == model_unmap(m, first, last));
	check(!failing(m, false));
}

static void do_set_dirty(struct model *m)
{
	uint64_t first = any_address(m) + byte(m), len = any_size(m);

	if (byte(m) % 2)
		len = byte(m);
	if (len) {
		uint64_t last = len - 1 > UINT64_MAX - first ? UINT64_MAX : first + len - 1;

		for (unsigned int i = model_find(m, first); i < m->n && m->leaf[i].first <= last; i++)
			m->leaf[i].dirty = true;
	}
	table_set_dirty(m->table, first, len);
}

/* The dirty parts of [first, last], not merged; with clear, those leaves that lie in it are clean then. */
static unsigned int model_read_dirty(struct model *m, uint64_t first, uint64_t last, bool clear, struct range *out,
				     uint64_t *total)
{
	unsigned int n = 0;

	*total = 0;
	for (unsigned int i = model_find(m, first); i < m->n && m->leaf[i].first <= last; i++) {
		struct leaf *l = &m->leaf[i];

		if (!l->dirty)
			continue;
		out[n] = (struct range){MAX(l->first, first), MIN(l->last, last)};
		*total += out[n].last - out[n].first + 1;
		n++;
		if (clear && l->first >= first && l->last <= last)
			l->dirty = false;
	}
	return n;
}

struct expected {
	const struct range *range;
	unsigned int n, next;
	uint64_t end; /* of the last one reported */
};

/* Takes ranges as long as they touch, and they must end where the report does. */
static void expect_range(void *ctx, uint64_t iova, uint64_t len)
{
	struct expected *e = ctx;
	uint64_t at = iova;

	check(e->next < e->n && len);
	check(!e->next || e->end != iova);
	while (e->next < e->n && e->range[e->next].first == at)
		at = e->range[e->next++].last + 1;
	check(at == iova + len);
	e->end = at;
}

static void do_read_dirty(struct model *m)
{
	static struct range range[LEAVES];
	static uint64_t want[BITMAP_WORDS + 1], got[BITMAP_WORDS + 1];
	uint64_t first = any_address(m), last = range_last(m, first, any_size(m)), total;
	unsigned int shift = m->cfg.leaf_shift, n, how = byte(m);
	bool clear = how & 1;
	struct expected e;

	if (byte(m) == 0) {
		first = 0;
		last = m->top >> 1;
	}
	n = model_read_dirty(m, first, last, clear, range, &total);
	if (how & 2)
		shift = 9 + byte(m) % 40;
	if (shift >= m->cfg.bits || (last - first) >> shift >= BITMAP_WORDS * 64ULL || !(how & 4)) {
		e = (struct expected){.range = range, .n = n};
		check(table_read_dirty(m->table, first, last - first + 1, clear, expect_range, &e) == total);
		check(e.next == n);
		return;
	}
	memset(want, 0, sizeof(want));
	memset(got, 0, sizeof(got));
	want[0] = got[0] = 1; /* bits that are set stay */
	for (unsigned int i = 0; i < n; i++)
		for (uint64_t b = (range[i].first - first) >> shift; b <= (range[i].last - first) >> shift; b++)
			want[b / 64] |= 1ULL << (b % 64);
	check(table_read_dirty_bitmap(m->table, first, last - first + 1, clear, shift, got) == total);
	check(!memcmp(want, got, sizeof(want)));
}

static void do_clear_dirty(struct model *m)
{
	if (byte(m) % 8)
		return;
	table_clear_dirty(m->table);
	for (unsigned int i = 0; i < m->n; i++)
		m->leaf[i].dirty = false;
}

/* Many tables at once, so that the pool has few left. */
static void do_spread(struct model *m)
{
	uint64_t step = 1ULL << (m->cfg.leaf_shift + 9), at = m->top / 4 & ~(step - 1);
	unsigned int n = SPREAD - byte(m);

	if (m->n || m->top / step / 4 < SPREAD)
		return;
	for (; n; n--, at += step) {
		check(!table_map(m->table, at, (char *)at, leaf_size(m), 0, true));
		model_map(m, at, at + leaf_size(m) - 1, at, 0, true, false);
	}
}

static void model_step(struct model *m)
{
	switch (byte(m) % 16) {
	case 0 ... 4:
		do_map(m);
		break;
	case 5 ... 6:
		do_unmap(m);
		break;
	case 7 ... 8:
		do_split(m, any_address(m));
		break;
	case 9 ... 10:
		do_set_dirty(m);
		break;
	case 11 ... 12:
		do_read_dirty(m);
		break;
	case 13:
		do_clear_dirty(m);
		break;
	case 14:
		do_spread(m);
		break;
	default:
		check_walk(m);
		check_walk(m);
		break;
	}
}

static void model_configure(struct model *m)
{
	static const uint8_t bits[] = {31, 48, 57, 39, 30, 64, 20, 52};
	unsigned int how = byte(m);
	uint64_t all = 0;

	m->cfg.leaf_shift = 11 + (how & 1);
	m->cfg.bits = bits[(how >> 1) % ARRAY_SIZE(bits)];
	for (unsigned int shift = m->cfg.leaf_shift; shift < 64; shift += 9)
		all |= 1ULL << shift;
	m->cfg.pgsizes = (how & 0x80 ? bytes(m, 8) & all : all) | leaf_size(m);
	m->top = ~0ULL >> (64 - m->cfg.bits);
}

void table_model_run(const uint8_t *program, size_t size, bool (*fail)(bool on))
{
	static struct model model;
	struct model *m = &model;
	unsigned int steps = 0;

	m->in = program;
	m->left = size;
	m->fail = fail;
	m->n = 0;
	model_configure(m);
	m->table = table_new(&m->cfg);
	check(m->table);
	while (m->left) {
		model_step(m);
		if (++steps % 16 == 0)
			check_all(m);
	}
	check_all(m);
	if (m->n)
		table_unmap(m->table, 0, m->cfg.bits == 64 ? 1ULL << 63 : m->top + 1);
	if (m->cfg.bits == 64)
		table_unmap(m->table, 1ULL << 63, 1ULL << 63);
	m->n = 0;
	check_all(m);
	table_free(m->table);
}
