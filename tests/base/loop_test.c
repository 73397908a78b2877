/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"

#define MS 1000000ULL

static struct loop *loop;

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

/* ---- descriptors ---- */
struct bell {
	struct loop_fd w;
	struct bell *victim; /* deleted when this one rings */
	int rung;
};

static void bell_ready(struct loop_fd *w, uint32_t events)
{
	struct bell *b = container_of(w, struct bell, w);
	uint64_t v;

	b->rung++;
	assert_int_equal(read(w->fd, &v, sizeof(v)), sizeof(v));
	if (b->victim)
		loop_fd_del(loop, &b->victim->w);
}

static void bell_init(struct bell *b)
{
	*b = (struct bell){.w = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .events = EPOLLIN, .ready = bell_ready}};
	assert_true(b->w.fd >= 0);
	assert_int_equal(loop_fd_add(loop, &b->w), 0);
}

static void bell_ring(struct bell *b)
{
	assert_int_equal(eventfd_write(b->w.fd, 1), 0);
}

static void bell_fini(struct bell *b)
{
	loop_fd_del(loop, &b->w);
	close(b->w.fd);
}

static void fd_is_dispatched(void **state)
{
	struct bell b;

	bell_init(&b);
	assert_false(loop_step(loop, false));
	bell_ring(&b);
	assert_true(loop_step(loop, false));
	assert_int_equal(b.rung, 1);
	bell_ring(&b);
	assert_true(loop_step(loop, true));
	assert_int_equal(b.rung, 2);
	assert_int_equal(loop_fd_add(loop, &b.w), -EEXIST);
	bell_fini(&b);
}

static void fd_deleted_in_same_batch_is_not_called(void **state)
{
	struct bell a, b;

	bell_init(&a);
	bell_init(&b);
	a.victim = &b;
	b.victim = &a;
	bell_ring(&a);
	bell_ring(&b);
	assert_true(loop_step(loop, false));
	assert_int_equal(a.rung + b.rung, 1);
	bell_fini(&a);
	bell_fini(&b);
}

/* ---- timers ---- */
static int order[8], order_n;

struct numbered {
	struct loop_timer t;
	int id;
};

static void numbered_expired(struct loop_timer *t)
{
	order[order_n++] = container_of(t, struct numbered, t)->id;
	if (order_n == 3)
		loop_stop(loop);
}

