/* SPDX-License-Identifier: BSD-3-Clause */
/* BAR accesses: what reaches the device, what is refused, what listeners hear; BARs that are memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "base/guard.h"
#include "pci/barmem.h"
#include "testdev.h"

static struct testdev t;

static int setup(void **state)
{
	testdev_init(&t);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return 0;
}

static int teardown(void **state)
{
	testdev_fini(&t);
	return 0;
}

static void accesses_reach_the_device(void **state)
{
	static const uint64_t seen[] = {[1] = 0x88, [2] = 0x7788, [4] = 0x55667788, [8] = 0x1122334455667788};
	uint64_t v;

	for (unsigned int size = 1; size <= 8; size *= 2) {
		assert_int_equal(pci_bar_read(&t.f, 0, 0x1001, size, &v), 0);
		assert_true(v == seen[size]);
		assert_int_equal(t.last_off, 0x1001);
		assert_int_equal(t.last_size, size);
		assert_int_equal(pci_bar_write(&t.f, 2, 0xffff8, size, 0x1122334455667788), 0);
		assert_true(t.last_val == seen[size]);
		assert_int_equal(t.last_bar, 2);
		assert_int_equal(t.last_off, 0xffff8);
	}
	assert_int_equal(t.reads, 4);
	assert_int_equal(t.writes, 4);
}

static void impossible_ranges_are_refused(void **state)
{
	static const struct {
		unsigned int bar;
		uint64_t off;
		unsigned int size;
	} bad[] = {
	    {0, TESTDEV_BAR0_SIZE, 1},
	    {0, TESTDEV_BAR0_SIZE - 3, 4},
	    {0, TESTDEV_BAR0_SIZE - 7, 8},
	    {0, ~0ULL, 1},
	    {0, ~0ULL - 3, 4},
	    {0, ~0ULL, 8},
	    {0, 0, 0},
	    {0, 0, 3},
	    {0, 0, 5},
	    {0, 0, 16},
	    {0, 0, ~0U},
	    {1, 0, 4},
	    {3, 0, 1},
	    {6, 0, 4},
	    {~0U, 0, 4},
	};
	uint64_t v = 0x77;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(pci_bar_read(&t.f, bad[i].bar, bad[i].off, bad[i].size, &v), -EINVAL);
		assert_int_equal(pci_bar_write(&t.f, bad[i].bar, bad[i].off, bad[i].size, 1), -EINVAL);
	}
	assert_int_equal(v, 0x77);
	assert_int_equal(t.reads + t.writes, 0);
}

static void decode_off_is_eio(void **state)
{
	uint64_t v = 0x77;

	for (unsigned int bar = 0; bar <= 2; bar += 2) {
		testdev_command(&t, PCI_COMMAND_MASTER);
		assert_false(pci_mem_enabled(&t.f));
		assert_int_equal(pci_bar_read(&t.f, bar, 0, 4, &v), -EIO);
		assert_int_equal(pci_bar_write(&t.f, bar, 0, 4, 1), -EIO);
		assert_int_equal(pci_bar_read(&t.f, 0, TESTDEV_TABLE, 4, &v), -EIO);
		assert_int_equal(v, 0x77);
		assert_int_equal(t.reads + t.writes, bar ? 1 : 0);
		testdev_command(&t, PCI_COMMAND_MEMORY);
		assert_true(pci_mem_enabled(&t.f));
		assert_int_equal(pci_bar_write(&t.f, bar, 0, 4, 1), 0);
	}
}

static void command_changes_are_told_once(void **state)
{
	unsigned int n = t.command_changes;

	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(t.command_changes, n);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR);
	assert_int_equal(t.command_changes, n);
	testdev_command(&t, PCI_COMMAND_MEMORY);
	assert_int_equal(t.command_changes, n + 1);
	assert_false(pci_bus_master(&t.f));
	assert_false(testdev_dma_master(t.f.dma));
	testdev_command(&t, PCI_COMMAND_MASTER);
	assert_int_equal(t.command_changes, n + 2);
	assert_true(testdev_dma_master(t.f.dma));
	assert_false(pci_mem_enabled(&t.f));
}

static void listeners_hear_every_access(void **state)
{
	uint64_t v;

	testdev_listen(&t);
	assert_int_equal(pci_bar_write(&t.f, 2, 0x1000, 4, 0xffffffff12345678), 0);
	assert_int_equal(t.events_mmio, 1);
	assert_true(t.last_mmio.addr == (2ULL << 40 | 0x1000));
	assert_true(t.last_mmio.value == 0x12345678);
	assert_int_equal(t.last_mmio.flags, EVENT_WRITE);
	assert_int_equal(t.last_mmio.len, 4);
	assert_int_equal(t.last_mmio.who, 0x0100);
	assert_int_equal(pci_bar_read(&t.f, 0, 8, 2, &v), 0);
	assert_int_equal(t.events_mmio, 2);
	assert_true(t.last_mmio.addr == 8);
	assert_true(t.last_mmio.value == 0x7788);
	assert_int_equal(t.last_mmio.flags, 0);
	assert_int_equal(pci_bar_read(&t.f, 0, TESTDEV_TABLE + 12, 4, &v), 0);
	assert_int_equal(t.events_mmio, 3);
	assert_int_equal(pci_bar_read(&t.f, 0, TESTDEV_BAR0_SIZE, 2, &v), -EINVAL);
	testdev_command(&t, 0);
	assert_int_equal(pci_bar_read(&t.f, 0, 8, 2, &v), -EIO);
	assert_int_equal(t.events_mmio, 3);
}

static void memory_bars_are_memory(void **state)
{
	uint64_t v;
	char *mem;
	int fd;

	guard_install();
	assert_int_equal(pci_add_mem_bar(&t.f, 4, 8192, true, true), 0);
	fd = barmem_file(t.f.bar[4].mem);
	assert_true(fd >= 0);
	mem = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	testdev_command(&t, 0);
	testdev_command(&t, PCI_COMMAND_MEMORY);
	assert_int_equal(pci_bar_write(&t.f, 4, 8191, 1, 0x15a), 0);
	assert_int_equal(mem[8191], 0x5a);
	assert_int_equal(pci_bar_read(&t.f, 4, 8184, 8, &v), 0);
	assert_true(v == 0x5aULL << 56);
	assert_int_equal(t.reads + t.writes, 0);
	/* A client has cut it. */
	assert_int_equal(ftruncate(fd, 4096), 0);
	v = 7;
	assert_int_equal(pci_bar_read(&t.f, 4, 4094, 4, &v), -EIO);
	assert_int_equal(pci_bar_read(&t.f, 4, 4096, 4, &v), -EIO);
	assert_int_equal(v, 7);
	munmap(mem, 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(accesses_reach_the_device, setup, teardown),
	    cmocka_unit_test_setup_teardown(impossible_ranges_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(decode_off_is_eio, setup, teardown),
	    cmocka_unit_test_setup_teardown(command_changes_are_told_once, setup, teardown),
	    cmocka_unit_test_setup_teardown(listeners_hear_every_access, setup, teardown),
	    cmocka_unit_test_setup_teardown(memory_bars_are_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
