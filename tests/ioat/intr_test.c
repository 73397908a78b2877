/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts: who asks for one, through which vector, and when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>

#include "host.h"

#define INT (CTL_COPY | IOAT_CTL_INT)

static struct host h;
static struct ring r[3];
static uint64_t src, dst;

static int setup(void **state)
{
	host_open(&h, "channels=3");
	for (unsigned int i = 0; i < 3; i++)
		ring_open(&r[i], &h, i, 8);
	src = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	dst = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void intrctrl(uint8_t v)
{
	host_write(&h, IOAT_INTRCTRL, 1, v);
}

static void rearm(unsigned int chan)
{
	host_write(&h, chan_reg(chan, IOAT_CHANCTRL), 2, IOAT_CHANCTRL_INT_DIS);
}

static void irqs_are(unsigned int a, unsigned int b, unsigned int c)
{
	assert_int_equal(h.m.irqs[0], a);
	assert_int_equal(h.m.irqs[1], b);
	assert_int_equal(h.m.irqs[2], c);
}

static void own_vectors(void **state)
{
	intrctrl(IOAT_INTRCTRL_MSIX);
	assert_int_equal(ring_run(&r[1], CTL_COPY, src, dst, 8), IOAT_IDLE);
	irqs_are(0, 0, 0);
	assert_int_equal(ring_run(&r[1], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(0, 1, 0);
	assert_int_equal(ring_run(&r[2], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(0, 1, 1);
	assert_int_equal(host_read(&h, IOAT_ATTNSTATUS, 4), 6);
	assert_int_equal(host_read(&h, IOAT_ATTNSTATUS, 4), 0);
}

/* [E7] 14.5.12: one interrupt each time the bit is cleared. */
static void one_at_a_time(void **state)
{
	intrctrl(IOAT_INTRCTRL_MSIX);
	for (unsigned int i = 0; i < 3; i++)
		ring_put(&r[0], INT, src, dst, 8);
	ring_ring(&r[0]);
	assert_int_equal(ring_wait(&r[0]), IOAT_IDLE);
	irqs_are(1, 0, 0);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANCTRL), 1) & IOAT_CHANCTRL_INT_DIS, 1);
	assert_int_equal(ring_run(&r[0], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(1, 0, 0);
	host_write(&h, chan_reg(0, IOAT_CHANCTRL), 2, 0); /* a zero changes nothing */
	assert_int_equal(ring_run(&r[0], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(1, 0, 0);
	rearm(0);
	irqs_are(1, 0, 0);
	assert_int_equal(ring_run(&r[0], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(2, 0, 0);
}

/* The completion is there when the interrupt is. */
static uint64_t seen;

static void look(struct pci_irq_sink *s, unsigned int vector)
{
	seen = ring_written(&r[0]);
}

static void after_the_completion(void **state)
{
	intrctrl(IOAT_INTRCTRL_MSIX);
	h.m.sink.msix = look;
	ring_put(&r[0], CTL_COPY, src, dst, 8);
	ring_put(&r[0], INT, src, dst, 8);
	ring_put(&r[0], CTL_COPY, src, dst, 8);
	ring_ring(&r[0]);
	assert_int_equal(ring_wait(&r[0]), IOAT_IDLE);
	assert_int_equal(seen, ring_iova(&r[0], 1) | IOAT_ACTIVE);
	assert_int_equal(ring_written(&r[0]), ring_iova(&r[0], 2) | IOAT_IDLE);
}

static void shared_vector(void **state)
{
	assert_int_equal(ring_run(&r[1], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(0, 0, 0);
	rearm(1);
	intrctrl(IOAT_INTRCTRL_MASTER);
	assert_int_equal(ring_run(&r[1], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(1, 0, 0);
	assert_int_equal(host_read(&h, IOAT_INTRCTRL, 1),
			 IOAT_INTRCTRL_MASTER | IOAT_INTRCTRL_STATUS | IOAT_INTRCTRL_INT);
	assert_int_equal(host_read(&h, IOAT_ATTNSTATUS, 4), 2);
	/* Reading INTRCTRL has closed the gate. */
	assert_int_equal(ring_run(&r[2], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(1, 0, 0);
	assert_int_equal(host_read(&h, IOAT_INTRCTRL, 1), IOAT_INTRCTRL_STATUS);
}

static void errors(void **state)
{
	intrctrl(IOAT_INTRCTRL_MSIX);
	assert_int_equal(ring_run(&r[2], INT, src, dst, 0), IOAT_HALTED);
	irqs_are(0, 0, 0);
	ring_arm(&r[2]);
	host_write(&h, chan_reg(2, IOAT_CHANCTRL), 2, IOAT_CHANCTRL_ERR_INT);
	assert_int_equal(ring_run(&r[2], CTL_COPY, src, dst, 0), IOAT_HALTED);
	irqs_are(0, 0, 1);
}

static void line(void **state)
{
	pci_msix_enable(h.m.f, false);
	assert_int_equal(ring_run(&r[0], INT, src, dst, 8), IOAT_IDLE);
	assert_false(h.m.line);
	intrctrl(IOAT_INTRCTRL_MASTER);
	assert_true(h.m.line);
	assert_int_equal(ring_run(&r[1], INT, src, dst, 8), IOAT_IDLE);
	assert_true(h.m.line);
	assert_int_equal(host_read(&h, IOAT_ATTNSTATUS, 4), 3);
	assert_false(h.m.line);
	rearm(0);
	assert_int_equal(ring_run(&r[0], INT, src, dst, 8), IOAT_IDLE);
	assert_true(h.m.line);
	/* Reading INTRCTRL takes it back, writing it gives it again: as Linux's handler does. */
	assert_int_equal(host_read(&h, IOAT_INTRCTRL, 1), 7);
	assert_false(h.m.line);
	assert_int_equal(host_read(&h, IOAT_ATTNSTATUS, 4), 1);
	intrctrl(7);
	assert_false(h.m.line);
	rearm(0);
	assert_int_equal(ring_run(&r[0], INT, src, dst, 8), IOAT_IDLE);
	assert_true(h.m.line);
	pci_func_reset(h.m.f);
	assert_false(h.m.line);
	assert_int_equal(h.m.edges, 3);
	irqs_are(0, 0, 0);
}

static void masked_vectors_pend(void **state)
{
	intrctrl(IOAT_INTRCTRL_MSIX);
	pci_msix_set_entry_masked(h.m.f, 1, true);
	assert_int_equal(ring_run(&r[1], INT, src, dst, 8), IOAT_IDLE);
	irqs_are(0, 0, 0);
	assert_int_equal(host_read(&h, IOAT_MSIX_PBA, 8), 2);
	pci_msix_set_entry_masked(h.m.f, 1, false);
	irqs_are(0, 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(own_vectors, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(after_the_completion, setup, teardown),
	    cmocka_unit_test_setup_teardown(shared_vector, setup, teardown),
	    cmocka_unit_test_setup_teardown(errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(line, setup, teardown),
	    cmocka_unit_test_setup_teardown(masked_vectors_pend, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
