/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "iommu/private.h"
#include "iommu/table.h"

/* ---- life ---- */

static struct domain *domain_alloc(const struct domain_config *cfg, struct events *evs)
{
	struct domain *d = mem_calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->cfg = *cfg;
	d->evs = evs;
	list_init(&d->node);
	list_init(&d->devs);
	list_init(&d->children);
	list_init(&d->sibling);
	itree_init(&d->pins);
	return d;
}

struct domain *domain_new(const struct domain_config *cfg, struct events *evs)
{
	struct table_config t = {
	    .leaf_shift = __builtin_ctzll(cfg->pgsizes),
	    .bits = 64 - __builtin_clzll(cfg->last),
	    .pgsizes = cfg->pgsizes,
	};
	struct domain *d = domain_alloc(cfg, evs);

	if (!d)
		return NULL;
	d->table = table_new(&t);
	if (!d->table) {
		free(d);
		return NULL;
	}
	return d;
}

struct domain *domain_new_nested(struct domain *parent, const struct walk_config *walk)
{
	struct domain *d = domain_alloc(&parent->cfg, parent->evs);

	if (!d)
		return NULL;
	d->parent = parent;
	if (walk && !walk_config_check(walk)) {
		d->walk = *walk;
		d->walks = true;
	}
	list_add_tail(&parent->children, &d->sibling);
	return d;
}

void domain_set_stage1(struct domain *d, const struct stage1_ops *ops, void *ctx)
{
	d->stage1 = ops;
	d->stage1_ctx = ctx;
}

void domain_free(struct domain *d)
{
	if (!d)
		return;
	assert(!d->ioas && list_empty(&d->devs) && list_empty(&d->children) && itree_empty(&d->pins));
	list_del(&d->sibling);
	table_free(d->table);
	free(d);
}

const struct domain_config *domain_config(const struct domain *d)
{
	return &d->cfg;
}

bool domain_nested(const struct domain *d)
{
	return d->parent;
}

struct ioas *domain_ioas(const struct domain *d)
{
	return d->parent ? d->parent->ioas : d->ioas;
}

uint64_t domain_event_id(const struct domain *d)
{
	const struct ioas *io = d ? domain_ioas(d) : NULL;

	return io ? io->id : 0;
}

/* ---- what is cached of it ---- */

static void flush_all(struct domain *d)
{
	struct dma_dev *dev;

	list_for_each (dev, &d->devs, node)
		iotlb_flush(dev);
}

/* Which addresses of a nested domain lead to the range is not known. */
static void flush_children(struct domain *d)
{
	struct domain *child;

	list_for_each (child, &d->children, sibling)
		flush_all(child);
}

void domain_flush(struct domain *d, uint64_t first, uint64_t last)
{
	struct dma_dev *dev;

	list_for_each (dev, &d->devs, node)
		iotlb_flush_range(dev, first, last);
	flush_children(d);
}

void domain_invalidate(struct domain *d, uint64_t first, uint64_t last)
{
	if (d->parent)
		flush_all(d);
	else
		domain_flush(d, first, last);
}

/* ---- translations ---- */

int domain_map(struct domain *d, uint64_t iova, char *host, uint64_t len, int prot, bool large)
{
	return table_map(d->table, iova, host, len, prot, large);
}

void domain_unmap_quiet(struct domain *d, uint64_t iova, uint64_t len)
{
	table_unmap(d->table, iova, len);
}

void domain_unmap(struct domain *d, uint64_t iova, uint64_t len)
{
	table_unmap(d->table, iova, len);
	domain_flush(d, iova, iova + (len - 1));
}

bool domain_walk(struct domain *d, uint64_t iova, struct domain_leaf *out)
{
	struct table_leaf l;

	if (!table_walk_run(d->table, iova, IOTLB_BLOCK, &l))
		return false;
	*out = (struct domain_leaf){.iova = l.iova, .size = l.size, .host = l.host, .prot = l.prot};
	return true;
}

