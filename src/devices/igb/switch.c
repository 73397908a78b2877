/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The switch in a card with virtual functions (7.10.3): they, the card itself and the cable are its ports. A unicast
 * frame goes to the function that has the address, or else to the cable; what comes from there for no function goes to
 * the card itself. Multicast goes everywhere.
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

enum net_verdict igb_switch_send(struct igb *d, const struct iovec *iov, unsigned int n, size_t len,
				 const uint8_t *head)
{
	const struct frame fr = {iov, n, len};
	struct igb *pf = d->pf ? d->pf : d, *to = NULL;
	enum net_verdict v;

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
