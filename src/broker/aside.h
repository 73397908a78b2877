/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that polls and the broker can run at the same time, on two CPUs, or take turns of milliseconds on one. The
 * kernel brings them together: if no CPU is idle, who is woken is put beside who woke him, on the guess that the other
 * one is about to sleep. A client that polls does not sleep. So a broker that finds itself on such a client's CPU time
 * and again moves to another, and may be moved back by whoever knows better.
 */
#ifndef PINFOLD_BROKER_ASIDE_H
#define PINFOLD_BROKER_ASIDE_H

#include <stdint.h>

#define ASIDE_UNKNOWN 0xfffu /* a CPU that nobody has */

struct aside {
	unsigned int met;   /* times in a row */
	unsigned int moves; /* since ever */
	uint64_t next;	    /* not before: each costs some 20 us */
};

/* A client that polls has written from this CPU; now as loop_now has it. cpu is the client's word. */
void aside_note(struct aside *a, uint32_t cpu, uint64_t now);

#endif
