/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks, and their one order (rule C2). The broker's state belongs to one thread and has none; these are what its
 * helper threads and the boundary take.
 *
 * A thread that holds a lock takes only such as stand further down in enum lock_class. Where that is asserted, a pair
 * in the wrong order ends the process with both names, when it is first taken, whether or not another thread comes from
 * the other side. In the broker it is in every build that has assertions (release builds have none), in the boundary
 * with -Dlock_check=true, which the builds with sanitizers imply: each of its locks then costs a system call more.
 *
 * Whoever waits for something that another process, a file system or a helper thread has in hand holds none of them:
 * lock_assert_none.
 */
#ifndef PINFOLD_BASE_LOCK_H
#define PINFOLD_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_class {
	/* The boundary, outermost first. */
	LOCK_FOLLOW,	  /* follow.c: what changes mappings */
	LOCK_SCRATCH,	  /* a scratch area */
	LOCK_SHARE,	  /* shared.c: mappings of shared memory that are being made */
	LOCK_SLOT,	  /* a slot of the channel: a call under way */
	LOCK_DESCRIBE,	  /* memory.c: one description at a time */
	LOCK_SCRATCH_TWO, /* scratch_get_nested */
	LOCK_ADOPT,	  /* memory.c: the range that is being moved */
	LOCK_HELD,	  /* shared.c: the table of their files */
	LOCK_WINDOWS,	  /* window.c: mappings of BARs */
	LOCK_INSNS,	  /* window.c: decoded instructions */
	LOCK_SIGNALS,	  /* signals.c: the program's handlers */
	LOCK_PROCESS,	  /* rpc.c: connecting to the broker */
	LOCK_FDS,	  /* rpc.c: descriptors that arrive */
	LOCK_RING,	  /* rpc.c: posted writes */
	LOCK_WATCH,	  /* watch.c: the table of what devices may reach */
	/* The broker's threads. */
	LOCK_MODULES, /* check/module.c: what is mapped where in clients */
	LOCK_WORKER,  /* check/worker.c: its jobs */
	LOCK_THREADS, /* check/threads.c: what threads are called */
	LOCK_STACKS,  /* check/stack.c */
	LOCK_BLOCK,   /* devices/block.c: requests that wait for a thread */
	LOCK_CLOSER,  /* broker/closer.c: descriptors that wait for one */
	LOCK_CLASSES
};

_Static_assert(LOCK_CLASSES <= 32, "what a thread holds is a word of bits");

/* May a thread that holds these classes (a bit for each) wait for one of c? Not for the same one either. */
static inline bool lock_order_allows(uint32_t held, enum lock_class c)
{
	return !(held >> c);
}

/* The innermost that is held. */
static inline enum lock_class lock_innermost(uint32_t held)
{
	return (enum lock_class)(31 - __builtin_clz(held));
}

const char *lock_class_name(enum lock_class c); /* lock_name.c, without libc */

/* ---- lock.c: not for the boundary ---- */

struct lock {
	pthread_mutex_t mutex;
	enum lock_class class;
};

void lock_init(struct lock *l, enum lock_class c);
void lock_fini(struct lock *l);
void lock_take(struct lock *l);
void lock_drop(struct lock *l);
/* l alone is held: it is let go of meanwhile. until: by the condition's clock, or NULL. 0, or ETIMEDOUT. */
int lock_wait(struct lock *l, pthread_cond_t *cond, const struct timespec *until);
/* Before waiting for somebody who need not answer. */
void lock_assert_none(void);

#endif
