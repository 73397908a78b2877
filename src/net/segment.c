/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segmentation and insertion of checksums, after section 7.2.4 (segmentation) and 7.2.5 (checksums) of the 82576
 * datasheet.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "net/checksum.h"
#include "net/frame.h"
#include "net/segment.h"

#define MAC_ADDRESSES 12
#define TAG	      4

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v & 0xff;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Where the transport's checksum is in its header, and how long it is. */
static size_t l4_field(enum segment_l4 l4, size_t *size)
{
	*size = l4 == SEGMENT_SCTP ? 4 : 2;
	return l4 == SEGMENT_TCP ? 16 : l4 == SEGMENT_UDP ? 6 : 8;
}

static size_t tag_at(const struct segment_ask *ask)
{
	return MAC_ADDRESSES + (ask->behind ? TAG : 0);
}

/* How many bytes from the beginning have to be private, because something in them is read or changed. */
static int headers_needed(const struct segment_ask *ask, size_t *out)
{
	size_t l4 = ask->mac_len + ask->ip_len, need = 0, field, size;

	if (ask->vlan)
		need = tag_at(ask);
	if (ask->ip_sum && ask->ipv4) {
		if (ask->ip_len < 20)
			return -EINVAL;
		need = MAX(need, l4);
	}
	if (ask->l4_sum && ask->l4 != SEGMENT_L4_NONE) {
		field = l4_field(ask->l4, &size);
		need = MAX(need, l4 + field + size);
	}
	if (ask->cut) {
		if (!ask->mss || ask->ip_len < (ask->ipv4 ? 20 : 40))
			return -EINVAL;
		if (ask->l4 != SEGMENT_TCP && ask->l4 != SEGMENT_UDP)
			return -EINVAL;
		if (ask->l4_len < (ask->l4 == SEGMENT_TCP ? 20 : 8))
			return -EINVAL;
		need = l4 + ask->l4_len;
	}
	if (need && ask->vlan && need < tag_at(ask))
		return -EINVAL;
	*out = need;
	return 0;
}

int segments_init(struct segments *s, const struct segment_ask *ask, const struct iovec *iov, unsigned int n,
		  size_t len)
{
	size_t need;
	int err = headers_needed(ask, &need);

	if (err)
		return err;
	if (need > len || need > SEGMENT_HEADERS || len > SEGMENT_PACKET)
		return -EINVAL;
	err = frame_copy(iov, n, 0, s->headers, need);
	if (err)
		return err;
	s->ask = ask;
	s->iov = iov;
	s->n = n;
	s->len = len;
	s->hdr_len = need;
	/* A packet of headers alone is one segment without payload. */
	s->count = ask->cut && len > need ? DIV_ROUND_UP(len - need, (size_t)ask->mss) : 1;
	return 0;
}

/* Lengths, identification, sequence number and flags of segment i, whose payload has len bytes (section 7.2.4.6). */
static void headers_update(const struct segments *s, uint32_t i, size_t len, uint8_t *hdr)
{
	const struct segment_ask *ask = s->ask;
	uint8_t *ip = hdr + ask->mac_len, *l4 = ip + ask->ip_len;
	bool first = i == 0, last = i + 1 == s->count;

	if (ask->ipv4) {
		put16(ip + 2, ask->ip_len + ask->l4_len + len);
		put16(ip + 4, get16(ip + 4) + i);
	} else {
		put16(ip + 4, ask->ip_len - 40 + ask->l4_len + len);
	}
	if (ask->l4 == SEGMENT_UDP) {
		put16(l4 + 4, ask->l4_len + len);
		return;
	}
	put32(l4 + 4, get32(l4 + 4) + i * ask->mss);
	if (s->count > 1) {
		uint16_t keep = 0xfff;

		/* Two segments are a first and a last one: each mask is applied where it belongs. */
		if (first)
			keep &= ask->tcp_first;
		if (last)
			keep &= ask->tcp_last;
		if (!first && !last)
			keep &= ask->tcp_middle;
		put16(l4 + 12, get16(l4 + 12) & (0xf000 | keep));
	}
}

