/* SPDX-License-Identifier: BSD-3-Clause */
/* Function-level reset and power states. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <linux/pci_regs.h>

#include "testdev.h"

static struct testdev t;
static uint8_t fresh[PCI_CFG_SIZE];

static int setup(void **state)
{
	testdev_init(&t);
	testdev_listen(&t);
	memcpy(fresh, t.f.cfg, sizeof(fresh));
	return 0;
}

static int teardown(void **state)
{
	testdev_fini(&t);
	return 0;
}

/* In use: every writable bit flipped, interrupts on, one pending. */
static void use(void)
{
	for (unsigned int i = 0; i < PCI_CFG_SIZE; i++)
		if (t.f.wmask[i] && i != t.f.pm_cap + PCI_PM_CTRL)
			pci_cfg_write(&t.f, i, 1, ~t.f.cfg[i] & ~(i == t.f.exp_cap + PCI_EXP_DEVCTL + 1 ? 0x80 : 0));
	assert_int_equal(t.resets, 0);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_msix_enable(&t.f, true);
	pci_msix_set_entry_masked(&t.f, 2, false);
	pci_msix_raise(&t.f, 5);
	t.f.cfg[PCI_STATUS + 1] |= 0x20;
	assert_true(testdev_dma_master(t.f.dma));
}

static void assert_fresh(void)
{
	assert_int_equal(t.resets, 1);
	assert_false(t.master_in_reset);
	assert_false(testdev_dma_master(t.f.dma));
	assert_false(pci_mem_enabled(&t.f));
	assert_false(pci_bus_master(&t.f));
	assert_true(t.f.d0);
	assert_memory_equal(t.f.cfg, fresh, sizeof(fresh));
	assert_int_equal(t.events_irq, 0);
	assert_int_equal(t.events_dropped, 1); /* the one that the device raised in its reset */
	for (unsigned int v = 0; v < TESTDEV_VECTORS; v++) {
		assert_int_equal(t.f.msix_table[v].ctrl, 1);
		assert_int_equal(t.f.msix_table[v].addr, 0);
		assert_int_equal(t.irqs[v], 0);
	}
	assert_int_equal(t.f.msix_pba[0] | t.f.msix_pba[1], 0);
}

static void reset_clears_everything(void **state)
{
	use();
	pci_func_reset(&t.f);
	assert_fresh();
}

static void flr_by_each_access_size(void **state)
{
	unsigned int reg = t.f.exp_cap + PCI_EXP_DEVCTL;

	for (unsigned int size = 1; size <= 4; size *= 2) {
		use();
		pci_cfg_write(&t.f, size == 1 ? reg + 1 : reg, size, size == 1 ? 0x80 : 0x8000);
		assert_fresh();
		t.resets = t.events_dropped = 0;
	}
	/* The bit reads as 0 and its neighbours do not trigger. */
	pci_cfg_write(&t.f, reg, 2, 0x7fff);
	pci_cfg_write(&t.f, reg, 1, 0xff);
	pci_cfg_write(&t.f, reg + 2, 2, 0xffff);
	pci_cfg_write(&t.f, reg - 4, 4, 0xffffffff);
	pci_cfg_write(&t.f, reg + 4, 4, 0xffffffff);
	assert_int_equal(t.resets, 0);
	assert_int_equal(pci_cfg_read(&t.f, reg, 2) & 0x8000, 0);
}

static void flr_needs_the_capability(void **state)
{
	static const struct pci_ids ids = {};
	struct testdev u;

	testdev_init(&u);
	pci_func_fini(&u.f);
	assert_int_equal(pci_func_init(&u.f, t.f.ops, "x", &ids, &u.evs), 0);
	for (unsigned int i = 0; i < PCI_CFG_SIZE; i++)
		pci_cfg_write(&u.f, i, 1, 0xff);
	assert_int_equal(u.resets, 0);
	assert_true(u.f.decode);
	testdev_fini(&u);
}

static void set_power(unsigned int d)
{
	pci_cfg_write(&t.f, t.f.pm_cap + PCI_PM_CTRL, 2, d);
}

static unsigned int power(void)
{
	return pci_cfg_read(&t.f, t.f.pm_cap + PCI_PM_CTRL, 2) & 3;
}

static void d3hot_stops_decode_and_dma(void **state)
{
	unsigned int changes;
	uint64_t v;

	use();
	changes = t.command_changes;
	set_power(3);
	assert_int_equal(power(), 3);
	assert_int_equal(t.command_changes, changes + 1);
	assert_false(pci_mem_enabled(&t.f));
	assert_false(pci_bus_master(&t.f));
	assert_false(testdev_dma_master(t.f.dma));
	assert_int_equal(pci_bar_read(&t.f, 0, 0, 4, &v), -EIO);
	assert_int_equal(pci_bar_write(&t.f, 0, 0, 4, 0), -EIO);
	/* Configuration space answers; COMMAND still says what it said, and turns nothing on. */
	assert_int_equal(pci_cfg_read(&t.f, PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	testdev_command(&t, 0);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_false(pci_mem_enabled(&t.f));
	assert_false(testdev_dma_master(t.f.dma));
	/* No message leaves a sleeping function. */
	pci_msix_raise(&t.f, 2);
	assert_int_equal(t.irqs[2], 0);
	assert_int_equal(t.resets, 0);

	set_power(0);
	assert_fresh();
}

static void no_soft_reset_keeps_the_state(void **state)
{
	t.f.cfg[t.f.pm_cap + PCI_PM_CTRL] |= PCI_PM_CTRL_NO_SOFT_RESET;
	use();
	set_power(3);
	pci_msix_raise(&t.f, 2);
	assert_int_equal(t.irqs[2], 0);
	set_power(0);
	assert_int_equal(t.resets, 0);
	assert_true(pci_mem_enabled(&t.f));
	assert_true(testdev_dma_master(t.f.dma));
	assert_int_equal(t.irqs[2], 1);
}

static void states_that_are_not_there_are_discarded(void **state)
{
	static const unsigned int missing[] = {1, 2};

	use();
	for (unsigned int i = 0; i < ARRAY_SIZE(missing); i++) {
		set_power(0);
		testdev_command(&t, PCI_COMMAND_MEMORY);
		set_power(missing[i]);
		assert_int_equal(power(), 0);
		assert_true(pci_mem_enabled(&t.f));
		set_power(3);
		set_power(missing[i]);
		assert_int_equal(power(), 3);
		assert_false(pci_mem_enabled(&t.f));
	}
	/* The last return to D0 was a reset, entering D3hot again was none. */
	assert_int_equal(t.resets, 1);
}

static void reset_leaves_d3hot(void **state)
{
	use();
	set_power(3);
	pci_cfg_write(&t.f, t.f.exp_cap + PCI_EXP_DEVCTL, 2, 0x8000);
	assert_fresh();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(reset_clears_everything, setup, teardown),
	    cmocka_unit_test_setup_teardown(flr_by_each_access_size, setup, teardown),
	    cmocka_unit_test_setup_teardown(flr_needs_the_capability, setup, teardown),
	    cmocka_unit_test_setup_teardown(d3hot_stops_decode_and_dma, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_soft_reset_keeps_the_state, setup, teardown),
	    cmocka_unit_test_setup_teardown(states_that_are_not_there_are_discarded, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset_leaves_d3hot, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
