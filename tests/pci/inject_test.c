/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults on purpose: when each kind strikes, what it does, that a seed gives the same ones again, and taking back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "base/loop.h"
#include "pci/inject.h"
#include "testdev.h"

#define OCCASIONS 4000

static struct testdev t;
static struct loop *loop;
static struct pci_func_ops ops;
static unsigned int resumed;

static struct {
	struct inject_host h;
	unsigned int n[INJECT_KINDS];
} host;

static void act(struct inject_host *h, struct pci_func *f, enum inject_kind kind)
{
	assert_ptr_equal(f, &t.f);
	host.n[kind]++;
}

static void resume(struct pci_func *f)
{
	resumed++;
}

static int setup(void **state)
{
	testdev_init(&t);
	testdev_listen(&t);
	ops = *t.f.ops;
	ops.resume = resume;
	t.f.ops = &ops;
	t.f.admin_queues = 1;
	loop = loop_new();
	loop_set_spin_max(loop, 0);
	memset(&host, 0, sizeof(host));
	host.h.act = act;
	resumed = 0;
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	testdev_fini(&t);
	loop_free(loop);
	return 0;
}

static struct inject_spec fault(enum inject_kind kind)
{
	return (struct inject_spec){.kind = kind,
				    .bdf = INJECT_ANY,
				    .chance = INJECT_ALWAYS,
				    .times = 1,
				    .queue = INJECT_ANY,
				    .vector = INJECT_ANY};
}

static void add(const struct inject_spec *s, unsigned int id)
{
	assert_int_equal(inject_add(&t.f, s, id, loop, &host.h), 0);
}

static void settle(void)
{
	for (unsigned int i = 0; i < 4; i++)
		loop_step(loop, false);
}

/* Runs the loop until the condition is true; a hang is the test runner's to end. */
#define UNTIL(cond)                                                                                                    \
	while (!(cond))                                                                                                \
	loop_step(loop, true)

static void without_any_nothing_happens(void **state)
{
	struct inject_fate fate;
	uint64_t iova = 0x1000;

	assert_null(t.f.inject);
	assert_true(inject_command(&t.f, 1, 7));
	assert_false(inject_completion(&t.f, 1, 7, &fate));
	assert_false(inject_stuck(&t.f, 1));
	assert_false(inject_irq(&t.f, 0));
	inject_dma(&t.f, 1, &iova);
	assert_int_equal(iova, 0x1000);
	inject_reset(&t.f, INJECT_ANY);
	assert_false(inject_drop(&t.f, 3));
}

/* The third to the sixth command of queue 1, and no other. */
static void counts_its_occasions(void **state)
{
	struct inject_spec s = fault(INJECT_CORRUPT);
	struct inject_fate fate;

	s.after = 2;
	s.times = 4;
	s.queue = 1;
	s.field = INJECT_FIELD_RESULT;
	add(&s, 1);
	for (unsigned int i = 0; i < 10; i++) {
		assert_true(inject_command(&t.f, 2, i));
		assert_true(inject_command(&t.f, 1, i));
		assert_false(inject_completion(&t.f, 2, i, &fate));
		assert_int_equal(inject_completion(&t.f, 1, i, &fate), i >= 2 && i < 6);
		if (i < 2 || i >= 6)
			continue;
		assert_true(fate.corrupt);
		assert_int_equal(fate.field, INJECT_FIELD_RESULT);
		assert_true(fate.noise);
		assert_int_equal(fate.delay, 0);
		/* Once is enough. */
		assert_false(inject_completion(&t.f, 1, i, &fate));
	}
}

static void admin_queues_have_to_be_named(void **state)
{
	struct inject_spec s = fault(INJECT_DELAY);
	struct inject_fate fate;

	s.times = INJECT_ALWAYS;
	s.lasting = 5;
	add(&s, 1);
	assert_true(inject_command(&t.f, 0, 1));
	assert_false(inject_completion(&t.f, 0, 1, &fate));
	s.queue = 0;
	s.lasting = 7;
	add(&s, 2);
	assert_true(inject_command(&t.f, 0, 1));
	assert_true(inject_completion(&t.f, 0, 1, &fate));
	assert_int_equal(fate.delay, 7);
}

/* What strikes at p = 0.05 in so many commands, and the noise, as one number per command: 0 if nothing did. */
static void play(uint64_t seed, enum inject_kind kind, uint64_t out[OCCASIONS])
{
	struct inject_spec s = fault(kind);

	s.chance = (uint64_t)(0.05 * 0x1p64);
	s.times = INJECT_ALWAYS;
	s.seed = seed;
	add(&s, 9);
	for (unsigned int i = 0; i < OCCASIONS; i++) {
		struct inject_fate fate;
		uint64_t iova = 0x12345000;

		out[i] = 0;
		assert_true(inject_command(&t.f, 1, i));
		inject_dma(&t.f, 1, &iova);
		if (inject_completion(&t.f, 1, i, &fate))
			out[i] = fate.noise;
		if (iova != 0x12345000)
			out[i] = iova;
	}
	assert_true(inject_drop(&t.f, 9));
	assert_null(t.f.inject);
}

