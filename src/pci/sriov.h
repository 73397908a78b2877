/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Single Root I/O Virtualization (PCI Express Base 4.0 chapter 9): a physical function with virtual functions, each of
 * which is a struct pci_func of its own.
 *
 * How many there are is the host's to say: VF Enable, VF MSE and NumVFs are as it has set them, and a client cannot
 * write them. One that has been there stays as a struct, out of its slot (pci_func.pulled) while there are fewer. The
 * hierarchy knows ARI, so that they are on the bus of their physical function.
 */
#ifndef PINFOLD_PCI_SRIOV_H
#define PINFOLD_PCI_SRIOV_H

#include "pci/pci.h"

#define PCI_VFS_MAX 64

/* Part of the device, which fills in the first lines. */
struct pci_sriov {
	uint16_t device;	 /* VF Device ID */
	uint16_t total;		 /* TotalVFs and InitialVFs */
	uint16_t offset, stride; /* First VF Offset, VF Stride: from the routing ID of the physical function on */
	unsigned int n;		 /* NumVFs; from the start those that the device makes by itself */
	/* Makes number i, which has not been there yet. 0 or -errno. NULL: there are no others than at the start. */
	int (*make)(struct pci_func *pf, unsigned int i);
	void (*changed)(struct pci_func *pf); /* n has. Optional */
	struct pci_func *vf[PCI_VFS_MAX];     /* NULL: never was there */
	/* The host's (broker/sriov.c). */
	bool no_autoprobe; /* those that come get no driver */
	bool leaving;	   /* they are on their way out; */
	bool waiting;	   /* for an owner */
	unsigned int gone; /* so many have left */
	unsigned int cap;  /* its place in configuration space */
};

/* After the function's other capabilities. s lives as long as it. 0, -EINVAL, -ENOSPC. */
int pci_add_sriov(struct pci_func *pf, struct pci_sriov *s);
void pci_sriov_set(struct pci_func *pf, unsigned int n); /* NumVFs, 0: none is enabled; all of them have been made */
/*
 * Number i, below s->total, of pf, which has the capability already. As pci_func_init, with a header as virtual
 * functions have it (section 9.3.4): then BARs (64-bit) and capabilities are added. Each is destroyed by itself, in any
 * order.
 */
int pci_vf_init(struct pci_func *vf, struct pci_func *pf, unsigned int i, const struct pci_func_ops *ops,
		const char *name);
void pci_vf_bars_show(struct pci_func *vf); /* it has been placed: the first one's BARs are in the capability */
uint16_t pci_vf_bdf(const struct pci_func *pf, unsigned int i);
/* The identity that the host gives out for f: of a virtual function, whose own reads as all ones, that of its kind. */
uint16_t pci_func_vendor(const struct pci_func *f);
uint16_t pci_func_device(const struct pci_func *f);

#endif
