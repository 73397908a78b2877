/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts: causes, vectors, what clears and masks itself, throttling, and the single interrupt without vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>

#include "host.h"

static struct host h;

static int setup(void **state)
{
	host_open(&h, "vectors=25");
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void multiple(uint32_t gpie)
{
	wr(&h, IGB_GPIE, IGB_GPIE_MULTIPLE | gpie);
}

static void software_causes(void **state)
{
	multiple(0);
	wr(&h, IGB_EICS, BIT(3));
	assert_int_equal(h.m.irqs[3], 0);
	assert_int_equal(rd(&h, IGB_EICR), BIT(3));
	assert_int_equal(rd(&h, IGB_EICR), 0);
	wr(&h, IGB_EIMS, BIT(3) | BIT(24));
	wr(&h, IGB_EICS, BIT(3));
	wr(&h, IGB_EICS, BIT(24));
	assert_int_equal(h.m.irqs[3], 1);
	assert_int_equal(h.m.irqs[24], 1);
	/* It stays until it is cleared, and is an edge. */
	wr(&h, IGB_EICS, BIT(3));
	assert_int_equal(h.m.irqs[3], 1);
	wr(&h, IGB_EICR, BIT(3));
	wr(&h, IGB_EICS, BIT(3));
	assert_int_equal(h.m.irqs[3], 2);
	wr(&h, IGB_EIMC, BIT(3));
	assert_int_equal(rd(&h, IGB_EIMS), BIT(24));
	wr(&h, IGB_EICR, ~0u);
	wr(&h, IGB_EICS, BIT(3));
	assert_int_equal(h.m.irqs[3], 2);
	/* What pends goes out when the mask opens. */
	wr(&h, IGB_EIMS, BIT(3));
	assert_int_equal(h.m.irqs[3], 3);
	wr(&h, IGB_EIMS, ~0u);
	assert_int_equal(rd(&h, IGB_EIMS), BIT(25) - 1);
}

/* 7.3.4, 8.8.5, 8.8.6. */
static void clears_and_masks_itself(void **state)
{
	multiple(IGB_GPIE_EIAME);
	wr(&h, IGB_EIAC, BIT(1));
	wr(&h, IGB_EIAM, BIT(2));
	wr(&h, IGB_EIMS, BIT(1) | BIT(2));
	for (unsigned int i = 1; i <= 3; i++) {
		wr(&h, IGB_EICS, BIT(1));
		assert_int_equal(h.m.irqs[1], i);
	}
	wr(&h, IGB_EICS, BIT(2));
	assert_int_equal(h.m.irqs[2], 1);
	assert_int_equal(rd(&h, IGB_EIMS), BIT(1));
	wr(&h, IGB_EICR, BIT(2));
	wr(&h, IGB_EICS, BIT(2));
	assert_int_equal(h.m.irqs[2], 1);
	wr(&h, IGB_EIMS, BIT(2));
	assert_int_equal(h.m.irqs[2], 2);
}

/* 7.3.1.2. */
static void queue_vectors(void **state)
{
	struct ring t[2], r;

	link_up(&h);
	multiple(0);
	wr(&h, IGB_EIAC, ~0u);
	wr(&h, IGB_EIMS, ~0u);
	wr(&h, IGB_IVAR + 4 * 1, (IGB_IVAR_VALID | 5) << 8 | (IGB_IVAR_VALID | 7u) << 24 | (IGB_IVAR_VALID | 6) << 16);
	tx_open(&t[0], &h, 1, 8);
	tx_open(&t[1], &h, 9, 8);
	rx_open(&r, &h, 9, 8, 2);
	wr(&h, IGB_MRQC, 0);
	for (unsigned int i = 0; i < 2; i++) {
		tx_put(&t[i], frame_put(&h, 60, 1), 60, CMD_ONE);
		ring_ring(&t[i]);
		assert_int_equal(h.m.irqs[5 + 2 * i], 1);
	}
	/* Without RS there is nothing to tell. */
	tx_put(&t[0], frame_put(&h, 60, 1), 60, CMD_ONE & ~IGB_TXD_RS);
	ring_ring(&t[0]);
	assert_int_equal(h.m.irqs[5], 1);
	assert_int_equal(h.m.irqs[6], 0);
	/* An entry that is not valid. */
	wr(&h, IGB_IVAR + 4 * 1, 5 << 8);
	tx_put(&t[0], frame_put(&h, 60, 1), 60, CMD_ONE);
	ring_ring(&t[0]);
	assert_int_equal(h.m.irqs[5], 1);
	assert_int_equal(rd(&h, IGB_ICR) & (IGB_ICR_TXDW | IGB_ICR_RXDW), 0);
}

static void receive_vector(void **state)
{
	struct ring r;

	link_up(&h);
	multiple(0);
	rx_open(&r, &h, 0, 8, 2);
	wr(&h, IGB_EIAC, ~0u);
	wr(&h, IGB_EIMS, ~0u);
	wr(&h, IGB_IVAR, IGB_IVAR_VALID | 9);
	far_send(&h, 60, 1);
	assert_int_equal(h.m.irqs[9], 1);
	far_send(&h, 60, 1);
	assert_int_equal(h.m.irqs[9], 2);
}

static void other_causes(void **state)
{
	multiple(0);
	wr(&h, IGB_IVAR_MISC, (IGB_IVAR_VALID | 4) << 8);
	wr(&h, IGB_EIAC, BIT(4));
	wr(&h, IGB_EIMS, BIT(4));
	link_up(&h);
	assert_int_equal(h.m.irqs[4], 0);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_LSC);
	wr(&h, IGB_IMS, IGB_ICR_LSC);
	net_set_up(h.far.net, false);
	host_settle(&h);
	assert_int_equal(h.m.irqs[4], 1);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_LSC);
	wr(&h, IGB_ICS, IGB_ICR_LSC);
	assert_int_equal(h.m.irqs[4], 2);
}

