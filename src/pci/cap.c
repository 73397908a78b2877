/* SPDX-License-Identifier: BSD-3-Clause */
/* The capabilities that every device of ours has. */
#include <errno.h>
#include <linux/pci_regs.h>

#include "base/util.h"
#include "pci/internal.h"

/* PCI Express Base 3.0 section 7.8: version 2, without the slot and root registers' contents. */
#define EXP_CAP_SIZE 0x3c

int pci_add_cap(struct pci_func *f, uint8_t id, unsigned int len)
{
	unsigned int off = f->cap_free;

	if (len < 2 || len > PCI_CFG_SPACE_SIZE || off + len > PCI_CFG_SPACE_SIZE)
		return -ENOSPC;
	f->cfg[off + PCI_CAP_LIST_ID] = id;
	f->cfg[off + PCI_CAP_LIST_NEXT] = 0;
	f->cfg[f->cap_tail ? f->cap_tail : PCI_CAPABILITY_LIST] = off;
	f->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->cap_tail = off + PCI_CAP_LIST_NEXT;
	f->cap_free = ALIGN_UP(off + len, 4U);
	return off;
}

/* PCI Power Management 1.2 section 3.2: version 3, D0 and D3hot, no PME, and a soft reset on the way back to D0. */
int pci_add_pm(struct pci_func *f)
{
	int off = pci_add_cap(f, PCI_CAP_ID_PM, PCI_PM_SIZEOF);

	if (off < 0)
		return off;
	pci_cfg_define(f, off + PCI_PM_PMC, 2, 3, 0, 0);
	pci_cfg_define(f, off + PCI_PM_CTRL, 2, 0, PCI_PM_CTRL_STATE_MASK, 0);
	f->pm_cap = off;
	return 0;
}

static void express_device_define(struct pci_func *f, unsigned int off)
{
	/* 256-byte payloads, extended tags, role-based errors (required), FLR. */
	pci_cfg_define(f, off + PCI_EXP_DEVCAP, 4,
		       1 | PCI_EXP_DEVCAP_EXT_TAG | PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR, 0, 0);
	pci_cfg_define(f, off + PCI_EXP_DEVCTL, 2,
		       PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ_512B,
		       PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE |
			   PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_PAYLOAD | PCI_EXP_DEVCTL_EXT_TAG |
			   PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ,
		       0);
	pci_cfg_define(f, off + PCI_EXP_DEVSTA, 2, 0, 0,
		       PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED | PCI_EXP_DEVSTA_URD);
	pci_cfg_define(f, off + PCI_EXP_DEVCAP2, 4, PCI_EXP_DEVCAP2_COMP_TMOUT_DIS, 0, 0);
	pci_cfg_define(f, off + PCI_EXP_DEVCTL2, 2, 0, PCI_EXP_DEVCTL2_COMP_TMOUT_DIS, 0);
}

/* A link that trained at 8 GT/s x4 and knows no power saving. */
static void express_link_define(struct pci_func *f, unsigned int off)
{
	const uint32_t width4 = 4 << PCI_EXP_LNKSTA_NLW_SHIFT;
	const uint32_t aspm_optional = BIT(22); /* ASPM Optionality Compliance, section 7.8.6 */
	const uint32_t equalized = 0x1e;	/* complete, phases 1 to 3; section 7.8.20 */

	pci_cfg_define(f, off + PCI_EXP_LNKCAP, 4, PCI_EXP_LNKCAP_SLS_8_0GB | width4 | aspm_optional, 0, 0);
	pci_cfg_define(f, off + PCI_EXP_LNKCTL, 2, 0,
		       PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_RCB | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES, 0);
	pci_cfg_define(f, off + PCI_EXP_LNKSTA, 2, PCI_EXP_LNKSTA_CLS_8_0GB | width4 | PCI_EXP_LNKSTA_SLC, 0, 0);
	pci_cfg_define(f, off + PCI_EXP_LNKCAP2, 4,
		       PCI_EXP_LNKCAP2_SLS_2_5GB | PCI_EXP_LNKCAP2_SLS_5_0GB | PCI_EXP_LNKCAP2_SLS_8_0GB, 0, 0);
	pci_cfg_define(
	    f, off + PCI_EXP_LNKCTL2, 2, PCI_EXP_LNKCTL2_TLS_8_0GT,
	    PCI_EXP_LNKCTL2_TLS | PCI_EXP_LNKCTL2_ENTER_COMP | PCI_EXP_LNKCTL2_HASD | PCI_EXP_LNKCTL2_TX_MARGIN, 0);
	pci_cfg_define(f, off + PCI_EXP_LNKSTA2, 2, equalized, 0, 0);
}

