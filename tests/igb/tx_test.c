/* SPDX-License-Identifier: BSD-3-Clause */
/* Sending: rings, descriptors of both kinds, packets in pieces, write-back, and drivers that err. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/mii.h>
#include <string.h>

#include "host.h"

#define SIZE 64

static struct host h;
static struct ring t;

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	tx_open(&t, &h, 0, SIZE);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void expect(unsigned int frames, size_t len, unsigned int seed)
{
	uint8_t want[NET_FRAME_MAX];

	assert_int_equal(h.far.frames, frames);
	assert_int_equal(h.far.len, len);
	frame_make(want, len, seed);
	assert_memory_equal(h.far.frame, want, len);
}

static uint32_t stat(uint32_t off)
{
	return rd(&h, off);
}

static void one(void **state)
{
	tx_put(&t, frame_put(&h, 100, 1), 100, CMD_ONE);
	assert_null(ring_seen(&t));
	ring_ring(&t);
	expect(1, 100, 1);
	assert_int_equal(h.far.bursts, 1);
	assert_non_null(ring_seen(&t));
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 1);
	assert_int_equal(stat(IGB_STAT_GPTC), 1);
	assert_int_equal(stat(IGB_STAT_GPTC), 0);
	assert_int_equal(stat(IGB_STAT_GOTC), 104);
	assert_int_equal(stat(IGB_STAT_GOTC + 4), 0);
	assert_int_equal(stat(IGB_STAT_GOTC), 0);
	assert_int_equal(stat(IGB_STAT_PTC64 + 4), 1);
	assert_int_equal(rd(&h, IGB_QSTATS + IGB_PQGPTC), 1);
	assert_int_equal(rd(&h, IGB_QSTATS + IGB_PQGPTC), 1);
	assert_int_equal(h.misuses, 0);
}

static void round_and_round(void **state)
{
	for (unsigned int i = 0; i < 5 * SIZE; i++) {
		unsigned int n = i % 7 + 1;

		for (unsigned int k = 0; k < n; k++)
			tx_put(&t, PLAIN + 0x200000 + 256 * k, 60 + k, CMD_ONE);
		ring_ring(&t);
		for (unsigned int k = 0; k < n; k++)
			assert_non_null(ring_seen(&t));
		memset(t.desc, 0, SIZE * sizeof(*t.desc));
	}
	assert_int_equal(h.misuses, 0);
	assert_int_equal(stat(IGB_STAT_GPTC), h.far.frames);
}

static void pieces(void **state)
{
	uint64_t at = frame_put(&h, 1500, 2);

	tx_put(&t, at, 14, IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	tx_put(&t, at, 0, IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	tx_put(&t, at + 14, 1000, IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	ring_ring(&t);
	assert_int_equal(h.far.frames, 0);
	tx_put(&t, at + 1014, 486, CMD_ONE);
	ring_ring(&t);
	expect(1, 1500, 2);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 4);
	assert_int_equal(t.desc[3].d[3] & 1, 1);
	assert_int_equal(t.desc[0].d[3] & 1, 0);
}

/* A ring wraps in the middle of a packet. */
static void pieces_wrap(void **state)
{
	uint64_t at = frame_put(&h, 300, 3);

	for (unsigned int i = 0; i < SIZE - 2; i++)
		tx_put(&t, at, 60, CMD_ONE);
	ring_ring(&t);
	for (unsigned int i = 0; i < 3; i++)
		tx_put(&t, at + 100 * i, 100, i == 2 ? CMD_ONE : IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	ring_ring(&t);
	expect(SIZE - 1, 300, 3);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 1);
}

static void many_pieces(void **state)
{
	uint64_t at = frame_put(&h, 1000, 4);

	/* More than pieces are handed on, a byte or two each. */
	host_close(&h);
	host_open(&h, "");
	link_up(&h);
	tx_open(&t, &h, 0, 512);
	at = frame_put(&h, 400, 4);
	for (unsigned int i = 0; i < 200; i++)
		tx_put(&t, at + 2 * i, 2, i == 199 ? CMD_ONE : IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	ring_ring(&t);
	expect(1, 400, 4);
}

static void scattered(void **state)
{
	uint8_t frame[9000];

	frame_make(frame, sizeof(frame), 5);
	for (size_t i = 0; i < sizeof(frame); i++)
		*host_ptr(&h, SCATTERED + 100 + i) = frame[i];
	tx_put(&t, SCATTERED + 100, sizeof(frame), CMD_ONE);
	ring_ring(&t);
	expect(1, sizeof(frame), 5);
}

/* 7.2.2.1. */
static void legacy(void **state)
{
	tx_put(&t, frame_put(&h, 80, 6), 80, IGB_TXD_EOP | IGB_TXD_RS | IGB_TXD_IFCS);
	t.desc[0].d[3] = 0x12340000;
	ring_ring(&t);
	expect(1, 80, 6);
	assert_int_equal(t.desc[0].d[3], 0x12340001);
}

static void context(void **state)
{
	tx_put(&t, 0x1234, 0, IGB_TXD_DEXT | IGB_TXD_CONTEXT << 20);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	expect(1, 80, 6);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 2);
	assert_int_equal(h.misuses, 0);
}

