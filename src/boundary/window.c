/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mapped BARs. A BAR with registers is inaccessible memory: each access faults, is decoded (by the broker, once per
 * instruction; cached here) and becomes a register read or a posted write. A BAR that is plain memory is a shared file.
 */
#include "boundary/boundary.h"

#include <sys/mman.h>

#include "boundary/emulate.h"
#include "proto/insn.h"

#define WINDOWS	  512
#define CACHE	  256
#define OOL_SLOTS 32

struct window {
	_Atomic uint64_t start; /* 0 = free; written last, cleared first */
	uint64_t len;
	uint64_t object;
	uint64_t offset;     /* file offset of start */
	uint64_t generation; /* of the file that is mapped there; 0: it is a trap */
	bool guarded;	     /* a trap: what protection forbids is SIGSEGV, all else SIGBUS */
};

static struct window windows[WINDOWS];
static _Atomic uint32_t nwindows; /* entries ever used: bounds the search */
static _Atomic uint32_t lock;

struct cached {
	_Atomic uint64_t rip; /* 0 = empty */
	struct insn insn;
};
static struct cached cache[CACHE];
static _Atomic uint32_t cache_lock;

static struct ool_pool ool;
static _Atomic uint32_t ool_state; /* 0 not made, 1 made, 2 impossible */

static struct window *window_at(uint64_t addr)
{
	uint32_t n = atomic_load_explicit(&nwindows, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t start = atomic_load_explicit(&windows[i].start, memory_order_acquire);

		if (start && addr - start < windows[i].len)
			return &windows[i];
	}
	return NULL;
}

static struct window *window_find(uint64_t addr)
{
	struct window *w = window_at(addr);

	return w && !w->generation ? w : NULL;
}

bool window_locate(uint64_t addr, uint64_t *object, uint64_t *offset, uint64_t *left)
{
	struct window *w = window_at(addr);

	if (!w)
		return false;
	*object = w->object;
	*offset = w->offset + (addr - w->start);
	*left = w->len - (addr - w->start);
	return true;
}

/* A window like w, of [start, start + len), which is at offset. */
static bool window_add(const struct window *like, uint64_t start, uint64_t len, uint64_t offset)
{
	for (uint32_t i = 0; i < WINDOWS; i++) {
		struct window *w = &windows[i];

		if (atomic_load_explicit(&w->start, memory_order_relaxed))
			continue;
		w->len = len;
		w->object = like->object;
		w->offset = offset;
		w->generation = like->generation;
		w->guarded = like->guarded;
		atomic_store_explicit(&w->start, start, memory_order_release);
		if (i >= atomic_load_explicit(&nwindows, memory_order_relaxed))
			atomic_store_explicit(&nwindows, i + 1, memory_order_release);
		return true;
	}
	return false;
}

static void tell_unmap(uint64_t object, uint64_t offset, uint64_t len)
{
	struct rpc r;

	if (rpc_begin(&r, RPC_MUNMAP, object))
		return;
	r.slot->a[0] = offset;
	r.slot->a[1] = len;
	rpc_call(&r);
	rpc_end(&r);
}

/* Cuts [start, start + len) out of every window. The broker counts bytes, so pieces add up. */
void window_forget(uint64_t start, uint64_t len)
{
	uint32_t n = atomic_load_explicit(&nwindows, memory_order_acquire);
	uint64_t end = start + len;

	for (uint32_t i = 0; i < n; i++) {
		struct window *w = &windows[i], old;
		uint64_t ws = atomic_load_explicit(&w->start, memory_order_acquire), we, cut_s, cut_e;

		if (!ws || ws >= end || ws + w->len <= start)
			continue;
		spin_lock(&lock, LOCK_WINDOWS);
		ws = atomic_load_explicit(&w->start, memory_order_relaxed);
		we = ws + w->len;
		cut_s = MAX(ws, start);
		cut_e = MIN(we, end);
		if (!ws || cut_s >= cut_e) {
			spin_unlock(&lock, LOCK_WINDOWS);
			continue;
		}
		old = *w;
		atomic_store_explicit(&w->start, 0, memory_order_release);
		if (cut_s > ws)
			window_add(&old, ws, cut_s - ws, old.offset);
		if (cut_e < we)
			window_add(&old, cut_e, we - cut_e, old.offset + (cut_e - ws));
		spin_unlock(&lock, LOCK_WINDOWS);
		tell_unmap(old.object, old.offset + (cut_s - ws), cut_e - cut_s);
	}
}

