/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "base/event.h"
#include "pci/inject.h"
#include "pci/internal.h"
#include "pci/sriov.h"

/* Bits of STATUS that record errors; all are RW1C (PCI Local Bus 3.0, section 6.2.3). */
#define STATUS_ERRORS                                                                                                  \
	(PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | PCI_STATUS_REC_TARGET_ABORT | PCI_STATUS_REC_MASTER_ABORT | \
	 PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY)

/* The type 0 header, PCI Express Base 3.0 section 7.5.1: COMMAND.IO is hardwired to 0, there being no I/O BARs. */
static void header_define(struct pci_func *f, const struct pci_ids *ids)
{
	pci_cfg_define(f, PCI_VENDOR_ID, 2, ids->vendor, 0, 0);
	pci_cfg_define(f, PCI_DEVICE_ID, 2, ids->device, 0, 0);
	pci_cfg_define(f, PCI_COMMAND, 2, 0,
		       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
			   PCI_COMMAND_INTX_DISABLE,
		       0);
	pci_cfg_define(f, PCI_STATUS, 2, 0, 0, STATUS_ERRORS);
	pci_cfg_define(f, PCI_CLASS_REVISION, 4, ids->class << 8 | ids->revision, 0, 0);
	pci_cfg_define(f, PCI_CACHE_LINE_SIZE, 1, 0, 0xff, 0);
	pci_cfg_define(f, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_NORMAL, 0, 0);
	pci_cfg_define(f, PCI_SUBSYSTEM_VENDOR_ID, 2, ids->subvendor, 0, 0);
	pci_cfg_define(f, PCI_SUBSYSTEM_ID, 2, ids->subdevice, 0, 0);
	pci_cfg_define(f, PCI_INTERRUPT_LINE, 1, 0, 0xff, 0);
}

int pci_func_init(struct pci_func *f, const struct pci_func_ops *ops, const char *name, const struct pci_ids *ids,
		  struct events *evs)
{
	memset(f, 0, sizeof(*f));
	f->ops = ops;
	f->name = name;
	f->evs = evs;
	f->cap_free = PCI_STD_HEADER_SIZEOF;
	list_init(&f->mem_users);
	pci_peers_init(f);
	f->dma = dma_dev_new(0, evs);
	if (!f->dma)
		return -ENOMEM;
	dma_dev_set_master(f->dma, false);
	dma_dev_set_owner(f->dma, f);
	header_define(f, ids);
	pci_state_update(f);
	return 0;
}

void pci_func_fini(struct pci_func *f)
{
	inject_drop(f, 0);
	pci_peers_fini(f);
	if (f->dma)
		dma_dev_free(f->dma);
	pci_bars_free(f);
	free(f->rom);
	f->rom = NULL;
	free(f->msix_table);
	free(f->msix_pba);
	f->dma = NULL;
	f->msix_table = NULL;
	f->msix_pba = NULL;
	f->msix_n = 0;
}

void pci_func_place(struct pci_func *f, uint16_t domain, uint16_t bdf, unsigned int group)
{
	struct dma_dev *dma;

	/* Nothing is attached yet, so a requester with the right id can take the old one's place. */
	dma = dma_dev_new(bdf, f->evs);
	if (dma && !dma_dev_set_pasid_bits(dma, f->pasid_bits)) {
		dma_dev_free(f->dma);
		f->dma = dma;
		dma_dev_set_master(dma, f->master);
		dma_dev_set_owner(dma, f);
		dma_dev_set_pri(dma, f->pri);
	} else {
		dma_dev_free(dma);
	}
	f->domain = domain;
	f->bdf = bdf;
	f->group = group;
	pci_bar_place(f);
	if (f->physfn)
		pci_vf_bars_show(f);
}

void pci_misuse(struct pci_func *f, enum event_misuse kind, unsigned int bar, uint64_t off, unsigned int size,
		bool write, const char *text)
{
	event_emit(f->evs, EVENT_MISUSE, .who = (uint32_t)f->domain << 16 | f->bdf, .value = kind,
		   .addr = (uint64_t)bar << 40 | off, .len = size, .flags = write ? EVENT_WRITE : 0, .name = text);
}

void pci_misuse_of(struct pci_func *f, unsigned int bar, uint64_t off, const struct dma_tag *tag, const char *text)
{
	event_emit(f->evs, EVENT_MISUSE, .who = (uint32_t)f->domain << 16 | f->bdf, .value = MISUSE_PROTOCOL,
		   .addr = (uint64_t)bar << 40 | off, .len = 4, .flags = EVENT_WRITE, .name = text, .tag = tag);
}

void pci_bdf_format(const struct pci_func *f, char buf[16])
{
	snprintf(buf, 16, "%04x:%02x:%02x.%x", f->domain, f->bdf >> 8, f->bdf >> 3 & 0x1f, f->bdf & 7);
}

bool pci_state_update(struct pci_func *f)
{
	uint32_t cmd = cfg_get16(f, PCI_COMMAND);
	bool d0 = true, decode, master, changed, decode_changed;

	if (f->pm_cap)
		d0 = !(cfg_get16(f, f->pm_cap + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK);
	decode = d0 && (cmd & PCI_COMMAND_MEMORY);
	master = d0 && (cmd & PCI_COMMAND_MASTER) && !f->away;
	changed = d0 != f->d0 || decode != f->decode || master != f->master;
	if (master != f->master) {
		dma_dev_set_master(f->dma, master);
		event_emit(f->evs, EVENT_MASTER, .who = f->bdf, .flags = master ? EVENT_START : EVENT_END);
	}
	decode_changed = decode != f->decode;
	f->d0 = d0;
	f->decode = decode;
	f->master = master;
	if (decode_changed)
		pci_bars_decode_changed(f);
	pci_intx_update(f);
	return changed;
}

/*
 * PCI Express Base 3.0 section 6.6.2. Bus mastering ends first: nothing that the device does on its way down can reach
 * memory or raise an interrupt.
 */
void pci_func_reset(struct pci_func *f)
{
	event_emit(f->evs, EVENT_RESET, .who = f->bdf, .name = "the function");
	pci_cfg_reset(f);
	f->intx_wanted = false;
	pci_state_update(f);
	pci_msix_reset(f);
	inject_reset(f, INJECT_ANY);
	f->ops->reset(f);
}

void pci_func_set_away(struct pci_func *f, bool away)
{
	if (away == f->away)
		return;
	f->away = away;
	if (away)
		pci_peers_revoke(f);
	/* Plain memory cannot answer with all ones: to clients it is SIGBUS while the function is away. */
	pci_bars_decode_changed(f);
	if (pci_state_update(f) && !away && f->ops->command_changed)
		f->ops->command_changed(f);
	if (!away)
		return;
	inject_reset(f, INJECT_ANY);
	f->ops->reset(f);
}
