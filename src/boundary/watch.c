/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What becomes of memory that devices may reach, told to the broker when somebody there looks for mistakes
 * (HELLO_STACKS), and with the stack of whoever does it. Without that, each function here is one test of a flag.
 *
 * It is told before it is done. After it, another thread may have mapped something new at the same address, and the
 * broker would take the one for the other; and what a device does in between it does to memory that the program has
 * just asked to be rid of.
 *
 * Told is only what leaves the device with a page that the program does not see any more. Private memory is that; a
 * shared mapping that goes leaves the file, which has other ways to it.
 */
#include "boundary/boundary.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "boundary/maps.h"

#define RANGES 64

/* Described for DMA, once. Sorted, apart from each other; where there are too many, the nearest two become one. */
static struct memory_range watched[RANGES];
static unsigned int nwatched;
static _Atomic uint64_t hull_low = UINT64_MAX, hull_high;
static _Atomic uint32_t watch_lock;
static _Atomic uint32_t armed;
static bool forked; /* since something shared was described: others may see it */

struct origin {
	uint64_t ip, sp, bp;
};

/* ---- the table ---- */

static void range_remove(unsigned int i)
{
	memmove(&watched[i], &watched[i + 1], (nwatched - i - 1) * sizeof(*watched));
	nwatched--;
}

static void join_nearest(void)
{
	unsigned int best = 0;

	for (unsigned int i = 1; i + 1 < nwatched; i++)
		if (watched[i + 1].first - watched[i].last < watched[best + 1].first - watched[best].last)
			best = i;
	watched[best].last = watched[best + 1].last;
	range_remove(best + 1);
}

static void range_add(uint64_t first, uint64_t last)
{
	unsigned int at = 0;

	while (at < nwatched && watched[at].last < first && watched[at].last + 1 < first)
		at++;
	while (at < nwatched && watched[at].first <= (last == UINT64_MAX ? last : last + 1)) {
		first = MIN(first, watched[at].first);
		last = MAX(last, watched[at].last);
		range_remove(at);
	}
	if (nwatched == RANGES) {
		join_nearest();
		range_add(first, last);
		return;
	}
	memmove(&watched[at + 1], &watched[at], (nwatched - at) * sizeof(*watched));
	watched[at] = (struct memory_range){first, last};
	nwatched++;
}

void watch_add(uint64_t start, uint64_t len)
{
	if (likely(!image.stacks) || !len || process_is_vfork_child())
		return;
	spin_lock(&watch_lock, LOCK_WATCH);
	range_add(start, start + (len - 1));
	atomic_store(&hull_low, watched[0].first);
	atomic_store(&hull_high, watched[nwatched - 1].last);
	spin_unlock(&watch_lock, LOCK_WATCH);
}

/* The first part of [first, last] that is watched. */
static bool range_next(uint64_t first, uint64_t last, struct memory_range *out)
{
	bool found = false;

	spin_lock(&watch_lock, LOCK_WATCH);
	for (unsigned int i = 0; i < nwatched && !found; i++) {
		found = watched[i].first <= last && watched[i].last >= first;
		if (found)
			*out = (struct memory_range){MAX(first, watched[i].first), MIN(last, watched[i].last)};
	}
	spin_unlock(&watch_lock, LOCK_WATCH);
	return found;
}

/* Without the lock: what is being described at this very moment may be missed, and is not mapped yet. */
static bool in_hull(uint64_t first, uint64_t last)
{
	return first <= atomic_load_explicit(&hull_high, memory_order_relaxed) &&
	       last >= atomic_load_explicit(&hull_low, memory_order_relaxed);
}

/* ---- telling ---- */

struct message {
	enum memory_change kind;
	uint64_t arg;
	struct origin from;
	unsigned int n;
	struct memory_range range[CHANGE_RANGES];
	unsigned int ntrace;
	uint64_t trace[CHANGE_TRACE];
};

static struct origin origin_of(const ucontext_t *uc)
{
	return (struct origin){UC_IP(uc), UC_SP(uc), uc->uc_mcontext.gregs[REG_RBP]};
}

