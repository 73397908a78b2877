/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A CPU user of an IOVA space: a mediated device in the broker, which reads and writes at IOVAs, and pins ranges that
 * it wants to keep (the kernel's iommufd_access).
 *
 * Unmapping does not wait for it (rule C1): its unmap callback has to let go of everything in the range before it
 * returns, and while that goes on pins and accesses there are refused.
 */
#ifndef PINFOLD_IOMMU_ACCESS_H
#define PINFOLD_IOMMU_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "iommu/iommu.h"

struct access;
struct ioas;
struct page_ref;

struct access_ops {
	bool pins; /* uses access_pin: the space's alignment is then at least a page */
	/* Every pin that overlaps [iova, iova + len) must be gone when it returns. NULL: what is pinned cannot be
	 * unmapped (EBUSY), and goes before the access moves. */
	void (*unmap)(void *ctx, uint64_t iova, uint64_t len);
};

struct access *access_new(const struct access_ops *ops, void *ctx); /* NULL: out of memory */
void access_free(struct access *a);				    /* detached, or it detaches; no pin may be left */
/*
 * Moves the access to another space; NULL: to none. Pins in the old one are taken back through unmap first.
 * -EADDRINUSE (an area of the new space is misaligned for a pinning access), -ENOMEM: it stays where it was.
 */
int access_attach(struct access *a, struct ioas *io);
struct ioas *access_ioas(const struct access *a);
const struct access_ops *access_ops(const struct access *a);
void *access_ctx(const struct access *a);

enum { ACCESS_WRITE = 1, ACCESS_SLOW_PATH = 4 }; /* as IOMMUFD_ACCESS_RW_* */

/*
 * Pins [iova, iova + len), which may span adjacent areas; refs (may be NULL) gets one entry per page: what names the
 * page behind it. -EINVAL (len 0, not page aligned within its pages, or being unmapped), -EOVERFLOW, -ENOENT (a hole,
 * or in no space), -EPERM (write, and an area or the pages are read-only), -EFAULT, -ENOMEM. On error nothing is
 * pinned.
 */
int access_pin(struct access *a, iova_t iova, uint64_t len, struct page_ref *refs, unsigned int flags);
/* Exactly what an access_pin pinned. */
void access_unpin(struct access *a, iova_t iova, uint64_t len);
/* Copies. -ENOENT, -EPERM, -EINVAL as access_pin; -EFAULT: a page is gone; what came before has been moved. */
int access_rw(struct access *a, iova_t iova, void *buf, size_t len, unsigned int flags);

#endif
