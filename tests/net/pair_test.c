/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "card.h"

static struct loop *loop, *other;
static struct card a, b, c;
static char runtime[] = "/tmp/net-pair.XXXXXX";

static int setup(void **state)
{
	loop = loop_new();
	other = loop_new();
	return loop && other ? 0 : -1;
}

static int teardown(void **state)
{
	memset(card_loops, 0, sizeof(card_loops));
	loop_free(loop);
	loop_free(other);
	return 0;
}

static int group_setup(void **state)
{
	log_set_level(LOG_ERROR);
	return mkdtemp(runtime) && !setenv("XDG_RUNTIME_DIR", runtime, 1) ? 0 : -1;
}

static int group_teardown(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/pinfold-net", runtime);
	/* Not -1: no socket was left behind. */
	return rmdir(path) || rmdir(runtime);
}

static void turn_all(bool yes)
{
	card_loops[0] = yes ? loop : NULL;
	card_loops[1] = yes ? other : NULL;
}

static void open_both(struct loop *first, struct loop *second, unsigned int room)
{
	card_open(&a, first, "pair:x", room, true);
	assert_false(net_link(a.net));
	card_open(&b, second, "pair:x", room, true);
	if (first != second)
		turn_all(true);
	card_await_link(&a, true);
	card_await_link(&b, true);
}

static void both_ends_make_a_link(void **state)
{
	card_open(&a, loop, "pair:x", 9, true);
	card_open(&b, loop, "pair:x", 9, false);
	card_settle(loop);
	assert_false(net_link(a.net));
	assert_int_equal(a.links + b.links, 0);
	assert_int_equal(card_send(&a, 60, 0), NET_DROPPED);
	net_set_up(b.net, true);
	assert_true(net_link(a.net) && net_link(b.net));
	assert_int_equal(a.links + b.links, 0); /* from the loop */
	card_settle(loop);
	assert_int_equal(a.links, 1);
	assert_int_equal(b.links, 1);
	net_set_up(a.net, false);
	card_settle(loop);
	assert_false(net_link(a.net) || net_link(b.net));
	assert_int_equal(a.links, 2);
	net_set_up(a.net, true);
	card_close(&a);
	card_settle(loop);
	assert_false(net_link(b.net));
	assert_int_equal(card_send(&b, 60, 0), NET_DROPPED);
	/* The place is free again. */
	card_open(&a, loop, "pair:x", 9, true);
	assert_true(net_link(a.net) && net_link(b.net));
	card_close(&a);
	card_close(&b);
}

static void frames_pass(struct card *from, struct card *to)
{
	unsigned int before = to->frames, bursts = to->bursts, at;

	for (unsigned int i = 0; i < 100; i++) {
		size_t len = 60 + i * 97;

		assert_int_equal(card_send(from, len, i), NET_TAKEN);
		card_await(from->loop, &to->frames, before + i + 1);
		at = (before + i) % CARD_FRAMES;
		assert_int_equal(to->len[at], len);
		assert_int_equal(to->sum[at], card_sum(len, i));
	}
	card_await(from->loop, &to->bursts, bursts + 1);
}

static void frames_go_both_ways(void **state)
{
	open_both(loop, loop, 1000);
	frames_pass(&a, &b);
	frames_pass(&b, &a);
	card_close(&a);
	card_close(&b);
}

static void a_third_is_refused(void **state)
{
	open_both(loop, loop, 1);
	card_refused(loop, "pair:x", -EBUSY, "both ends are taken");
	card_open(&c, loop, "pair:y", 9, true);
	card_settle(loop);
	assert_true(net_link(a.net));
	assert_false(net_link(c.net));
	card_close(&a);
	card_close(&b);
	card_close(&c);
}

static void a_full_end_holds_the_other_up(void **state)
{
	open_both(loop, loop, 1);
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	assert_int_equal(card_send(&a, 60, 1), NET_FULL);
	/* The other direction is another matter. */
	assert_int_equal(card_send(&b, 60, 2), NET_TAKEN);
	b.room = 1;
	net_readable(b.net);
	card_settle(loop);
	assert_int_equal(a.writables, 1);
	assert_int_equal(b.writables, 0);
	assert_int_equal(card_send(&a, 60, 1), NET_TAKEN);
	/* A link that goes away is worth another try, too. */
	assert_int_equal(card_send(&a, 60, 1), NET_FULL);
	net_set_up(b.net, false);
	card_settle(loop);
	assert_int_equal(a.writables, 2);
	assert_int_equal(card_send(&a, 60, 1), NET_DROPPED);
	card_close(&a);
	card_close(&b);
}

/* Rule C1: the other end's program may be stopped for good. */
static void rule_stopped_peer_costs_frames(void **state)
{
	open_both(loop, loop, 0);
	assert_int_equal(card_send(&a, 60, 0), NET_FULL);
	card_await(loop, &a.writables, 1);
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(card_send(&a, 60, 0), NET_DROPPED);
	assert_int_equal(b.missed, 1000);
	assert_int_equal(a.missed, 0);
	card_close(&a);
	card_close(&b);
}

static void an_end_may_go_while_it_receives(void **state)
{
	open_both(loop, loop, 9);
	b.close_in_receive = true;
	assert_int_equal(card_send(&a, 60, 0), NET_DROPPED);
	assert_null(b.net);
	assert_false(net_link(a.net));
	card_close(&a);

	open_both(loop, loop, 9);
	b.close_in_received = true;
	assert_int_equal(card_send(&a, 60, 0), NET_TAKEN);
	assert_null(b.net);
	card_close(&a);

	open_both(loop, loop, 9);
	a.close_in_link = true;
	card_close(&b);
	card_settle(loop);
	assert_null(a.net);

	open_both(loop, loop, 9);
	b.send_in_receive = true;
	assert_int_equal(card_send(&a, 60, 5), NET_TAKEN);
	assert_int_equal(a.frames, 1);
	assert_int_equal(a.sum[0], card_sum(60, 5));
	card_close(&b);
	card_close(&a);
}

