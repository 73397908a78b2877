/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include "base/event.h"
#include "iommu/private.h"
#include "mm/mm.h"

struct ioas *ioas_new(struct events *evs)
{
	/* The one thing shared by all spaces: a counter, so that no two in a report have the same name. */
	static uint64_t last_id;
	struct ioas *io = calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	io->evs = evs;
	io->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
	list_init(&io->devs);
	return io;
}

void ioas_free(struct ioas *io)
{
	struct itree_node *n;
	uint64_t bytes;

	if (!io)
		return;
	while (!list_empty(&io->devs))
		dma_dev_detach(list_first(&io->devs, struct dma_dev, node));
	ioas_unmap_all(io, &bytes);
	while ((n = io->reserved.root)) {
		itree_remove(&io->reserved, n);
		free(container_of(n, struct reserved, node));
	}
	free(io);
}

uint64_t ioas_id(const struct ioas *io)
{
	return io->id;
}

/* ---- reserved ranges ---- */

int ioas_reserve(struct ioas *io, uint64_t first, uint64_t last)
{
	struct reserved *r;

	if (first > last)
		return -EINVAL;
	if (itree_first(&io->areas, first, last))
		return -EADDRINUSE;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->node.start = first;
	r->node.last = last;
	itree_insert(&io->reserved, &r->node);
	return 0;
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

/* ---- areas ---- */

/* In this order: no translation leads there, no IOTLB knows one, and only then is the page let go (A3). */
static void area_remove(struct ioas *io, struct area *a)
{
	uint64_t len = a->node.last - a->node.start + 1;
	struct dma_dev *d;

	itree_remove(&io->areas, &a->node);
	io->narea--;
	list_for_each (d, &io->devs, node)
		iotlb_flush_area(d, a->node.start, a->node.last);
	event_emit(io->evs, EVENT_UNMAP, .ioas = io->id, .addr = a->node.start, .len = len);
	pages_unpin(a->pages, a->off, len, a->who);
	pages_put(a->pages);
	mm_owner_put(a->who);
	free(a);
}

static int map_check(struct ioas *io, uint64_t iova, uint64_t len, const struct pages *p, uint64_t off, int prot)
{
	uint64_t last;

	if (!(prot & (IOMMU_READ | IOMMU_WRITE)) || (prot & ~(IOMMU_READ | IOMMU_WRITE)))
		return -EINVAL;
	if (!len || !IS_ALIGNED(iova | len | off, PF_PAGE_SIZE) || add_overflows(iova, len - 1, &last))
		return -EINVAL;
	if (off >= pages_len(p) || len > pages_len(p) - off)
		return -EINVAL;
	/* Overlap first, as vfio_dma_do_map has it. */
	if (itree_first(&io->areas, iova, last))
		return -EEXIST;
	if (itree_first(&io->reserved, iova, last))
		return -EINVAL;
	return 0;
}

int ioas_map(struct ioas *io, iova_t iova, uint64_t len, struct pages *p, uint64_t off, int prot, struct mm_owner *who)
{
	struct area *a;
	int err;

	err = map_check(io, iova.a, len, p, off, prot);
	if (err)
		return err;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	err = pages_pin(p, off, len, prot & IOMMU_WRITE, who);
	if (err) {
		free(a);
		return err;
	}
	a->node.start = iova.a;
	a->node.last = iova.a + (len - 1);
	a->off = off;
	a->pages = pages_get(p);
	a->who = mm_owner_get(who);
	a->prot = prot;
	itree_insert(&io->areas, &a->node);
	io->narea++;
	event_emit(io->evs, EVENT_MAP, .ioas = io->id, .addr = iova.a, .len = len, .value = pages_va(p) + off,
		   .who = mm_owner_pid(who), .flags = prot & IOMMU_WRITE ? EVENT_WRITE : 0);
	return 0;
}

bool ioas_overlaps(struct ioas *io, uint64_t first, uint64_t last)
{
	return first <= last && itree_first(&io->areas, first, last);
}

unsigned int ioas_area_count(const struct ioas *io)
{
	return io->narea;
}

bool ioas_next(struct ioas *io, uint64_t iova, struct ioas_area_info *info)
{
	struct area *a = area_of(itree_first(&io->areas, iova, UINT64_MAX));

	if (!a)
		return false;
	*info = (struct ioas_area_info){
	    .iova = a->node.start,
	    .len = a->node.last - a->node.start + 1,
	    .va = pages_va(a->pages) + a->off,
	    .prot = a->prot,
	};
	return true;
}

int ioas_unmap(struct ioas *io, uint64_t first, uint64_t last, uint64_t *unmapped)
{
	struct area *head, *tail;
	struct itree_node *n;
	uint64_t bytes = 0;

	if (first > last)
		return -EINVAL;
	head = ioas_area(io, first);
	tail = ioas_area(io, last);
	if ((head && head->node.start < first) || (tail && tail->node.last > last))
		return -EINVAL;
	/* The everyday case is one area, exactly. */
	n = head && head == tail ? &head->node : itree_first(&io->areas, first, last);
	while (n) {
		struct itree_node *next = n->last == last ? NULL : itree_next(n, first, last);

		bytes += n->last - n->start + 1;
		area_remove(io, area_of(n));
		n = next;
	}
	*unmapped = bytes;
	return 0;
}

void ioas_unmap_all(struct ioas *io, uint64_t *unmapped)
{
	ioas_unmap(io, 0, UINT64_MAX, unmapped); /* nothing can straddle these borders */
}
