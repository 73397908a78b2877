/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Areas. What is new is a chain of areas, one for each stretch of pages; it is checked as a whole, pinned, filled into
 * every domain, and then inserted, which cannot fail.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/event.h"
#include "iommu/private.h"
#include "mm/peer.h"

/* ---- one area ---- */

int area_pin(struct area *a)
{
	return pages_pin(a->pages, &a->pin, a->off, area_len(a));
}

void area_unpin(struct area *a)
{
	pages_unpin(a->pages, &a->pin);
}

int area_fill(const struct area *a, struct domain *d, bool large)
{
	uint64_t at = a->off, end = a->off + area_len(a);

	if (unlikely(pages_revoked(a->pages)))
		return 0;
	while (at < end) {
		uint64_t iova = a->node.start + (at - a->off), contig, n;
		char *host = pages_ptr(a->pages, at, &contig);
		int err;

		assert(host); /* it is pinned */
		n = MIN(contig, end - at);
		err = domain_map(d, iova, host, n, a->prot, large);
		if (err) {
			domain_unmap_quiet(d, a->node.start, at - a->off);
			return err;
		}
		at += n;
	}
	return 0;
}

static struct area *area_new(struct pages *p, uint64_t off, uint64_t iova, uint64_t len, int prot)
{
	struct area *a = mem_calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->node.start = iova;
	a->node.last = iova + (len - 1);
	a->pages = pages_get(p);
	a->off = off;
	a->prot = prot;
	a->pin.revoked = area_revoked;
	return a;
}

static void area_free(struct area *a)
{
	pages_put(a->pages);
	free(a);
}

static void promise_unpin(struct ioas *io, uint64_t first, uint64_t last)
{
	struct domain *d;

	list_for_each (d, &io->domains, node)
		follow_unpin(d, first, last);
}

/* In this order: no translation leads there, no IOTLB knows one, and only then is the page let go (A3). */
static void area_remove(struct ioas *io, struct area *a)
{
	uint64_t len = area_len(a);
	struct domain *d;

	itree_remove(&io->areas, &a->node);
	io->narea--;
	io->npeers -= pages_is_peer(a->pages);
	list_for_each (d, &io->domains, node)
		domain_unmap(d, a->node.start, len);
	event_emit(io->evs, EVENT_UNMAP, .ioas = io->id, .addr = a->node.start, .len = len);
	if (io->follows)
		promise_unpin(io, a->node.start, a->node.last);
	else if (!list_empty(&io->domains))
		area_unpin(a);
	ioas_place_freed(io, a->node.start);
	area_free(a);
}

/* ---- a chain of new ones ---- */

static void chain_free(struct area *chain)
{
	while (chain) {
		struct area *next = chain->next;

		area_free(chain);
		chain = next;
	}
}

static void chain_unpin(struct area *chain, const struct area *stop)
{
	for (; chain != stop; chain = chain->next)
		area_unpin(chain);
}

static int chain_pin(struct area *chain)
{
	for (struct area *a = chain; a; a = a->next) {
		int err = area_pin(a);

		if (err) {
			chain_unpin(chain, a);
			return err;
		}
	}
	return 0;
}

static int chain_fill_one(struct area *chain, struct domain *d, bool large)
{
	for (struct area *a = chain; a; a = a->next) {
		int err = area_fill(a, d, large);

		if (err) {
			for (struct area *b = chain; b != a; b = b->next)
				domain_unmap(d, b->node.start, area_len(b));
			return err;
		}
	}
	return 0;
}

static void chain_unfill(struct ioas *io, struct area *chain, const struct domain *stop)
{
	struct domain *d;

	list_for_each (d, &io->domains, node) {
		if (d == stop)
			return;
		for (struct area *a = chain; a; a = a->next)
			domain_unmap(d, a->node.start, area_len(a));
	}
}

static int chain_fill(struct ioas *io, struct area *chain)
{
	struct domain *d;

	list_for_each (d, &io->domains, node) {
		int err = chain_fill_one(chain, d, !io->small_pages);

		if (err) {
			chain_unfill(io, chain, d);
			return err;
		}
	}
	return 0;
}

/* In the order of iopt_check_iova(). */
int ioas_check_free(const struct ioas *io, iova_t at, uint64_t len)
{
	uint64_t iova = at.a, last;

	if (!len || !IS_ALIGNED(len, io->alignment))
		return -EINVAL;
	if (!IS_ALIGNED(iova, io->alignment))
		return -EINVAL;
	if (add_overflows(iova, len - 1, &last))
		return -EOVERFLOW;
	if (itree_first(&io->reserved, iova, last))
		return -EINVAL;
	if (itree_first(&io->areas, iova, last))
		return -EEXIST;
	return 0;
}

