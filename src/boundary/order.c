/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asserts that locks are taken in the order of base/lock.h. There is no thread-local storage here, so what a thread
 * holds stands in a table, by the thread's number.
 */
#include "boundary/boundary.h"

#define THREADS 512 /* that hold something at one time; what more there are go unchecked */

static struct holder {
	_Atomic uint32_t thread; /* 0: free */
	/* The thread's own. */
	uint32_t held, nested;
} holders[THREADS];

uint32_t order_self(void)
{
	return sys0(__NR_gettid);
}

static struct holder *find(uint32_t thread)
{
	for (unsigned int i = 0; i < THREADS; i++)
		if (atomic_load_explicit(&holders[i].thread, memory_order_relaxed) == thread)
			return &holders[i];
	return NULL;
}

static struct holder *find_free(uint32_t thread)
{
	for (unsigned int i = 0; i < THREADS; i++) {
		uint32_t free = 0;

		if (atomic_compare_exchange_strong(&holders[i].thread, &free, thread))
			return &holders[i];
	}
	return NULL;
}

static void say(const char *s)
{
	sys3(__NR_write, 2, s, strlen(s));
}

static void violation(enum lock_class c, uint32_t held)
{
	say("pinfold: lock order: the boundary waits for \"");
	say(lock_class_name(c));
	say("\" with \"");
	say(lock_class_name(lock_innermost(held)));
	say("\" held\n");
	__builtin_trap();
}

void order_take(enum lock_class c)
{
	uint32_t self = order_self(), before;
	struct holder *h = find(self);

	if (!h)
		h = find_free(self);
	if (!h)
		return;
	before = h->held;
	/* Of nested scratch areas one may have several; describe_lock sees to it that only one thread has. */
	if (c == LOCK_SCRATCH_TWO && h->nested++ && h->held & BIT(LOCK_DESCRIBE))
		before &= ~BIT(c);
	if (unlikely(!lock_order_allows(before, c)))
		violation(c, before);
	h->held |= BIT(c);
}

void order_drop(enum lock_class c)
{
	struct holder *h = find(order_self());

	if (!h)
		return;
	if (c != LOCK_SCRATCH_TWO || !--h->nested)
		h->held &= ~BIT(c);
	if (!h->held)
		atomic_store_explicit(&h->thread, 0, memory_order_release);
}

void order_after_fork(uint32_t parent)
{
	for (unsigned int i = 0; i < THREADS; i++) {
		if (atomic_load(&holders[i].thread) != parent) {
			holders[i].held = holders[i].nested = 0;
			atomic_store(&holders[i].thread, 0);
		}
	}
	for (unsigned int i = 0; i < THREADS; i++)
		if (atomic_load(&holders[i].thread) == parent)
			atomic_store(&holders[i].thread, order_self());
}
