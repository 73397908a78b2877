/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/history.h"

#include <stdlib.h>

#include "base/util.h"

#define LIVE_MAX 262144
#define GONE_MAX 65536
#define BUCKETS	 256

/* One IOVA space. */
struct space {
	struct list node;
	uint64_t ioas;
	struct itree live, gone;
};

struct history {
	struct list bucket[BUCKETS];
	struct list live, gone; /* of notes, by age */
	uint32_t nlive, ngone;
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

/* Numbers of spaces are not used again: one without a note is of no more use. */
static void space_trim(struct space *s)
{
	if (!itree_empty(&s->live) || !itree_empty(&s->gone))
		return;
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
	itree_insert(&s->live, &n->node);
	list_add_tail(&h->live, &n->order);
	h->nlive++;
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
	space_trim(s);
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

void history_unmap(struct history *h, uint64_t ioas, uint64_t iova, uint64_t len, uint64_t now, uint32_t tid,
		   uint32_t stack, void (*gone)(void *ctx, const struct mapping_note *n), void *ctx)
{
	struct space *s = space_of(h, ioas);
	uint64_t last = iova + len - 1;
	struct itree_node *at;

	while (s && len && (at = itree_first(&s->live, iova, last))) {
		struct mapping_note *n = container_of(at, struct mapping_note, node);
		uint64_t first = MAX(at->start, iova);

		itree_remove(&s->live, at);
		list_del(&n->order);
		h->nlive--;
		note_split(h, s, n, iova, last);
		n->va += first - at->start;
		n->node = (struct itree_node){.start = first, .last = MIN(at->last, last)};
		n->gone_ns = now;
		n->gone_tid = tid;
		n->gone_stack = stack;
		itree_insert(&s->gone, &n->node);
		list_add_tail(&h->gone, &n->order);
		gone(ctx, n);
		if (++h->ngone > GONE_MAX)
			gone_forget_oldest(h);
		s = space_of(h, ioas);
	}
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
