/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames for tests, made the obvious way: a byte after the other, sums with a loop. */
#ifndef TESTS_NET_BUILD_H
#define TESTS_NET_BUILD_H

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct build {
	uint8_t byte[20000];
	size_t len;
};

static inline void build_bytes(struct build *b, const void *data, size_t len)
{
	memcpy(b->byte + b->len, data, len);
	b->len += len;
}

static inline void build8(struct build *b, uint8_t v)
{
	b->byte[b->len++] = v;
}

static inline void build16(struct build *b, uint16_t v)
{
	build8(b, v >> 8);
	build8(b, v & 0xff);
}

static inline void build32(struct build *b, uint32_t v)
{
	build16(b, v >> 16);
	build16(b, v & 0xffff);
}

static inline void build_fill(struct build *b, uint8_t v, size_t len)
{
	while (len--)
		build8(b, v++);
}

static inline void build_mac(struct build *b)
{
	static const uint8_t addr[12] = {0x52, 0x54, 0, 1, 2, 3, 0x52, 0x54, 0, 4, 5, 6};

	b->len = 0;
	build_bytes(b, addr, sizeof(addr));
}

static inline void build_ether(struct build *b, uint16_t type)
{
	build_mac(b);
	build16(b, type);
}

static inline uint16_t build_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* A header of 20 bytes, and of opt more as options that say nothing. */
static inline void build_ipv4(struct build *b, const char *src, const char *dst, uint8_t proto, size_t opt,
			      size_t payload)
{
	size_t at = b->len;
	uint32_t addr;
	uint16_t sum;

	build8(b, 0x40 | (20 + opt) / 4);
	build8(b, 0);
	build16(b, 20 + opt + payload);
	build16(b, 0x1234);
	build16(b, 0x4000);
	build8(b, 64);
	build8(b, proto);
	build16(b, 0);
	inet_pton(AF_INET, src, &addr);
	build_bytes(b, &addr, 4);
	inet_pton(AF_INET, dst, &addr);
	build_bytes(b, &addr, 4);
	for (size_t i = 0; i < opt; i++)
		build8(b, 1);
	sum = build_sum(b->byte + at, 20 + opt, 0);
	b->byte[at + 10] = sum >> 8;
	b->byte[at + 11] = sum & 0xff;
}

static inline void build_ipv6(struct build *b, const char *src, const char *dst, uint8_t next, size_t payload)
{
	uint8_t addr[16];

	build32(b, 0x60000000);
	build16(b, payload);
	build8(b, next);
	build8(b, 64);
	inet_pton(AF_INET6, src, addr);
	build_bytes(b, addr, 16);
	inet_pton(AF_INET6, dst, addr);
	build_bytes(b, addr, 16);
}

static inline void build_tcp(struct build *b, uint16_t sport, uint16_t dport, uint32_t seq, uint16_t flags, size_t opt)
{
	build16(b, sport);
	build16(b, dport);
	build32(b, seq);
	build32(b, 0x01020304);
	build16(b, (20 + opt) / 4 << 12 | flags);
	build16(b, 0x4000);
	build32(b, 0);
	for (size_t i = 0; i < opt; i++)
		build8(b, 1);
}

static inline void build_udp(struct build *b, uint16_t sport, uint16_t dport, size_t payload)
{
	build16(b, sport);
	build16(b, dport);
	build16(b, 8 + payload);
	build16(b, 0);
}

static inline uint32_t build_words(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += p[i] << 8 | p[i + 1];
	return sum;
}

/* The folded sum, not its complement, of a pseudo-header: what a driver leaves in the field. */
static inline uint16_t build_pseudo(const uint8_t *ip, uint8_t proto, uint32_t l4_len)
{
	uint32_t sum = ip[0] >> 4 == 4 ? build_words(ip + 12, 8) : build_words(ip + 8, 32);

	sum += proto + (l4_len >> 16) + (l4_len & 0xffff);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline void build_put16(struct build *b, size_t at, uint16_t v)
{
	b->byte[at] = v >> 8;
	b->byte[at + 1] = v & 0xff;
}

#endif