/* The session's number, 0: nobody has been told. */
static uint64_t tell(struct message *m)
{
	uint64_t session = 0;
	struct rpc r;

	if (rpc_begin(&r, RPC_CHANGED, 0))
		return 0;
	rpc_origin_at(&r, m->from.ip, m->from.sp, m->from.bp);
	r.slot->a[0] = m->kind;
	r.slot->a[1] = m->n;
	r.slot->a[2] = m->arg;
	memcpy(r.payload, m->range, m->n * sizeof(*m->range));
	memcpy(r.payload + m->n * sizeof(*m->range), m->trace, m->ntrace * sizeof(*m->trace));
	r.slot->payload_len = m->n * sizeof(*m->range) + m->ntrace * sizeof(*m->trace);
	if (rpc_call(&r) == 0)
		session = r.slot->a[0];
	rpc_end(&r);
	m->n = 0;
	return session;
}

static void say(struct message *m, uint64_t first, uint64_t last)
{
	if (m->n == CHANGE_RANGES)
		tell(m);
	m->range[m->n++] = (struct memory_range){first, last};
}

/* ---- what goes ---- */

/* Pages that no other address leads to: adopted ones, or shared anonymous ones that are mapped here alone. */
static bool sees_alone(const struct vma *v)
{
	struct vma other;

	if (memory_is_adopted(v))
		return true;
	if (forked || !shared_overlaps(v->start, v->end - v->start))
		return false;
	for (uint64_t a = 0; !maps_find(a, &other); a = other.end)
		if (other.ino == v->ino && other.dev == v->dev && other.start != v->start)
			return false;
	return true;
}

static void say_alone(struct message *m, uint64_t first, uint64_t last)
{
	struct vma v;

	for (uint64_t a = first; a <= last && !maps_find(a, &v) && v.start <= last; a = v.end)
		if (sees_alone(&v))
			say(m, MAX(a, v.start), MIN(last, v.end - 1));
}

static void say_watched(struct message *m, uint64_t first, uint64_t last)
{
	struct memory_range r;

	for (uint64_t a = first; a <= last && range_next(a, last, &r); a = r.last + 1) {
		say_alone(m, r.first, r.last);
		if (r.last == UINT64_MAX)
			break;
	}
}

static bool watches(uint64_t start, uint64_t len)
{
	return len && start + (len - 1) >= start && in_hull(start, start + (len - 1)) && !process_is_vfork_child();
}

void watch_gone(const ucontext_t *uc, enum memory_change kind, uint64_t start, uint64_t len)
{
	struct message m;

	if (likely(!image.stacks) || !watches(start, len))
		return;
	m.kind = kind;
	m.arg = 0;
	m.n = m.ntrace = 0;
	m.from = origin_of(uc);
	say_watched(&m, start, start + (len - 1));
	if (m.n)
		tell(&m);
}

static void tell_range(const struct origin *from, enum memory_change kind, uint64_t arg, uint64_t start, uint64_t len)
{
	struct message m;

	m.kind = kind;
	m.arg = arg;
	m.n = m.ntrace = 0;
	m.from = *from;
	say(&m, start, start + (len - 1));
	tell(&m);
}

void watch_failed(const ucontext_t *uc, enum memory_change kind, uint64_t start, uint64_t len)
{
	struct origin from;

	if (likely(!image.stacks) || !watches(start, len))
		return;
	from = origin_of(uc);
	tell_range(&from, CHANGE_UNDONE, kind, start, len);
}

void watch_moved(const ucontext_t *uc, uint64_t start, uint64_t len, uint64_t to)
{
	struct origin from;

	if (likely(!image.stacks) || !watches(start, len))
		return;
	from = origin_of(uc);
	watch_add(to, len);
	tell_range(&from, CHANGE_MOVED, to, start, len);
}

/* ---- files that lose pages, whoever sees them ---- */

struct cut {
	uint64_t dev, ino, from, end; /* bytes of the file */
};

