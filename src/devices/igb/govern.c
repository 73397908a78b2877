/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The card's driver as the host of the virtual functions (7.10.2.9, 8.14): the other end of their mailboxes, their
 * resets, and who of them may send and receive.
 *
 * Nothing tells the card whether its driver means to be that: one that does not know of virtual functions sets up the
 * same card. So it is their host from the moment on when it listens to their mailboxes (IMS.VMMB) or lets anyone send
 * or receive (VFRE, VFTE), for which no other driver has a use, until the card is reset as a function, which is what
 * happens between two owners. At both ends the functions are reset, and told so: what one host has given them is
 * nothing to the next. A reset of the card by its driver (CTRL.RST) changes nothing of that.
 */
#include "devices/igb/igb.h"

static struct igb *function(const struct igb *pf, unsigned int i)
{
	return pf->governs && i < pf->nvf ? pf->vf[i] : NULL;
}

static void clear_all(struct igb *pf, uint32_t v2p)
{
	for (unsigned int i = 0; i < pf->nvf; i++) {
		if (!pf->vf[i])
			continue;
		igb_vf_clear(pf->vf[i]);
		pf->vf[i]->v2p = v2p;
	}
}

void igb_govern_begin(struct igb *pf)
{
	if (!pf->nvf || pf->governs)
		return;
	pf->governs = true;
	pf->reg[IGB_MBVFICR / 4] = pf->reg[IGB_VFLRE / 4] = 0;
	clear_all(pf, IGB_MBX_RSTD);
}

void igb_govern_end(struct igb *pf)
{
	clear_all(pf, IGB_MBX_RSTD);
	for (unsigned int i = 0; i < pf->nvf; i++)
		if (pf->vf[i])
			igb_mbx_ping(pf->vf[i]);
}

void igb_govern_reset(struct igb *pf)
{
	clear_all(pf, IGB_MBX_RSTI);
}

void igb_govern_reset_done(struct igb *pf)
{
	for (unsigned int i = 0; i < IGB_VFS; i++) {
		struct igb *vf = function(pf, i);

		if (vf)
			vf->v2p = (vf->v2p & ~(uint32_t)IGB_MBX_RSTI) | IGB_MBX_RSTD;
	}
}

void igb_govern_tell(struct igb *vf, uint32_t cause)
{
	struct igb *pf = vf->pf;

	if (cause)
		pf->reg[IGB_MBVFICR / 4] |= cause;
	else
		pf->reg[IGB_VFLRE / 4] |= BIT(vf->f.virtfn);
	if (!(igb_reg(pf, IGB_MBVFIMR) >> vf->f.virtfn & 1))
		return;
	igb_intr_cause(pf, IGB_ICR_VMMB);
	igb_intr_update(pf);
}

/* ---- the mailbox ---- */

uint32_t igb_vmbmem_read(struct igb *d, unsigned int i)
{
	const struct igb *vf = function(d, i / 16);

	return vf ? vf->mailbox[i % 16] : 0;
}

void igb_vmbmem_write(struct igb *d, unsigned int i, uint32_t val)
{
	struct igb *vf = function(d, i / 16);

	if (vf)
		vf->mailbox[i % 16] = val;
}

uint32_t igb_p2v_read(struct igb *d, unsigned int i)
{
	const struct igb *vf = function(d, i);

	return vf ? vf->v2p & (IGB_MBX_VFU | IGB_MBX_PFU) : 0;
}

#define P2V_STS	 BIT(0)
#define P2V_ACK	 BIT(1)
#define P2V_RVFU BIT(4) /* takes the memory from a function that keeps it */

void igb_p2v_write(struct igb *d, unsigned int i, uint32_t val)
{
	struct igb *vf = function(d, i);

	if (!vf)
		return;
	if (val & P2V_RVFU)
		vf->v2p &= ~(uint32_t)IGB_MBX_VFU;
	if (!(val & IGB_MBX_PFU))
		vf->v2p &= ~(uint32_t)IGB_MBX_PFU;
	else if (!(vf->v2p & IGB_MBX_VFU))
		vf->v2p |= IGB_MBX_PFU;
	if (val & (P2V_STS | P2V_ACK))
		vf->refusals = val & P2V_STS ? 0 : IGB_MBX_SEEN;
	if (val & (P2V_STS | P2V_ACK))
		igb_mbx_news(vf, (val & P2V_STS ? IGB_MBX_PFSTS : 0) | (val & P2V_ACK ? IGB_MBX_PFACK : 0));
}

/* ---- who may do what ---- */

void igb_mbvficr_write(struct igb *d, unsigned int i, uint32_t val)
{
	val &= igb_reg(d, IGB_MBVFICR);
	d->reg[IGB_MBVFICR / 4] &= ~val;
	for (i = 0; i < IGB_VFS; i++) {
		struct igb *vf = val & IGB_MBVFICR_ACK(i) ? function(d, i) : NULL;

		if (vf)
			vf->refusals = MIN(vf->refusals, (unsigned int)IGB_MBX_SEEN);
	}
}

void igb_vflre_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_VFLRE / 4] &= ~val;
}

static void enables_write(struct igb *d, uint32_t reg, uint32_t val)
{
	val &= BIT(IGB_POOLS) - 1;
	if (val)
		igb_govern_begin(d);
	d->reg[reg / 4] = val;
}

void igb_vfre_write(struct igb *d, unsigned int i, uint32_t val)
{
	enables_write(d, IGB_VFRE, val);
}

void igb_vfte_write(struct igb *d, unsigned int i, uint32_t val)
{
	enables_write(d, IGB_VFTE, val);
	if (!d->governs)
		return;
	for (i = 0; i < d->nvf; i++)
		if (d->vf[i])
			igb_tx_start_all(d->vf[i]);
	igb_tx_start_all(d);
}

/* 8.14.14: queues that tried to send what is not theirs, since it was read last. */
uint32_t igb_wvbr_read(struct igb *d, unsigned int i)
{
	uint32_t val = igb_reg(d, IGB_WVBR);

	d->reg[IGB_WVBR / 4] = 0;
	return val;
}
