/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A requester, and the only way in which a device reaches memory.
 *
 *   ioas (ioas.h)      an IOVA space: which IOVA stands for which client memory.
 *   domain (domain.h)  translations, made from a space; what requesters are attached to.
 *   access (access.h)  a CPU user of a space.
 *   dma_dev	        one requester (a PCI function, or one of its PASIDs): which domain it is attached to, its
 *                      IOTLB, whether it may master the bus.
 *   dma_request        a page that a requester has asked for (request.c).
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
/* Whose requester it is, for who decides what it may reach (mm/peer.h). NULL until it is said; a PASID's is its
 * function's. */
void dma_dev_set_owner(struct dma_dev *d, const void *owner);
/* Is DMA of its own under way that other devices are answering right now? What would have it act has to wait then. */
bool dma_dev_in_peer(const struct dma_dev *d);
uint32_t dma_dev_moves(const struct dma_dev *d);	  /* changes when what it is attached to does; never 0 */
struct domain *dma_dev_domain(const struct dma_dev *d);	  /* NULL: detached */
void dma_dev_set_master(struct dma_dev *d, bool on);	  /* PCI_COMMAND.BUS_MASTER; off: every DMA faults */
const struct dma_stats *dma_dev_stats(struct dma_dev *d); /* with those of its PASIDs */
/* Whose requester it is at present, for who takes its page requests. */
void dma_dev_set_user(struct dma_dev *d, void *user);
void *dma_dev_user(const struct dma_dev *d); /* a PASID's is its function's */

/* ---- PASIDs (PCI Express Base 4.0 section 6.20) ---- */
/*
 * What a function sends under a PASID comes from a requester of its own, with a domain, an IOTLB and faults of its own,
 * which master the bus as the function does. So requests without a PASID cost what they would if there were none.
 * PASID 0 is the function itself.
 */
int dma_dev_set_pasid_bits(struct dma_dev *d, unsigned int bits); /* before the first use of one. 0 or -ENOMEM */
unsigned int dma_dev_pasid_bits(const struct dma_dev *d);	  /* 0: it has none */
/*
 * The requester for a PASID of a function that has some, until this is asked again. Where nothing is attached to the
 * PASID it is the function's own page table that decides, if that knows PASIDs (stage1.h); else every DMA faults.
 */
struct dma_dev *dma_dev_pasid(struct dma_dev *d, uint32_t pasid);
uint32_t dma_dev_pasid_number(const struct dma_dev *d); /* 0: it is a function */
/* Replaces what was attached, which cannot fail. 0, or -ENOMEM and nothing has changed. */
int dma_pasid_attach(struct dma_dev *d, uint32_t pasid, struct domain *dom);
void dma_pasid_detach(struct dma_dev *d, uint32_t pasid);

/* Why a DMA failed: the error of EVENT_FAULT. The caller of dma_* sees -EFAULT for all of them, as a device does. */
enum dma_fault {
	DMA_FAULT_UNMAPPED = ENOENT,   /* no area there */
	DMA_FAULT_PERMISSION = EACCES, /* an area without the permission asked for */
	DMA_FAULT_MASTER = EPERM,      /* PCI_COMMAND.BUS_MASTER is off */
	DMA_FAULT_DETACHED = ENODEV,   /* attached to no domain */
	DMA_FAULT_GONE = EIO,	       /* the page is no longer there: its file was truncated, or memory ran out */
	DMA_FAULT_REVOKED = ESTALE,    /* memory of a device that has taken it back */
	DMA_FAULT_WRAP = EOVERFLOW,    /* the request runs past the last address; reported at its first */
	DMA_FAULT_LIMIT = ENOMEM,      /* the page would have to be pinned now, and its owner may pin no more (B1) */
	DMA_FAULT_CONFIG = EINVAL, /* what the owner says of the requester in its own memory is wrong, or refuses it */
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

/* ---- page requests (PCI Express Base 4.0 chapter 10) ---- */
/*
 * A translation request: could a transfer be made now? 0, or why not (enum dma_fault) and where. Nothing is reported.
 * With DMA_FAULT_UNMAPPED and DMA_FAULT_PERMISSION it may help to ask for the page.
 */
int dma_probe(struct dma_dev *d, iova_t iova, size_t len, bool write, iova_t *at);

/*
 * A page that has been asked for; part of whoever asks. done is called once: true, and the transfer should be tried
 * again, or false: there will be no page. What is attached may be changing just then: done takes note, and goes on in a
 * later turn of the loop, where it may ask anew.
 */
struct dma_request {
	void (*done)(struct dma_request *r, bool ok);
	/* For who takes requests. */
	struct dma_dev *d;
	iova_t iova;
	int prot;
	struct dma_request **holder; /* where who took it points at it; NULL: it is not under way */
};
void dma_dev_set_pri(struct dma_dev *d, bool on); /* it has the capability */
bool dma_dev_pri(const struct dma_dev *d);
/* prot: what is needed. 0, or -ENODEV: nobody takes requests for what d is attached to, or it may not master the bus.
 */
int dma_request_page(struct dma_dev *d, iova_t iova, int prot, struct dma_request *r);
/* done will not be called. Nothing happens if it is not under way. */
void dma_request_cancel(struct dma_request *r);
/* By who took it, which lets go of it. */
void dma_request_answer(struct dma_request *r, bool ok);

/* Formats a fault as one line, without the newline: "[DMA Read] 0000:01:00.0 fault addr 0x1000 (4096 bytes), SQ1 CID 7
 * PRP1: not mapped" */
struct event;
int dma_fault_format(const struct event *ev, char *buf, size_t size);
/* Likewise an access that is none: "[DMA Read] 0000:01:00.0 addr 0x1000 (4096 bytes), SQ1 CID 7 PRP1" */
int dma_access_format(const struct event *ev, char *buf, size_t size);
/* " SQ1 CID 7 PRP1", or nothing. */
int dma_tag_format(const struct dma_tag *t, char *buf, size_t size);

#endif
