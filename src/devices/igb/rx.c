/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Receiving (7.1). A frame is copied from where the sender has it into the buffers that descriptors name, once. What
 * descriptors say of it is written back for a burst at a time.
 *
 * Where there are too few descriptors the frame waits in the cable, as it would in the card's packet buffer, unless
 * SRRCTL.Drop_En or QDE say that it is to be dropped.
 */
#include <errno.h>

#include "devices/igb/igb.h"

#define PLACE_IOVS 8

void igb_rx_sizes(struct igb *d)
{
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		struct igb_rxq *q = &d->rxq[i];

		q->packet_size = IGB_SRRCTL_PACKET(q->srrctl);
		if (!q->packet_size)
			q->packet_size = IGB_RCTL_BSIZE(igb_reg(d, IGB_RCTL));
		q->header_size = IGB_SRRCTL_HEADER(q->srrctl);
	}
}

/* ---- bytes ---- */
static bool copy_pieces(const struct igb_rx_frame *fr, size_t off, const struct iovec *to, unsigned int n)
{
	for (; n; n--, off += to->iov_len, to++)
		if (frame_copy(fr->iov, fr->n, off, to->iov_base, to->iov_len))
			return false;
	return true;
}

/* [off, off + len) of the frame to an address. What cannot be reached has been reported, and the card goes on. */
static void copy_to(struct igb_rxq *q, const struct igb_rx_frame *fr, size_t off, size_t len, uint64_t addr,
		    const char *part)
{
	const struct dma_tag *tag = igb_tag(&q->r, igb_ring_at(&q->r, q->r.pos), part);
	struct igb *d = q->r.d;
	struct iovec to[PLACE_IOVS];
	unsigned int n = PLACE_IOVS;
	int rc;

	/* Most frames are so short that all of it is at hand. */
	if (off + len <= fr->head_len) {
		pci_dma_write(&d->f, addr, fr->head + off, len, tag);
		return;
	}
	rc = dma_iov(d->f.dma, IOVA(addr), len, true, to, &n, tag);
	if (rc == -EFAULT)
		return;
	if (likely(!rc && n == 1 && fr->n == 1 && !guard_copy(to->iov_base, (char *)fr->iov->iov_base + off, len))) {
		dma_iov_done(d->f.dma, IOVA(addr), len, true, tag);
		return;
	}
	if (!rc && copy_pieces(fr, off, to, n))
		dma_iov_done(d->f.dma, IOVA(addr), len, true, tag);
	else if (!frame_copy(fr->iov, fr->n, off, d->rx_bounce, len))
		pci_dma_write(&d->f, addr, d->rx_bounce, len, tag);
}

/* ---- headers (7.1.10, and its table of lengths) ---- */
struct split {
	size_t header;	       /* bytes that go to the header's buffer; what follows them goes to the packet's */
	uint32_t info, status; /* of the first descriptor: d[0] and d[2] */
};

/*
 * A header that is longer than its buffer is not split off, but its length is told. "Always" fills the header's buffer
 * first, whatever is in it.
 */
static void split_off(const struct igb_rxq *q, const struct igb_rx_frame *fr, struct split *s)
{
	unsigned int type = IGB_SRRCTL_TYPE(q->srrctl);
	bool always = type == IGB_RX_SPLIT_ALWAYS, fits = fr->header && fr->header <= q->header_size;

	if ((type != IGB_RX_SPLIT && !always) || !q->header_size)
		return;
	if (always && fr->len <= q->header_size) {
		s->header = fr->len;
		s->info = IGB_RXD_HDR(fr->len);
		return;
	}
	if (fits)
		s->header = fr->header;
	else if (always)
		s->header = q->header_size;
	if (fr->header)
		s->info = IGB_RXD_SPH | IGB_RXD_HDR(fr->header);
	else if (always)
		s->info = IGB_RXD_HDR(q->header_size);
	if (fr->header && !fits)
		s->status = IGB_RXD_HBO;
}

/* ---- descriptors ---- */
/* 7.1.4: status and errors in a byte each. */
static void fill_legacy(union igb_desc *t, const struct igb_rx_frame *fr, size_t len, uint32_t status)
{
	uint32_t errors = (status & IGB_RXD_IPE ? 0x40 : 0) | (status & IGB_RXD_L4E ? 0x20 : 0);

	t->d[2] = (uint32_t)len | (fr->hash & 0xffff0000);
	t->d[3] = (status & 0xff) | errors << 8 | (uint32_t)fr->vlan << 16;
}

/* What is said of the frame counts in its last descriptor, what is said of its header in its first. */
static void fill(struct igb_rxq *q, const struct igb_rx_frame *fr, size_t len, const struct split *s, bool last)
{
	union igb_desc *t = &q->cache[q->r.pos];
	uint32_t status = IGB_RXD_DD | (last ? IGB_RXD_EOP | fr->status : 0) | s->status;

	q->addr[q->r.pos] = t->q[0];
	if (IGB_SRRCTL_TYPE(q->srrctl) == IGB_RX_LEGACY) {
		fill_legacy(t, fr, len, status);
	} else {
		t->d[0] = fr->info | s->info;
		t->d[1] = fr->hash;
		t->d[2] = status;
		t->d[3] = (uint32_t)len | (uint32_t)fr->vlan << 16;
	}
	q->r.pos++;
	q->r.head = igb_ring_at(&q->r, q->r.pos);
	q->r.rs = true;
}

