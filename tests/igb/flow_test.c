/* SPDX-License-Identifier: BSD-3-Clause */
/* Filters by content: which queue a frame goes to, and how soon it interrupts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "host.h"

#define RINGS	 6
#define SRC	 0x0a000001
#define DST	 0x0a000002
#define TCP	 6
#define UDP	 17
#define SYN	 0x02
#define ACK	 0x10
#define ANY_FLOW (0xf0000000u | IGB_FTQF_VF_BYPASS | IGB_FTQF_QUEUE_ENABLE)
#define TO(q)	 ((uint32_t)(q) << 16)

static struct host h;
static struct ring r[RINGS];

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	for (unsigned int q = 0; q < RINGS; q++)
		rx_open(&r[q], &h, q, 16, 2);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

struct flow {
	uint32_t src, dst;
	uint16_t sport, dport;
	uint8_t proto, flags;
	size_t len;
};

static const struct flow usual = {SRC, DST, 1000, 2000, UDP, 0, 100};

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v & 0xff;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, (uint16_t)v);
}

static void far_put(const uint8_t *frame, size_t len)
{
	struct iovec iov = {(uint8_t *)frame, len};

	assert_int_equal(net_send(h.far.net, &iov, 1, len), NET_TAKEN);
	net_sent(h.far.net);
}

/* The only queue that has got a frame since; -1: none or several. */
static int queue_of(void)
{
	int queue = -1, n = 0;

	for (unsigned int q = 0; q < RINGS; q++) {
		if (!ring_seen(&r[q]))
			continue;
		queue = (int)q;
		n++;
	}
	return n == 1 ? queue : -1;
}

static int flow_queue(const struct flow *f)
{
	uint8_t frame[2048] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45};
	uint8_t *ip = frame + 14, *l4 = ip + 20;

	put16(ip + 2, (uint16_t)(f->len - 14));
	ip[8] = 64;
	ip[9] = f->proto;
	put32(ip + 12, f->src);
	put32(ip + 16, f->dst);
	put16(l4, f->sport);
	put16(l4 + 2, f->dport);
	if (f->proto == UDP)
		put16(l4 + 4, (uint16_t)(f->len - 34));
	l4[12] = 0x50;
	l4[13] = f->flags;
	far_put(frame, f->len);
	return queue_of();
}

static int udp6_queue(uint16_t dport)
{
	uint8_t frame[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60};

	put16(frame + 18, 46);
	frame[20] = UDP;
	put16(frame + 56, dport);
	put16(frame + 58, 46);
	far_put(frame, sizeof(frame));
	return queue_of();
}

/* Filter n, of everything. */
static void any(unsigned int n, unsigned int queue, uint32_t priority)
{
	wr(&h, IGB_IMIREXT + 4 * n, IGB_IMIREXT_SIZE_BYPASS | IGB_IMIREXT_FLAGS_BYPASS);
	wr(&h, IGB_IMIR + 4 * n, IGB_IMIR_PORT_BYPASS | priority << 29);
	wr(&h, IGB_FTQF + 4 * n, ANY_FLOW | TO(queue));
}

static void clear(uint32_t reg, uint32_t bits)
{
	wr(&h, reg, rd(&h, reg) & ~bits);
}

static void field(const struct flow *other)
{
	assert_int_equal(flow_queue(&usual), 3);
	assert_int_equal(flow_queue(other), 0);
}

static void each_field(void **state)
{
	struct flow f = usual;

	assert_int_equal(flow_queue(&f), 0);
	any(0, 3, 1);
	assert_int_equal(flow_queue(&f), 3);

	wr(&h, IGB_SAQF, htonl(SRC));
	clear(IGB_FTQF, IGB_FTQF_SRC_BYPASS);
	f.src++;
	field(&f);
	f = usual;
	any(0, 3, 1);
	wr(&h, IGB_DAQF, htonl(DST));
	clear(IGB_FTQF, IGB_FTQF_DST_BYPASS);
	f.dst++;
	field(&f);
	f = usual;
	any(0, 3, 1);
	wr(&h, IGB_SPQF, htons(1000));
	clear(IGB_FTQF, IGB_FTQF_SPORT_BYPASS);
	f.sport++;
	field(&f);
	f = usual;
	any(0, 3, 1);
	wr(&h, IGB_IMIR, htons(2000));
	f.dport++;
	field(&f);
	f = usual;
	any(0, 3, 1);
	wr(&h, IGB_FTQF, (rd(&h, IGB_FTQF) & ~IGB_FTQF_PROTOCOL_BYPASS) | UDP);
	f.proto = TCP;
	field(&f);
	f = usual;
	any(0, 3, 1);
	wr(&h, IGB_IMIREXT, IGB_IMIREXT_FLAGS_BYPASS | 200);
	f.len = 196;
	field(&f);
	wr(&h, IGB_FTQF, rd(&h, IGB_FTQF) & ~IGB_FTQF_QUEUE_ENABLE);
	assert_int_equal(flow_queue(&usual), 0);
}

