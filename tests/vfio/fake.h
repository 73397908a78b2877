/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VFIO tests stand on: a client, a machine with a few toy functions, and checks that every test ends with
 * nothing left over.
 */
#ifndef PINFOLD_TESTS_VFIO_FAKE_H
#define PINFOLD_TESTS_VFIO_FAKE_H

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "../lib/client.h"
#include "iommu/iommu.h"
#include "iommufd/iommufd.h"
#include "pci/pci.h"
#include "uapi/iommufd_abi.h"
#include "uapi/vfio_abi.h"
#include "vfio/vfio.h"

#define TOY_BAR_SIZE 0x4000
#define TOY_VECTORS  8
#define TOY_TABLE    0x2000
#define TOY_PBA	     0x3000
#define TOY_STATE    64

struct toy {
	struct pci_func f;
	/* Of one that can be migrated (01:00.1); its state is the first TOY_STATE bytes of reg. */
	unsigned int busy; /* so often it is asked before it is quiet */
	int quiesce_error;
	unsigned int quiesced, runs;
	uint8_t reg[TOY_BAR_SIZE];
	unsigned int resets;
	struct mm_owner *charged_at_reset; /* if set: what it pays for when the function is reset goes to charged */
	uint64_t charged;
	/* The last accesses, in order. */
	struct {
		uint64_t off, val;
		unsigned int size;
		bool write;
	} log[64];
	unsigned int nlog;
	const uint8_t *watch; /* a client's address: could it be read during the last reset? */
	bool watched, watch_there;
};

/* toy[]: 01:00.0 and 02:00.0 in group 7, 01:00.1 in group 9. */
int fake_setup(void **state);
int fake_teardown(void **state); /* fails if a pin, a charge or a descriptor is left */

struct ufile *fake_container(struct fake *k);
struct ufile *fake_iommufd(struct fake *k);
struct ufile *fake_cdev(struct fake *k, unsigned int n);
struct ufile *fake_group(struct fake *k, unsigned int n);
struct ufile *fake_device(struct fake *k, struct ufile *group, const char *name);
/* A container with group 7 in it, type1 of the kind given, and 01:00.0 open. */
struct session {
	struct ufile *container, *group, *device;
};
struct session fake_session(struct fake *k, unsigned long kind);
void fake_session_close(struct fake *k, struct session *s);

long fake_map(struct fake *k, struct ufile *container, uint64_t iova, uint64_t va, uint64_t size, uint32_t flags);
long fake_unmap(struct fake *k, struct ufile *container, uint64_t iova, uint64_t *size, uint32_t flags);

#endif
