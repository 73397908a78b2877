/* SPDX-License-Identifier: BSD-3-Clause */
/* BARs as other devices have them: writes that wait, reads that do not overtake them, and who may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "base/loop.h"
#include "mm/mm.h"
#include "pci/p2p.h"
#include "testdev.h"

static struct testdev t;
static struct mm_owner *owner;
static struct loop *loop;

static uint64_t no_limit(void *ctx)
{
	return UINT64_MAX;
}

static int setup(void **state)
{
	static const struct mm_owner_ops ops = {.limit = no_limit};

	testdev_init(&t);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	owner = mm_owner_new(&ops, NULL, NULL, 1, &t.evs);
	loop = loop_new();
	t.f.loop = loop;
	return 0;
}

static int teardown(void **state)
{
	testdev_fini(&t);
	mm_owner_put(owner);
	loop_free(loop);
	return 0;
}

static struct pages *bar_pages(unsigned int bar)
{
	struct pages *p;

	assert_int_equal(pci_bar_pages(&t.f, bar, 0, t.f.bar[bar].size, 0, false, owner, &p), 0);
	return p;
}

static int put(uint64_t off, const void *buf, uint64_t len)
{
	struct peer *p = &t.f.peer[0].peer;

	return p->ops->write(p, off, buf, len);
}

static int get(uint64_t off, void *buf, uint64_t len)
{
	struct peer *p = &t.f.peer[0].peer;

	return p->ops->read(p, off, buf, len);
}

static void writes_wait(void **state)
{
	struct pages *p = bar_pages(0);
	uint8_t data[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	uint8_t in[4];

	t.writes = t.reads = 0;
	/* Naturally aligned pieces of a dword at most: 1, 2, 4, 4, 4, 1. */
	assert_int_equal(put(1, data, 16), 0);
	assert_int_equal(t.writes, 0);
	loop_step(loop, false);
	assert_int_equal(t.writes, 6);
	assert_int_equal(t.last_off, 16);
	assert_int_equal(t.last_size, 1);
	assert_int_equal(t.last_val, 16);
	/* A read comes after what was posted before it. */
	assert_int_equal(put(0x40, data, 8), 0);
	assert_int_equal(t.writes, 6);
	assert_int_equal(get(0x40, in, 4), 0);
	assert_int_equal(t.writes, 8);
	assert_int_equal(t.reads, 1);
	loop_step(loop, false);
	assert_int_equal(t.writes, 8);
	/* More than can wait is carried out meanwhile, in order. */
	for (unsigned int i = 0; i < 40; i++) {
		static const uint8_t page[4096];

		assert_int_equal(put(0, page, 2048), 0);
	}
	assert_true(t.writes > 8);
	for (unsigned int i = 0; i < 40; i++)
		loop_step(loop, false);
	assert_int_equal(t.writes, 8 + 40 * 512);
	pages_put(p);
}

/* What waits when memory is switched off is not carried out when it is on again. */
static void revoked(void **state)
{
	struct pages *p = bar_pages(0), *q;
	uint32_t v = 0;

	t.writes = 0;
	assert_int_equal(put(0, &v, 4), 0);
	testdev_command(&t, PCI_COMMAND_MASTER);
	assert_true(pages_revoked(p));
	assert_int_equal(pci_bar_pages(&t.f, 0, 0, 4096, 0, false, owner, &q), -ENODEV);
	assert_int_equal(put(0, &v, 4), -EIO);
	assert_int_equal(get(0, &v, 4), -EIO);
	testdev_command(&t, PCI_COMMAND_MEMORY);
	loop_step(loop, false);
	assert_int_equal(t.writes, 0);
	pages_put(p);
	/* Again, by each of the other ways. */
	p = bar_pages(0);
	assert_int_equal(put(0, &v, 4), 0);
	pci_func_reset(&t.f);
	assert_true(pages_revoked(p));
	pages_put(p);
	testdev_command(&t, PCI_COMMAND_MEMORY);
	p = bar_pages(0);
	assert_int_equal(put(0, &v, 4), 0);
	pci_cfg_write(&t.f, t.f.pm_cap + PCI_PM_CTRL, 2, 3);
	assert_true(pages_revoked(p));
	pages_put(p);
	pci_cfg_write(&t.f, t.f.pm_cap + PCI_PM_CTRL, 2, 0);
	testdev_command(&t, PCI_COMMAND_MEMORY);
	p = bar_pages(0);
	assert_int_equal(put(0, &v, 4), 0);
	pci_func_set_away(&t.f, true);
	assert_true(pages_revoked(p));
	assert_int_equal(pci_bar_pages(&t.f, 0, 0, 4096, 0, false, owner, &q), -ENODEV);
	pages_put(p);
	pci_func_set_away(&t.f, false);
	loop_step(loop, false);
	assert_int_equal(t.writes, 0);
}

