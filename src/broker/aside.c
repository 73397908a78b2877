/* SPDX-License-Identifier: BSD-3-Clause */
#include "broker/aside.h"

#include <sched.h>
#include <stdbool.h>

#define ASIDE_TIMES 8
#define ASIDE_NS    2000000

/* What may be used is as before; the kernel moves us at once, and does not move us back for nothing. */
static bool leave(int cpu)
{
	cpu_set_t all, others;

	if (sched_getaffinity(0, sizeof(all), &all))
		return false;
	others = all;
	CPU_CLR(cpu, &others);
	if (!CPU_COUNT(&others) || sched_setaffinity(0, sizeof(others), &others))
		return false;
	/* Of what was allowed a moment ago this cannot fail. */
	return !sched_setaffinity(0, sizeof(all), &all);
}

void aside_note(struct aside *a, uint32_t cpu, uint64_t now)
{
	int own = sched_getcpu();

	if (own < 0 || (uint32_t)own != cpu) {
		a->met = 0;
		return;
	}
	if (++a->met < ASIDE_TIMES || now < a->next)
		return;
	a->met = 0;
	a->next = now + ASIDE_NS;
	a->moves += leave(own);
}
