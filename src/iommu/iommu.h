/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The software IOMMU: IOVA spaces, and the only way in which a device reaches memory.
 *
 *   ioas      an IOVA space: areas (IOVA slice -> pages slice) in an interval tree, reserved ranges, attached devices.
 *   dma_dev   one requester (a PCI function): which ioas it is attached to, its IOTLB, whether it may master the bus.
 *
 * Invariants. Areas never overlap. A translation in any IOTLB belongs to an area that is in the tree (A3: unmap flushes
 * the IOTLB of every attached device before it unpins). No function here blocks, knows a socket, or keeps a global.
 * Everything is owned by one thread (ARCHITECTURE.md, "One thread").
 */
#ifndef PINFOLD_IOMMU_IOMMU_H
#define PINFOLD_IOMMU_IOMMU_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ioas;
struct dma_dev;
struct dma_tag;
struct events;
struct mm_owner;
struct pages;

/* An I/O virtual address. A struct, so that it does not add to a pointer or an offset by accident. */
typedef struct {
	uint64_t a;
} iova_t;
#define IOVA(x) ((iova_t){(x)})

enum { IOMMU_READ = 1, IOMMU_WRITE = 2 }; /* what the device may do */

/* ---- IOVA space ---- */
struct ioas *ioas_new(struct events *evs); /* NULL: out of memory */
void ioas_free(struct ioas *io);	   /* unmaps everything; no device may be attached */
uint64_t ioas_id(const struct ioas *io);   /* unique in this process; for events and reports */

/* Reserved ranges (the MSI window, what lies past an aperture): -EADDRINUSE if an area is there. last is inclusive. */
int ioas_reserve(struct ioas *io, uint64_t first, uint64_t last);
/* Calls fn for each usable range, in order. */
void ioas_ranges(struct ioas *io, void (*fn)(void *ctx, uint64_t first, uint64_t last), void *ctx);

/*
 * Maps [iova, iova + len) to pages [off, off + len): pins, charged to who, then publishes. Keeps its own reference to p
 * and who. -EINVAL (len 0, misaligned to 4 KiB, wraps, no permission bit, reserved), -EEXIST (overlap), -EFAULT (write
 * to read-only pages), -ENOMEM (limit or memory). On error nothing has changed.
 */
int ioas_map(struct ioas *io, iova_t iova, uint64_t len, struct pages *p, uint64_t off, int prot, struct mm_owner *who);

/* True if any area lies in [first, last]. */
bool ioas_overlaps(struct ioas *io, uint64_t first, uint64_t last);
unsigned int ioas_area_count(const struct ioas *io);

struct ioas_area_info {
	uint64_t iova, len, va;
	int prot;
};
/* The first area that ends at or after iova; false if none. */
bool ioas_next(struct ioas *io, uint64_t iova, struct ioas_area_info *info);

/*
 * Unmaps every area that lies wholly in [first, last]; *unmapped gets the bytes removed. An area that straddles a
 * border is -EINVAL and nothing is unmapped. Zero areas is success with 0. Never allocates. IOTLBs are flushed before
 * pins go.
 */
int ioas_unmap(struct ioas *io, uint64_t first, uint64_t last, uint64_t *unmapped);
void ioas_unmap_all(struct ioas *io, uint64_t *unmapped);

/* ---- a requester ---- */
struct dma_stats {
	uint64_t reads, writes, read_bytes, write_bytes, faults, iotlb_hits, iotlb_misses;
};

struct dma_dev *dma_dev_new(uint32_t bdf, struct events *evs);
void dma_dev_free(struct dma_dev *d);			 /* detaches */
void dma_dev_attach(struct dma_dev *d, struct ioas *io); /* replaces; flushes the IOTLB; cannot fail */
void dma_dev_detach(struct dma_dev *d);
void dma_dev_set_master(struct dma_dev *d, bool on); /* PCI_COMMAND.BUS_MASTER; off: every DMA faults */
const struct dma_stats *dma_dev_stats(const struct dma_dev *d);

/* Why a DMA failed: the error of EVENT_FAULT. The caller of dma_* sees -EFAULT for all of them, as a device does. */
enum dma_fault {
	DMA_FAULT_UNMAPPED = ENOENT,   /* no area there */
	DMA_FAULT_PERMISSION = EACCES, /* an area without the permission asked for */
	DMA_FAULT_MASTER = EPERM,      /* PCI_COMMAND.BUS_MASTER is off */
	DMA_FAULT_DETACHED = ENODEV,   /* attached to no ioas */
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