/* The bytes at *off, as many as the next descriptor takes. False: the descriptor cannot be had. */
static bool place(struct igb_rxq *q, const struct igb_rx_frame *fr, size_t *off, const struct split *s)
{
	size_t len = MIN(fr->len - *off, (size_t)q->packet_size);

	if (q->r.pos == q->r.cached && !igb_ring_fetch(&q->r, IGB_FETCH, IGB_FETCH))
		return false;
	if (unlikely(s->header))
		copy_to(q, fr, 0, s->header, q->cache[q->r.pos].q[1] & ~1ull, "header");
	if (likely(len))
		copy_to(q, fr, *off, len, igb_ring_data(&q->r, q->r.pos), "data");
	*off += len;
	fill(q, fr, len, s, *off == fr->len);
	return true;
}

static enum net_verdict no_room(struct igb_rxq *q, uint32_t need)
{
	struct igb *d = q->r.d;

	if (need >= q->r.size || q->srrctl & IGB_SRRCTL_DROP || igb_reg(d, IGB_QDE) >> q->r.index & 1) {
		q->dropped++;
		return NET_DROPPED;
	}
	if (!q->starved)
		igb_count(d, IGB_STAT_RNBC, 1);
	q->starved = d->rx_full = true;
	return NET_FULL;
}

static enum net_verdict store(struct igb_rxq *q, const struct igb_rx_frame *fr)
{
	static const struct split whole;
	struct split s = whole;
	struct igb *d = q->r.d;
	uint32_t need;
	size_t off;

	if (unlikely(IGB_SRRCTL_TYPE(q->srrctl) >= IGB_RX_SPLIT))
		split_off(q, fr, &s);
	off = s.header;
	need = fr->len - off <= q->packet_size ? 1 : (uint32_t)DIV_ROUND_UP(fr->len - off, q->packet_size);
	if (unlikely(!q->r.size || q->r.broken))
		return NET_DROPPED;
	if (unlikely(need > igb_ring_avail(&q->r)) || unlikely(q->r.held) || !igb_ring_take(&q->r))
		return no_room(q, need);
	if (igb_frame_lost(&q->r))
		return NET_TAKEN;
	if (list_empty(&q->node))
		list_add_tail(&d->dirty, &q->node);
	if (!place(q, fr, &off, &s))
		return NET_DROPPED;
	while (off < fr->len)
		if (!place(q, fr, &off, &whole))
			return NET_DROPPED;
	igb_ring_taken(&q->r, q->r.pos - MIN(need, (uint32_t)q->r.pos));
	igb_stat_rx(d, q->r.index, fr->len, fr->head);
	return NET_TAKEN;
}

/* ---- frames ---- */
/* 8.10.1 LPE, 8.10.14, 8.14.20: lengths with FCS; without LPE a tag may make a frame longer. */
static bool too_long(const struct igb_rx_frame *fr)
{
	unsigned int tag = igb_tag_at(fr->by, fr->head);
	uint32_t normal = 1518, max;

	if (tag)
		normal += tag + VLAN_LEN - 12;
	max = igb_reg(fr->by, IGB_RCTL) & IGB_RCTL_LPE ? igb_reg(fr->by, IGB_RLPML) : normal;
	if (fr->pooled) {
		uint32_t vmolr = igb_reg(fr->by, IGB_VMOLR + 4 * fr->pool);

		max = MIN(max, vmolr & IGB_VMOLR_LPE ? IGB_VMOLR_LENGTH(vmolr) : normal);
	}
	return fr->len + IGB_FCS > max;
}

