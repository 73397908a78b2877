/* SPDX-License-Identifier: BSD-3-Clause */
/* MSI-X: the table and the PBA as memory, and delivery against a model over all states and random histories. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <linux/pci_regs.h>

#include "testdev.h"

#define N TESTDEV_VECTORS

static struct testdev t;

static int setup(void **state)
{
	testdev_init(&t);
	testdev_listen(&t);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return 0;
}

static int teardown(void **state)
{
	testdev_fini(&t);
	return 0;
}

static uint64_t rd(uint64_t off, unsigned int size)
{
	uint64_t v = 0x5555;

	assert_int_equal(pci_bar_read(&t.f, 0, off, size, &v), 0);
	return v;
}

static void wr(uint64_t off, unsigned int size, uint64_t v)
{
	assert_int_equal(pci_bar_write(&t.f, 0, off, size, v), 0);
}

static uint64_t entry(unsigned int v)
{
	return TESTDEV_TABLE + 16 * v;
}

static bool pending(unsigned int v)
{
	return rd(TESTDEV_PBA + v / 64 * 8, 8) >> v % 64 & 1;
}

static void set_control(uint16_t bits)
{
	pci_cfg_write(&t.f, t.f.msix_cap + PCI_MSIX_FLAGS, 2, bits);
}

/* ---- memory ---- */
static void table_starts_masked_and_keeps_what_is_written(void **state)
{
	for (unsigned int v = 0; v < N; v++) {
		assert_true(rd(entry(v), 8) == 0);
		assert_true(rd(entry(v) + 8, 8) == 1ULL << 32);
	}
	for (unsigned int v = 0; v < N; v++) {
		wr(entry(v), 4, 0xfee00000 + v * 4 + 3); /* the two lowest bits stay 0 */
		wr(entry(v) + 4, 4, v);
		wr(entry(v) + 8, 4, 0x4000 + v);
		wr(entry(v) + 12, 4, 0xffffffff); /* the upper 31 bits are reserved */
	}
	for (unsigned int v = 0; v < N; v++) {
		assert_true(rd(entry(v), 8) == ((uint64_t)v << 32 | (0xfee00000 + v * 4)));
		assert_true(rd(entry(v) + 8, 4) == 0x4000 + v);
		assert_true(rd(entry(v) + 12, 4) == 1);
	}
	wr(entry(69), 8, 0x123456789abcdef0);
	wr(entry(69) + 8, 8, 0xfffffffe87654321);
	assert_true(rd(entry(69), 8) == 0x123456789abcdef0);
	assert_true(rd(entry(69) + 8, 8) == 0x87654321);
	assert_int_equal(rd(entry(69) + 7, 1), 0x12);
	assert_int_equal(rd(entry(69) + 2, 2), 0x9abc);
	assert_int_equal(t.reads + t.writes, 0);
}

static void odd_table_accesses_change_nothing(void **state)
{
	static struct msix_entry before[N];

	memcpy(before, t.f.msix_table, sizeof(before));
	for (uint64_t off = TESTDEV_TABLE - 8; off < TESTDEV_TABLE + 40; off++) {
		for (unsigned int size = 1; size <= 8; size *= 2) {
			bool touches = off + size > TESTDEV_TABLE, aligned = !(off & (size - 1));
			unsigned int reads = t.reads, writes = t.writes;
			uint64_t v = rd(off, size);

			assert_int_equal(t.reads, reads + !touches);
			if (touches && !aligned)
				assert_true(v == ~0ULL >> (64 - 8 * size));
			if (touches && aligned && size >= 4)
				continue;
			wr(off, size, 0);
			assert_int_equal(t.writes, writes + !touches);
		}
	}
	assert_memory_equal(before, t.f.msix_table, sizeof(before));
}

static void pba_is_read_only_and_ends_where_it_should(void **state)
{
	wr(TESTDEV_PBA, 8, ~0ULL);
	wr(TESTDEV_PBA + 8, 4, ~0U);
	assert_true(rd(TESTDEV_PBA, 8) == 0);
	assert_true(rd(TESTDEV_PBA + 8, 8) == 0);
	assert_int_equal(t.reads + t.writes, 0);
	rd(TESTDEV_PBA + 16, 4);
	rd(TESTDEV_PBA - 4, 4);
	rd(entry(N), 4);
	wr(entry(N), 4, 1);
	assert_int_equal(t.reads, 3);
	assert_int_equal(t.writes, 1);
	pci_msix_enable(&t.f, true);
	pci_msix_raise(&t.f, 66);
	assert_int_equal(rd(TESTDEV_PBA + 8, 1), 4);
	assert_true(rd(TESTDEV_PBA + 8, 8) == 4);
	assert_int_equal(rd(TESTDEV_PBA + 9, 2), 0xffff);
}