/* ---- two brokers ---- */

static void two_brokers_meet(void **state)
{
	for (int i = 0; i < 3; i++) {
		open_both(loop, other, 1000);
		frames_pass(&a, &b);
		frames_pass(&b, &a);
		/* Who listened goes, who connected listens. */
		card_close(&a);
		card_await_link(&b, false);
		card_open(&a, loop, "pair:x", 1000, true);
		card_await_link(&a, true);
		card_await_link(&b, true);
		frames_pass(&b, &a);
		card_close(&b);
		card_await_link(&a, false);
		card_close(&a);
	}
}

static void down_at_one_broker_is_down_at_the_other(void **state)
{
	open_both(loop, other, 9);
	for (int i = 0; i < 5; i++) {
		struct card *one = i % 2 ? &a : &b, *two = i % 2 ? &b : &a;

		net_set_up(one->net, false);
		assert_false(net_link(one->net));
		card_await_link(two, false);
		net_set_up(one->net, true);
		card_await_link(one, true);
		card_await_link(two, true);
	}
	card_close(&b);
	card_close(&a);
}

static void a_third_broker_is_not_heard(void **state)
{
	struct loop *third = loop_new();
	unsigned int links;

	open_both(loop, other, 9);
	links = a.links + b.links;
	card_open(&c, third, "pair:x", 9, true);
	card_idle(third, 250);
	assert_false(net_link(c.net));
	assert_int_equal(c.links, 0);
	assert_int_equal(a.links + b.links, links);
	assert_true(net_link(a.net) && net_link(b.net));
	/* Its turn comes when one of the two goes. */
	card_close(&b);
	card_loops[2] = third;
	card_await_link(&a, false);
	card_await_link(&a, true);
	card_await_link(&c, true);
	card_close(&c);
	card_close(&a);
	loop_free(third);
}

/* A card of the own broker is nearer than one of another. */
static void the_own_broker_comes_first(void **state)
{
	card_open(&a, loop, "pair:x", 9, true);
	card_idle(loop, 20); /* listens */
	card_open(&b, loop, "pair:x", 9, true);
	assert_true(net_link(a.net) && net_link(b.net));
	card_open(&c, other, "pair:x", 9, true);
	card_idle(other, 50);
	assert_false(net_link(c.net));
	card_close(&b);
	turn_all(true);
	card_await_link(&a, false);
	card_await_link(&a, true);
	card_refused(loop, "pair:x", -EBUSY, "both ends are taken");
	card_close(&a);
	card_close(&c);
}

static void another_brokers_stopped_program(void **state)
{
	unsigned int n = 0;

	open_both(loop, other, 0);
	while (card_send(&a, 9000, 0) != NET_FULL)
		assert_true(++n < 1000);
	turn_all(false);
	card_await(loop, &a.writables, 1);
	assert_int_equal(card_send(&a, 9000, 0), NET_DROPPED);
	b.room = 10000;
	net_readable(b.net);
	turn_all(true);
	card_await(loop, &b.frames, n);
	assert_int_equal(b.frames, n);
	assert_int_equal(card_send(&a, 9000, 0), NET_TAKEN);
	card_close(&a);
	card_close(&b);
}

static void names_are_checked(void **state)
{
	card_refused(loop, "pair", -EINVAL, "net=pair needs a NAME, as pair:NAME");
	card_refused(loop, "pair:", -EINVAL, "net=pair needs a NAME, as pair:NAME");
	card_refused(loop, "pair:../x", -EINVAL, "is not a name");
	card_refused(loop, "pair:.x", -EINVAL, "is not a name");
	card_refused(loop, "pair:a b", -EINVAL, "is not a name");
	card_refused(loop, "pair:123456789012345678901234567890123", -EINVAL, "at most 32");
	card_refused(loop, "pair:x,y=2", -EINVAL, "unknown option of net=pair 'y'; there is none");
}

/* A directory that others may write to is no place to meet. */
static void a_public_directory_is_not_used(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/pinfold-net", runtime);
	assert_int_equal(chmod(path, 0777), 0);
	card_open(&a, loop, "pair:x", 9, true);
	card_open(&b, other, "pair:x", 9, true);
	turn_all(true);
	card_idle(loop, 50);
	assert_false(net_link(a.net) || net_link(b.net));
	card_close(&a);
	card_close(&b);
	assert_int_equal(chmod(path, 0700), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(both_ends_make_a_link, setup, teardown),
	    cmocka_unit_test_setup_teardown(frames_go_both_ways, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_third_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_full_end_holds_the_other_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_stopped_peer_costs_frames, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_end_may_go_while_it_receives, setup, teardown),
	    cmocka_unit_test_setup_teardown(two_brokers_meet, setup, teardown),
	    cmocka_unit_test_setup_teardown(down_at_one_broker_is_down_at_the_other, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_third_broker_is_not_heard, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_own_broker_comes_first, setup, teardown),
	    cmocka_unit_test_setup_teardown(another_brokers_stopped_program, setup, teardown),
	    cmocka_unit_test_setup_teardown(names_are_checked, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_public_directory_is_not_used, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