/* 8.8.7. */
static void icr_clears(void **state)
{
	wr(&h, IGB_ICS, IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_ICR), 0);
	wr(&h, IGB_IMS, IGB_ICR_LSC);
	wr(&h, IGB_ICS, IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_VMMB);
	wr(&h, IGB_GPIE, IGB_GPIE_NSICR);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_ICR), 0);
	wr(&h, IGB_ICS, IGB_ICR_LSC | IGB_ICR_VMMB);
	wr(&h, IGB_ICR, IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_ICR) & ~IGB_ICR_INTA, IGB_ICR_LSC);
}

static void single_vector(void **state)
{
	wr(&h, IGB_IMS, IGB_ICR_LSC);
	link_up(&h);
	assert_int_equal(h.m.irqs[0], 1);
	wr(&h, IGB_ICS, IGB_ICR_LSC);
	assert_int_equal(h.m.irqs[0], 1);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_LSC | IGB_ICR_INTA);
	wr(&h, IGB_ICS, IGB_ICR_LSC);
	assert_int_equal(h.m.irqs[0], 2);
}

static void pin(void **state)
{
	struct ring t;

	pci_msix_enable(h.m.f, false);
	link_up(&h);
	rd(&h, IGB_ICR);
	tx_open(&t, &h, 0, 8);
	wr(&h, IGB_IMS, IGB_ICR_TXDW | IGB_ICR_LSC);
	wr(&h, IGB_IAM, IGB_ICR_TXDW);
	tx_put(&t, frame_put(&h, 60, 1), 60, CMD_ONE);
	ring_ring(&t);
	assert_true(h.m.line);
	assert_int_equal(rd(&h, IGB_ICR), IGB_ICR_TXDW | IGB_ICR_INTA);
	assert_false(h.m.line);
	assert_int_equal(rd(&h, IGB_IMS), IGB_ICR_LSC);
	wr(&h, IGB_ICS, IGB_ICR_LSC);
	assert_true(h.m.line);
	wr(&h, IGB_IMC, IGB_ICR_LSC);
	assert_false(h.m.line);
	wr(&h, IGB_IMS, IGB_ICR_LSC);
	assert_true(h.m.line);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	assert_false(h.m.line);
}

/* 8.8.12: in one interval there is one; what came meanwhile comes after it. */
static void throttling(void **state)
{
	multiple(0);
	wr(&h, IGB_EITR + 4 * 2, 0x7ffc); /* 8 ms */
	assert_int_equal(rd(&h, IGB_EITR + 4 * 2), 0x7ffc);
	wr(&h, IGB_EIAC, ~0u);
	wr(&h, IGB_EIMS, ~0u);
	for (unsigned int i = 0; i < 100; i++)
		wr(&h, IGB_EICS, BIT(2));
	assert_in_range(h.m.irqs[2], 1, 99);
	for (unsigned int was = h.m.irqs[2]; rd(&h, IGB_EICS), h.m.irqs[2] == was;)
		if (!loop_step(h.m.loop, true))
			break;
	while (h.m.irqs[2] < 2)
		loop_step(h.m.loop, true);
	/* Others are not concerned. */
	wr(&h, IGB_EICS, BIT(3));
	assert_int_equal(h.m.irqs[3], 1);
	wr(&h, IGB_EICS, BIT(2));
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(software_causes), TEST(clears_and_masks_itself),
	    TEST(queue_vectors),   TEST(receive_vector),
	    TEST(other_causes),	   TEST(icr_clears),
	    TEST(single_vector),   TEST(pin),
	    TEST(throttling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
