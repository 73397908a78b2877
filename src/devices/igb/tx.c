/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sending (7.2). A write of a tail begins a turn: the queues that have something take turns, a share each, and what is
 * left when the turn has cost enough goes on from the loop. A packet's data are handed on where they lie.
 */
#include <errno.h>

#include "devices/igb/igb.h"

#define COST_BYTES 2048 /* of data: what costs as much as a descriptor */

static void tx_misuse(const struct igb_txq *q, const char *text)
{
	igb_ring_misuse(&q->r, IGB_TDT, igb_ring_at(&q->r, q->r.pos), text);
}

/* ---- one packet ---- */
static bool is_context(const union igb_desc *t)
{
	return t->d[2] & IGB_TXD_DEXT && IGB_TXD_DTYP(t) == IGB_TXD_CONTEXT;
}

/*
 * How many descriptors the packet at pos has. 0: its end has not been handed over yet, or is too far; then so many that
 * the cache is full.
 */
static unsigned int packet_descs(struct igb_txq *q)
{
	struct igb_ring *r = &q->r;

	for (unsigned int n = 0; n < IGB_CHAIN; n++) {
		if (r->pos + n == r->cached && !igb_ring_fetch(r, IGB_CHAIN, IGB_FETCH))
			return 0;
		if (r->cache[r->pos + n].d[2] & IGB_TXD_EOP)
			return n + 1;
	}
	return 0;
}

/* Where the packet's data are. -EFAULT: some are not to be had; -E2BIG: in too many pieces. */
static int packet_gather(struct igb_txq *q, unsigned int n, struct igb_tx_frame *fr)
{
	struct igb_ring *r = &q->r;

	fr->n = 0;
	fr->len = 0;
	for (unsigned int i = r->pos; i < r->pos + n; i++) {
		const union igb_desc *t = &r->cache[i];
		const struct dma_tag *tag = igb_tag(r, igb_ring_at(r, i), "data");
		unsigned int pieces = NET_IOV_MAX - fr->n;
		int rc;

		if (!IGB_TXD_LEN(t))
			continue;
		if (!pieces)
			return -E2BIG;
		rc = dma_iov(r->d->f.dma, IOVA(igb_ring_data(r, i)), IGB_TXD_LEN(t), false, fr->iov + fr->n, &pieces,
			     tag);
		if (rc)
			return rc;
		fr->n += pieces;
		fr->len += IGB_TXD_LEN(t);
	}
	return igb_frame_head(fr->iov, fr->n, fr->head, MIN(fr->len, sizeof(fr->head))) ? 0 : -E2BIG;
}

/* The same through a buffer: memory of too many pieces, or that is not memory of a client. */
static int packet_bounce(struct igb_txq *q, unsigned int n, struct igb_tx_frame *fr)
{
	struct igb_ring *r = &q->r;
	struct igb *d = r->d;

	fr->len = 0;
	for (unsigned int i = r->pos; i < r->pos + n; i++) {
		const union igb_desc *t = &r->cache[i];
		const struct dma_tag *tag = igb_tag(r, igb_ring_at(r, i), "data");

		if (fr->len + IGB_TXD_LEN(t) > sizeof(d->bounce))
			return -EINVAL;
		if (pci_dma_read(&d->f, igb_ring_data(r, i), d->bounce + fr->len, IGB_TXD_LEN(t), tag))
			return -EFAULT;
		fr->len += IGB_TXD_LEN(t);
	}
	memcpy(fr->head, d->bounce, sizeof(fr->head));
	fr->iov[0] = (struct iovec){d->bounce, fr->len};
	fr->n = 1;
	return 0;
}

static void packet_account(struct igb_txq *q, unsigned int n)
{
	struct igb_ring *r = &q->r;

	for (unsigned int i = r->pos; i < r->pos + n; i++) {
		const union igb_desc *t = &r->cache[i];
		const struct dma_tag *tag = igb_tag(r, igb_ring_at(r, i), "data");

		if (IGB_TXD_LEN(t))
			dma_iov_done(r->d->f.dma, IOVA(igb_ring_data(r, i)), IGB_TXD_LEN(t), false, tag);
	}
}

