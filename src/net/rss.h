/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receive side scaling: the Toeplitz hash over addresses and ports (Microsoft's "RSS Hashing Types"; 82576 datasheet
 * section 7.1.1.7), with a table of partial hashes in place of the key's bits: two loads for each byte of input.
 */
#ifndef PINFOLD_NET_RSS_H
#define PINFOLD_NET_RSS_H

#include <stddef.h>
#include <stdint.h>

#include "net/packet.h"

#define RSS_KEY	      40
#define RSS_INPUT_MAX 36

/* Which packets are hashed, and how: in the order of the 82576's MRQC bits 16 to 24 (section 8.10.8). */
enum {
	RSS_TCP_IPV4 = 1 << 0,
	RSS_IPV4 = 1 << 1,
	RSS_TCP_IPV6_EX = 1 << 2,
	RSS_IPV6_EX = 1 << 3,
	RSS_IPV6 = 1 << 4,
	RSS_TCP_IPV6 = 1 << 5,
	RSS_UDP_IPV4 = 1 << 6,
	RSS_UDP_IPV6 = 1 << 7,
	RSS_UDP_IPV6_EX = 1 << 8,
};

/* What was hashed: the RSS type of the 82576's receive descriptors (section 7.1.5.2). */
enum rss_type {
	RSS_TYPE_NONE,
	RSS_TYPE_TCP_IPV4,
	RSS_TYPE_IPV4,
	RSS_TYPE_TCP_IPV6,
	RSS_TYPE_IPV6_EX,
	RSS_TYPE_IPV6,
	RSS_TYPE_TCP_IPV6_EX,
	RSS_TYPE_UDP_IPV4,
	RSS_TYPE_UDP_IPV6,
	RSS_TYPE_UDP_IPV6_EX,
};

struct rss {
	uint32_t part[RSS_INPUT_MAX * 2][16]; /* of each half byte of the input, the upper one first */
};

void rss_set_key(struct rss *r, const uint8_t key[RSS_KEY]);
uint32_t rss_hash(const struct rss *r, const uint8_t *input, size_t len); /* len <= RSS_INPUT_MAX */
/* The hash of a packet as fields ask; 0 with RSS_TYPE_NONE. */
enum rss_type rss_packet(const struct rss *r, uint32_t fields, const uint8_t *hdr, const struct packet *p,
			 uint32_t *hash);

#endif
