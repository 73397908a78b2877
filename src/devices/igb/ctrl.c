/* SPDX-License-Identifier: BSD-3-Clause */
/* Reset, device control and status (8.2), and the semaphores that drivers of several functions share (8.7). */
#include "devices/igb/igb.h"

/*
 * 4.2.1.6: everything but the PHY, where the rings lie and, in the registers, what the PCI core keeps. Without
 * management firmware nothing else is left that would outlive it.
 */
static void reset(struct igb *d)
{
	igb_live_close(d, false);
	if (d->governs)
		igb_govern_reset(d);
	igb_tx_reset(d);
	igb_rx_reset(d);
	igb_intr_reset(d);
	igb_stats_reset(d);
	igb_regs_reset(d);
	d->reg[IGB_CTRL / 4] = IGB_CTRL_FD | IGB_CTRL_SPEED_1000;
	igb_rx_sizes(d);
	igb_nvm_load(d);
	igb_link_update(d);
}

void igb_power_on(struct igb *d)
{
	bool governed = d->governs;

	/* Whoever had the virtual functions is gone. */
	d->governs = false;
	igb_phy_reset(d);
	reset(d);
	igb_rings_forget(d);
	if (governed)
		igb_govern_end(d);
}

uint32_t igb_ctrl_read(struct igb *d, unsigned int i)
{
	return igb_reg(d, IGB_CTRL);
}

void igb_ctrl_write(struct igb *d, unsigned int i, uint32_t val)
{
	if (val & IGB_CTRL_RST) {
		event_emit(d->f.evs, EVENT_RESET, .who = d->f.bdf, .name = "the card, through CTRL.RST,");
		reset(d);
		return;
	}
	if (val & IGB_CTRL_PHY_RST) {
		igb_phy_reset(d);
		d->reg[IGB_STATUS / 4] |= IGB_STATUS_PHYRA;
	}
	d->reg[IGB_CTRL / 4] = val & ~IGB_CTRL_PHY_RST;
	igb_link_update(d);
}

uint32_t igb_status_read(struct igb *d, unsigned int i)
{
	uint32_t val = igb_reg(d, IGB_STATUS) | IGB_STATUS_FD | IGB_STATUS_SPEED_1000;

	if (d->link)
		val |= IGB_STATUS_LU;
	if (d->nvf)
		val |= IGB_STATUS_VFS(d->nvf) | IGB_STATUS_IOV;
	/* 5.2.3.3.2: no request is under way between two accesses. */
	if (!(igb_reg(d, IGB_CTRL) & IGB_CTRL_GIO_DISABLE))
		val |= IGB_STATUS_GIO_MASTER;
	return val;
}

void igb_ctrl_ext_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_CTRL_EXT / 4] = val & ~(IGB_CTRL_EXT_EE_RST | IGB_CTRL_EXT_PBA_CLR | IGB_CTRL_EXT_PFRSTD);
	if (val & IGB_CTRL_EXT_PFRSTD)
		igb_govern_reset_done(d);
	if (val & IGB_CTRL_EXT_EE_RST)
		igb_nvm_load(d);
	if (d->nvf)
		igb_link_update(d); /* DRV_LOAD says who has the card */
}

/* 8.7.1: who reads SMBI as 0 has it. */
uint32_t igb_swsm_read(struct igb *d, unsigned int i)
{
	uint32_t val = igb_reg(d, IGB_SWSM);

	d->reg[IGB_SWSM / 4] |= IGB_SWSM_SMBI;
	return val;
}

/* In milliseconds. */
uint32_t igb_frtimer_read(struct igb *d, unsigned int i)
{
	uint64_t ns = loop_now();

	return (uint32_t)(ns / 1000000 % 0x1000 << 10 | ns / 1000 % 1000);
}
