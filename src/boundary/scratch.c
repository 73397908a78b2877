/* SPDX-License-Identifier: BSD-3-Clause */
#include "boundary/boundary.h"

static struct scratch pool[64];

struct scratch *scratch_get(void)
{
	for (;;) {
		for (unsigned int i = 0; i < ARRAY_SIZE(pool); i++) {
			uint32_t free = 0;

			if (atomic_compare_exchange_strong(&pool[i].taken, &free, 1))
				return &pool[i];
		}
		sys0(__NR_sched_yield);
	}
}

void scratch_put(struct scratch *s)
{
	atomic_store(&s->taken, 0);
}

/* The threads that held the others do not exist in the child. */
void scratch_after_fork(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(pool); i++)
		atomic_store(&pool[i].taken, 0);
}
