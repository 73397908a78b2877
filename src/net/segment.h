/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a card does to a packet that a driver hands it for sending (82576 datasheet section 7.2): cuts it into segments,
 * inserts checksums and a VLAN tag. As in the card, nothing is parsed: where the headers are and what they are is what
 * the driver says (struct segment_ask), and a driver that says nonsense sends nonsense, or nothing.
 *
 * A frame that comes out consists of headers in private memory and of pieces of the packet's own memory, so that a
 * payload is not copied. Frames are made by number, each from the packet alone: who could send only some of them makes
 * the rest later, from the memory where the packet then lies.
 */
#ifndef PINFOLD_NET_SEGMENT_H
#define PINFOLD_NET_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SEGMENT_HEADERS 1024	   /* MACLEN + IPLEN + L4LEN can be 127 + 511 + 255 */
#define SEGMENT_PACKET	(1u << 19) /* what a packet may have, headers and all: above PAYLEN's 18 bits */

enum segment_l4 { SEGMENT_UDP, SEGMENT_TCP, SEGMENT_SCTP, SEGMENT_L4_NONE }; /* as TUCMD.L4T has them */

struct segment_ask {
	bool vlan;	   /* insert a tag behind the addresses, */
	bool behind;	   /* or behind a tag that is there */
	uint16_t vet, tci; /* its EtherType and content */
	bool ip_sum;	   /* insert the IPv4 header's checksum */
	bool l4_sum;	   /* insert the transport's; the field holds the pseudo-header's sum (not for SCTP) */
	bool cut;	   /* into segments of mss; the pseudo-header's sum is without the length then */
	bool ipv4;
	enum segment_l4 l4;
	uint16_t mac_len, ip_len, l4_len, mss; /* bytes, as in the context descriptor */
	/* Which TCP flags remain in the first, the middle and the last segment; segment_flags has the usual ones. */
	uint16_t tcp_first, tcp_middle, tcp_last;
};

/* FIN and PSH in the last alone, CWR in the first alone: the reset values of DTXTCPFLGL and DTXTCPFLGH. */
#define SEGMENT_TCP_FIRST  0xff6
#define SEGMENT_TCP_MIDDLE 0xf76
#define SEGMENT_TCP_LAST   0xf7f

struct segments {
	const struct segment_ask *ask;
	const struct iovec *iov; /* the packet: valid while frames are made */
	unsigned int n;
	size_t len;
	size_t hdr_len; /* how much of it is headers, which are private */
	uint32_t count;
	uint8_t headers[SEGMENT_HEADERS];  /* the packet's */
	uint8_t made[SEGMENT_HEADERS + 4]; /* the present frame's */
};

/*
 * Takes the packet's headers. 0; -EINVAL: what is asked for does not fit the packet, which cannot be sent; -EFAULT: its
 * memory is gone. Then s->count frames can be made.
 */
int segments_init(struct segments *s, const struct segment_ask *ask, const struct iovec *iov, unsigned int n,
		  size_t len);
/*
 * Frame number i, of *len bytes, in pieces out[0..*cnt) (*cnt: in capacity, out how many), which hold until the next
 * one is made. 0; -E2BIG: more pieces than that; -EFAULT.
 */
int segments_make(struct segments *s, uint32_t i, struct iovec *out, unsigned int *cnt, size_t *len);

#endif