static void impossible_layouts_are_refused(void **state)
{
	static const struct pci_ids ids = {};
	static const struct {
		unsigned int n, bar;
		uint32_t table, pba;
		int rc;
	} layouts[] = {
	    {0, 0, 0, 0x1000, -EINVAL},
	    {2049, 0, 0, 0x9000, -EINVAL},
	    {16, 6, 0, 0x1000, -EINVAL},
	    {16, 3, 0, 0x1000, -EINVAL}, /* no such BAR */
	    {16, 0, 4, 0x1000, -EINVAL}, /* misaligned */
	    {16, 0, 0, 0x1004, -EINVAL},
	    {16, 0, 0, 0xf8, -EINVAL}, /* overlap */
	    {16, 0, 0x1000, 0x10f8, -EINVAL},
	    {16, 0, 0x10000, 0, -EINVAL}, /* outside */
	    {16, 0, 0xff08, 0, -EINVAL},
	    {16, 0, 0, 0x10000, -EINVAL},
	    {65, 0, 0, 0xfff8, -EINVAL}, /* two words do not fit */
	    {16, 0, 0xfffffff8, 0, -EINVAL},
	    {2048, 0, 0, 0x8000, 0},
	    {16, 0, 0, 0x100, 0},
	    {64, 0, 0, 0xfff8, 0}, /* one word is enough */
	    {16, 0, 0xff00, 0xfef8, 0},
	};
	struct pci_func f;

	for (unsigned int i = 0; i < ARRAY_SIZE(layouts); i++) {
		assert_int_equal(pci_func_init(&f, t.f.ops, "x", &ids, &t.evs), 0);
		assert_int_equal(pci_add_bar(&f, 0, 0x10000, false, false), 0);
		assert_int_equal(pci_add_msix(&f, layouts[i].n, layouts[i].bar, layouts[i].table, layouts[i].pba),
				 layouts[i].rc);
		assert_int_equal(!!f.msix_cap, !layouts[i].rc);
		if (!layouts[i].rc)
			assert_int_equal(pci_add_msix(&f, 1, 0, 0x9000, 0xa000), -EINVAL); /* a second one */
		pci_func_fini(&f);
	}
}

