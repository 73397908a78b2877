/* SPDX-License-Identifier: BSD-3-Clause */
/* The EEPROM by its lines, as drivers write to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "host.h"

#define SK BIT(0)
#define CS BIT(1)
#define DI BIT(2)
#define DO BIT(3)

enum { WRITE = 2, READ = 3, DISABLE = 4, STATUS = 5, ENABLE = 6 };

static struct host h;

static int setup(void **state)
{
	host_open(&h, "");
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void lines(uint32_t set)
{
	wr(&h, IGB_EECD, (rd(&h, IGB_EECD) & ~(SK | CS | DI)) | set);
}

static void acquire(void)
{
	wr(&h, IGB_EECD, rd(&h, IGB_EECD) | IGB_EECD_REQ);
	assert_true(rd(&h, IGB_EECD) & IGB_EECD_GNT);
}

static void release(void)
{
	lines(CS);
	wr(&h, IGB_EECD, rd(&h, IGB_EECD) & ~IGB_EECD_REQ);
}

static void standby(void)
{
	lines(CS);
	lines(0);
}

static void out(uint32_t val, unsigned int bits)
{
	while (bits--) {
		uint32_t di = val >> bits & 1 ? DI : 0;

		lines(di);
		lines(di | SK);
		lines(di);
	}
}

static uint32_t in(unsigned int bits)
{
	uint32_t val = 0;

	while (bits--) {
		lines(SK);
		val = val << 1 | !!(rd(&h, IGB_EECD) & DO);
		lines(0);
	}
	return val;
}

static uint16_t word(unsigned int at)
{
	wr(&h, IGB_EERD, at << 2 | IGB_EERD_START);
	return rd(&h, IGB_EERD) >> 16;
}

static uint32_t status(void)
{
	standby();
	out(STATUS, 8);
	return in(8);
}

/* A command by itself. */
static void order(uint32_t op)
{
	standby();
	out(op, 8);
	standby();
}

static void put(unsigned int byte, const uint8_t *data, unsigned int n)
{
	out(WRITE, 8);
	out(byte, 16);
	for (unsigned int i = 0; i < n; i++)
		out(data[i], 8);
	standby();
}

static void reads(void **state)
{
	acquire();
	standby();
	out(READ, 8);
	out(2 * 0x3e, 16);
	for (unsigned int i = 0; i < 4; i++) {
		uint32_t low = in(8);

		assert_int_equal(low | in(8) << 8, word(0x3e + i));
	}
	/* Around the end. */
	standby();
	out(READ, 8);
	out(2 * IGB_NVM_WORDS - 1, 16);
	assert_int_equal(in(8), word(IGB_NVM_WORDS - 1) >> 8);
	assert_int_equal(in(8), word(0) & 0xff);
	release();
}

static void writes(void **state)
{
	acquire();
	assert_int_equal(status(), 0);
	order(ENABLE);
	assert_int_equal(status(), 2);
	standby();
	put(2 * 0x100, (uint8_t[]){0x34, 0x12, 0x78}, 3);
	assert_int_equal(word(0x100), 0x1234);
	assert_int_equal(word(0x101), 0xff78);
	/* Each write is enabled anew. */
	assert_int_equal(status(), 0);
	standby();
	put(2 * 0x100, (uint8_t[]){0, 0}, 2);
	assert_int_equal(word(0x100), 0x1234);
	order(ENABLE);
	order(DISABLE);
	put(2 * 0x100, (uint8_t[]){0, 0}, 2);
	assert_int_equal(word(0x100), 0x1234);
	release();
}

/* More than a page goes around in it; what has not come stays. */
static void pages(void **state)
{
	uint8_t data[34];

	for (unsigned int i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	acquire();
	order(ENABLE);
	put(2 * 0x108 + 8, data, 4);
	assert_int_equal(word(0x10b), 0xffff);
	assert_int_equal(word(0x10c), 0x0100);
	assert_int_equal(word(0x10d), 0x0302);
	assert_int_equal(word(0x10e), 0xffff);
	order(ENABLE);
	put(2 * 0x120, data, sizeof(data));
	assert_int_equal(word(0x120), 0x2120);
	assert_int_equal(word(0x121), 0x0302);
	assert_int_equal(word(0x12f), 0x1f1e);
	assert_int_equal(word(0x130), 0xffff);
	release();
}

static void not_before_it_is_asked_for(void **state)
{
	lines(CS);
	order(ENABLE);
	acquire();
	assert_int_equal(status(), 0);
	release();
}

/* What is half done when the chip is no longer selected is forgotten. */
static void half_a_command(void **state)
{
	acquire();
	standby();
	out(0, 5);
	order(ENABLE);
	assert_int_equal(status(), 2);
	standby();
	out(WRITE, 8);
	out(2 * 0x100, 16);
	out(0x5, 5);
	standby();
	assert_int_equal(word(0x100), 0xffff);
	/* One that nobody knows does nothing until then. */
	out(0x9f, 8);
	out(ENABLE, 8);
	assert_int_equal(in(8), 0);
	release();
}

static void the_address_is_taken_over(void **state)
{
	acquire();
	order(ENABLE);
	put(0, (uint8_t[]){2, 0, 0, 0, 0xaa, 0xbb}, 6);
	release();
	assert_int_equal(rd(&h, IGB_RAL + 4) & 0xffff, 0x0100);
	/* It outlives resets. */
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(rd(&h, IGB_RAL), 2);
	assert_int_equal(rd(&h, IGB_RAL + 4) & 0xffff, 0xbbaa);
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, 4, 2, 6);
	assert_int_equal(rd(&h, IGB_RAL + 4) & 0xffff, 0xbbaa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(reads, setup, teardown),
	    cmocka_unit_test_setup_teardown(writes, setup, teardown),
	    cmocka_unit_test_setup_teardown(pages, setup, teardown),
	    cmocka_unit_test_setup_teardown(not_before_it_is_asked_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(half_a_command, setup, teardown),
	    cmocka_unit_test_setup_teardown(the_address_is_taken_over, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
