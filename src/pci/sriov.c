/* SPDX-License-Identifier: BSD-3-Clause */
/* Physical and virtual functions. */
#include <errno.h>
#include <linux/pci_regs.h>

#include "base/util.h"
#include "pci/internal.h"
#include "pci/sriov.h"

#define CAP_ARI	   BIT(1) /* ARI Capable Hierarchy Preserved (9.3.3.2.2) */
#define PAGE_SIZES 0x553  /* 4K, 8K, 64K, 256K, 1M, 4M: those that every function has to support (9.3.3.12) */

/* Section 7.8.7: the next function is found by the capability of the one that has virtual ones, and not in a list. */
static int add_ari(struct pci_func *f)
{
	int off = pci_add_ext_cap(f, PCI_EXT_CAP_ID_ARI, 1, PCI_EXT_CAP_ARI_SIZEOF);

	return off < 0 ? off : 0;
}

static void number_show(struct pci_func *pf)
{
	const struct pci_sriov *s = pf->sriov;
	unsigned int enabled = s->n ? PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE : 0;

	pci_cfg_define(pf, s->cap + PCI_SRIOV_CTRL, 2, PCI_SRIOV_CTRL_ARI | enabled, 0, 0);
	pci_cfg_define(pf, s->cap + PCI_SRIOV_NUM_VF, 2, s->n, 0, 0);
}

/* Section 9.3.3. */
int pci_add_sriov(struct pci_func *pf, struct pci_sriov *s)
{
	int off = add_ari(pf);

	if (off)
		return off;
	if (s->n > s->total || s->total > PCI_VFS_MAX || !s->stride)
		return -EINVAL;
	off = pci_add_ext_cap(pf, PCI_EXT_CAP_ID_SRIOV, 1, PCI_EXT_CAP_SRIOV_SIZEOF);
	if (off < 0)
		return off;
	s->cap = off;
	pci_cfg_define(pf, off + PCI_SRIOV_CAP, 4, CAP_ARI, 0, 0);
	pci_cfg_define(pf, off + PCI_SRIOV_INITIAL_VF, 2, s->total, 0, 0);
	pci_cfg_define(pf, off + PCI_SRIOV_TOTAL_VF, 2, s->total, 0, 0);
	pci_cfg_define(pf, off + PCI_SRIOV_VF_OFFSET, 2, s->offset, 0, 0);
	pci_cfg_define(pf, off + PCI_SRIOV_VF_STRIDE, 2, s->stride, 0, 0);
	pci_cfg_define(pf, off + PCI_SRIOV_VF_DID, 2, s->device, 0, 0);
	pci_cfg_define(pf, off + PCI_SRIOV_SUP_PGSIZE, 4, PAGE_SIZES, 0, 0);
	pci_cfg_define(pf, off + PCI_SRIOV_SYS_PGSIZE, 4, 1, 0, 0);
	pf->sriov = s;
	number_show(pf);
	return 0;
}

void pci_sriov_set(struct pci_func *pf, unsigned int n)
{
	pf->sriov->n = n;
	number_show(pf);
	if (pf->sriov->changed)
		pf->sriov->changed(pf);
}

/*
 * Section 9.3.4: identity reads as all ones, and there is neither a pin nor a disable bit for it. COMMAND.MEM is
 * hardwired to zero on a bus; here it is the host's VF MSE for this function alone, which clients do not get at.
 */
int pci_vf_init(struct pci_func *vf, struct pci_func *pf, unsigned int i, const struct pci_func_ops *ops,
		const char *name)
{
	struct pci_ids ids = {.vendor = 0xffff,
			      .device = 0xffff,
			      .subvendor = cfg_get16(pf, PCI_SUBSYSTEM_VENDOR_ID),
			      .subdevice = cfg_get16(pf, PCI_SUBSYSTEM_ID),
			      .class = cfg_get(pf->cfg + PCI_CLASS_REVISION, 4) >> 8,
			      .revision = pf->cfg[PCI_REVISION_ID]};
	int err = pci_func_init(vf, ops, name, &ids, pf->evs);

	if (err)
		return err;
	pci_cfg_define(vf, PCI_COMMAND, 2, 0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	pci_cfg_define(vf, PCI_CACHE_LINE_SIZE, 1, 0, 0, 0);
	pci_cfg_define(vf, PCI_INTERRUPT_LINE, 1, 0, 0, 0);
	vf->physfn = pf;
	vf->virtfn = i;
	pf->sriov->vf[i] = vf;
	return 0;
}

void pci_vf_bars_show(struct pci_func *vf)
{
	struct pci_func *pf = vf->physfn;

	for (unsigned int i = 0; !vf->virtfn && i < PCI_BARS; i++)
		pci_cfg_define(pf, pf->sriov->cap + PCI_SRIOV_BAR + 4 * i, 4,
			       cfg_get(vf->cfg + PCI_BASE_ADDRESS_0 + 4 * i, 4), 0, 0);
}

uint16_t pci_vf_bdf(const struct pci_func *pf, unsigned int i)
{
	return pf->bdf + pf->sriov->offset + i * pf->sriov->stride;
}

uint16_t pci_func_vendor(const struct pci_func *f)
{
	return cfg_get16(f->physfn ? f->physfn : f, PCI_VENDOR_ID);
}

uint16_t pci_func_device(const struct pci_func *f)
{
	return f->physfn ? f->physfn->sriov->device : cfg_get16(f, PCI_DEVICE_ID);
}
