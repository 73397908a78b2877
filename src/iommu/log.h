/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of a requester's writes: which 4 KiB pages of some ranges of IOVA it has written to, whatever they are mapped
 * to. It is the device's own, beside the dirty bits of domains (domain.h), which several devices share.
 *
 * It takes memory where there are writes, and not for the ranges. Where there is none left for it, everything counts as
 * written until the log is started anew: a write is never lost.
 */
#ifndef PINFOLD_IOMMU_LOG_H
#define PINFOLD_IOMMU_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "iommu/ioas.h"

/* -EINVAL (it has been started; ranges overlap), -ENOMEM. Bounds of ranges need not be of pages. */
int dma_log_start(struct dma_dev *d, const struct iova_range *ranges, size_t n);
void dma_log_stop(struct dma_dev *d);
bool dma_log_active(const struct dma_dev *d);
/* The first address in [first, last] on a page that was written. False: there is none. */
bool dma_log_next(const struct dma_dev *d, uint64_t first, uint64_t last, uint64_t *at);
/* Calls fn for each stretch of whole pages in [first, last] that was written, in order; clear: forgets them. */
void dma_log_read(struct dma_dev *d, uint64_t first, uint64_t last, bool clear,
		  void (*fn)(void *ctx, uint64_t first, uint64_t last), void *ctx);

#endif
