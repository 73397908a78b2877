/* SPDX-License-Identifier: BSD-3-Clause */
/* Offloads: what descriptors ask of a packet, and what they say of a frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

#include "host.h"
#include "net/build.h"
#include "net/packet.h"
#include "net/rss.h"

enum { FIN = 1, PSH = 8, ACK = 0x10, CWR = 0x80 };

static struct host h;
static struct ring tx, rx;
static struct build b;

static int setup(void **state)
{
	host_open(&h, "");
	link_up(&h);
	tx_open(&tx, &h, 0, 64);
	rx_open(&rx, &h, 0, 64, 2);
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

/* ---- out ---- */

static void ip_headers(bool v6, uint8_t proto, size_t l4_len)
{
	build_mac(&b);
	memcpy(b.byte, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	build16(&b, v6 ? 0x86dd : 0x0800);
	if (v6)
		build_ipv6(&b, "fe80::1", "fe80::2", proto, l4_len);
	else
		build_ipv4(&b, "10.0.0.1", "10.0.0.2", proto, 0, l4_len);
}

/* The packet, as a driver leaves it: the pseudo-header's sum in the field, with l4_len in it. */
static void tcp_make(bool v6, size_t payload, uint16_t flags, uint32_t l4_len)
{
	ip_headers(v6, IPPROTO_TCP, 20 + payload);
	build_tcp(&b, 80, 4000, 1, flags, 0);
	build_put16(&b, b.len - 4, build_pseudo(b.byte + 14, IPPROTO_TCP, l4_len));
	build_fill(&b, 3, payload);
}

static uint64_t in_memory(void)
{
	uint64_t at = host_alloc(&h, b.len, 8);

	memcpy(host_ptr(&h, at), b.byte, b.len);
	return at;
}

static void context(bool v6, uint32_t l4t, uint16_t mss, uint16_t tci, uint32_t idx)
{
	union igb_desc *t = tx_put(&tx, 0, 0, IGB_TXD_DEXT | IGB_TXD_CONTEXT << 20);

	t->d[0] = (uint32_t)tci << 16 | 14 << 9 | (v6 ? 40 : 20);
	t->d[1] = 0;
	t->d[2] |= l4t << IGB_CTX_L4T_SHIFT | (v6 ? 0 : IGB_CTX_IPV4);
	t->d[3] = (uint32_t)mss << 16 | (l4t == 1 ? 20 : 8) << 8 | idx << 4;
}

/* In two descriptors, so that headers and data come from two places. */
static void data(uint32_t cmd, uint32_t options)
{
	uint64_t at = in_memory();
	uint32_t first = b.len / 3;
	union igb_desc *t = tx_put(&tx, at, first, (CMD_ONE & ~IGB_TXD_EOP) | cmd);

	t->d[3] |= options;
	tx_put(&tx, at + first, b.len - first, CMD_ONE | cmd);
	ring_ring(&tx);
}

/* All that was put there. */
static bool sent(void)
{
	return rd(&h, ring_reg(&tx, IGB_TDH)) == tx.tail;
}

static struct packet far_packet(void)
{
	struct iovec iov = {h.far.frame, h.far.len};
	struct packet p;

	packet_parse(h.far.frame, MIN(h.far.len, (size_t)PACKET_HEADERS), h.far.len, VLAN_ETHERTYPE, &p);
	if (p.kind & PACKET_IPV4)
		assert_int_equal(packet_ip_check(h.far.frame, &p), PACKET_SUM_GOOD);
	if (p.kind & PACKET_TRANSPORT)
		assert_int_equal(packet_l4_check(h.far.frame, &p, &iov, 1), PACKET_SUM_GOOD);
	return p;
}

static uint32_t far_get(size_t at, size_t len)
{
	uint32_t v = 0;

	while (len--)
		v = v << 8 | h.far.frame[at++];
	return v;
}

static void sums(void **state)
{
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		tcp_make(v6, 101, ACK | FIN, 121);
		if (!v6)
			build_put16(&b, 24, 0xdead);
		context(v6, 1, 0, 0, v6);
		data(0, IGB_TXD_TXSM | (v6 ? 0 : IGB_TXD_IXSM) | v6 << 4);
		assert_int_equal(h.far.frames, v6 + 1);
		assert_true(sent());
		assert_true(far_packet().kind & PACKET_TCP);
		assert_int_equal(far_get(14 + (v6 ? 40 : 20) + 12, 2) & 0xff, ACK | FIN);
	}
	/* The contexts stay: another packet by the first one. */
	tcp_make(false, 1, ACK, 21);
	data(0, IGB_TXD_TXSM | IGB_TXD_IXSM);
	assert_int_equal(h.far.frames, 3);
	assert_int_equal(h.far.len, NET_FRAME_MIN);
	far_packet();
	assert_int_equal(h.misuses, 0);
}

