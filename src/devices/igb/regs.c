/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BAR 0. Registers are dwords, and accesses are of dwords (8.1.1): a qword is two of them, and what is narrower reads a
 * part and writes nothing. What is not in the table reads as zero.
 */
#include "devices/igb/igb.h"

enum reg_kind { REG_PLAIN, REG_RX, REG_TX };

struct reg {
	uint32_t off;
	uint16_t count, stride;
	uint32_t wmask, init;
	/* Instead of what is stored, and of storing it. i counts along the stride. */
	uint32_t (*read)(struct igb *d, unsigned int i);
	void (*write)(struct igb *d, unsigned int i, uint32_t val);
	enum reg_kind kind; /* of a queue: ring.c has it, as */
	uint8_t field;
};

static void rctl_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_RCTL / 4] = val;
	igb_rx_sizes(d);
	/* A frame that waits for this card would wait in vain. */
	for (unsigned int q = 0; q < IGB_QUEUES; q++)
		igb_rx_room(d, &d->rxq[q]);
	if (val & IGB_RCTL_EN && d->rx_full) {
		d->rx_full = false;
		net_readable(d->net);
	}
}

static void tctl_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_TCTL / 4] = val;
	if (val & IGB_TCTL_EN)
		igb_tx_start_all(d);
}

static void rar_write(struct igb *d, unsigned int at, uint32_t val)
{
	d->reg[at] = val;
	igb_filter_update(d);
}

static void rar_low_write(struct igb *d, unsigned int i, uint32_t val)
{
	rar_write(d, IGB_RAL / 4 + i, val);
}

static void rar_more_write(struct igb *d, unsigned int i, uint32_t val)
{
	rar_write(d, IGB_RAL_MORE / 4 + i, val);
}

static void rssrk_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_RSSRK / 4 + i] = val;
	d->rss_stale = true;
}

static void etqf_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_ETQF / 4 + i] = val;
	igb_flow_update(d);
}

static void ftqf_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_FTQF / 4 + i] = val;
	igb_flow_update(d);
}

static void imir_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_IMIR / 4 + i] = val;
	igb_flow_update(d);
}

static void imirvp_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_IMIRVP / 4] = val & 0xf;
	igb_flow_update(d);
}

static void synqf_write(struct igb *d, unsigned int i, uint32_t val)
{
	d->reg[IGB_SYNQF / 4] = val;
	igb_flow_update(d);
}

#define ALL ~0u

/* Registers of both directions' queues, whose fields have the same places. */
#define QUEUE(field)                                                                                                   \
	{IGB_RXQ + (field), IGB_QUEUES, 0x40, ALL, 0, NULL, NULL, REG_RX, field},                                      \
	    {IGB_RXQ_OLD + (field), 4, 0x100, ALL, 0, NULL, NULL, REG_RX, field},                                      \
	    {IGB_TXQ + (field), IGB_QUEUES, 0x40, ALL, 0, NULL, NULL, REG_TX, field},                                  \
	{                                                                                                              \
		IGB_TXQ_OLD + (field), 4, 0x100, ALL, 0, NULL, NULL, REG_TX, field                                     \
	}

