/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mailbox of a virtual function: sixteen dwords that it shares with the card's driver, and a register that says who
 * has them and what is new (7.10.2.9, 8.14.2).
 *
 * While the card's driver is not their host (govern.c), the card itself answers, at once, as Linux's driver of the card
 * would: it is what a host does that has made virtual functions and gives the rest away. The protocol is that driver's
 * (drivers/net/ethernet/intel/igb/e1000_mbx.h): the type of a message in bits 0 to 15, a number in 16 to 23, and flags.
 */
#include "devices/igb/igb.h"

#define V2P_REQ	 BIT(0)
#define V2P_ACK	 BIT(1)
#define V2P_NEWS ((uint32_t)(IGB_MBX_PFSTS | IGB_MBX_PFACK | IGB_MBX_RSTD)) /* until they are read */

#define MSG_ACK	    BIT(31)
#define MSG_NACK    BIT(30)
#define MSG_CTS	    BIT(29) /* the address is known: more may be asked */
#define MSG_INFO(m) ((m) >> 16 & 0xff)
enum { MSG_RESET = 1, MSG_MAC, MSG_MULTICAST, MSG_VLAN, MSG_LENGTH, MSG_PROMISC, MSG_CONTROL = 0x100 };

#define MULTICASTS  30 /* hashes that fit */
#define PROMISC_ALL 2  /* of MSG_PROMISC: all multicast */
#define VLANS	    32 /* that all functions together may have (VLVF) */

static void address_set(struct igb *d, const uint8_t *mac)
{
	memcpy(&d->reg[IGB_RAL / 4], mac, 4);
	d->reg[IGB_RAL / 4 + 1] = mac[4] | (uint32_t)mac[5] << 8 | IGB_RAH_AV;
	igb_filter_update(d);
}

void igb_mbx_reset(struct igb *d)
{
	memset(d->mailbox, 0, sizeof(d->mailbox));
	d->cts = false;
	d->refusals = 0;
	/* Until PFRSTD the card's driver is in the midst of its own. */
	d->v2p = igb_governed(d) ? d->v2p & IGB_MBX_RSTI : (uint32_t)IGB_MBX_RSTD;
	address_set(d, d->mac);
}

/* ---- messages. False: no ---- */

static bool set_mac(struct igb *d)
{
	uint8_t mac[6];

	memcpy(mac, &d->mailbox[1], sizeof(mac));
	if (mac[0] & 1 || !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]))
		return false;
	address_set(d, mac);
	return true;
}

/* Places in the table of hashes, two to a dword; a new list takes the old one's place. */
static bool set_multicast(struct igb *d)
{
	unsigned int n = MIN(MSG_INFO(d->mailbox[0]) & 0x1f, (unsigned int)MULTICASTS);

	memset(&d->reg[IGB_MTA / 4], 0, 128 * 4);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t hash = d->mailbox[1 + i / 2] >> 16 * (i & 1) & 0xfff;

		d->reg[IGB_MTA / 4 + (hash >> 5)] |= BIT(hash & 31);
	}
	return true;
}

static unsigned int vlans_in_use(const struct igb *d)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < 128; i++)
		n += (unsigned int)__builtin_popcount(igb_reg(d, IGB_VFTA + 4 * i));
	return n;
}

static bool set_vlan(struct igb *d)
{
	uint32_t vid = d->mailbox[1] & 0xfff, *word = &d->reg[IGB_VFTA / 4 + (vid >> 5)];

	if (!(MSG_INFO(d->mailbox[0]) & 1)) {
		*word &= ~BIT(vid & 31);
		return true;
	}
	if (!(*word & BIT(vid & 31)) && vlans_in_use(d) >= VLANS)
		return false;
	*word |= BIT(vid & 31);
	return true;
}

/* With FCS and a tag's room. */
static bool set_length(struct igb *d)
{
	uint32_t len = d->mailbox[1];

	if (len > 0x2600)
		return false;
	d->reg[IGB_RLPML / 4] = MAX(len, 1522u);
	d->reg[IGB_RCTL / 4] |= IGB_RCTL_LPE;
	return true;
}

