/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/event.h"
#include "iommu/private.h"

struct reserved {
	struct itree_node node;
	const void *owner;
};

struct allowed {
	struct itree_node node;
};

struct ioas *ioas_new(struct events *evs)
{
	/* The one thing shared by all spaces: a counter, so that no two in a report have the same name. */
	static uint64_t last_id;
	struct ioas *io = mem_calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	io->evs = evs;
	io->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	io->alignment = 1;
	list_init(&io->domains);
	list_init(&io->accesses);
	return io;
}

void ioas_free(struct ioas *io)
{
	struct itree_node *n;
	uint64_t bytes;

	if (!io)
		return;
	assert(list_empty(&io->domains) && list_empty(&io->accesses));
	ioas_unmap(io, 0, UINT64_MAX, &bytes); /* nothing can straddle these borders */
	while ((n = io->reserved.root)) {
		itree_remove(&io->reserved, n);
		free(container_of(n, struct reserved, node));
	}
	free(io->allowed_nodes);
	free(io);
}

uint64_t ioas_id(const struct ioas *io)
{
	return io->id;
}

/* ---- reserved ranges ---- */

int ioas_reserve(struct ioas *io, uint64_t first, uint64_t last, const void *owner)
{
	struct reserved *r;

	if (first > last)
		return -EINVAL;
	if (itree_first(&io->areas, first, last) || itree_first(&io->allowed, first, last))
		return -EADDRINUSE;
	r = mem_calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->node.start = first;
	r->node.last = last;
	r->owner = owner;
	itree_insert(&io->reserved, &r->node);
	return 0;
}

void ioas_unreserve(struct ioas *io, const void *owner)
{
	struct itree_node *n = itree_first(&io->reserved, 0, UINT64_MAX), *next;

	for (; n; n = next) {
		struct reserved *r = container_of(n, struct reserved, node);

		next = itree_next(n, 0, UINT64_MAX);
		if (r->owner != owner)
			continue;
		itree_remove(&io->reserved, n);
		free(r);
	}
	ioas_place_forget(io);
}

void ioas_ranges(struct ioas *io, void (*fn)(void *ctx, uint64_t first, uint64_t last), void *ctx)
{
	uint64_t next = 0;

	for (struct itree_node *n = itree_first(&io->reserved, 0, UINT64_MAX); n; n = itree_next(n, 0, UINT64_MAX)) {
		if (n->start > next)
			fn(ctx, next, n->start - 1);
		if (n->last == UINT64_MAX)
			return;
		next = MAX(next, n->last + 1);
	}
	fn(ctx, next, UINT64_MAX);
}

/* ---- allowed ranges ---- */

