/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client memory: what a device may reach, and who pays for it.
 *
 *   backing  a file that holds client pages: a memfd of the boundary's, or a tmpfs/hugetlbfs file that the client
 *            maps. The broker maps it too, so that DMA is a memcpy. One per (device, inode), shared, cached while
 *            idle up to a limit.
 *   pages    a linear run of client memory [0, len) as slices of backings, in client address order. Immutable once
 *            built. Shared by every area made from it; freed with the last reference.
 *   owner    the process (or user) that is charged for pins, with its RLIMIT_MEMLOCK.
 *
 * Invariants. A byte is reachable by DMA only while its pages hold a pin (A1). Charging precedes reachability
 * (B1). The unpinning side never fails and never allocates (C5). A backing's file may be truncated by a hostile
 * client at any time: every access goes through guard_copy or is made by the kernel (preadv), which answers EFAULT.
 */
#ifndef PINFOLD_MM_MM_H
#define PINFOLD_MM_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct backing;
struct backing_cache;
struct pages;
struct mm_owner;
struct events;

/* ---- backing ---- */
struct backing_cache *backing_cache_new(size_t idle_bytes_max, unsigned int idle_max);
void backing_cache_free(struct backing_cache *c); /* all pages must be gone */
/* Lets go of every idle backing: for when a client has ended, so that its memory goes back to the system. */
void backing_cache_trim(struct backing_cache *c);

/*
 * The backing for an open file, a new reference. The cache keeps its own duplicate of fd. Accepted are regular files on
 * tmpfs or hugetlbfs (memfds are both): no other file can be touched without waiting for somebody.
 * Returns 0, -EFAULT (not such a file), -ENOMEM, -EMFILE.
 */
int backing_get_fd(struct backing_cache *c, int fd, struct backing **b);
/*
 * The backing already known under (dev, ino), a new reference; NULL if there is none. If the file was shown both
 * read-only and writable, the writable one. That some client has shown the file gives another one no right to it: the
 * caller checks that this client did, and with what access.
 */
struct backing *backing_find(struct backing_cache *c, dev_t dev, ino_t ino);
/*
 * What a backing is known by. A session that remembers the keys of what its client has shown, and asks by key, gives
 * the client neither a file nor an access that only another client has; and it learns the key without calling fstat()
 * on a descriptor of unknown kind, which a FUSE server could make wait.
 */
struct backing_key {
	dev_t dev;
	ino_t ino;
	bool writable;
};
struct backing_key backing_key(const struct backing *b);
/* The backing with exactly this key, a new reference; NULL if there is none. */
struct backing *backing_find_key(struct backing_cache *c, struct backing_key key);
void backing_put(struct backing *b);

/* ---- pages ---- */
struct page_slice {
	struct backing *backing; /* reference taken by pages_new */
	uint64_t offset;	 /* byte offset in the file, page aligned */
	uint64_t len;		 /* bytes, page aligned */
	bool writable;		 /* the client itself may write there */
};

/*
 * Pages for client addresses [va, va + sum of len). va is page aligned.
 * Returns 0, -EINVAL (empty, misaligned, overflow), -EFAULT (a slice beyond the end of its file, or said to be writable
 * in a file that was shown read-only), -ENOMEM.
 */
int pages_new(uint64_t va, const struct page_slice *s, size_t n, struct pages **out);
struct pages *pages_get(struct pages *p);
void pages_put(struct pages *p);
uint64_t pages_va(const struct pages *p);
uint64_t pages_len(const struct pages *p);
bool pages_writable(const struct pages *p, uint64_t off, uint64_t len); /* every slice in the range */

/*
 * Pins: charges the owner for every page in [off, off + len), breaks nothing, touches nothing. write: the pin is for a
 * device that writes; -EFAULT if a slice is not writable. Returns 0, -EINVAL (not within the pages), -ENOMEM (limit:
 * the charge is unchanged).
 */
int pages_pin(struct pages *p, uint64_t off, uint64_t len, bool write, struct mm_owner *who);
void pages_unpin(struct pages *p, uint64_t off, uint64_t len, struct mm_owner *who);

/*
 * The broker's address of byte off, and in *contig how many bytes follow it without a seam (0: not reachable; then
 * NULL). Valid while a pin is held, for the length of one call (never stored beyond an IOTLB that unmap flushes).
 */
void *pages_ptr(struct pages *p, uint64_t off, uint64_t *contig);
/*
 * The whole seamless stretch that holds byte off: its address, its offset in *start, its bytes in *len. NULL (nothing
 * written) past the end. Validity as above.
 */
void *pages_chunk(const struct pages *p, uint64_t off, uint64_t *start, uint64_t *len);

/* ---- owner: accounting (rule B1) ---- */
/*
 * One per client process and user. limit() is asked at each charge (the client may change it with setrlimit): bytes,
 * UINT64_MAX = unlimited (CAP_IPC_LOCK). It must not block.
 */
struct mm_owner_ops {
	uint64_t (*limit)(void *ctx);
};
struct mm_owner *mm_owner_new(const struct mm_owner_ops *ops, void *ctx, uint32_t pid, struct events *evs);
struct mm_owner *mm_owner_get(struct mm_owner *o);
void mm_owner_put(struct mm_owner *o); /* asserts that a freed owner's count is 0 */
/* The process is gone: limit() is not called any more (the last known value counts). */
void mm_owner_orphan(struct mm_owner *o);
int mm_charge(struct mm_owner *o, uint64_t npages); /* 0 or -ENOMEM */
void mm_uncharge(struct mm_owner *o, uint64_t npages);
uint64_t mm_charged(const struct mm_owner *o);	    /* pages now */
uint64_t mm_charged_peak(const struct mm_owner *o); /* pages at most so far */
uint32_t mm_owner_pid(const struct mm_owner *o);

#endif
