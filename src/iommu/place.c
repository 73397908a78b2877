/* SPDX-License-Identifier: BSD-3-Clause */
/* Where an area goes whose IOVA the engine chooses: the first place that fits, as iopt_alloc_iova() has it. */
#include <errno.h>
#include "iommu/private.h"

#define PLACE_ALIGN_MAX (2UL << 20) /* a huge page */

/* What a place must be. */
struct wish {
	uint64_t len, align, page_off;
};

static uint64_t roundup_pow_of_two(uint64_t x)
{
	return x <= 1 ? 1 : 1ULL << (64 - __builtin_clzll(x - 1));
}

/* The first place at or after *at that ends by last. */
static bool fits(const struct wish *w, uint64_t *at, uint64_t last)
{
	uint64_t start;

	if (add_overflows(*at, w->align - 1, &start))
		return false;
	start = ALIGN_DOWN(start, w->align) | w->page_off;
	if (start >= last || last - start < w->len - 1)
		return false;
	*at = start;
	return true;
}

/* What is in the way first at or after at, up to last: its first and last address. False: nothing. */
static bool obstacle(const struct ioas *io, uint64_t at, uint64_t last, uint64_t *from, uint64_t *to)
{
	const struct itree_node *a = itree_first(&io->areas, at, last), *r = itree_first(&io->reserved, at, last);
	const struct itree_node *n = !r || (a && a->start <= r->start) ? a : r;

	if (!n)
		return false;
	*from = n->start;
	*to = n->last;
	return true;
}

/* A place in a hole of [at, last]. */
static bool place_between(const struct ioas *io, const struct wish *w, uint64_t at, uint64_t last, uint64_t *iova)
{
	uint64_t from, to;

	while (fits(w, &at, last)) {
		uint64_t end = at + (w->len - 1);

		if (!obstacle(io, at, end, &from, &to)) {
			*iova = at;
			return true;
		}
		if (to >= last)
			return false;
		at = to + 1;
	}
	return false;
}

/* Where to begin: everything that the hint rules out is left out. */
static uint64_t hint_start(struct ioas *io, const struct wish *w)
{
	struct place_hint *h = &io->hint;

	if (!h->len || w->len < h->len || w->align < h->align || w->page_off != h->page_off)
		*h = (struct place_hint){.len = w->len, .align = w->align, .page_off = w->page_off};
	return h->from >= w->len ? h->from - w->len + 1 : 0;
}

void ioas_place_freed(struct ioas *io, uint64_t first)
{
	io->hint.from = MIN(io->hint.from, first);
}

void ioas_place_forget(struct ioas *io)
{
	io->hint.from = 0;
}

static bool place(struct ioas *io, const struct wish *w, uint64_t *iova)
{
	uint64_t first = MAX(hint_start(io, w), PF_PAGE_SIZE), last = UINT64_MAX - PF_PAGE_SIZE;
	const struct itree_node *n;

	if (itree_empty(&io->allowed))
		return place_between(io, w, first, last, iova);
	for (n = itree_first(&io->allowed, first, last); n;) {
		uint64_t at = MAX(n->start, first), stop = n->last;

		/* Ranges that adjoin are one. */
		while ((n = itree_next(n, first, last)) && n->start - 1 == stop)
			stop = n->last;
		if (place_between(io, w, at, MIN(stop, last), iova))
			return true;
	}
	return false;
}

int ioas_place(struct ioas *io, uint64_t va, uint64_t len, uint64_t *iova)
{
	struct wish w = {.len = len, .page_off = va % PF_PAGE_SIZE};
	bool found;

	if (!len || len >= UINT64_MAX / 2)
		return -EOVERFLOW;
	w.align = roundup_pow_of_two(len);
	if (va)
		w.align = MIN(w.align, va & -va);
	w.align = MIN(w.align, PLACE_ALIGN_MAX);
	if (w.align < io->alignment)
		return -EINVAL;
	found = place(io, &w, iova);
	/* Nothing like it fits below. */
	if (w.len == io->hint.len && w.align == io->hint.align)
		io->hint.from = found ? *iova : UINT64_MAX;
	return found ? 0 : -ENOSPC;
}
