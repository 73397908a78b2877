/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI Express function: configuration space with its write rules, BARs, MSI-X, reset. Devices fill one in and
 * implement pci_func_ops; the VFIO layer drives it from the other side.
 */
#ifndef PINFOLD_PCI_PCI_H
#define PINFOLD_PCI_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iommu/iommu.h"

#define PCI_CFG_SIZE 4096
#define PCI_BARS     6
#define PCI_MSIX_MAX 2048

struct pci_func;
struct events;

struct pci_func_ops {
	/*
	 * Register access inside BAR bar. size is 1, 2, 4 or 8 and [off, off + size) lies inside the BAR; nothing is
	 * promised about alignment. Called only while COMMAND.MEM is set. Never for the MSI-X table and PBA, which the
	 * core serves.
	 */
	uint64_t (*bar_read)(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size);
	void (*bar_write)(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val);
	/* Function-level reset: back to power-on state, nothing in flight when it returns. */
	void (*reset)(struct pci_func *f);
	/* COMMAND.BUS_MASTER or MEM changed, or the power state did. Optional. */
	void (*command_changed)(struct pci_func *f);
	/* The last reference is gone. Frees the device. Nothing of it runs afterwards. */
	void (*destroy)(struct pci_func *f);
};

struct pci_bar {
	uint64_t size; /* bytes, a power of two; 0 = not there (or the upper half of a 64-bit BAR) */
	bool mem64;
	bool prefetch;
	/*
	 * A BAR without side effects (a controller memory buffer, a doorbell page that the device polls) may be backed
	 * by a memfd that clients map; -1: every access goes to ops.
	 */
	int memfd;
};

/* Where interrupts go. The VFIO layer fills it in while the function is open. */
struct pci_irq_sink {
	void (*msix)(struct pci_irq_sink *s, unsigned int vector);
	void (*intx)(struct pci_irq_sink *s, bool level);
};

struct msix_entry {
	uint64_t addr;
	uint32_t data;
	uint32_t ctrl; /* bit 0: masked */
};

struct pci_func {
	const struct pci_func_ops *ops;
	const char *name; /* device type: "nvme" */
	uint16_t domain;
	uint16_t bdf;	    /* bus << 8 | dev << 3 | fn */
	unsigned int group; /* IOMMU group number */
	struct events *evs;
	struct dma_dev *dma;

	uint8_t cfg[PCI_CFG_SIZE];   /* what a read returns */
	uint8_t wmask[PCI_CFG_SIZE]; /* bits that software may write */
	uint8_t w1c[PCI_CFG_SIZE];   /* bits that software clears by writing 1 */
	struct pci_bar bar[PCI_BARS];

	unsigned int cap_tail; /* offset of the last capability's next pointer; 0 = none */
	unsigned int cap_free; /* next free byte for a capability */
	unsigned int pm_cap, exp_cap, msix_cap;

	unsigned int msix_n; /* vectors */
	unsigned int msix_table_bar, msix_pba_bar;
	uint32_t msix_table_off, msix_pba_off;
	struct msix_entry *msix_table;
	uint64_t *msix_pba;

	struct pci_irq_sink *sink; /* NULL while nobody has opened the function */
};

struct pci_ids {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class; /* 24 bits: base, sub, programming interface */
	uint8_t revision;
};

/* ---- building (devices) ---- */
/* Zeroed function with a type 0 header, dma_dev and the rules for the header's fields. 0 or -ENOMEM. */
int pci_func_init(struct pci_func *f, const struct pci_func_ops *ops, const char *name, const struct pci_ids *ids,
		  struct events *evs);
void pci_func_fini(struct pci_func *f);
/* Where the function sits; before anyone can open it. */
void pci_func_place(struct pci_func *f, uint16_t domain, uint16_t bdf, unsigned int group);
/* A memory BAR; 64-bit ones take index and index + 1. size is a power of two, at least 4096. 0 or -EINVAL. */
int pci_add_bar(struct pci_func *f, unsigned int index, uint64_t size, bool mem64, bool prefetch, int memfd);
int pci_add_pm(struct pci_func *f);
int pci_add_express(struct pci_func *f); /* endpoint, FLR capable */
int pci_add_msix(struct pci_func *f, unsigned int n, unsigned int bar, uint32_t table_off, uint32_t pba_off);
/* len bytes of a capability, first two filled in by the core; returns its offset or -ENOSPC. */
int pci_add_cap(struct pci_func *f, uint8_t id, unsigned int len);

/* ---- for devices, running ---- */
bool pci_mem_enabled(const struct pci_func *f); /* COMMAND.MEM and D0 */
bool pci_bus_master(const struct pci_func *f);	/* COMMAND.BUS_MASTER and D0 */
/* Raises vector v: delivered, pending in the PBA while masked, or dropped (with an event) while MSI-X is off. */
void pci_msix_raise(struct pci_func *f, unsigned int v);
static inline int pci_dma_read(struct pci_func *f, uint64_t iova, void *dst, size_t len, const struct dma_tag *tag)
{
	return dma_read(f->dma, IOVA(iova), dst, len, tag);
}
static inline int pci_dma_write(struct pci_func *f, uint64_t iova, const void *src, size_t len,
				const struct dma_tag *tag)
{
	return dma_write(f->dma, IOVA(iova), src, len, tag);
}

/* ---- for the side that drives (VFIO) ---- */
/* Physical (bus-side) configuration access. [off, off + size) within 4096, size 1, 2, 4; naturally aligned. */
uint32_t pci_cfg_read(struct pci_func *f, unsigned int off, unsigned int size);
void pci_cfg_write(struct pci_func *f, unsigned int off, unsigned int size, uint32_t val);
/*
 * BAR access as the bus sees it: [off, off + size) inside the BAR. -EIO while COMMAND.MEM is clear or the function is
 * not in D0. The MSI-X table and PBA are served here. Emits EVENT_MMIO.
 */
int pci_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t *val);
int pci_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val);
void pci_func_reset(struct pci_func *f);
void pci_msix_enable(struct pci_func *f, bool on); /* the capability's enable bit, as the host kernel sets it */
void pci_msix_set_entry_masked(struct pci_func *f, unsigned int v, bool masked); /* unmask delivers what pends */
void pci_bdf_format(const struct pci_func *f, char buf[16]);			 /* "0000:01:00.0" */

#endif
