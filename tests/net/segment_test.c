/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments and inserted checksums: what comes out is parsed and put together again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <errno.h>
#include <netinet/in.h>
#include <cmocka.h>

#include "base/guard.h"
#include "base/util.h"
#include "net/frame.h"
#include "net/packet.h"
#include "net/segment.h"
#include "build.h"

static struct build b, out;
static struct segments s;

enum { FIN = 1, SYN = 2, PSH = 8, ACK = 0x10, CWR = 0x80 };

static struct segment_ask tcp_ask(bool v6, size_t opt, uint16_t mss)
{
	return (struct segment_ask){.cut = true,
				    .ip_sum = !v6,
				    .l4_sum = true,
				    .ipv4 = !v6,
				    .l4 = SEGMENT_TCP,
				    .mac_len = 14,
				    .ip_len = v6 ? 40 : 20,
				    .l4_len = 20 + opt,
				    .mss = mss,
				    .tcp_first = SEGMENT_TCP_FIRST,
				    .tcp_middle = SEGMENT_TCP_MIDDLE,
				    .tcp_last = SEGMENT_TCP_LAST};
}

static void ip_header(bool v6, uint8_t proto, size_t payload)
{
	build_ether(&b, v6 ? 0x86dd : 0x0800);
	if (v6)
		build_ipv6(&b, "fe80::1", "fe80::2", proto, payload);
	else
		build_ipv4(&b, "10.0.0.1", "10.0.0.2", proto, 0, payload);
}

/* A packet as a driver leaves it: the pseudo-header's sum, without the length, in the field. */
static void tcp_packet(bool v6, size_t opt, size_t payload, uint16_t flags)
{
	size_t l4;

	ip_header(v6, IPPROTO_TCP, 20 + opt);
	l4 = b.len;
	build_tcp(&b, 80, 4000, 0xfffffff0, flags, opt);
	build_put16(&b, l4 + 16, build_pseudo(b.byte + 14, IPPROTO_TCP, 0));
	build_fill(&b, 0x5a, payload);
}

static unsigned int pieces(struct iovec *iov, size_t step)
{
	unsigned int n = 0;

	for (size_t at = 0; at < b.len; at += iov[n++].iov_len)
		iov[n] = (struct iovec){b.byte + at, MIN(step + n, b.len - at)};
	return n;
}

/* Frame i in one piece, in `out`. */
static struct packet make(uint32_t i)
{
	struct iovec iov[400];
	unsigned int n = ARRAY_SIZE(iov);
	struct packet p;
	size_t len;

	assert_int_equal(segments_make(&s, i, iov, &n, &len), 0);
	assert_int_equal(frame_copy(iov, n, 0, out.byte, len), 0);
	assert_int_equal(frame_copy(iov, n, len, out.byte, 1), -EFAULT);
	assert_int_equal(frame_copy(iov, n, 0, out.byte, len), 0);
	out.len = len;
	packet_parse(out.byte, MIN(len, (size_t)PACKET_HEADERS), len, VLAN_ETHERTYPE, &p);
	return p;
}

static void sums_good(const struct packet *p)
{
	struct iovec iov = {out.byte, out.len};

	assert_int_equal(packet_ip_check(out.byte, p), p->kind & PACKET_IPV4 ? PACKET_SUM_GOOD : PACKET_SUM_NONE);
	assert_int_equal(packet_l4_check(out.byte, p, &iov, 1), PACKET_SUM_GOOD);
}

static uint32_t get(size_t at, size_t len)
{
	uint32_t v = 0;

	while (len--)
		v = v << 8 | out.byte[at++];
	return v;
}