static void flags(void **state)
{
	struct flow f = usual;

	any(0, 3, 1);
	/* SYN and ACK; in the register they are the other way round. */
	wr(&h, IGB_IMIREXT, IGB_IMIREXT_SIZE_BYPASS | BIT(17) | BIT(14));
	assert_int_equal(flow_queue(&f), 0);
	f.proto = TCP;
	f.flags = SYN;
	assert_int_equal(flow_queue(&f), 0);
	f.flags = SYN | ACK;
	assert_int_equal(flow_queue(&f), 3);
	wr(&h, IGB_IMIREXT, IGB_IMIREXT_SIZE_BYPASS | BIT(17));
	assert_int_equal(flow_queue(&f), 3);
	f.flags = ACK;
	assert_int_equal(flow_queue(&f), 0);
}

static void other_pools(void **state)
{
	any(0, 3, 1);
	wr(&h, IGB_FTQF, (rd(&h, IGB_FTQF) & ~IGB_FTQF_VF_BYPASS) | 2 << 12);
	assert_int_equal(flow_queue(&usual), 0);
	wr(&h, IGB_MRQC, IGB_MRQC_VMDQ);
	wr(&h, IGB_VT_CTL, 2 << 7);
	assert_int_equal(flow_queue(&usual), 3);
}

static void not_ip(void **state)
{
	any(0, 3, 1);
	far_send(&h, 100, 1);
	assert_int_equal(queue_of(), 0);
}

static void ipv6(void **state)
{
	any(0, 3, 1);
	wr(&h, IGB_IMIR, htons(2000));
	assert_int_equal(udp6_queue(2001), 0);
	assert_int_equal(udp6_queue(2000), 3);
	wr(&h, IGB_FTQF, (rd(&h, IGB_FTQF) & ~IGB_FTQF_PROTOCOL_BYPASS) | UDP);
	assert_int_equal(udp6_queue(2000), 3);
	/* Addresses are IPv4's. */
	clear(IGB_FTQF, IGB_FTQF_SRC_BYPASS);
	assert_int_equal(udp6_queue(2000), 0);
}

static void fragments_have_no_ports(void **state)
{
	uint8_t frame[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 86, 0, 0, 0x20, 0, 64, UDP};

	put16(frame + 36, 2000);
	any(0, 3, 1);
	wr(&h, IGB_IMIR, htons(2000));
	far_put(frame, sizeof(frame));
	assert_int_equal(queue_of(), 0);
	wr(&h, IGB_IMIR, IGB_IMIR_PORT_BYPASS);
	far_put(frame, sizeof(frame));
	assert_int_equal(queue_of(), 3);
}

static void priorities(void **state)
{
	any(1, 1, 3);
	any(2, 2, 3);
	assert_int_equal(flow_queue(&usual), 1);
	any(5, 5, 4);
	assert_int_equal(flow_queue(&usual), 5);
	any(0, 4, 1);
	assert_int_equal(flow_queue(&usual), 5);
}

static void syn(void **state)
{
	struct flow f = usual;

	f.proto = TCP;
	f.flags = SYN;
	wr(&h, IGB_SYNQF, IGB_SYNQF_ENABLE | 4 << 1);
	assert_int_equal(flow_queue(&f), 4);
	f.flags = ACK;
	assert_int_equal(flow_queue(&f), 0);
	f.flags = SYN;
	any(0, 3, 7);
	assert_int_equal(flow_queue(&f), 3);
	wr(&h, IGB_RFCTL, IGB_RFCTL_SYNQFP);
	assert_int_equal(flow_queue(&f), 4);
	f.flags = ACK;
	assert_int_equal(flow_queue(&f), 3);
	wr(&h, IGB_SYNQF, 0);
	f.flags = SYN;
	assert_int_equal(flow_queue(&f), 3);
}

