/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An IOVA space (the kernel's io_pagetable): what its owner wants mapped, apart from who translates it.
 *
 *   area     an IOVA slice of pages. Areas never overlap.
 *   domain   translations of its own (domain.h). Every domain of a space holds every area of it, always.
 *   access   a CPU user (access.h), which pins single ranges.
 *   reserved ranges that must not be mapped, each tagged with the owner that goes with it (a device, a domain).
 *   allowed  if there are any: what automatic placement must keep to and what no reservation may cut.
 *
 * Lazy pinning. In a space without a domain an area is only a promise: nothing is pinned, a hole in the client's memory
 * goes unnoticed. The first domain pins every area, and fails as a whole if one cannot be pinned.
 *
 * Order on every removal, partial failure included (rule A3): translations go from the domains' tables, IOTLBs are
 * flushed, then pins go.
 *
 * Nothing here blocks, knows a socket, or keeps a global. Everything is owned by one thread. Sizes and addresses are
 * bytes; "last" is inclusive. Errnos are those of Linux 6.12 drivers/iommu/iommufd.
 */
#ifndef PINFOLD_IOMMU_IOAS_H
#define PINFOLD_IOMMU_IOAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "iommu/iommu.h"

struct domain;
struct ioas;
struct mm_owner;
struct pages;

struct ioas *ioas_new(struct events *evs); /* NULL: out of memory */
void ioas_free(struct ioas *io);	   /* unmaps everything; no domain and no access may be left */
uint64_t ioas_id(const struct ioas *io);   /* unique in this process; for events and reports */

/* ---- what may be mapped ---- */

struct iova_range {
	uint64_t first, last;
};
/* -EADDRINUSE (an area or an allowed range is there), -EINVAL (first > last), -ENOMEM. */
int ioas_reserve(struct ioas *io, uint64_t first, uint64_t last, const void *owner);
void ioas_unreserve(struct ioas *io, const void *owner);
/*
 * Replaces the allowed ranges as a whole. -EINVAL (first >= last, overlap), -EADDRINUSE (a reserved range is cut),
 * -ENOMEM: nothing has changed.
 */
int ioas_allow(struct ioas *io, const struct iova_range *r, size_t n);
/* Calls fn for each range that is not reserved, in order. */
void ioas_ranges(struct ioas *io, void (*fn)(void *ctx, uint64_t first, uint64_t last), void *ctx);
/*
 * What IOVA, length and the offset in a page must be a multiple of: 1 without a domain; else the largest of the
 * domains' smallest pages, and the page size while an access that pins is there or large pages are off.
 */
uint64_t ioas_alignment(const struct ioas *io);
bool ioas_large_pages(const struct ioas *io);
/* IOMMU_OPTION_HUGE_PAGES. -EINVAL (off, and there are a domain and areas), -EADDRINUSE (an area is misaligned). */
int ioas_set_large_pages(struct ioas *io, bool on);

/* ---- areas ---- */

/*
 * Maps [iova, iova + len) to [off, off + len) of p, and takes its own reference to p. With a domain it pins, then
 * publishes. prot may be 0. -EINVAL (len 0, misaligned, reserved), -EEXIST (overlap), -EOVERFLOW (wraps), -EPERM
 * (write, and the pages are not writable), -EFAULT (they cannot be pinned), -EREMOTEIO (memory of a device that one of
 * those attached may not reach, rule B2), -ENOMEM (limit or memory). On error nothing has changed.
 */
int ioas_map(struct ioas *io, iova_t iova, uint64_t len, struct pages *p, uint64_t off, int prot);
/* For reports: a client asked for that and was refused; it was told err, which is returned. */
int ioas_refused(const struct ioas *io, iova_t iova, uint64_t len, uint64_t va, int err);
/* For reports: a client asked to unmap that. */
void ioas_unmap_asked(const struct ioas *io, uint64_t iova, uint64_t len, uint64_t unmapped, int err);
/* Would ioas_map find [iova, iova + len) free? 0, -EINVAL, -EOVERFLOW, -EEXIST as above. */
int ioas_check_free(const struct ioas *io, iova_t iova, uint64_t len);
/*
 * As ioas_map, at an IOVA of the engine's choice: never 0, aligned as far as helps huge pages (the power of two at or
 * above len, at most what the client's address is aligned to and a huge page), at the offset in a page that the
 * client's address has; in an allowed range if there are any, else in a hole. -ENOSPC. *iova is written on success
 * only.
 */
int ioas_map_auto(struct ioas *io, iova_t *iova, uint64_t len, struct pages *p, uint64_t off, int prot);
/*
 * Maps what src has at [src_iova, src_iova + len), which may be several adjacent areas, into dst too: pages are shared,
 * pinned once and charged once. automatic: *dst_iova is output. dst may be src. -ENOENT (a hole in the source),
 * -EINVAL, -EOVERFLOW, and as ioas_map. On error nothing has changed.
 */
int ioas_copy(struct ioas *dst, iova_t *dst_iova, bool automatic, struct ioas *src, iova_t src_iova, uint64_t len,
	      int prot);

/*
 * Unmaps the areas in [first, last], from below. *unmapped: the bytes that went, on error too. An area that straddles a
 * border ends it with -ENOENT, after those below have gone. Accesses that hold an area are told to let go; -EDEADLOCK
 * if one does not, -EBUSY if one cannot be told. No area is success with 0. Never allocates.
 */
int ioas_unmap(struct ioas *io, uint64_t first, uint64_t last, uint64_t *unmapped);

/* Cuts areas so that none straddles an address of at[], unless it is an area's second byte. -EINVAL (accesses, or large
 * pages on), -ENOMEM. */
int ioas_cut(struct ioas *io, const uint64_t *at, size_t n);

/* True if any area lies in [first, last]. */
bool ioas_overlaps(struct ioas *io, uint64_t first, uint64_t last);
unsigned int ioas_area_count(const struct ioas *io);
struct ioas_area_info {
	uint64_t iova, len, va;
	int prot;
	struct pages *pages; /* borrowed */
	uint64_t off;	     /* of the area's first byte in pages */
};
/* The first area that ends at or after iova; false if none. */
bool ioas_next(struct ioas *io, uint64_t iova, struct ioas_area_info *info);

/* ---- following an address space (rule E3) ---- */

/*
 * A space follows from its first following domain on, and for good: that domain must come first, into a space without
 * areas and accesses, and no domain and access of another kind can come later (-EINVAL).
 */
bool ioas_follows(const struct ioas *io);
/*
 * [off, off + len) of p, as its owner's process has it now, where it has it. Nothing is pinned. p describes memory that
 * has not changed since; whoever changes it calls ioas_forget before anybody can rely on the change. Errors as of
 * ioas_map, which is refused here (-EINVAL), and -EINVAL for a space that does not follow and for a file's pages.
 */
int ioas_follow_map(struct ioas *io, uint64_t len, struct pages *p, uint64_t off, int prot);
/*
 * What who has at [first, last] changes, or may have: no translation leads there any more, and nothing of it is pinned.
 * What an area has outside of the range stays, if there is memory to remember it with. Nothing happens where the space
 * does not follow.
 */
void ioas_forget(struct ioas *io, const struct mm_owner *who, uint64_t first, uint64_t last);

/* ---- domains ---- */

/*
 * Reserves what lies outside the domain's aperture (tagged with it), pins every area and fills the domain's table.
 * -EADDRINUSE (an area or allowed range lies outside, or is misaligned for the domain), -EFAULT, -EREMOTEIO, -ENOMEM:
 * nothing has changed. The domain is in one space at most.
 */
int ioas_add_domain(struct ioas *io, struct domain *d);
/* Empties the table, then drops pins that nobody else holds. Never fails. */
void ioas_remove_domain(struct ioas *io, struct domain *d);

#endif