int pci_add_express(struct pci_func *f)
{
	int off = pci_add_cap(f, PCI_CAP_ID_EXP, EXP_CAP_SIZE);

	if (off < 0)
		return off;
	pci_cfg_define(f, off + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_ENDPOINT << 4, 0, 0);
	express_device_define(f, off);
	express_link_define(f, off);
	f->exp_cap = off;
	return 0;
}

/* ---- extended capabilities: PCI Express Base 4.0 section 7.6.3 ---- */

int pci_add_ext_cap(struct pci_func *f, uint16_t id, uint8_t version, unsigned int len)
{
	unsigned int off = f->ext_tail ? f->ext_free : PCI_CFG_SPACE_SIZE;

	if (len < 4 || len > PCI_CFG_SIZE || off + len > PCI_CFG_SIZE)
		return -ENOSPC;
	pci_cfg_define(f, off, 4, id | (uint32_t)version << 16, 0, 0);
	if (f->ext_tail)
		pci_cfg_define(f, f->ext_tail, 4, cfg_get(f->cfg + f->ext_tail, 4) | off << 20, 0, 0);
	f->ext_tail = off;
	f->ext_free = ALIGN_UP(off + len, 4U);
	return off;
}

/* Section 10.5.1. The queue takes 32 invalidations (0), each of which is aligned to pages. */
int pci_add_ats(struct pci_func *f)
{
	int off = pci_add_ext_cap(f, PCI_EXT_CAP_ID_ATS, 1, PCI_EXT_CAP_ATS_SIZEOF);

	if (off < 0)
		return off;
	pci_cfg_define(f, off + PCI_ATS_CAP, 2, PCI_ATS_CAP_PAGE_ALIGNED, 0, 0);
	pci_cfg_define(f, off + PCI_ATS_CTRL, 2, PCI_ATS_CTRL_ENABLE, 0, 0);
	return 0;
}

/* Section 10.5.2. */
int pci_add_pri(struct pci_func *f, uint32_t outstanding)
{
	int off = pci_add_ext_cap(f, PCI_EXT_CAP_ID_PRI, 1, PCI_EXT_CAP_PRI_SIZEOF);

	if (off < 0)
		return off;
	pci_cfg_define(f, off + PCI_PRI_CTRL, 2, PCI_PRI_CTRL_ENABLE, 0, 0);
	pci_cfg_define(f, off + PCI_PRI_STATUS, 2, PCI_PRI_STATUS_PASID, 0, 0);
	pci_cfg_define(f, off + PCI_PRI_MAX_REQ, 4, outstanding, 0, 0);
	pci_cfg_define(f, off + PCI_PRI_ALLOC_REQ, 4, outstanding, 0, 0);
	f->pri = true;
	dma_dev_set_pri(f->dma, true);
	return 0;
}

/* Section 7.8.8. No execute and no privileged requests. */
int pci_add_pasid(struct pci_func *f, unsigned int bits)
{
	int off = pci_add_ext_cap(f, PCI_EXT_CAP_ID_PASID, 1, PCI_EXT_CAP_PASID_SIZEOF);

	if (off < 0)
		return off;
	pci_cfg_define(f, off + PCI_PASID_CAP, 2, bits << 8, 0, 0);
	pci_cfg_define(f, off + PCI_PASID_CTRL, 2, PCI_PASID_CTRL_ENABLE, 0, 0);
	f->pasid_bits = bits;
	return dma_dev_set_pasid_bits(f->dma, bits);
}

/*
 * PCI Express Base 3.0 section 7.16. Ports validate sources and send what is for a peer upstream; a function redirects
 * what it would send to its neighbour.
 */
int pci_add_acs(struct pci_func *f)
{
	uint32_t caps = PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_DT, on = PCI_ACS_RR | PCI_ACS_CR;
	int off = pci_add_ext_cap(f, PCI_EXT_CAP_ID_ACS, 1, 8);

	if (off < 0)
		return off;
	if (f->exp_cap && (cfg_get16(f, f->exp_cap + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_TYPE) != 0) {
		caps |= PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_UF;
		on |= PCI_ACS_SV | PCI_ACS_UF;
	}
	pci_cfg_define(f, off + PCI_ACS_CAP, 2, caps, 0, 0);
	pci_cfg_define(f, off + PCI_ACS_CTRL, 2, on, caps, 0);
	f->acs_cap = off;
	return 0;
}
