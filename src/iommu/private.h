/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of iommu/.
 *
 * IOTLB. Direct-mapped by 4 KiB page number. An entry holds one leaf of the domain's table, or, where leaves are small,
 * the seamless stretch of host memory around the page within its IOTLB_BLOCK; so a copy that crosses pages needs one
 * lookup, a huge leaf fills every slot in time, and many small areas cost no more than they would with an entry per
 * page. What misses there is looked for in a second array, of entries that were filled in the last while, direct-mapped
 * by IOTLB_BLOCK number: a device that goes round more pages than there are slots, as a network card's rings do, finds
 * them there and saves the walk.
 *
 * Invariant: the entry in slot i was filled for a page whose number is i modulo IOTLB_SLOTS, and which lies in the
 * entry; and an entry crosses the border of an aligned IOTLB_BLOCK only if all of it is one leaf (those of a nested
 * domain's requesters may do anything: they are only ever flushed as a whole). So what holds a translation of a range
 * of n pages can only be in the n slots of these pages and in those of the blocks around its ends. The same holds for
 * blocks and their slots.
 *
 * Dirty tracking. While it is on, an entry has IOMMU_WRITE only if its leaf is marked dirty, and holds one leaf: the
 * first write misses and marks. What makes leaves clean flushes.
 */
#ifndef PINFOLD_IOMMU_PRIVATE_H
#define PINFOLD_IOMMU_PRIVATE_H

#include "base/itree.h"
#include "base/list.h"
#include "base/util.h"
#include "iommu/access.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "iommu/iommu.h"
#include "iommu/stage1.h"
#include "iommu/walk.h"
#include "mm/mm.h"

#define IOTLB_SLOTS  256UL
#define IOTLB_BLOCK  (64UL << 10)
#define IOTLB_BLOCKS 256UL

struct iotlb_entry {
	uint64_t first; /* IOVA */
	uint64_t size;	/* bytes; 0: empty */
	char *host;
	uint64_t prot;
};

struct dma_dev {
	struct iotlb_entry tlb[IOTLB_SLOTS];
	struct iotlb_entry blocks[IOTLB_BLOCKS];
	struct list node;   /* in dom->devs */
	struct domain *dom; /* NULL: detached */
	bool master, pri;
	const void *owner;    /* of a function */
	unsigned int in_peer; /* DMA under way in other devices: the function's, and that of its PASIDs */
	uint32_t bdf, moves;
	struct events *evs;
	struct dma_stats stats;
	struct stage1_fault fault; /* of the translation that failed last */
	bool faulted;		   /* it is to be told when the DMA fails for it */
	void *user;
	struct dma_log *log; /* NULL: not kept */
	/* PASIDs */
	uint32_t pasid;		      /* 0: a function */
	struct dma_dev *function;     /* NULL: it is one */
	struct itree_node pasid_node; /* in function->pasids */
	unsigned int pasid_bits;      /* of a function, as what follows */
	struct itree pasids;	      /* by number: those that are attached */
	struct dma_dev *stray;	      /* for all that are not; NULL: there are no PASIDs. Attached to what the function
				       * is attached to if that takes PASIDs, else to nothing */
};

/* log.c: d->log is there, and d has written. */
void log_write(struct dma_dev *d, uint64_t iova, uint64_t len);

/* ---- domains ---- */

struct table;

struct domain {
	struct domain_config cfg;
	struct table *table;   /* NULL: nested */
	struct ioas *ioas;     /* NULL: in none */
	struct list node;      /* in ioas->domains */
	struct list devs;      /* dma_dev.node */
	struct domain *parent; /* NULL: paging */
	struct list children;  /* of a paging one; sibling */
	struct list sibling;
	struct walk_config walk;
	bool walks;			 /* walk is good to walk with */
	const struct stage1_ops *stage1; /* NULL: walk is all there is */
	void *stage1_ctx;
	bool tracking;
	struct itree pins; /* follow.c: by IOVA */
	domain_take_fn *take;
	void *take_ctx;
	struct events *evs;
};

/* For an area's stretch: 0 or -ENOMEM, and nothing has changed. Of a paging domain, as all up to domain_flush. */
int domain_map(struct domain *d, uint64_t iova, char *host, uint64_t len, int prot, bool large);
/* Takes translations away, and flushes them from every IOTLB that may have one. */
void domain_unmap(struct domain *d, uint64_t iova, uint64_t len);
/* The same for the table alone: domain_flush(d, 0, UINT64_MAX) has to follow. */
void domain_unmap_quiet(struct domain *d, uint64_t iova, uint64_t len);
void domain_flush(struct domain *d, uint64_t first, uint64_t last);
/* Fills *e with a translation for iova; need: IOMMU_READ or IOMMU_WRITE. 0, or why there is none (enum dma_fault). Of a
 * paging domain. */
int domain_translate(struct domain *d, uint64_t iova, unsigned int need, struct iotlb_entry *e);
/* The same for a requester that is attached to a nested one, and keeps what its first stage had against it. */
int nested_translate(struct dma_dev *who, uint64_t iova, unsigned int need, struct iotlb_entry *e);
/* What the client's table says: the parent's address for iova, and how far it goes on from there. 0 or -EFAULT. */
int nested_resolve(const struct dma_dev *who, uint64_t iova, unsigned int need, uint64_t *addr, uint64_t *reach);
uint64_t domain_event_id(const struct domain *d); /* of its space; 0: none */

/* follow.c: of a following domain. Pins the page and puts it into the table. 0, or why there is none. */
int follow_fault(struct domain *d, uint64_t iova, unsigned int need);
/* Drops the pins of [first, last], to which no translation leads any more. */
void follow_unpin(struct domain *d, uint64_t first, uint64_t last);

/* pasid.c */
void pasids_set_master(struct dma_dev *d, bool on);
void pasids_count(struct dma_dev *d); /* adds what they did to d->stats */
void pasids_free(struct dma_dev *d);
void pasids_attached(struct dma_dev *d); /* what the function is attached to has changed */

/* Forgets every translation that leads out of [first, last]. */
void iotlb_flush_range(struct dma_dev *d, uint64_t first, uint64_t last);
void iotlb_flush(struct dma_dev *d);
void dma_attach_emit(const struct dma_dev *d); /* EVENT_ATTACH: which space it uses now */

/* ---- spaces ---- */

struct area {
	struct itree_node node; /* IOVA */
	struct ioas *io;	/* from when it is there for all to see */
	struct page_pin pin;	/* held while the space has a domain */
	struct pages *pages;
	uint64_t off;	     /* of the area's first byte in pages */
	struct area *next;   /* while it is being made */
	unsigned int nholds; /* pins of accesses */
	unsigned int nlocks; /* those of accesses that cannot be told to let go */
	uint8_t prot;
	bool going; /* accesses are being told to let go */
};

/*
 * What automatic placement has learned: a place for len bytes or more, aligned to align or more at this offset in a
 * page, that ends before from, is not there.
 */
struct place_hint {
	uint64_t len, align, page_off;
	uint64_t from;
};

struct ioas {
	struct itree areas;    /* disjoint */
	struct itree reserved; /* may overlap each other */
	struct itree allowed;  /* disjoint */
	struct allowed *allowed_nodes;
	struct list domains, accesses;
	unsigned int npinning; /* of the accesses */
	struct place_hint hint;
	uint64_t alignment;
	bool small_pages;
	bool follows; /* for good */
	struct events *evs;
	uint64_t id;
	unsigned int narea;
	unsigned int npeers; /* of these, areas of peer memory, revoked or not */
};

static inline struct area *area_of(struct itree_node *n)
{
	return n ? container_of(n, struct area, node) : NULL;
}

static inline uint64_t area_len(const struct area *a)
{
	return a->node.last - a->node.start + 1;
}

static inline struct area *ioas_area(const struct ioas *io, uint64_t iova)
{
	return area_of(itree_find_disjoint(&io->areas, iova));
}

/* The byte of a's pages that iova stands for. */
static inline uint64_t area_off(const struct area *a, uint64_t iova)
{
	return a->off + (iova - a->node.start);
}

/* Pins a; nothing if it is. pages_pin's errors. */
int area_pin(struct area *a);
void area_unpin(struct area *a);
/* Puts a's translations into d's table. 0 or -ENOMEM (and none is there). */
int area_fill(const struct area *a, struct domain *d, bool large);

/* As ioas_map, but nothing is pinned: of a space that follows. */
int area_map_promise(struct ioas *io, uint64_t iova, uint64_t len, struct pages *p, uint64_t off, int prot);
/* The part of a in [first, last], of a space that follows, is no promise any more. Frees a if nothing is left. */
void area_forget(struct ioas *io, struct area *a, uint64_t first, uint64_t last);
/* peer.c: may whoever is attached to d, or to what is nested in it, reach a? 0 or -EREMOTEIO. */
int area_admits_domain(struct ioas *io, const struct area *a, const struct domain *d);
void area_revoked(struct page_pin *pin);
/* For what cannot be copied because it has no address: moves as much of it as is one device's. 0: it is nobody's. */
size_t dma_peer(struct dma_dev *d, uint64_t iova, char *buf, size_t len, bool write);
/* More exactly, if more is known. */
int dma_fault_reason(const struct dma_dev *d, uint64_t iova, int reason);

/* Reckon with an access, before it is in io->accesses. 0 or -EADDRINUSE. */
int ioas_add_access(struct ioas *io, bool pins);
void ioas_remove_access(struct ioas *io, bool pins);

/* place.c: where automatic placement would put len bytes whose first has this client address. -ENOSPC, -EINVAL,
 * -EOVERFLOW. */
int ioas_place(struct ioas *io, uint64_t va, uint64_t len, uint64_t *iova);
void ioas_place_freed(struct ioas *io, uint64_t first); /* an area from there on is gone */
void ioas_place_forget(struct ioas *io);

/* Tells the accesses to let go of [iova, iova + len). */
void access_notify(struct ioas *io, uint64_t iova, uint64_t len);

#endif