/* The cable takes a frame at a time: the rest goes on where it was. */
static void segments(void **state)
{
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		size_t hdr = 14 + (v6 ? 40 : 20) + 20, at = 0;

		tcp_make(v6, 4000, CWR | ACK | PSH | FIN, 0);
		context(v6, 1, 1460, 0, 0);
		h.far.frames = 0;
		h.far.room = 1;
		data(IGB_TXD_TSE, IGB_TXD_TXSM | (v6 ? 0 : IGB_TXD_IXSM));
		for (unsigned int i = 0; i < 3; i++) {
			uint16_t flags = ACK | (i == 0 ? CWR : 0) | (i == 2 ? PSH | FIN : 0);
			size_t len = i == 2 ? 4000 - 2 * 1460 : 1460;
			struct packet p;

			assert_int_equal(h.far.frames, i + 1);
			p = far_packet();
			assert_int_equal(h.far.len, hdr + len);
			assert_int_equal(p.l4_len, 20 + len);
			assert_int_equal(far_get(p.l4 + 4, 4), 1 + at);
			assert_int_equal(far_get(p.l4 + 12, 2) & 0xfff, flags);
			if (!v6)
				assert_int_equal(far_get(18, 2), 0x1234 + i);
			assert_memory_equal(h.far.frame + hdr, b.byte + hdr + at, len);
			at += len;
			assert_int_equal(sent(), i == 2);
			h.far.room = 1;
			net_readable(h.far.net);
			host_settle(&h);
		}
		assert_int_equal(h.far.frames, 3);
		assert_int_equal(rd(&h, IGB_STAT_TSCTC), 1);
	}
	h.far.room = ~0u;
}

/* A driver that asks for segments of a byte keeps nobody waiting for all of them. */
static void many_segments(void **state)
{
	tcp_make(false, 1400, ACK, 0);
	context(false, 1, 1, 0, 0);
	data(IGB_TXD_TSE, IGB_TXD_TXSM | IGB_TXD_IXSM);
	assert_true(h.far.frames > 0 && h.far.frames < 1400);
	assert_false(sent());
	host_settle(&h);
	assert_int_equal(h.far.frames, 1400);
	assert_true(sent());
	far_packet();
}

/* Beside it, another queue has its turns. */
static void many_segments_beside(void **state)
{
	struct ring other;
	uint64_t at;

	tx_open(&other, &h, 5, 16);
	at = frame_put(&h, 77, 1);
	tcp_make(false, 1400, ACK, 0);
	context(false, 1, 1, 0, 0);
	data(IGB_TXD_TSE, IGB_TXD_TXSM | IGB_TXD_IXSM);
	tx_put(&other, at, 77, CMD_ONE);
	ring_ring(&other);
	loop_step(h.m.loop, false);
	assert_non_null(ring_seen(&other));
	assert_false(sent());
	host_settle(&h);
	assert_int_equal(h.far.frames, 1401);
}

