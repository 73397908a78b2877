/* SPDX-License-Identifier: BSD-3-Clause */
/* Receiving: buffers, descriptors of both kinds, filters, and what happens where there is no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <linux/pci_regs.h>

#include "host.h"

static struct host h;
static struct ring r;

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	rx_open(&r, &h, 0, 16, 2);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void expect(unsigned int n, size_t len, unsigned int seed)
{
	uint8_t want[NET_FRAME_MAX];

	frame_make(want, len, seed);
	assert_memory_equal(rx_data(&r, n), want, len);
}

static void one(void **state)
{
	const union igb_desc *t;

	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	t = ring_seen(&r);
	assert_non_null(t);
	assert_int_equal(t->d[2] & 3, IGB_RXD_DD | IGB_RXD_EOP);
	assert_int_equal(t->d[3], 100);
	expect(0, 100, 1);
	assert_int_equal(rd(&h, ring_reg(&r, IGB_RDH)), 1);
	assert_int_equal(rd(&h, IGB_STAT_GPRC), 1);
	assert_int_equal(rd(&h, IGB_STAT_GORC), 104);
	assert_int_equal(rd(&h, IGB_STAT_GORC + 4), 0);
	assert_int_equal(rd(&h, IGB_STAT_GORC), 0);
	assert_int_equal(rd(&h, IGB_STAT_PRC64 + 4), 1);
	assert_int_equal(rd(&h, IGB_QSTATS + IGB_PQGPRC), 1);
}

static void sizes(void **state)
{
	static const size_t len[] = {60, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514, 2000};
	static const uint32_t class[6] = {1, 1, 2, 2, 2, 3};

	for (size_t i = 0; i < ARRAY_SIZE(len); i++)
		assert_int_equal(far_send(&h, len[i], 1), NET_TAKEN);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(rd(&h, IGB_STAT_PRC64 + 4 * i), class[i]);
}

static void round_and_round(void **state)
{
	for (unsigned int i = 0; i < 200; i++) {
		for (unsigned int k = 0; k < i % 5 + 1; k++)
			assert_int_equal(far_send(&h, 60 + i + k, i + k), NET_TAKEN);
		for (unsigned int k = 0; k < i % 5 + 1; k++) {
			unsigned int at = r.seen;

			assert_int_equal(ring_seen(&r)->d[3], 60 + i + k);
			expect(at, 60 + i + k, i + k);
			rx_give(&r, 1);
		}
		assert_null(ring_seen(&r));
	}
	assert_int_equal(h.misuses, 0);
}

/* 7.1.3: a frame in as many buffers as it takes. */
static void many_buffers(void **state)
{
	uint8_t want[9000];
	const union igb_desc *t;
	size_t off = 0;

	frame_make(want, sizeof(want), 3);
	assert_int_equal(far_send(&h, sizeof(want), 3), NET_TAKEN);
	for (unsigned int i = 0; i < 5; i++) {
		t = ring_seen(&r);
		assert_non_null(t);
		assert_int_equal(t->d[3], i == 4 ? 808 : 2048);
		assert_int_equal(!!(t->d[2] & IGB_RXD_EOP), i == 4);
		assert_memory_equal(rx_data(&r, i), want + off, t->d[3]);
		off += t->d[3];
	}
	assert_null(ring_seen(&r));
	/* Ten are left; eleven would be needed for two such frames and one more. */
	assert_int_equal(far_send(&h, sizeof(want), 3), NET_TAKEN);
	assert_int_equal(far_send(&h, sizeof(want), 3), NET_TAKEN);
	assert_int_equal(far_send(&h, 60, 3), NET_FULL);
}

/* 8.10.2: without a size of its own, RCTL's. */
static void small_buffers(void **state)
{
	wr(&h, ring_reg(&r, IGB_SRRCTL), IGB_RX_ADVANCED << 25);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) | 3 << 16);
	assert_int_equal(far_send(&h, 600, 3), NET_TAKEN);
	assert_int_equal(ring_seen(&r)->d[3], 256);
	assert_int_equal(ring_seen(&r)->d[3], 256);
	assert_int_equal(ring_seen(&r)->d[3], 88);
}

static void legacy(void **state)
{
	wr(&h, ring_reg(&r, IGB_SRRCTL), 2);
	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	assert_int_equal(r.desc[0].q[0], r.buffers);
	assert_int_equal(r.desc[0].d[2] & 0xffff, 100);
	assert_int_equal(r.desc[0].d[3], 3);
	expect(0, 100, 1);
}

