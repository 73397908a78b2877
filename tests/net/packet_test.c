/* SPDX-License-Identifier: BSD-3-Clause */
/* What headers say, checksums, and the hash of receive side scaling. */
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
#include "net/checksum.h"
#include "net/frame.h"
#include "net/packet.h"
#include "net/rss.h"
#include "build.h"

static struct build b;

static struct packet parse(void)
{
	struct packet p;

	packet_parse(b.byte, MIN(b.len, (size_t)PACKET_HEADERS), b.len, VLAN_ETHERTYPE, &p);
	return p;
}

/* Cuts the frame into pieces of step, 2 * step, ... bytes. */
static unsigned int pieces(struct iovec *iov, size_t step)
{
	unsigned int n = 0;

	for (size_t at = 0, len = step; at < b.len; at += iov[n++].iov_len, len += step)
		iov[n] = (struct iovec){b.byte + at, MIN(len, b.len - at)};
	return n;
}

static enum packet_sum l4_check(const struct packet *p)
{
	struct iovec iov[300];

	return packet_l4_check(b.byte, p, iov, pieces(iov, 37));
}

static void test_ethernet(void **state)
{
	struct packet p;

	build_ether(&b, 0x88f7);
	build_fill(&b, 0, 46);
	p = parse();
	assert_int_equal(p.kind, 0);
	assert_int_equal(p.ethertype, 0x88f7);
	assert_false(p.tagged);
	assert_int_equal(p.headers_end, 14);

	build_ether(&b, 46); /* a length: LLC, not SNAP */
	build_fill(&b, 0x42, 46);
	p = parse();
	assert_int_equal(p.ethertype, 0);
	assert_int_equal(p.kind, 0);

	b.len = 13;
	p = parse();
	assert_int_equal(p.headers_end, 0);
}

static void tcp4(size_t opt, size_t payload)
{
	build_ipv4(&b, "10.0.0.1", "10.0.0.2", IPPROTO_TCP, opt, 20 + payload);
	build_tcp(&b, 1, 2, 3, 0x10, 0);
	build_fill(&b, 7, payload);
}

static void test_tags(void **state)
{
	struct packet p;

	build_ether(&b, 0x8100);
	build16(&b, 0x6005);
	build16(&b, 0x0800);
	tcp4(0, 10);
	p = parse();
	assert_true(p.tagged);
	assert_int_equal(p.tci, 0x6005);
	assert_int_equal(p.kind, PACKET_IPV4 | PACKET_TCP);
	assert_int_equal(p.l3, 18);
	assert_int_equal(p.l4, 38);

	build_ether(&b, 0x88a8);
	build16(&b, 7);
	build16(&b, 0x8100);
	build16(&b, 8);
	build16(&b, 0x0800);
	tcp4(0, 10);
	p = parse();
	assert_int_equal(p.tci, 7);
	assert_int_equal(p.kind, PACKET_IPV4 | PACKET_TCP);
	assert_int_equal(p.l3, 22);

	/* A third tag is not looked behind. */
	build_ether(&b, 0x8100);
	build16(&b, 7);
	build16(&b, 0x8100);
	build16(&b, 8);
	build16(&b, 0x8100);
	build16(&b, 9);
	build16(&b, 0x0800);
	tcp4(0, 10);
	p = parse();
	assert_int_equal(p.kind, 0);
	assert_int_equal(p.ethertype, 0x8100);
}

static void test_snap(void **state)
{
	static const uint8_t llc[8] = {0xaa, 0xaa, 3, 0, 0, 0, 8, 0};
	struct packet p;

	build_ether(&b, 58);
	build_bytes(&b, llc, 8);
	tcp4(0, 10);
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV4 | PACKET_TCP);
	assert_int_equal(p.l3, 22);
}