/* A device whose registers ring themselves keeps nobody from his turn. */
static struct pci_func_ops ringing;

static void ring(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	uint32_t v = 0;

	t.writes++;
	assert_int_equal(put(0, &v, 4), 0);
}

static void rings_itself(void **state)
{
	const struct pci_func_ops *ops = t.f.ops;
	struct pages *p = bar_pages(0);
	uint32_t v = 0;

	ringing = *ops;
	ringing.bar_write = ring;
	t.f.ops = &ringing;
	t.writes = 0;
	assert_int_equal(put(0, &v, 4), 0);
	for (unsigned int i = 0; i < 10; i++)
		loop_step(loop, false);
	assert_in_range(t.writes, 1, 10);
	t.f.ops = ops;
	pages_put(p);
}

static void ranges(void **state)
{
	struct pages *p;

	assert_int_equal(pci_bar_pages(&t.f, 6, 0, 4096, 0, false, owner, &p), -EINVAL);
	assert_int_equal(pci_bar_pages(&t.f, 1, 0, 4096, 0, false, owner, &p), -EINVAL);
	assert_int_equal(pci_bar_pages(&t.f, 0, 0x4000, 4096, 0, false, owner, &p), -EINVAL);
	assert_int_equal(pci_bar_pages(&t.f, 0, 0, 0x5000, 0, false, owner, &p), -EINVAL);
}

/* ---- rule B2 ---- */

static struct pci_func func(uint16_t domain, uint16_t bdf, unsigned int group)
{
	return (struct pci_func){.domain = domain, .bdf = bdf, .group = group};
}

static void policy(void **state)
{
	static const char *const bad[] = {"",
					  ":",
					  "01:00.0",
					  "01:00.0:",
					  ":01:00.0",
					  "all:",
					  "ALL",
					  "all:all:all",
					  "01:00.8:02:00.0",
					  "1:20.0:02:00.0",
					  "01:00.0 :02:00.0",
					  "x:all",
					  "001:00.0:all",
					  "01:00.0:02:00.0x",
					  "12345:01:00.0:all",
					  "01:00:all"};
	struct pci_func a = func(0, 0x0100, 1), b = func(0, 0x0200, 2), c = func(0, 0x0201, 2), d = func(1, 0x0100, 3);
	struct p2p_policy p = {0};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(p2p_allow(&p, bad[i]), -EINVAL);
	assert_int_equal(p.n, 0);
	/* Nobody, but those between whom nothing stands. */
	assert_false(p2p_allowed(NULL, &a, &b) || p2p_allowed(&p, &a, &b) || p2p_allowed(&p, &a, &d));
	assert_true(p2p_allowed(NULL, &b, &c) && p2p_allowed(&p, &a, &a));
	assert_int_equal(p2p_allow(&p, "01:00.0:0000:02:00.0"), 0);
	assert_true(p2p_allowed(&p, &a, &b));
	assert_false(p2p_allowed(&p, &b, &a) || p2p_allowed(&p, &a, &c) || p2p_allowed(&p, &d, &b));
	assert_int_equal(p2p_allow(&p, "0001:01:00.0:all"), 0);
	assert_true(p2p_allowed(&p, &d, &a) && p2p_allowed(&p, &d, &c));
	assert_false(p2p_allowed(&p, &a, &d));
	assert_int_equal(p2p_allow(&p, "all:02:00.1"), 0);
	assert_true(p2p_allowed(&p, &a, &c));
	assert_false(p2p_allowed(&p, &b, &a));
	assert_int_equal(p2p_allow(&p, "all"), 0);
	assert_true(p2p_allowed(&p, &b, &a));
	while (p.n < P2P_PAIRS_MAX)
		assert_int_equal(p2p_allow(&p, "all:all"), 0);
	assert_int_equal(p2p_allow(&p, "all"), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(writes_wait, setup, teardown),
	    {"rule_peer_posted_revoked", revoked, setup, teardown, NULL},
	    cmocka_unit_test_setup_teardown(rings_itself, setup, teardown),
	    cmocka_unit_test_setup_teardown(ranges, setup, teardown),
	    cmocka_unit_test(policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
