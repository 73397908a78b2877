/* SPDX-License-Identifier: BSD-3-Clause */
/* The clock, and the stamps that it puts on frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "base/loop.h"
#include "host.h"

#define NS	 (1ull << 24 | 16 << 19) /* as Linux sets it: a nanosecond is 2^19 */
#define SHIFT	 19
#define SYNC	 0
#define DELAY	 1
#define ANNOUNCE 0xb

enum { L2_V2, L4_V1, V2, ALL = 4, EVENT_V2 };

static struct host h;
static struct ring rx, tx;

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	rx_open(&rx, &h, 0, 16, 2);
	tx_open(&tx, &h, 0, 16);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static uint64_t rd64(uint32_t off)
{
	uint64_t low = rd(&h, off);

	return low | (uint64_t)rd(&h, off + 4) << 32;
}

static void nap(void)
{
	uint64_t until = loop_now() + 2000000;

	while (loop_now() < until)
		;
}

static void runs(void **state)
{
	uint64_t from, to, low, set, high;

	assert_int_equal(rd64(IGB_SYSTIM), 0);
	nap();
	assert_int_equal(rd64(IGB_SYSTIM), 0);
	low = loop_now();
	wr(&h, IGB_TIMINCA, NS);
	set = loop_now();
	from = rd64(IGB_SYSTIM) >> SHIFT;
	nap();
	high = loop_now();
	to = rd64(IGB_SYSTIM) >> SHIFT;
	assert_true(to - from >= 2000000 - 16);
	assert_in_range(to, high - set - 16, loop_now() - low);
	/* Half as fast from now on, with nothing lost. */
	wr(&h, IGB_TIMINCA, 2u << 24 | 16 << 19);
	low = loop_now();
	from = rd64(IGB_SYSTIM) >> SHIFT;
	assert_true(from >= to);
	nap();
	to = rd64(IGB_SYSTIM) >> SHIFT;
	high = loop_now();
	assert_in_range(to - from, 1000000 - 32, (high - low) / 2 + 32);
	/* And it stands still. */
	wr(&h, IGB_TIMINCA, 0);
	from = rd64(IGB_SYSTIM);
	nap();
	assert_int_equal(rd64(IGB_SYSTIM), from);
}

static void is_set(void **state)
{
	wr(&h, IGB_SYSTIM, 0x89abcdef);
	wr(&h, IGB_SYSTIM + 4, 0x01234567);
	assert_true(rd64(IGB_SYSTIM) == 0x0123456789abcdef);
	wr(&h, IGB_TIMADJ, 0x80000000);
	assert_true(rd64(IGB_SYSTIM) == 0x0123456789abcdef);
	wr(&h, IGB_TIMADJ + 4, 1);
	assert_true(rd64(IGB_SYSTIM) == 0x0123456789abcdef + 0x180000000);
	wr(&h, IGB_TIMADJ + 4, 1u << 31 | 1);
	assert_true(rd64(IGB_SYSTIM) == 0x0123456789abcdef);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(rd64(IGB_SYSTIM), 0);
}

/* The upper half belongs to the lower one that was read before. */
static void latched(void **state)
{
	uint32_t low, high;

	wr(&h, IGB_SYSTIM, 0xfffffff0);
	wr(&h, IGB_SYSTIM + 4, 5);
	low = rd(&h, IGB_SYSTIM);
	wr(&h, IGB_TIMADJ, 0x20);
	wr(&h, IGB_TIMADJ + 4, 0);
	high = rd(&h, IGB_SYSTIM + 4);
	assert_int_equal(low, 0xfffffff0);
	assert_int_equal(high, 5);
	assert_int_equal(rd(&h, IGB_SYSTIM + 4), 6);
}

static void message_put(uint8_t *p, unsigned int version, unsigned int type)
{
	p[0] = version == 2 ? (uint8_t)type : 0;
	p[1] = (uint8_t)version;
	memcpy(p + 22, "\1\2\3\4\5\6", 6);
	memcpy(p + 30, "\xab\xcd", 2);
	p[32] = version == 1 ? (uint8_t)type : 0x55;
}

/* True: it has been stamped, and the descriptor says so. */
static bool message(bool l4, unsigned int version, unsigned int type)
{
	uint8_t frame[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xf7};
	struct iovec iov = {frame, sizeof(frame)};
	const union igb_desc *t;
	bool said, valid;

	if (l4) {
		memcpy(frame + 12, (uint8_t[]){8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17}, 12);
		memcpy(frame + 34, (uint8_t[]){319 >> 8, 319 & 255, 319 >> 8, 319 & 255, 0, 66}, 6);
	}
	message_put(frame + (l4 ? 42 : 14), version, type);
	assert_int_equal(net_send(h.far.net, &iov, 1, sizeof(frame)), NET_TAKEN);
	net_sent(h.far.net);
	t = ring_seen(&rx);
	assert_non_null(t);
	said = t->d[2] & IGB_RXD_TS;
	valid = rd(&h, IGB_TSYNCRXCTL) & IGB_TSYNC_VALID;
	assert_int_equal(said, valid);
	if (valid)
		rd64(IGB_RXSTMP);
	assert_false(rd(&h, IGB_TSYNCRXCTL) & IGB_TSYNC_VALID);
	rx_give(&rx, 1);
	return said;
}

