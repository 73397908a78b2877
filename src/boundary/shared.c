/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared memory whose file only the broker can still open. Anonymous memory is made a memfd when it is mapped, which
 * the broker holds for as long as it is; and a child of fork inherits mappings of files that it could not show.
 */
#include "boundary/boundary.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "boundary/maps.h"

/* Shared anonymous memory that the broker holds for us. */
struct held {
	uint64_t start, len, dev, ino;
};
static struct held held[256];
static _Atomic uint32_t held_lock;

/* The broker knows files that a child of ours may have mapped and cannot show. */
static _Atomic bool files_shown;

/* Between mapping shared anonymous memory and showing it nobody forks. Taken before all others but follow.c's. */
static _Atomic uint32_t share_lock;

static void hold_message(enum rpc_op op, uint64_t dev, uint64_t ino, int fd)
{
	struct rpc r;

	if (rpc_begin(&r, op, 0))
		return;
	r.slot->a[0] = dev;
	r.slot->a[1] = ino;
	if (fd < 0 || !rpc_send_fd(&r, fd))
		rpc_call(&r);
	rpc_end(&r);
}

static bool held_known(uint64_t dev, uint64_t ino)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (held[i].len && held[i].dev == dev && held[i].ino == ino)
			return true;
	return false;
}

static bool held_add(struct held h)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (!held[i].len) {
			held[i] = h;
			return true;
		}
	return false;
}

bool shared_overlaps(uint64_t start, uint64_t len)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (held[i].len && held[i].start < start + len && held[i].start + held[i].len > start)
			return true;
	return false;
}

/* A file none of which is mapped any more is let go. */
void shared_forget(uint64_t start, uint64_t len)
{
	uint64_t end = start + len;

	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++) {
		struct held h, rest;
		bool gone;

		spin_lock(&held_lock, LOCK_HELD);
		h = held[i];
		if (!h.len || h.start >= end || h.start + h.len <= start) {
			spin_unlock(&held_lock, LOCK_HELD);
			continue;
		}
		held[i].len = h.start < start ? start - h.start : 0;
		rest = (struct held){end, h.start + h.len - end, h.dev, h.ino};
		/* No room: it stays held while the session lasts. */
		gone = (h.start + h.len <= end || held_add(rest)) && !held_known(h.dev, h.ino);
		spin_unlock(&held_lock, LOCK_HELD);
		if (gone)
			hold_message(RPC_DROP, h.dev, h.ino, -1);
	}
}

void shared_move(uint64_t from, uint64_t from_len, uint64_t to, uint64_t to_len)
{
	spin_lock(&held_lock, LOCK_HELD);
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (held[i].len && held[i].start == from && held[i].len == from_len) {
			held[i].start = to;
			held[i].len = to_len;
		}
	spin_unlock(&held_lock, LOCK_HELD);
}

void shared_copied(uint64_t from, uint64_t to, uint64_t len)
{
	spin_lock(&held_lock, LOCK_HELD);
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (from - held[i].start < held[i].len) {
			held_add((struct held){to, len, held[i].dev, held[i].ino});
			break;
		}
	spin_unlock(&held_lock, LOCK_HELD);
}

void shared_sent(void)
{
	atomic_store(&files_shown, true);
}

static long map_locked(ucontext_t *uc)
{
	uint64_t len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE), flags = UC_ARG4(uc);
	/* MAP_HUGETLB's size bits stand where MFD_HUGETLB's do. */
	unsigned int mfd = MFD_CLOEXEC | (flags & MAP_HUGETLB ? MFD_HUGETLB | (flags & (0x3fU << 26)) : 0);
	long fd = sys2(__NR_memfd_create, "pinfold-shared", mfd), p;
	struct stat st;

	if (fd < 0)
		return fd == -EMFILE || fd == -ENFILE ? -ENOMEM : fd;
	p = sys2(__NR_ftruncate, fd, len);
	if (!p)
		p = sys6(__NR_mmap, UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), flags & ~(uint64_t)MAP_ANONYMOUS, fd, 0);
	if (p > 0 && flags & MAP_FIXED)
		memory_forget(p, len);
	if (p > 0 && !sys2(__NR_fstat, fd, &st)) {
		spin_lock(&held_lock, LOCK_HELD);
		held_add((struct held){p, len, st.st_dev, st.st_ino});
		spin_unlock(&held_lock, LOCK_HELD);
		hold_message(RPC_HOLD, st.st_dev, st.st_ino, fd);
		shared_sent();
	}
	sys1(__NR_close, fd);
	return p;
}

long shared_map(ucontext_t *uc)
{
	long p;

	spin_lock(&share_lock, LOCK_SHARE);
	p = map_locked(uc);
	spin_unlock(&share_lock, LOCK_SHARE);
	return p;
}

bool shared_before_fork(uint64_t ticket[2])
{
	struct rpc r;
	bool got;

	spin_lock(&share_lock, LOCK_SHARE);
	if (!atomic_load(&files_shown) || rpc_begin(&r, RPC_TICKET, 0))
		return false;
	got = !rpc_call(&r);
	ticket[0] = r.slot->a[0];
	ticket[1] = r.slot->a[1];
	rpc_end(&r);
	return got;
}

void shared_lock(void)
{
	spin_lock(&held_lock, LOCK_HELD);
}

void shared_unlock(void)
{
	spin_unlock(&held_lock, LOCK_HELD);
	spin_unlock(&share_lock, LOCK_SHARE);
}

static bool is_mapped(const struct held *h)
{
	uint64_t end = h->start + h->len;
	struct vma v;

	for (uint64_t a = h->start; a < end && !maps_find(a, &v) && v.start < end; a = v.end)
		if (v.dev == h->dev && v.ino == h->ino)
			return true;
	return false;
}

/* Not everything that the parent holds is in the child (MADV_DONTFORK). */
static void held_inherit(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (held[i].len && !is_mapped(&held[i]))
			shared_forget(held[i].start, held[i].len);
}

static bool inherit(const uint64_t ticket[2])
{
	struct rpc r;
	bool inherited;

	if (rpc_begin(&r, RPC_INHERIT, 0))
		return false;
	r.slot->a[0] = ticket[0];
	r.slot->a[1] = ticket[1];
	inherited = !rpc_call(&r);
	rpc_end(&r);
	return inherited;
}

void shared_in_child(const uint64_t *ticket)
{
	if (ticket && inherit(ticket)) {
		held_inherit();
	} else if (atomic_load(&files_shown)) {
		memset(held, 0, sizeof(held));
		atomic_store(&files_shown, false);
	}
}