/* 8.10.1 SECRC. */
static void fcs(void **state)
{
	static const uint8_t crc[4] = {0x88, 0x2f, 0x10, 0x92};
	uint8_t *p;

	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) & ~IGB_RCTL_SECRC);
	assert_int_equal(far_send_to(&h, "ff:ff:ff:ff:ff:ff", -1, 60), NET_TAKEN);
	assert_int_equal(ring_seen(&r)->d[3], 64);
	p = host_ptr(&h, r.buffers);
	/* The CRC over a frame and its FCS is the same for all frames (IEEE 802.3 3.2.9). */
	assert_int_not_equal(memcmp(p + 60, crc, 4), 0);
	{
		uint32_t c = ~0u;

		for (int i = 0; i < 64; i++) {
			c ^= p[i];
			for (int k = 0; k < 8; k++)
				c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
		}
		assert_int_equal(c, 0xdebb20e3);
	}
}

/* ---- length ---- */
static void lengths(void **state)
{
	wr(&h, IGB_RLPML, 3000);
	assert_int_equal(far_send(&h, 2996, 1), NET_TAKEN);
	assert_int_equal(far_send(&h, 2997, 1), NET_DROPPED);
	assert_int_equal(rd(&h, IGB_STAT_ROC), 1);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) & ~IGB_RCTL_LPE);
	assert_int_equal(far_send(&h, 1514, 1), NET_TAKEN);
	assert_int_equal(far_send(&h, 1515, 1), NET_DROPPED);
	assert_int_equal(far_send_to(&h, HOST_MAC, 5, 1518), NET_TAKEN);
	assert_int_equal(far_send_to(&h, HOST_MAC, 5, 1519), NET_DROPPED);
}

/* ---- filters ---- */
static void set_rctl(uint32_t bits)
{
	wr(&h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_SECRC | bits);
}

static bool takes(const char *dst)
{
	enum net_verdict v = far_send_to(&h, dst, -1, 60);

	assert_int_not_equal(v, NET_FULL);
	if (v == NET_TAKEN)
		rx_give(&r, 1);
	return v == NET_TAKEN;
}

static void addresses(void **state)
{
	set_rctl(0);
	assert_true(takes(HOST_MAC));
	assert_false(takes("02:00:00:00:00:02"));
	assert_false(takes("ff:ff:ff:ff:ff:ff"));
	assert_false(takes("01:00:5e:00:00:01"));
	wr(&h, IGB_RAL + 8, 0x00000002);
	wr(&h, IGB_RAL + 12, IGB_RAH_AV | 0x0200);
	assert_true(takes("02:00:00:00:00:02"));
	wr(&h, IGB_RAL + 12, 0x0200);
	assert_false(takes("02:00:00:00:00:02"));
	/* The last of 24. */
	wr(&h, IGB_RAL_MORE + 8 * 7, 0x005e0001);
	wr(&h, IGB_RAL_MORE + 8 * 7 + 4, IGB_RAH_AV | 0x0100);
	assert_true(takes("01:00:5e:00:00:01"));
	set_rctl(IGB_RCTL_BAM);
	assert_true(takes("ff:ff:ff:ff:ff:ff"));
	set_rctl(IGB_RCTL_UPE);
	assert_true(takes("02:00:00:00:00:03"));
	assert_false(takes("01:00:5e:00:00:03"));
	set_rctl(IGB_RCTL_MPE);
	assert_true(takes("01:00:5e:00:00:03"));
	assert_false(takes("02:00:00:00:00:03"));
	assert_int_equal(rd(&h, IGB_STAT_BPRC), 1);
	assert_int_equal(rd(&h, IGB_STAT_MPRC), 2);
}

/* 8.10.16: bits 47 to 36 of the address, or those from 35, 34 or 32 on. */
static void multicast_table(void **state)
{
	static const uint32_t hash[] = {0xcba >> 0, (0xcba9 >> 3) & 0xfff, (0xcba9 >> 2) & 0xfff, 0xba9};

	for (unsigned int mo = 0; mo < 4; mo++) {
		set_rctl(mo << 12);
		assert_false(takes("01:00:5e:00:a9:cb"));
		wr(&h, IGB_MTA + 4 * (hash[mo] >> 5), 1u << (hash[mo] & 31));
		assert_true(takes("01:00:5e:00:a9:cb"));
		assert_false(takes("00:00:5e:00:a9:cb"));
		wr(&h, IGB_MTA + 4 * (hash[mo] >> 5), 0);
	}
}

static void vlans(void **state)
{
	assert_int_equal(far_send_to(&h, HOST_MAC, 100, 60), NET_TAKEN);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) | IGB_RCTL_VFE);
	assert_int_equal(far_send_to(&h, HOST_MAC, 100, 60), NET_DROPPED);
	assert_int_equal(far_send_to(&h, HOST_MAC, -1, 60), NET_TAKEN);
	wr(&h, IGB_VFTA + 4 * (100 >> 5), 1 << (100 & 31));
	assert_int_equal(far_send_to(&h, HOST_MAC, 100, 60), NET_TAKEN);
	assert_int_equal(far_send_to(&h, HOST_MAC, 101, 60), NET_DROPPED);
	assert_int_equal(far_send_to(&h, HOST_MAC, 0x7000 | 100, 60), NET_TAKEN);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) | IGB_RCTL_CFIEN);
	assert_int_equal(far_send_to(&h, HOST_MAC, 0x7000 | 100, 60), NET_DROPPED);
}