static int check_chain(const struct ioas *io, const struct area *chain)
{
	for (const struct area *a = chain; a; a = a->next) {
		if ((a->prot & IOMMU_WRITE) && !pages_writable(a->pages))
			return -EPERM;
		if (!IS_ALIGNED(a->off % PF_PAGE_SIZE, io->alignment))
			return -EINVAL;
	}
	return 0;
}

static void chain_insert(struct ioas *io, struct area *chain)
{
	for (struct area *a = chain, *next; a; a = next) {
		next = a->next;
		a->next = NULL;
		a->io = io;
		itree_insert(&io->areas, &a->node);
		io->narea++;
		io->npeers += pages_is_peer(a->pages);
		event_emit(io->evs, EVENT_MAP, .ioas = io->id, .addr = a->node.start, .len = area_len(a),
			   .value = pages_va(a->pages) + a->off, .who = mm_owner_pid(pages_owner(a->pages)),
			   .flags = (a->prot & IOMMU_WRITE ? EVENT_WRITE : 0) |
				    (pages_is_file(a->pages) || pages_is_peer(a->pages) ? EVENT_FILE : 0));
	}
}

/* May all who would reach it reach peer memory in the chain (rule B2)? */
static int chain_admitted(struct ioas *io, const struct area *chain)
{
	const struct domain *d;
	int err;

	for (const struct area *a = chain; a; a = a->next) {
		list_for_each (d, &io->domains, node) {
			err = area_admits_domain(io, a, d);
			if (err)
				return err;
		}
	}
	return 0;
}

/* The chain's areas lie at offsets from 0 on: moves them to where they belong. */
static void chain_place(struct area *chain, uint64_t iova)
{
	for (struct area *a = chain; a; a = a->next) {
		a->node.start += iova;
		a->node.last += iova;
	}
}

/* Maps a chain that lies at offsets [0, len), and takes it over on success. */
static int chain_map(struct ioas *io, struct area *chain, uint64_t *iova, bool automatic, uint64_t len)
{
	uint64_t at = *iova;
	int err;

	if (!len || !IS_ALIGNED(len, io->alignment))
		return -EINVAL;
	if (automatic)
		err = ioas_place(io, pages_va(chain->pages) + chain->off, len, &at);
	else
		err = ioas_check_free(io, IOVA(at), len);
	if (!err)
		err = check_chain(io, chain);
	if (!err)
		err = chain_admitted(io, chain);
	if (err)
		return err;
	chain_place(chain, at);
	if (!list_empty(&io->domains) && !io->follows) {
		err = chain_pin(chain);
		if (err)
			return err;
		err = chain_fill(io, chain);
		if (err) {
			chain_unpin(chain, NULL);
			return err;
		}
	}
	chain_insert(io, chain);
	*iova = at;
	return 0;
}

/* ---- map and copy ---- */

static int map(struct ioas *io, uint64_t *iova, bool automatic, uint64_t len, struct pages *p, uint64_t off, int prot)
{
	struct area *a;
	int err;

	if (!len || off >= pages_len(p) || len > pages_len(p) - off || (prot & ~(IOMMU_READ | IOMMU_WRITE)))
		return -EINVAL;
	a = area_new(p, off, 0, len, prot);
	if (!a)
		return -ENOMEM;
	err = chain_map(io, a, iova, automatic, len);
	if (err)
		area_free(a);
	return err;
}

int ioas_map(struct ioas *io, iova_t iova, uint64_t len, struct pages *p, uint64_t off, int prot)
{
	return io->follows ? -EINVAL : map(io, &iova.a, false, len, p, off, prot);
}

int ioas_map_auto(struct ioas *io, iova_t *iova, uint64_t len, struct pages *p, uint64_t off, int prot)
{
	return io->follows ? -EINVAL : map(io, &iova->a, true, len, p, off, prot);
}

int area_map_promise(struct ioas *io, uint64_t iova, uint64_t len, struct pages *p, uint64_t off, int prot)
{
	return map(io, &iova, false, len, p, off, prot);
}

/* A chain of areas for what src has at [iova, last], which must be gapless. */
static int chain_of(const struct ioas *src, uint64_t iova, uint64_t last, int prot, struct area **chain)
{
	struct area **tail = chain;
	uint64_t at = iova;

	*chain = NULL;
	for (;;) {
		const struct area *a = ioas_area(src, at);
		uint64_t end = a ? MIN(last, a->node.last) : last;

		if (a)
			*tail = area_new(a->pages, area_off(a, at), at - iova, end - at + 1, prot);
		if (!*tail) {
			chain_free(*chain);
			return a ? -ENOMEM : -ENOENT;
		}
		if (end == last)
			return 0;
		at = end + 1;
		tail = &(*tail)->next;
	}
}