/* False: not now. A packet whose data cannot be read is as good as gone, as it is on the wire (7.2.1). */
static bool packet_send(struct igb_txq *q, unsigned int n, size_t *len)
{
	struct igb_tx_frame fr;
	enum net_verdict v;
	bool bounced, stamped;
	uint64_t now = 0;
	int err;

	err = packet_gather(q, n, &fr);
	bounced = err == -E2BIG;
	if (bounced)
		err = packet_bounce(q, n, &fr);
	*len = 0;
	if (err || !fr.len) {
		if (err == -EINVAL)
			tx_misuse(q, "a packet that is longer than any can be");
		return true;
	}
	*len = fr.len;
	memcpy(fr.first, q->r.cache[q->r.pos].d, sizeof(fr.first));
	fr.cmd = q->r.cache[q->r.pos + n - 1].d[2];
	fr.special = q->r.cache[q->r.pos + n - 1].d[3];
	stamped = unlikely(fr.first[2] & IGB_TXD_STAMP) && fr.first[2] & IGB_TXD_DEXT && igb_stamp_tx_wanted(q->r.d);
	/* Before the other end has it. */
	if (stamped)
		now = igb_clock_now(q->r.d);
	v = igb_tx_emit(q, &fr);
	if (v == NET_FULL)
		return false;
	if (stamped)
		igb_stamp_tx(q->r.d, now);
	q->segment = 0;
	if (!bounced)
		packet_account(q, n);
	return true;
}

enum net_verdict igb_tx_send(struct igb_txq *q, const struct iovec *iov, unsigned int n, size_t len,
			     const uint8_t *head)
{
	struct igb *d = q->r.d;
	enum net_verdict v;

	if (!q->asked && igb_frame_lost(&q->r)) {
		v = NET_TAKEN;
	} else if (unlikely(d->loopback)) {
		v = igb_rx_receive(&d->card, iov, n, len);
		igb_rx_received(&d->card);
		/* There is no cable in which it could wait. */
		if (v == NET_FULL)
			igb_count(d, IGB_STAT_MPC, 1);
		v = NET_TAKEN;
	} else if (d->pf || d->nvf) {
		v = igb_switch_send(q, iov, n, len, head);
	} else {
		v = net_send(d->net, iov, n, len);
	}
	if (unlikely(v == NET_FULL)) {
		d->tx_full = true;
		q->asked = d->f.inject;
		return v;
	}
	q->asked = false;
	igb_stat_tx(d, q->r.index, len, head);
	return v;
}

/* ---- a queue ---- */
/* The n descriptors at pos are done. */
static void done(struct igb_txq *q, unsigned int n)
{
	struct igb_ring *r = &q->r;

	for (union igb_desc *t = &r->cache[r->pos]; n; n--, t++, r->pos++) {
		if (!(t->d[2] & IGB_TXD_RS))
			continue;
		t->d[3] = (t->d[2] & IGB_TXD_DEXT ? 0 : t->d[3] & ~0xfu) | IGB_TXD_DD;
		r->rs = true;
	}
	r->head = igb_ring_at(r, r->pos);
}

/* A packet that cannot be sent goes descriptor by descriptor. */
static void skip(struct igb_txq *q)
{
	q->skip = !(q->r.cache[q->r.pos].d[2] & IGB_TXD_EOP);
	done(q, 1);
}

static bool starts_badly(struct igb_txq *q)
{
	struct igb_ring *r = &q->r;

	if (r->cached - r->pos < IGB_CHAIN)
		return false;
	tx_misuse(q, "a packet of more descriptors than the card takes");
	return true;
}

