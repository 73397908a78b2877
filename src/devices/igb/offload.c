/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done to a packet on its way out (7.2.4, 7.2.5: segments, checksums, tags), and found out about a frame on its
 * way in (7.1.1.7: receive side scaling; 7.1.11: checksums; 7.4: tags).
 */
#include <arpa/inet.h>
#include <errno.h>

#include "devices/igb/igb.h"
#include "net/checksum.h"
#include "net/frame.h"
#include "net/segment.h"

/* ---- out ---- */

/* A legacy descriptor asks for one sum, from a byte to the packet's end, complemented at another (7.2.2.1). */
static bool legacy_sum(struct igb *d, struct igb_tx_frame *fr, const union igb_desc *first)
{
	unsigned int start = IGB_TXD_CSS(first), at = IGB_TXD_CSO(first);
	uint64_t sum;
	uint16_t folded;

	if (start >= fr->len || at + 2 > fr->len)
		return true; /* the card leaves such a packet as it is */
	if (fr->len > NET_FRAME_MAX || frame_copy(fr->iov, fr->n, 0, d->tx_bounce, fr->len))
		return false;
	sum = checksum_add(d->tx_bounce + start, fr->len - start);
	folded = checksum_finish(sum);
	memcpy(d->tx_bounce + at, &folded, 2);
	fr->iov[0] = (struct iovec){d->tx_bounce, fr->len};
	fr->n = 1;
	return true;
}

/* Context descriptors: 7.2.2.2; data descriptors' options: 7.2.2.3. */
static bool ask_read(const struct igb_txq *q, const struct igb_tx_frame *fr, const union igb_desc *first,
		     struct segment_ask *ask)
{
	const struct igb *d = q->r.d;
	const uint32_t *c = q->context[IGB_TXD_IDX(first) % IGB_CONTEXTS].d;
	bool tag = fr->cmd & IGB_TXD_VLE || (first->d[2] & IGB_TXD_DEXT && first->d[2] & IGB_TXD_VLE);
	uint32_t pool_tag = igb_pool_tag(q);

	if (pool_tag)
		tag = pool_tag & IGB_VMVIR_ALWAYS;
	memset(ask, 0, sizeof(*ask));
	ask->l4 = SEGMENT_L4_NONE;
	ask->vlan = tag;
	ask->vet = igb_reg(d, IGB_VET) & 0xffff;
	ask->behind = igb_reg(d, IGB_CTRL_EXT) & IGB_CTRL_EXT_EXT_VLAN && fr->len > 16 &&
		      ((uint32_t)fr->head[12] << 8 | fr->head[13]) == igb_reg(d, IGB_VET) >> 16;
	if (!(first->d[2] & IGB_TXD_DEXT)) {
		ask->tci = pool_tag ? pool_tag & 0xffff : fr->special >> 16;
		return tag;
	}
	ask->tci = pool_tag ? pool_tag & 0xffff : c[0] >> 16;
	ask->mac_len = c[0] >> 9 & 0x7f;
	ask->ip_len = c[0] & 0x1ff;
	ask->ipv4 = c[2] & IGB_CTX_IPV4;
	ask->l4 = c[2] >> IGB_CTX_L4T_SHIFT & 3;
	ask->mss = c[3] >> 16;
	ask->l4_len = c[3] >> 8 & 0xff;
	ask->cut = first->d[2] & IGB_TXD_TSE;
	ask->ip_sum = first->d[3] & IGB_TXD_IXSM;
	ask->l4_sum = first->d[3] & IGB_TXD_TXSM;
	ask->tcp_first = igb_reg(d, IGB_DTXTCPFLL) & 0xfff;
	ask->tcp_middle = igb_reg(d, IGB_DTXTCPFLL) >> 16 & 0xfff;
	ask->tcp_last = igb_reg(d, IGB_DTXTCPFLH) & 0xfff;
	return tag || ask->cut || ask->ip_sum || ask->l4_sum;
}

