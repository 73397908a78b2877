/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How near programs come to what they may pin. Whoever is refused, makes room and tries again is at home there, and
 * whoever is near the limit may be on the way to that: so what happened is said when the process has ended.
 */
#include "check/limit.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/loop.h"
#include "base/util.h"
#include "check/private.h"

#define PROCESSES    256 /* that are near their limit; what comes after them is not looked at */
#define NEAR_PERCENT 90

struct brink {
	uint32_t pid; /* 0: free */
	bool refused, copes;
	uint64_t ns, held, limit, asked; /* bytes */
	uint64_t va, len;		 /* of the map that was refused; len 0: it was no map */
	uint32_t tid, stack;
};

struct limits {
	struct brink brink[PROCESSES];
	unsigned int n;
	struct brink *just; /* refused, and by which call will be said next */
};

struct limits *limits_new(void)
{
	return calloc(1, sizeof(struct limits));
}

void limits_free(struct limits *l)
{
	free(l);
}

static struct brink *brink_of(struct limits *l, uint32_t pid, bool make)
{
	for (unsigned int i = 0; l->n && i < PROCESSES; i++)
		if (l->brink[i].pid == pid)
			return &l->brink[i];
	for (unsigned int i = 0; make && i < PROCESSES; i++)
		if (!l->brink[i].pid) {
			l->brink[i] = (struct brink){.pid = pid};
			l->n++;
			return &l->brink[i];
		}
	return NULL;
}

static void brink_set(struct check *c, struct brink *b, const struct event *ev, bool refused)
{
	b->ns = loop_now();
	b->held = ev->addr * PF_PAGE_SIZE;
	b->limit = ev->len;
	b->asked = ev->value * PF_PAGE_SIZE;
	b->refused = refused;
	b->len = 0;
	b->tid = c->evs->origin ? c->evs->origin->tid : 0;
	b->stack = check_stack(c);
}

void check_pinned(struct check *c, const struct event *ev)
{
	struct brink *b;

	if (ev->len == UINT64_MAX || ev->addr * PF_PAGE_SIZE < ev->len / 100 * NEAR_PERCENT)
		return;
	b = brink_of(c->limits, ev->who, true);
	if (b && !b->ns)
		brink_set(c, b, ev, false);
}

void check_pin_refused(struct check *c, const struct event *ev)
{
	struct brink *b = brink_of(c->limits, ev->who, true);

	if (!b || b->refused || b->copes)
		return;
	brink_set(c, b, ev, true);
	c->limits->just = b;
}

void check_limit_refused(struct check *c, const struct event *ev)
{
	if (c->limits->just) {
		c->limits->just->va = ev->value;
		c->limits->just->len = ev->len;
	}
	c->limits->just = NULL;
}

void check_limit_map(struct check *c, const struct event *ev)
{
	struct brink *b = brink_of(c->limits, ev->who, false);

	/* The same memory after all: there was room to be made. */
	if (b && b->refused && b->len && (b->va - ev->value < ev->len || ev->value - b->va < b->len)) {
		b->refused = false;
		b->copes = true;
	}
}

static void brink_say(struct check *c, const struct brink *b)
{
	struct finding f = check_finding(c, CLASS_PIN_NEAR_LIMIT);

	f.pid = b->pid;
	f.first_ns = b->ns;
	if (b->refused)
		finding_part(&f, ROLE_CALL, b->tid, b->stack,
			     "%" PRIu64 " KiB more than the %" PRIu64
			     " KiB that are pinned exceed the limit of %" PRIu64 " KiB, in thread %" PRIu32 " here:",
			     b->asked >> 10, b->held >> 10, b->limit >> 10, b->tid);
	else
		finding_part(&f, ROLE_CALL, b->tid, b->stack,
			     "%" PRIu64 " KiB of the %" PRIu64
			     " KiB that may be pinned (RLIMIT_MEMLOCK) were reached in thread %" PRIu32 " here:",
			     b->held >> 10, b->limit >> 10, b->tid);
	findings_add(c->findings, &f, b->refused);
}

/* pid 0: all that there are. */
void check_limit_ended(struct check *c, uint32_t pid)
{
	for (unsigned int i = 0; c->limits->n && i < PROCESSES; i++) {
		struct brink *b = &c->limits->brink[i];

		if (!b->pid || (pid && b->pid != pid))
			continue;
		if (!b->copes && check_wants(c, CLASS_PIN_NEAR_LIMIT))
			brink_say(c, b);
		b->pid = 0;
		c->limits->n--;
	}
}
