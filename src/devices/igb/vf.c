/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtual functions (82576VF, section 9). Each is a card of its own as far as its queues, its interrupts and its DMA
 * go: a struct igb whose registers a driver sees through the small BAR of a virtual function. Its two queues are
 * numbers 0 and 8, as a pool has them, so that VTIVAR and IVAR agree. What the card's own driver would set up for it
 * (addresses, VLANs, lengths) is in registers of that struct that no driver reaches: the mailbox (mbx.c) writes them,
 * until the card's driver is their host (govern.c): then the card's registers count. The cable is the card's, by way of
 * its switch (switch.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/igb/igb.h"

#define VF_QUEUES      2
#define VF_VECTOR_MASK 7u
#define VF_IVAR_MASK   0x83838383

static const struct {
	uint32_t vf, queue;
} vf_stats[] = {
    {0x0f10, IGB_PQGPRC}, {0x0f14, IGB_PQGPTC}, {0x0f18, IGB_PQGORC}, {0x0f34, IGB_PQGOTC}, {0x0f3c, IGB_PQMPRC},
};

/* ---- registers ---- */

/* VTRDBAL and so on, at 0x2800 + 0x100 n, and VTTDBAL at 0x3800. 0: none of them. */
static uint32_t queue_reg(uint32_t off)
{
	uint32_t n = off >> 8 & 0xf, field = off & 0xff;

	if (n < 8 || n - 8 >= VF_QUEUES || field >= 0x40)
		return 0;
	switch (off >> 12) {
	case 2:
		return IGB_RXQ + 0x40 * 8 * (n - 8) + field;
	case 3:
		return IGB_TXQ + 0x40 * 8 * (n - 8) + field;
	default:
		return 0;
	}
}

/* Those that are where the card has them. */
static bool same_place(uint32_t off)
{
	switch (off) {
	case IGB_FRTIMER:
	case IGB_EICS:
	case IGB_EIMS:
	case IGB_EIMC:
	case IGB_EIAC:
	case IGB_EIAM:
	case IGB_EICR:
	case IGB_IVAR:
		return true;
	default:
		return off >= IGB_EITR && off < IGB_EITR + 4 * IGB_VF_VECTORS;
	}
}

/* These wrap, and reading leaves them. */
static uint32_t stat_read(struct igb *d, uint32_t off)
{
	uint32_t sum = 0;

	igb_stats_fold(d);
	for (unsigned int i = 0; i < ARRAY_SIZE(vf_stats); i++)
		for (unsigned int q = 0; vf_stats[i].vf == off && q < VF_QUEUES; q++)
			sum += igb_reg(d, IGB_QSTATS + 0x100 * 8 * q + vf_stats[i].queue);
	return sum;
}

static uint32_t vf_reg_read(struct igb *d, uint32_t off)
{
	uint32_t queue = queue_reg(off);

	if (queue)
		return igb_reg_read(d, queue);
	if (same_place(off))
		return igb_reg_read(d, off);
	if (off - IGB_VF_MEM < sizeof(d->mailbox))
		return d->mailbox[(off - IGB_VF_MEM) / 4];
	switch (off) {
	case IGB_STATUS:
		return IGB_STATUS_FD | IGB_STATUS_SPEED_1000 | (d->link ? IGB_STATUS_LU : 0);
	case IGB_V2P:
		return igb_mbx_read(d);
	case IGB_VF_IVAR_MISC:
		return igb_reg(d, IGB_IVAR_MISC) >> 8 & 0xff;
	default:
		return stat_read(d, off);
	}
}

static void vf_reg_write(struct igb *d, uint32_t off, uint32_t val)
{
	uint32_t queue = queue_reg(off);

	if (queue) {
		igb_reg_write(d, queue, val);
	} else if (same_place(off)) {
		if (off >= IGB_EICS && off <= IGB_EICR)
			val &= VF_VECTOR_MASK;
		else if (off == IGB_IVAR)
			val &= VF_IVAR_MASK;
		igb_reg_write(d, off, val);
	} else if (off - IGB_VF_MEM < sizeof(d->mailbox)) {
		d->mailbox[(off - IGB_VF_MEM) / 4] = val;
	} else if (off == IGB_V2P) {
		igb_mbx_write(d, val);
	} else if (off == IGB_VF_IVAR_MISC) {
		/* The mailbox is what a virtual function has in the place of other causes. */
		d->reg[IGB_IVAR_MISC / 4] = (val & (IGB_IVAR_VALID | 3)) << 8;
	} else if (off == IGB_CTRL && val & IGB_CTRL_RST) {
		event_emit(d->f.evs, EVENT_RESET, .who = d->f.bdf, .name = "the function, through VTCTRL.RST,");
		igb_vf_reset(d);
	}
}

static uint64_t vf_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	struct igb *d = container_of(f, struct igb, f);
	uint64_t val;

	if (bar)
		return 0;
	if (off & (MIN(size, 4u) - 1))
		return ~0ULL;
	val = vf_reg_read(d, off & ~3ULL);
	if (size == 8)
		return val | (uint64_t)(off + 4 < IGB_VF_BAR_SIZE ? vf_reg_read(d, off + 4) : 0) << 32;
	return val >> 8 * (off & 3) & (size == 4 ? ~0U : BIT(8 * size) - 1);
}

