/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/event.h"
#include "base/util.h"
#include "mm/backing.h"
#include "mm/mm.h"
#include "mm/owner.h"

/* Slices that continue each other in the same map are one segment. */
struct page_seg {
	uint64_t start, len; /* within the pages */
	char *host;
	struct backing_map *map;
	bool writable;
};

struct pages {
	unsigned int refs;
	uint64_t va, len;
	uint64_t pinned; /* pages, counted once per pin */
	size_t nsegs;
	struct page_seg seg[];
};

/* ---- construction ---- */

static int slices_check(uint64_t va, const struct page_slice *s, size_t n, uint64_t *total)
{
	const struct backing *known = NULL;
	uint64_t sum = 0, end, size = 0;

	if (!n || !IS_ALIGNED(va, PF_PAGE_SIZE))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (!s[i].len || !IS_ALIGNED(s[i].len | s[i].offset, PF_PAGE_SIZE) ||
		    add_overflows(s[i].offset, s[i].len, &end) || add_overflows(sum, s[i].len, &sum))
			return -EINVAL;
		if (s[i].backing != known) {
			known = s[i].backing;
			size = backing_size(known);
		}
		if (end > size || (s[i].writable && !backing_writable(known)))
			return -EFAULT;
	}
	if (add_overflows(va, sum - 1, &end))
		return -EINVAL;
	*total = sum;
	return 0;
}

/* Appends one slice; takes over the reference to m. */
static void pages_append(struct pages *p, const struct page_slice *s, struct backing_map *m)
{
	struct page_seg *prev = p->nsegs ? &p->seg[p->nsegs - 1] : NULL;
	char *host = m->base + s->offset;

	if (prev && prev->map == m && prev->host + prev->len == host && prev->writable == s->writable) {
		prev->len += s->len;
		backing_map_put(m);
	} else {
		p->seg[p->nsegs++] =
		    (struct page_seg){.start = p->len, .len = s->len, .host = host, .map = m, .writable = s->writable};
	}
	p->len += s->len;
}

int pages_new(uint64_t va, const struct page_slice *s, size_t n, struct pages **out)
{
	struct backing_map *m;
	struct pages *p;
	uint64_t total;
	size_t bytes;
	int err;

	err = slices_check(va, s, n, &total);
	if (err)
		return err;
	if (__builtin_mul_overflow(n, sizeof(p->seg[0]), &bytes) || __builtin_add_overflow(bytes, sizeof(*p), &bytes))
		return -ENOMEM;
	p = malloc(bytes);
	if (!p)
		return -ENOMEM;
	*p = (struct pages){.refs = 1, .va = va};
	for (size_t i = 0; i < n; i++) {
		err = backing_map_get(s[i].backing, s[i].offset + s[i].len, &m);
		if (err) {
			pages_put(p);
			return err;
		}
		pages_append(p, &s[i], m);
	}
	*out = p;
	return 0;
}

struct pages *pages_get(struct pages *p)
{
	p->refs++;
	return p;
}

void pages_put(struct pages *p)
{
	if (!p || --p->refs)
		return;
	assert(p->pinned == 0);
	for (size_t i = 0; i < p->nsegs; i++)
		backing_map_put(p->seg[i].map);
	free(p);
}

/* ---- lookup ---- */

uint64_t pages_va(const struct pages *p)
{
	return p->va;
}

uint64_t pages_len(const struct pages *p)
{
	return p->len;
}

/* The segment that holds off, which is less than p->len. */
static const struct page_seg *pages_seg(const struct pages *p, uint64_t off)
{
	size_t lo = 0, hi = p->nsegs;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->seg[mid].start <= off)
			lo = mid;
		else
			hi = mid;
	}
	return &p->seg[lo];
}

static bool pages_within(const struct pages *p, uint64_t off, uint64_t len)
{
	return len && off < p->len && len <= p->len - off;
}

bool pages_writable(const struct pages *p, uint64_t off, uint64_t len)
{
	if (!pages_within(p, off, len))
		return false;
	for (const struct page_seg *s = pages_seg(p, off); s < p->seg + p->nsegs && s->start < off + len; s++)
		if (!s->writable)
			return false;
	return true;
}

void *pages_chunk(const struct pages *p, uint64_t off, uint64_t *start, uint64_t *len)
{
	const struct page_seg *s;

	if (off >= p->len)
		return NULL;
	s = pages_seg(p, off);
	*start = s->start;
	*len = s->len;
	return s->host;
}

void *pages_ptr(struct pages *p, uint64_t off, uint64_t *contig)
{
	uint64_t start, len;
	char *host = pages_chunk(p, off, &start, &len);

	*contig = host ? len - (off - start) : 0;
	return host ? host + (off - start) : NULL;
}

/* ---- pins ---- */

static uint64_t pages_span(uint64_t off, uint64_t len)
{
	return ((off + len - 1) >> PF_PAGE_SHIFT) - (off >> PF_PAGE_SHIFT) + 1;
}

int pages_pin(struct pages *p, uint64_t off, uint64_t len, bool write, struct mm_owner *who)
{
	uint64_t n;
	int err;

	if (!pages_within(p, off, len))
		return -EINVAL;
	if (write && !pages_writable(p, off, len))
		return -EFAULT;
	n = pages_span(off, len);
	err = mm_charge(who, n);
	if (err)
		return err;
	p->pinned += n;
	event_emit(mm_owner_events(who), EVENT_PIN, .who = mm_owner_pid(who), .value = n);
	return 0;
}

void pages_unpin(struct pages *p, uint64_t off, uint64_t len, struct mm_owner *who)
{
	uint64_t n = pages_span(off, len);

	assert(n <= p->pinned);
	p->pinned -= n;
	mm_uncharge(who, n);
	event_emit(mm_owner_events(who), EVENT_UNPIN, .who = mm_owner_pid(who), .value = n);
}