/* As Linux does for messages of both kinds. */
static void listen_to(unsigned int type, uint32_t cfg)
{
	wr(&h, IGB_TIMINCA, NS);
	wr(&h, IGB_ETQF + 12, IGB_ETQF_ENABLE | IGB_ETQF_1588 | 0x88f7);
	wr(&h, IGB_IMIR + 12, htons(319));
	wr(&h, IGB_IMIREXT + 12, IGB_IMIREXT_SIZE_BYPASS | IGB_IMIREXT_FLAGS_BYPASS);
	wr(&h, IGB_SPQF + 12, htons(319));
	wr(&h, IGB_FTQF + 12, 17 | IGB_FTQF_VF_BYPASS | IGB_FTQF_1588 | IGB_FTQF_SRC_BYPASS | IGB_FTQF_DST_BYPASS);
	wr(&h, IGB_TSYNCRXCFG, cfg);
	wr(&h, IGB_TSYNCRXCTL, IGB_TSYNC_ENABLE | type << 1);
}

static void which(void **state)
{
	listen_to(L2_V2, SYNC << 8);
	assert_true(message(false, 2, SYNC));
	assert_false(message(false, 2, DELAY));
	assert_false(message(false, 1, SYNC));
	assert_false(message(true, 2, SYNC));
	listen_to(L2_V2, DELAY << 8);
	assert_true(message(false, 2, DELAY));
	listen_to(L4_V1, DELAY);
	assert_true(message(true, 1, DELAY));
	assert_false(message(true, 1, SYNC));
	assert_false(message(true, 2, DELAY));
	listen_to(V2, SYNC << 8);
	assert_true(message(true, 2, SYNC));
	assert_true(message(false, 2, SYNC));
	assert_false(message(false, 2, DELAY));
	listen_to(EVENT_V2, 0);
	assert_true(message(true, 2, SYNC));
	assert_true(message(false, 2, DELAY));
	assert_false(message(false, 2, ANNOUNCE));
	assert_false(message(true, 1, SYNC));
	/* Only what a filter marks. */
	wr(&h, IGB_ETQF + 12, IGB_ETQF_ENABLE | 0x88f7);
	assert_false(message(false, 2, SYNC));
	wr(&h, IGB_FTQF + 12, rd(&h, IGB_FTQF + 12) & ~IGB_FTQF_1588);
	assert_false(message(true, 2, SYNC));
	listen_to(EVENT_V2, 0);
	wr(&h, IGB_TSYNCRXCTL, EVENT_V2 << 1);
	assert_false(message(true, 2, SYNC));
}

static void one_at_a_time(void **state)
{
	uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xf7};
	struct iovec iov = {frame, sizeof(frame)};
	uint64_t before, stamp;

	listen_to(EVENT_V2, 0);
	message_put(frame + 14, 2, SYNC);
	before = rd64(IGB_SYSTIM);
	net_send(h.far.net, &iov, 1, sizeof(frame));
	net_sent(h.far.net);
	stamp = rd64(IGB_SYSTIM);
	frame[44] = 0xff;
	net_send(h.far.net, &iov, 1, sizeof(frame));
	net_sent(h.far.net);
	assert_true(ring_seen(&rx)->d[2] & IGB_RXD_TS);
	assert_false(ring_seen(&rx)->d[2] & IGB_RXD_TS);
	assert_int_equal(rd(&h, IGB_RXSATR), 0x01020304);
	assert_int_equal(rd(&h, IGB_RXSATR + 4), 0xabcd0506);
	/* The lower half does not open it. */
	rd(&h, IGB_RXSTMP);
	assert_true(rd(&h, IGB_TSYNCRXCTL) & IGB_TSYNC_VALID);
	assert_in_range(rd64(IGB_RXSTMP), before, stamp);
	assert_false(rd(&h, IGB_TSYNCRXCTL) & IGB_TSYNC_VALID);
	assert_true(message(false, 2, SYNC));
}

static void all(void **state)
{
	uint64_t first;

	listen_to(ALL, 0);
	far_send(&h, 100, 1);
	assert_true(rd(&h, IGB_TSYNCRXCTL) & IGB_TSYNC_VALID);
	assert_false(ring_seen(&rx)->d[2] & IGB_RXD_TS);
	first = rd(&h, IGB_RXSTMP);
	nap();
	far_send(&h, 100, 1);
	assert_int_not_equal(rd(&h, IGB_RXSTMP), first);
}

static void send_one(uint32_t cmd)
{
	tx_put(&tx, frame_put(&h, 60, 1), 60, CMD_ONE | cmd);
	ring_ring(&tx);
	assert_non_null(ring_seen(&tx));
}

static void sent(void **state)
{
	uint64_t before, after, stamp;

	wr(&h, IGB_TIMINCA, NS);
	send_one(IGB_TXD_STAMP);
	assert_false(rd(&h, IGB_TSYNCTXCTL) & IGB_TSYNC_VALID);
	wr(&h, IGB_TSYNCTXCTL, IGB_TSYNC_ENABLE | IGB_TSYNC_VALID);
	assert_int_equal(rd(&h, IGB_TSYNCTXCTL), IGB_TSYNC_ENABLE);
	send_one(0);
	assert_false(rd(&h, IGB_TSYNCTXCTL) & IGB_TSYNC_VALID);
	before = rd64(IGB_SYSTIM);
	send_one(IGB_TXD_STAMP);
	after = rd64(IGB_SYSTIM);
	assert_true(rd(&h, IGB_TSYNCTXCTL) & IGB_TSYNC_VALID);
	/* The next one does not take its place. */
	nap();
	send_one(IGB_TXD_STAMP);
	stamp = rd64(IGB_TXSTMP);
	assert_in_range(stamp, before, after);
	assert_false(rd(&h, IGB_TSYNCTXCTL) & IGB_TSYNC_VALID);
	assert_int_equal(h.far.frames, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(runs, setup, teardown),
	    cmocka_unit_test_setup_teardown(is_set, setup, teardown),
	    cmocka_unit_test_setup_teardown(latched, setup, teardown),
	    cmocka_unit_test_setup_teardown(which, setup, teardown),
	    cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(all, setup, teardown),
	    cmocka_unit_test_setup_teardown(sent, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