/* A table at the very start and end of a BAR: the window's edges. */
static void tables_at_the_edges_are_served(void **state)
{
	static const struct pci_ids ids = {};
	static struct testdev u;
	struct pci_func *f = &u.f;
	uint64_t v;

	assert_int_equal(pci_func_init(f, t.f.ops, "x", &ids, &t.evs), 0);
	assert_int_equal(pci_add_bar(f, 0, 4096, false, false), 0);
	assert_int_equal(pci_add_msix(f, 1, 0, 0, 4088), 0);
	pci_cfg_write(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(pci_bar_read(f, 0, 8, 8, &v), 0);
	assert_true(v == 1ULL << 32);
	assert_int_equal(pci_bar_read(f, 0, 4088, 8, &v), 0);
	assert_true(v == 0);
	pci_func_fini(f);
}

/* ---- delivery ---- */

/* Every state of (enabled, function mask, bus master, vector mask) x raise, then each way out of being held back. */
static void every_state_delivers_holds_or_drops(void **state)
{
	for (unsigned int bits = 0; bits < 16; bits++) {
		bool on = bits & 1, fmask = bits & 2, master = bits & 4, vmask = bits & 8;
		bool goes = on && !fmask && master && !vmask;
		unsigned int v = bits * 4;

		pci_func_reset(&t.f);
		memset(t.irqs, 0, sizeof(t.irqs));
		t.events_irq = t.events_dropped = 0;
		testdev_command(&t, PCI_COMMAND_MEMORY | (master ? PCI_COMMAND_MASTER : 0));
		wr(entry(v) + 12, 4, vmask);
		set_control((on ? PCI_MSIX_FLAGS_ENABLE : 0) | (fmask ? PCI_MSIX_FLAGS_MASKALL : 0));
		pci_msix_raise(&t.f, v);
		pci_msix_raise(&t.f, v);
		assert_int_equal(t.irqs[v], goes ? 2 : 0);
		assert_int_equal(t.events_irq, goes ? 2 : 0);
		assert_int_equal(t.events_dropped, on ? 0 : 2);
		assert_int_equal(pending(v), on && !goes);

		/* Open the way: a held vector is delivered once, a dropped one never. */
		set_control(PCI_MSIX_FLAGS_ENABLE | (fmask ? PCI_MSIX_FLAGS_MASKALL : 0));
		testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		assert_int_equal(t.irqs[v], goes ? 2 : on && !fmask && !vmask);
		set_control(PCI_MSIX_FLAGS_ENABLE);
		assert_int_equal(t.irqs[v], goes ? 2 : on && !vmask);
		wr(entry(v) + 12, 4, 0);
		assert_int_equal(t.irqs[v], goes ? 2 : on);
		assert_int_equal(t.events_irq, t.irqs[v]);
		assert_false(pending(v));
		for (unsigned int u = 0; u < N; u++)
			assert_true(u == v || !t.irqs[u]);
	}
}

static void vectors_past_the_table_are_ignored(void **state)
{
	pci_msix_enable(&t.f, true);
	pci_msix_raise(&t.f, N);
	pci_msix_raise(&t.f, ~0U);
	pci_msix_set_entry_masked(&t.f, N, false);
	pci_msix_set_entry_masked(&t.f, ~0U, true);
	assert_true(rd(TESTDEV_PBA, 8) == 0);
	assert_true(rd(TESTDEV_PBA + 8, 8) == 0);
	assert_int_equal(t.events_irq + t.events_dropped, 0);
}

static void enabling_starts_masked_and_disabling_forgets(void **state)
{
	wr(entry(3) + 12, 4, 0);
	set_control(PCI_MSIX_FLAGS_MASKALL);
	pci_msix_enable(&t.f, true);
	assert_int_equal(pci_cfg_read(&t.f, t.f.msix_cap + 2, 2), PCI_MSIX_FLAGS_ENABLE | (N - 1));
	for (unsigned int v = 0; v < N; v++) {
		pci_msix_raise(&t.f, v);
		assert_int_equal(rd(entry(v) + 12, 4), 1);
		assert_true(pending(v));
	}
	pci_msix_set_entry_masked(&t.f, 3, false);
	assert_int_equal(t.irqs[3], 1);
	assert_int_equal(t.events_irq, 1);
	pci_msix_enable(&t.f, false);
	assert_int_equal(pci_cfg_read(&t.f, t.f.msix_cap + 2, 2), N - 1);
	pci_msix_enable(&t.f, true);
	for (unsigned int v = 0; v < N; v++)
		pci_msix_set_entry_masked(&t.f, v, false);
	assert_int_equal(t.events_irq, 1);
	/* The same through configuration space, where masks stay as they are. */
	pci_msix_set_entry_masked(&t.f, 5, true);
	pci_msix_raise(&t.f, 5);
	set_control(0);
	assert_false(pending(5));
	set_control(PCI_MSIX_FLAGS_ENABLE);
	pci_msix_raise(&t.f, 6);
	assert_int_equal(t.irqs[6], 1);
	pci_msix_set_entry_masked(&t.f, 5, false);
	assert_int_equal(t.irqs[5], 0);
}

static void nobody_listening_is_a_drop(void **state)
{
	pci_msix_enable(&t.f, true);
	pci_msix_set_entry_masked(&t.f, 1, false);
	t.f.sink = NULL;
	pci_msix_raise(&t.f, 1);
	assert_int_equal(t.events_dropped, 1);
	assert_false(pending(1));
}

/* A sink that raises and masks while it is being called. */
static void reentrant_msix(struct pci_irq_sink *s, unsigned int v)
{
	t.irqs[v]++;
	if (v == 10)
		pci_msix_set_entry_masked(&t.f, 11, true);
	if (v == 12 && t.irqs[12] < 3)
		pci_msix_raise(&t.f, 12);
	if (v == 13)
		pci_msix_enable(&t.f, false);
}

static void sink_may_call_back(void **state)
{
	pci_msix_enable(&t.f, true);
	t.sink.msix = reentrant_msix;
	testdev_command(&t, PCI_COMMAND_MEMORY);
	for (unsigned int v = 10; v < 20; v++) {
		pci_msix_set_entry_masked(&t.f, v, false);
		pci_msix_raise(&t.f, v);
	}
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(t.irqs[10], 1);
	assert_int_equal(t.irqs[11], 0);
	assert_int_equal(t.irqs[12], 3);
	assert_int_equal(t.irqs[13], 1);
	assert_int_equal(t.irqs[14], 0); /* MSI-X went off before it */
}

/* ---- the model: arrays of bool ---- */
struct model {
	bool on, fmask, master, mask[N], pend[N];
	unsigned int irqs[N];
};

static void model_settle(struct model *m)
{
	for (unsigned int v = 0; v < N; v++) {
		if (m->pend[v] && m->on && !m->fmask && m->master && !m->mask[v]) {
			m->pend[v] = false;
			m->irqs[v]++;
		}
	}
}

static uint32_t rnd(void)
{
	static uint64_t s = 0x2545f4914f6cdd1d;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s >> 16;
}

static void model_step(struct model *m)
{
	unsigned int v = rnd() % N, what = rnd() % 20;
	bool flag = rnd() & 1;

	if (what < 8) {
		pci_msix_raise(&t.f, v);
		m->pend[v] |= m->on;
	} else if (what < 12) {
		wr(entry(v) + 12, 4, flag);
		m->mask[v] = flag;
	} else if (what < 14) {
		pci_msix_set_entry_masked(&t.f, v, flag);
		m->mask[v] = flag;
	} else if (what < 16) {
		testdev_command(&t, PCI_COMMAND_MEMORY | (flag ? PCI_COMMAND_MASTER : 0));
		m->master = flag;
	} else if (what < 18) {
		m->fmask = flag;
		set_control((m->on ? PCI_MSIX_FLAGS_ENABLE : 0) | (flag ? PCI_MSIX_FLAGS_MASKALL : 0));
	} else if (what < 19) {
		m->on = flag || rnd() % 2;
		set_control((m->on ? PCI_MSIX_FLAGS_ENABLE : 0) | (m->fmask ? PCI_MSIX_FLAGS_MASKALL : 0));
		if (!m->on)
			memset(m->pend, 0, sizeof(m->pend));
	} else if (rnd() % 8 == 0) {
		m->on = true;
		m->fmask = false;
		memset(m->mask, true, sizeof(m->mask));
		memset(m->pend, false, sizeof(m->pend));
		pci_msix_enable(&t.f, true);
	}
	model_settle(m);
}

static void random_histories_match_the_model(void **state)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	m.master = true;
	memset(m.mask, true, sizeof(m.mask));
	for (unsigned int i = 0; i < 100000; i++) {
		model_step(&m);
		if (i % 16)
			continue;
		for (unsigned int v = 0; v < N; v++) {
			assert_int_equal(t.irqs[v], m.irqs[v]);
			assert_int_equal(pending(v), m.pend[v]);
			assert_int_equal(rd(entry(v) + 12, 4), m.mask[v]);
		}
	}
	assert_true(t.irqs[0] && t.irqs[63] && t.irqs[64] && t.irqs[69]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(table_starts_masked_and_keeps_what_is_written, setup, teardown),
	    cmocka_unit_test_setup_teardown(odd_table_accesses_change_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(pba_is_read_only_and_ends_where_it_should, setup, teardown),
	    cmocka_unit_test_setup_teardown(impossible_layouts_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(tables_at_the_edges_are_served, setup, teardown),
	    cmocka_unit_test_setup_teardown(every_state_delivers_holds_or_drops, setup, teardown),
	    cmocka_unit_test_setup_teardown(vectors_past_the_table_are_ignored, setup, teardown),
	    cmocka_unit_test_setup_teardown(enabling_starts_masked_and_disabling_forgets, setup, teardown),
	    cmocka_unit_test_setup_teardown(nobody_listening_is_a_drop, setup, teardown),
	    cmocka_unit_test_setup_teardown(sink_may_call_back, setup, teardown),
	    cmocka_unit_test_setup_teardown(random_histories_match_the_model, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