/* IEEE 802.3 3.2.9. */
static uint32_t crc32(const uint8_t *p, size_t len)
{
	uint32_t crc = ~0u;

	for (; len; len--, p++) {
		crc ^= *p;
		for (unsigned int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* Without RCTL.SECRC the driver sees the FCS. */
static bool add_fcs(struct igb *d, struct igb_rx_frame *fr)
{
	uint32_t crc;

	if (frame_copy(fr->iov, fr->n, 0, d->fcs_bounce, fr->len))
		return false;
	crc = crc32(d->fcs_bounce, fr->len);
	memcpy(d->fcs_bounce + fr->len, &crc, IGB_FCS);
	fr->len += IGB_FCS;
	fr->changed[0] = (struct iovec){d->fcs_bounce, fr->len};
	fr->iov = fr->changed;
	fr->n = 1;
	return true;
}

static bool headers_copy(struct igb_rx_frame *fr)
{
	fr->head_len = (unsigned int)MIN(fr->len, sizeof(fr->head));
	return igb_frame_head(fr->iov, fr->n, fr->head, fr->head_len);
}

/* It would be lost on a wire. Here a capture begins with the link, which comes up before the driver listens. */
static bool not_yet(struct igb *d, const struct igb *by)
{
	if (likely(igb_reg(by, IGB_RCTL) & IGB_RCTL_EN && d->f.run == PCI_RUNNING))
		return false;
	d->rx_full = true;
	return true;
}

static bool begin(struct igb_rx_frame *fr, const struct iovec *iov, unsigned int n, size_t len)
{
	fr->iov = iov;
	fr->n = n;
	fr->len = len;
	fr->queue = fr->info = fr->hash = fr->status = fr->vlan = fr->ptp = fr->header = 0;
	fr->urgent = false;
	return headers_copy(fr);
}

static enum net_verdict take(struct igb *d, struct igb_rx_frame *fr)
{
	bool keeps_fcs = !(igb_reg(fr->by, IGB_RCTL) & IGB_RCTL_SECRC);

	if (unlikely(too_long(fr))) {
		igb_count(d, IGB_STAT_ROC, 1);
		return NET_DROPPED;
	}
	igb_rx_classify(d, fr);
	if (fr->pooled && fr->offload & IGB_VMOLR_STRCRC)
		keeps_fcs = false;
	if (unlikely(keeps_fcs) && !add_fcs(d, fr))
		return NET_DROPPED;
	if (unlikely(fr->urgent))
		igb_intr_hurry(d, fr->queue % IGB_QUEUES);
	return store(&d->rxq[fr->queue % IGB_QUEUES], fr);
}

static enum net_verdict counted(struct igb *d, enum net_verdict v, size_t len, const struct igb_rx_frame *fr)
{
	if (unlikely(fr->head[12] == 0x88 && fr->head[13] == 0x08 && v != NET_FULL && !(fr->status & IGB_RXD_VP)))
		igb_stat_control(d, fr->head);
	if (unlikely(v == NET_DROPPED))
		igb_stat_unwanted(d, len);
	return v;
}

enum net_verdict igb_rx_receive(struct net_card *c, const struct iovec *iov, unsigned int n, size_t len)
{
	struct igb *d = container_of(c, struct igb, card);
	struct igb_rx_frame fr;

	if (unlikely(!d->link || len < NET_FRAME_MIN || len > NET_FRAME_MAX))
		return NET_DROPPED;
	if (not_yet(d, d))
		return NET_FULL;
	fr.by = d;
	fr.pooled = false;
	if (unlikely(!begin(&fr, iov, n, len)))
		return NET_DROPPED;
	return counted(d, igb_filter_accepts(d, &fr) ? take(d, &fr) : NET_DROPPED, len, &fr);
}

enum net_verdict igb_rx_pool(struct igb *d, unsigned int pool, bool copy, const struct iovec *iov, unsigned int n,
			     size_t len)
{
	struct igb *pf = d->pf ? d->pf : d;
	struct igb_rx_frame fr;

	if (!d->link || len < NET_FRAME_MIN || len > NET_FRAME_MAX)
		return NET_DROPPED;
	if (not_yet(d, pf))
		return NET_FULL;
	fr.by = pf;
	fr.pooled = true;
	fr.pool = (uint8_t)pool;
	fr.offload = igb_reg(pf, copy ? IGB_RPLOLR : IGB_VMOLR + 4 * pool);
	if (!begin(&fr, iov, n, len))
		return NET_DROPPED;
	return counted(d, take(d, &fr), len, &fr);
}

void igb_rx_received(struct net_card *c)
{
	struct igb *d = container_of(c, struct igb, card);
	struct igb_rxq *q, *tmp;

	list_for_each_safe (q, tmp, &d->dirty, node) {
		list_del(&q->node);
		igb_ring_flush(&q->r);
	}
	igb_intr_update(d);
}

void igb_rx_missed(struct net_card *c)
{
	struct igb *d = container_of(c, struct igb, card);

	if (igb_reg(d, IGB_RCTL) & IGB_RCTL_EN)
		igb_count(d, IGB_STAT_MPC, 1);
}

void igb_rx_room(struct igb *d, struct igb_rxq *q)
{
	if (likely(!q->starved) || (q->r.size && !q->r.broken && !igb_ring_avail(&q->r)))
		return;
	q->starved = d->rx_full = false;
	net_readable(d->net);
}

void igb_rx_init(struct igb *d)
{
	list_init(&d->dirty);
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		list_init(&d->rxq[i].node);
		igb_ring_init(&d->rxq[i].r, d, i, false, d->rxq[i].cache);
	}
}

void igb_rx_reset(struct igb *d)
{
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		struct igb_rxq *q = &d->rxq[i];

		list_del(&q->node);
		igb_ring_reset(&q->r);
		q->srrctl = q->dropped = 0;
		q->starved = false;
	}
	if (!d->rx_full)
		return;
	d->rx_full = false;
	net_readable(d->net);
}