int ioas_copy(struct ioas *dst, iova_t *dst_iova, bool automatic, struct ioas *src, iova_t src_iova, uint64_t len,
	      int prot)
{
	struct area *chain;
	uint64_t last;
	int err;

	/* Old pages are no promise of what is there now. */
	if (!len || (prot & ~(IOMMU_READ | IOMMU_WRITE)) || dst->follows)
		return -EINVAL;
	if (add_overflows(src_iova.a, len - 1, &last))
		return -EOVERFLOW;
	err = chain_of(src, src_iova.a, last, prot, &chain);
	if (err)
		return err;
	err = chain_map(dst, chain, &dst_iova->a, automatic, len);
	if (err)
		chain_free(chain);
	return err;
}

/* ---- unmap ---- */

/* Has every access let go of the area at first? Whatever they did meanwhile, it is looked up anew. */
static bool area_let_go(struct ioas *io, struct area *a)
{
	uint64_t first = a->node.start;

	a->going = true;
	access_notify(io, first, area_len(a));
	a = ioas_area(io, first);
	if (!a || a->node.start != first)
		return true;
	a->going = false;
	return !a->nholds;
}

int ioas_unmap(struct ioas *io, uint64_t first, uint64_t last, uint64_t *unmapped)
{
	int err = first > last ? -EINVAL : 0;

	*unmapped = 0;
	while (!err) {
		struct area *a = ioas_area(io, first);
		uint64_t area_last;

		if (!a)
			a = area_of(itree_first(&io->areas, first, last));
		if (!a)
			break;
		if (unlikely(a->nlocks)) {
			err = -EBUSY;
			break;
		}
		area_last = a->node.last;
		if (a->node.start < first || area_last > last) {
			err = -ENOENT;
			break;
		}
		if (unlikely(a->nholds)) {
			if (!area_let_go(io, a))
				err = -EDEADLOCK;
			continue;
		}
		*unmapped += area_len(a);
		area_remove(io, a);
		if (area_last == last)
			break;
		first = area_last + 1;
	}
	return err;
}

void area_forget(struct ioas *io, struct area *a, uint64_t first, uint64_t last)
{
	uint64_t low = a->node.start, high = a->node.last;
	struct area *rest = NULL;
	struct domain *d;

	first = MAX(first, low);
	last = MIN(last, high);
	if (last < high)
		rest = area_new(a->pages, area_off(a, last + 1), last + 1, high - last, a->prot);
	if (!rest)
		last = high;
	if (first == low && last == high) {
		area_remove(io, a);
		return;
	}
	itree_remove(&io->areas, &a->node);
	io->narea--;
	if (rest) {
		itree_insert(&io->areas, &rest->node);
		io->narea++;
	}
	if (first > low) {
		a->node.last = first - 1;
		itree_insert(&io->areas, &a->node);
		io->narea++;
	} else {
		area_free(a);
	}
	list_for_each (d, &io->domains, node)
		domain_unmap(d, first, last - first + 1);
	event_emit(io->evs, EVENT_UNMAP, .ioas = io->id, .addr = first, .len = last - first + 1);
	promise_unpin(io, first, last);
}

/* ---- cut ---- */

/* The two halves claim the same pages that the whole does, so their pins cost nothing and cannot fail. */
static int area_cut(struct ioas *io, struct area *a, uint64_t at)
{
	bool pinned = !list_empty(&io->domains) && !io->follows;
	struct area *low, *high;
	int err = 0;

	if (a->nholds || (pinned && !io->small_pages) || !IS_ALIGNED(at, io->alignment) ||
	    !IS_ALIGNED(area_off(a, at) % PF_PAGE_SIZE, io->alignment))
		return -EINVAL;
	if (a->going)
		return -EBUSY;
	low = area_new(a->pages, a->off, a->node.start, at - a->node.start, a->prot);
	high = area_new(a->pages, area_off(a, at), at, a->node.last - at + 1, a->prot);
	if (!low || !high) {
		if (low)
			area_free(low);
		if (high)
			area_free(high);
		return -ENOMEM;
	}
	if (pinned) {
		err = area_pin(low) ?: area_pin(high);
		assert(!err);
		area_unpin(a);
	}
	itree_remove(&io->areas, &a->node);
	area_free(a);
	low->io = high->io = io;
	itree_insert(&io->areas, &low->node);
	itree_insert(&io->areas, &high->node);
	io->narea++;
	io->npeers += pages_is_peer(low->pages);
	return err;
}

int ioas_cut(struct ioas *io, const uint64_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct area *a = ioas_area(io, at[i]);
		int err;

		/* Linux does not cut off a single first byte. */
		if (!a || at[i] - a->node.start <= 1)
			continue;
		err = area_cut(io, a, at[i]);
		if (err)
			return err;
	}
	return 0;
}

/* ---- questions ---- */

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
	    .len = area_len(a),
	    .va = pages_va(a->pages) + a->off,
	    .prot = a->prot,
	    .pages = a->pages,
	    .off = a->off,
	};
	return true;
}
