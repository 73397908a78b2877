/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event loop. One thread runs it and owns every object above it: the engine, the devices, the sessions.
 * Nothing called from the loop may block; what could (a slow disk) goes through io_uring or a worker thread
 * and comes back as a loop_fd or loop_poll.
 *
 * Spinning: a wake-up across cores costs more than the work it announces, so after something happened the loop
 * keeps asking its pollers for a while before it sleeps. The time adapts: it is the maximum while spinning pays, or
 * would have paid, and falls to nothing while it does not.
 */
#ifndef PINFOLD_BASE_LOOP_H
#define PINFOLD_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct loop;

/* A watched file descriptor; embedded in its owner. */
struct loop_fd {
	int fd;
	uint32_t events; /* EPOLL* */
	void (*ready)(struct loop_fd *w, uint32_t events);
};

/* A one-shot timer; embedded in its owner. */
struct loop_timer {
	struct list node;
	uint64_t deadline; /* CLOCK_MONOTONIC, ns; 0 = not armed */
	void (*expired)(struct loop_timer *t);
};

/*
 * A source that is asked rather than told. poll returns true when it found work and did it.
 * prepare_sleep is called before the loop blocks: it arms whatever wakes the loop (a flag that makes the other
 * side ring a bell) and returns false when work came in meanwhile, so that the loop must not sleep.
 * cancel_sleep undoes it, whether prepare_sleep said yes or no. Both may be NULL.
 */
struct loop_poll {
	struct list node;
	bool (*poll)(struct loop_poll *p);
	bool (*prepare_sleep)(struct loop_poll *p);
	void (*cancel_sleep)(struct loop_poll *p);
};

/* Work to run once, soon, from the loop itself and not from the caller's stack. */
struct loop_work {
	struct list node; /* list_init() before first use */
	void (*run)(struct loop_work *w);
};

struct loop *loop_new(void); /* NULL: out of memory or descriptors, errno set */
void loop_free(struct loop *l);

int loop_run(struct loop *l);			     /* until loop_stop; 0 or -errno */
void loop_stop(struct loop *l);			     /* from within the loop */
bool loop_step(struct loop *l, bool may_sleep);	     /* one round; true if anything was done */
void loop_set_spin_max(struct loop *l, uint64_t ns); /* 0: never spin. Default 100 us, 0 on one CPU */
uint64_t loop_now(void);			     /* CLOCK_MONOTONIC, ns */

int loop_fd_add(struct loop *l, struct loop_fd *w);  /* -errno of epoll_ctl */
void loop_fd_del(struct loop *l, struct loop_fd *w); /* before the fd is closed; safe inside ready() */

void loop_timer_init(struct loop_timer *t, void (*expired)(struct loop_timer *t));
void loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t delay_ns); /* re-arms if armed */
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

void loop_poll_add(struct loop *l, struct loop_poll *p);
void loop_poll_del(struct loop *l, struct loop_poll *p);

void loop_work_queue(struct loop *l, struct loop_work *w); /* no-op while already queued */
void loop_work_cancel(struct loop *l, struct loop_work *w);

#endif
