/* SPDX-License-Identifier: BSD-3-Clause */
/* The interrupt pin: when the line follows what the device wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>

#include "pci/migrate.h"
#include "testdev.h"

static struct testdev t;
static unsigned int rises, falls;

static void sink_intx(struct pci_irq_sink *s, bool level)
{
	rises += level;
	falls += !level;
}

static int setup(void **state)
{
	testdev_init(&t);
	pci_add_intx(&t.f);
	testdev_listen(&t);
	testdev_command(&t, PCI_COMMAND_MEMORY);
	t.sink.intx = sink_intx;
	rises = falls = 0;
	return 0;
}

static int teardown(void **state)
{
	testdev_fini(&t);
	return 0;
}

static void assert_line(unsigned int up, unsigned int down)
{
	assert_int_equal(rises, up);
	assert_int_equal(falls, down);
	assert_int_equal(t.events_irq, up);
	assert_int_equal(t.f.intx_level, up > down);
}

static bool status(void)
{
	return pci_cfg_read(&t.f, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

static void follows_the_device(void **state)
{
	assert_int_equal(pci_cfg_read(&t.f, PCI_INTERRUPT_PIN, 1), 1);
	assert_false(status());
	pci_intx_set(&t.f, true);
	pci_intx_set(&t.f, true);
	assert_line(1, 0);
	assert_true(status());
	pci_intx_set(&t.f, false);
	assert_line(1, 1);
	assert_false(status());
}

static void disabled_by_command(void **state)
{
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	pci_intx_set(&t.f, true);
	assert_line(0, 0);
	assert_true(status());
	testdev_command(&t, PCI_COMMAND_MEMORY);
	assert_line(1, 0);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	assert_line(1, 1);
}

static void replaced_by_msix(void **state)
{
	pci_intx_set(&t.f, true);
	pci_msix_enable(&t.f, true);
	assert_line(1, 1);
	pci_msix_enable(&t.f, false);
	assert_line(2, 1);
}

static void silent_in_d3(void **state)
{
	pci_intx_set(&t.f, true);
	pci_cfg_write(&t.f, t.f.pm_cap + PCI_PM_CTRL, 2, 3);
	assert_line(1, 1);
}

static void reset_takes_it_back(void **state)
{
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	pci_intx_set(&t.f, true);
	pci_func_reset(&t.f); /* allows the line again */
	assert_line(0, 0);
	assert_false(status());
}

static void pulled_out(void **state)
{
	pci_intx_set(&t.f, true);
	pci_func_set_away(&t.f, true);
	assert_line(1, 1);
}

static void stopped_for_migration(void **state)
{
	pci_stop(&t.f);
	pci_intx_set(&t.f, true);
	assert_line(0, 0);
	pci_unstop(&t.f);
	assert_line(1, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(follows_the_device),  T(disabled_by_command), T(replaced_by_msix),      T(silent_in_d3),
	    T(reset_takes_it_back), T(pulled_out),	    T(stopped_for_migration),
	};

	return cmocka_run_group_tests_name("pci-intx", tests, NULL, NULL);
}
