/* SPDX-License-Identifier: BSD-3-Clause */
/* Which frames are for this card (7.1.2): by address, and by VLAN. */
#include "devices/igb/igb.h"

#define ADDRESS 0xffffffffffffull

/* A frame's first bytes are eight at least. */
static uint64_t address(const uint8_t *p)
{
	uint64_t a;

	memcpy(&a, p, sizeof(a));
	return a & ADDRESS;
}

/* 8.10.17: the first 16 pairs are in one place, the others in another. */
static uint32_t rar_offset(unsigned int i)
{
	return i < 16 ? IGB_RAL + 8 * i : IGB_RAL_MORE + 8 * (i - 16);
}

void igb_filter_update(struct igb *d)
{
	d->nrar = 0;
	for (unsigned int i = 0; i < IGB_RARS; i++) {
		uint64_t low = igb_reg(d, rar_offset(i)), high = igb_reg(d, rar_offset(i) + 4);

		if (!(high & IGB_RAH_AV))
			continue;
		d->rar_pools[d->nrar] = IGB_RAH_POOLS(high);
		d->rar[d->nrar++] = (low | high << 32) & ADDRESS;
	}
}

/* 8.10.16: twelve bits of the address, of its last two bytes, choose a bit of the table. */
bool igb_filter_table_has(const struct igb *d, uint32_t table, const uint8_t *dst)
{
	static const uint8_t shift[] = {4, 3, 2, 0};
	uint32_t hash = (dst[4] | (uint32_t)dst[5] << 8) >> shift[IGB_RCTL_MO(igb_reg(d, IGB_RCTL))] & 0xfff;

	return igb_reg(d, table + 4 * (hash >> 5)) >> (hash & 31) & 1;
}

bool igb_filter_has_address(const struct igb *d, const uint8_t *dst)
{
	uint64_t a = address(dst);

	for (unsigned int i = 0; i < d->nrar; i++)
		if (d->rar[i] == a)
			return true;
	return false;
}

uint8_t igb_filter_pools(const struct igb *d, const uint8_t *addr)
{
	uint64_t a = address(addr);
	uint8_t pools = 0;

	for (unsigned int i = 0; i < d->nrar; i++)
		if (d->rar[i] == a)
			pools |= d->rar_pools[i];
	return pools;
}

static bool address_accepted(const struct igb *d, const uint8_t *dst)
{
	uint32_t rctl = igb_reg(d, IGB_RCTL);
	uint64_t a = address(dst);

	if (dst[0] & 1) {
		if (rctl & IGB_RCTL_MPE || (a == ADDRESS && rctl & IGB_RCTL_BAM))
			return true;
	} else if (rctl & IGB_RCTL_UPE) {
		return true;
	}
	if (igb_filter_has_address(d, dst))
		return true;
	if (dst[0] & 1)
		return a != ADDRESS && igb_filter_table_has(d, IGB_MTA, dst);
	return igb_pooled(d) && igb_filter_table_has(d, IGB_UTA, dst);
}

/* 7.4.3: a tag's EtherType is in VET's lower half; frames without one pass. */
static bool vlan_accepted(const struct igb *d, const struct igb_rx_frame *fr)
{
	uint32_t rctl = igb_reg(d, IGB_RCTL), tci;
	unsigned int at;

	if (!(rctl & IGB_RCTL_VFE))
		return true;
	at = igb_tag_at(d, fr->head);
	if (!at)
		return true;
	tci = (uint32_t)fr->head[at + 2] << 8 | fr->head[at + 3];
	if (rctl & IGB_RCTL_CFIEN && !!(tci & 0x1000) != !!(rctl & IGB_RCTL_CFI))
		return false;
	return igb_reg(d, IGB_VFTA + 4 * (tci >> 5 & 0x7f)) >> (tci & 31) & 1;
}

/* IEEE 802.3 annex 31B; 8.10.1 PMCF and DPF. */
static bool control_accepted(const struct igb *d, const struct igb_rx_frame *fr)
{
	static const uint8_t pause[6] = {0x01, 0x80, 0xc2, 0x00, 0x00, 0x01};

	if (likely(fr->head[12] != 0x88 || fr->head[13] != 0x08))
		return true;
	return igb_reg(d, IGB_RCTL) & IGB_RCTL_PMCF || memcmp(fr->head, pause, sizeof(pause)) != 0;
}

bool igb_filter_accepts(const struct igb *d, const struct igb_rx_frame *fr)
{
	return address_accepted(d, fr->head) && control_accepted(d, fr) && vlan_accepted(d, fr);
}