/* The next thing in the queue. Returns what it cost; 0: it has to wait. */
static unsigned int step(struct igb_txq *q)
{
	struct igb_ring *r = &q->r;
	const union igb_desc *t;
	unsigned int n;
	size_t len;

	if (unlikely(r->held) || (r->pos == r->cached && !igb_ring_fetch(r, IGB_CHAIN, IGB_FETCH)))
		return 0;
	t = &r->cache[r->pos];
	if (unlikely(q->skip)) {
		skip(q);
		return 1;
	}
	if (unlikely(is_context(t))) {
		memcpy(q->context[IGB_TXD_IDX(t) % IGB_CONTEXTS].d, t->d, sizeof(t->d));
		done(q, 1);
		return 1;
	}
	n = packet_descs(q);
	if (!n) {
		q->skip = starts_badly(q);
		return q->skip;
	}
	if (!igb_ring_take(r))
		return 0;
	if (!packet_send(q, n, &len))
		return q->more ? IGB_SHARE : 0;
	done(q, n);
	igb_ring_taken(r, r->pos - n);
	return n + (unsigned int)(len / COST_BYTES);
}

/* True: there is more that can go at once. */
static bool txq_run(struct igb_txq *q, unsigned int *left)
{
	unsigned int share = MIN(*left, (unsigned int)IGB_SHARE), used = 0, cost = 1;

	if (!igb_pool_sends(q))
		return false;
	while (used < share && cost) {
		cost = step(q);
		used += cost;
	}
	igb_ring_flush(&q->r);
	*left -= MIN(*left, used);
	return cost;
}

/* ---- turns ---- */
static bool may_send(const struct igb *d)
{
	return !d->tx_full && d->link && d->f.run == PCI_RUNNING && !list_empty(&d->active) &&
	       igb_reg(d, IGB_TCTL) & IGB_TCTL_EN;
}

static void turn(struct igb *d)
{
	unsigned int left = IGB_TURN;

	if (d->in_turn || !may_send(d))
		return;
	d->in_turn = true;
	while (left && may_send(d)) {
		struct igb_txq *q = list_first(&d->active, struct igb_txq, node);

		list_del(&q->node);
		if (txq_run(q, &left) || d->tx_full)
			list_add_tail(&d->active, &q->node);
	}
	net_sent(d->net);
	if (d->pf || d->nvf)
		igb_switch_flush(d);
	d->in_turn = false;
	igb_intr_update(d);
	if (may_send(d))
		loop_work_queue(d->loop, &d->work);
}

static void turn_run(struct loop_work *w)
{
	turn(container_of(w, struct igb, work));
}

void igb_tx_turn_now(struct igb *d)
{
	if (list_empty(&d->work.node))
		turn(d);
}

static void activate(struct igb_txq *q)
{
	if (q->r.size && q->r.head != q->r.tail && list_empty(&q->node))
		list_add_tail(&q->r.d->active, &q->node);
}

void igb_tx_start(struct igb_txq *q)
{
	activate(q);
	igb_tx_turn_now(q->r.d);
}

void igb_tx_start_all(struct igb *d)
{
	for (unsigned int i = 0; i < IGB_QUEUES; i++)
		activate(&d->txq[i]);
	igb_tx_turn_now(d);
}

void igb_tx_writable(struct net_card *c)
{
	struct igb *d = container_of(c, struct igb, card);

	d->tx_full = false;
	igb_tx_turn_now(d);
}

void igb_tx_init(struct igb *d)
{
	list_init(&d->active);
	list_init(&d->work.node);
	d->work.run = turn_run;
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		list_init(&d->txq[i].node);
		igb_ring_init(&d->txq[i].r, d, i, true, d->txq[i].cache);
	}
}

void igb_tx_forget(struct igb_txq *q)
{
	q->segment = 0;
	q->skip = q->more = q->asked = false;
}

void igb_tx_reset(struct igb *d)
{
	loop_work_cancel(d->loop, &d->work);
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		struct igb_txq *q = &d->txq[i];

		list_del(&q->node);
		igb_ring_reset(&q->r);
		q->head_wb = 0;
		memset(q->context, 0, sizeof(q->context));
	}
}