static void cut_tcp(bool v6, size_t opt, size_t payload, uint16_t mss, size_t step, uint16_t tci)
{
	struct segment_ask ask = tcp_ask(v6, opt, mss);
	struct iovec iov[400];
	size_t at = 0, hdr = 14 + (v6 ? 40 : 20) + 20 + opt, tag = tci ? 4 : 0;
	unsigned int n;

	ask.vlan = tci;
	ask.tci = tci;
	ask.vet = VLAN_ETHERTYPE;
	tcp_packet(v6, opt, payload, FIN | PSH | ACK | CWR);
	n = pieces(iov, step);
	assert_int_equal(segments_init(&s, &ask, iov, n, b.len), 0);
	assert_int_equal(s.count, payload ? DIV_ROUND_UP(payload, (size_t)mss) : 1);
	for (uint32_t i = 0; i < s.count; i++) {
		struct packet p = make(i);
		uint16_t flags = ACK | (i == 0 ? CWR : 0) | (i + 1 == s.count ? FIN | PSH : 0);
		size_t part = MIN(payload - at, (size_t)mss);

		assert_int_equal(p.kind, (v6 ? PACKET_IPV6 : PACKET_IPV4) | PACKET_TCP);
		assert_int_equal(p.tagged, tci != 0);
		assert_int_equal(p.tci, tci);
		sums_good(&p);
		assert_int_equal(out.len, hdr + tag + part);
		assert_int_equal(p.l4_len, 20 + opt + part); /* so the IP header's length is right */
		if (!v6)
			assert_int_equal(get(p.l3 + 4, 2), 0x1234 + i);
		assert_int_equal(get(p.l4 + 4, 4), (uint32_t)(0xfffffff0 + i * mss));
		assert_int_equal(get(p.l4 + 12, 2) & 0xfff, flags);
		assert_int_equal(get(p.l4 + 12, 2) >> 12, (20 + opt) / 4);
		assert_memory_equal(out.byte + hdr + tag, b.byte + hdr + at, part);
		assert_memory_equal(out.byte, b.byte, 12);
		at += part;
	}
	assert_int_equal(at, payload);
}

static void test_tcp(void **state)
{
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		cut_tcp(v6, 0, 10000, 1460, 5000, 0);
		cut_tcp(v6, 12, 10000, 1448, 97, 0);
		cut_tcp(v6, 12, 10000, 1448, 97, 0x6123);
		cut_tcp(v6, 40, 1001, 333, 31, 0);
		cut_tcp(v6, 0, 100, 100, 31, 7);
		cut_tcp(v6, 0, 101, 100, 31, 0);
		cut_tcp(v6, 0, 200, 100, 31, 0);
		cut_tcp(v6, 0, 50, 1460, 31, 0);
		cut_tcp(v6, 0, 0, 1460, 31, 0);
		cut_tcp(v6, 0, 40, 1, 31, 0);
	}
}

/* Segments are made by number: in any order, and again. */
static void test_order(void **state)
{
	struct segment_ask ask = tcp_ask(false, 0, 100);
	struct iovec iov[400];
	static struct build first;

	tcp_packet(false, 0, 1000, ACK);
	assert_int_equal(segments_init(&s, &ask, iov, pieces(iov, 64), b.len), 0);
	make(7);
	first = out;
	make(2);
	assert_memory_not_equal(first.byte, out.byte, 60);
	make(7);
	assert_int_equal(first.len, out.len);
	assert_memory_equal(first.byte, out.byte, out.len);
}

static void test_udp(void **state)
{
	for (unsigned int v6 = 0; v6 < 2; v6++) {
		struct segment_ask ask = tcp_ask(v6, 0, 500);
		struct iovec iov[400];

		ask.l4 = SEGMENT_UDP;
		ask.l4_len = 8;
		ip_header(v6, IPPROTO_UDP, 8);
		build_udp(&b, 1, 2, 0);
		build_put16(&b, b.len - 2, build_pseudo(b.byte + 14, IPPROTO_UDP, 0));
		build_fill(&b, 3, 1700);
		assert_int_equal(segments_init(&s, &ask, iov, pieces(iov, 100), b.len), 0);
		assert_int_equal(s.count, 4);
		for (uint32_t i = 0; i < 4; i++) {
			struct packet p = make(i);

			assert_true(p.kind & PACKET_UDP);
			assert_int_equal(p.l4_len, 8 + (i == 3 ? 200 : 500));
			sums_good(&p);
		}
	}
}