/* The leaf that holds iova; or, if it is a small one, with its neighbours in the block. */
static bool walk_block(const struct table *t, uint64_t iova, struct table_leaf *l)
{
	uint64_t block = ALIGN_DOWN(iova, IOTLB_BLOCK), cut;

	if (!table_walk_run(t, iova, IOTLB_BLOCK, l))
		return false;
	/* More than small leaves can have come to: a large one is near. Where it ends is not told. */
	if (unlikely(l->size >= 4 * IOTLB_BLOCK))
		return table_walk(t, iova, l);
	if (l->iova < block) {
		cut = block - l->iova;
		l->iova += cut;
		l->host += cut;
		l->size -= cut;
	}
	l->size = MIN(l->size, IOTLB_BLOCK - (l->iova - block));
	return true;
}

static bool domain_find(const struct domain *d, uint64_t iova, struct table_leaf *l)
{
	return d->tracking ? table_walk(d->table, iova, l) : walk_block(d->table, iova, l);
}

int domain_translate(struct domain *d, uint64_t iova, unsigned int need, struct iotlb_entry *e)
{
	struct table_leaf l;
	uint64_t prot;

	if (!domain_find(d, iova, &l)) {
		int reason = d->cfg.follows ? follow_fault(d, iova, need) : DMA_FAULT_UNMAPPED;

		if (reason)
			return reason;
		domain_find(d, iova, &l);
	}
	prot = l.prot;
	if (!(prot & need))
		return DMA_FAULT_PERMISSION;
	if (unlikely(d->tracking)) {
		if (need == IOMMU_WRITE)
			table_set_dirty(d->table, iova, 1);
		else if (!l.dirty)
			prot &= ~(uint64_t)IOMMU_WRITE;
	}
	*e = (struct iotlb_entry){.first = l.iova, .size = l.size, .host = l.host, .prot = prot};
	return 0;
}

/* ---- dirty tracking ---- */

int domain_set_dirty_tracking(struct domain *d, bool on)
{
	if (!d->cfg.dirty || d->parent)
		return -EOPNOTSUPP;
	if (on)
		table_clear_dirty(d->table);
	d->tracking = on;
	domain_flush(d, 0, UINT64_MAX);
	return 0;
}

bool domain_dirty_tracking(const struct domain *d)
{
	return d->tracking;
}

void domain_mark_dirty(struct domain *d, uint64_t iova, uint64_t len)
{
	if (d->tracking)
		table_set_dirty(d->table, iova, len);
}

/* As whole leaves. False: nothing of it can be mapped. */
static bool dirty_range(const struct domain *d, uint64_t *iova, uint64_t *len)
{
	uint64_t leaf = d->cfg.pgsizes & -d->cfg.pgsizes, last;

	if (!*len || *iova > d->cfg.last)
		return false;
	if (add_overflows(*iova, *len - 1, &last))
		last = UINT64_MAX;
	*iova = ALIGN_DOWN(*iova, leaf);
	*len = (MIN(last, d->cfg.last) | (leaf - 1)) - *iova + 1;
	return *len;
}

void domain_read_dirty(struct domain *d, uint64_t iova, uint64_t len, bool keep,
		       void (*fn)(void *ctx, uint64_t iova, uint64_t len), void *ctx)
{
	if (!dirty_range(d, &iova, &len))
		return;
	if (table_read_dirty(d->table, iova, len, !keep, fn, ctx) && !keep)
		domain_flush(d, iova, iova + (len - 1));
}

bool domain_read_dirty_bitmap(struct domain *d, uint64_t iova, uint64_t len, bool keep, unsigned int shift,
			      uint64_t *bits)
{
	uint64_t first = iova, size = len;

	if (!dirty_range(d, &first, &size) || first != iova || size > len ||
	    !table_read_dirty_bitmap(d->table, iova, size, !keep, shift, bits))
		return false;
	if (!keep)
		domain_flush(d, iova, iova + (size - 1));
	return true;
}