bool window_overlaps(uint64_t start, uint64_t len)
{
	uint32_t n = atomic_load_explicit(&nwindows, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t s = atomic_load_explicit(&windows[i].start, memory_order_acquire);

		if (s && s < start + len && s + windows[i].len > start)
			return true;
	}
	return false;
}

/* The part of [from, from + len) that is a window is one at to now. A move takes one mapping, so at most one window. */
void window_move(uint64_t from, uint64_t len, uint64_t to)
{
	uint64_t end = from + len;

	spin_lock(&lock, LOCK_WINDOWS);
	for (uint32_t i = 0; from != to && i < WINDOWS; i++) {
		struct window *w = &windows[i], old = *w;
		uint64_t old_end = old.start + old.len, s = MAX(old.start, from), e = MIN(old_end, end);

		if (!old.start || s >= e)
			continue;
		atomic_store_explicit(&w->start, 0, memory_order_release);
		if (old.start < s)
			window_add(&old, old.start, s - old.start, old.offset);
		if (e < old_end)
			window_add(&old, e, old_end - e, old.offset + (e - old.start));
		window_add(&old, to + (s - from), e - s, old.offset + (s - old.start));
		break;
	}
	spin_unlock(&lock, LOCK_WINDOWS);
}

void window_lock(void)
{
	spin_lock(&lock, LOCK_WINDOWS);
	spin_lock(&cache_lock, LOCK_INSNS);
}

void window_unlock(void)
{
	spin_unlock(&cache_lock, LOCK_INSNS);
	spin_unlock(&lock, LOCK_WINDOWS);
}

/*
 * Memory of which every access faults, whatever mprotect may make of it later: a file without a byte. It starts as
 * inaccessible, because then it is SIGSEGV that comes, which costs less; where it shall not be written to, its own
 * protection tells what may be done and what not. The pages at live_off, if live_fd is given, are the device's to
 * open (pci/live.h), and a file without a byte as well until then.
 */
static long map_trap(uint64_t addr, uint64_t len, uint64_t prot, int flags, int live_fd, uint64_t live_off,
		     uint64_t live_len)
{
	long fd = sys2(__NR_memfd_create, "pinfold-window", MFD_CLOEXEC), p;

	if (fd < 0)
		return -ENOMEM;
	p = sys6(__NR_mmap, addr, len, prot & PROT_WRITE ? PROT_NONE : prot, MAP_SHARED | flags, fd, 0);
	sys1(__NR_close, fd);
	/* Without it the pages are traps like the others: nothing is lost but time. */
	if ((p > 0 || p < -4095) && live_fd >= 0 && live_off < len && live_len <= len - live_off)
		sys6(__NR_mmap, p + live_off, live_len, prot, MAP_SHARED | MAP_FIXED, live_fd, 0);
	return p;
}

