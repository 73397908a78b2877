/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the VFIO tests stand on: a client whose memory is this process's own, a machine with a few toy functions, and
 * checks that every test ends with nothing left over.
 */
#ifndef PINFOLD_TESTS_VFIO_FAKE_H
#define PINFOLD_TESTS_VFIO_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "base/event.h"
#include "base/util.h"
#include "iommu/iommu.h"
#include "iommufd/iommufd.h"
#include "mm/mm.h"
#include "pci/pci.h"
#include "uapi/iommufd_abi.h"
#include "uapi/ucall.h"
#include "uapi/vfio_abi.h"
#include "vfio/vfio.h"

#define TOY_BAR_SIZE 0x4000
#define TOY_VECTORS  8
#define TOY_TABLE    0x2000
#define TOY_PBA	     0x3000

struct toy {
	struct pci_func f;
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
};

/* Three functions: 01:00.0 and 02:00.0 in group 7, 01:00.1 in group 9. */
enum { TOYS = 3 };

#define CLIENT_FDS   16
#define CLIENT_FD(i) (1000 + (i)) /* numbers of the client's that are files of ours */
#define MEM_BYTES    (64 * PF_PAGE_SIZE)
#define MEM_FILE_OFF (4 * PF_PAGE_SIZE)
#define MEM_RO_PAGES 4 /* the last pages of the client's memory are read-only to it */

struct input;

struct fake {
	struct ucall c;
	struct events evs;
	struct vfio *v;
	struct iommufd *iommufd;
	struct toy *toy[TOYS];
	struct ufile *file[CLIENT_FDS];
	struct backing_cache *cache;
	struct mm_owner *owner;
	uint64_t limit; /* bytes the client may pin */
	int memfd;
	uint8_t *mem;  /* the client's memory that can be pinned, MEM_BYTES */
	uint8_t *hole; /* unmapped */
	int fds_before;

	bool no_room;	      /* nothing can be queued for the client's memory */
	bool again;	      /* each input is refused with UCALL_AGAIN the first time */
	unsigned int rounds;  /* how often the last ioctl's handler ran */
	struct input *inputs; /* of the ioctl in progress */
	size_t ninputs;
	struct output *outputs;
	size_t noutputs;
	int installed;
};

/* True while the code under test runs, and not the client: what may fail on purpose (oom_test). */
extern bool fake_inside;

int fake_setup(void **state);
int fake_teardown(void **state); /* fails if a pin, a charge or a descriptor is left */

/* ioctl(2) as the client would see it: result, or -errno. arg: a pointer or a number. */
long fake_ioctl(struct fake *k, struct ufile *f, unsigned int cmd, uintptr_t arg);
#define DO(f, cmd, arg) fake_ioctl(k, f, cmd, (uintptr_t)(arg))
void fake_close(struct fake *k, struct ufile **f);
int fake_fd_of(struct fake *k, struct ufile *f); /* the client's number for f */

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
int fake_open_fds(void);

#endif
