/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "host.h"

static struct host h;

static int setup(void **state)
{
	host_open(&h, "");
	host_enable(&h, 32, 0);
	host_io_queue(&h, 1, 64);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void read_gives_disk(void **state)
{
	uint64_t buf = host_alloc(&h, 2 * HOST_PAGE, HOST_PAGE);
	const uint8_t *p = host_ptr(&h, buf);

	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 3, 16, buf), NVME_OK);
	for (unsigned int i = 0; i < 16 * 512; i++)
		assert_int_equal(p[i], disk_byte(3 * 512 + i));
	assert_int_equal(h.irqs[1], 1);
}

static void write_reaches_file(void **state)
{
	uint64_t buf = host_alloc(&h, 2 * HOST_PAGE, HOST_PAGE);
	uint8_t seen[8192];

	memset(host_ptr(&h, buf), 0xa5, sizeof(seen));
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 7, 16, buf), NVME_OK);
	assert_int_equal(pread(h.disk, seen, sizeof(seen), 7 * 512), sizeof(seen));
	assert_memory_equal(seen, host_ptr(&h, buf), sizeof(seen));
	assert_int_equal(host_rw(&h, 1, NVME_IO_FLUSH, 0, 1, 0), NVME_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(read_gives_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(write_reaches_file, setup, teardown),
	};

	return cmocka_run_group_tests_name("nvme-io", tests, NULL, NULL);
}
