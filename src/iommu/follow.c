/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Following a process's address space (rule E3). In a space that follows, IOVA = VA, and an area is a promise that has
 * been made by the process whose memory it is: this is what lies there, until it says that this has changed
 * (ioas_forget). A domain of such a space starts empty. A requester's miss pins the one page that it needs, which is
 * charged (B1), and puts it into the table.
 *
 * Invariant: what is in the table is pinned by the domain, one pin to a page, and lies in an area. A pin goes after the
 * translation and what the IOTLBs hold of it (A3), and before the area.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/event.h"
#include "iommu/private.h"
#include "mm/peer.h"

struct follow_pin {
	struct itree_node node; /* IOVA: the page; in domain->pins */
	struct page_pin pin;
	struct pages *pages;
};

/* ---- pins ---- */

static int pin_failed(int err)
{
	return err == -ENOMEM ? DMA_FAULT_LIMIT : DMA_FAULT_GONE;
}

int follow_fault(struct domain *d, uint64_t iova, unsigned int need)
{
	uint64_t page = ALIGN_DOWN(iova, PF_PAGE_SIZE), contig;
	struct area *a = d->ioas ? ioas_area(d->ioas, iova) : NULL;
	struct follow_pin *p;
	int err;

	if (!a)
		return DMA_FAULT_UNMAPPED;
	if (!(a->prot & need))
		return DMA_FAULT_PERMISSION;
	p = mem_calloc(1, sizeof(*p));
	if (!p)
		return DMA_FAULT_GONE;
	err = pages_pin(a->pages, &p->pin, area_off(a, page), PF_PAGE_SIZE);
	if (err) {
		free(p);
		return pin_failed(err);
	}
	err = domain_map(d, page, pages_ptr(a->pages, area_off(a, page), &contig), PF_PAGE_SIZE, a->prot, false);
	if (err) {
		pages_unpin(a->pages, &p->pin);
		free(p);
		return DMA_FAULT_GONE;
	}
	p->node.start = page;
	p->node.last = page + (PF_PAGE_SIZE - 1);
	p->pages = pages_get(a->pages);
	itree_insert(&d->pins, &p->node);
	return 0;
}

void follow_unpin(struct domain *d, uint64_t first, uint64_t last)
{
	struct itree_node *n;

	while ((n = itree_first(&d->pins, first, last))) {
		struct follow_pin *p = container_of(n, struct follow_pin, node);

		itree_remove(&d->pins, n);
		pages_unpin(p->pages, &p->pin);
		pages_put(p->pages);
		free(p);
	}
}

/* ---- spaces ---- */

bool ioas_follows(const struct ioas *io)
{
	return io->follows;
}

int ioas_follow_map(struct ioas *io, uint64_t len, struct pages *p, uint64_t off, int prot)
{
	if (!io->follows || pages_is_file(p) || pages_is_peer(p))
		return -EINVAL;
	return area_map_promise(io, pages_va(p) + off, len, p, off, prot);
}

void ioas_forget(struct ioas *io, const struct mm_owner *who, uint64_t first, uint64_t last)
{
	struct itree_node *n, *next;

	if (!io->follows || first > last)
		return;
	first = ALIGN_DOWN(first, PF_PAGE_SIZE);
	last |= PF_PAGE_SIZE - 1;
	for (n = itree_first(&io->areas, first, last); n; n = next) {
		next = itree_next(n, first, last);
		if (pages_owner(area_of(n)->pages) == who)
			area_forget(io, area_of(n), first, last);
	}
}