static const struct reg regs[] = {
    /* 8.2 general */
    {IGB_CTRL, 2, 4, 0, 0, igb_ctrl_read, igb_ctrl_write},
    {IGB_STATUS, 1, 4, 0, 0, igb_status_read, NULL},
    {IGB_CTRL_EXT, 1, 4, 0, 0, NULL, igb_ctrl_ext_write},
    {IGB_MDIC, 1, 4, 0, IGB_MDIC_READY, NULL, igb_mdic_write},
    {0x0028, 1, 4, ALL, 0x00c28001}, /* FCAL, FCAH, FCT: PAUSE frames, IEEE 802.3 annex 31B */
    {0x002c, 1, 4, ALL, 0x00000100},
    {0x0030, 1, 4, ALL, 0x00008808},
    {0x0034, 1, 4, ALL}, /* CONNSW */
    {IGB_VET, 1, 4, ALL, 0x81008100},
    {0x0e00, 1, 4, ALL, 0x07068302}, /* LEDCTL */
    {0x0e04, 1, 4, ALL},	     /* MDICNFG of later controllers */
    {IGB_EEMNGCTL, 1, 4, 0, 3 * IGB_CFG_DONE0},
    {0x1040, 1, 4, ALL}, /* WDSTP */
    {IGB_FRTIMER, 1, 4, 0, 0, igb_frtimer_read, NULL},
    {0x104c, 1, 4, ALL}, /* TCPTIMER */
    /* 8.3 packet buffers */
    {IGB_QDE, 1, 4, ALL},
    {0x2404, 1, 4, ALL, 0x40}, /* RXPBS */
    {0x3404, 1, 4, ALL, 0x28}, /* TXPBS */
    {0x3004, 1, 4, ALL, 0x14}, /* SWPBS */
    {0x1008, 1, 4, ALL, 0x40}, /* PBS */
    /* 8.4 EEPROM */
    {IGB_EECD, 1, 4, 0, 0x10, igb_eecd_read, igb_eecd_write},
    {IGB_EERD, 1, 4, 0, IGB_EERD_DONE, igb_eerd_read, igb_eerd_write},
    {0x001c, 1, 4, ALL}, /* FLA */
    /* 8.5 flow control */
    {0x0170, 1, 4, ALL}, /* FCTTV */
    {0x2160, 1, 4, ALL}, /* FCRTL */
    {0x2168, 1, 4, ALL}, /* FCRTH */
    {0x2460, 1, 4, ALL}, /* FCRTV */
    /* 8.6, 8.7 PCIe, semaphores */
    {IGB_GCR, 1, 4, ALL, 0x00010000},
    {0x5b10, 4, 4, ALL}, /* GSCL_1 to 4 */
    {IGB_FACTPS, 1, 4, 0, 0x00000009},
    {IGB_FWSM, 1, 4, 0}, /* FWSM: no management firmware */
    {IGB_SWSM, 1, 4, IGB_SWSM_SMBI | IGB_SWSM_SWESMBI, 0, igb_swsm_read, NULL},
    {IGB_SW_FW_SYNC, 1, 4, ALL},
    {IGB_PBACL, 1, 4, 0},
    {0x5b70, 1, 4, 0},	 /* DCA_ID */
    {0x5b74, 1, 4, ALL}, /* DCA_CTRL */
    {0x5bbc, 1, 4, ALL}, /* IOVCTL */
    /* 8.8 interrupts */
    {IGB_ICR, 1, 4, 0, 0, igb_icr_read, igb_icr_write},
    {IGB_ICS, 1, 4, 0, 0, NULL, igb_ics_write},
    {IGB_IMS, 1, 4, 0, 0, igb_ims_read, igb_ims_write},
    {IGB_IMC, 1, 4, 0, 0, NULL, igb_imc_write},
    {IGB_IAM, 1, 4, ALL},
    {IGB_ICR_OLD, 1, 4, 0, 0, igb_icr_read, igb_icr_write},
    {IGB_ICS_OLD, 1, 4, 0, 0, NULL, igb_ics_write},
    {IGB_IMS_OLD, 1, 4, 0, 0, igb_ims_read, igb_ims_write},
    {IGB_IMC_OLD, 1, 4, 0, 0, NULL, igb_imc_write},
    {IGB_IAM_OLD, 1, 4, ALL},
    {IGB_GPIE, 1, 4, 0, 0, NULL, igb_gpie_write},
    {IGB_EICR, 1, 4, 0, 0, igb_eicr_read, igb_eicr_write},
    {IGB_EICS, 1, 4, 0, 0, NULL, igb_eics_write},
    {IGB_EIMS, 1, 4, 0, 0, igb_eims_read, igb_eims_write},
    {IGB_EIMC, 1, 4, 0, 0, NULL, igb_eimc_write},
    {IGB_EIAC, 1, 4, IGB_EICR_MSIX},
    {IGB_EIAM, 1, 4, ALL},
    {IGB_EITR, IGB_VECTORS, 4, 0, 0, NULL, igb_eitr_write},
    {IGB_IVAR, 8, 4, 0x9f9f9f9f},
    {IGB_IVAR_MISC, 1, 4, 0x00009f9f},
    {IGB_IMIR, IGB_FILTERS, 4, 0, 0, NULL, imir_write},
    {IGB_IMIREXT, IGB_FILTERS, 4, ALL},
    {IGB_IMIRVP, 1, 4, 0, 0, NULL, imirvp_write},
    /* 8.10 receiving */
    {IGB_RCTL, 1, 4, 0, 0, NULL, rctl_write},
    {IGB_PSRTYPE, 8, 4, ALL, IGB_PSRTYPE_ALL},
    {0x54c0, 1, 4, ALL}, /* RPLPSRTYPE */
    {IGB_RXCSUM, 1, 4, 0x00003bff, IGB_RXCSUM_IP | IGB_RXCSUM_L4},
    {IGB_RLPML, 1, 4, 0x3fff, 0x2600},
    {IGB_RFCTL, 1, 4, ALL},
    {IGB_MTA, 128, 4, ALL},
    {IGB_RAL, 32, 4, 0, 0, NULL, rar_low_write},
    {IGB_RAL_MORE, 16, 4, 0, 0, NULL, rar_more_write},
    {IGB_VFTA, 128, 4, ALL},
    {IGB_MRQC, 1, 4, ALL},
    {IGB_RETA, 32, 4, ALL},
    {IGB_RSSRK, 10, 4, 0, 0, NULL, rssrk_write},
    {0x5864, 2, 4, ALL}, /* RSSIM, RSSIR */
    {IGB_UTA, 128, 4, ALL},
    /* 8.11 filters by content */
    {IGB_ETQF, IGB_FILTERS, 4, 0, 0, NULL, etqf_write},
    {IGB_SAQF, IGB_FILTERS, 4, ALL},
    {IGB_DAQF, IGB_FILTERS, 4, ALL},
    {IGB_SPQF, IGB_FILTERS, 4, 0xffff},
    {IGB_FTQF, IGB_FILTERS, 4, 0, 0, NULL, ftqf_write},
    {IGB_SYNQF, 1, 4, 0, 0, NULL, synqf_write},
    /* 8.12 sending */
    {IGB_TCTL, 1, 4, 0, 0x0400400a & ~IGB_TCTL_EN, NULL, tctl_write},
    {0x0404, 1, 4, ALL, 0x00010400}, /* TCTL_EXT */
    {0x0410, 1, 4, ALL, 0x00602006}, /* TIPG */
    {0x3590, 1, 4, ALL},	     /* DTXCTL */
    {IGB_DTXTCPFLL, 1, 4, 0x0fff0fff, 0x0f760ff6},
    {IGB_DTXTCPFLH, 1, 4, 0x00000fff, 0x00000f7f},
    /* queues */
    QUEUE(IGB_RDBAL),
    QUEUE(IGB_RDBAH),
    QUEUE(IGB_RDLEN),
    QUEUE(IGB_SRRCTL),
    QUEUE(IGB_RDH),
    QUEUE(IGB_RXCTL),
    QUEUE(IGB_RDT),
    QUEUE(IGB_RXDCTL),
    QUEUE(IGB_RQDPC),
    QUEUE(IGB_TDWBAL),
    QUEUE(IGB_TDWBAH),
    /* 8.14 virtualization */
    {IGB_VF_MEM, IGB_VFS * 16, 4, 0, 0, igb_vmbmem_read, igb_vmbmem_write},
    {IGB_P2V, IGB_VFS, 4, 0, 0, igb_p2v_read, igb_p2v_write},
    {IGB_V2P, IGB_VFS, 4, 0}, /* the functions' own */
    {IGB_MBVFICR, 1, 4, 0, 0, NULL, igb_mbvficr_write},
    {IGB_MBVFIMR, 1, 4, 0xff, 0xff},
    {IGB_VFLRE, 1, 4, 0, 0, NULL, igb_vflre_write},
    {IGB_VFRE, 1, 4, 0, 0, NULL, igb_vfre_write},
    {IGB_VFTE, 1, 4, 0, 0, NULL, igb_vfte_write},
    {IGB_DTXSWC, 1, 4, ALL},
    {IGB_WVBR, 1, 4, 0, 0, igb_wvbr_read, NULL},
    {IGB_VT_CTL, 1, 4, ALL},
    {IGB_VMOLR, IGB_POOLS, 4, ALL, 0x2600},
    {IGB_RPLOLR, 1, 4, ALL},
    {IGB_VLVF, IGB_VLVFS, 4, ALL},
    {IGB_VMVIR, IGB_POOLS, 4, ALL},
    /* 8.16 time */
    {IGB_SYSTIM, 2, 4, 0, 0, igb_systim_read, igb_systim_write},
    {IGB_TIMINCA, 1, 4, 0, 0, NULL, igb_timinca_write},
    {IGB_TIMADJ, 2, 4, 0, 0, NULL, igb_timadj_write},
    {IGB_TSYNCTXCTL, 1, 4, ~IGB_TSYNC_VALID},
    {IGB_TXSTMP, 2, 4, 0, 0, igb_txstmp_read, NULL},
    {IGB_TSYNCRXCTL, 1, 4, ~IGB_TSYNC_VALID},
    {IGB_RXSTMP, 2, 4, 0, 0, igb_rxstmp_read, NULL},
    {IGB_RXSATR, 2, 4, 0},
    {IGB_TSAUXC, 5, 4, ALL}, /* with TRGTTIM: no pin follows the clock */
    {IGB_TSYNCRXCFG, 1, 4, 0xffff},
    /* wake up and management: nobody sleeps */
    {0x5800, 1, 4, ALL}, /* WUC */
    {0x5808, 1, 4, ALL}, /* WUFC */
    {0x5810, 1, 4, 0},	 /* WUS */
    {0x5820, 1, 4, ALL}, /* MANC */
    {0x5838, 1, 4, ALL}, /* IPAV */
    /* statistics */
    {IGB_STATS, (IGB_STATS_END - IGB_STATS) / 4, 4, 0, 0, igb_stat_read, NULL},
    {IGB_QSTATS, IGB_QUEUES * 0x40, 4, 0, 0, igb_queue_stat_read, NULL},
};