static void a_seed_gives_the_same_again(void **state)
{
	static const enum inject_kind kinds[] = {INJECT_CORRUPT, INJECT_WRONG_DMA};
	static uint64_t a[OCCASIONS], b[OCCASIONS];

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++) {
		unsigned int hits = 0, common = 0, others = 0;

		play(7, kinds[k], a);
		play(7, kinds[k], b);
		assert_memory_equal(a, b, sizeof(a));
		play(8, kinds[k], b);
		for (unsigned int i = 0; i < OCCASIONS; i++) {
			hits += a[i] != 0;
			others += b[i] != 0;
			common += a[i] && b[i];
		}
		/* 200 expected, 14 is the deviation; and 10 in common by chance. */
		assert_in_range(hits, 100, 300);
		assert_in_range(others, 100, 300);
		assert_in_range(common, 0, 50);
	}
}

static void wrong_addresses(void **state)
{
	struct inject_spec s = fault(INJECT_WRONG_DMA);
	uint64_t iova = 0x7fff12345678;

	add(&s, 1);
	inject_dma(&t.f, 1, &iova);
	/* One bit, and not within the page. */
	assert_int_equal(__builtin_popcountll(iova ^ 0x7fff12345678), 1);
	assert_int_equal(iova & 0xfff, 0x678);
	assert_true(inject_drop(&t.f, 1));
	s.has_addr = true;
	s.addr = 0xdead000;
	add(&s, 2);
	inject_dma(&t.f, 1, &iova);
	assert_int_equal(iova, 0xdead000);
	iova = 0x1000;
	inject_dma(&t.f, 1, &iova);
	assert_int_equal(iova, 0x1000);
}

static void lost_interrupts(void **state)
{
	struct inject_spec s = fault(INJECT_LOST_IRQ);

	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_msix_enable(&t.f, true);
	pci_msix_set_entry_masked(&t.f, 1, false);
	pci_msix_set_entry_masked(&t.f, 2, false);
	s.after = 1;
	s.vector = 2;
	add(&s, 1);
	for (unsigned int i = 0; i < 3; i++) {
		pci_msix_raise(&t.f, 1);
		pci_msix_raise(&t.f, 2);
	}
	assert_int_equal(t.irqs[1], 3);
	assert_int_equal(t.irqs[2], 2);
	/* It is lost, and does not pend. */
	assert_int_equal(t.f.msix_pba[0], 0);
}

static void stuck_queues(void **state)
{
	struct inject_spec s = fault(INJECT_STUCK_QUEUE);

	s.after = 3;
	s.times = 2;
	add(&s, 1);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(inject_command(&t.f, 1, i));
	assert_false(inject_stuck(&t.f, 1));
	assert_false(inject_command(&t.f, 1, 3));
	assert_true(inject_stuck(&t.f, 1));
	assert_false(inject_stuck(&t.f, 2));
	/* A new queue of that number is not stuck. */
	inject_reset(&t.f, 1);
	assert_false(inject_stuck(&t.f, 1));
	assert_false(inject_command(&t.f, 2, 0));
	inject_reset(&t.f, 1);
	assert_true(inject_stuck(&t.f, 2));
	assert_int_equal(resumed, 0);
	assert_true(inject_drop(&t.f, 1));
	assert_int_equal(resumed, 1);
	assert_false(inject_stuck(&t.f, 2));
}

static void stuck_for_a_time(void **state)
{
	struct inject_spec s = fault(INJECT_STUCK_QUEUE);

	s.lasting = 1000000;
	add(&s, 1);
	assert_false(inject_command(&t.f, 1, 3));
	UNTIL(resumed);
	assert_false(inject_stuck(&t.f, 1));
	assert_true(inject_command(&t.f, 1, 3));
}

static void nothing_before_its_time(void **state)
{
	struct inject_spec s = fault(INJECT_CORRUPT);
	struct inject_status st;
	struct inject_fate fate;

	s.at = 3600ull * 1000000000;
	add(&s, 1);
	assert_true(inject_command(&t.f, 1, 1));
	assert_false(inject_completion(&t.f, 1, 1, &fate));
	assert_true(inject_status(&t.f, 0, &st));
	assert_true(st.waiting);
	assert_int_equal(st.seen, 0);
	assert_false(inject_status(&t.f, 1, &st));
	s.at = 1000000;
	add(&s, 2);
	UNTIL(inject_status(&t.f, 1, &st) && !st.waiting);
	assert_true(inject_command(&t.f, 1, 2));
	assert_true(inject_completion(&t.f, 1, 2, &fate));
	assert_true(inject_status(&t.f, 1, &st));
	assert_int_equal(st.struck, 1);
}

