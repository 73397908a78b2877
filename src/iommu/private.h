/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of iommu/.
 *
 * IOTLB. Direct-mapped by 4 KiB page number, but an entry holds the whole seamless stretch of host memory around that
 * page, cut to its area. So a copy that crosses pages needs one lookup, a large area fills every slot in time and then
 * never misses, and many small areas cost no more than they would with an entry per page.
 *
 * Invariant: the entry in slot i was filled for a page whose number is i modulo IOTLB_SLOTS and which lies in the
 * entry's area. So an area of n pages can only be found in n slots, and unmapping a small area looks at few.
 */
#ifndef PINFOLD_IOMMU_PRIVATE_H
#define PINFOLD_IOMMU_PRIVATE_H

#include "base/itree.h"
#include "base/list.h"
#include "base/util.h"
#include "iommu/iommu.h"

#define IOTLB_SLOTS 256UL

struct iotlb_entry {
	uint64_t first; /* IOVA */
	uint64_t size;	/* bytes; 0: empty */
	char *host;
	uint64_t prot;
};

struct area {
	struct itree_node node; /* IOVA */
	uint64_t off;		/* of the area's first byte in pages */
	struct pages *pages;
	struct mm_owner *who;
	int prot;
};

struct reserved {
	struct itree_node node;
};

struct ioas {
	struct itree areas; /* disjoint */
	struct itree reserved;
	struct list devs; /* dma_dev.node */
	struct events *evs;
	uint64_t id;
	unsigned int narea;
};

struct dma_dev {
	struct iotlb_entry tlb[IOTLB_SLOTS];
	struct list node;  /* in ioas->devs */
	struct ioas *ioas; /* NULL: detached */
	bool master;
	uint32_t bdf;
	struct events *evs;
	struct dma_stats stats;
};

static inline struct area *area_of(struct itree_node *n)
{
	return n ? container_of(n, struct area, node) : NULL;
}

static inline struct area *ioas_area(const struct ioas *io, uint64_t iova)
{
	return area_of(itree_find_disjoint(&io->areas, iova));
}

/* Forgets every translation that belongs to the area [first, last]. */
void iotlb_flush_area(struct dma_dev *d, uint64_t first, uint64_t last);

#endif
