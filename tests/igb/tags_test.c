/* SPDX-License-Identifier: BSD-3-Clause */
/* Two VLAN tags (EXT_VLAN), and what is counted of frames that are not wanted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "host.h"

#define OUTER 0x9100

static struct host h;
static struct ring rx, tx;

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	wr(&h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_UPE | IGB_RCTL_SECRC);
	rx_open(&rx, &h, 0, 16, 2);
	tx_open(&tx, &h, 0, 16);
	wr(&h, IGB_VET, (uint32_t)OUTER << 16 | 0x8100);
	wr(&h, IGB_CTRL_EXT, IGB_CTRL_EXT_EXT_VLAN);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static uint8_t frame[1600];

static void make(size_t len, uint16_t type, uint16_t tci, uint16_t type2, uint16_t tci2)
{
	uint16_t v[] = {type, tci, type2, tci2};

	frame_make(frame, len, 1);
	for (unsigned int i = 0; i < 4; i++)
		memcpy(frame + 12 + 2 * i, (uint8_t[]){(uint8_t)(v[i] >> 8), (uint8_t)v[i]}, 2);
}

static bool get(size_t len)
{
	struct iovec iov = {frame, len};

	net_send(h.far.net, &iov, 1, len);
	net_sent(h.far.net);
	return ring_seen(&rx);
}

static void stripped(void **state)
{
	const union igb_desc *t = rx.desc;

	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) | IGB_CTRL_VME);
	make(100, OUTER, 0x2005, 0x8100, 0x4006);
	assert_true(get(100));
	assert_int_equal(t->d[3], 0x40060000 | 96);
	assert_true(t->d[2] & IGB_RXD_VP);
	assert_memory_equal(rx_data(&rx, 0), frame, 16);
	assert_memory_equal(rx_data(&rx, 0) + 16, frame + 20, 80);
	/* With one alone, that is the outer one, whatever it says. */
	t++;
	make(100, OUTER, 0x2005, 0x0800, 0);
	assert_true(get(100));
	assert_int_equal(t->d[3], 100);
	assert_false(t->d[2] & IGB_RXD_VP);
	t++;
	make(100, 0x8100, 0x2005, 0x8100, 0);
	assert_true(get(100));
	assert_int_equal(t->d[3], 100);
	t++;
	wr(&h, IGB_CTRL_EXT, 0);
	assert_true(get(100));
	assert_int_equal(t->d[3], 0x20050000 | 96);
}

static void filtered(void **state)
{
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) | IGB_RCTL_VFE);
	wr(&h, IGB_VFTA, 1 << 6);
	make(100, OUTER, 5, 0x8100, 6);
	assert_true(get(100));
	make(100, OUTER, 6, 0x8100, 5);
	assert_false(get(100));
	make(100, OUTER, 5, 0x0800, 0);
	assert_true(get(100));
	make(100, 0x8100, 5, 0x0800, 0);
	assert_true(get(100));
	wr(&h, IGB_CTRL_EXT, 0);
	assert_false(get(100));
}

static void found_behind_both(void **state)
{
	uint8_t ip[] = {8, 0, 0x45, 0, 0, 78, 0, 0, 0, 0, 64, 17, 0, 0};

	make(100, OUTER, 5, 0x8100, 6);
	memcpy(frame + 20, ip, sizeof(ip));
	memset(frame + 34, 0, 8);
	frame[46] = 0;
	frame[47] = 58;
	assert_true(get(100));
	assert_int_equal(rx.desc[0].d[0] >> 4 & 0x7f, 0x21);
	/* An EtherType like any other. */
	wr(&h, IGB_CTRL_EXT, 0);
	assert_true(get(100));
	assert_int_equal(rx.desc[1].d[0] >> 4 & 0x7f, 0);
}

static void lengths(void **state)
{
	make(1522, OUTER, 5, 0x8100, 6);
	assert_true(get(1522));
	assert_false(get(1523));
	make(1518, OUTER, 5, 0x0800, 0);
	assert_false(get(1518));
	assert_int_equal(rd(&h, IGB_STAT_ROC), 2);
}

