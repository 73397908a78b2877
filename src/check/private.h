/* SPDX-License-Identifier: BSD-3-Clause */
/* What the checker's files share. */
#ifndef PINFOLD_CHECK_PRIVATE_H
#define PINFOLD_CHECK_PRIVATE_H

#include <stddef.h>

#include "base/event.h"
#include "check/check.h"
#include "check/finding.h"
#include "check/history.h"
#include "check/stack.h"

struct check {
	struct check_options opt;
	struct events *evs;
	struct event_listener listener;
	struct worker *worker;
	struct modules *modules;
	struct stacks *stacks;
	struct symbols *symbols; /* the worker's */
	struct history *history;
	struct findings *findings;
	uint64_t began_ns;
	bool fresh; /* of one event: the stack of its origin has been taken */
	uint32_t stack;
};

static inline bool check_wants(const struct check *c, enum check_class class)
{
	return c->opt.classes >> class & 1;
}
uint64_t check_now(void);
/* The stack of the event that is being told; taken once. */
uint32_t check_stack(struct check *c);
/* "2.5 ms earlier", for a moment before now. */
const char *check_ago(uint64_t then, uint64_t now, char *buf, size_t size);

/* dma.c: what devices do */
void check_dma_fault(struct check *c, const struct event *ev);

#endif
