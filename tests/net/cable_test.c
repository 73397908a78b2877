/* SPDX-License-Identifier: BSD-3-Clause */
/* What all backends share, and the two without a state: null and loopback. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/guard.h"
#include "base/util.h"
#include "card.h"

static struct loop *loop;
static struct card a;

static int setup(void **state)
{
	loop = loop_new();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(loop);
	return 0;
}

static void null_swallows(void **state)
{
	card_open(&a, loop, "null", 9, true);
	assert_true(net_link(a.net));
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(card_send(&a, 60 + i, i), NET_TAKEN);
	card_settle(loop);
	assert_int_equal(a.frames + a.bursts + a.writables + a.links, 0);
	card_close(&a);
}

static void loopback_returns(void **state)
{
	static const size_t lens[] = {NET_FRAME_MIN, 61, 1514, 9000, NET_FRAME_MAX};

	card_open(&a, loop, "loopback", 100, true);
	assert_true(net_link(a.net));
	for (unsigned int i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(card_send(&a, lens[i], i), NET_TAKEN);
		assert_int_equal(a.frames, i + 1);
		assert_int_equal(a.bursts, i + 1);
		assert_int_equal(a.len[i], lens[i]);
		assert_int_equal(a.sum[i], card_sum(lens[i], i));
	}
	card_close(&a);
}

/* Neither longer nor shorter frames than there are. */
static void lengths_are_checked(void **state)
{
	card_open(&a, loop, "loopback", 100, true);
	assert_int_equal(card_send(&a, NET_FRAME_MIN - 1, 0), NET_DROPPED);
	assert_int_equal(card_send(&a, NET_FRAME_MAX + 1, 0), NET_DROPPED);
	assert_int_equal(a.frames, 0);
	card_close(&a);
}

static void a_card_that_is_down_hears_nothing(void **state)
{
	card_open(&a, loop, "loopback", 100, false);
	assert_int_equal(card_send(&a, 60, 0), NET_DROPPED);
	assert_int_equal(a.frames + a.bursts, 0);
	net_set_up(a.net, true);
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	assert_int_equal(a.frames, 1);
	card_close(&a);
}

static void full_is_followed_by_writable(void **state)
{
	card_open(&a, loop, "loopback", 1, true);
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	net_readable(a.net);
	card_settle(loop);
	assert_int_equal(a.writables, 0); /* nobody waits */
	assert_int_equal(card_send(&a, 60, 1), NET_FULL);
	assert_int_equal(card_send(&a, 60, 1), NET_FULL);
	a.room = 1;
	net_readable(a.net);
	assert_int_equal(a.writables, 0); /* not from within */
	card_settle(loop);
	assert_int_equal(a.writables, 1);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	card_settle(loop);
	assert_int_equal(a.writables, 1);
	card_close(&a);
}

/* Rule C1: a receiver that never gets room costs frames, not time. */
static void patience_ends(void **state)
{
	unsigned int i;

	card_open(&a, loop, "loopback", 0, true);
	assert_int_equal(card_send(&a, 60, 0), NET_FULL);
	card_await(loop, &a.writables, 1);
	for (i = 0; i < 10; i++)
		assert_int_equal(card_send(&a, 60, 0), NET_DROPPED);
	assert_int_equal(a.missed, 10);
	a.room = 1;
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	/* Whoever took one is trusted again. */
	assert_int_equal(card_send(&a, 60, 0), NET_FULL);
	a.room = 1;
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	/* The time of the one before does not count. */
	card_settle(loop);
	assert_int_equal(a.writables, 1);
	card_close(&a);
}

static void a_cable_may_be_closed_from_within(void **state)
{
	card_open(&a, loop, "loopback", 9, true);
	a.close_in_receive = true;
	assert_int_equal(card_send(&a, 60, 0), NET_DROPPED);
	assert_null(a.net);

	card_open(&a, loop, "loopback", 9, true);
	a.close_in_received = true;
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	assert_null(a.net);

	card_open(&a, loop, "loopback", 0, true);
	a.close_in_writable = true;
	assert_int_equal(card_send(&a, 60, 0), NET_FULL);
	net_readable(a.net);
	card_settle(loop);
	assert_null(a.net);
	assert_int_equal(a.writables, 1);

	/* Nothing comes after it. */
	card_open(&a, loop, "loopback", 0, true);
	assert_int_equal(card_send(&a, 60, 0), NET_FULL);
	net_readable(a.net);
	card_close(&a);
	card_settle(loop);
	assert_int_equal(a.writables, 0);
	assert_false(loop_step(loop, false));
}

static void a_receiver_may_send(void **state)
{
	card_open(&a, loop, "loopback", 9, true);
	a.send_in_receive = true;
	assert_int_equal(card_send(&a, 100, 3), NET_TAKEN);
	assert_int_equal(a.frames, 2);
	assert_int_equal(a.sum[1], card_sum(100, 3));
	card_close(&a);
}

/* Memory that is not there is nobody's fault but the frame's. */
static void memory_may_be_gone(void **state)
{
	struct iovec iov = {(void *)64, 100};

	assert_int_equal(guard_install(), 0); /* cmocka has handlers of its own */
	card_open(&a, loop, "loopback", 9, true);
	assert_int_equal(net_send(a.net, &iov, 1, 100), NET_DROPPED);
	assert_int_equal(a.frames, 0);
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	card_close(&a);
}

static void specifications_are_checked(void **state)
{
	card_refused(loop, "", -EINVAL, "unknown kind of net ''; there are null, loopback");
	card_refused(loop, "lopback", -EINVAL, "did you mean 'loopback'?");
	card_refused(loop, "bridge", -EINVAL, "there are null");
	card_refused(loop, "null:", -EINVAL, "stands alone");
	card_refused(loop, "null,up=on", -EINVAL, "unknown kind of net");
	card_refused(loop, "loopback:x", -EINVAL, "stands alone");
}

static void help_fits_any_buffer(void **state)
{
	char all[8192], some[100];
	size_t n = net_help(NULL, 0);

	assert_in_range(n, 1, sizeof(all) - 1);
	assert_int_equal(net_help(all, sizeof(all)), n);
	assert_int_equal(strlen(all), n);
	assert_non_null(strstr(all, "loopback"));
	assert_int_equal(net_help(some, sizeof(some)), n);
	assert_int_equal(strlen(some), sizeof(some) - 1);
	assert_memory_equal(some, all, sizeof(some) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(null_swallows, setup, teardown),
	    cmocka_unit_test_setup_teardown(loopback_returns, setup, teardown),
	    cmocka_unit_test_setup_teardown(lengths_are_checked, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_card_that_is_down_hears_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(full_is_followed_by_writable, setup, teardown),
	    cmocka_unit_test_setup_teardown(patience_ends, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_cable_may_be_closed_from_within, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_receiver_may_send, setup, teardown),
	    cmocka_unit_test_setup_teardown(memory_may_be_gone, setup, teardown),
	    cmocka_unit_test_setup_teardown(specifications_are_checked, setup, teardown),
	    cmocka_unit_test_setup_teardown(help_fits_any_buffer, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
