/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/event.h"
#include "base/guard.h"
#include "base/util.h"
#include "mm/backing.h"
#include "mm/mm.h"
#include "mm/owner.h"
#include "mm/pages.h"
#include "mm/peer.h"

/* ---- construction ---- */

static int slices_check(uint64_t va, const struct page_slice *s, size_t n, uint64_t *total)
{
	const struct backing *known = NULL;
	uint64_t sum = 0, end, size = 0;

	if (!n || !IS_ALIGNED(va, PF_PAGE_SIZE))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (!s[i].len || !IS_ALIGNED(s[i].len, PF_PAGE_SIZE) || add_overflows(sum, s[i].len, &sum))
			return -EINVAL;
		if (!s[i].backing)
			continue;
		if (!IS_ALIGNED(s[i].offset, PF_PAGE_SIZE) || add_overflows(s[i].offset, s[i].len, &end))
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

/* Appends one slice; takes over the reference to m, which is NULL for a hole. */
static void pages_append(struct pages *p, const struct page_slice *s, struct backing_map *m)
{
	struct page_seg *prev = p->nsegs ? &p->seg[p->nsegs - 1] : NULL;
	char *host = m ? m->base + s->offset : NULL;

	p->holes |= !m;
	p->read_only |= !m || !s->writable;
	if (prev && prev->map == m && (!m || (prev->host + prev->len == host && prev->writable == s->writable))) {
		prev->len += s->len;
		if (m)
			backing_map_put(m);
	} else {
		p->seg[p->nsegs++] =
		    (struct page_seg){.start = p->len, .len = s->len, .host = host, .map = m, .writable = s->writable};
	}
	p->len += s->len;
}

int pages_new(uint64_t va, const struct page_slice *s, size_t n, struct mm_owner *who, struct pages **out)
{
	struct pages *p;
	uint64_t total;
	size_t bytes;
	int err;

	err = slices_check(va, s, n, &total);
	if (err)
		return err;
	if (__builtin_mul_overflow(n, sizeof(p->seg[0]), &bytes) || __builtin_add_overflow(bytes, sizeof(*p), &bytes))
		return -ENOMEM;
	p = mem_alloc(bytes);
	if (!p)
		return -ENOMEM;
	*p = (struct pages){.refs = 1, .va = va, .who = mm_owner_get(who)};
	list_init(&p->node);
	for (size_t i = 0; i < n; i++) {
		struct backing_map *m = NULL;

		err = s[i].backing ? backing_map_get(s[i].backing, s[i].offset + s[i].len, &m) : 0;
		if (err) {
			pages_put(p);
			return err;
		}
		if (m && list_empty(&p->node))
			list_add(backing_pages(s[i].backing), &p->node);
		pages_append(p, &s[i], m);
	}
	*out = p;
	return 0;
}

void pages_configure(struct pages *p, bool writable, enum mm_account mode, bool file)
{
	assert(!p->pinned);
	p->writable = writable;
	p->mode = mode;
	p->file = file;
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
	assert(itree_empty(&p->claims) && !p->pinned);
	list_del(&p->node);
	for (size_t i = 0; i < p->nsegs; i++)
		if (p->seg[i].map)
			backing_map_put(p->seg[i].map);
	mm_owner_put(p->who);
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

bool pages_writable(const struct pages *p)
{
	return p->writable;
}

bool pages_is_file(const struct pages *p)
{
	return p->file;
}

struct mm_owner *pages_owner(const struct pages *p)
{
	return p->who;
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

void *pages_chunk(const struct pages *p, uint64_t off, uint64_t *start, uint64_t *len)
{
	const struct page_seg *s;

	if (off >= p->len)
		return NULL;
	s = pages_seg(p, off);
	if (!s->host)
		return NULL;
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

/* ---- what names a page ---- */

static uint64_t seg_file_page(const struct page_seg *s, uint64_t off)
{
	return (uint64_t)(s->host - s->map->base + (off - s->start)) >> PF_PAGE_SHIFT;
}

struct page_ref pages_ref(const struct pages *p, uint64_t off)
{
	const struct page_seg *s = off < p->len ? pages_seg(p, off) : NULL;

	if (!s || !s->map)
		return (struct page_ref){0};
	return (struct page_ref){backing_id(s->map->backing), seg_file_page(s, off)};
}

static bool pages_claim_ref(const struct pages *p, struct page_ref ref)
{
	for (const struct page_seg *s = p->seg; s < p->seg + p->nsegs; s++) {
		uint64_t page;

		if (!s->map || backing_id(s->map->backing) != ref.backing)
			continue;
		page = ref.index - seg_file_page(s, s->start);
		if (page >= s->len >> PF_PAGE_SHIFT)
			continue;
		page += s->start >> PF_PAGE_SHIFT;
		if (itree_first(&p->claims, page, page))
			return true;
	}
	return false;
}

unsigned int page_ref_pins(struct backing_cache *c, struct page_ref ref)
{
	struct pages *p;
	unsigned int n = 0;

	list_for_each (p, backing_cache_pages(c), node)
		n += pages_claim_ref(p, ref);
	return n;
}

/* ---- claims ---- */

/* The first page of [at, last] that nobody has claimed, and how many follow it that nobody has: 0 if there is none. */
static uint64_t unclaimed_run(const struct pages *p, uint64_t *at, uint64_t last)
{
	const struct itree_node *n;

	while (*at <= last) {
		n = itree_first(&p->claims, *at, last);
		if (!n)
			return last - *at + 1;
		if (n->start > *at)
			return n->start - *at;
		*at = n->last + 1;
	}
	return 0;
}

static uint64_t unclaimed(const struct pages *p, uint64_t first, uint64_t last)
{
	uint64_t at = first, sum = 0, n;

	/* The everyday case. */
	if (likely(itree_empty(&p->claims)))
		return last - first + 1;
	while ((n = unclaimed_run(p, &at, last))) {
		sum += n;
		at += n;
	}
	return sum;
}

/* Does the client's memory allow what the pages are for? */
static bool range_sound(const struct pages *p, uint64_t off, uint64_t len, bool write)
{
	if (!p->holes && !(write && p->read_only))
		return true;
	for (const struct page_seg *s = pages_seg(p, off); s < p->seg + p->nsegs && s->start < off + len; s++)
		if (!s->host || (write && !s->writable))
			return false;
	return true;
}

/* Can memory that is not pinned be had at all? */
static bool pages_live(const struct pages *p)
{
	return p->file || p->of_peer || mm_owner_alive(p->who);
}

int pages_pin(struct pages *p, struct page_pin *pin, uint64_t off, uint64_t len)
{
	uint64_t first = off >> PF_PAGE_SHIFT, last = (off + len - 1) >> PF_PAGE_SHIFT, n;
	int err;

	if (!pages_within(p, off, len))
		return -EINVAL;
	/* A device's memory costs nobody anything, and can go at any time: where it has gone there is nothing to pin.
	 */
	if (!p->of_peer && !range_sound(p, off, len, p->writable))
		return -EFAULT;
	n = p->of_peer ? 0 : unclaimed(p, first, last);
	if (n) {
		if (!pages_live(p) || mem_fails())
			return -EFAULT;
		err = mm_charge(p->who, p->mode, n);
		if (err) {
			event_emit(mm_owner_events(p->who), EVENT_PIN_REFUSED, .who = mm_owner_pid(p->who), .value = n,
				   .addr = mm_owner_held(p->who, p->mode), .len = mm_owner_limit(p->who));
			return err;
		}
		p->pinned += n;
		event_emit(mm_owner_events(p->who), EVENT_PIN, .who = mm_owner_pid(p->who), .value = n,
			   .addr = mm_owner_held(p->who, p->mode), .len = mm_owner_limit(p->who));
	}
	pin->node.start = first;
	pin->node.last = last;
	itree_insert(&p->claims, &pin->node);
	return 0;
}

void pages_unpin(struct pages *p, struct page_pin *pin)
{
	uint64_t n;

	itree_remove(&p->claims, &pin->node);
	n = p->of_peer ? 0 : unclaimed(p, pin->node.start, pin->node.last);
	if (!n)
		return;
	p->pinned -= n;
	mm_uncharge(p->who, p->mode, n);
	event_emit(mm_owner_events(p->who), EVENT_UNPIN, .who = mm_owner_pid(p->who), .value = n);
}

int pages_move_prepare(struct pages *p, struct mm_owner *to)
{
	int err;

	if (to == p->who || to == p->moving)
		return 0;
	err = mm_charge(to, p->mode, p->pinned);
	if (!err)
		p->moving = to;
	return err;
}

void pages_move_commit(struct pages *p, struct mm_owner *to)
{
	struct mm_owner *from = p->who;

	if (to != p->moving)
		return;
	p->moving = NULL;
	p->who = mm_owner_get(to);
	mm_uncharge(from, p->mode, p->pinned);
	mm_owner_put(from);
}

void pages_move_abort(struct pages *p, struct mm_owner *to)
{
	if (to != p->moving)
		return;
	p->moving = NULL;
	mm_uncharge(to, p->mode, p->pinned);
}

/* ---- copies ---- */

/* How many bytes of [off, off + len) can be had: all that are pinned, and the rest while its process lives. */
static uint64_t reachable(const struct pages *p, uint64_t off, uint64_t len)
{
	uint64_t at = off >> PF_PAGE_SHIFT, last = (off + len - 1) >> PF_PAGE_SHIFT;

	if (!unclaimed_run(p, &at, last) || pages_live(p))
		return len;
	at <<= PF_PAGE_SHIFT;
	return at > off ? at - off : 0;
}

static int pages_copy(struct pages *p, uint64_t off, char *buf, uint64_t len, bool write)
{
	uint64_t end, stop;

	if (!pages_within(p, off, len) || p->of_peer)
		return -EINVAL;
	stop = off + len;
	end = off + reachable(p, off, len);
	while (off < end) {
		const struct page_seg *s = pages_seg(p, off);
		uint64_t n = MIN(end, s->start + s->len) - off;
		char *host = s->host + (off - s->start);

		if (!s->host || (write && !s->writable))
			return -EFAULT;
		if (write ? guard_copy(host, buf, n) : guard_copy(buf, host, n))
			return -EFAULT;
		buf += n;
		off += n;
	}
	return end == stop ? 0 : -EFAULT;
}

bool pages_sound(const struct pages *p, uint64_t off, uint64_t len, bool write)
{
	return pages_within(p, off, len) && range_sound(p, off, len, write) && reachable(p, off, len) == len;
}

int pages_read(struct pages *p, uint64_t off, void *buf, uint64_t len)
{
	return pages_copy(p, off, buf, len, false);
}

int pages_write(struct pages *p, uint64_t off, const void *buf, uint64_t len)
{
	return pages_copy(p, off, (char *)buf, len, true);
}
