/* SPDX-License-Identifier: BSD-3-Clause */
/* A channel's states, and what software may do in each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>
#include <string.h>

#include "devices/ioat/ioat.h"
#include "host.h"

static struct host h;
static struct ring r;
static uint64_t src, dst;

static int setup(void **state)
{
	host_open(&h, "");
	ring_open(&r, &h, 0, 8);
	src = host_alloc(&h, 1 << 20, MACHINE_PAGE);
	dst = host_alloc(&h, 1 << 20, MACHINE_PAGE);
	for (unsigned int i = 0; i < 1 << 20; i++)
		host_ptr(&h, src)[i] = (uint8_t)(i * 7 + (i >> 8));
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void reg16(unsigned int reg, uint16_t val)
{
	host_write(&h, chan_reg(0, reg), 2, val);
}

static void command(uint8_t cmd)
{
	host_write(&h, chan_reg(0, IOAT_CHANCMD), 1, cmd);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANCMD), 1), 0);
}

static bool copied(uint32_t n)
{
	return !memcmp(host_ptr(&h, src), host_ptr(&h, dst), n);
}

/* The bytes that have arrived, given that none was zero before... and that the source has few zeros. */
static uint32_t arrived(void)
{
	uint32_t n = 1 << 20;

	while (n && !host_ptr(&h, dst)[n - 1])
		n--;
	return n;
}

static void one_copy(void **state)
{
	assert_int_equal(ring_state(&r), IOAT_ARMED);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANSTS), 8), IOAT_ARMED);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 5000), IOAT_IDLE);
	assert_true(copied(5000));
	assert_int_equal(host_ptr(&h, dst)[5000], 0);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANSTS), 8), r.base | IOAT_IDLE);
	assert_int_equal(ring_written(&r), r.base | IOAT_IDLE);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CDAR), 8), r.base);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_DMACOUNT), 2), 1);
}

/* Without the bit nothing is written; a later descriptor with it says how far the chain is. */
static void completion_when_asked(void **state)
{
	assert_int_equal(ring_run(&r, IOAT_OP_COPY << 24, src, dst, 64), IOAT_IDLE);
	assert_int_equal(ring_written(&r), ~0ULL);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_put(&r, IOAT_OP_COPY << 24, src, dst, 64);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_int_equal(ring_written(&r), ring_iova(&r, 1) | IOAT_ACTIVE);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANSTS), 8), ring_iova(&r, 2) | IOAT_IDLE);
}

/* DMACOUNT has 16 bits and goes on counting; the ring is walked many times. */
static void count_wraps(void **state)
{
	for (unsigned int n = 1; n <= 70000; n += 7) {
		for (unsigned int i = 0; i < 7; i++)
			ring_put(&r, i == 6 ? CTL_COPY : CTL_COPY | IOAT_CTL_NULL, src + n % 1000, dst, 8);
		ring_ring(&r);
		assert_int_equal(ring_wait(&r), IOAT_IDLE);
		assert_int_equal(ring_written(&r), ring_iova(&r, r.head - 1) | IOAT_IDLE);
		assert_memory_equal(host_ptr(&h, dst), host_ptr(&h, src + n % 1000), 8);
	}
}

static void same_count_is_nothing(void **state)
{
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
	memset(host_ptr(&h, dst), 0, 64);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_IDLE);
	loop_step(h.m.loop, false);
	assert_int_equal(host_ptr(&h, dst)[1], 0);
}

static void new_chain_counts_from_zero(void **state)
{
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, ring_iova(&r, 3));
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANSTS), 8), IOAT_ARMED);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_DMACOUNT), 2), 0);
	reg16(IOAT_DMACOUNT, 2);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_int_equal(ring_written(&r), ring_iova(&r, 4) | IOAT_IDLE);
}

/* As Linux writes it. */
static void chain_in_two_dwords(void **state)
{
	ring_put(&r, CTL_COPY, src, dst, 64);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, 0xdeadbeefdeadbe00);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 4, (uint32_t)r.base);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR) + 4, 4, r.base >> 32);
	assert_int_equal(ring_state(&r), IOAT_ARMED);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_true(copied(64));
}

static void halted_does_nothing(void **state)
{
	command(IOAT_CHANCMD_RESET);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	loop_step(h.m.loop, false);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	command(IOAT_CHANCMD_SUSPEND);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	assert_int_equal(arrived(), 0);
	assert_int_equal(ring_error(&r), 0);
	/* What was appended to no chain is forgotten with the next one. */
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, r.base);
	assert_int_equal(ring_state(&r), IOAT_ARMED);
	assert_int_equal(arrived(), 0);
}

/* Linux restarts a chain after a reset without writing these again. */
static void reset_keeps(void **state)
{
	reg16(IOAT_CHANCTRL, IOAT_CHANCTRL_ERR_COMP);
	command(IOAT_CHANCMD_RESET);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANCMP), 8), r.status);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANCTRL), 2), IOAT_CHANCTRL_ERR_COMP);
}

