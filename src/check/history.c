/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/history.h"

#include <stdlib.h>

#include "base/util.h"
#include "proto/channel.h"

#define LIVE_MAX 262144
#define GONE_MAX 65536
#define LOST_MAX 65536
#define BUCKETS	 256

/* One IOVA space. */
struct space {
	struct list node;
	uint64_t ioas;
	struct itree live, gone, lost;
};

struct history {
	struct list bucket[BUCKETS];
	struct list live, gone, lost; /* of notes, by age */
	struct itree by_va;	      /* live ones, of all processes */
	uint32_t nlive, ngone, nlost;
};

struct history *history_new(void)
{
	struct history *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&h->bucket[i]);
	list_init(&h->live);
	list_init(&h->gone);
	list_init(&h->lost);
	return h;
}

static void notes_free(struct list *l)
{
	while (!list_empty(l)) {
		struct mapping_note *n = list_first(l, struct mapping_note, order);

		list_del(&n->order);
		free(n);
	}
}

void history_free(struct history *h)
{
	if (!h)
		return;
	notes_free(&h->live);
	notes_free(&h->gone);
	while (!list_empty(&h->lost)) {
		struct lost_note *n = list_first(&h->lost, struct lost_note, order);

		list_del(&n->order);
		free(n);
	}
	for (size_t i = 0; i < BUCKETS; i++) {
		while (!list_empty(&h->bucket[i])) {
			struct space *s = list_first(&h->bucket[i], struct space, node);

			list_del(&s->node);
			free(s);
		}
	}
	free(h);
}

static struct space *space_of(struct history *h, uint64_t ioas)
{
	struct space *s;

	list_for_each (s, &h->bucket[ioas % BUCKETS], node)
		if (s->ioas == ioas)
			return s;
	return NULL;
}

static struct space *space_make(struct history *h, uint64_t ioas)
{
	struct space *s = space_of(h, ioas);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->ioas = ioas;
	list_add_tail(&h->bucket[ioas % BUCKETS], &s->node);
	return s;
}

static void lost_forget(struct history *h, struct space *s, struct lost_note *n)
{
	itree_remove(&s->lost, &n->node);
	list_del(&n->order);
	free(n);
	h->nlost--;
}

static void lost_add(struct history *h, struct space *s, const struct lost_note *from, uint64_t first, uint64_t last)
{
	struct lost_note *n = malloc(sizeof(*n));

	if (!n)
		return;
	*n = *from;
	n->node = (struct itree_node){.start = first, .last = last};
	n->ioas = s->ioas;
	itree_insert(&s->lost, &n->node);
	list_add_tail(&h->lost, &n->order);
	if (++h->nlost > LOST_MAX) {
		n = list_first(&h->lost, struct lost_note, order);
		lost_forget(h, space_of(h, n->ioas), n);
	}
}

/* kind: those alone; CHANGE_KINDS: all. */
static void lost_drop(struct history *h, struct space *s, uint64_t first, uint64_t last, unsigned int kind)
{
	struct itree_node *there;

	for (uint64_t at = first; (there = itree_first(&s->lost, at, last));) {
		struct lost_note *n = container_of(there, struct lost_note, node), rest = *n;

		if (kind == CHANGE_KINDS || n->kind == kind) {
			lost_forget(h, s, n);
			if (rest.node.start < first)
				lost_add(h, s, &rest, rest.node.start, first - 1);
			if (rest.node.last > last)
				lost_add(h, s, &rest, last + 1, rest.node.last);
		}
		if (rest.node.last >= last)
			return;
		at = rest.node.last + 1;
	}
}

/* Numbers of spaces are not used again: one without a note is of no more use. */
static void space_trim(struct history *h, struct space *s)
{
	if (!itree_empty(&s->live) || !itree_empty(&s->gone))
		return;
	lost_drop(h, s, 0, UINT64_MAX, CHANGE_KINDS);
	list_del(&s->node);
	free(s);
}

static void note_add(struct history *h, struct space *s, const struct mapping_note *from, uint64_t first, uint64_t last)
{
	struct mapping_note *n = h->nlive < LIVE_MAX ? malloc(sizeof(*n)) : NULL;

	if (!n)
		return;
	*n = *from;
	n->node = (struct itree_node){.start = first, .last = last};
	n->ioas = s->ioas;
	n->gone_ns = 0;
	n->by_va = (struct itree_node){.start = n->va, .last = n->va + (last - first)};
	if (n->by_va.last < n->by_va.start)
		n->session = 0;
	itree_insert(&s->live, &n->node);
	if (n->session)
		itree_insert(&h->by_va, &n->by_va);
	list_add_tail(&h->live, &n->order);
	h->nlive++;
}

