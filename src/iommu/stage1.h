/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first stage of a nested domain where it is more than one table of the client's: which of them a request is
 * translated with is looked up in structures that the client has in its memory, too (smmu.h).
 */
#ifndef PINFOLD_IOMMU_STAGE1_H
#define PINFOLD_IOMMU_STAGE1_H

#include <stdbool.h>
#include <stdint.h>

#include "iommu/walk.h"

struct dma_dev;

/* How a request is translated. */
struct stage1_way {
	bool bypass;		 /* its address is the parent's already; else: */
	uint64_t iova;		 /* the address to walk with: of the same offset in a page */
	struct walk_config walk; /* has passed walk_config_check */
};

/*
 * A request that the first stage refused. A walk's fault is one of the first stage unless the kind is WALK_TABLE: then
 * the parent did not let the table be read.
 */
struct stage1_fault {
	uint64_t iova;
	bool write;
	int code; /* find's; 0: walk is meant */
	struct walk_fault_info walk;
};

struct stage1_ops {
	/*
	 * How a request of who at iova is translated. mem reaches the client's structures, which may change at any time
	 * and say anything. 0 and *way; or why not (enum dma_fault), and in *code a number of the stage's own for that.
	 */
	int (*find)(void *ctx, const struct walk_mem *mem, const struct dma_dev *who, uint64_t iova,
		    struct stage1_way *way, int *code);
	/* A DMA of who has failed for that reason. */
	void (*failed)(void *ctx, const struct dma_dev *who, const struct stage1_fault *f);
	/* Requests under a PASID that nothing is attached to are this domain's, if their function is attached to it. */
	bool pasids;
};

#endif
