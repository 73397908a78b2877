/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns: a bounded amount of work each, and every channel has its share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "devices/ioat/ioat.h"
#include "host.h"

#define SLACK (IOAT_CHAN_COST + IOAT_SLICE)

static struct host h;
static struct ring r[IOAT_CHANS_MAX];
static uint64_t src, dst;

static void start(const char *options, unsigned int channels)
{
	host_open(&h, options);
	for (unsigned int i = 0; i < channels; i++)
		ring_open(&r[i], &h, i, 16);
	src = host_alloc(&h, 1 << 20, MACHINE_PAGE);
	dst = host_alloc(&h, 1 << 20, MACHINE_PAGE);
}

static int setup(void **state)
{
	start("channels=31", 31);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static uint64_t done(struct ring *c)
{
	return container_of(h.m.f, struct ioat, f)->chan[c->chan].done;
}

/* The longest chain that there is, on one descriptor that follows itself: 64 GiB in 65535 steps. */
static void endless(struct ring *c, uint32_t ctl, uint32_t size)
{
	ring_put(c, ctl, src, dst, size);
	ring_desc(c, 0)->next = ring_iova(c, 0);
	c->head = 65535;
	ring_ring(c);
	assert_int_equal(ring_state(c), IOAT_ACTIVE);
}

static void large_copies_are_bounded(void **state)
{
	uint64_t was = 0;

	endless(&r[0], CTL_COPY, 1 << 20);
	for (unsigned int i = 0; i < 20; i++) {
		assert_in_range(h.m.written - was, 1, IOAT_TURN_COST + SLACK);
		was = h.m.written;
		loop_step(h.m.loop, false);
	}
	/* Doorbells and other registers do not make it longer. */
	for (unsigned int i = 0; i < 100; i++)
		ring_ring(&r[0]);
	assert_in_range(h.m.written - was, 1, IOAT_TURN_COST + SLACK);
}

static void small_copies_are_bounded(void **state)
{
	uint64_t was = 0;

	endless(&r[0], CTL_COPY | IOAT_CTL_NULL, 1);
	for (unsigned int i = 0; i < 20; i++) {
		assert_in_range(done(&r[0]) - was, 1, (IOAT_TURN_COST + SLACK) / IOAT_DESC_COST);
		was = done(&r[0]);
		loop_step(h.m.loop, false);
	}
	while (ring_state(&r[0]) == IOAT_ACTIVE)
		loop_step(h.m.loop, false);
	assert_int_equal(ring_state(&r[0]), IOAT_IDLE);
	assert_int_equal(done(&r[0]), 65535);
}

static void fills_are_bounded(void **state)
{
	uint64_t was = 0;

	endless(&r[0], CTL_FILL, 1 << 20);
	for (unsigned int i = 0; i < 20; i++) {
		assert_in_range(h.m.written - was, 1, IOAT_TURN_COST + SLACK);
		was = h.m.written;
		loop_step(h.m.loop, false);
	}
}

/* All of them want everything: none gets much more than another. */
static void channels_share(void **state)
{
	uint64_t least = UINT64_MAX, most = 0, before[31];

	for (unsigned int i = 0; i < 31; i++)
		endless(&r[i], CTL_COPY, 4096);
	for (unsigned int i = 0; i < 31; i++)
		before[i] = done(&r[i]);
	for (unsigned int i = 0; i < 400; i++)
		loop_step(h.m.loop, false);
	for (unsigned int i = 0; i < 31; i++) {
		least = MIN(least, done(&r[i]) - before[i]);
		most = MAX(most, done(&r[i]) - before[i]);
	}
	assert_true(least > 100);
	assert_in_range(most - least, 0, 2 * SLACK / 4096);
}

/* A short chain beside endless ones ends within a round of them. */
static void short_beside_long(void **state)
{
	unsigned int steps = 0;

	for (unsigned int i = 1; i < 31; i++)
		endless(&r[i], CTL_COPY, 1 << 20);
	ring_put(&r[0], CTL_COPY, src, dst, 64);
	ring_ring(&r[0]);
	while (ring_state(&r[0]) == IOAT_ACTIVE && ++steps)
		loop_step(h.m.loop, false);
	assert_int_equal(ring_state(&r[0]), IOAT_IDLE);
	assert_in_range(steps, 0, 31 * IOAT_CHAN_COST / IOAT_TURN_COST + 3);
	/* Errors of one are no errors of others. */
	ring_arm(&r[0]);
	assert_int_equal(ring_run(&r[0], CTL_COPY, src, dst, 0), IOAT_HALTED);
	for (unsigned int i = 1; i < 31; i++)
		assert_int_equal(ring_state(&r[i]), IOAT_ACTIVE);
}

/* The engine lets go of its last channel, and goes to sleep. */
static void idle_is_idle(void **state)
{
	assert_int_equal(ring_run(&r[0], CTL_COPY, src, dst, 64), IOAT_IDLE);
	while (loop_step(h.m.loop, false))
		;
	assert_false(loop_step(h.m.loop, false));
	assert_true(list_empty(&container_of(h.m.f, struct ioat, f)->running));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(large_copies_are_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(small_copies_are_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(fills_are_bounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(channels_share, setup, teardown),
	    cmocka_unit_test_setup_teardown(short_beside_long, setup, teardown),
	    cmocka_unit_test_setup_teardown(idle_is_idle, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
