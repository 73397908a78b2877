/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/lock.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

#ifndef NDEBUG

static _Thread_local uint32_t held;

static void violation(enum lock_class c, const char *what)
{
	fprintf(stderr, "pinfold: lock order: %s \"%s\" with \"%s\" held\n", what, lock_class_name(c),
		held ? lock_class_name(lock_innermost(held)) : "nothing");
	abort();
}

/* Before the wait, so that a deadlock is named, not met. */
static void note_take(const struct lock *l)
{
	if (unlikely(!lock_order_allows(held, l->class)))
		violation(l->class, "waits for");
	held |= BIT(l->class);
}

static void note_drop(const struct lock *l)
{
	if (unlikely(!(held & BIT(l->class))))
		violation(l->class, "gives back");
	held &= ~BIT(l->class);
}

void lock_assert_none(void)
{
	if (unlikely(held))
		violation(LOCK_CLASSES, "waits for somebody else,");
}

#else

static void note_take(const struct lock *l)
{
}

static void note_drop(const struct lock *l)
{
}

void lock_assert_none(void)
{
}

#endif

void lock_init(struct lock *l, enum lock_class c)
{
	pthread_mutex_init(&l->mutex, NULL);
	l->class = c;
}

void lock_fini(struct lock *l)
{
	pthread_mutex_destroy(&l->mutex);
}

void lock_take(struct lock *l)
{
	note_take(l);
	pthread_mutex_lock(&l->mutex);
}

void lock_drop(struct lock *l)
{
	/* Unlocked it may be freed. */
	note_drop(l);
	pthread_mutex_unlock(&l->mutex);
}

int lock_wait(struct lock *l, pthread_cond_t *cond, const struct timespec *until)
{
	int err;

	note_drop(l);
	lock_assert_none();
	err = until ? pthread_cond_timedwait(cond, &l->mutex, until) : pthread_cond_wait(cond, &l->mutex);
	note_take(l);
	return err;
}
