/* SPDX-License-Identifier: BSD-3-Clause */
#include "boundary/boundary.h"

static struct scratch pool[64];

#define NESTED 8 /* of the pool, for those that hold one already */

static struct gate gates[2]; /* of the nested ones, and of the others */

static struct scratch *try(unsigned int from, unsigned int to)
{
	for (unsigned int i = from; i < to; i++) {
		uint32_t free = 0;

		if (atomic_load_explicit(&pool[i].taken, memory_order_relaxed) ||
		    !atomic_compare_exchange_strong(&pool[i].taken, &free, 1))
			continue;
		if (pool[i].room)
			sys2(__NR_munmap, pool[i].room, pool[i].room_len);
		pool[i].room = 0;
		return &pool[i];
	}
	return NULL;
}

static struct scratch *get(unsigned int from, unsigned int to)
{
	struct scratch *s = try(from, to);
	struct gate *g = &gates[from != 0];

	while (unlikely(!s)) {
		uint32_t seen = gate_enter(g);

		s = try(from, to);
		if (!s)
			gate_wait(g, seen);
		gate_leave(g);
	}
	return s;
}

struct scratch *scratch_get(void)
{
	order_take(LOCK_SCRATCH);
	return get(NESTED, ARRAY_SIZE(pool));
}

struct scratch *scratch_get_nested(void)
{
	order_take(LOCK_SCRATCH_TWO);
	return get(0, NESTED);
}

void scratch_put(struct scratch *s)
{
	order_drop(s >= &pool[NESTED] ? LOCK_SCRATCH : LOCK_SCRATCH_TWO);
	atomic_store(&s->taken, 0);
	gate_open(&gates[s >= &pool[NESTED]]);
}

/* The threads that held the others do not exist in the child. */
void scratch_after_fork(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(pool); i++)
		atomic_store(&pool[i].taken, 0);
	memset(gates, 0, sizeof(gates));
}
