/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A requester, and the only way in which a device reaches memory.
 *
 *   ioas (ioas.h)      an IOVA space: which IOVA stands for which client memory.
 *   domain (domain.h)  translations, made from a space; what requesters are attached to.
 *   access (access.h)  a CPU user of a space.
 *   dma_dev	        one requester (a PCI function): which domain it is attached to, its IOTLB, whether it may master
 *the bus.
 *
 * Invariant: a translation in an IOTLB is in the table of the requester's domain (rule A3: what leaves the table is
 * flushed from every IOTLB before it is unpinned). No function here blocks, knows a socket, or keeps a global.
 * Everything is owned by one thread (ARCHITECTURE.md, "One thread").
 */
#ifndef PINFOLD_IOMMU_IOMMU_H
#define PINFOLD_IOMMU_IOMMU_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct domain;
struct dma_dev;
struct dma_tag;
struct events;

/* An I/O virtual address. A struct, so that it does not add to a pointer or an offset by accident. */
typedef struct {
	uint64_t a;
} iova_t;
#define IOVA(x) ((iova_t){(x)})

enum { IOMMU_READ = 1, IOMMU_WRITE = 2 }; /* what the device may do */

/* ---- a requester ---- */
struct dma_stats {
	uint64_t reads, writes, read_bytes, write_bytes, faults, iotlb_hits, iotlb_misses;
};

struct dma_dev *dma_dev_new(uint32_t bdf, struct events *evs);
void dma_dev_free(struct dma_dev *d);			    /* detaches */
void dma_dev_attach(struct dma_dev *d, struct domain *dom); /* replaces; flushes the IOTLB; cannot fail */
void dma_dev_detach(struct dma_dev *d);
struct domain *dma_dev_domain(const struct dma_dev *d); /* NULL: detached */
void dma_dev_set_master(struct dma_dev *d, bool on);	/* PCI_COMMAND.BUS_MASTER; off: every DMA faults */
const struct dma_stats *dma_dev_stats(const struct dma_dev *d);

/* Why a DMA failed: the error of EVENT_FAULT. The caller of dma_* sees -EFAULT for all of them, as a device does. */
enum dma_fault {
	DMA_FAULT_UNMAPPED = ENOENT,   /* no area there */
	DMA_FAULT_PERMISSION = EACCES, /* an area without the permission asked for */
	DMA_FAULT_MASTER = EPERM,      /* PCI_COMMAND.BUS_MASTER is off */
	DMA_FAULT_DETACHED = ENODEV,   /* attached to no domain */
	DMA_FAULT_GONE = EIO,	       /* the page is no longer there: its file was truncated, or memory ran out */
	DMA_FAULT_WRAP = EOVERFLOW,    /* the request runs past the last address; reported at its first */
};

/*
 * DMA. Both return 0, or -EFAULT if any byte cannot be reached (no translation, permission, bus master off, page gone):
 * then one EVENT_FAULT has been emitted with tag, the first failing IOVA and the bytes not moved from there on. A
 * transfer that faults half way has moved what came before, as on a bus. The counters of reads and writes are of those
 * that succeeded. tag may be NULL.
 */
int dma_read(struct dma_dev *d, iova_t src, void *dst, size_t len, const struct dma_tag *tag);
int dma_write(struct dma_dev *d, iova_t dst, const void *src, size_t len, const struct dma_tag *tag);

/*
 * The host memory behind [iova, iova + len) as an iovec array, for a system call made at once (preadv into client
 * memory): the entries are valid only until control returns to the loop. *n: in capacity, out entries. Adjacent pieces
 * are merged. 0, -EFAULT (as above, fault emitted), -E2BIG (more than *n entries: use a bounce buffer). Nothing is
 * counted yet: the system call may decline, and the bytes then go another way.
 */
int dma_iov(struct dma_dev *d, iova_t iova, size_t len, bool write, struct iovec *iov, unsigned int *n,
	    const struct dma_tag *tag);

/* Counts and emits a transfer whose bytes went through dma_iov's entries, as dma_read and dma_write do theirs. */
void dma_iov_done(struct dma_dev *d, iova_t iova, size_t len, bool write, const struct dma_tag *tag);

/*
 * For who used dma_iov and learned from the system call (EFAULT) that a page is gone: counts and emits the fault as
 * dma_read would have. Returns -EFAULT.
 */
int dma_fault_emit(struct dma_dev *d, iova_t iova, uint64_t len, bool write, int reason, const struct dma_tag *tag);

/* Formats a fault as one line, without the newline: "[DMA Read] 0000:01:00.0 fault addr 0x1000 (4096 bytes), SQ1 CID 7
 * PRP1: not mapped" */
struct event;
int dma_fault_format(const struct event *ev, char *buf, size_t size);

#endif
