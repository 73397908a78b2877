/* SPDX-License-Identifier: BSD-3-Clause */
/* From events to findings: the classes that depend on what happened when, and in whose process. */
#include "check/private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/loop.h"
#include "base/util.h"
#include "iommu/iommu.h"
#include "proto/channel.h"

#define IOAS   3
#define AT     0x10000
#define VA     0x7f0000000000
#define BDF    0x100
#define PARENT 11 /* sessions */
#define CHILD  12
#define OTHER  13

static struct events evs;
static struct check *c;

static int set_up(void **state)
{
	struct check_options o = {.classes = ~0ull >> (64 - CLASS_COUNT)};
	char err[128];

	(void)state;
	events_init(&evs);
	c = check_new(&o, &evs, err, sizeof(err));
	assert_non_null(c);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	check_free(c);
	return 0;
}

static struct event_origin process(uint64_t session)
{
	return (struct event_origin){.pid = 1000 + session, .tid = 1000 + session, .session = session};
}

/* In the course of a call of that process; session 0: nobody's. */
static void emit(uint64_t session, struct event ev)
{
	struct event_origin from = process(session);

	evs.origin = session ? &from : NULL;
	if (event_wanted(&evs, ev.type))
		events_deliver(&evs, &ev);
	evs.origin = NULL;
}

static void map_at(uint64_t session, uint64_t iova, uint64_t va, uint64_t len)
{
	emit(session, (struct event){.type = EVENT_MAP,
				     .ioas = IOAS,
				     .addr = iova,
				     .len = len,
				     .value = va,
				     .who = 1000 + session,
				     .flags = EVENT_WRITE});
}

static void unmap(uint64_t session, uint64_t iova, uint64_t len)
{
	emit(session, (struct event){.type = EVENT_UNMAP, .ioas = IOAS, .addr = iova, .len = len});
}

static void change(uint64_t session, enum memory_change kind, uint64_t arg, uint64_t va, uint64_t len)
{
	struct memory_range r = {va, va + len - 1};
	struct event_memory m = {.kind = kind, .arg = arg, .range = &r, .nranges = !!len};

	emit(session, (struct event){.type = EVENT_MEMORY, .memory = &m});
}

static void dma(uint64_t session, uint64_t iova, uint64_t len)
{
	emit(session, (struct event){.type = EVENT_DMA, .ioas = IOAS, .addr = iova, .len = len, .who = BDF});
}

static void fault(uint64_t iova, int reason)
{
	emit(0, (struct event){.type = EVENT_FAULT, .ioas = IOAS, .addr = iova, .len = 8, .who = BDF, .error = reason});
}

static void ended(uint64_t session)
{
	emit(0, (struct event){.type = EVENT_CLIENT, .who = 1000 + session, .addr = session, .flags = EVENT_END});
}

static void pinned(uint64_t session, uint64_t pages, uint64_t limit)
{
	emit(session,
	     (struct event){.type = EVENT_PIN, .who = 1000 + session, .value = 1, .addr = pages, .len = limit});
}

static void refused(uint64_t session, uint64_t va, uint64_t len)
{
	emit(session, (struct event){.type = EVENT_PIN_REFUSED,
				     .who = 1000 + session,
				     .value = len / PF_PAGE_SIZE,
				     .addr = 1,
				     .len = 0x4000});
	emit(session,
	     (struct event){.type = EVENT_MAP_REFUSED, .ioas = IOAS, .addr = AT, .value = va, .len = len, .error = 12});
}

/* How many findings there are, all of this class. */
static unsigned int found(enum check_class class)
{
	const struct list *all = findings_list(c->findings);
	const struct finding *f;
	unsigned int n = 0;

	list_for_each (f, all, node) {
		assert_string_equal(class_name(f->class), class_name(class));
		n++;
	}
	return n;
}