/* 8.12.1 PSP. */
static void short_ones(void **state)
{
	tx_put(&t, frame_put(&h, 20, 7), 20, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(h.far.len, 60);
	assert_int_equal(h.far.frame[20], 0);
	wr(&h, IGB_TCTL, IGB_TCTL_EN);
	tx_put(&t, frame_put(&h, 20, 7), 20, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(h.far.frames, 1);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 2);
	tx_put(&t, PLAIN, 0, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 3);
}

static void too_long(void **state)
{
	tx_put(&t, PLAIN, NET_FRAME_MAX + 1, CMD_ONE);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	expect(1, 80, 6);
}

/* 7.2.3. */
static void head_write_back(void **state)
{
	uint64_t at = host_alloc(&h, 8, 8);
	uint32_t *head = (uint32_t *)host_ptr(&h, at);

	wr(&h, ring_reg(&t, IGB_TDWBAL), (uint32_t)at | IGB_TDWBAL_HEAD);
	wr(&h, ring_reg(&t, IGB_TDWBAH), (uint32_t)(at >> 32));
	for (unsigned int i = 0; i < 5; i++)
		tx_put(&t, frame_put(&h, 80, 6), 80, i == 4 ? CMD_ONE : CMD_ONE & ~IGB_TXD_RS);
	ring_ring(&t);
	assert_int_equal(*head, 5);
	assert_null(ring_seen(&t));
}

static void disabled(void **state)
{
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	wr(&h, IGB_TCTL, 0);
	ring_ring(&t);
	assert_int_equal(h.far.frames, 0);
	wr(&h, IGB_TCTL, IGB_TCTL_EN);
	assert_int_equal(h.far.frames, 1);
	wr(&h, ring_reg(&t, IGB_TXDCTL), 0);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(h.far.frames, 1);
	wr(&h, ring_reg(&t, IGB_TXDCTL), IGB_DCTL_ENABLE);
	assert_int_equal(h.far.frames, 2);
}

static void waits_for_link(void **state)
{
	net_set_up(h.far.net, false);
	host_settle(&h);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 0);
	net_set_up(h.far.net, true);
	host_settle(&h);
	expect(1, 80, 6);
}

/* The cable is full: nothing is lost, and nothing overtakes. */
static void waits_for_room(void **state)
{
	h.far.room = 2;
	for (unsigned int i = 0; i < 5; i++)
		tx_put(&t, frame_put(&h, 100 + i, i), 100 + i, CMD_ONE);
	ring_ring(&t);
	expect(2, 101, 1);
	assert_non_null(ring_seen(&t));
	assert_non_null(ring_seen(&t));
	assert_null(ring_seen(&t));
	h.far.room = 1;
	net_readable(h.far.net);
	host_settle(&h);
	expect(3, 102, 2);
	h.far.room = 10;
	net_readable(h.far.net);
	host_settle(&h);
	expect(5, 104, 4);
	assert_int_equal(stat(IGB_STAT_GPTC), 5);
}

static void all_queues(void **state)
{
	struct ring q[IGB_QUEUES];

	for (unsigned int i = 0; i < IGB_QUEUES; i++)
		tx_open(&q[i], &h, i, 512);
	wr(&h, IGB_TCTL, 0);
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		for (unsigned int k = 0; k < 511; k++)
			tx_put(&q[i], PLAIN + 0x300000, 64, CMD_ONE);
		ring_ring(&q[i]);
	}
	wr(&h, IGB_TCTL, IGB_TCTL_EN);
	/* One turn does not do it all. */
	assert_in_range(h.far.frames, 100, 1000);
	host_settle(&h);
	assert_int_equal(h.far.frames, 511 * IGB_QUEUES);
	for (unsigned int i = 0; i < IGB_QUEUES; i++)
		assert_int_equal(rd(&h, IGB_QSTATS + 0x100 * i + IGB_PQGPTC), 511);
}