bool window_mmap(ucontext_t *uc)
{
	uint64_t addr = UC_ARG1(uc), len = ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE), prot = UC_ARG3(uc),
		 flags = UC_ARG4(uc);
	uint64_t off = UC_ARG6(uc), object, fd_off, generation; /* of a trap: the live pages' length */
	long p, kind;
	struct window w = {0};
	struct rpc r;
	int fd = -1;

	if (!object_of_fd(UC_ARG5(uc), &object))
		return false;
	if (!len || off & ~PF_PAGE_MASK || rpc_begin(&r, RPC_MMAP, object)) {
		UC_RET(uc) = -EINVAL;
		return true;
	}
	r.slot->a[0] = off;
	r.slot->a[1] = len;
	r.slot->a[2] = prot | ((flags & MAP_TYPE) != MAP_PRIVATE ? 1ull << 32 : 0);
	rpc_origin(&r, uc);
	p = rpc_call(&r);
	kind = r.slot->a[0];
	fd_off = r.slot->a[1];
	generation = r.slot->a[2];
	if (p >= 0 && r.slot->flags & SLOT_HAS_FD) {
		fd = rpc_recv_fd(&r);
		if (fd < 0)
			p = fd;
	}
	rpc_end(&r);
	if (p < 0) {
		UC_RET(uc) = p;
		return true;
	}
	w.object = object;
	w.generation = kind == RPC_MMAP_FILE ? generation : 0;
	w.guarded = !(prot & PROT_WRITE);
	flags &= MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT;
	if (kind == RPC_MMAP_FILE)
		p = sys6(__NR_mmap, addr, len, prot, MAP_SHARED | flags, fd, fd_off);
	else
		p = map_trap(addr, len, prot, flags, fd, fd_off, generation);
	if (fd >= 0)
		sys1(__NR_close, fd);
	if (p > 0 || p < -4095) {
		bool added;

		if (flags & MAP_FIXED)
			memory_forget(p, len);
		spin_lock(&lock, LOCK_WINDOWS);
		added = window_add(&w, p, len, off);
		spin_unlock(&lock, LOCK_WINDOWS);
		if (!added) {
			sys2(__NR_munmap, p, len);
			p = -ENOMEM;
		}
	}
	if (p < 0 && p >= -4095)
		tell_unmap(object, off, len);
	UC_RET(uc) = p;
	return true;
}

/* The instruction at rip, from the cache if its bytes are still the same. */
static bool window_decode(uint64_t rip, struct insn *out)
{
	struct cached *c = &cache[(rip ^ rip >> 8) % CACHE];
	uint8_t code[16] = {0};
	size_t n = 15 - guard_copy(code, (void *)rip, 15);

	if (atomic_load_explicit(&c->rip, memory_order_acquire) == rip) {
		bool same;

		spin_lock(&cache_lock, LOCK_INSNS);
		*out = c->insn;
		same = atomic_load_explicit(&c->rip, memory_order_relaxed) == rip;
		spin_unlock(&cache_lock, LOCK_INSNS);
		if (same && out->len <= n && !memcmp(out->bytes, code, out->len))
			return out->class != INSN_UNKNOWN;
	}
	if (!n || rpc_decode(code, n, out))
		return false;
	spin_lock(&cache_lock, LOCK_INSNS);
	c->insn = *out;
	atomic_store_explicit(&c->rip, rip, memory_order_release);
	spin_unlock(&cache_lock, LOCK_INSNS);
	return out->class != INSN_UNKNOWN;
}

struct access {
	const ucontext_t *uc;
	uint64_t refused; /* the first address that a read was refused at; 0: none */
};

static uint64_t access_read(void *ctx, uint64_t addr, unsigned int size)
{
	struct window *w = window_find(addr);
	struct access *a = ctx;
	uint64_t v = ~0ull;

	if (w && rpc_mmio_read(w->object, w->offset + (addr - w->start), size, &v, UC_IP(a->uc)) && !a->refused)
		a->refused = addr;
	return v;
}

static bool access_refused(void *ctx)
{
	return ((struct access *)ctx)->refused;
}

static void access_write(void *ctx, uint64_t addr, unsigned int size, uint64_t val)
{
	struct window *w = window_find(addr);
	struct access *a = ctx;

	if (w)
		rpc_post_write(w->object, w->offset + (addr - w->start), size, val, UC_IP(a->uc));
}

static bool access_is_mmio(void *ctx, uint64_t addr)
{
	(void)ctx;
	return window_find(addr) != NULL;
}

static const struct mmio_ops access_ops = {access_read, access_write};