/* 8.12.1: without TCTL.PSP short frames are too short for anyone to take. */
static enum net_verdict short_send(struct igb_txq *q, const struct iovec *iov, unsigned int n, size_t len)
{
	uint8_t padded[NET_FRAME_MIN] = {0};
	struct iovec all = {padded, sizeof(padded)};

	if (!(igb_reg(q->r.d, IGB_TCTL) & IGB_TCTL_PSP) || frame_copy(iov, n, 0, padded, len))
		return NET_DROPPED;
	return igb_tx_send(q, &all, 1, sizeof(padded), padded);
}

static enum net_verdict frame_send(struct igb_txq *q, const struct iovec *iov, unsigned int n, size_t len,
				   const uint8_t *head)
{
	if (unlikely(len < NET_FRAME_MIN))
		return short_send(q, iov, n, len);
	if (unlikely(len > NET_FRAME_MAX))
		return NET_DROPPED;
	return igb_tx_send(q, iov, n, len, head);
}

/* Makes frame i and sends it. One in too many pieces for the cable is put together. */
static enum net_verdict segment_send(struct igb_txq *q, struct segments *s, uint32_t i)
{
	struct igb *d = q->r.d;
	struct iovec iov[NET_IOV_MAX + 1];
	unsigned int n = ARRAY_SIZE(iov);
	uint8_t head[16] = {0};
	size_t len;

	if (segments_make(s, i, iov, &n, &len) || len > NET_FRAME_MAX)
		return NET_DROPPED;
	if (n > NET_IOV_MAX) {
		if (frame_copy(iov, n, 0, d->tx_bounce, len))
			return NET_DROPPED;
		iov[0] = (struct iovec){d->tx_bounce, len};
		n = 1;
	}
	if (frame_copy(iov, n, 0, head, MIN(len, sizeof(head))))
		return NET_DROPPED;
	return frame_send(q, iov, n, len, head);
}

/* A driver decides how many segments there are: some now, the others in later turns. */
static enum net_verdict segments_send(struct igb_txq *q, struct segments *s)
{
	for (unsigned int i = 0; q->segment < s->count; i++, q->segment++) {
		q->more = i == IGB_SHARE;
		if (q->more || segment_send(q, s, q->segment) == NET_FULL)
			return NET_FULL;
	}
	return NET_TAKEN;
}

/* Nothing is to be done to it. */
static bool plain(const struct igb_tx_frame *fr)
{
	const uint32_t *first = fr->first;

	if ((fr->cmd | first[2]) & IGB_TXD_VLE)
		return false;
	if (first[2] & IGB_TXD_DEXT)
		return !(first[2] & IGB_TXD_TSE) && !(first[3] & (IGB_TXD_IXSM | IGB_TXD_TXSM));
	return !(first[2] & IGB_TXD_IC);
}

static __attribute__((noinline)) enum net_verdict offloads_emit(struct igb_txq *q, struct igb_tx_frame *fr)
{
	struct igb *d = q->r.d;
	union igb_desc first;
	struct segment_ask ask;
	struct segments s;
	int err;

	q->more = false;
	memcpy(first.d, fr->first, sizeof(first));
	if (!(first.d[2] & IGB_TXD_DEXT) && first.d[2] & IGB_TXD_IC && !legacy_sum(d, fr, &first))
		return NET_DROPPED;
	if (!ask_read(q, fr, &first, &ask))
		return frame_send(q, fr->iov, fr->n, fr->len, fr->head);
	err = segments_init(&s, &ask, fr->iov, fr->n, fr->len);
	if (!err && ask.cut && s.hdr_len + ask.mss > NET_FRAME_MAX)
		err = -EINVAL;
	if (err == -EINVAL)
		igb_ring_misuse(&q->r, IGB_TDT, igb_ring_at(&q->r, q->r.pos),
				"offloads whose headers do not fit the packet");
	if (err)
		return NET_DROPPED;
	if (ask.cut && !q->segment)
		igb_count(d, IGB_STAT_TSCTC, 1);
	return segments_send(q, &s);
}

enum net_verdict igb_tx_emit(struct igb_txq *q, struct igb_tx_frame *fr)
{
	if (unlikely(!plain(fr) || igb_pool_tag(q)))
		return offloads_emit(q, fr);
	q->more = false;
	return frame_send(q, fr->iov, fr->n, fr->len, fr->head);
}