/* 16 descriptors of 1 MiB: more than one turn. Nothing of them is left when the reset returns. */
static void reset_in_flight(void **state)
{
	uint64_t was;

	for (unsigned int i = 0; i < 8; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	r.head = 16;
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	loop_step(h.m.loop, false);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	command(IOAT_CHANCMD_RESET);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	was = h.m.written;
	for (unsigned int i = 0; i < 50; i++)
		loop_step(h.m.loop, false);
	assert_int_equal(h.m.written, was);
	ring_arm(&r);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
}

static void function_reset_in_flight(void **state)
{
	uint64_t was;

	for (unsigned int i = 0; i < 8; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	pci_func_reset(h.m.f);
	was = h.m.written;
	for (unsigned int i = 0; i < 50; i++)
		loop_step(h.m.loop, false);
	assert_int_equal(h.m.written, was);
	assert_int_equal(h.m.faults, 0);
}

/* In the middle of a descriptor; it goes on where it stood, with every byte moved once. */
static void suspend_and_go_on(void **state)
{
	uint64_t was;

	for (unsigned int i = 0; i < 4; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	loop_step(h.m.loop, false);
	command(IOAT_CHANCMD_SUSPEND);
	assert_int_equal(ring_state(&r), IOAT_SUSPENDED);
	was = h.m.written;
	for (unsigned int i = 0; i < 20; i++)
		loop_step(h.m.loop, false);
	assert_int_equal(h.m.written, was);
	assert_int_equal(ring_state(&r), IOAT_SUSPENDED);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_true(copied(1 << 20));
	/* Four copies, and a completion or some. */
	assert_in_range(h.m.written, 4 << 20, (4 << 20) + 4 * 8);
	assert_int_equal(ring_written(&r), ring_iova(&r, 3) | IOAT_IDLE);
}

static void suspend_armed_and_idle(void **state)
{
	command(IOAT_CHANCMD_SUSPEND);
	assert_int_equal(ring_state(&r), IOAT_SUSPENDED);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, r.base);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
	command(IOAT_CHANCMD_SUSPEND);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANSTS), 8), r.base | IOAT_SUSPENDED);
	/* Nothing to go on with. */
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_SUSPENDED);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
}

static void bad_commands(void **state)
{
	static const uint8_t cmds[] = {0x01, 0x02, 0x08, 0x10, 0x24, 0x40, 0x80, 0xff};

	for (size_t i = 0; i < sizeof(cmds); i++) {
		ring_arm(&r);
		command(cmds[i]);
		assert_int_equal(ring_state(&r), IOAT_HALTED);
		assert_int_equal(ring_error(&r), IOAT_ERR_CHANCMD);
	}
	ring_arm(&r);
	command(0);
	assert_int_equal(ring_state(&r), IOAT_ARMED);
}

static void chain_while_active(void **state)
{
	for (unsigned int i = 0; i < 8; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, r.base);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_CHAINADDR);
}

static void error_bars_the_way(void **state)
{
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 0), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_LENGTH);
	command(IOAT_CHANCMD_RESET);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, r.base);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	reg16(IOAT_DMACOUNT, 1);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	host_write(&h, chan_reg(0, IOAT_CHANERR), 4, IOAT_ERR_LENGTH);
	assert_int_equal(ring_state(&r), IOAT_HALTED);
	host_write(&h, chan_reg(0, IOAT_CHAINADDR), 8, r.base);
	assert_int_equal(ring_state(&r), IOAT_ARMED);
}

/* A channel that recovers from an error is active, can be reset, and comes to its work in the end. */
static void recovery(void **state)
{
	for (unsigned int round = 0; round < 2; round++) {
		ring_arm(&r);
		assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 0), IOAT_HALTED);
		ring_arm(&r);
		ring_put(&r, CTL_COPY, src, dst, 64);
		ring_ring(&r);
		assert_int_equal(ring_state(&r), IOAT_ACTIVE);
		if (round) {
			assert_int_equal(ring_wait(&r), IOAT_IDLE);
			assert_true(copied(64));
			return;
		}
		command(IOAT_CHANCMD_RESET);
		assert_int_equal(ring_state(&r), IOAT_HALTED);
		assert_int_equal(arrived(), 0);
	}
}

/* A count that software takes back, or that never fits: bounded, and never stuck. */
static void count_goes_back(void **state)
{
	for (unsigned int i = 0; i < 8; i++)
		ring_put(&r, CTL_COPY, src, dst, 1 << 20);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	reg16(IOAT_DMACOUNT, 0);
	for (unsigned int i = 0; i < 50; i++)
		loop_step(h.m.loop, false);
	command(IOAT_CHANCMD_SUSPEND);
	assert_int_equal(ring_state(&r), IOAT_SUSPENDED);
	command(IOAT_CHANCMD_RESET);
	ring_arm(&r);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(one_copy, setup, teardown),
	    cmocka_unit_test_setup_teardown(completion_when_asked, setup, teardown),
	    cmocka_unit_test_setup_teardown(count_wraps, setup, teardown),
	    cmocka_unit_test_setup_teardown(same_count_is_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(new_chain_counts_from_zero, setup, teardown),
	    cmocka_unit_test_setup_teardown(chain_in_two_dwords, setup, teardown),
	    cmocka_unit_test_setup_teardown(halted_does_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset_keeps, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset_in_flight, setup, teardown),
	    cmocka_unit_test_setup_teardown(function_reset_in_flight, setup, teardown),
	    cmocka_unit_test_setup_teardown(suspend_and_go_on, setup, teardown),
	    cmocka_unit_test_setup_teardown(suspend_armed_and_idle, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_commands, setup, teardown),
	    cmocka_unit_test_setup_teardown(chain_while_active, setup, teardown),
	    cmocka_unit_test_setup_teardown(error_bars_the_way, setup, teardown),
	    cmocka_unit_test_setup_teardown(recovery, setup, teardown),
	    cmocka_unit_test_setup_teardown(count_goes_back, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