static void tags(void **state)
{
	tcp_make(false, 100, ACK, 120);
	context(false, 1, 0, 0x6123, 0);
	data(IGB_TXD_VLE, IGB_TXD_TXSM | IGB_TXD_IXSM);
	assert_int_equal(far_packet().tci, 0x6123);
	assert_int_equal(h.far.len, b.len + VLAN_LEN);
	assert_memory_equal(h.far.frame + 60, b.byte + 56, b.len - 56);
	/* By a legacy descriptor, whose tag is its own. */
	frame_make(b.byte, 100, 2);
	b.len = 100;
	tx_put(&tx, in_memory(), 100, IGB_TXD_EOP | IGB_TXD_IFCS | IGB_TXD_VLE | IGB_TXD_RS)->d[3] = 0x0042u << 16;
	ring_ring(&tx);
	assert_int_equal(h.far.len, 104);
	assert_int_equal(far_get(12, 4), 0x81000042);
	assert_memory_equal(h.far.frame + 16, b.byte + 12, 88);
}

static void legacy_sum(void **state)
{
	union igb_desc *t;

	tcp_make(false, 99, ACK, 119);
	t = tx_put(&tx, in_memory(), b.len, IGB_TXD_EOP | IGB_TXD_IFCS | IGB_TXD_IC | (34 + 16) << 16);
	t->d[3] = 34 << 8;
	ring_ring(&tx);
	assert_int_equal(h.far.frames, 1);
	assert_true(far_packet().kind & PACKET_TCP);
	/* Where nothing is, nothing is inserted. */
	t = tx_put(&tx, in_memory(), b.len, IGB_TXD_EOP | IGB_TXD_IFCS | IGB_TXD_IC | 255 << 16);
	t->d[3] = 34 << 8;
	ring_ring(&tx);
	assert_int_equal(h.far.frames, 2);
	assert_memory_equal(h.far.frame, b.byte, b.len);
}

static void nonsense(void **state)
{
	tcp_make(false, 100, ACK, 0);
	context(false, 1, 0, 0, 0); /* no MSS */
	data(IGB_TXD_TSE, IGB_TXD_TXSM);
	assert_true(sent());
	assert_int_equal(h.far.frames, 0);
	assert_int_equal(h.misuses, 1);
	assert_non_null(strstr(h.misuse, "offloads"));
	context(true, 2, 100, 0, 0); /* SCTP is not cut */
	data(IGB_TXD_TSE, IGB_TXD_TXSM);
	assert_int_equal(h.far.frames, 0);
	/* Longer than any frame when it has been cut. */
	tcp_make(false, 17000, ACK, 0);
	context(false, 1, 16380, 0, 0);
	data(IGB_TXD_TSE, IGB_TXD_TXSM);
	assert_true(sent());
	assert_int_equal(h.far.frames, 0);
	/* And the card goes on. */
	tcp_make(false, 100, ACK, 120);
	data(0, 0);
	assert_int_equal(h.far.frames, 1);
}

/* ---- in ---- */

static const union igb_desc *arrive(struct ring *r)
{
	struct iovec iov[2] = {{b.byte, 50}, {b.byte + 50, b.len - 50}};

	assert_int_equal(net_send(h.far.net, iov, 2, b.len), NET_TAKEN);
	net_sent(h.far.net);
	return ring_seen(r);
}

static void udp_make(bool v6, size_t payload)
{
	size_t l4;

	ip_headers(v6, IPPROTO_UDP, 8 + payload);
	l4 = b.len;
	build_udp(&b, 9, 10, payload);
	build_fill(&b, 5, payload);
	build_put16(&b, l4 + 6,
		    build_sum(b.byte + l4, 8 + payload, build_pseudo(b.byte + 14, IPPROTO_UDP, 8 + payload)));
}