/* ---- no room ---- */
static void fill_ring(void)
{
	for (unsigned int i = 0; i < 15; i++)
		assert_int_equal(far_send(&h, 60, i), NET_TAKEN);
}

static void waits(void **state)
{
	fill_ring();
	assert_int_equal(far_send(&h, 60, 15), NET_FULL);
	assert_int_equal(far_send(&h, 60, 15), NET_FULL);
	assert_int_equal(rd(&h, IGB_STAT_RNBC), 1);
	rx_give(&r, 1);
	host_settle(&h);
	assert_int_equal(h.far.writables, 1);
	assert_int_equal(far_send(&h, 60, 15), NET_TAKEN);
	assert_int_equal(rd(&h, ring_reg(&r, IGB_RQDPC)), 0);
}

static void drops(void **state)
{
	wr(&h, ring_reg(&r, IGB_SRRCTL), rd(&h, ring_reg(&r, IGB_SRRCTL)) | IGB_SRRCTL_DROP);
	fill_ring();
	assert_int_equal(far_send(&h, 60, 15), NET_DROPPED);
	assert_int_equal(rd(&h, ring_reg(&r, IGB_RQDPC)), 1);
	assert_int_equal(rd(&h, ring_reg(&r, IGB_RQDPC)), 0);
	rx_give(&r, 1);
	assert_int_equal(far_send(&h, 60, 15), NET_TAKEN);
	/* QDE says the same (8.10.11). */
	wr(&h, ring_reg(&r, IGB_SRRCTL), rd(&h, ring_reg(&r, IGB_SRRCTL)) & ~IGB_SRRCTL_DROP);
	wr(&h, IGB_QDE, 1);
	assert_int_equal(far_send(&h, 60, 15), NET_DROPPED);
}

/* A frame for which no ring of that size ever has room. */
static void never_fits(void **state)
{
	wr(&h, IGB_RLPML, 0x3fff);
	wr(&h, ring_reg(&r, IGB_SRRCTL), IGB_RX_ADVANCED << 25);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) | 3 << 16);
	assert_int_equal(far_send(&h, 256 * 16, 1), NET_DROPPED);
	assert_int_equal(far_send(&h, 256 * 15, 1), NET_TAKEN);
}

/* Who stops listening keeps nobody waiting. */
static void stops_listening(void **state)
{
	fill_ring();
	assert_int_equal(far_send(&h, 60, 15), NET_FULL);
	wr(&h, ring_reg(&r, IGB_RXDCTL), 0);
	host_settle(&h);
	assert_int_equal(h.far.writables, 1);
	assert_int_equal(far_send(&h, 60, 15), NET_DROPPED);
	wr(&h, ring_reg(&r, IGB_RXDCTL), IGB_DCTL_ENABLE);
	assert_int_equal(far_send(&h, 60, 15), NET_FULL);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	host_settle(&h);
	assert_int_equal(h.far.writables, 2);
}

/* What comes before the driver listens waits for it, for as long as the cable has patience. */
static void not_enabled(void **state)
{
	uint32_t rctl = rd(&h, IGB_RCTL);

	wr(&h, IGB_RCTL, 0);
	assert_int_equal(far_send(&h, 60, 1), NET_FULL);
	wr(&h, IGB_RCTL, rctl);
	host_settle(&h);
	assert_int_equal(h.far.writables, 1);
	assert_int_equal(far_send(&h, 60, 1), NET_TAKEN);
}

/* ---- memory that is not there ---- */
static void data_fault(void **state)
{
	r.desc[0].q[0] = NOWHERE;
	r.desc[1].q[0] = READONLY;
	assert_int_equal(far_send(&h, 60, 1), NET_TAKEN);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "RX queue 0 descriptor 0 data: not mapped"));
	assert_int_equal(far_send(&h, 60, 1), NET_TAKEN);
	assert_int_equal(h.m.faults, 2);
	assert_int_equal(far_send(&h, 60, 1), NET_TAKEN);
	assert_int_equal(h.m.faults, 2);
	expect(2, 60, 1);
}

static void ring_fault(void **state)
{
	wr(&h, ring_reg(&r, IGB_RXDCTL), 0);
	wr(&h, ring_reg(&r, IGB_RDBAL), (uint32_t)NOWHERE);
	wr(&h, ring_reg(&r, IGB_RXDCTL), IGB_DCTL_ENABLE);
	wr(&h, ring_reg(&r, IGB_RDT), 8);
	assert_int_equal(far_send(&h, 60, 1), NET_DROPPED);
	assert_int_equal(far_send(&h, 60, 1), NET_DROPPED);
	assert_int_equal(h.m.faults, 1);
	assert_non_null(strstr(h.m.fault_line, "RX queue 0 descriptor 0 fetch: not mapped"));
}

