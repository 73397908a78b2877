/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PHY (8.25, IEEE 802.3 clauses 22 and 28) behind MDIC, and the link. Negotiation is over before anyone can look:
 * 1000 Mb/s, full duplex.
 */
#include <linux/mii.h>

#include "devices/igb/igb.h"

#define PHY_ID1 0x02a8
#define PHY_ID2 0x0391

#define PORT_CONFIG  0x10
#define PORT_STATUS  0x11
#define PORT_CONTROL 0x12
#define LINK_HEALTH  0x13
#define PAGE_SELECT  0x1f

#define PORT_STATUS_LINK  0x0400
#define PORT_STATUS_1000  0xc000
#define PORT_STATUS_MDIX  0x0800
#define PORT_CONTROL_AUTO 0x1000

/* Gain registers, one page for each pair of wires: from them drivers estimate the cable's length. */
#define PAGE_GAIN    0x0011
#define GAIN_A_METRE 0x2000

#define LPA_1000 0x0c00 /* the other end: full and half duplex */

void igb_phy_reset(struct igb *d)
{
	memset(d->phy, 0, sizeof(d->phy));
	d->phy_page = 0;
	d->phy[MII_BMCR] = BMCR_ANENABLE | BMCR_FULLDPLX | BMCR_SPEED1000;
	d->phy[MII_PHYSID1] = PHY_ID1;
	d->phy[MII_PHYSID2] = PHY_ID2;
	d->phy[MII_ADVERTISE] = ADVERTISE_ALL | ADVERTISE_PAUSE_CAP | ADVERTISE_PAUSE_ASYM | ADVERTISE_CSMA;
	d->phy[MII_CTRL1000] = ADVERTISE_1000FULL | ADVERTISE_1000HALF;
	d->phy[MII_ESTATUS] = ESTATUS_1000_TFULL | ESTATUS_1000_THALF;
	d->phy[PORT_CONTROL] = PORT_CONTROL_AUTO;
}

/* ---- the link ---- */
static bool phy_powered(const struct igb *d)
{
	return !(d->phy[MII_BMCR] & (BMCR_PDOWN | BMCR_ISOLATE));
}

static bool phy_link(const struct igb *d)
{
	return phy_powered(d) && net_link(d->net) && !d->loopback && !d->unplugged;
}

/* 3.5.6.3: in loopback what is at the other end of the cable matters to nobody. */
void igb_link_update(struct igb *d)
{
	bool enabled = phy_powered(d) && igb_reg(d, IGB_CTRL) & IGB_CTRL_SLU, was = d->link;

	d->loopback = d->phy[MII_BMCR] & BMCR_LOOPBACK;
	net_set_up(d->net, ((enabled && !d->loopback) || igb_vfs_by_host(d)) && !d->unplugged);
	if (!phy_link(d))
		d->phy_link_lost = true;
	d->link = enabled && (d->loopback || (net_link(d->net) && !d->unplugged));
	igb_vfs_link_update(d);
	if (d->link == was)
		return;
	igb_intr_cause(d, IGB_ICR_LSC);
	igb_intr_update(d);
	if (d->link)
		igb_tx_start_all(d);
}

void igb_link_changed(struct net_card *c)
{
	igb_link_update(container_of(c, struct igb, card));
}

/* ---- registers ---- */
/* Link status latches low until it has been read (IEEE 802.3 22.2.4.2.13). */
static uint16_t bmsr_read(struct igb *d)
{
	uint16_t val = BMSR_100FULL | BMSR_100HALF | BMSR_10FULL | BMSR_10HALF | BMSR_ESTATEN | BMSR_ANEGCAPABLE |
		       BMSR_ERCAP | 0x40 /* preamble suppression */;

	if (phy_link(d))
		val |= BMSR_ANEGCOMPLETE | (d->phy_link_lost ? 0 : BMSR_LSTATUS);
	d->phy_link_lost = !phy_link(d);
	return val;
}

static uint16_t phy_read(struct igb *d, unsigned int reg)
{
	if (reg == PAGE_SELECT)
		return d->phy_page;
	if (d->phy_page && reg > 15)
		return (d->phy_page & 0xff) == 0xb1 && reg == PAGE_GAIN ? GAIN_A_METRE : 0;
	switch (reg) {
	case MII_BMSR:
		return bmsr_read(d);
	case MII_LPA:
		return phy_link(d) ? LPA_LPACK | LPA_10FULL | LPA_10HALF | LPA_100FULL | LPA_100HALF | LPA_PAUSE_CAP |
					 LPA_PAUSE_ASYM | ADVERTISE_CSMA
				   : 0;
	case MII_EXPANSION:
		return phy_link(d) ? EXPANSION_NWAY | EXPANSION_LCWP | EXPANSION_ENABLENPAGE : 0;
	case MII_STAT1000:
		return phy_link(d) ? LPA_1000LOCALRXOK | LPA_1000REMRXOK | LPA_1000 : 0;
	case PORT_STATUS:
		return phy_link(d) ? PORT_STATUS_1000 | PORT_STATUS_LINK | PORT_STATUS_MDIX : 0;
	default:
		return d->phy[reg];
	}
}

static void bmcr_write(struct igb *d, uint16_t val)
{
	if (val & BMCR_RESET) {
		igb_phy_reset(d);
		val = d->phy[MII_BMCR];
	}
	/* Negotiating anew takes the link away for a moment. */
	if (val & BMCR_ANRESTART)
		d->phy_link_lost = true;
	d->phy[MII_BMCR] = val & ~BMCR_ANRESTART;
	igb_link_update(d);
}

static void phy_write(struct igb *d, unsigned int reg, uint16_t val)
{
	if (reg == PAGE_SELECT) {
		d->phy_page = val;
		return;
	}
	if (d->phy_page && reg > 15)
		return;
	switch (reg) {
	case MII_BMCR:
		bmcr_write(d, val);
		break;
	case MII_BMSR:
	case MII_PHYSID1:
	case MII_PHYSID2:
	case MII_LPA:
	case MII_EXPANSION:
	case MII_STAT1000:
	case MII_ESTATUS:
	case PORT_STATUS:
	case LINK_HEALTH:
		break;
	default:
		d->phy[reg] = val;
	}
}

/* 8.2.4. There is one PHY, at address 1. */
void igb_mdic_write(struct igb *d, unsigned int i, uint32_t val)
{
	unsigned int reg = IGB_MDIC_REG(val);

	val &= ~(IGB_MDIC_READY | IGB_MDIC_ERROR);
	if (IGB_MDIC_PHY(val) != IGB_MDIC_PHY_ADDR)
		val |= IGB_MDIC_ERROR;
	else if (val & IGB_MDIC_WRITE)
		phy_write(d, reg, (uint16_t)val);
	else if (val & IGB_MDIC_READ)
		val = (val & ~0xffffu) | phy_read(d, reg);
	d->reg[IGB_MDIC / 4] = val | IGB_MDIC_READY;
}