/* Insertion alone: the pseudo-header's sum has the length in it, and the payload stays where it is. */
static void test_insert(void **state)
{
	for (unsigned int v6 = 0; v6 < 2; v6++)
		for (size_t payload = 0; payload < 70; payload++) {
			struct segment_ask ask = {.l4_sum = true,
						  .ip_sum = true,
						  .ipv4 = !v6,
						  .l4 = SEGMENT_TCP,
						  .mac_len = 14,
						  .ip_len = v6 ? 40 : 20};
			struct iovec iov[400];
			struct packet p;
			size_t l4;

			ip_header(v6, IPPROTO_TCP, 20 + payload);
			l4 = b.len;
			build_tcp(&b, 1, 2, 3, ACK | FIN, 0);
			build_put16(&b, l4 + 16, build_pseudo(b.byte + 14, IPPROTO_TCP, 20 + payload));
			build_fill(&b, 1, payload);
			if (!v6)
				build_put16(&b, 24, 0xdead);
			assert_int_equal(segments_init(&s, &ask, iov, pieces(iov, 17), b.len), 0);
			assert_int_equal(s.count, 1);
			p = make(0);
			assert_int_equal(out.len, b.len);
			sums_good(&p);
			out.byte[l4 + 16] = b.byte[l4 + 16];
			out.byte[l4 + 17] = b.byte[l4 + 17];
			assert_memory_equal(out.byte + l4, b.byte + l4, b.len - l4);
		}
}

/* A computed sum of zero goes out as all ones in UDP, where zero means that there is none. */
static void test_udp_zero(void **state)
{
	struct segment_ask ask = {.l4_sum = true, .ipv4 = true, .l4 = SEGMENT_UDP, .mac_len = 14, .ip_len = 20};
	struct iovec iov[400];
	uint16_t sum;

	ip_header(false, IPPROTO_UDP, 10);
	build_udp(&b, 1, 2, 2);
	build_put16(&b, 34 + 6, build_pseudo(b.byte + 14, IPPROTO_UDP, 10));
	build16(&b, 0);
	sum = build_sum(b.byte + 34, 10, 0);
	build_put16(&b, 34 + 8, sum);
	assert_int_equal(segments_init(&s, &ask, iov, pieces(iov, 100), b.len), 0);
	make(0);
	assert_int_equal(get(34 + 6, 2), 0xffff);
}

static void test_sctp(void **state)
{
	struct segment_ask ask = {
	    .l4_sum = true, .ip_sum = true, .ipv4 = true, .l4 = SEGMENT_SCTP, .mac_len = 14, .ip_len = 20};
	struct iovec iov[400];
	struct packet p;

	ip_header(false, IPPROTO_SCTP, 12 + 1001);
	build32(&b, 0x00010002);
	build32(&b, 0x11223344);
	build32(&b, 0xffffffff);
	build_fill(&b, 9, 1001);
	assert_int_equal(segments_init(&s, &ask, iov, pieces(iov, 33), b.len), 0);
	p = make(0);
	assert_true(p.kind & PACKET_SCTP);
	sums_good(&p);
}

static void test_nothing_asked(void **state)
{
	struct segment_ask ask = {.l4 = SEGMENT_L4_NONE};
	struct iovec iov[400], got[400];
	unsigned int n = ARRAY_SIZE(got), cnt;
	size_t len;

	tcp_packet(false, 0, 300, ACK);
	cnt = pieces(iov, 64);
	assert_int_equal(segments_init(&s, &ask, iov, cnt, b.len), 0);
	assert_int_equal(segments_make(&s, 0, got, &n, &len), 0);
	assert_int_equal(n, cnt);
	assert_memory_equal(got, iov, cnt * sizeof(*iov)); /* the packet's own memory, nothing copied */
	n = cnt - 1;
	assert_int_equal(segments_make(&s, 0, got, &n, &len), -E2BIG);

	ask.vlan = true;
	ask.vet = VLAN_ETHERTYPE;
	ask.tci = 5;
	assert_int_equal(segments_init(&s, &ask, iov, cnt, b.len), 0);
	make(0);
	assert_int_equal(out.len, b.len + 4);
	assert_memory_equal(out.byte + 16, b.byte + 12, b.len - 12);
	assert_int_equal(get(12, 4), 0x81000005);
}

