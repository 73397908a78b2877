/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A domain: a set of translations that requesters are attached to (the kernel's iommu_domain).
 *
 *   paging   has a table of its own (table.h), filled by the one IOVA space that it is in.
 *   following  is a paging one whose table is filled page by page, by the requesters' misses (follow.c, rule E3).
 *   nested   translates through tables in client memory first (walk.h, stage1.h) and then through its parent, a paging
 *domain (rule E1). What it has cached of the client's table is used until it is invalidated and not after (E2).
 *
 * Invariant: a translation in a requester's IOTLB is in its domain's table; what leaves the table is flushed from the
 * IOTLBs of all that translate through it, nested children's included, before the caller goes on.
 */
#ifndef PINFOLD_IOMMU_DOMAIN_H
#define PINFOLD_IOMMU_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "iommu/iommu.h"

struct domain;
struct ioas;
struct stage1_ops;
struct walk_config;

/* What the IOMMU unit can do for a paging domain. */
struct domain_config {
	uint64_t first, last; /* the aperture */
	uint64_t pgsizes;     /* bitmap; the lowest bit is the smallest page */
	bool dirty;	      /* can track dirty pages */
	bool follows;	      /* a process's address space: IOVA = VA, pages are pinned when a device needs them (E3) */
};

struct domain *domain_new(const struct domain_config *cfg, struct events *evs); /* NULL: out of memory */
/* parent must outlive it. walk is copied; NULL: a table format that only a test knows, which translates nothing. */
struct domain *domain_new_nested(struct domain *parent, const struct walk_config *walk);
/* Of a nested domain that nothing is attached to: its first stage is this instead (stage1.h). ctx must outlive it. */
void domain_set_stage1(struct domain *d, const struct stage1_ops *ops, void *ctx);
void domain_free(struct domain *d); /* in no space; no requester and no nested domain may be left */

const struct domain_config *domain_config(const struct domain *d); /* a nested one's parent's */
struct ioas *domain_ioas(const struct domain *d);		   /* NULL: in none; a nested one's parent's */
bool domain_nested(const struct domain *d);
/* Forgets what has been cached of a nested domain's stage-1 table for [first, last]. */
void domain_invalidate(struct domain *d, uint64_t first, uint64_t last);

/* May dev be attached, as far as peer memory in the space is concerned (rule B2)? 0 or -EREMOTEIO. */
int domain_admits(const struct domain *d, struct dma_dev *dev);

struct domain_leaf {
	uint64_t iova, size; /* of the seamless stretch that was found */
	char *host;
	int prot;
};
/* The translation of a paging domain for iova. False: none. */
bool domain_walk(struct domain *d, uint64_t iova, struct domain_leaf *out);

/*
 * Who takes page requests of those that are attached: take keeps r, in a place that r->holder tells, until it answers
 * (0), or declines (-errno). NULL: nobody.
 */
typedef int domain_take_fn(void *ctx, struct dma_request *r);
void domain_set_requests(struct domain *d, domain_take_fn *take, void *ctx);

/* ---- dirty tracking ---- */
/* -EOPNOTSUPP (not offered). Turning it on starts with everything clean. */
int domain_set_dirty_tracking(struct domain *d, bool on);
bool domain_dirty_tracking(const struct domain *d);
/* As a device's write would: for DMA that goes around dma_write (and for the test interface). */
void domain_mark_dirty(struct domain *d, uint64_t iova, uint64_t len);
/*
 * Calls fn for each stretch in [iova, iova + len) written since it was last cleared, in order, whole leaves of the
 * table at the least; and clears it, unless keep. What is not mapped is skipped. fn NULL: nobody wants to know.
 */
void domain_read_dirty(struct domain *d, uint64_t iova, uint64_t len, bool keep,
		       void (*fn)(void *ctx, uint64_t iova, uint64_t len), void *ctx);
/*
 * The same as a bitmap: ORs bit (x - iova) >> shift into bits for each dirty x in the range, which is aligned to the
 * smallest page (else nothing happens). bits holds len >> shift bits, rounded up to words. Return: is anything dirty?
 */
bool domain_read_dirty_bitmap(struct domain *d, uint64_t iova, uint64_t len, bool keep, unsigned int shift,
			      uint64_t *bits);

#endif