static void vf_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct igb *d = container_of(f, struct igb, f);

	if (bar)
		return;
	if (unlikely(size < 4 || off & 3)) {
		pci_misuse(f, MISUSE_WIDTH, 0, off, size, true, "the card's registers are written as dwords");
		return;
	}
	vf_reg_write(d, (uint32_t)off, (uint32_t)val);
	if (size == 8 && off + 4 < IGB_VF_BAR_SIZE)
		vf_reg_write(d, (uint32_t)off + 4, val >> 32);
}

/* ---- life ---- */

void igb_vf_link_update(struct igb *d)
{
	bool was = d->link;

	if (!d->pf)
		return;
	d->link = igb_vfs_by_host(d->pf) ? net_link(d->pf->net) && !d->pf->unplugged : d->pf->link;
	if (d->link && !was)
		igb_tx_start_all(d);
}

void igb_vfs_link_update(struct igb *pf)
{
	for (unsigned int i = 0; i < pf->nvf; i++)
		if (pf->vf[i])
			igb_vf_link_update(pf->vf[i]);
}

/*
 * Where the card is the host, and its driver has two queues open, flows are spread over both: by a key that gives the
 * two directions of a flow the same hash.
 */
static void spread(struct igb *d)
{
	d->reg[IGB_MRQC / 4] = IGB_MRQC_VMDQ_RSS | 0x00ff0000;
	for (unsigned int i = 0; i < 32; i++)
		d->reg[IGB_RETA / 4 + i] = 0x08000800;
	for (unsigned int i = 0; i < 10; i++)
		d->reg[IGB_RSSRK / 4 + i] = 0x5a6d5a6d;
}

/* What only the card's driver could have set up otherwise. kept: of RCTL. */
static void hosted(struct igb *d, uint32_t kept)
{
	d->reg[IGB_RCTL / 4] = IGB_RCTL_EN | IGB_RCTL_BAM | IGB_RCTL_SECRC | IGB_RCTL_VFE | kept;
	d->reg[IGB_TCTL / 4] |= IGB_TCTL_EN | IGB_TCTL_PSP;
	d->reg[IGB_CTRL / 4] = 0;
	d->reg[IGB_RXCSUM / 4] = IGB_RXCSUM_IP | IGB_RXCSUM_L4 | IGB_RXCSUM_CRC | IGB_RXCSUM_PCSD;
	d->reg[IGB_GPIE / 4] = IGB_GPIE_MULTIPLE | IGB_GPIE_NSICR | IGB_GPIE_EIAME;
	/* One function's empty rings stop neither the others nor the cable. */
	d->reg[IGB_QDE / 4] = 0xffff;
	spread(d);
	d->ims = IGB_ICR_VMMB;
}

void igb_vf_clear(struct igb *d)
{
	d->rx_full = false;
	igb_tx_reset(d);
	igb_rx_reset(d);
	igb_intr_reset(d);
	igb_stats_reset(d);
	igb_regs_reset(d);
	hosted(d, 0);
	igb_rx_sizes(d);
	igb_mbx_reset(d);
	igb_vf_link_update(d);
}

/* Its driver could not have given itself more than this either. */
void igb_vf_load(struct igb *d, const struct igb *st)
{
	hosted(d, igb_reg(st, IGB_RCTL) & (IGB_RCTL_MPE | IGB_RCTL_LPE));
	memcpy(d->mailbox, st->mailbox, sizeof(d->mailbox));
	d->v2p = st->v2p;
	d->cts = st->cts;
	d->eicr &= VF_VECTOR_MASK;
	d->eims &= VF_VECTOR_MASK;
	d->asserted &= VF_VECTOR_MASK;
	d->reg[IGB_IVAR / 4] &= VF_IVAR_MASK;
	d->reg[IGB_IVAR_MISC / 4] &= (IGB_IVAR_VALID | 3) << 8;
}

