/* SPDX-License-Identifier: BSD-3-Clause */
/* An intrusive, circular, doubly linked list. The head is a node like any other. */
#ifndef PINFOLD_BASE_LIST_H
#define PINFOLD_BASE_LIST_H

#include <stdbool.h>
#include "base/util.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)                                                                                                \
	{                                                                                                              \
		&(name), &(name)                                                                                       \
	}

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add_tail(struct list *head, struct list *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

static inline void list_add(struct list *head, struct list *n)
{
	list_add_tail(head->next, n);
}

/* Leaves n empty, so that deleting twice is harmless. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#define list_entry(p, type, memb)    container_of(p, type, memb)
#define list_first(head, type, memb) list_entry((head)->next, type, memb)

#define list_for_each(pos, head, memb)                                                                                 \
	for (pos = list_entry((head)->next, __typeof__(*pos), memb); &pos->memb != (head);                             \
	     pos = list_entry(pos->memb.next, __typeof__(*pos), memb))

/* Safe against deletion of pos itself, and of nothing else. */
#define list_for_each_safe(pos, tmp, head, memb)                                                                       \
	for (pos = list_entry((head)->next, __typeof__(*pos), memb),                                                   \
	    tmp = list_entry(pos->memb.next, __typeof__(*pos), memb);                                                  \
	     &pos->memb != (head); pos = tmp, tmp = list_entry(tmp->memb.next, __typeof__(*tmp), memb))

#endif