static void note_take(struct history *h, struct space *s, struct mapping_note *n)
{
	itree_remove(&s->live, &n->node);
	if (n->session)
		itree_remove(&h->by_va, &n->by_va);
	list_del(&n->order);
	h->nlive--;
}

void history_map(struct history *h, uint64_t ioas, uint64_t iova, uint64_t len, const struct mapping_note *note)
{
	struct space *s = space_make(h, ioas);

	if (s && len)
		note_add(h, s, note, iova, iova + len - 1);
}

static void gone_forget_oldest(struct history *h)
{
	struct mapping_note *n = list_first(&h->gone, struct mapping_note, order);
	struct space *s = space_of(h, n->ioas);

	itree_remove(&s->gone, &n->node);
	list_del(&n->order);
	free(n);
	h->ngone--;
	space_trim(h, s);
}

/* What of n lies outside [first, last] stays a mapping of its own. */
static void note_split(struct history *h, struct space *s, const struct mapping_note *n, uint64_t first, uint64_t last)
{
	struct mapping_note rest = *n;

	if (n->node.start < first)
		note_add(h, s, &rest, n->node.start, first - 1);
	if (n->node.last > last) {
		rest.va += last + 1 - n->node.start;
		note_add(h, s, &rest, last + 1, n->node.last);
	}
}

void history_unmap(struct history *h, uint64_t ioas, uint64_t iova, uint64_t len, const struct mapping_note *by,
		   void (*gone)(void *ctx, const struct mapping_note *n), void *ctx)
{
	struct space *s = space_of(h, ioas);
	uint64_t last = iova + len - 1;
	struct itree_node *at;

	while (s && len && (at = itree_first(&s->live, iova, last))) {
		struct mapping_note *n = container_of(at, struct mapping_note, node);
		uint64_t first = MAX(at->start, iova);

		note_take(h, s, n);
		note_split(h, s, n, iova, last);
		n->va += first - at->start;
		n->node = (struct itree_node){.start = first, .last = MIN(at->last, last)};
		n->gone_ns = by->gone_ns;
		n->gone_session = by->gone_session;
		n->gone_pid = by->gone_pid;
		n->gone_tid = by->gone_tid;
		n->gone_stack = by->gone_stack;
		itree_insert(&s->gone, &n->node);
		list_add_tail(&h->gone, &n->order);
		gone(ctx, n);
		lost_drop(h, s, n->node.start, n->node.last, CHANGE_KINDS);
		if (++h->ngone > GONE_MAX)
			gone_forget_oldest(h);
		s = space_of(h, ioas);
	}
}

/* ---- what becomes of the program's memory ---- */

/* The next note of the session that meets [first, last]; after: the one before, NULL for the first. */
static struct mapping_note *next_by_va(struct history *h, uint64_t session, uint64_t first, uint64_t last,
				       struct mapping_note *after)
{
	struct itree_node *at = after ? itree_next(&after->by_va, first, last) : itree_first(&h->by_va, first, last);

	while (at && container_of(at, struct mapping_note, by_va)->session != session)
		at = itree_next(at, first, last);
	return at ? container_of(at, struct mapping_note, by_va) : NULL;
}

bool history_has_va(struct history *h, uint64_t session, uint64_t first, uint64_t last)
{
	return next_by_va(h, session, first, last, NULL);
}

/* The part of n that is at [first, last] in the program, as IOVAs. */
static void part_of(const struct mapping_note *n, uint64_t *first, uint64_t *last)
{
	uint64_t from = MAX(*first, n->by_va.start) - n->by_va.start, to = MIN(*last, n->by_va.last) - n->by_va.start;

	*first = n->node.start + from;
	*last = n->node.start + to;
}

void history_lose(struct history *h, uint64_t session, uint64_t first, uint64_t last, const struct lost_note *from)
{
	struct mapping_note *n = NULL;

	while ((n = next_by_va(h, session, first, last, n))) {
		struct space *s = space_of(h, n->ioas);
		uint64_t at = first, end = last;
		struct itree_node *there;

		part_of(n, &at, &end);
		while ((there = itree_first(&s->lost, at, end))) {
			uint64_t start = there->start, stop = there->last;

			if (start > at)
				lost_add(h, s, from, at, start - 1);
			if (stop >= end)
				break;
			at = stop + 1;
		}
		if (!there)
			lost_add(h, s, from, at, end);
	}
}

void history_regain(struct history *h, uint64_t session, uint64_t first, uint64_t last, unsigned int kind)
{
	struct mapping_note *n = NULL;

	while ((n = next_by_va(h, session, first, last, n))) {
		uint64_t at = first, end = last;

		part_of(n, &at, &end);
		lost_drop(h, space_of(h, n->ioas), at, end, kind);
	}
}

