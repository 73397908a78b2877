/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a frame's headers say, as far as network cards look: Ethernet II and SNAP, up to two VLAN tags, IPv4 and IPv6
 * with their options and extensions, TCP, UDP and SCTP. Pure functions of private memory: the card copies the first
 * PACKET_HEADERS bytes of a frame (frame_copy) and has them parsed; lengths that a header claims beyond them, or beyond
 * the frame, end the parsing there, and what was understood by then is the answer.
 */
#ifndef PINFOLD_NET_PACKET_H
#define PINFOLD_NET_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define PACKET_HEADERS 256

#define VLAN_ETHERTYPE 0x8100 /* IEEE 802.1Q */
#define QINQ_ETHERTYPE 0x88a8 /* IEEE 802.1ad */
#define VLAN_LEN       4

/*
 * The first seven are in the order of the packet type of the 82576's receive descriptors (82576 datasheet section
 * 7.1.5.2). A fragment has none of the transports, whatever it begins with.
 */
enum {
	PACKET_IPV4 = 1 << 0,
	PACKET_IPV4_OPTIONS = 1 << 1,
	PACKET_IPV6 = 1 << 2,
	PACKET_IPV6_EXTENSIONS = 1 << 3,
	PACKET_TCP = 1 << 4,
	PACKET_UDP = 1 << 5,
	PACKET_SCTP = 1 << 6,
	PACKET_TYPES = 0x7f,
	PACKET_FRAGMENT = 1 << 8,
	/* A routing header that is still to be followed elsewhere: who the packet is for is not known here. */
	PACKET_ROUTED = 1 << 9,
};
#define PACKET_TRANSPORT (PACKET_TCP | PACKET_UDP | PACKET_SCTP)

struct packet {
	uint32_t kind;
	uint16_t ethertype; /* behind the tags; 0: a length, not SNAP */
	bool tagged;
	uint16_t tci; /* of the outer tag */
	/* Offsets from the frame's beginning, and lengths, in bytes. */
	uint16_t l3, l3_len; /* IP header with options and extensions; 0: not IP */
	uint16_t l4;	     /* of the transport's header; 0: none of the three */
	uint16_t l4_len;     /* its length with all that follows, without what pads the frame */
	/* Addresses: of the IP header, or of a Mobile IPv6 home address (RFC 6275 sections 6.3 and 6.4). */
	uint16_t src, dst, plain_src, plain_dst;
	uint16_t headers_end; /* where the last header that was understood ends */
};

/* hdr: the first have bytes of a frame of len. vet: a tag's EtherType beside the two usual ones. */
void packet_parse(const uint8_t *hdr, size_t have, size_t len, uint16_t vet, struct packet *p);

enum packet_sum { PACKET_SUM_NONE, PACKET_SUM_GOOD, PACKET_SUM_BAD };

/* The IPv4 header's checksum; none: there is no such header. */
enum packet_sum packet_ip_check(const uint8_t *hdr, const struct packet *p);
/* The transport's, over the frame. None: no transport, UDP without one (RFC 768), or memory is gone. */
enum packet_sum packet_l4_check(const uint8_t *hdr, const struct packet *p, const struct iovec *iov, unsigned int n);
/* Of addresses, protocol and length (RFC 9293 section 3.1, RFC 8200 section 8.1), in memory's order. */
uint64_t packet_pseudo_sum(const uint8_t *hdr, const struct packet *p, uint32_t l4_len);

#endif