#define L4_BITS	 (IGB_RXD_L4CS | IGB_RXD_UDPCS | IGB_RXD_L4E)
#define SUM_BITS (L4_BITS | IGB_RXD_IPCS | IGB_RXD_IPE)

static void checks(void **state)
{
	const union igb_desc *t;

	udp_make(false, 100);
	t = arrive(&rx);
	assert_int_equal(t->d[2] & SUM_BITS, IGB_RXD_IPCS | IGB_RXD_L4CS | IGB_RXD_UDPCS);
	assert_int_equal(t->d[0] >> 4, PACKET_IPV4 | PACKET_UDP);
	b.byte[b.len - 1] ^= 1;
	t = arrive(&rx);
	assert_int_equal(t->d[2] & SUM_BITS, IGB_RXD_IPCS | L4_BITS);
	b.byte[b.len - 1] ^= 1;
	b.byte[14 + 8] ^= 1;
	t = arrive(&rx);
	assert_int_equal(t->d[2] & SUM_BITS, IGB_RXD_IPCS | IGB_RXD_IPE | IGB_RXD_L4CS | IGB_RXD_UDPCS);
	udp_make(true, 100);
	t = arrive(&rx);
	assert_int_equal(t->d[2] & SUM_BITS, IGB_RXD_L4CS | IGB_RXD_UDPCS);
	assert_int_equal(t->d[0] >> 4, PACKET_IPV6 | PACKET_UDP);
	tcp_make(false, 100, ACK, 120);
	t = arrive(&rx); /* with but the pseudo-header's sum in it */
	assert_int_equal(t->d[2] & SUM_BITS, IGB_RXD_IPCS | IGB_RXD_L4CS | IGB_RXD_L4E);
	wr(&h, IGB_RXCSUM, IGB_RXCSUM_PCSD);
	t = arrive(&rx);
	assert_int_equal(t->d[2] & SUM_BITS, 0);
	assert_int_equal(t->d[1], 0);
	assert_int_equal(h.misuses, 0);
}

static void packet_sum(void **state)
{
	const union igb_desc *t;

	udp_make(false, 100);
	wr(&h, IGB_RXCSUM, 14);
	t = arrive(&rx);
	assert_int_equal(t->d[1] & 0xffff, 0x1234);
	assert_int_equal(t->d[1] >> 16, build_sum(b.byte + 14, b.len - 14, 0));
	wr(&h, IGB_RXCSUM, IGB_RXCSUM_IPID);
	t = arrive(&rx);
	assert_int_equal(t->d[1], 0); /* no fragment */
	b.byte[14 + 6] = 0x20;
	t = arrive(&rx);
	assert_int_equal(t->d[1] >> 16, build_sum(b.byte + 34, b.len - 34, 0));
}

static void strip(void **state)
{
	const union igb_desc *t;
	unsigned int at;

	udp_make(false, 100);
	memmove(b.byte + 16, b.byte + 12, b.len - 12);
	memcpy(b.byte + 12, (uint8_t[]){0x81, 0, 0x20, 0x05}, 4);
	b.len += 4;
	t = arrive(&rx);
	assert_int_equal(t->d[2] & IGB_RXD_VP, 0);
	assert_int_equal(t->d[3], b.len);
	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) | IGB_CTRL_VME);
	at = rx.seen;
	t = arrive(&rx);
	assert_true(t->d[2] & IGB_RXD_VP);
	assert_int_equal(t->d[3], (b.len - 4) | 0x2005u << 16);
	assert_int_equal(t->d[2] & SUM_BITS, IGB_RXD_IPCS | IGB_RXD_L4CS | IGB_RXD_UDPCS);
	assert_memory_equal(rx_data(&rx, at), b.byte, 12);
	assert_memory_equal(rx_data(&rx, at) + 12, b.byte + 16, b.len - 16);
}

static const uint8_t key[RSS_KEY] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

