/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/log.h"

#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommu/private.h"

#define CHUNK_SHIFT 21 /* 512 pages */
#define CHUNK_WORDS 8
#define CHUNKS_MAX  (1u << 20)

struct chunk {
	struct itree_node node;
	uint64_t bits[CHUNK_WORDS];
};

struct dma_log {
	struct itree ranges; /* disjoint */
	struct itree chunks; /* aligned to their size, disjoint */
	struct chunk *last;  /* the one used last */
	unsigned int nchunks;
	bool all; /* there was no memory to note a write */
	struct itree_node range[];
};

static struct chunk *chunk_of(struct itree_node *n)
{
	return n ? container_of(n, struct chunk, node) : NULL;
}

static struct chunk *chunk_find(struct dma_log *l, uint64_t at)
{
	if (l->last && l->last->node.start == ALIGN_DOWN(at, BIT64(CHUNK_SHIFT)))
		return l->last;
	return l->last = chunk_of(itree_find_disjoint(&l->chunks, at));
}

static struct chunk *chunk_get(struct dma_log *l, uint64_t at)
{
	struct chunk *c = chunk_find(l, at);

	if (c)
		return c;
	c = l->nchunks < CHUNKS_MAX ? mem_calloc(1, sizeof(*c)) : NULL;
	if (!c)
		return NULL;
	c->node.start = ALIGN_DOWN(at, BIT64(CHUNK_SHIFT));
	c->node.last = at | (BIT64(CHUNK_SHIFT) - 1);
	itree_insert(&l->chunks, &c->node);
	l->nchunks++;
	return l->last = c;
}

static void chunk_free(struct dma_log *l, struct chunk *c)
{
	itree_remove(&l->chunks, &c->node);
	l->nchunks--;
	l->last = NULL;
	free(c);
}

int dma_log_start(struct dma_dev *d, const struct iova_range *ranges, size_t n)
{
	struct dma_log *l;

	if (d->log)
		return -EINVAL;
	l = mem_calloc(1, sizeof(*l) + n * sizeof(l->range[0]));
	if (!l)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (ranges[i].first > ranges[i].last || itree_first(&l->ranges, ranges[i].first, ranges[i].last)) {
			free(l);
			return -EINVAL;
		}
		l->range[i].start = ranges[i].first;
		l->range[i].last = ranges[i].last;
		itree_insert(&l->ranges, &l->range[i]);
	}
	d->log = l;
	return 0;
}

void dma_log_stop(struct dma_dev *d)
{
	struct dma_log *l = d->log;

	if (!l)
		return;
	while (!itree_empty(&l->chunks))
		chunk_free(l, chunk_of(l->chunks.root));
	free(l);
	d->log = NULL;
}

bool dma_log_active(const struct dma_dev *d)
{
	return d->log;
}

static void mark(struct dma_log *l, uint64_t first, uint64_t last)
{
	for (uint64_t page = first >> PF_PAGE_SHIFT; page <= last >> PF_PAGE_SHIFT; page++) {
		struct chunk *c = chunk_get(l, page << PF_PAGE_SHIFT);

		if (!c) {
			l->all = true;
			return;
		}
		c->bits[page / 64 % CHUNK_WORDS] |= BIT64(page % 64);
	}
}

void log_write(struct dma_dev *d, uint64_t iova, uint64_t len)
{
	struct dma_log *l = d->log;
	uint64_t last = iova + (len - 1);
	struct itree_node *n;

	if (!len || last < iova)
		return;
	for (n = itree_first(&l->ranges, iova, last); n; n = itree_next(n, iova, last))
		mark(l, MAX(iova, n->start), MIN(last, n->last));
}

/* ---- reading ---- */

struct reader {
	void (*fn)(void *ctx, uint64_t first, uint64_t last);
	void *ctx;
	uint64_t first, last;
	bool open;
};

static void reader_add(struct reader *r, uint64_t first, uint64_t last)
{
	if (r->open && r->last + 1 == first) {
		r->last = last;
		return;
	}
	if (r->open)
		r->fn(r->ctx, r->first, r->last);
	r->first = first;
	r->last = last;
	r->open = true;
}

static bool chunk_read(struct chunk *c, struct reader *r, uint64_t first, uint64_t last, bool clear)
{
	bool empty = true;

	for (unsigned int w = 0; w < CHUNK_WORDS; w++) {
		for (uint64_t bits = c->bits[w]; bits; bits &= bits - 1) {
			unsigned int i = __builtin_ctzll(bits);
			uint64_t at = c->node.start + ((w * 64ull + i) << PF_PAGE_SHIFT);

			if (at < first || at > last)
				continue;
			reader_add(r, at, at | (PF_PAGE_SIZE - 1));
			if (clear)
				c->bits[w] &= ~BIT64(i);
		}
		empty &= !c->bits[w];
	}
	return empty;
}

/* An empty chunk does not stay, so the second that is met has something in it. */
bool dma_log_next(const struct dma_dev *d, uint64_t first, uint64_t last, uint64_t *at)
{
	const struct dma_log *l = d->log;
	struct itree_node *n = itree_first(l->all ? &l->ranges : &l->chunks, first, last);

	if (l->all && n)
		*at = MAX(first, n->start);
	for (; n && !l->all; n = itree_next(n, first, last)) {
		const struct chunk *c = chunk_of(n);

		for (unsigned int i = 0; i < CHUNK_WORDS * 64; i++) {
			uint64_t page = c->node.start + ((uint64_t)i << PF_PAGE_SHIFT);

			if (!(c->bits[i / 64] >> i % 64 & 1) || (page | (PF_PAGE_SIZE - 1)) < first || page > last)
				continue;
			*at = MAX(first, page);
			return true;
		}
	}
	return l->all && n;
}

void dma_log_read(struct dma_dev *d, uint64_t first, uint64_t last, bool clear,
		  void (*fn)(void *ctx, uint64_t first, uint64_t last), void *ctx)
{
	struct reader r = {.fn = fn, .ctx = ctx};
	struct dma_log *l = d->log;
	struct itree_node *n, *next;

	first = ALIGN_DOWN(first, PF_PAGE_SIZE);
	for (n = l->all ? itree_first(&l->ranges, first, last) : NULL; n; n = itree_next(n, first, last))
		reader_add(&r, MAX(first, n->start) & PF_PAGE_MASK, MIN(last, n->last) | (PF_PAGE_SIZE - 1));
	for (n = l->all ? NULL : itree_first(&l->chunks, first, last); n; n = next) {
		next = itree_next(n, first, last);
		if (chunk_read(chunk_of(n), &r, first, last, clear) && clear)
			chunk_free(l, chunk_of(n));
	}
	if (r.open)
		fn(ctx, r.first, r.last);
}