static size_t put(uint32_t cmd)
{
	uint64_t at = host_alloc(&h, 100, 8);
	union igb_desc *c = tx_put(&tx, 0, 0, IGB_TXD_DEXT | IGB_TXD_CONTEXT << 20);

	memcpy(host_ptr(&h, at), frame, 100);
	c->d[0] = 0x7007u << 16 | 14 << 9;
	c->d[3] = 0;
	tx_put(&tx, at, 100, CMD_ONE | cmd);
	ring_ring(&tx);
	return h.far.len;
}

static void inserted(void **state)
{
	make(100, OUTER, 5, 0x0800, 0);
	assert_int_equal(put(IGB_TXD_VLE), 104);
	assert_memory_equal(h.far.frame, frame, 16);
	assert_memory_equal(h.far.frame + 16, "\x81\x00\x70\x07", 4);
	assert_memory_equal(h.far.frame + 20, frame + 16, 84);
	assert_int_equal(put(0), 100);
	/* One that has none gets it where it would be. */
	make(100, 0x0800, 0, 0, 0);
	assert_int_equal(put(IGB_TXD_VLE), 104);
	assert_memory_equal(h.far.frame + 12, "\x81\x00\x70\x07\x08\x00", 6);
	wr(&h, IGB_CTRL_EXT, 0);
	make(100, OUTER, 5, 0x0800, 0);
	assert_int_equal(put(IGB_TXD_VLE), 104);
	assert_memory_equal(h.far.frame + 12, "\x81\x00\x70\x07\x91\x00", 6);
}

static uint64_t octets(uint32_t reg)
{
	uint64_t low = rd(&h, reg);

	return low | (uint64_t)rd(&h, reg + 4) << 32;
}

static void unwanted_is_counted(void **state)
{
	wr(&h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_SECRC);
	assert_int_equal(far_send_to(&h, "02:00:00:00:00:99", -1, 100), NET_DROPPED);
	assert_int_equal(far_send(&h, 200, 1), NET_TAKEN);
	assert_int_equal(rd(&h, IGB_STAT_GPRC), 1);
	assert_int_equal(octets(IGB_STAT_GORC), 204);
	assert_int_equal(rd(&h, IGB_STAT_TPR), 2);
	assert_int_equal(octets(IGB_STAT_TOR), 308);
	/* What waits is counted when it comes. */
	wr(&h, ring_reg(&rx, IGB_RDH), rx.tail);
	assert_int_equal(far_send(&h, 200, 1), NET_FULL);
	assert_int_equal(rd(&h, IGB_STAT_TPR), 0);
}

static void pause_frames(void **state)
{
	make(60, 0x8808, 1, 0xffff, 0);
	memcpy(frame, "\x01\x80\xc2\x00\x00\x01", 6);
	get(60);
	assert_int_equal(rd(&h, IGB_STAT_XOFFRXC), 1);
	frame[16] = frame[17] = 0;
	get(60);
	memcpy(frame, "\x02\x00\x00\x00\x00\x01", 6);
	get(60);
	assert_int_equal(rd(&h, IGB_STAT_XONRXC), 2);
	assert_int_equal(rd(&h, IGB_STAT_XOFFRXC), 0);
	assert_int_equal(rd(&h, IGB_STAT_FCRUC), 0);
	frame[15] = 2;
	get(60);
	frame[15] = 1;
	frame[5] = 2;
	get(60);
	assert_int_equal(rd(&h, IGB_STAT_FCRUC), 2);
	assert_int_equal(rd(&h, IGB_STAT_XONRXC), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(stripped, setup, teardown),
	    cmocka_unit_test_setup_teardown(filtered, setup, teardown),
	    cmocka_unit_test_setup_teardown(found_behind_both, setup, teardown),
	    cmocka_unit_test_setup_teardown(lengths, setup, teardown),
	    cmocka_unit_test_setup_teardown(inserted, setup, teardown),
	    cmocka_unit_test_setup_teardown(unwanted_is_counted, setup, teardown),
	    cmocka_unit_test_setup_teardown(pause_frames, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
