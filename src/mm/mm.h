/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client memory: what a device may reach, and who pays for it.
 *
 *   backing  a file that holds client pages: a memfd of the boundary's, or a tmpfs/hugetlbfs file that the client
 *            maps. The broker maps it too, so that DMA is a memcpy. One per (device, inode), shared, cached while
 *            idle up to a limit, if it is not one of huge pages.
 *   pages    a linear run of client memory [0, len) as slices of backings, in client address order, and who pays for
 *            it. Immutable once built, but for its claims. Shared by every area made from it; freed with the last
 *            reference.
 *   peer     memory of a device, which takes it back when it likes (peer.h).
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
#include "base/itree.h"

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
uint64_t backing_size(const struct backing *b); /* of the file now, in bytes, rounded up to whole pages */

/* ---- pages ---- */
struct page_slice {
	struct backing *backing; /* reference taken by pages_new. NULL: a hole; what would pin it gets -EFAULT */
	uint64_t offset;	 /* byte offset in the file, page aligned */
	uint64_t len;		 /* bytes, page aligned */
	bool writable;		 /* the client itself may write there */
};

/* Whose count a pin goes to (IOMMU_OPTION_RLIMIT_MODE). */
enum mm_account {
	MM_ACCOUNT_USER,    /* that of all processes of the owner's user */
	MM_ACCOUNT_PROCESS, /* the owner's own */
};

/*
 * Pages for client addresses [va, va + sum of len). va is page aligned. who pays for their pins (a reference is kept).
 * They are not writable for devices and are charged to the user until pages_configure says otherwise.
 * Returns 0, -EINVAL (empty, misaligned, overflow), -EFAULT (a slice beyond the end of its file, or said to be writable
 * in a file that was shown read-only), -ENOMEM.
 */
int pages_new(uint64_t va, const struct page_slice *s, size_t n, struct mm_owner *who, struct pages **out);
/*
 * Before the first pin. writable: pins are for writing, too, and need client memory that may be written. file: the
 * memory is that of a file which was given as such (IOMMU_IOAS_MAP_FILE), and no process is needed to pin it.
 */
void pages_configure(struct pages *p, bool writable, enum mm_account mode, bool file);
struct pages *pages_get(struct pages *p);
void pages_put(struct pages *p);
uint64_t pages_va(const struct pages *p);
uint64_t pages_len(const struct pages *p);
bool pages_writable(const struct pages *p); /* as configured */
bool pages_is_file(const struct pages *p);
struct mm_owner *pages_owner(const struct pages *p); /* borrowed */

/*
 * One holder's claim on whole pages. It is part of its holder, so that letting go never allocates. The page count that
 * is charged is that of the union of all claims: pages shared by several areas and accesses are pinned and paid for
 * once.
 */
struct page_pin {
	struct itree_node node; /* page indices in the pages; the pages' */
	/* The memory goes (mm/peer.h): no translation that was made of it may be left when this returns. It stays
	 * claimed. Set by whoever pins peer memory. */
	void (*revoked)(struct page_pin *pin);
};

/*
 * Claims the pages of [off, off + len): charges the owner for those that nobody has claimed yet. Returns 0, -EINVAL
 * (not within the pages), -EFAULT (a hole; read-only client memory for writable pages; or the process whose memory it
 * is has ended, and part of the range was not pinned while it lived), -ENOMEM (limit: the charge is unchanged).
 */
int pages_pin(struct pages *p, struct page_pin *pin, uint64_t off, uint64_t len);
void pages_unpin(struct pages *p, struct page_pin *pin);
/*
 * Moves the charge of what is pinned, and of all later pins, to another owner. Two steps, so that several pages move
 * all or none: prepare charges (0 or -ENOMEM), and either commit or abort follows; neither of those fails, and in
 * between nothing is pinned or unpinned. A step that has been taken for these pages is taken once: what is shared may
 * come by several times.
 */
