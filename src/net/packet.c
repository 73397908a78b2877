/* SPDX-License-Identifier: BSD-3-Clause */
/* What a frame's headers say. */
#include <netinet/in.h>
#include <string.h>

#include "base/util.h"
#include "net/checksum.h"
#include "net/packet.h"

/* RFC 8200 section 4 and RFC 6275: no header is skipped that is not known, and no more than these. */
#define EXTENSIONS_MAX	  8
#define OPTION_PAD1	  0
#define OPTION_HOME	  0xc9
#define ROUTING_TYPE_HOME 2

struct parser {
	const uint8_t *hdr;
	size_t len; /* bytes of the frame, later up to the end of the IP packet */
	size_t end; /* those of them that are at hand */
	size_t at;
	struct packet *p;
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Are len bytes at the parser's place both in the frame and at hand? */
static bool at_hand(const struct parser *s, size_t len)
{
	return s->at + len <= s->end;
}

/* What lies behind is not the IP packet's. */
static void ends_at(struct parser *s, size_t len)
{
	s->len = len;
	s->end = MIN(s->end, len);
}

static bool ethernet_parse(struct parser *s, uint16_t vet)
{
	static const uint8_t snap[6] = {0xaa, 0xaa, 3, 0, 0, 0};
	struct packet *p = s->p;
	uint16_t type;

	if (!at_hand(s, 14))
		return false;
	s->at = 12;
	type = be16(s->hdr + s->at);
	for (unsigned int tags = 0; tags < 2 && (type == VLAN_ETHERTYPE || type == QINQ_ETHERTYPE || type == vet);
	     tags++) {
		if (!at_hand(s, VLAN_LEN + 2))
			return false;
		if (!p->tagged)
			p->tci = be16(s->hdr + s->at + 2);
		p->tagged = true;
		s->at += VLAN_LEN;
		type = be16(s->hdr + s->at);
	}
	s->at += 2;
	p->headers_end = s->at;
	if (type >= 0x600) {
		p->ethertype = type;
		return true;
	}
	/* IEEE 802.3 length, LLC and SNAP (RFC 1042). */
	if (!at_hand(s, 8) || memcmp(s->hdr + s->at, snap, sizeof(snap)) != 0)
		return false;
	p->ethertype = be16(s->hdr + s->at + 6);
	s->at += 8;
	p->headers_end = s->at;
	return true;
}

/* The transport's header begins at the parser's place, and the IP packet ends at s->len. */
static void transport_parse(struct parser *s, uint8_t proto)
{
	struct packet *p = s->p;
	size_t header;
	uint32_t kind;

	switch (proto) {
	case IPPROTO_TCP:
		header = 20;
		kind = PACKET_TCP;
		break;
	case IPPROTO_UDP:
		header = 8;
		kind = PACKET_UDP;
		break;
	case IPPROTO_SCTP:
		header = 12;
		kind = PACKET_SCTP;
		break;
	default:
		return;
	}
	if (!at_hand(s, header))
		return;
	p->l4_len = s->len - s->at;
	if (kind == PACKET_TCP) {
		header = (s->hdr[s->at + 12] >> 4) * 4u;
		if (header < 20 || !at_hand(s, header))
			return;
	} else if (kind == PACKET_UDP) {
		uint16_t said = be16(s->hdr + s->at + 4);

		if (said < 8 || said > p->l4_len)
			return;
		p->l4_len = said;
	}
	p->kind |= kind;
	p->l4 = s->at;
	p->headers_end = s->at + header;
}

static void ipv4_parse(struct parser *s)
{
	const uint8_t *ip = s->hdr + s->at;
	struct packet *p = s->p;
	size_t ihl, total;

	if (!at_hand(s, 20) || ip[0] >> 4 != 4)
		return;
	ihl = (ip[0] & 15) * 4u;
	total = be16(ip + 2);
	if (ihl < 20 || !at_hand(s, ihl) || total < ihl || s->at + total > s->len)
		return;
	p->kind |= PACKET_IPV4 | (ihl > 20 ? PACKET_IPV4_OPTIONS : 0);
	p->l3 = s->at;
	p->l3_len = ihl;
	p->src = p->plain_src = s->at + 12;
	p->dst = p->plain_dst = s->at + 16;
	ends_at(s, s->at + total);
	s->at += ihl;
	p->headers_end = s->at;
	if (be16(ip + 6) & 0x3fff)
		p->kind |= PACKET_FRAGMENT;
	else
		transport_parse(s, ip[9]);
}

/* A destination options header (RFC 8200 section 4.6) may bear the sender's home address. */
static void options_parse(struct parser *s, size_t len)
{
	size_t at = s->at + 2, end = s->at + len;

	while (at < end) {
		uint8_t type = s->hdr[at];
		size_t size;

		if (type == OPTION_PAD1) {
			at++;
			continue;
		}
		if (end - at < 2)
			return;
		size = s->hdr[at + 1];
		if (size > end - at - 2)
			return;
		if (type == OPTION_HOME && size == 16)
			s->p->src = at + 2;
		at += 2 + size;
	}
}

static void routing_parse(struct parser *s, size_t len)
{
	const uint8_t *h = s->hdr + s->at;

	if (h[3] == 0)
		return;
	if (h[2] == ROUTING_TYPE_HOME && len == 24 && h[3] == 1)
		s->p->dst = s->at + 8;
	else
		s->p->kind |= PACKET_ROUTED;
}

static void ipv6_parse(struct parser *s)
{
	const uint8_t *ip = s->hdr + s->at;
	struct packet *p = s->p;
	size_t payload;
	uint8_t next;

	if (!at_hand(s, 40) || ip[0] >> 4 != 6)
		return;
	payload = be16(ip + 4);
	if (s->at + 40 + payload > s->len)
		return;
	p->kind |= PACKET_IPV6;
	p->l3 = s->at;
	p->src = p->plain_src = s->at + 8;
	p->dst = p->plain_dst = s->at + 24;
	ends_at(s, s->at + 40 + payload);
	s->at += 40;
	next = ip[6];
	for (unsigned int i = 0;; i++) {
		size_t len;

		p->l3_len = s->at - p->l3;
		p->headers_end = s->at;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			break;
		p->kind |= PACKET_IPV6_EXTENSIONS;
		if (i == EXTENSIONS_MAX || !at_hand(s, 8))
			return;
		len = next == IPPROTO_FRAGMENT ? 8 : (s->hdr[s->at + 1] + 1) * 8u;
		if (!at_hand(s, len))
			return;
		if (next == IPPROTO_DSTOPTS)
			options_parse(s, len);
		else if (next == IPPROTO_ROUTING)
			routing_parse(s, len);
		else if (next == IPPROTO_FRAGMENT && (be16(s->hdr + s->at + 2) & 0xfff9))
			p->kind |= PACKET_FRAGMENT;
		next = s->hdr[s->at];
		s->at += len;
	}
	if (!(p->kind & PACKET_FRAGMENT))
		transport_parse(s, next);
}

void packet_parse(const uint8_t *hdr, size_t have, size_t len, uint16_t vet, struct packet *p)
{
	struct parser s = {.hdr = hdr, .len = MIN(len, (size_t)UINT16_MAX), .p = p};

	s.end = MIN(have, s.len);
	memset(p, 0, sizeof(*p));
	if (!ethernet_parse(&s, vet))
		return;
	if (p->ethertype == 0x0800)
		ipv4_parse(&s);
	else if (p->ethertype == 0x86dd)
		ipv6_parse(&s);
}

enum packet_sum packet_ip_check(const uint8_t *hdr, const struct packet *p)
{
	if (!(p->kind & PACKET_IPV4))
		return PACKET_SUM_NONE;
	return checksum_finish(checksum_add(hdr + p->l3, p->l3_len)) ? PACKET_SUM_BAD : PACKET_SUM_GOOD;
}

uint64_t packet_pseudo_sum(const uint8_t *hdr, const struct packet *p, uint32_t l4_len)
{
	size_t addr = p->kind & PACKET_IPV4 ? 4 : 16;
	uint8_t proto = p->kind & PACKET_TCP ? IPPROTO_TCP : IPPROTO_UDP;

	return checksum_add(hdr + p->src, addr) + checksum_add(hdr + p->dst, addr) + checksum_word(proto) +
	       checksum_word(l4_len >> 16) + checksum_word(l4_len & 0xffff);
}

static enum packet_sum sctp_check(const uint8_t *hdr, const struct packet *p, const struct iovec *iov, unsigned int n)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c_add(crc32c_add(~0u, hdr + p->l4, 8), zero, 4), said;

