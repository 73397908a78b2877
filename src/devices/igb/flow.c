/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters by content (7.1.1.4 to 7.1.1.6, 8.11): frames of an EtherType, of a flow, or that open a TCP connection, get
 * a queue of their own, are time stamped, or interrupt at once. A frame's EtherType comes first; flows and SYN are in
 * the order that RFCTL says; what none of them wants is spread as all others are.
 *
 * Addresses and ports are in the registers as they are in a frame.
 */
#include "devices/igb/igb.h"

#define TCP_FLAGS 13 /* the byte of the TCP header */
#define TCP_SYN	  0x02

static bool ftqf_wanted(const struct igb *d, unsigned int i)
{
	return igb_reg(d, IGB_FTQF + 4 * i) & (IGB_FTQF_QUEUE_ENABLE | IGB_FTQF_1588) ||
	       igb_reg(d, IGB_IMIR + 4 * i) & IGB_IMIR_ENABLE;
}

void igb_flow_update(struct igb *d)
{
	d->etqfs = d->ftqfs = 0;
	for (unsigned int i = 0; i < IGB_FILTERS; i++) {
		if (igb_reg(d, IGB_ETQF + 4 * i) & IGB_ETQF_ENABLE)
			d->etqfs |= BIT(i);
		if (ftqf_wanted(d, i))
			d->ftqfs |= BIT(i);
	}
	d->flows = d->etqfs || d->ftqfs || igb_reg(d, IGB_SYNQF) & IGB_SYNQF_ENABLE ||
		   igb_reg(d, IGB_IMIRVP) & IGB_IMIRVP_ENABLE;
}

/* ---- EtherTypes (8.11.1) ---- */
static bool ethertype_match(const struct igb *d, struct igb_rx_frame *fr, const struct packet *p)
{
	for (uint32_t left = d->etqfs; left; left &= left - 1) {
		unsigned int i = (unsigned int)__builtin_ctz(left);
		uint32_t etqf = igb_reg(d, IGB_ETQF + 4 * i);

		if ((etqf & 0xffff) != p->ethertype)
			continue;
		fr->info = (fr->info & 0xf) | IGB_RXD_L2 | i << 4;
		fr->urgent |= etqf & IGB_ETQF_IMMEDIATE;
		if (etqf & IGB_ETQF_1588)
			fr->ptp = p->headers_end;
		if (etqf & IGB_ETQF_QUEUE_ENABLE)
			fr->queue = etqf >> 16 & (IGB_QUEUES - 1);
		return etqf & IGB_ETQF_QUEUE_ENABLE;
	}
	return false;
}

/* ---- flows (8.11.2 to 8.11.5, and the rest of each in 8.8.16 and 8.8.17) ---- */
static unsigned int protocol(const struct igb_rx_frame *fr, const struct packet *p)
{
	if (p->kind & PACKET_IPV4)
		return fr->head[p->l3 + 9];
	return p->kind & PACKET_TCP ? 6 : p->kind & PACKET_UDP ? 17 : p->kind & PACKET_SCTP ? 132 : 256;
}

static bool address_is(const struct igb_rx_frame *fr, const struct packet *p, unsigned int at, uint32_t addr)
{
	return p->kind & PACKET_IPV4 && !memcmp(fr->head + at, &addr, sizeof(addr));
}

static bool port_is(const struct igb_rx_frame *fr, const struct packet *p, unsigned int at, uint32_t port)
{
	return p->l4 && !memcmp(fr->head + p->l4 + at, &port, 2);
}

/* All that are asked for are set. They are in the register the other way round. */
static bool flags_match(const struct igb_rx_frame *fr, const struct packet *p, uint32_t ext)
{
	uint32_t flags;

	if (!(p->kind & PACKET_TCP))
		return false;
	flags = fr->head[p->l4 + TCP_FLAGS];
	for (unsigned int i = 0; i < 6; i++)
		if (ext >> (13 + i) & 1 && !(flags >> (5 - i) & 1))
			return false;
	return true;
}

static unsigned int pool(const struct igb *d, const struct igb_rx_frame *fr)
{
	uint32_t mode = IGB_MRQC_MODE(igb_reg(d, IGB_MRQC));

	if (fr->pooled)
		return fr->pool;
	return mode == IGB_MRQC_VMDQ || mode == IGB_MRQC_VMDQ_RSS ? IGB_VT_CTL_DEF_PL(igb_reg(d, IGB_VT_CTL)) : 0;
}

