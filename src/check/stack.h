/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stacks of programs: where a call came from. Each is kept once, under a number; a number is all that a finding or a
 * mapping carries.
 */
#ifndef PINFOLD_CHECK_STACK_H
#define PINFOLD_CHECK_STACK_H

#include <stdint.h>

#include "check/module.h"

struct event_origin;
struct stacks;

#define STACK_DEPTH_MAX 64

struct stack {
	uint32_t n;
	struct place frame[]; /* innermost first; of all but the first the instruction before the return address */
};

/* depth: frames that are kept, 1 to STACK_DEPTH_MAX. */
struct stacks *stacks_new(struct modules *m, unsigned int depth);
void stacks_free(struct stacks *s);
/* The stack of whom the event is. 0: not known, or there are too many already. The same stack, the same number. */
uint32_t stacks_take(struct stacks *s, const struct event_origin *from);
/* Likewise of n return addresses, innermost first, in the process of whom the event is. */
uint32_t stacks_take_trace(struct stacks *s, const struct event_origin *from, const uint64_t *pc, uint32_t n);
/* Any thread. NULL for 0. Stays as it is until stacks_free. */
const struct stack *stacks_get(struct stacks *s, uint32_t id);
uint64_t stacks_bytes(const struct stacks *s); /* what they keep in memory */

#endif