static void scattered(void **state)
{
	uint8_t want[8000];

	frame_make(want, sizeof(want), 2);
	wr(&h, ring_reg(&r, IGB_SRRCTL), 8 | IGB_RX_ADVANCED << 25);
	r.desc[0].q[0] = SCATTERED + 1000;
	assert_int_equal(far_send(&h, sizeof(want), 2), NET_TAKEN);
	assert_int_equal(ring_seen(&r)->d[3], sizeof(want));
	for (size_t i = 0; i < sizeof(want); i++)
		assert_int_equal(*host_ptr(&h, SCATTERED + 1000 + i), want[i]);
}

static void given_back_too_early(void **state)
{
	wr(&h, ring_reg(&r, IGB_RDT), 0);
	assert_int_equal(h.misuses, 1);
	wr(&h, ring_reg(&r, IGB_RDT), 16);
	assert_int_equal(h.misuses, 2);
	assert_string_equal(h.misuse, " RX queue 0 descriptor 16: a tail outside its ring");
}

/* A buffer that was handed over is where the frame goes, whatever becomes of its descriptor. */
static void changes_its_mind(void **state)
{
	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	assert_int_equal(h.misuses, 0);
	r.desc[2].q[0] = NOWHERE;
	assert_int_equal(far_send(&h, 100, 2), NET_TAKEN);
	assert_int_equal(h.misuses, 0);
	assert_int_equal(far_send(&h, 100, 3), NET_TAKEN);
	expect(2, 100, 3);
	assert_int_equal(h.m.faults, 0);
	assert_int_equal(h.misuses, 1);
	assert_string_equal(h.misuse,
			    " RX queue 0 descriptor 2: a descriptor was changed before it had been written back");
}

/* 4.2.1.6: not a byte goes where the driver wanted frames before it reset the card. */
static void reset_ends_it(void **state)
{
	unsigned int resets;

	assert_int_equal(far_send(&h, 100, 1), NET_TAKEN);
	resets = h.resets;
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(h.resets, resets + 1);
	memset(h.m.mem, 0x5a, HOST_MEM);
	link_up(&h);
	far_send(&h, 100, 2);
	wr(&h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_UPE);
	far_send(&h, 100, 2);
	host_settle(&h);
	for (size_t i = 0; i < HOST_MEM; i++)
		assert_int_equal(h.m.mem[i], 0x5a);
	assert_int_equal(h.m.faults, 0);
}

/* A ring that was where it is before the reset, and that nobody has set since, is said to be such a one. */
static void old_ring(void **state)
{
	wr(&h, ring_reg(&r, IGB_RDBAL), (uint32_t)NOWHERE);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	link_up(&h);
	for (unsigned int again = 0; again < 2; again++) {
		assert_int_equal(rd(&h, ring_reg(&r, IGB_RDBAL)), (uint32_t)NOWHERE);
		wr(&h, ring_reg(&r, IGB_RDLEN), 128);
		wr(&h, ring_reg(&r, IGB_RXDCTL), IGB_DCTL_ENABLE);
		wr(&h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_UPE);
		wr(&h, ring_reg(&r, IGB_RDT), 2);
		far_send(&h, 100, 1);
		assert_int_equal(h.m.faults, again + 1);
		assert_non_null(strstr(h.m.fault_line, "RX queue 0 descriptor 0 fetch: not mapped"));
		assert_int_equal(h.m.fault_old, !again);
		wr(&h, ring_reg(&r, IGB_RXDCTL), 0);
		wr(&h, ring_reg(&r, IGB_RDBAL), (uint32_t)NOWHERE);
		wr(&h, ring_reg(&r, IGB_RDH), 0);
		wr(&h, ring_reg(&r, IGB_RDT), 0);
	}
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(rd(&h, ring_reg(&r, IGB_RDBAL)), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(one),
	    TEST(sizes),
	    TEST(round_and_round),
	    TEST(many_buffers),
	    TEST(small_buffers),
	    TEST(legacy),
	    TEST(fcs),
	    TEST(lengths),
	    TEST(addresses),
	    TEST(multicast_table),
	    TEST(vlans),
	    TEST(waits),
	    TEST(drops),
	    TEST(never_fits),
	    TEST(stops_listening),
	    TEST(not_enabled),
	    TEST(data_fault),
	    TEST(ring_fault),
	    TEST(scattered),
	    TEST(given_back_too_early),
	    TEST(changes_its_mind),
	    TEST(reset_ends_it),
	    TEST(old_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