static void freed(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x4000);
	assert_false(event_wanted(&evs, EVENT_DMA));
	change(PARENT, CHANGE_UNMAPPED, 0, VA + 0x1000, 0x1000);
	assert_true(event_wanted(&evs, EVENT_DMA));
	dma(PARENT, AT, 0x1000);
	dma(PARENT, AT + 0x2000, 0x2000);
	assert_int_equal(found(CLASS_DMA_TO_FREED_MEMORY), 0);
	dma(0, AT + 0xff8, 16);
	assert_int_equal(found(CLASS_DMA_TO_FREED_MEMORY), 1);
	/* Another process at the same address. */
	unmap(PARENT, AT, 0x4000);
	assert_false(event_wanted(&evs, EVENT_DMA));
	map_at(PARENT, AT, VA, 0x4000);
	change(OTHER, CHANGE_UNMAPPED, 0, VA, 0x4000);
	assert_false(event_wanted(&evs, EVENT_DMA));
}

/* What a client's own table translates has addresses of its own. */
static void nested(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x1000);
	change(PARENT, CHANGE_UNMAPPED, 0, VA, 0x1000);
	emit(0,
	     (struct event){.type = EVENT_DMA, .ioas = IOAS, .addr = AT, .len = 8, .who = BDF, .flags = EVENT_NESTED});
	assert_int_equal(found(CLASS_DMA_TO_FREED_MEMORY), 0);
	emit(0, (struct event){.type = EVENT_FAULT,
			       .ioas = IOAS,
			       .addr = AT + 0x1000,
			       .len = 8,
			       .who = BDF,
			       .error = DMA_FAULT_UNMAPPED,
			       .flags = EVENT_NESTED});
	assert_int_equal(found(CLASS_DMA_UNMAPPED), 1);
}

static void taken_back(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x4000);
	change(PARENT, CHANGE_FREED, 0, VA, 0x4000);
	change(PARENT, CHANGE_UNDONE, CHANGE_REPLACED, VA, 0x4000);
	assert_true(event_wanted(&evs, EVENT_DMA));
	change(PARENT, CHANGE_UNDONE, CHANGE_FREED, VA, 0x1000);
	dma(0, AT, 0x1000);
	assert_int_equal(found(CLASS_DMA_TO_FREED_MEMORY), 0);
	dma(0, AT + 0x1000, 0x1000);
	assert_int_equal(found(CLASS_DMA_TO_FREED_MEMORY), 1);
	change(PARENT, CHANGE_UNDONE, CHANGE_FREED, VA, 0x4000);
	assert_false(event_wanted(&evs, EVENT_DMA));
}

static void stale(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x4000);
	change(PARENT, CHANGE_MOVED, VA + 0x100000, VA + 0x1000, 0x1000);
	change(PARENT, CHANGE_DISCARDED, 0, VA + 0x1000, 0x1000);
	assert_false(event_wanted(&evs, EVENT_DMA));
	change(PARENT, CHANGE_DISCARDED, 0, VA + 0x100000, 0x1000);
	dma(0, AT + 0x1000, 0x1000);
	assert_int_equal(found(CLASS_DMA_STALE_PAGE), 1);
	fault(AT + 0x3000, DMA_FAULT_GONE);
	assert_int_equal(found(CLASS_DMA_STALE_PAGE), 2);
}

/* Nonsense, which any client can say. */
static void nonsense(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x4000);
	change(PARENT, CHANGE_MOVED, VA + 1, VA, 0x4000);
	change(PARENT, CHANGE_MOVED, UINT64_MAX - 1, VA, 0x4000);
	change(PARENT, CHANGE_MOVED, 0, 0, 0);
	change(PARENT, CHANGE_UNDONE, UINT64_MAX, VA, 0x4000);
	change(PARENT, CHANGE_CHILD, PARENT, 0, 0);
	change(CHILD, CHANGE_CHILD, PARENT, 0, 0);
	change(PARENT, CHANGE_CHILD, CHILD, 0, 0);
	change(0, CHANGE_FREED, 0, VA, 0x4000);
	change(PARENT, CHANGE_FREED, 0, 0, UINT64_MAX);
	dma(0, AT, 8);
	assert_int_equal(found(CLASS_DMA_TO_FREED_MEMORY), 1);
}

static void forks(uint64_t parent, uint64_t child, uint64_t len)
{
	change(parent, CHANGE_FORKED, 0, VA, len);
	change(child, CHANGE_CHILD, parent, 0, 0);
}

