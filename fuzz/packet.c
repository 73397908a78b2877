/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames that say anything, and drivers that ask for anything to be done to them. The input is what is asked, then the
 * frame, which lies in pieces at the end of a block of just its size.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "net/frame.h"
#include "net/packet.h"
#include "net/rss.h"
#include "net/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIECES 16

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void packet_look(const uint8_t *frame, size_t len, const struct iovec *iov, unsigned int n)
{
	size_t have = MIN(len, (size_t)PACKET_HEADERS);
	uint8_t *hdr = malloc(have + 1);
	static struct rss r;
	struct packet p;
	uint32_t hash;

	memcpy(hdr, frame, have);
	packet_parse(hdr, have, len, VLAN_ETHERTYPE, &p);
	must(p.headers_end <= have);
	if (p.kind & PACKET_TRANSPORT)
		must(p.l4 >= p.l3 + p.l3_len && p.l4 + p.l4_len <= len && p.l4_len >= 8 && !(p.kind & PACKET_FRAGMENT));
	if (p.kind & (PACKET_IPV4 | PACKET_IPV6))
		must(p.l3 >= 14 && p.l3_len >= 20 && p.l3 + p.l3_len <= have);
	packet_ip_check(hdr, &p);
	packet_l4_check(hdr, &p, iov, n);
	if (!r.part[0][1])
		rss_set_key(&r, (const uint8_t *)"a key of forty bytes is what is asked..");
	for (unsigned int field = 0; field < 9; field++)
		if (rss_packet(&r, 1u << field, hdr, &p, &hash) == RSS_TYPE_NONE)
			must(!hash);
	free(hdr);
}

static void segments_look(const struct segment_ask *ask, const struct iovec *iov, unsigned int n, size_t len)
{
	static struct segments s;
	size_t total = 0;

	if (segments_init(&s, ask, iov, n, len))
		return;
	must(s.count >= 1 && s.count <= MAX(len, (size_t)1));
	for (uint32_t i = 0; i < s.count; i++) {
		struct iovec out[PIECES + 1];
		unsigned int cnt = PIECES + 1;
		size_t part, seen = 0;

		must(segments_make(&s, i, out, &cnt, &part) == 0);
		for (unsigned int k = 0; k < cnt; k++) {
			for (size_t at = 0; at < out[k].iov_len; at++)
				(void)((const volatile uint8_t *)out[k].iov_base)[at];
			seen += out[k].iov_len;
		}
		must(seen == part);
		total += part;
	}
	must(total == len + (s.count - 1) * s.hdr_len + (ask->vlan ? 4 * s.count : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct iovec iov[PIECES];
	struct segment_ask ask = {0};
	unsigned int n = 0;
	uint8_t *frame;
	size_t len, step;

	if (size < 11)
		return 0;
	ask.vlan = data[0] & 1;
	ask.ip_sum = data[0] & 2;
	ask.l4_sum = data[0] & 4;
	ask.cut = data[0] & 8;
	ask.ipv4 = data[0] & 16;
	ask.l4 = data[0] >> 6;
	ask.mac_len = data[1] & 0x7f;
	ask.ip_len = (data[2] | data[3] << 8) & 0x1ff;
	ask.l4_len = data[4];
	ask.mss = data[5] | data[6] << 8;
	ask.tci = ask.vet = data[7] | data[8] << 8;
	ask.tcp_first = ask.tcp_middle = ask.tcp_last = data[9];
	len = size - 11;
	step = MAX((size_t)data[10], DIV_ROUND_UP(len + 1, PIECES));
	frame = malloc(len + 1);
	memcpy(frame + 1, data + 11, len);
	for (size_t at = 0; at < len; at += iov[n++].iov_len)
		iov[n] = (struct iovec){frame + 1 + at, MIN(step, len - at)};
	if (len)
		packet_look(frame + 1, len, iov, n);
	segments_look(&ask, iov, n, len);
	free(frame);
	return 0;
}