/* Never from within the device that takes a command. */
static void the_host_acts_from_the_loop(void **state)
{
	struct inject_spec s = fault(INJECT_RESET);

	s.after = 1;
	s.on_occasion = true;
	add(&s, 1);
	settle();
	assert_true(inject_command(&t.f, 1, 1));
	settle();
	assert_int_equal(host.n[INJECT_RESET], 0);
	assert_true(inject_command(&t.f, 1, 2));
	assert_int_equal(host.n[INJECT_RESET], 0);
	settle();
	assert_int_equal(host.n[INJECT_RESET], 1);
	s = fault(INJECT_REMOVE);
	add(&s, 2);
	assert_int_equal(host.n[INJECT_REMOVE], 0);
	settle();
	assert_int_equal(host.n[INJECT_REMOVE], 1);
	s.at = 1000000;
	add(&s, 3);
	UNTIL(host.n[INJECT_REMOVE] == 2);
}

static void a_link_comes_up_again(void **state)
{
	struct inject_spec s = fault(INJECT_LINK_DOWN);

	s.lasting = 1000000;
	add(&s, 1);
	UNTIL(host.n[INJECT_LINK_UP]);
	assert_int_equal(host.n[INJECT_LINK_DOWN], 1);
	/* Taken back while it is down. */
	s.lasting = 3600ull * 1000000000;
	add(&s, 2);
	UNTIL(host.n[INJECT_LINK_DOWN] == 2);
	assert_true(inject_drop(&t.f, 2));
	assert_int_equal(host.n[INJECT_LINK_UP], 2);
}

static void a_reset_forgets_what_was_under_way(void **state)
{
	struct inject_spec s = fault(INJECT_CORRUPT);
	struct inject_fate fate;

	s.times = INJECT_ALWAYS;
	add(&s, 1);
	assert_true(inject_command(&t.f, 1, 1));
	assert_true(inject_command(&t.f, 2, 1));
	inject_reset(&t.f, 1);
	assert_false(inject_completion(&t.f, 1, 1, &fate));
	assert_true(inject_completion(&t.f, 2, 1, &fate));
	assert_true(inject_command(&t.f, 2, 1));
	pci_func_reset(&t.f);
	assert_false(inject_completion(&t.f, 2, 1, &fate));
	/* A device that never completes does not make it grow without bound. */
	for (unsigned int i = 0; i < 100000; i++)
		assert_true(inject_command(&t.f, 1, i));
}

static void away(void **state)
{
	uint64_t val = 0;

	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_msix_enable(&t.f, true);
	pci_msix_set_entry_masked(&t.f, 1, false);
	pci_func_set_away(&t.f, true);
	assert_int_equal(t.resets, 1);
	assert_false(testdev_dma_master(t.f.dma));
	assert_int_equal(pci_cfg_read(&t.f, PCI_VENDOR_ID, 2), 0xffff);
	assert_int_equal(pci_cfg_read(&t.f, PCI_COMMAND, 4), 0xffffffff);
	assert_int_equal(pci_cfg_read(&t.f, 0x40, 1), 0xff);
	assert_int_equal(pci_bar_read(&t.f, 0, 0, 8, &val), 0);
	assert_true(val == ~0ull);
	assert_int_equal(pci_bar_read(&t.f, 0, TESTDEV_TABLE, 4, &val), 0);
	assert_int_equal(val, 0xffffffff);
	assert_int_equal(pci_bar_write(&t.f, 0, 0, 4, 5), 0);
	assert_int_equal(t.reads, 0);
	assert_int_equal(t.writes, 0);
	pci_msix_raise(&t.f, 1);
	assert_int_equal(t.irqs[1], 0);
	pci_func_set_away(&t.f, false);
	assert_true(testdev_dma_master(t.f.dma));
	assert_int_equal(pci_cfg_read(&t.f, PCI_VENDOR_ID, 2), 0x1b36);
	pci_msix_raise(&t.f, 1);
	assert_int_equal(t.irqs[1], 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(without_any_nothing_happens),
	    TEST(counts_its_occasions),
	    TEST(admin_queues_have_to_be_named),
	    TEST(a_seed_gives_the_same_again),
	    TEST(wrong_addresses),
	    TEST(lost_interrupts),
	    TEST(stuck_queues),
	    TEST(stuck_for_a_time),
	    TEST(nothing_before_its_time),
	    TEST(the_host_acts_from_the_loop),
	    TEST(a_link_comes_up_again),
	    TEST(a_reset_forgets_what_was_under_way),
	    TEST(away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