static void ethertypes(void **state)
{
	/* The frames of frame_make. */
	wr(&h, IGB_ETQF + 4 * 3, IGB_ETQF_ENABLE | IGB_ETQF_QUEUE_ENABLE | TO(5) | 0x88b5);
	far_send(&h, 100, 1);
	assert_int_equal(queue_of(), 5);
	assert_int_equal(r[5].desc[0].d[0] & 0x1ffff, IGB_RXD_L2 | 3 << 4);
	/* Known, but with no queue of its own. */
	wr(&h, IGB_ETQF + 4 * 3, IGB_ETQF_ENABLE | TO(5) | 0x88b5);
	far_send(&h, 100, 1);
	assert_int_equal(queue_of(), 0);
	assert_int_equal(r[0].desc[0].d[0] & 0x1ffff, IGB_RXD_L2 | 3 << 4);
	wr(&h, IGB_ETQF + 4 * 3, IGB_ETQF_QUEUE_ENABLE | TO(5) | 0x88b5);
	far_send(&h, 100, 1);
	assert_int_equal(queue_of(), 0);
	assert_int_equal(r[0].desc[1].d[0], 0);
	/* Before flows. */
	any(0, 3, 7);
	wr(&h, IGB_ETQF, IGB_ETQF_ENABLE | IGB_ETQF_QUEUE_ENABLE | TO(2) | 0x0800);
	assert_int_equal(flow_queue(&usual), 2);
}

static void reset_forgets(void **state)
{
	any(0, 3, 1);
	wr(&h, IGB_SYNQF, IGB_SYNQF_ENABLE);
	wr(&h, IGB_ETQF, IGB_ETQF_ENABLE);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(rd(&h, IGB_FTQF) | rd(&h, IGB_SYNQF) | rd(&h, IGB_ETQF) | rd(&h, IGB_IMIR), 0);
	link_up(&h);
	rx_open(&r[0], &h, 0, 16, 2);
	assert_int_equal(flow_queue(&usual), 0);
}

/* Two frames, of which the second one would be throttled. Interrupts that were raised. */
static unsigned int interrupts(void)
{
	unsigned int before = h.m.irqs[1];

	flow_queue(&usual);
	flow_queue(&usual);
	wr(&h, IGB_EITR + 4, 0); /* and whatever waits is no longer waited for */
	return h.m.irqs[1] - before;
}

static void throttle(void)
{
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	link_up(&h);
	rx_open(&r[0], &h, 0, 16, 2);
	wr(&h, IGB_GPIE, IGB_GPIE_MULTIPLE | IGB_GPIE_NSICR);
	wr(&h, IGB_IVAR, IGB_IVAR_VALID | 1);
	wr(&h, IGB_EIAC, 2);
	wr(&h, IGB_EIMS, 2);
	wr(&h, IGB_EITR + 4, 8000 << 2);
}

static void at_once(void **state)
{
	throttle();
	assert_int_equal(interrupts(), 1);
	throttle();
	any(0, 0, 1);
	assert_int_equal(interrupts(), 1);
	throttle();
	any(0, 0, 1);
	wr(&h, IGB_IMIR, rd(&h, IGB_IMIR) | IGB_IMIR_ENABLE);
	assert_int_equal(interrupts(), 2);
	throttle();
	wr(&h, IGB_ETQF, IGB_ETQF_ENABLE | IGB_ETQF_IMMEDIATE | 0x0800);
	assert_int_equal(interrupts(), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(each_field, setup, teardown),
	    cmocka_unit_test_setup_teardown(flags, setup, teardown),
	    cmocka_unit_test_setup_teardown(other_pools, setup, teardown),
	    cmocka_unit_test_setup_teardown(not_ip, setup, teardown),
	    cmocka_unit_test_setup_teardown(ipv6, setup, teardown),
	    cmocka_unit_test_setup_teardown(fragments_have_no_ports, setup, teardown),
	    cmocka_unit_test_setup_teardown(priorities, setup, teardown),
	    cmocka_unit_test_setup_teardown(syn, setup, teardown),
	    cmocka_unit_test_setup_teardown(ethertypes, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset_forgets, setup, teardown),
	    cmocka_unit_test_setup_teardown(at_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