static bool flow_matches(const struct igb *d, unsigned int i, const struct igb_rx_frame *fr, const struct packet *p)
{
	uint32_t ftqf = igb_reg(d, IGB_FTQF + 4 * i), imir = igb_reg(d, IGB_IMIR + 4 * i);
	uint32_t ext = igb_reg(d, IGB_IMIREXT + 4 * i);

	if (!(ftqf & IGB_FTQF_VF_BYPASS) && IGB_FTQF_VF(ftqf) != pool(d, fr))
		return false;
	if (!(ftqf & IGB_FTQF_PROTOCOL_BYPASS) && (ftqf & 0xff) != protocol(fr, p))
		return false;
	if (!(ftqf & IGB_FTQF_SRC_BYPASS) && !address_is(fr, p, p->plain_src, igb_reg(d, IGB_SAQF + 4 * i)))
		return false;
	if (!(ftqf & IGB_FTQF_DST_BYPASS) && !address_is(fr, p, p->plain_dst, igb_reg(d, IGB_DAQF + 4 * i)))
		return false;
	if (!(ftqf & IGB_FTQF_SPORT_BYPASS) && !port_is(fr, p, 0, igb_reg(d, IGB_SPQF + 4 * i)))
		return false;
	if (!(imir & IGB_IMIR_PORT_BYPASS) && !port_is(fr, p, 2, imir))
		return false;
	if (!(ext & IGB_IMIREXT_SIZE_BYPASS) && fr->len + IGB_FCS >= (ext & 0xfff))
		return false;
	return ext & IGB_IMIREXT_FLAGS_BYPASS || flags_match(fr, p, ext);
}

/* Of those that match, all stamp and interrupt; the first one of the highest priority says where it goes. */
static int flow_match(const struct igb *d, struct igb_rx_frame *fr, const struct packet *p)
{
	int queue = -1, best = -1;

	if (!(p->kind & (PACKET_IPV4 | PACKET_IPV6)))
		return -1;
	for (uint32_t left = d->ftqfs; left; left &= left - 1) {
		unsigned int i = (unsigned int)__builtin_ctz(left);
		uint32_t ftqf = igb_reg(d, IGB_FTQF + 4 * i), imir = igb_reg(d, IGB_IMIR + 4 * i);

		if (!flow_matches(d, i, fr, p))
			continue;
		fr->urgent |= imir & IGB_IMIR_ENABLE;
		if (ftqf & IGB_FTQF_1588 && p->kind & PACKET_UDP)
			fr->ptp = p->l4 + 8;
		if (!(ftqf & IGB_FTQF_QUEUE_ENABLE) || (int)IGB_IMIR_PRIORITY(imir) <= best)
			continue;
		best = IGB_IMIR_PRIORITY(imir);
		queue = ftqf >> 16 & (IGB_QUEUES - 1);
	}
	return queue;
}

/* ---- SYN (8.11.6) ---- */
static int syn_match(const struct igb *d, const struct igb_rx_frame *fr, const struct packet *p)
{
	uint32_t synqf = igb_reg(d, IGB_SYNQF);

	if (!(synqf & IGB_SYNQF_ENABLE) || !(p->kind & PACKET_TCP) || !(fr->head[p->l4 + TCP_FLAGS] & TCP_SYN))
		return -1;
	return synqf >> 1 & (IGB_QUEUES - 1);
}

void igb_flow_classify_slow(struct igb *d, struct igb_rx_frame *fr, const struct packet *p)
{
	uint32_t imirvp = igb_reg(d, IGB_IMIRVP);
	unsigned int was = fr->queue;
	bool has = ethertype_match(d, fr, p);
	int flow = flow_match(d, fr, p), syn = syn_match(d, fr, p);

	if (imirvp & IGB_IMIRVP_ENABLE && p->tagged && p->tci >> 13 >= (imirvp & 7))
		fr->urgent = true;
	/* 7.1.1.3: a pool's frames stay in its queues. */
	if (fr->pooled)
		fr->queue = was;
	if (has || fr->pooled)
		return;
	if (flow < 0 || (syn >= 0 && igb_reg(d, IGB_RFCTL) & IGB_RFCTL_SYNQFP))
		flow = syn;
	if (flow >= 0)
		fr->queue = (unsigned int)flow;
}
