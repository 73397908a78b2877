/* SPDX-License-Identifier: BSD-3-Clause */
/* A broker leaves the CPU of a client that polls, if there is another and it has met it often enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sched.h>

#include "broker/aside.h"

#define SOON 1000000ull
#define LATE 1000000000ull

static cpu_set_t allowed;

static int setup(void **state)
{
	return sched_getaffinity(0, sizeof(allowed), &allowed);
}

static int teardown(void **state)
{
	return sched_setaffinity(0, sizeof(allowed), &allowed);
}

/* Until it has moved, or that often. The kernel may move us as well, which is no meeting. */
static unsigned int meet(struct aside *a, unsigned int times, uint64_t now)
{
	unsigned int before = a->moves, n = 0;

	for (; n < times && a->moves == before; n++)
		aside_note(a, (uint32_t)sched_getcpu(), now);
	return n;
}

static void leaves(void **state)
{
	struct aside a = {0};
	cpu_set_t now;

	if (CPU_COUNT(&allowed) < 2)
		return;
	assert_true(meet(&a, 10000, LATE) >= 8);
	assert_int_equal(a.moves, 1);
	assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
	assert_true(CPU_EQUAL(&now, &allowed));
}

static void not_too_often(void **state)
{
	struct aside a = {0};

	if (CPU_COUNT(&allowed) < 2)
		return;
	meet(&a, 10000, LATE);
	assert_int_equal(a.moves, 1);
	meet(&a, 100, LATE + SOON);
	assert_int_equal(a.moves, 1);
	meet(&a, 10000, 2 * LATE);
	assert_int_equal(a.moves, 2);
}

static void elsewhere(void **state)
{
	struct aside a = {0};

	for (unsigned int i = 0; i < 100; i++)
		aside_note(&a, ASIDE_UNKNOWN, LATE);
	assert_int_equal(a.moves, 0);
}

static void nowhere_to_go(void **state)
{
	struct aside a = {0};
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	for (unsigned int i = 0; i < 100; i++)
		aside_note(&a, (uint32_t)cpu, LATE);
	assert_int_equal(a.moves, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(leaves, setup, teardown),
	    cmocka_unit_test_setup_teardown(not_too_often, setup, teardown),
	    cmocka_unit_test_setup_teardown(elsewhere, setup, teardown),
	    cmocka_unit_test_setup_teardown(nowhere_to_go, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