	if (frame_crc32c(iov, n, p->l4 + 12, p->l4_len - 12, &crc))
		return PACKET_SUM_NONE;
	memcpy(&said, hdr + p->l4 + 8, 4);
	return said == ~crc ? PACKET_SUM_GOOD : PACKET_SUM_BAD;
}

enum packet_sum packet_l4_check(const uint8_t *hdr, const struct packet *p, const struct iovec *iov, unsigned int n)
{
	uint64_t sum;

	if (!(p->kind & PACKET_TRANSPORT) || (p->kind & PACKET_ROUTED))
		return PACKET_SUM_NONE;
	if (p->kind & PACKET_SCTP)
		return sctp_check(hdr, p, iov, n);
	if (p->kind & PACKET_UDP && be16(hdr + p->l4 + 6) == 0)
		/* Only IPv4 lets it be left out (RFC 8200 section 8.1). */
		return p->kind & PACKET_IPV4 ? PACKET_SUM_NONE : PACKET_SUM_BAD;
	if (frame_checksum(iov, n, p->l4, p->l4_len, &sum))
		return PACKET_SUM_NONE;
	return checksum_finish(sum + packet_pseudo_sum(hdr, p, p->l4_len)) ? PACKET_SUM_BAD : PACKET_SUM_GOOD;
}