int pages_move_prepare(struct pages *p, struct mm_owner *to);
void pages_move_commit(struct pages *p, struct mm_owner *to);
void pages_move_abort(struct pages *p, struct mm_owner *to);

/*
 * Copies between buf and [off, off + len), which need not be pinned. 0, -EINVAL, -EFAULT (as pages_pin, or a page is
 * gone): what came before has been moved.
 */
int pages_read(struct pages *p, uint64_t off, void *buf, uint64_t len);
int pages_write(struct pages *p, uint64_t off, const void *buf, uint64_t len);

/* Would pages_read, or with write pages_write, find memory for all of it? Only the client can make it untrue, by
 * cutting its file or by ending. */
bool pages_sound(const struct pages *p, uint64_t off, uint64_t len, bool write);

/* What names the page behind a byte, whoever maps it: equal for equal pages only. */
struct page_ref {
	uint64_t backing; /* never used again in this process; 0: a hole */
	uint64_t index;	  /* of the page in it */
};
struct page_ref pages_ref(const struct pages *p, uint64_t off);
/* How many pages objects have claimed that page. */
unsigned int page_ref_pins(struct backing_cache *c, struct page_ref ref);

/*
 * The broker's address of byte off, and in *contig how many bytes follow it without a seam (0: not reachable; then
 * NULL). Valid while a pin is held, for the length of one call (never stored beyond an IOTLB or a domain's table, both
 * of which unmap empties first).
 */
void *pages_ptr(struct pages *p, uint64_t off, uint64_t *contig);
/*
 * The whole seamless stretch that holds byte off: its address, its offset in *start, its bytes in *len. NULL (nothing
 * written) past the end and in a hole. Validity as above.
 */
void *pages_chunk(const struct pages *p, uint64_t off, uint64_t *start, uint64_t *len);

/* ---- owner: accounting (rule B1) ---- */
/*
 * One per client process and user. limit() is asked at each charge (the client may change it with setrlimit): bytes,
 * UINT64_MAX = unlimited (CAP_IPC_LOCK). It must not block.
 */
struct mm_owner_ops {
	uint64_t (*limit)(void *ctx);
	/* Does the process still have the memory that it had when it showed it? Neither ended nor exec'd. Must not
	 * block. NULL: yes. */
	bool (*alive)(void *ctx);
	bool (*capable)(void *ctx, int cap); /* CAP_*: is it in effect now? NULL: no */
};
struct mm_user; /* a user: the count that all its processes share */
struct mm_user *mm_user_new(void);
struct mm_user *mm_user_get(struct mm_user *u);
void mm_user_put(struct mm_user *u);
/* user NULL: one that has this process alone. NULL: out of memory. */
struct mm_owner *mm_owner_new(const struct mm_owner_ops *ops, void *ctx, struct mm_user *user, uint32_t pid,
			      struct events *evs);
struct mm_owner *mm_owner_get(struct mm_owner *o);
void mm_owner_put(struct mm_owner *o); /* asserts that a freed owner's count is 0 */
/* The process is gone: its ops are not called any more (the last known limit counts, and it is not alive). */
void mm_owner_orphan(struct mm_owner *o);
bool mm_owner_alive(const struct mm_owner *o);
bool mm_owner_capable(const struct mm_owner *o, int cap);
/*
 * 0 or -ENOMEM. Held against the owner's limit is, as by Linux, what its user has charged in user mode, or what the
 * owner has in process mode; mm_charged counts both.
 */
int mm_charge(struct mm_owner *o, enum mm_account mode, uint64_t npages);
void mm_uncharge(struct mm_owner *o, enum mm_account mode, uint64_t npages);
uint64_t mm_charged(const struct mm_owner *o);	    /* pages now, in both modes */
uint64_t mm_charged_peak(const struct mm_owner *o); /* pages at most so far */
uint32_t mm_owner_pid(const struct mm_owner *o);

#endif