void history_move(struct history *h, uint64_t session, uint64_t first, uint64_t last, uint64_t to)
{
	struct mapping_note *n, *next;

	/* What is added has its place elsewhere, or outside of the range. */
	for (n = next_by_va(h, session, first, last, NULL); n; n = next) {
		struct space *s = space_of(h, n->ioas);
		uint64_t at = first, end = last;

		next = next_by_va(h, session, first, last, n);
		part_of(n, &at, &end);
		note_take(h, s, n);
		note_split(h, s, n, at, end);
		n->va = to + (n->va + (at - n->node.start) - first);
		note_add(h, s, n, at, end);
		free(n);
	}
}

void history_forked(struct history *h, uint64_t session, uint64_t first, uint64_t last, const struct mapping_note *from)
{
	struct mapping_note *n = NULL;

	while ((n = next_by_va(h, session, first, last, n))) {
		n->forked_ns = from->forked_ns;
		n->fork_tid = from->fork_tid;
		n->fork_stack = from->fork_stack;
	}
}

void history_ended(struct history *h, uint64_t session, uint64_t now)
{
	struct mapping_note *n = NULL;

	while ((n = next_by_va(h, session, 0, UINT64_MAX, n)))
		n->ended_ns = now;
}

const struct lost_note *history_lost(struct history *h, uint64_t ioas, uint64_t first, uint64_t last)
{
	struct space *s = h->nlost ? space_of(h, ioas) : NULL;
	struct itree_node *n = s ? itree_first(&s->lost, first, last) : NULL;

	return n ? container_of(n, struct lost_note, node) : NULL;
}

bool history_has_lost(const struct history *h)
{
	return h->nlost;
}

static const struct mapping_note *note_of(struct itree_node *n)
{
	return n ? container_of(n, struct mapping_note, node) : NULL;
}

const struct mapping_note *history_overlap(struct history *h, uint64_t ioas, uint64_t first, uint64_t last)
{
	struct space *s = space_of(h, ioas);

	return s ? note_of(itree_first(&s->live, first, last)) : NULL;
}

const struct mapping_note *history_live(struct history *h, uint64_t ioas, uint64_t iova)
{
	return history_overlap(h, ioas, iova, iova);
}

#define LENGTH_LOOKS 4096

const struct mapping_note *history_of_length(struct history *h, uint64_t ioas, uint64_t len)
{
	unsigned int looks = 0;

	for (struct list *at = h->live.prev; at != &h->live && looks++ < LENGTH_LOOKS; at = at->prev) {
		const struct mapping_note *n = container_of(at, struct mapping_note, order);

		if (n->ioas == ioas && n->node.last - n->node.start == len - 1)
			return n;
	}
	return NULL;
}

/* The same addresses are mapped again and again: of all that held this one the last is sought, for a while. */
#define GONE_LOOKS 4096

const struct mapping_note *history_gone(struct history *h, uint64_t ioas, uint64_t iova)
{
	struct space *s = space_of(h, ioas);
	const struct mapping_note *last = NULL;
	struct itree_node *n = s ? itree_first(&s->gone, iova, iova) : NULL;

	for (unsigned int i = 0; n && i < GONE_LOOKS; i++, n = itree_next(n, iova, iova))
		if (!last || note_of(n)->gone_ns >= last->gone_ns)
			last = note_of(n);
	return last;
}

const struct mapping_note *history_near(struct history *h, uint64_t ioas, uint64_t iova, uint64_t within)
{
	uint64_t low = iova > within ? iova - within : 0, high = iova + within < iova ? UINT64_MAX : iova + within,
		 best = 0;
	struct space *s = space_of(h, ioas);
	const struct mapping_note *near = NULL;

	for (struct itree_node *n = s ? itree_first(&s->live, low, high) : NULL; n; n = itree_next(n, low, high)) {
		uint64_t d = n->last < iova ? iova - n->last : n->start > iova ? n->start - iova : 0;

		if (!near || d < best) {
			near = note_of(n);
			best = d;
		}
	}
	return near;
}

const struct mapping_note *history_next(struct history *h, const struct mapping_note *after)
{
	struct list *next = after ? after->order.next : h->live.next;

	return next == &h->live ? NULL : container_of(next, struct mapping_note, order);
}

const struct mapping_note *history_next_gone(struct history *h, const struct mapping_note *after)
{
	struct list *next = after ? after->order.next : h->gone.next;

	return next == &h->gone ? NULL : container_of(next, struct mapping_note, order);
}

uint64_t history_bytes(const struct history *h)
{
	return sizeof(*h) + (uint64_t)(h->nlive + h->ngone) * sizeof(struct mapping_note);
}
