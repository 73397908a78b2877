/* SPDX-License-Identifier: BSD-3-Clause */
/* Receive side scaling. */
#include <string.h>

#include "net/rss.h"

/* The 32 bits of the key from a bit on. */
static uint32_t key_window(const uint8_t key[RSS_KEY], size_t bit)
{
	uint64_t window = 0;

	for (size_t i = 0; i < 5; i++)
		window = window << 8 | (bit / 8 + i < RSS_KEY ? key[bit / 8 + i] : 0);
	return (uint32_t)(window >> (8 - bit % 8));
}

void rss_set_key(struct rss *r, const uint8_t key[RSS_KEY])
{
	for (size_t half = 0; half < RSS_INPUT_MAX * 2; half++)
		for (unsigned int value = 0; value < 16; value++) {
			uint32_t hash = 0;

			for (unsigned int bit = 0; bit < 4; bit++)
				if (value & (8u >> bit))
					hash ^= key_window(key, half * 4 + bit);
			r->part[half][value] = hash;
		}
}

uint32_t rss_hash(const struct rss *r, const uint8_t *input, size_t len)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < len; i++)
		hash ^= r->part[2 * i][input[i] >> 4] ^ r->part[2 * i + 1][input[i] & 15];
	return hash;
}

static uint32_t hash_fields(const struct rss *r, const uint8_t *src, const uint8_t *dst, size_t addr,
			    const uint8_t *ports)
{
	uint8_t input[RSS_INPUT_MAX];

	memcpy(input, src, addr);
	memcpy(input + addr, dst, addr);
	if (ports)
		memcpy(input + 2 * addr, ports, 4);
	return rss_hash(r, input, 2 * addr + (ports ? 4 : 0));
}

static enum rss_type ipv4_type(uint32_t fields, const struct packet *p)
{
	if (p->kind & PACKET_TCP && fields & RSS_TCP_IPV4)
		return RSS_TYPE_TCP_IPV4;
	if (p->kind & PACKET_UDP && fields & RSS_UDP_IPV4)
		return RSS_TYPE_UDP_IPV4;
	return fields & RSS_IPV4 ? RSS_TYPE_IPV4 : RSS_TYPE_NONE;
}

/* The Ex functions stand for all IPv6 packets, those without extensions too, and come first (section 7.1.1.7.1). */
static enum rss_type ipv6_type(uint32_t fields, const struct packet *p)
{
	if (p->kind & PACKET_TCP && fields & (RSS_TCP_IPV6_EX | RSS_TCP_IPV6))
		return fields & RSS_TCP_IPV6_EX ? RSS_TYPE_TCP_IPV6_EX : RSS_TYPE_TCP_IPV6;
	if (p->kind & PACKET_UDP && fields & (RSS_UDP_IPV6_EX | RSS_UDP_IPV6))
		return fields & RSS_UDP_IPV6_EX ? RSS_TYPE_UDP_IPV6_EX : RSS_TYPE_UDP_IPV6;
	if (fields & RSS_IPV6_EX)
		return RSS_TYPE_IPV6_EX;
	return fields & RSS_IPV6 ? RSS_TYPE_IPV6 : RSS_TYPE_NONE;
}

enum rss_type rss_packet(const struct rss *r, uint32_t fields, const uint8_t *hdr, const struct packet *p,
			 uint32_t *hash)
{
	const uint8_t *ports = hdr + p->l4;
	enum rss_type type = RSS_TYPE_NONE;

	if (p->kind & PACKET_IPV4)
		type = ipv4_type(fields, p);
	else if (p->kind & PACKET_IPV6)
		type = ipv6_type(fields, p);
	*hash = 0;
	switch (type) {
	case RSS_TYPE_NONE:
		break;
	case RSS_TYPE_IPV4:
		ports = NULL;
		/* fall through */
	case RSS_TYPE_TCP_IPV4:
	case RSS_TYPE_UDP_IPV4:
		*hash = hash_fields(r, hdr + p->src, hdr + p->dst, 4, ports);
		break;
	case RSS_TYPE_IPV6_EX:
		ports = NULL;
		/* fall through */
	case RSS_TYPE_TCP_IPV6_EX:
	case RSS_TYPE_UDP_IPV6_EX:
		*hash = hash_fields(r, hdr + p->src, hdr + p->dst, 16, ports);
		break;
	case RSS_TYPE_IPV6:
		ports = NULL;
		/* fall through */
	case RSS_TYPE_TCP_IPV6:
	case RSS_TYPE_UDP_IPV6:
		*hash = hash_fields(r, hdr + p->plain_src, hdr + p->plain_dst, 16, ports);
		break;
	}
	return type;
}