static void say_cut(struct message *m, const struct cut *c)
{
	struct vma v;

	for (uint64_t a = atomic_load(&hull_low); !maps_find(a, &v) && v.start <= atomic_load(&hull_high); a = v.end) {
		uint64_t last = v.offset + (v.end - v.start);

		if (v.flags & VMA_SHARED && v.ino == c->ino && v.dev == c->dev && last > c->from && v.offset < c->end)
			say(m, v.start + (MAX(c->from, v.offset) - v.offset),
			    v.start + (MIN(c->end, last) - v.offset) - 1);
	}
}

static void cut(ucontext_t *uc, const struct cut *c)
{
	struct message m;
	unsigned int n;

	m.kind = CHANGE_CUT;
	m.arg = 0;
	m.n = m.ntrace = 0;
	m.from = origin_of(uc);
	say_cut(&m, c);
	if (!m.n) {
		trap_resume(uc);
		return;
	}
	n = m.n;
	tell(&m);
	UC_RET(uc) = sys4(UC_RET(uc), UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), UC_ARG4(uc));
	if (!UC_RET(uc))
		return;
	m.arg = m.kind;
	m.kind = CHANGE_UNDONE;
	m.n = n;
	tell(&m);
}

static void cut_syscall(ucontext_t *uc, long nr)
{
	bool whole = nr == __NR_ftruncate;
	uint64_t from = ALIGN_UP(whole ? (uint64_t)UC_ARG2(uc) : (uint64_t)UC_ARG3(uc), PF_PAGE_SIZE);
	uint64_t end = whole ? UINT64_MAX : ALIGN_DOWN((uint64_t)(UC_ARG3(uc) + UC_ARG4(uc)), PF_PAGE_SIZE);
	struct stat st;
	struct cut c;

	if (end <= from || (!whole && !(UC_ARG2(uc) & 2 /* FALLOC_FL_PUNCH_HOLE */)) || atomic_load(&hull_high) == 0 ||
	    process_is_vfork_child() || sys2(__NR_fstat, UC_ARG1(uc), &st)) {
		trap_resume(uc);
		return;
	}
	c = (struct cut){st.st_dev, st.st_ino, from, end};
	cut(uc, &c);
}

void watch_removed(const ucontext_t *uc, uint64_t start, uint64_t len)
{
	struct message m;
	struct vma v;
	struct cut c;

	if (likely(!image.stacks) || !watches(start, len) || maps_find(start, &v) || v.start > start ||
	    v.end < start + len || memory_is_adopted(&v))
		return;
	c = (struct cut){v.dev, v.ino, v.offset + (start - v.start), v.offset + (start + len - v.start)};
	m.kind = CHANGE_CUT;
	m.arg = 0;
	m.n = m.ntrace = 0;
	m.from = origin_of(uc);
	say_cut(&m, &c);
	if (m.n)
		tell(&m);
}

void watch_syscall(ucontext_t *uc, long nr)
{
	cut_syscall(uc, nr);
}

/* ---- fork ---- */

/* The private part of what is watched: the child will have copies of it. */
uint64_t watch_before_fork(const ucontext_t *uc)
{
	uint64_t at = 0, session;
	struct memory_range r;
	struct message m;
	struct vma v;

	if (likely(!image.stacks) || !atomic_load(&armed) || process_is_vfork_child())
		return 0;
	m.kind = CHANGE_FORKED;
	m.arg = 0;
	m.n = m.ntrace = 0;
	m.from = origin_of(uc);
	for (; range_next(at, UINT64_MAX, &r); at = r.last + 1) {
		for (uint64_t a = r.first; a <= r.last && !maps_find(a, &v) && v.start <= r.last; a = v.end)
			if (memory_is_adopted(&v))
				say(&m, MAX(a, v.start), MIN(r.last, v.end - 1));
		if (r.last == UINT64_MAX)
			break;
	}
	session = tell(&m);
	forked = true;
	return session;
}

