/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pools a frame is for when the card's driver is the host (7.10.3.3 to 7.10.3.6): by address, by VLAN, and by
 * what VMOLR lets a pool have beside.
 */
#include "devices/igb/igb.h"

static uint32_t vmolr(const struct igb *pf, unsigned int pool)
{
	return igb_reg(pf, IGB_VMOLR + 4 * pool);
}

static uint8_t pools_with(const struct igb *pf, uint32_t bit)
{
	uint8_t pools = 0;

	for (unsigned int i = 0; i < IGB_POOLS; i++)
		if (vmolr(pf, i) & bit)
			pools |= BIT(i);
	return pools;
}

static bool broadcast(const uint8_t *dst)
{
	return (dst[0] & dst[1] & dst[2] & dst[3] & dst[4] & dst[5]) == 0xff;
}

static bool tagged(const struct igb *pf, const uint8_t *head, uint32_t *id)
{
	*id = ((uint32_t)head[14] << 8 | head[15]) & 0xfff;
	return ((uint32_t)head[12] << 8 | head[13]) == (igb_reg(pf, IGB_VET) & 0xffff);
}

static uint8_t vlan_members(const struct igb *pf, uint32_t id)
{
	uint8_t pools = 0;

	for (unsigned int i = 0; i < IGB_VLVFS; i++) {
		uint32_t vlvf = igb_reg(pf, IGB_VLVF + 4 * i);

		if (vlvf & IGB_VLVF_ENABLE && IGB_VLVF_ID(vlvf) == id)
			pools |= IGB_VLVF_POOLS(vlvf);
	}
	return pools;
}

static uint8_t address_pools(const struct igb *pf, const uint8_t *dst)
{
	uint8_t pools = igb_filter_pools(pf, dst);

	if (broadcast(dst))
		return pools | pools_with(pf, IGB_VMOLR_BAM);
	if (!pools && igb_filter_table_has(pf, dst[0] & 1 ? IGB_MTA : IGB_UTA, dst))
		pools = pools_with(pf, dst[0] & 1 ? IGB_VMOLR_ROMPE : IGB_VMOLR_ROPE);
	if (dst[0] & 1)
		pools |= pools_with(pf, IGB_VMOLR_MPME);
	return pools;
}

uint8_t igb_pools_for(const struct igb *pf, const uint8_t *head, bool *exact)
{
	uint8_t pools = address_pools(pf, head), members = 0xff;
	uint32_t id;

	if (igb_reg(pf, IGB_VT_CTL) & IGB_VT_CTL_IGNORE_MAC)
		pools = 0xff;
	if (igb_reg(pf, IGB_RCTL) & IGB_RCTL_VFE)
		members = tagged(pf, head, &id) ? vlan_members(pf, id) : pools_with(pf, IGB_VMOLR_AUPE);
	*exact = !(head[0] & 1) && igb_filter_pools(pf, head) & members;
	return pools & members;
}

uint8_t igb_pools_received(const struct igb *pf, const uint8_t *head)
{
	uint32_t vt_ctl = igb_reg(pf, IGB_VT_CTL);
	uint8_t def = vt_ctl & IGB_VT_CTL_NO_DEFAULT ? 0 : BIT(IGB_VT_CTL_DEF_PL(vt_ctl)), pools;
	bool exact;

	pools = igb_pools_for(pf, head, &exact);
	if (!pools)
		pools = def;
	/* 7.10.3.5: for one pool alone. */
	if (!(vt_ctl & IGB_VT_CTL_REPLICATION))
		pools = head[0] & 1 ? def : pools & -pools;
	return pools & igb_reg(pf, IGB_VFRE);
}

/* ---- on the way out ---- */

static const struct igb *card_of(const struct igb_txq *q)
{
	return q->r.d->pf ? q->r.d->pf : q->r.d;
}

unsigned int igb_pool_of(const struct igb_txq *q)
{
	return q->r.d->pf ? q->r.d->f.virtfn : q->r.index % IGB_POOLS;
}

bool igb_pool_sends(const struct igb_txq *q)
{
	const struct igb *pf = card_of(q);

	return likely(!pf->governs) || igb_reg(pf, IGB_VFTE) >> igb_pool_of(q) & 1;
}

uint32_t igb_pool_tag(const struct igb_txq *q)
{
	const struct igb *pf = card_of(q);

	if (likely(!pf->governs))
		return 0;
	/* Both at once are reserved. */
	return igb_reg(pf, IGB_VMVIR + 4 * igb_pool_of(q)) & (IGB_VMVIR_ALWAYS | IGB_VMVIR_NEVER)
		   ? igb_reg(pf, IGB_VMVIR + 4 * igb_pool_of(q))
		   : 0;
}

bool igb_pool_owns(const struct igb *pf, unsigned int pool, const uint8_t *head)
{
	uint32_t dtxswc = igb_reg(pf, IGB_DTXSWC), id;

	if (IGB_DTXSWC_MAC(dtxswc, pool) && !(igb_filter_pools(pf, head + 6) >> pool & 1))
		return false;
	return !IGB_DTXSWC_VLAN(dtxswc, pool) || !tagged(pf, head, &id) || vlan_members(pf, id) >> pool & 1;
}

bool igb_pool_local(const struct igb *pf, const uint8_t *head)
{
	uint32_t id;

	if (!tagged(pf, head, &id))
		return false;
	for (unsigned int i = 0; i < IGB_VLVFS; i++) {
		uint32_t vlvf = igb_reg(pf, IGB_VLVF + 4 * i);

		if (vlvf & IGB_VLVF_ENABLE && vlvf & IGB_VLVF_LOCAL && IGB_VLVF_ID(vlvf) == id)
			return true;
	}
	return false;
}
