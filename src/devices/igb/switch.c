/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The switch in a card with virtual functions (7.10.3): they, the card itself and the cable are its ports. A unicast
 * frame goes to the function that has the address, or else to the cable; what comes from there for no function goes to
 * the card itself. Multicast goes everywhere.
 *
 * That is how it is while the card is the functions' host. When its driver is, its registers say where a frame goes
 * (pool.c), and a port is one of the eight pools.
 *
 * Nothing is kept here: a function without room for a frame misses it, or one that nobody empties would stop all
 * others.
 */
#include "devices/igb/igb.h"
#include "net/frame.h"

struct frame {
	const struct iovec *iov;
	unsigned int n;
	size_t len;
};

static bool deliver(struct igb *port, const struct frame *fr)
{
	enum net_verdict v = igb_rx_receive(&port->card, fr->iov, fr->n, fr->len);

	if (v == NET_FULL)
		igb_count(port, IGB_STAT_MPC, 1);
	return v == NET_TAKEN;
}

/* The card or a virtual function, but not from, that has the address dst. */
static struct igb *owner(struct igb *pf, const struct igb *from, const uint8_t *dst)
{
	for (unsigned int i = 0; i < pf->nvf; i++)
		if (pf->vf[i] && pf->vf[i] != from && igb_filter_has_address(pf->vf[i], dst))
			return pf->vf[i];
	return pf != from && igb_filter_has_address(pf, dst) ? pf : NULL;
}

static bool deliver_to_functions(struct igb *pf, const struct igb *from, const struct frame *fr)
{
	bool any = false;

	for (unsigned int i = 0; i < pf->nvf; i++)
		if (pf->vf[i] && pf->vf[i] != from)
			any |= deliver(pf->vf[i], fr);
	return any;
}

/* ---- pools ---- */

/* Of the functions there are; the other pools are the card's. */
static struct igb *port_of(struct igb *pf, unsigned int pool)
{
	return pool < pf->nvf ? pf->vf[pool] : pf;
}

static enum net_verdict deliver_to_pool(struct igb *pf, unsigned int pool, bool copy, const struct frame *fr)
{
	struct igb *port = port_of(pf, pool);

	return port ? igb_rx_pool(port, pool, copy, fr->iov, fr->n, fr->len) : NET_DROPPED;
}

static bool deliver_to_pools(struct igb *pf, uint8_t pools, bool copy, const struct frame *fr)
{
	bool any = false;

	for (unsigned int i = 0; i < IGB_POOLS; i++) {
		enum net_verdict v = pools >> i & 1 ? deliver_to_pool(pf, i, copy, fr) : NET_DROPPED;

		if (v == NET_FULL)
			igb_count(port_of(pf, i), IGB_STAT_MPC, 1);
		any |= v == NET_TAKEN;
	}
	return any;
}

static bool several(uint8_t pools)
{
	return pools & (pools - 1);
}

/* 7.10.3.6. */
static enum net_verdict send_from_pool(struct igb_txq *q, const struct frame *fr, const uint8_t *head)
{
	struct igb *d = q->r.d, *pf = d->pf ? d->pf : d;
	unsigned int pool = igb_pool_of(q);
	uint32_t dtxswc = igb_reg(pf, IGB_DTXSWC);
	enum net_verdict v;
	bool exact = false;
	uint8_t pools = 0;

	if (!igb_pool_owns(pf, pool, head)) {
		pf->reg[IGB_WVBR / 4] |= BIT(d->pf ? pool + q->r.index : q->r.index);
		return NET_TAKEN;
	}
	if (igb_pooled(pf) && dtxswc & IGB_DTXSWC_LOOPBACK)
		pools = igb_pools_for(pf, head, &exact);
	if (!IGB_DTXSWC_LLE(dtxswc, pool))
		pools &= ~BIT(pool);
	pools &= igb_reg(pf, IGB_VFRE);
	if (!exact && !igb_pool_local(pf, head)) {
		v = net_send(pf->net, fr->iov, fr->n, fr->len);
		if (v == NET_FULL)
			return v;
	}
	deliver_to_pools(pf, pools, several(pools), fr);
	return NET_TAKEN;
}

/* A frame that the card's own pools have no room for waits; one for functions alone does not. */
static enum net_verdict receive_for_pools(struct igb *pf, const struct frame *fr, const uint8_t *head)
{
	struct igb_rx_frame look = {.len = fr->len};
	uint8_t pools = igb_pools_received(pf, head), first;
	enum net_verdict v = NET_DROPPED;

	memcpy(look.head, head, 16);
	if (!igb_filter_accepts(pf, &look))
		return NET_DROPPED;
	first = pools >> pf->nvf << pf->nvf;
	first &= -first;
	if (first) {
		v = deliver_to_pool(pf, (unsigned int)__builtin_ctz(first), several(pools), fr);
		if (v == NET_FULL)
			return v;
	}
	return deliver_to_pools(pf, pools & ~first, several(pools), fr) ? NET_TAKEN : v;
}

/* ---- both ---- */

enum net_verdict igb_switch_send(struct igb_txq *q, const struct iovec *iov, unsigned int n, size_t len,
				 const uint8_t *head)
{
	const struct frame fr = {iov, n, len};
	struct igb *d = q->r.d, *pf = d->pf ? d->pf : d, *to = NULL;
	enum net_verdict v;

	if (pf->governs)
		return send_from_pool(q, &fr, head);
	if (!(head[0] & 1))
		to = owner(pf, d, head);
	if (to) {
		deliver(to, &fr);
		return NET_TAKEN;
	}
	v = net_send(pf->net, iov, n, len);
	if (v == NET_FULL || !(head[0] & 1))
		return v;
	deliver_to_functions(pf, d, &fr);
	if (pf != d)
		deliver(pf, &fr);
	return NET_TAKEN;
}

/* From the cable, which keeps a frame for the card itself alone. */
enum net_verdict igb_switch_receive(struct net_card *c, const struct iovec *iov, unsigned int n, size_t len)
{
	struct igb *pf = container_of(c, struct igb, card), *to;
	const struct frame fr = {iov, n, len};
	enum net_verdict v;
	uint8_t head[16];

	if (frame_copy(iov, n, 0, head, sizeof(head)))
		return NET_DROPPED;
	if (pf->governs)
		return igb_pooled(pf) ? receive_for_pools(pf, &fr, head) : igb_rx_receive(c, iov, n, len);
	if (!(head[0] & 1)) {
		to = owner(pf, NULL, head);
		if (to && to != pf)
			return deliver(to, &fr) ? NET_TAKEN : NET_DROPPED;
		return igb_rx_receive(c, iov, n, len);
	}
	v = igb_rx_receive(c, iov, n, len);
	if (v == NET_FULL)
		return v;
	return deliver_to_functions(pf, NULL, &fr) ? NET_TAKEN : v;
}

/* A burst is over, whichever way it went. */
void igb_switch_flush(struct igb *d)
{
	struct igb *pf = d->pf ? d->pf : d;

	igb_rx_received(&pf->card);
	for (unsigned int i = 0; i < pf->nvf; i++)
		if (pf->vf[i])
			igb_rx_received(&pf->vf[i]->card);
}

void igb_switch_received(struct net_card *c)
{
	igb_switch_flush(container_of(c, struct igb, card));
}

void igb_switch_writable(struct net_card *c)
{
	struct igb *pf = container_of(c, struct igb, card);

	igb_tx_writable(c);
	for (unsigned int i = 0; i < pf->nvf; i++)
		if (pf->vf[i])
			igb_tx_writable(&pf->vf[i]->card);
}