static void driven_by_child(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x1000);
	map_at(PARENT, AT + 0x1000, VA + 0x1000, 0x1000); /* not private */
	forks(PARENT, CHILD, 0x1000);
	assert_true(event_wanted(&evs, EVENT_DMA));
	dma(PARENT, AT, 8);
	dma(OTHER, AT, 8);
	dma(0, AT, 8);
	dma(CHILD, AT + 0x1000, 8);
	assert_int_equal(found(CLASS_FORK_HAZARD), 0);
	dma(CHILD, AT, 8);
	assert_int_equal(found(CLASS_FORK_HAZARD), 1);
	ended(CHILD);
	assert_false(event_wanted(&evs, EVENT_DMA));
}

/* A child with memory of its own does as its parent does. */
static void at_home(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x1000);
	forks(PARENT, CHILD, 0x1000);
	map_at(CHILD, AT + 0x1000, VA, 0x1000);
	dma(CHILD, AT, 8);
	assert_int_equal(found(CLASS_FORK_HAZARD), 0);
}

static void left_by_parent(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x1000);
	forks(PARENT, CHILD, 0x1000);
	forks(CHILD, OTHER, 0x1000);
	ended(PARENT);
	ended(CHILD);
	dma(0, AT, 8); /* it may be about to close its descriptors */
	assert_int_equal(found(CLASS_FORK_HAZARD), 0);
	dma(OTHER, AT, 8);
	assert_int_equal(found(CLASS_FORK_HAZARD), 1);
}

static void unmapped_by_child(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x1000);
	forks(PARENT, CHILD, 0x1000);
	unmap(CHILD, AT, 0x1000);
	ended(CHILD);
	fault(AT, DMA_FAULT_UNMAPPED);
	assert_int_equal(found(CLASS_FORK_HAZARD), 1);
}

static void unmapped_by_parent(void **state)
{
	(void)state;
	map_at(PARENT, AT, VA, 0x1000);
	forks(PARENT, CHILD, 0x1000);
	unmap(PARENT, AT, 0x1000);
	fault(AT, DMA_FAULT_UNMAPPED);
	assert_int_equal(found(CLASS_DMA_USE_AFTER_UNMAP), 1);
}

static void near_limit(void **state)
{
	(void)state;
	pinned(PARENT, 89, 100 * PF_PAGE_SIZE);
	pinned(PARENT, 1000, UINT64_MAX);
	ended(PARENT);
	assert_int_equal(found(CLASS_PIN_NEAR_LIMIT), 0);
	pinned(PARENT, 90, 100 * PF_PAGE_SIZE);
	pinned(PARENT, 91, 100 * PF_PAGE_SIZE);
	assert_int_equal(found(CLASS_PIN_NEAR_LIMIT), 0);
	ended(PARENT);
	assert_int_equal(found(CLASS_PIN_NEAR_LIMIT), 1);
}

static void refused_at_limit(void **state)
{
	(void)state;
	refused(PARENT, VA, 0x8000);
	refused(CHILD, VA, 0x8000);
	/* One makes room and tries again, a part at a time; the other maps other memory. */
	map_at(PARENT, AT, VA + 0x1000, 0x1000);
	map_at(CHILD, AT + 0x1000, VA + 0x8000, 0x1000);
	pinned(PARENT, 4, 0x4000);
	ended(PARENT);
	assert_int_equal(found(CLASS_PIN_NEAR_LIMIT), 0);
	ended(CHILD);
	assert_int_equal(found(CLASS_PIN_NEAR_LIMIT), 1);
}

/* Without stacks nothing is known about places, and nothing is called forgotten. */
static void left_without_stack(void **state)
{
	(void)state;
	map_at(PARENT, 0, VA, 0x1000);
	for (unsigned int i = 1; i < 100; i++) {
		map_at(PARENT, i * 0x1000, VA, 0x1000);
		unmap(PARENT, i * 0x1000, 0x1000);
	}
	unmap(0, 0, 0x1000);
	check_end(c);
	assert_int_equal(found(CLASS_MAP_LEAK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(freed),
	    TEST(taken_back),
	    TEST(nested),
	    TEST(stale),
	    TEST(nonsense),
	    TEST(driven_by_child),
	    TEST(at_home),
	    TEST(left_by_parent),
	    TEST(unmapped_by_child),
	    TEST(unmapped_by_parent),
	    TEST(near_limit),
	    TEST(refused_at_limit),
	    TEST(left_without_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
