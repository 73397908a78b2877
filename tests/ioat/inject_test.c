/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults on purpose: what a channel makes of them, and that it goes on afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "devices/ioat/ioat.h"
#include "host.h"
#include "pci/inject.h"

static struct host h;
static struct ring r;
static uint64_t src, dst;
static struct inject_host nobody;

static int setup(void **state)
{
	host_open(&h, "channels=2");
	ring_open(&r, &h, 1, 16);
	src = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	dst = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	memset(host_ptr(&h, src), 0x77, MACHINE_PAGE);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static struct inject_spec spec(enum inject_kind kind)
{
	return (struct inject_spec){
	    .kind = kind, .bdf = INJECT_ANY, .chance = INJECT_ALWAYS, .times = 1, .queue = 1, .vector = INJECT_ANY};
}

static void add(struct inject_spec s, unsigned int id)
{
	assert_int_equal(inject_add(h.m.f, &s, id, h.m.loop, &nobody), 0);
}

static void steps(unsigned int n)
{
	while (n--)
		loop_step(h.m.loop, false);
}

static void stuck(void **state)
{
	struct inject_spec s = spec(INJECT_STUCK_QUEUE);

	s.after = 2;
	add(s, 1);
	for (unsigned int i = 0; i < 5; i++)
		ring_put(&r, CTL_COPY, src, dst + 64 * i, 64);
	ring_ring(&r);
	steps(20);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	assert_int_equal(ring_written(&r), ring_iova(&r, 1) | IOAT_ACTIVE);
	assert_int_equal(*host_ptr(&h, dst + 64), 0x77);
	assert_int_equal(*host_ptr(&h, dst + 128), 0);
	/* Doorbells do not help; taking the fault back does. */
	ring_put(&r, CTL_COPY, src, dst + 64 * 5, 64);
	ring_ring(&r);
	steps(20);
	assert_int_equal(*host_ptr(&h, dst + 128), 0);
	assert_true(inject_drop(h.m.f, 1));
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_int_equal(ring_written(&r), ring_iova(&r, 5) | IOAT_IDLE);
}

static void stuck_until_reset(void **state)
{
	add(spec(INJECT_STUCK_QUEUE), 1);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	steps(20);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	ring_arm(&r);
	assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
}

static void late(void **state)
{
	struct inject_spec s = spec(INJECT_DELAY);

	s.lasting = 50000000;
	add(s, 1);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_put(&r, CTL_COPY, src, dst + 64, 64);
	ring_ring(&r);
	/* The data is there, the completion is not, and the next descriptor waits. */
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	assert_int_equal(ring_written(&r), ~0ULL);
	assert_int_equal(*host_ptr(&h, dst), 0x77);
	assert_int_equal(*host_ptr(&h, dst + 64), 0);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_int_equal(ring_written(&r), ring_iova(&r, 1) | IOAT_IDLE);
	assert_int_equal(*host_ptr(&h, dst + 64), 0x77);
}

static void late_and_suspended(void **state)
{
	struct inject_spec s = spec(INJECT_DELAY);

	s.lasting = 1000000000000;
	add(s, 1);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	assert_int_equal(ring_state(&r), IOAT_ACTIVE);
	host_write(&h, chan_reg(1, IOAT_CHANCMD), 1, IOAT_CHANCMD_SUSPEND);
	assert_int_equal(ring_state(&r), IOAT_SUSPENDED);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_IDLE);
	assert_int_equal(ring_written(&r), r.base | IOAT_IDLE);
}

static void corrupt(void **state)
{
	for (unsigned int field = 0; field < INJECT_FIELDS; field++) {
		struct inject_spec s = spec(INJECT_CORRUPT);
		uint64_t got;

		s.field = field;
		s.seed = 5 + field;
		ring_arm(&r);
		add(s, field + 1);
		assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
		got = ring_written(&r);
		if (field == INJECT_FIELD_STATUS)
			assert_true((got ^ (r.base | IOAT_IDLE)) - 1 < 7);
		else if (field == INJECT_FIELD_ID)
			assert_true(got % 64 == IOAT_IDLE && got - IOAT_IDLE != r.base);
		else
			assert_true(got != (r.base | IOAT_IDLE));
		/* The register knows better. */
		assert_int_equal(host_read(&h, chan_reg(1, IOAT_CHANSTS), 8), r.base | IOAT_IDLE);
		assert_int_equal(ring_run(&r, CTL_COPY, src, dst, 64), IOAT_IDLE);
		assert_int_equal(ring_written(&r), ring_iova(&r, 1) | IOAT_IDLE);
	}
}

static void wrong_address(void **state)
{
	struct inject_spec s = spec(INJECT_WRONG_DMA);

	s.has_addr = true;
	s.addr = 0x4000;
	add(s, 1);
	ring_put(&r, CTL_COPY | IOAT_CTL_NULL, src, dst, 64);
	ring_put(&r, CTL_COPY, src, dst, 64);
	ring_ring(&r);
	assert_int_equal(ring_wait(&r), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_WRITE_DATA);
	assert_non_null(strstr(h.m.fault_line, "fault addr 0x4000 (64 bytes), CH1 DESC 1 "));
	assert_int_equal(*host_ptr(&h, dst), 0);
}

static void lost_interrupt(void **state)
{
	struct inject_spec s = spec(INJECT_LOST_IRQ);

	s.queue = INJECT_ANY;
	add(s, 1);
	host_write(&h, IOAT_INTRCTRL, 1, IOAT_INTRCTRL_MSIX);
	assert_int_equal(ring_run(&r, CTL_COPY | IOAT_CTL_INT, src, dst, 64), IOAT_IDLE);
	assert_int_equal(h.m.irqs[1], 0);
	host_write(&h, chan_reg(1, IOAT_CHANCTRL), 2, IOAT_CHANCTRL_INT_DIS);
	assert_int_equal(ring_run(&r, CTL_COPY | IOAT_CTL_INT, src, dst, 64), IOAT_IDLE);
	assert_int_equal(h.m.irqs[1], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(stuck, setup, teardown),
	    cmocka_unit_test_setup_teardown(stuck_until_reset, setup, teardown),
	    cmocka_unit_test_setup_teardown(late, setup, teardown),
	    cmocka_unit_test_setup_teardown(late_and_suspended, setup, teardown),
	    cmocka_unit_test_setup_teardown(corrupt, setup, teardown),
	    cmocka_unit_test_setup_teardown(wrong_address, setup, teardown),
	    cmocka_unit_test_setup_teardown(lost_interrupt, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