static void test_nonsense(void **state)
{
	struct segment_ask good = tcp_ask(false, 0, 100), ask;
	struct iovec iov[400];
	unsigned int n;

	tcp_packet(false, 0, 300, ACK);
	n = pieces(iov, 100);
#define REFUSED(change)                                                                                                \
	do {                                                                                                           \
		ask = good;                                                                                            \
		change;                                                                                                \
		assert_int_equal(segments_init(&s, &ask, iov, n, b.len), -EINVAL);                                     \
	} while (0)
	REFUSED(ask.mss = 0);
	REFUSED(ask.ip_len = 19);
	REFUSED(ask.l4_len = 19);
	REFUSED(ask.l4 = SEGMENT_SCTP);
	REFUSED(ask.l4 = SEGMENT_L4_NONE);
	REFUSED(ask.l4_len = 255; ask.ip_len = 511);
	REFUSED(ask.ipv4 = false);
	REFUSED(ask.cut = false; ask.l4 = SEGMENT_TCP; ask.ip_len = 400);
	/* What is asked for lies where no header is: done all the same, within the packet. */
	ask = good;
	ask.mac_len = 0;
	ask.l4_len = 21;
	assert_int_equal(segments_init(&s, &ask, iov, n, b.len), 0);
	for (uint32_t i = 0; i < s.count; i++)
		make(i);
	ask = good;
	ask.cut = false;
	ask.vlan = true;
	ask.mac_len = 0;
	ask.ip_len = 0;
	ask.ip_sum = false;
	ask.l4 = SEGMENT_UDP;
	assert_int_equal(segments_init(&s, &ask, iov, n, b.len), 0);
	make(0);
	assert_int_equal(out.len, b.len + 4);
}

/* A header that ends at an odd place, as no protocol has it, is summed like any bytes. */
static void test_odd(void **state)
{
	struct segment_ask ask = tcp_ask(false, 1, 100);
	struct iovec iov[400];

	tcp_packet(false, 0, 301, ACK);
	assert_int_equal(segments_init(&s, &ask, iov, pieces(iov, 100), b.len), 0);
	for (uint32_t i = 0; i < s.count; i++) {
		struct packet p = make(i);

		sums_good(&p);
	}
}

static void test_memory_that_is_gone(void **state)
{
	struct segment_ask ask = tcp_ask(false, 0, 100);
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = {page + 4000, 500}, got[8];
	unsigned int n = 8;
	size_t len;

	guard_install(); /* after cmocka's own handlers */
	tcp_packet(false, 0, 446, ACK);
	memcpy(page + 4000, b.byte, 500);
	assert_int_equal(segments_init(&s, &ask, &iov, 1, 500), 0);
	assert_int_equal(munmap(page + 4096, 4096), 0);
	assert_int_equal(segments_make(&s, 0, got, &n, &len), -EFAULT);
	iov.iov_base = page + 4090;
	assert_int_equal(segments_init(&s, &ask, &iov, 1, 500), -EFAULT);
	munmap(page, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tcp),		  cmocka_unit_test(test_order),
	    cmocka_unit_test(test_udp),		  cmocka_unit_test(test_insert),
	    cmocka_unit_test(test_udp_zero),	  cmocka_unit_test(test_sctp),
	    cmocka_unit_test(test_nothing_asked), cmocka_unit_test(test_nonsense),
	    cmocka_unit_test(test_odd),		  cmocka_unit_test(test_memory_that_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