/* By VTCTRL.RST or as a function (4.2.2.3): it neither sends nor receives until the card's driver lets it. */
void igb_vf_reset(struct igb *d)
{
	igb_vf_clear(d);
	if (!igb_governed(d))
		return;
	d->pf->reg[IGB_VFRE / 4] &= ~BIT(d->f.virtfn);
	d->pf->reg[IGB_VFTE / 4] &= ~BIT(d->f.virtfn);
	igb_govern_tell(d, 0);
}

static void vf_func_reset(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	igb_vf_reset(d);
	igb_rings_forget(d);
}

/* The card may be gone already, and the cable with it. */
static void vf_destroy(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	if (d->pf)
		d->pf->vf[f->virtfn] = NULL;
	d->pf = NULL;
	igb_vf_clear(d);
	pci_func_fini(f);
	free(d);
}

static const struct pci_func_ops vf_ops = {
    .bar_read = vf_bar_read,
    .bar_write = vf_bar_write,
    .reset = vf_func_reset,
    .resume = igb_resume,
    .set_link = igb_set_link,
    .quiesce = igb_quiesce,
    .run = igb_run,
    .save = igb_save,
    .load = igb_load,
    .destroy = vf_destroy,
};

static int add_capabilities(struct pci_func *f)
{
	int rc = pci_add_bar(f, 0, IGB_VF_BAR_SIZE, true, false);

	if (!rc)
		rc = pci_add_bar(f, IGB_MSIX_BAR, IGB_MSIX_BAR_SIZE, true, false);
	if (!rc)
		rc = pci_add_msix(f, IGB_VF_VECTORS, IGB_MSIX_BAR, IGB_MSIX_TABLE, IGB_MSIX_PBA);
	if (!rc)
		rc = pci_add_express(f);
	if (!rc)
		rc = pci_add_ext_cap(f, 0x0e /* ARI, PCI Express Base 4.0 section 7.8.7 */, 1, 8);
	return MIN(rc, 0);
}

static int vf_new(struct igb *pf, unsigned int i)
{
	struct igb *d = calloc(1, sizeof(*d));
	int rc = d ? pci_vf_init(&d->f, &pf->f, i, &vf_ops, "igbvf") : -ENOMEM;

	if (rc) {
		free(d);
		return rc;
	}
	d->loop = pf->loop;
	d->pf = pf;
	d->net = pf->net;
	d->card = (struct net_card){.receive = igb_rx_receive, .received = igb_rx_received};
	memcpy(d->mac, pf->mac, sizeof(d->mac));
	d->mac[5] += i + 1;
	igb_regs_init(d);
	igb_tx_init(d);
	igb_rx_init(d);
	igb_intr_init(d);
	pf->vf[i] = d;
	rc = add_capabilities(&d->f);
	if (rc)
		return rc;
	igb_vf_clear(d);
	return 0;
}

static int vf_make(struct pci_func *f, unsigned int i)
{
	struct igb *pf = container_of(f, struct igb, f);
	int rc = vf_new(pf, i);

	if (rc && pf->vf[i])
		vf_destroy(&pf->vf[i]->f);
	if (rc)
		f->sriov->vf[i] = NULL;
	return rc;
}

/* What is not there takes part in nothing, and a card without functions is nobody's switch. */
static void vfs_changed(struct pci_func *f)
{
	struct igb *pf = container_of(f, struct igb, f);

	pf->nvf = f->sriov->n;
	pf->governs = pf->governs && pf->nvf;
	pf->card.receive = pf->nvf ? igb_switch_receive : igb_rx_receive;
	pf->card.received = pf->nvf ? igb_switch_received : igb_rx_received;
	pf->card.writable = pf->nvf ? igb_switch_writable : igb_tx_writable;
	igb_link_update(pf);
}

int igb_vfs_add(struct igb *pf, unsigned int n)
{
	/* 9.4.4.3: on the bus of the card where the hierarchy knows ARI, every other one, as two ports share them. */
	int rc;

	pf->sriov = (struct pci_sriov){.device = IGB_VF_DEVICE,
				       .total = IGB_VFS,
				       .offset = 0x80,
				       .stride = 2,
				       .n = n,
				       .make = vf_make,
				       .changed = vfs_changed};
	rc = pci_add_sriov(&pf->f, &pf->sriov);
	for (unsigned int i = 0; !rc && i < n; i++)
		rc = vf_make(&pf->f, i);
	if (rc) {
		for (unsigned int i = 0; i < n; i++)
			if (pf->vf[i])
				vf_destroy(&pf->vf[i]->f);
		return rc;
	}
	vfs_changed(&pf->f);
	return 0;
}

void igb_vfs_forget(struct igb *pf)
{
	for (unsigned int i = 0; i < IGB_VFS; i++)
		if (pf->vf[i])
			pf->vf[i]->pf = NULL;
}