/* ---- in ---- */

/* 8.10.12: byte i of the key is in bits 8 (i % 4) and up of register i / 4. */
static void key_update(struct igb *d)
{
	uint8_t key[RSS_KEY];

	for (unsigned int i = 0; i < RSS_KEY; i++)
		key[i] = igb_reg(d, IGB_RSSRK + (i & ~3u)) >> 8 * (i & 3);
	rss_set_key(&d->rss, key);
	d->rss_stale = false;
}

/* Without a hash: 7.1.1.3, and of a pool its first one. */
static unsigned int queue_first(const struct igb *d, const struct igb_rx_frame *fr, bool pools)
{
	if (fr->pooled)
		return d == fr->by ? fr->pool : 0;
	return pools ? IGB_VT_CTL_DEF_PL(igb_reg(d, IGB_VT_CTL)) : IGB_MRQC_DEF_Q(igb_reg(d, IGB_MRQC));
}

static void queue_choose(struct igb *d, struct igb_rx_frame *fr, const struct packet *p, bool report)
{
	uint32_t mrqc = igb_reg(fr->by, IGB_MRQC), mode = IGB_MRQC_MODE(mrqc), hash, entry;
	bool pools = mode == IGB_MRQC_VMDQ || mode == IGB_MRQC_VMDQ_RSS;
	enum rss_type type;

	fr->queue = queue_first(d, fr, pools);
	if (mode != IGB_MRQC_RSS && mode != IGB_MRQC_VMDQ_RSS)
		return;
	if (fr->pooled && !(igb_reg(fr->by, IGB_VMOLR + 4 * fr->pool) & IGB_VMOLR_RSSE))
		return;
	if (unlikely(fr->by->rss_stale))
		key_update(fr->by);
	type = rss_packet(&fr->by->rss, mrqc >> 16, fr->head, p, &hash);
	if (type == RSS_TYPE_NONE)
		return;
	entry = igb_reg(fr->by, IGB_RETA + (hash & 0x7c)) >> 8 * (hash & 3) & (IGB_QUEUES - 1);
	/* A pool has two queues, and the entry's upper bit says which. */
	entry = pools ? fr->queue + (entry & 8) : entry;
	/* Where the card is its functions' host: as many queues as the driver has. */
	if (d->pf && !fr->pooled && !d->rxq[entry].r.size)
		return;
	fr->queue = entry;
	if (report) {
		fr->info |= type;
		fr->hash = hash;
	}
}

/* Without RXCSUM.PCSD the descriptor has a sum over the packet, and the IPv4 identification, in the hash's place. */
static void packet_sum_report(struct igb_rx_frame *fr, const struct packet *p, uint32_t rxcsum)
{
	size_t from = rxcsum & IGB_RXCSUM_PCSS, len = fr->len;
	uint64_t sum;

	if (rxcsum & IGB_RXCSUM_IPID) {
		/* 7.1.11.2: of a fragment's payload, to be added up by who puts fragments together. */
		if (!(p->kind & PACKET_FRAGMENT) || !(p->kind & PACKET_IPV4))
			return;
		from = p->l3 + p->l3_len;
		len = p->l3 + ntohs(*(const uint16_t *)(fr->head + p->l3 + 2));
	}
	if (p->kind & PACKET_IPV4)
		fr->hash = ntohs(*(const uint16_t *)(fr->head + p->l3 + 4));
	if (from < len && !frame_checksum(fr->iov, fr->n, from, len - from, &sum))
		fr->hash |= (uint32_t)ntohs(checksum_finish(sum)) << 16;
}