static void test_ipv4(void **state)
{
	struct packet p;

	build_ether(&b, 0x0800);
	tcp4(8, 11);
	build_fill(&b, 0xee, 9); /* padding is not the packet's */
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV4 | PACKET_IPV4_OPTIONS | PACKET_TCP);
	assert_int_equal(p.l3_len, 28);
	assert_int_equal(p.l4, 42);
	assert_int_equal(p.l4_len, 31);
	assert_int_equal(p.headers_end, 62);
	assert_int_equal(packet_ip_check(b.byte, &p), PACKET_SUM_GOOD);
	b.byte[14 + 8] ^= 1;
	assert_int_equal(packet_ip_check(b.byte, &p), PACKET_SUM_BAD);
	b.byte[14 + 8] ^= 1;

	b.byte[14 + 6] = 0x20; /* more fragments */
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV4 | PACKET_IPV4_OPTIONS | PACKET_FRAGMENT);
	assert_int_equal(p.l4, 0);
	b.byte[14 + 6] = 0;
	b.byte[14 + 7] = 1; /* not the first */
	p = parse();
	assert_true(p.kind & PACKET_FRAGMENT);
	b.byte[14 + 7] = 0;

	b.byte[14] = 0x44; /* too short a header */
	assert_int_equal(parse().kind, 0);
	b.byte[14] = 0x67; /* version 6 in an IPv4 frame */
	assert_int_equal(parse().kind, 0);
	b.byte[14] = 0x47;
	b.byte[14 + 2] = 0xff; /* longer than the frame */
	assert_int_equal(parse().kind, 0);
}

static void test_transport_that_does_not_fit(void **state)
{
	struct packet p;

	build_ether(&b, 0x0800);
	tcp4(0, 0);
	b.byte[34 + 12] = 0x40; /* a TCP header of 16 bytes */
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV4);
	b.byte[34 + 12] = 0x60; /* one that ends past the packet */
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV4);

	build_ether(&b, 0x0800);
	build_ipv4(&b, "1.2.3.4", "5.6.7.8", IPPROTO_UDP, 0, 8);
	build_udp(&b, 1, 2, 1); /* claims a byte more than there is */
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV4);
}

/* Each prefix of a frame is parsed from memory of just its length: under ASan, nothing is read behind it. */
static void test_prefixes(void **state)
{
	build_ether(&b, 0x86dd);
	build_ipv6(&b, "fe80::1", "fe80::2", IPPROTO_HOPOPTS, 8 + 24 + 20);
	build_bytes(&b, "\x3c\0\1\4\0\0\0\0", 8);
	build_bytes(&b, "\x06\2\1\2\0\0\xc9\x10", 8);
	build_fill(&b, 1, 16);
	build_tcp(&b, 1, 2, 3, 0x10, 0);
	assert_int_equal(parse().kind, PACKET_IPV6 | PACKET_IPV6_EXTENSIONS | PACKET_TCP);
	for (size_t have = 0; have <= b.len; have++) {
		uint8_t *copy = malloc(have ? have : 1);
		struct packet p;

		memcpy(copy, b.byte, have);
		packet_parse(copy, have, b.len, VLAN_ETHERTYPE, &p);
		assert_true(p.headers_end <= have);
		assert_int_equal(!!(p.kind & PACKET_TCP), have == b.len);
		packet_parse(copy, have, have, VLAN_ETHERTYPE, &p);
		assert_int_equal(!!(p.kind & PACKET_IPV6), have == b.len);
		free(copy);
	}
}