/* The first of Microsoft's vectors: 0x51ccc178 over the ports too, 0x323e8fc2 without. */
static void rss_frame(void)
{
	build_mac(&b);
	memcpy(b.byte, (uint8_t[]){2, 0, 0, 0, 0, 1}, 6);
	build16(&b, 0x0800);
	build_ipv4(&b, "66.9.149.187", "161.142.100.80", IPPROTO_TCP, 0, 40);
	build_tcp(&b, 2794, 1766, 0, 0, 0);
	build_fill(&b, 0, 20);
}

static void rss_key_write(void)
{
	for (unsigned int i = 0; i < RSS_KEY; i += 4)
		wr(&h, IGB_RSSRK + i,
		   key[i] | (uint32_t)key[i + 1] << 8 | (uint32_t)key[i + 2] << 16 | (uint32_t)key[i + 3] << 24);
}

static void scaling(void **state)
{
	const union igb_desc *t;
	struct ring other;

	rx_open(&other, &h, 9, 16, 2);
	wr(&h, IGB_RXCSUM, IGB_RXCSUM_PCSD);
	rss_key_write();
	wr(&h, IGB_RETA + (0x78 & ~3u), 9u << 8 * (0x78 & 3)); /* by the hash's last seven bits */
	rss_frame();
	t = arrive(&rx); /* not on yet */
	assert_int_equal(t->d[0] & 15, 0);
	assert_int_equal(t->d[1], 0);
	wr(&h, IGB_MRQC, IGB_MRQC_RSS | 3 << 16);
	t = arrive(&other);
	assert_non_null(t);
	assert_int_equal(t->d[0] & 15, 1);
	assert_int_equal(t->d[1], 0x51ccc178);
	wr(&h, IGB_MRQC, IGB_MRQC_RSS | 2 << 16);
	t = arrive(&rx);
	assert_int_equal(t->d[0] & 15, 2);
	assert_int_equal(t->d[1], 0x323e8fc2);
	/* Another key, another hash. */
	wr(&h, IGB_RSSRK, 0);
	t = arrive(&rx);
	assert_int_not_equal(t->d[1], 0x323e8fc2);
	/* What cannot be hashed goes to the default queue. */
	wr(&h, IGB_MRQC, IGB_MRQC_RSS | 1 << 22);
	t = arrive(&rx);
	assert_int_equal(t->d[0] & 15, 0);
	assert_int_equal(t->d[1], 0);
}

static void ethertypes(void **state)
{
	const union igb_desc *t;
	struct ring other;

	rx_open(&other, &h, 3, 16, 2);
	wr(&h, IGB_ETQF + 4 * 6, 0x88b5 | IGB_ETQF_ENABLE);
	frame_make(b.byte, 100, 1);
	b.len = 100;
	t = arrive(&rx);
	assert_int_equal(t->d[0], IGB_RXD_L2 | 6 << 4);
	wr(&h, IGB_ETQF + 4 * 2, 0x88b5 | IGB_ETQF_ENABLE | IGB_ETQF_QUEUE_ENABLE | 3 << 16);
	t = arrive(&other);
	assert_int_equal(t->d[0], IGB_RXD_L2 | 2 << 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(sums, setup, teardown),
	    cmocka_unit_test_setup_teardown(segments, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_segments, setup, teardown),
	    cmocka_unit_test_setup_teardown(many_segments_beside, setup, teardown),
	    cmocka_unit_test_setup_teardown(tags, setup, teardown),
	    cmocka_unit_test_setup_teardown(legacy_sum, setup, teardown),
	    cmocka_unit_test_setup_teardown(nonsense, setup, teardown),
	    cmocka_unit_test_setup_teardown(checks, setup, teardown),
	    cmocka_unit_test_setup_teardown(packet_sum, setup, teardown),
	    cmocka_unit_test_setup_teardown(strip, setup, teardown),
	    cmocka_unit_test_setup_teardown(scaling, setup, teardown),
	    cmocka_unit_test_setup_teardown(ethertypes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