static void sums_check(struct igb_rx_frame *fr, const struct packet *p, uint32_t rxcsum)
{
	enum packet_sum sum;

	if (rxcsum & IGB_RXCSUM_IP) {
		sum = packet_ip_check(fr->head, p);
		if (sum != PACKET_SUM_NONE)
			fr->status |= IGB_RXD_IPCS | (sum == PACKET_SUM_BAD ? IGB_RXD_IPE : 0);
	}
	if (!(rxcsum & (p->kind & PACKET_SCTP ? IGB_RXCSUM_CRC : IGB_RXCSUM_L4)))
		return;
	sum = packet_l4_check(fr->head, p, fr->iov, fr->n);
	if (sum == PACKET_SUM_NONE)
		return;
	fr->status |= IGB_RXD_L4CS | (sum == PACKET_SUM_BAD ? IGB_RXD_L4E : 0);
	if (p->kind & PACKET_UDP)
		fr->status |= IGB_RXD_UDPCS;
}

/* Takes the tag out (7.4.3). */
static bool tag_strip(struct igb_rx_frame *fr, unsigned int at)
{
	int before = frame_slice(fr->iov, fr->n, 0, at, fr->changed, ARRAY_SIZE(fr->changed));
	int behind;

	if (before < 0)
		return false;
	behind = frame_slice(fr->iov, fr->n, at + VLAN_LEN, fr->len - at - VLAN_LEN, fr->changed + before,
			     ARRAY_SIZE(fr->changed) - before);
	if (behind < 0)
		return false;
	fr->status |= IGB_RXD_VP;
	fr->vlan = ntohs(*(const uint16_t *)(fr->head + at + 2));
	fr->iov = fr->changed;
	fr->n = before + behind;
	fr->len -= VLAN_LEN;
	fr->head_len -= VLAN_LEN;
	memmove(fr->head + at, fr->head + at + VLAN_LEN, fr->head_len - at);
	return true;
}

/* 8.10.3: how much of a packet is header. What is behind UDP and TCP is not looked into. */
static uint16_t header_end(const struct igb *d, const struct igb_rx_frame *fr, const struct packet *p)
{
	uint32_t psr = igb_reg(d, IGB_PSRTYPE + (fr->pooled && d == fr->by ? 4 * fr->pool : 0));
	uint32_t ip = p->kind & PACKET_IPV4 ? IGB_PSRTYPE_IPV4 : IGB_PSRTYPE_IPV6;

	if (!(p->kind & (PACKET_IPV4 | PACKET_IPV6)))
		return 0;
	if ((p->kind & PACKET_TCP && psr & ip << 1) || (p->kind & PACKET_UDP && psr & ip << 2))
		return p->headers_end;
	return psr & ip ? p->l3 + p->l3_len : 0;
}

void igb_rx_classify(struct igb *d, struct igb_rx_frame *fr)
{
	uint32_t rxcsum = igb_reg(fr->by, IGB_RXCSUM), vet = igb_reg(fr->by, IGB_VET);
	bool strip, double_tags = igb_reg(fr->by, IGB_CTRL_EXT) & IGB_CTRL_EXT_EXT_VLAN;
	unsigned int tag = igb_tag_at(fr->by, fr->head);
	struct packet p;

	packet_parse(fr->head, fr->head_len, fr->len, double_tags ? vet >> 16 : vet & 0xffff, &p);
	fr->info = (p.kind & PACKET_TYPES) << 4;
	queue_choose(d, fr, &p, rxcsum & IGB_RXCSUM_PCSD);
	igb_flow_classify(d, fr, &p);
	igb_stamp_rx(d, fr, &p);
	if (!(rxcsum & IGB_RXCSUM_PCSD))
		packet_sum_report(fr, &p, rxcsum);
	if (rxcsum & (IGB_RXCSUM_IP | IGB_RXCSUM_L4 | IGB_RXCSUM_CRC))
		sums_check(fr, &p, rxcsum);
	if (unlikely(IGB_SRRCTL_TYPE(d->rxq[fr->queue % IGB_QUEUES].srrctl) >= IGB_RX_SPLIT))
		fr->header = header_end(d, fr, &p);
	/* 7.10.3.8: of pools, CTRL.VME is nobody's. */
	strip = fr->pooled ? fr->offload & IGB_VMOLR_STRVLAN : igb_reg(d, IGB_CTRL) & IGB_CTRL_VME;
	if (strip && tag && tag_strip(fr, tag) && fr->header)
		fr->header -= VLAN_LEN;
}
