/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The address of a BAR, mapped by a container of type1 as if it were memory. That alone is no mistake: a virtual
 * machine does it with every BAR of every device, because a guest might. A device that goes there says that somebody
 * relies on it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/util.h"
#include "check/device.h"
#include "check/private.h"

#define UNSAFE_MAX 256 /* the oldest is forgotten */

struct unsafe {
	struct list node;
	uint64_t ioas, first, last, va;
	uint32_t target; /* whose BAR */
	struct deed mapped;
};

struct unsafes {
	struct list list;
	unsigned int n;
	struct unsafe next; /* va 0: none. What has just been said will be mapped now, or not at all */
};

struct unsafes *unsafes_new(void)
{
	struct unsafes *u = calloc(1, sizeof(*u));

	if (u)
		list_init(&u->list);
	return u;
}

void unsafes_free(struct unsafes *u)
{
	if (!u)
		return;
	while (!list_empty(&u->list)) {
		struct unsafe *m = list_first(&u->list, struct unsafe, node);

		list_del(&m->node);
		free(m);
	}
	free(u);
}

static void forget(struct check *c, struct unsafe *m)
{
	list_del(&m->node);
	free(m);
	check_want_dma(c, DMA_UNSAFE, --c->unsafes->n);
}

void check_taint(struct check *c, const struct event *ev)
{
	c->unsafes->next = (struct unsafe){.va = ev->value, .target = ev->who, .mapped = deed_now(c)};
}

bool check_unsafe_is_next(const struct check *c, const struct event *ev)
{
	return unlikely(c->unsafes->next.va) && c->unsafes->next.va == ev->value;
}

void check_unsafe_mapped(struct check *c, const struct event *ev)
{
	struct unsafes *u = c->unsafes;
	struct unsafe *m;

	if (likely(!u->next.va))
		return;
	m = check_unsafe_is_next(c, ev) && check_wants(c, CLASS_UNSAFE_MAP) ? malloc(sizeof(*m)) : NULL;
	if (m) {
		*m = u->next;
		m->ioas = ev->ioas;
		m->first = ev->addr;
		m->last = ev->addr + ev->len - 1;
		list_add_tail(&u->list, &m->node);
		u->n++;
		check_want_dma(c, DMA_UNSAFE, true);
		if (u->n > UNSAFE_MAX)
			forget(c, list_first(&u->list, struct unsafe, node));
	}
	u->next.va = 0;
}

static struct unsafe *find(const struct check *c, const struct event *ev)
{
	uint64_t last = ev->addr + (ev->len ? ev->len - 1 : 0);
	struct unsafe *m;

	list_for_each (m, &c->unsafes->list, node)
		if (m->ioas == ev->ioas && m->first <= last && m->last >= ev->addr)
			return m;
	return NULL;
}

void check_unsafe_unmapped(struct check *c, const struct event *ev)
{
	struct unsafe *m;

	while ((m = find(c, ev)))
		forget(c, m);
}

void check_unsafe_dma(struct check *c, const struct event *ev)
{
	struct unsafe *m = find(c, ev);
	char who[16], target[16];
	struct finding f;

	if (!m)
		return;
	f = check_finding(c, CLASS_UNSAFE_MAP);
	f.pid = m->mapped.pid;
	finding_of_dma(&f, ev);
	check_bdf(ev->who, who);
	check_bdf(m->target, target);
	finding_part(&f, ROLE_NOTE, 0, 0,
		     "[DMA %s] %s of %" PRIu64 " bytes at 0x%" PRIx64
		     " went to a BAR of %s, and nobody was asked whether it may",
		     f.write ? "Write" : "Read", who, ev->len, ev->addr, target);
	deed_say(&f, &m->mapped, "[0x%" PRIx64 ",0x%" PRIx64 "] was mapped to the BAR's address", m->first, m->last);
	findings_add(c->findings, &f, m->target);
	forget(c, m);
}