static void timers_expire_in_order_and_once(void **state)
{
	struct numbered n[4];

	order_n = 0;
	for (int i = 0; i < 4; i++) {
		n[i].id = i;
		loop_timer_init(&n[i].t, numbered_expired);
	}
	loop_timer_arm(loop, &n[0].t, 6 * MS);
	loop_timer_arm(loop, &n[1].t, 4 * MS);
	loop_timer_arm(loop, &n[2].t, 1000000 * MS);
	loop_timer_arm(loop, &n[3].t, 3 * MS);
	loop_timer_arm(loop, &n[2].t, 2 * MS);
	loop_timer_cancel(loop, &n[3].t);
	loop_timer_cancel(loop, &n[3].t);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(order[0], 2);
	assert_int_equal(order[1], 1);
	assert_int_equal(order[2], 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(n[i].t.deadline, 0);
	assert_false(loop_step(loop, false));
}

static void timer_with_huge_delay_never_expires(void **state)
{
	struct numbered n = {.id = 1};

	order_n = 0;
	loop_timer_init(&n.t, numbered_expired);
	loop_timer_arm(loop, &n.t, UINT64_MAX);
	loop_step(loop, false);
	assert_int_equal(order_n, 0);
	loop_timer_cancel(loop, &n.t);
}

/* ---- work ---- */
struct job {
	struct loop_work w;
	struct job *cancel;
	int again;
	int ran;
};

static void job_run(struct loop_work *w)
{
	struct job *j = container_of(w, struct job, w);

	j->ran++;
	if (j->again-- > 0)
		loop_work_queue(loop, w);
	if (j->cancel)
		loop_work_cancel(loop, &j->cancel->w);
}

static void job_init(struct job *j)
{
	*j = (struct job){.w.run = job_run};
	list_init(&j->w.node);
}

static void work_runs_once_and_requeues_for_next_round(void **state)
{
	struct job a, b, c;

	job_init(&a);
	job_init(&b);
	job_init(&c);
	a.again = 1;
	b.cancel = &c;
	loop_work_queue(loop, &a.w);
	loop_work_queue(loop, &a.w);
	loop_work_queue(loop, &b.w);
	loop_work_queue(loop, &c.w);
	assert_true(loop_step(loop, true));
	assert_int_equal(a.ran, 1);
	assert_int_equal(b.ran, 1);
	assert_int_equal(c.ran, 0);
	assert_true(loop_step(loop, true));
	assert_int_equal(a.ran, 2);
	assert_false(loop_step(loop, false));
}

/* ---- pollers ---- */
struct source {
	struct loop_poll p;
	struct source *victim;
	int work;	/* found by the next polls */
	int late;	/* turns up between the last poll and prepare_sleep */
	int stop_after; /* prepares */
	int polls, prepares, cancels;
};

static bool source_poll(struct loop_poll *p)
{
	struct source *s = container_of(p, struct source, p);

	s->polls++;
	if (s->victim)
		loop_poll_del(loop, &s->victim->p);
	if (!s->work)
		return false;
	s->work--;
	return true;
}

static bool source_prepare(struct loop_poll *p)
{
	struct source *s = container_of(p, struct source, p);

	if (++s->prepares == s->stop_after)
		loop_stop(loop);
	if (!s->late)
		return true;
	s->work += s->late;
	s->late = 0;
	return false;
}

static void source_cancel(struct loop_poll *p)
{
	container_of(p, struct source, p)->cancels++;
}

static void source_init(struct source *s)
{
	*s =
	    (struct source){.p = {.poll = source_poll, .prepare_sleep = source_prepare, .cancel_sleep = source_cancel}};
	loop_poll_add(loop, &s->p);
}

static void poller_that_says_no_prevents_sleep(void **state)
{
	struct source a, b, c;

	loop_set_spin_max(loop, 0);
	source_init(&a);
	source_init(&b);
	source_init(&c);
	b.late = 1;
	/* Would hang here if it slept: nothing could wake it. */
	assert_true(loop_step(loop, true));
	assert_int_equal(a.prepares, 1);
	assert_int_equal(a.cancels, 1);
	assert_int_equal(b.cancels, 1);
	assert_int_equal(c.prepares, 0);
	assert_int_equal(c.cancels, 0);
	assert_true(loop_step(loop, true));
	assert_int_equal(b.polls, 2);
	loop_poll_del(loop, &a.p);
	loop_poll_del(loop, &b.p);
	loop_poll_del(loop, &c.p);
}

static void poller_may_delete_itself_and_the_next(void **state)
{
	struct source a, b, c;

	source_init(&a);
	source_init(&b);
	source_init(&c);
	a.victim = &b;
	loop_step(loop, false);
	assert_int_equal(b.polls, 0);
	assert_int_equal(c.polls, 1);
	c.victim = &c;
	loop_step(loop, false);
	loop_step(loop, false);
	assert_int_equal(a.polls, 3);
	assert_int_equal(c.polls, 2);
	loop_poll_del(loop, &a.p);
}

static void busy_poller_does_not_starve_descriptors(void **state)
{
	struct source s;
	struct bell b;

	source_init(&s);
	bell_init(&b);
	s.work = 1000;
	bell_ring(&b);
	while (s.work)
		loop_step(loop, true);
	assert_int_equal(b.rung, 1);
	loop_poll_del(loop, &s.p);
	bell_fini(&b);
}

/* Events far apart: after the first few, waking up costs a fixed small number of polls and no spinning. */
struct ticker {
	struct loop_timer t;
	int left;
};

static void ticker_expired(struct loop_timer *t)
{
	struct ticker *k = container_of(t, struct ticker, t);

	if (--k->left)
		loop_timer_arm(loop, t, 5 * MS);
	else
		loop_stop(loop);
}

static void spinning_decays_to_nothing(void **state)
{
	struct source s;
	struct ticker k = {.left = 6};

	loop_set_spin_max(loop, MS / 10);
	source_init(&s);
	loop_timer_init(&k.t, ticker_expired);
	/* Work that spinning finds makes the budget grow ... */
	for (int i = 0; i < 20; i++) {
		s.late = 1;
		loop_step(loop, true);
		loop_step(loop, true);
	}
	loop_timer_arm(loop, &k.t, 5 * MS);
	loop_run(loop);
	/* ... and ticks that it does not find make it vanish. */
	s.polls = 0;
	k.left = 8;
	loop_timer_arm(loop, &k.t, 5 * MS);
	loop_run(loop);
	assert_in_range(s.polls, 8, 40);
	assert_int_equal(s.prepares, s.cancels);
	loop_poll_del(loop, &s.p);
}

static void stop_in_prepare_ends_run(void **state)
{
	struct source s;
	struct bell b;

	source_init(&s);
	bell_init(&b);
	s.stop_after = 1;
	bell_ring(&b);
	assert_int_equal(loop_run(loop), 0);
	loop_poll_del(loop, &s.p);
	bell_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(fd_is_dispatched, setup, teardown),
	    cmocka_unit_test_setup_teardown(fd_deleted_in_same_batch_is_not_called, setup, teardown),
	    cmocka_unit_test_setup_teardown(timers_expire_in_order_and_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(timer_with_huge_delay_never_expires, setup, teardown),
	    cmocka_unit_test_setup_teardown(work_runs_once_and_requeues_for_next_round, setup, teardown),
	    cmocka_unit_test_setup_teardown(poller_that_says_no_prevents_sleep, setup, teardown),
	    cmocka_unit_test_setup_teardown(poller_may_delete_itself_and_the_next, setup, teardown),
	    cmocka_unit_test_setup_teardown(busy_poller_does_not_starve_descriptors, setup, teardown),
	    cmocka_unit_test_setup_teardown(spinning_decays_to_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(stop_in_prepare_ends_run, setup, teardown),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