/* What the parent described is the parent's; another thread of it may have been at the table. */
void watch_in_child(uint64_t parent)
{
	struct message m;

	atomic_store(&watch_lock, 0);
	nwatched = 0;
	atomic_store(&hull_low, UINT64_MAX);
	atomic_store(&hull_high, 0);
	if (!parent)
		return;
	m.kind = CHANGE_CHILD;
	m.arg = parent;
	m.n = m.ntrace = 0;
	m.from = (struct origin){0, 0, 0};
	tell(&m);
}

/* ---- allocators that say what they do: the sanitizers' runtimes (sanitizer/allocator_interface.h) ---- */

int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
					      void (*on_free)(const volatile void *)) __attribute__((weak));
size_t __sanitizer_get_allocated_size(const volatile void *p) __attribute__((weak));
size_t __asan_get_alloc_stack(void *p, void **trace, size_t size, int *thread) __attribute__((weak));

/* Something was freed and told, and may be allocated again. */
static _Atomic bool freed_told;

/* These run in the midst of the program, where its signals arrive: a handler of its must not find us with a lock. */
static void signals_hold(uint64_t *old)
{
	uint64_t all = ~0ull & ~(1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGSYS - 1));

	sys4(__NR_rt_sigprocmask, SIG_BLOCK, &all, old, sizeof(all));
}

static void signals_let_go(const uint64_t *old)
{
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, old, NULL, sizeof(*old));
}

/* Of the runtime's function that called the hook, one frame up from here: its frames are in the way, and harmless. */
#define CALLER                                                                                                         \
	{                                                                                                              \
		(uint64_t) __builtin_return_address(0) - 1, (uint64_t)__builtin_frame_address(0) + 16,                 \
		    *(uint64_t *)__builtin_frame_address(0)                                                            \
	}

static void freed(const struct origin *from, uint64_t p, uint64_t size)
{
	struct memory_range watched_part;
	struct message m;
	void *trace[CHANGE_TRACE];
	int thread = 0;

	if (!range_next(p, p + (size - 1), &watched_part))
		return;
	m.kind = CHANGE_FREED;
	m.from = *from;
	m.n = m.ntrace = 0;
	if (__asan_get_alloc_stack)
		m.ntrace = MIN(__asan_get_alloc_stack((void *)p, trace, CHANGE_TRACE, &thread), (size_t)CHANGE_TRACE);
	for (unsigned int i = 0; i < m.ntrace; i++)
		m.trace[i] = (uint64_t)trace[i];
	m.arg = thread;
	say(&m, p, p + (size - 1));
	atomic_store(&freed_told, true);
	tell(&m);
}

static void on_free(const volatile void *at)
{
	struct origin from = CALLER;
	uint64_t p = (uint64_t)at, size, old;

	/* No object that begins above it reaches into it. */
	if (!p || p > atomic_load_explicit(&hull_high, memory_order_relaxed) || process_is_vfork_child())
		return;
	size = __sanitizer_get_allocated_size(at);
	if (!size || !in_hull(p, p + (size - 1)))
		return;
	signals_hold(&old);
	freed(&from, p, size);
	signals_let_go(&old);
}

static void on_malloc(const volatile void *at, size_t size)
{
	struct origin from = CALLER;
	uint64_t p = (uint64_t)at, old;

	if (!p || !size || !atomic_load_explicit(&freed_told, memory_order_relaxed) || !in_hull(p, p + (size - 1)) ||
	    process_is_vfork_child())
		return;
	signals_hold(&old);
	tell_range(&from, CHANGE_UNDONE, CHANGE_FREED, p, size);
	signals_let_go(&old);
}

void watch_arm(void)
{
	uint32_t no = 0;

	if (likely(!image.stacks) || atomic_load_explicit(&armed, memory_order_relaxed) || process_is_vfork_child() ||
	    !atomic_compare_exchange_strong(&armed, &no, 1))
		return;
	/* Where a thread has a filter of its own, brk() and ftruncate() go unseen. */
	filter_install(FILTER_WATCH);
	if (__sanitizer_install_malloc_and_free_hooks && __sanitizer_get_allocated_size)
		__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
}