static void test_ipv6_extensions(void **state)
{
	struct packet p;

	build_ether(&b, 0x86dd);
	build_ipv6(&b, "fe80::1", "fe80::2", IPPROTO_DSTOPTS, 24 + 24 + 8 + 4);
	build_bytes(&b, "\x2b\2\0\1\1\0\xc9\x10", 8); /* then a routing header; Pad1, PadN, home address */
	build_fill(&b, 0x20, 16);
	build_bytes(&b, "\x11\2\2\1\0\0\0\0", 8);
	build_fill(&b, 0x40, 16);
	build_udp(&b, 5, 6, 4);
	build_fill(&b, 0, 4);
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV6 | PACKET_IPV6_EXTENSIONS | PACKET_UDP);
	assert_int_equal(p.l3_len, 40 + 24 + 24);
	assert_int_equal(b.byte[p.src], 0x20);
	assert_int_equal(b.byte[p.dst], 0x40);
	assert_int_equal(p.plain_src, 14 + 8);
	assert_int_equal(p.plain_dst, 14 + 24);

	b.byte[14 + 40 + 24 + 2] = 0; /* routing of another type, still to be followed */
	p = parse();
	assert_true(p.kind & PACKET_ROUTED);
	assert_int_equal(l4_check(&p), PACKET_SUM_NONE);
	b.byte[14 + 40 + 24 + 3] = 0; /* followed to the end */
	p = parse();
	assert_false(p.kind & PACKET_ROUTED);

	b.byte[14 + 40] = IPPROTO_FRAGMENT;
	p = parse();
	assert_int_equal(p.kind & (PACKET_FRAGMENT | PACKET_TRANSPORT), 0); /* what was a header is a fragment of all */
	build_ether(&b, 0x86dd);
	build_ipv6(&b, "fe80::1", "fe80::2", IPPROTO_FRAGMENT, 8 + 8);
	build_bytes(&b, "\x11\0\0\1\0\0\0\0", 8);
	build_udp(&b, 5, 6, 0);
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV6 | PACKET_IPV6_EXTENSIONS | PACKET_FRAGMENT);
}

static uint64_t seed = 1;
static uint32_t any(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return seed >> 33;
}