void igb_regs_init(struct igb *d)
{
	for (size_t n = 0; n < ARRAY_SIZE(regs); n++)
		for (unsigned int i = 0; i < regs[n].count; i++)
			d->map[(regs[n].off + i * regs[n].stride) / 4] = (uint16_t)(n + 1);
}

void igb_regs_reset(struct igb *d)
{
	memset(d->reg, 0, sizeof(d->reg));
	d->rss_stale = true;
	memset(&d->spi, 0, sizeof(d->spi));
	igb_clock_set(d, 0);
	for (size_t n = 0; n < ARRAY_SIZE(regs); n++)
		for (unsigned int i = 0; i < regs[n].count; i++)
			d->reg[(regs[n].off + i * regs[n].stride) / 4] = regs[n].init;
	igb_flow_update(d);
}

static inline struct igb_ring *reg_ring(struct igb *d, const struct reg *r, unsigned int i)
{
	return r->kind == REG_TX ? &d->txq[i].r : &d->rxq[i].r;
}

uint32_t igb_reg_read(struct igb *d, uint32_t off)
{
	const struct reg *r = d->map[off / 4] ? &regs[d->map[off / 4] - 1] : NULL;
	unsigned int i;

	if (!r)
		return 0;
	i = (off - r->off) / r->stride;
	if (r->kind != REG_PLAIN)
		return igb_ring_read(reg_ring(d, r, i), r->field);
	return r->read ? r->read(d, i) : d->reg[off / 4];
}