static bool set_promisc(struct igb *d)
{
	uint32_t info = MSG_INFO(d->mailbox[0]);

	if (info & ~(uint32_t)PROMISC_ALL)
		return false;
	d->reg[IGB_RCTL / 4] = (igb_reg(d, IGB_RCTL) & ~IGB_RCTL_MPE) | (info ? IGB_RCTL_MPE : 0);
	return true;
}

static bool carry_out(struct igb *d)
{
	switch (d->mailbox[0] & 0xffff) {
	case MSG_MAC:
		return set_mac(d);
	case MSG_MULTICAST:
		return set_multicast(d);
	case MSG_VLAN:
		return set_vlan(d);
	case MSG_LENGTH:
		return set_length(d);
	case MSG_PROMISC:
		return set_promisc(d);
	default:
		return false;
	}
}

void igb_mbx_news(struct igb *d, uint32_t bits)
{
	d->v2p |= bits;
	igb_intr_cause(d, IGB_ICR_VMMB);
	igb_intr_update(d);
}

void igb_mbx_ping(struct igb *d)
{
	d->mailbox[0] = MSG_CONTROL;
	igb_mbx_news(d, IGB_MBX_PFSTS);
}

static void request(struct igb *d)
{
	uint32_t type = d->mailbox[0];

	/* An answer to what nobody has asked. */
	if (type & (MSG_ACK | MSG_NACK)) {
		igb_mbx_news(d, IGB_MBX_PFACK);
		return;
	}
	if (type == MSG_RESET) {
		d->cts = true;
		d->mailbox[0] = MSG_RESET | MSG_ACK;
		d->mailbox[1] = d->mailbox[2] = 0;
		memcpy(&d->mailbox[1], d->mac, sizeof(d->mac));
	} else if (!d->cts) {
		d->mailbox[0] = type | MSG_NACK;
	} else {
		d->mailbox[0] = type | (carry_out(d) ? MSG_ACK : MSG_NACK) | MSG_CTS;
	}
	igb_mbx_news(d, IGB_MBX_PFACK | IGB_MBX_PFSTS);
}

/* ---- V2PMAILBOX ---- */

uint32_t igb_mbx_read(struct igb *d)
{
	uint32_t val = d->v2p;

	d->v2p &= ~V2P_NEWS;
	return val;
}

/*
 * A driver of the card that acknowledges a request writes its answer next, which not every driver of a function waits
 * for; and DPDK's answers even an acknowledgement. Either goes over what is in the memory and drops what was asked with
 * it. On a bus that is done before a function has begun its next message. Here both are programs, and who gets a
 * processor first is anybody's guess. So a function that asks for the memory is refused it some times, as it has to
 * expect (drivers try eleven times, a millisecond apart), unless the answer is there.
 */
static bool refused(struct igb *d)
{
	return d->v2p & IGB_MBX_PFU || (d->refusals && d->refusals--);
}

/* The card's driver has to ask for the memory, too: who comes first has it. */
static void governed_write(struct igb *d, uint32_t val)
{
	if (!(val & IGB_MBX_VFU))
		d->v2p &= ~(uint32_t)IGB_MBX_VFU;
	else if (!(d->v2p & IGB_MBX_VFU) && !refused(d))
		d->v2p |= IGB_MBX_VFU;
	if (val & V2P_REQ)
		igb_govern_tell(d, IGB_MBVFICR_REQ(d->f.virtfn));
	if (!(val & V2P_ACK))
		return;
	d->refusals = IGB_MBX_UNSEEN;
	igb_govern_tell(d, IGB_MBVFICR_ACK(d->f.virtfn));
}

/* The memory is the card's for no longer than an answer takes, so whoever asks for it gets it. */
void igb_mbx_write(struct igb *d, uint32_t val)
{
	if (igb_governed(d)) {
		governed_write(d, val);
		return;
	}
	d->v2p = (d->v2p & ~(uint32_t)IGB_MBX_VFU) | (val & IGB_MBX_VFU);
	if (val & V2P_REQ)
		request(d);
}