int ioas_allow(struct ioas *io, const struct iova_range *r, size_t n)
{
	struct allowed *nodes = NULL;
	struct itree tree;
	int err = 0;

	itree_init(&tree);
	if (n) {
		nodes = mem_calloc(n, sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		if (r[i].first >= r[i].last || itree_first(&tree, r[i].first, r[i].last)) {
			free(nodes);
			return -EINVAL;
		}
		nodes[i].node.start = r[i].first;
		nodes[i].node.last = r[i].last;
		itree_insert(&tree, &nodes[i].node);
		if (itree_first(&io->reserved, r[i].first, r[i].last))
			err = -EADDRINUSE;
	}
	if (err) {
		free(nodes);
		return err;
	}
	free(io->allowed_nodes);
	io->allowed_nodes = nodes;
	io->allowed = tree;
	ioas_place_forget(io);
	return 0;
}

/* ---- alignment ---- */

uint64_t ioas_alignment(const struct ioas *io)
{
	return io->alignment;
}

bool ioas_large_pages(const struct ioas *io)
{
	return !io->small_pages;
}

/* -EADDRINUSE if an area does not conform. */
static int check_alignment(const struct ioas *io, uint64_t alignment)
{
	const struct itree_node *n;

	if (alignment <= io->alignment)
		return 0;
	for (n = itree_first(&io->areas, 0, UINT64_MAX); n; n = itree_next(n, 0, UINT64_MAX)) {
		const struct area *a = container_of(n, struct area, node);

		if (!IS_ALIGNED(n->start | area_len(a) | a->off % PF_PAGE_SIZE, alignment))
			return -EADDRINUSE;
	}
	return 0;
}

static uint64_t domain_smallest(const struct domain *d)
{
	return d->cfg.pgsizes & -d->cfg.pgsizes;
}

/* -EADDRINUSE: an area does not conform, and nothing has changed. */
static int ioas_update_alignment(struct ioas *io)
{
	uint64_t alignment = io->small_pages ? PF_PAGE_SIZE : 1;
	const struct domain *d;
	int err;

	list_for_each (d, &io->domains, node)
		alignment = MAX(alignment, domain_smallest(d));
	if (io->npinning)
		alignment = MAX(alignment, PF_PAGE_SIZE);
	err = check_alignment(io, alignment);
	if (!err)
		io->alignment = alignment;
	return err;
}

int ioas_set_large_pages(struct ioas *io, bool on)
{
	int err;

	if (on == !io->small_pages)
		return 0;
	if (!on && !list_empty(&io->domains) && !itree_empty(&io->areas))
		return -EINVAL;
	io->small_pages = !on;
	err = ioas_update_alignment(io);
	if (err)
		io->small_pages = on;
	return err;
}

int ioas_add_access(struct ioas *io, bool pins)
{
	int err;

	if (io->follows)
		return -EINVAL;
	io->npinning += pins;
	err = ioas_update_alignment(io);
	if (err)
		io->npinning -= pins;
	return err;
}

void ioas_remove_access(struct ioas *io, bool pins)
{
	io->npinning -= pins;
	ioas_update_alignment(io); /* it can only sink */
}

/* ---- domains ---- */

/* Undoes what add_areas did to the areas before stop. */
static void take_areas(struct ioas *io, struct domain *d, const struct area *stop)
{
	bool unpin = list_empty(&io->domains);
	struct itree_node *n;

	for (n = itree_first(&io->areas, 0, UINT64_MAX); area_of(n) != stop; n = itree_next(n, 0, UINT64_MAX))
		domain_unmap_quiet(d, n->start, area_len(area_of(n)));
	domain_flush(d, 0, UINT64_MAX);
	if (!unpin)
		return;
	for (n = itree_first(&io->areas, 0, UINT64_MAX); area_of(n) != stop; n = itree_next(n, 0, UINT64_MAX))
		area_unpin(area_of(n));
}

/* Pins every area, if it is the first domain, and fills the table; all or none. */
static int add_areas(struct ioas *io, struct domain *d)
{
	bool pin = list_empty(&io->domains);
	struct itree_node *n;
	int err = 0;

	for (n = itree_first(&io->areas, 0, UINT64_MAX); n; n = itree_next(n, 0, UINT64_MAX)) {
		struct area *a = area_of(n);

		err = area_admits_domain(io, a, d);
		if (!err && pin)
			err = area_pin(a);
		if (!err) {
			err = area_fill(a, d, !io->small_pages);
			if (err && pin)
				area_unpin(a);
		}
		if (err) {
			take_areas(io, d, a);
			return err;
		}
	}
	return 0;
}

static int reserve_outside(struct ioas *io, const struct domain *d)
{
	int err = 0;

	if (d->cfg.first)
		err = ioas_reserve(io, 0, d->cfg.first - 1, d);
	if (!err && d->cfg.last != UINT64_MAX)
		err = ioas_reserve(io, d->cfg.last + 1, UINT64_MAX, d);
	return err;
}

/* A space follows an address space with all its domains or with none. */
static bool kind_fits(const struct ioas *io, const struct domain *d)
{
	if (io->follows || !d->cfg.follows)
		return io->follows == d->cfg.follows;
	return list_empty(&io->domains) && list_empty(&io->accesses) && itree_empty(&io->areas);
}

static void take_promises(struct domain *d)
{
	struct itree_node *n;

	for (n = itree_first(&d->pins, 0, UINT64_MAX); n; n = itree_next(n, 0, UINT64_MAX))
		domain_unmap_quiet(d, n->start, PF_PAGE_SIZE);
	domain_flush(d, 0, UINT64_MAX);
	follow_unpin(d, 0, UINT64_MAX);
}

int ioas_add_domain(struct ioas *io, struct domain *d)
{
	uint64_t alignment = MAX(io->alignment, domain_smallest(d));
	struct dma_dev *dev;
	int err;

	assert(!d->parent && !d->ioas);
	if (alignment > PF_PAGE_SIZE || !kind_fits(io, d))
		return -EINVAL;
	err = check_alignment(io, alignment);
	if (err)
		return err;
	err = reserve_outside(io, d);
	if (!err && !d->cfg.follows)
		err = add_areas(io, d);
	if (err) {
		ioas_unreserve(io, d);
		return err;
	}
	io->alignment = alignment;
	io->follows = d->cfg.follows;
	d->ioas = io;
	list_add_tail(&io->domains, &d->node);
	list_for_each (dev, &d->devs, node)
		dma_attach_emit(dev);
	return 0;
}

void ioas_remove_domain(struct ioas *io, struct domain *d)
{
	assert(d->ioas == io);
	list_del(&d->node);
	d->ioas = NULL;
	if (io->follows)
		take_promises(d);
	else
		take_areas(io, d, NULL);
	ioas_unreserve(io, d);
	ioas_update_alignment(io); /* it can only sink */
}

int ioas_refused(const struct ioas *io, iova_t iova, uint64_t len, uint64_t va, int err)
{
	event_emit(io->evs, EVENT_MAP_REFUSED, .ioas = io->id, .addr = iova.a, .len = len, .value = va, .error = -err);
	return err;
}

void ioas_unmap_asked(const struct ioas *io, uint64_t iova, uint64_t len, uint64_t unmapped, int err)
{
	event_emit(io->evs, EVENT_UNMAP_ASKED, .ioas = io->id, .addr = iova, .len = len, .value = unmapped,
		   .error = -err);
}