static void ip_sum_insert(const struct segment_ask *ask, uint8_t *hdr)
{
	uint8_t *ip = hdr + ask->mac_len;
	uint16_t sum;

	put16(ip + 10, 0);
	sum = checksum_finish(checksum_add(ip, ask->ip_len));
	memcpy(ip + 10, &sum, 2);
}

/*
 * The transport's checksum over its header in hdr, as far as it is private, and [off, off + len) of the packet. What
 * the field holds is summed as well: the pseudo-header (section 7.2.5.1).
 */
static int l4_sum_insert(const struct segments *s, uint8_t *hdr, size_t off, size_t len)
{
	const struct segment_ask *ask = s->ask;
	size_t l4 = ask->mac_len + ask->ip_len, size, field = l4 + l4_field(ask->l4, &size), head = s->hdr_len - l4;
	uint64_t sum, rest;
	uint16_t folded;
	int err;

	if (ask->l4 == SEGMENT_SCTP) {
		uint32_t crc;

		memset(hdr + field, 0, 4);
		crc = crc32c_add(~0u, hdr + l4, head);
		err = frame_crc32c(s->iov, s->n, off, len, &crc);
		if (err)
			return err;
		crc = ~crc;
		memcpy(hdr + field, &crc, 4);
		return 0;
	}
	sum = checksum_add(hdr + l4, head);
	if (ask->cut)
		sum += checksum_word(head + len);
	/* A byte that completes the header's last word, so that the rest begins a word of its own. */
	if (head & 1 && len) {
		uint8_t byte;

		err = frame_copy(s->iov, s->n, off++, &byte, 1);
		if (err)
			return err;
		sum += checksum_word(byte);
		len--;
	}
	err = frame_checksum(s->iov, s->n, off, len, &rest);
	if (err)
		return err;
	sum += rest;
	folded = checksum_finish(sum);
	/* RFC 768: a sum of zero is sent as all ones. */
	if (ask->l4 == SEGMENT_UDP && !folded)
		folded = 0xffff;
	memcpy(hdr + field, &folded, 2);
	return 0;
}

/* The headers of the frame, with its tag, at made. Returns their length. */
static size_t tag_insert(const struct segments *s, uint8_t *made)
{
	const struct segment_ask *ask = s->ask;
	size_t at = tag_at(ask);

	if (!ask->vlan)
		return s->hdr_len;
	memmove(made + at + TAG, made + at, s->hdr_len - at);
	put16(made + at, ask->vet);
	put16(made + at + 2, ask->tci);
	return s->hdr_len + TAG;
}

int segments_make(struct segments *s, uint32_t i, struct iovec *out, unsigned int *cnt, size_t *len)
{
	const struct segment_ask *ask = s->ask;
	size_t off = s->hdr_len, part = s->len - off;
	unsigned int used = 0;
	int pieces, err;

	if (ask->cut) {
		off += (size_t)i * ask->mss;
		part = MIN(s->len - off, (size_t)ask->mss);
	}
	memcpy(s->made, s->headers, s->hdr_len);
	if (ask->cut)
		headers_update(s, i, part, s->made);
	if (ask->ip_sum && ask->ipv4)
		ip_sum_insert(ask, s->made);
	if (ask->l4_sum && ask->l4 != SEGMENT_L4_NONE) {
		err = l4_sum_insert(s, s->made, off, part);
		if (err)
			return err;
	}
	if (s->hdr_len) {
		size_t made = tag_insert(s, s->made);

		if (!*cnt)
			return -E2BIG;
		out[used++] = (struct iovec){.iov_base = s->made, .iov_len = made};
		part += made;
	}
	pieces = frame_slice(s->iov, s->n, off, part - (used ? out[0].iov_len : 0), out + used, *cnt - used);
	if (pieces < 0)
		return pieces;
	*cnt = used + pieces;
	*len = part;
	return 0;
}