/* ---- memory that is not there ---- */
static void data_fault(void **state)
{
	tx_put(&t, PLAIN, 64, CMD_ONE);
	tx_put(&t, NOWHERE, 64, CMD_ONE);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "TX queue 0 descriptor 1 data: not mapped"));
	expect(2, 80, 6);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 3);
}

static void ring_fault(void **state)
{
	wr(&h, ring_reg(&t, IGB_TXDCTL), 0);
	wr(&h, ring_reg(&t, IGB_TDBAL), (uint32_t)NOWHERE);
	wr(&h, ring_reg(&t, IGB_TXDCTL), IGB_DCTL_ENABLE);
	wr(&h, ring_reg(&t, IGB_TDT), 1);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "TX queue 0 descriptor 0 fetch: not mapped"));
	wr(&h, ring_reg(&t, IGB_TDT), 2);
	assert_int_equal(h.m.faults, 1);
	wr(&h, ring_reg(&t, IGB_TXDCTL), 0);
	wr(&h, ring_reg(&t, IGB_TDBAL), (uint32_t)t.base);
	wr(&h, ring_reg(&t, IGB_TDT), 0);
	wr(&h, ring_reg(&t, IGB_TDH), 0);
	wr(&h, ring_reg(&t, IGB_TXDCTL), IGB_DCTL_ENABLE);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	expect(1, 80, 6);
}

static void write_back_fault(void **state)
{
	wr(&h, ring_reg(&t, IGB_TXDCTL), 0);
	wr(&h, ring_reg(&t, IGB_TDBAL), (uint32_t)READONLY);
	*(union igb_desc *)host_ptr(&h, READONLY) = (union igb_desc){.d = {(uint32_t)PLAIN, 0, CMD_ONE | 64, 0}};
	wr(&h, ring_reg(&t, IGB_TXDCTL), IGB_DCTL_ENABLE);
	wr(&h, ring_reg(&t, IGB_TDT), 1);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "TX queue 0 descriptor 0 write-back"));
}

/* ---- drivers that err ---- */
static void tail_outside(void **state)
{
	wr(&h, ring_reg(&t, IGB_TDT), SIZE);
	assert_int_equal(h.misuses, 1);
	assert_string_equal(h.misuse, " TX queue 0 descriptor 64: a tail outside its ring");
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDT)), 0);
	wr(&h, ring_reg(&t, IGB_TDT), ~0u);
	assert_int_equal(h.misuses, 2);
	assert_int_equal(h.far.frames, 0);
}

static void reuses_too_early(void **state)
{
	/* Nothing is reported to a driver that does not ask for it. */
	for (unsigned int i = 0; i < SIZE - 1; i++)
		tx_put(&t, PLAIN, 64, CMD_ONE & ~IGB_TXD_RS);
	ring_ring(&t);
	assert_int_equal(h.far.frames, SIZE - 1);
	assert_int_equal(h.misuses, 0);
	tx_put(&t, PLAIN, 64, CMD_ONE & ~IGB_TXD_RS);
	ring_ring(&t);
	assert_int_equal(h.misuses, 1);
	assert_string_equal(h.misuse,
			    " TX queue 0 descriptor 0: the tail went past descriptors that had not been written back");
	/* Who looks at the head knows. */
	rd(&h, ring_reg(&t, IGB_TDH));
	tx_put(&t, PLAIN, 64, CMD_ONE & ~IGB_TXD_RS);
	ring_ring(&t);
	assert_int_equal(h.misuses, 1);
}

/* What the card has read of a descriptor is what it acts upon. */
static void changes_its_mind(void **state)
{
	uint64_t at = frame_put(&h, 80, 6);

	h.far.room = 1;
	for (unsigned int i = 0; i < 3; i++)
		tx_put(&t, at, 80, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(h.misuses, 0);
	t.desc[2].q[0] = NOWHERE;
	h.far.room = 10;
	net_readable(h.far.net);
	host_settle(&h);
	expect(3, 80, 6);
	assert_int_equal(h.m.faults, 0);
	assert_int_equal(h.misuses, 1);
	assert_string_equal(h.misuse,
			    " TX queue 0 descriptor 2: a descriptor was changed before it had been written back");
}

/* Whatever way the driver is told that descriptors are done, or is not. */
static void changes_what_it_had_begun(void **state)
{
	uint64_t at = frame_put(&h, 80, 6), head = host_alloc(&h, 8, 8);

	for (unsigned int way = 0; way < 3; way++) {
		wr(&h, ring_reg(&t, IGB_TDWBAL), way == 1 ? (uint32_t)head | IGB_TDWBAL_HEAD : 0);
		tx_put(&t, at, 40, IGB_TXD_DEXT | IGB_TXD_DATA << 20);
		ring_ring(&t);
		assert_int_equal(h.misuses, way);
		t.desc[2 * way].q[0] = NOWHERE;
		tx_put(&t, at + 40, 40, way == 2 ? CMD_ONE & ~IGB_TXD_RS : CMD_ONE);
		ring_ring(&t);
		expect(way + 1, 80, 6);
		assert_int_equal(h.misuses, way + 1);
		assert_non_null(strstr(h.misuse, "a descriptor was changed before it had been written back"));
	}
	assert_int_equal(h.m.faults, 0);
}

static void old_ring(void **state)
{
	wr(&h, ring_reg(&t, IGB_TDBAL), (uint32_t)NOWHERE);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	link_up(&h);
	wr(&h, IGB_TCTL, IGB_TCTL_EN);
	wr(&h, ring_reg(&t, IGB_TDLEN), 128);
	wr(&h, ring_reg(&t, IGB_TXDCTL), IGB_DCTL_ENABLE);
	wr(&h, ring_reg(&t, IGB_TDT), 1);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "TX queue 0 descriptor 0 fetch: not mapped"));
	assert_true(h.m.fault_old);
}