static void test_sums(void **state)
{
	struct iovec iov[300];

	for (unsigned int round = 0; round < 2000; round++) {
		size_t off = any() % 70, len = any() % (round < 1000 ? 100 : 9000);
		uint64_t sum;
		uint16_t want, got;
		unsigned int n;

		b.len = off + len;
		for (size_t i = 0; i < b.len; i++)
			b.byte[i] = round % 7 ? any() : 0xff;
		want = htons(build_sum(b.byte + off, len, 0));
		assert_int_equal(checksum_finish(checksum_add(b.byte + off, len)), want);
		n = pieces(iov, 1 + any() % 67);
		assert_int_equal(frame_checksum(iov, MIN(n, 300u), off, len, &sum), 0);
		got = checksum_finish(sum);
		assert_int_equal(got, want);
		assert_int_equal(frame_checksum(iov, n, off, len + 1, &sum), -EFAULT);
	}
	/* RFC 1071 section 3's example. */
	assert_int_equal(checksum_finish(checksum_add("\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 8)), htons(0x220d));
}

static void test_crc32c(void **state)
{
	struct iovec iov[300];
	uint32_t crc = ~0u;
	uint8_t zero[32] = {0};

	/* RFC 3720 appendix B.4. */
	assert_int_equal(~crc32c_add(~0u, zero, 32), 0x8a9136aa);
	assert_int_equal(~crc32c_add(~0u, "123456789", 9), 0xe3069283);
	b.len = 9000;
	for (size_t i = 0; i < b.len; i++)
		b.byte[i] = any();
	assert_int_equal(frame_crc32c(iov, pieces(iov, 41), 5, 8000, &crc), 0);
	assert_int_equal(crc, crc32c_add(~0u, b.byte + 5, 8000));
}

static void test_memory_that_is_gone(void **state)
{
	uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = {page, 8192};
	uint64_t sum;
	uint32_t crc = 0;
	uint8_t out[100];

	guard_install(); /* after cmocka's own handlers */
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(munmap(page + 4096, 4096), 0);
	assert_int_equal(frame_checksum(&iov, 1, 0, 8192, &sum), -EFAULT);
	assert_int_equal(frame_crc32c(&iov, 1, 0, 8192, &crc), -EFAULT);
	assert_int_equal(frame_copy(&iov, 1, 4000, out, 100), -EFAULT);
	assert_int_equal(frame_copy(&iov, 1, 3996, out, 100), 0);
	munmap(page, 4096);
}

static void test_l4_sums(void **state)
{
	for (unsigned int v6 = 0; v6 < 2; v6++)
		for (size_t payload = 0; payload < 40; payload++) {
			size_t l4;
			struct packet p;

			build_ether(&b, v6 ? 0x86dd : 0x0800);
			if (v6)
				build_ipv6(&b, "fe80::1", "fe80::2", IPPROTO_UDP, 8 + payload);
			else
				build_ipv4(&b, "10.1.2.3", "10.1.2.4", IPPROTO_UDP, 0, 8 + payload);
			l4 = b.len;
			build_udp(&b, 1000, 2000, payload);
			build_fill(&b, 0x33, payload);
			p = parse();
			assert_int_equal(l4_check(&p), v6 ? PACKET_SUM_BAD : PACKET_SUM_NONE);
			build_put16(
			    &b, l4 + 6,
			    build_sum(b.byte + l4, 8 + payload, build_pseudo(b.byte + 14, IPPROTO_UDP, 8 + payload)));
			assert_int_equal(l4_check(&p), PACKET_SUM_GOOD);
			b.byte[l4 + 1] ^= 0x40;
			assert_int_equal(l4_check(&p), PACKET_SUM_BAD);
		}
}

static void test_sctp_sum(void **state)
{
	struct packet p;
	uint32_t crc;

	build_ether(&b, 0x0800);
	build_ipv4(&b, "10.1.2.3", "10.1.2.4", IPPROTO_SCTP, 0, 12 + 20);
	build32(&b, 0x00010002);
	build32(&b, 0x11223344);
	build32(&b, 0);
	build_fill(&b, 9, 20);
	crc = ~crc32c_add(~0u, b.byte + 34, 32);
	memcpy(b.byte + 34 + 8, &crc, 4);
	p = parse();
	assert_int_equal(p.kind, PACKET_IPV4 | PACKET_SCTP);
	assert_int_equal(l4_check(&p), PACKET_SUM_GOOD);
	b.byte[60] ^= 1;
	assert_int_equal(l4_check(&p), PACKET_SUM_BAD);
}

/* "Verifying the RSS Hash Calculation", Microsoft's documentation of network drivers. */
static const uint8_t key[RSS_KEY] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};
static const struct {
	const char *src, *dst;
	uint16_t sport, dport;
	uint32_t ip, tcp;
} vectors[] = {
    {"66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178},
    {"199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea},
    {"24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
    {"38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f},
    {"153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d},
    {"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf},
    {"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024, 0x4b61e985, 0x02d1feef},
};

static void rss_frame(unsigned int i, bool udp)
{
	uint8_t proto = udp ? IPPROTO_UDP : IPPROTO_TCP;
	size_t len = udp ? 8 : 20;

	if (strchr(vectors[i].src, ':')) {
		build_ether(&b, 0x86dd);
		build_ipv6(&b, vectors[i].src, vectors[i].dst, proto, len);
	} else {
		build_ether(&b, 0x0800);
		build_ipv4(&b, vectors[i].src, vectors[i].dst, proto, 0, len);
	}
	if (udp)
		build_udp(&b, vectors[i].sport, vectors[i].dport, 0);
	else
		build_tcp(&b, vectors[i].sport, vectors[i].dport, 0, 0, 0);
}

static void test_rss_vectors(void **state)
{
	struct rss r;
	uint32_t hash;

	rss_set_key(&r, key);
	for (unsigned int i = 0; i < ARRAY_SIZE(vectors); i++) {
		bool v6 = strchr(vectors[i].src, ':');
		struct packet p;

		rss_frame(i, false);
		p = parse();
		assert_int_equal(rss_packet(&r, RSS_TCP_IPV4 | RSS_IPV4 | RSS_TCP_IPV6 | RSS_IPV6, b.byte, &p, &hash),
				 v6 ? RSS_TYPE_TCP_IPV6 : RSS_TYPE_TCP_IPV4);
		assert_int_equal(hash, vectors[i].tcp);
		assert_int_equal(rss_packet(&r, RSS_IPV4 | RSS_IPV6, b.byte, &p, &hash),
				 v6 ? RSS_TYPE_IPV6 : RSS_TYPE_IPV4);
		assert_int_equal(hash, vectors[i].ip);
		assert_int_equal(rss_packet(&r, RSS_TCP_IPV6_EX, b.byte, &p, &hash),
				 v6 ? RSS_TYPE_TCP_IPV6_EX : RSS_TYPE_NONE);
		assert_int_equal(hash, v6 ? vectors[i].tcp : 0);
		assert_int_equal(rss_packet(&r, RSS_UDP_IPV4 | RSS_UDP_IPV6, b.byte, &p, &hash), RSS_TYPE_NONE);

		rss_frame(i, true);
		p = parse();
		assert_int_equal(rss_packet(&r, RSS_UDP_IPV4 | RSS_UDP_IPV6, b.byte, &p, &hash),
				 v6 ? RSS_TYPE_UDP_IPV6 : RSS_TYPE_UDP_IPV4);
		assert_int_equal(hash, vectors[i].tcp);
		assert_int_equal(rss_packet(&r, RSS_TCP_IPV4 | RSS_IPV6_EX, b.byte, &p, &hash),
				 v6 ? RSS_TYPE_IPV6_EX : RSS_TYPE_NONE);
		assert_int_equal(hash, v6 ? vectors[i].ip : 0);
	}
}

/* The home addresses of Mobile IPv6 are hashed by the Ex functions, the header's by the others. */
static void test_rss_home_address(void **state)
{
	struct rss r;
	struct packet p;
	uint32_t hash;
	uint8_t addr[16];

	rss_set_key(&r, key);
	build_ether(&b, 0x86dd);
	build_ipv6(&b, "fe80::99", vectors[5].dst, IPPROTO_DSTOPTS, 24 + 20);
	build_bytes(&b, "\x06\2\1\2\0\0\xc9\x10", 8);
	inet_pton(AF_INET6, vectors[5].src, addr);
	build_bytes(&b, addr, 16);
	build_tcp(&b, vectors[5].sport, vectors[5].dport, 0, 0, 0);
	p = parse();
	assert_int_equal(rss_packet(&r, RSS_TCP_IPV6_EX | RSS_IPV6, b.byte, &p, &hash), RSS_TYPE_TCP_IPV6_EX);
	assert_int_equal(hash, vectors[5].tcp);
	assert_int_equal(rss_packet(&r, RSS_IPV6_EX | RSS_TCP_IPV4, b.byte, &p, &hash), RSS_TYPE_IPV6_EX);
	assert_int_equal(hash, vectors[5].ip);
	assert_int_equal(rss_packet(&r, RSS_IPV6, b.byte, &p, &hash), RSS_TYPE_IPV6);
	assert_int_not_equal(hash, vectors[5].ip);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ethernet),
	    cmocka_unit_test(test_tags),
	    cmocka_unit_test(test_snap),
	    cmocka_unit_test(test_ipv4),
	    cmocka_unit_test(test_transport_that_does_not_fit),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_ipv6_extensions),
	    cmocka_unit_test(test_sums),
	    cmocka_unit_test(test_crc32c),
	    cmocka_unit_test(test_memory_that_is_gone),
	    cmocka_unit_test(test_l4_sums),
	    cmocka_unit_test(test_sctp_sum),
	    cmocka_unit_test(test_rss_vectors),
	    cmocka_unit_test(test_rss_home_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
