/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a child of fork inherits. It has its parent's mappings, but not the descriptors of their files, which may be
 * closed; so its session is given the parent's right to name them. Who the child is, the broker cannot tell: the parent
 * asks for a number that nobody can guess, before it forks, and whoever says that number first is its child. A number
 * is good once, and while the parent's session lasts.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "broker/private.h"

struct ticket {
	struct list bucket, node; /* in tickets.bucket, in session.tickets */
	struct session *s;
	uint64_t number[2];
	struct known_list *files;
};

static struct list *bucket_of(struct broker *b, const uint64_t number[2])
{
	return &b->tickets.bucket[seeded_hash(b->seed, number[0], number[1]) % TICKET_BUCKETS];
}

static void ticket_free(struct ticket *t)
{
	list_del(&t->bucket);
	list_del(&t->node);
	t->s->ntickets--;
	if (t->files)
		known_list_free(t->files);
	free(t);
}

void tickets_init(struct tickets *t)
{
	for (unsigned int i = 0; i < TICKET_BUCKETS; i++)
		list_init(&t->bucket[i]);
}

void tickets_drop(struct session *s)
{
	while (!list_empty(&s->tickets))
		ticket_free(list_first(&s->tickets, struct ticket, node));
}

int ticket_new(struct session *s, uint64_t number[2])
{
	struct ticket *t;

	if (!s->known.count)
		return -ENOENT;
	t = mem_alloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = (struct ticket){.s = s};
	if (getrandom(t->number, sizeof(t->number), 0) != sizeof(t->number)) {
		free(t);
		return -EIO;
	}
	t->files = known_copy(&s->known, s->b->backings);
	if (!t->files) {
		free(t);
		return -ENOMEM;
	}
	/* Of children that were killed before they came. */
	if (s->ntickets == TICKETS_MAX)
		ticket_free(list_first(&s->tickets, struct ticket, node));
	list_add(bucket_of(s->b, t->number), &t->bucket);
	list_add_tail(&s->tickets, &t->node);
	s->ntickets++;
	memcpy(number, t->number, sizeof(t->number));
	return 0;
}

int ticket_use(struct session *s, const uint64_t number[2])
{
	struct ticket *t;

	list_for_each (t, bucket_of(s->b, number), bucket) {
		struct known_list *files = t->files;

		if (t->number[0] != number[0] || t->number[1] != number[1])
			continue;
		t->files = NULL;
		ticket_free(t);
		return known_inherit(&s->known, files);
	}
	return -ENOENT;
}