static void endless_packet(void **state)
{
	host_close(&h);
	host_open(&h, "");
	link_up(&h);
	tx_open(&t, &h, 0, 1024);
	for (unsigned int i = 0; i < 600; i++)
		tx_put(&t, PLAIN, 64, IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	ring_ring(&t);
	host_settle(&h);
	assert_int_equal(h.misuses, 1);
	tx_put(&t, PLAIN, 64, CMD_ONE);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	host_settle(&h);
	expect(1, 80, 6);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 602);
}

static void longest_packet(void **state)
{
	host_close(&h);
	host_open(&h, "");
	link_up(&h);
	tx_open(&t, &h, 0, 1024);
	for (unsigned int i = 0; i < 20; i++)
		tx_put(&t, PLAIN, 0xffff, i == 19 ? CMD_ONE : IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	tx_put(&t, frame_put(&h, 80, 6), 80, CMD_ONE);
	ring_ring(&t);
	host_settle(&h);
	expect(1, 80, 6);
}

static void moved_while_enabled(void **state)
{
	tx_put(&t, PLAIN, 64, IGB_TXD_DEXT | IGB_TXD_DATA << 20);
	ring_ring(&t);
	wr(&h, ring_reg(&t, IGB_TDLEN), 128);
	wr(&h, ring_reg(&t, IGB_TDH), 63);
	wr(&h, ring_reg(&t, IGB_TDT), 7);
	wr(&h, ring_reg(&t, IGB_TDLEN), 0);
	wr(&h, ring_reg(&t, IGB_TDT), 3);
	host_settle(&h);
}

/* 3.5.6.3. */
static void phy_loopback(void **state)
{
	struct ring r;

	rx_open(&r, &h, 0, 8, 2);
	wr(&h, IGB_MDIC, MII_BMCR << 16 | 1 << 21 | IGB_MDIC_WRITE | BMCR_LOOPBACK | BMCR_SPEED1000 | BMCR_FULLDPLX);
	assert_true(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	for (unsigned int i = 0; i < 10; i++)
		tx_put(&t, frame_put(&h, 200, i), 200, CMD_ONE);
	ring_ring(&t);
	assert_int_equal(h.far.frames, 0);
	for (unsigned int i = 0; i < 7; i++) {
		uint8_t want[200];

		frame_make(want, 200, i);
		assert_non_null(ring_seen(&r));
		assert_memory_equal(rx_data(&r, i), want, 200);
	}
	assert_int_equal(stat(IGB_STAT_MPC), 3);
	assert_int_equal(rd(&h, ring_reg(&t, IGB_TDH)), 10);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one),
	    TEST(round_and_round),
	    TEST(pieces),
	    TEST(pieces_wrap),
	    TEST(many_pieces),
	    TEST(scattered),
	    TEST(legacy),
	    TEST(context),
	    TEST(short_ones),
	    TEST(too_long),
	    TEST(head_write_back),
	    TEST(disabled),
	    TEST(waits_for_link),
	    TEST(waits_for_room),
	    TEST(all_queues),
	    TEST(data_fault),
	    TEST(ring_fault),
	    TEST(write_back_fault),
	    TEST(tail_outside),
	    TEST(reuses_too_early),
	    TEST(changes_its_mind),
	    TEST(changes_what_it_had_begun),
	    TEST(old_ring),
	    TEST(endless_packet),
	    TEST(longest_packet),
	    TEST(moved_while_enabled),
	    TEST(phy_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