void igb_reg_write(struct igb *d, uint32_t off, uint32_t val)
{
	const struct reg *r = d->map[off / 4] ? &regs[d->map[off / 4] - 1] : NULL;
	unsigned int i;

	if (!r)
		return;
	i = (off - r->off) / r->stride;
	if (r->kind != REG_PLAIN)
		igb_ring_write(reg_ring(d, r, i), r->field, val);
	else if (r->write)
		r->write(d, i, val);
	else
		d->reg[off / 4] = (d->reg[off / 4] & ~r->wmask) | (val & r->wmask);
}

uint64_t igb_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	struct igb *d = container_of(f, struct igb, f);
	uint64_t val;

	if (bar)
		return 0;
	if (off & (MIN(size, 4u) - 1))
		return ~0ULL;
	if (unlikely(d->live.page.open))
		igb_live_before(d);
	val = igb_reg_read(d, off & ~3ULL);
	if (size == 8)
		return val | (uint64_t)(off + 4 < IGB_BAR_SIZE ? igb_reg_read(d, off + 4) : 0) << 32;
	return val >> 8 * (off & 3) & (size == 4 ? ~0U : BIT(8 * size) - 1);
}

static void dword_write(struct igb *d, uint32_t off, uint32_t val)
{
	if (igb_live_has(off)) {
		if (!igb_live_trapped(d, off, val))
			return;
	} else if (unlikely(d->live.page.open)) {
		igb_live_before(d);
	}
	igb_reg_write(d, off, val);
}

void igb_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct igb *d = container_of(f, struct igb, f);

	if (bar)
		return;
	if (unlikely(size < 4 || off & 3)) {
		pci_misuse(f, MISUSE_WIDTH, 0, off, size, true, "the card's registers are written as dwords");
		return;
	}
	dword_write(d, (uint32_t)off, (uint32_t)val);
	if (size == 8 && off + 4 < IGB_BAR_SIZE)
		dword_write(d, (uint32_t)off + 4, val >> 32);
}