/* Code that runs out of line needs pages that are writable here and executable there: one memfd, mapped twice. */
static bool ool_map(void)
{
	size_t size = ALIGN_UP(OOL_SLOTS * (size_t)OOL_SLOT_SIZE, PF_PAGE_SIZE);
	long fd = sys2(__NR_memfd_create, "pinfold-ool", MFD_CLOEXEC), rw = -1, rx = -1;

	if (fd < 0)
		return false;
	if (!sys2(__NR_ftruncate, fd, size)) {
		rw = sys6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		rx = sys6(__NR_mmap, 0, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	sys1(__NR_close, fd);
	if (rw < 0 || rx < 0)
		return false;
	ool_init(&ool, (void *)rw, (void *)rx, OOL_SLOTS);
	return true;
}

static struct ool_pool *ool_get(void)
{
	if (!atomic_load_explicit(&ool_state, memory_order_acquire)) {
		spin_lock(&lock, LOCK_WINDOWS);
		if (!atomic_load(&ool_state))
			atomic_store(&ool_state, ool_map() ? 1 : 2);
		spin_unlock(&lock, LOCK_WINDOWS);
	}
	return atomic_load(&ool_state) == 1 ? &ool : NULL;
}

/* The slots are shared memory: a child takes its own when it needs one. */
void window_after_fork(void)
{
	size_t size = ALIGN_UP(OOL_SLOTS * (size_t)OOL_SLOT_SIZE, PF_PAGE_SIZE);

	if (atomic_exchange(&ool_state, 0) == 1) {
		sys2(__NR_munmap, ool.rw, size);
		sys2(__NR_munmap, ool.rx, size);
	}
	ool.count = 0;
}

static int get_base(int code, uint64_t *base)
{
	return sys2(__NR_arch_prctl, code, base);
}

static bool window_refuses(const struct window *w, uint64_t addr, uint64_t ip)
{
	return rpc_mmio_refused(w->object, w->offset + (addr - w->start), w->generation, ip);
}

/* As Linux says it of memory that is switched off. */
static bool bus_error(siginfo_t *si, uint64_t addr)
{
	si->si_signo = SIGBUS;
	si->si_code = BUS_ADRERR;
	si->si_addr = (void *)addr;
	return false;
}

bool window_fault(ucontext_t *uc, siginfo_t *si)
{
	struct access access = {.uc = uc};
	struct emulate_env env = {.ops = &access_ops,
				  .is_mmio = access_is_mmio,
				  .refused = access_refused,
				  .ctx = &access,
				  .fsgsbase = image.fsgsbase,
				  .arch_prctl = get_base};
	struct window *w;
	uint64_t bad = 0;
	struct insn in;

	if (atomic_load_explicit(&ool_state, memory_order_relaxed) == 1 && ool_owns(&ool, UC_IP(uc))) {
		env.pool = &ool;
		return emulate_finish(uc, &env) == EMULATE_DONE;
	}
	w = window_at((uint64_t)si->si_addr);
	if (!w)
		return false;
	/* A file of memory that is gone, or only was for the moment (rule C3). What else goes wrong there is not ours.
	 */
	if (w->generation)
		return si->si_signo == SIGBUS && si->si_code == BUS_ADRERR &&
		       !window_refuses(w, (uint64_t)si->si_addr, UC_IP(uc));
	if (w->guarded && si->si_signo == SIGSEGV)
		return false;
	if (window_refuses(w, (uint64_t)si->si_addr, UC_IP(uc)))
		return bus_error(si, (uint64_t)si->si_addr);
	if (!window_decode(UC_IP(uc), &in))
		return false;
	if (in.class == INSN_OUT_OF_LINE)
		env.pool = ool_get();
	switch (emulate(&in, uc, (uint64_t)si->si_addr, &env, &bad)) {
	case EMULATE_DONE:
	case EMULATE_RUN:
		return true;
	case EMULATE_REFUSED:
		return bus_error(si, access.refused);
	case EMULATE_FAULT:
		si->si_addr = (void *)bad;
		return false;
	default:
		return false;
	}
}
