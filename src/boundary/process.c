/* SPDX-License-Identifier: BSD-3-Clause */
#include "boundary/boundary.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct process *process;

int process_init(void)
{
	long p = sys6(__NR_mmap, 0, PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p < 0)
		return p;
	process = (struct process *)p;
	sys3(__NR_madvise, p, PF_PAGE_SIZE, MADV_WIPEONFORK);
	process->pid = sys0(__NR_getpid);
	process->sock = -1;
	return 0;
}

/* A child of vfork or posix_spawn runs on its parent's memory: what it does to itself must not change the parent's
 * state. */
bool process_is_vfork_child(void)
{
	return process->pid && process->pid != sys0(__NR_getpid);
}

void wait_turn(unsigned int *turns)
{
	struct {
		long sec, nsec;
	} t = {0, 50 * 1000};
	unsigned int n = ++*turns;

	__builtin_ia32_pause();
	if (n >= 64 * 16)
		sys2(__NR_nanosleep, &t, NULL); /* a thread of real-time priority may be all that keeps us waiting */
	else if (n % 64 == 0)
		sys0(__NR_sched_yield);
}

uint32_t gate_enter(struct gate *g)
{
	uint32_t seen = atomic_load(&g->event);

	atomic_fetch_add(&g->waiting, 1);
	return seen;
}

void gate_wait(struct gate *g, uint32_t seen)
{
	struct {
		long sec, nsec;
	} t = {0, 20 * 1000 * 1000};

	sys4(__NR_futex, &g->event, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, seen, &t);
}

void gate_leave(struct gate *g)
{
	atomic_fetch_sub(&g->waiting, 1);
}

void gate_open(struct gate *g)
{
	if (likely(!atomic_load(&g->waiting)))
		return;
	atomic_fetch_add(&g->event, 1);
	sys3(__NR_futex, &g->event, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

enum { SPIN_FREE, SPIN_HELD, SPIN_AWAITED };

/* Sleeps when it takes long: who holds the lock may be stopped, or of lower priority. */
void spin_lock(_Atomic uint32_t *l, enum lock_class c)
{
	uint32_t state = SPIN_FREE;

	order_take(c);
	if (likely(atomic_compare_exchange_strong_explicit(l, &state, SPIN_HELD, memory_order_acquire,
							   memory_order_relaxed)))
		return;
	for (unsigned int spins = 0; spins < 256; spins++) {
		__builtin_ia32_pause();
		state = SPIN_FREE;
		if (atomic_load_explicit(l, memory_order_relaxed) == SPIN_FREE &&
		    atomic_compare_exchange_strong_explicit(l, &state, SPIN_HELD, memory_order_acquire,
							    memory_order_relaxed))
			return;
	}
	while (atomic_exchange_explicit(l, SPIN_AWAITED, memory_order_acquire) != SPIN_FREE)
		sys4(__NR_futex, l, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, SPIN_AWAITED, NULL);
}

void spin_unlock(_Atomic uint32_t *l, enum lock_class c)
{
	order_drop(c);
	if (unlikely(atomic_exchange_explicit(l, SPIN_FREE, memory_order_release) == SPIN_AWAITED))
		sys3(__NR_futex, l, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

/* What another thread was changing must be whole in the child, which has no such thread to finish it. */
static void lock_all(void)
{
	memory_lock();
	window_lock();
	signals_lock();
	spin_lock(&process->lock, LOCK_PROCESS);
}

static void unlock_all(void)
{
	spin_unlock(&process->lock, LOCK_PROCESS); /* in the child the kernel has wiped it: it was free */
	signals_unlock();
	window_unlock();
	memory_unlock();
	follow_unlock();
}

/*
 * A child that asks to be traced stops at every signal from then on, our traps among them, until its parent lets it go
 * on; a parent that waits in vfork never does (gdb starts programs so). What it asks for counts from its execve on,
 * where Linux would first stop it.
 */
static _Atomic uint32_t traceme_later; /* the child's pid; in memory that it shares with its parent */

void process_traceme(ucontext_t *uc)
{
	uint32_t before = atomic_load(&traceme_later);

	/* Taken by another thread's child, which is still there: then as it is. */
	if (!process_is_vfork_child() || (before && sys2(__NR_kill, before, 0) == 0) ||
	    !atomic_compare_exchange_strong(&traceme_later, &before, sys0(__NR_getpid))) {
		trap_resume(uc);
		return;
	}
	UC_RET(uc) = 0;
}

void process_traceme_now(void)
{
	uint32_t self = sys0(__NR_getpid);

	if (atomic_compare_exchange_strong(&traceme_later, &self, 0))
		sys4(__NR_ptrace, PTRACE_TRACEME, 0, NULL, NULL);
}

/*
 * A parent that waits until its child has gone its way would wait with our locks held, and the other threads for it,
 * and for them perhaps the child. Then it does not wait; without other threads nobody is harmed.
 */
static uint64_t fork_flags(uint64_t flags)
{
	struct stat st;

	if (flags & CLONE_VFORK &&
	    (sys4(__NR_newfstatat, AT_FDCWD, "/proc/self/task", &st, 0) || st.st_nlink > 3 /* "..", "." and us */))
		flags &= ~(uint64_t)CLONE_VFORK;
	return flags;
}

/* Where a child says that it has what it needs of its parent. */
static _Atomic uint32_t *meeting_new(void)
{
	long p = sys6(__NR_mmap, 0, PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p < 0 ? NULL : (_Atomic uint32_t *)p;
}

static bool has_died(pid_t pid)
{
	siginfo_t si = {0};

	return sys2(__NR_kill, pid, 0) < 0 ||
	       (sys5(__NR_waitid, P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT, 0) == 0 && si.si_pid);
}

/* A child killed meanwhile must not hold its parent. */
static void meeting_wait(_Atomic uint32_t *done, pid_t pid, unsigned int turns)
{
	struct {
		long sec, nsec;
	} t = {0, 10 * 1000 * 1000};

	while (!atomic_load(done) && turns--) {
		sys4(__NR_futex, done, FUTEX_WAIT, 0, &t);
		if (!atomic_load(done) && has_died(pid))
			return;
	}
}

static void fork_child(int inherited_sock, const uint64_t *ticket, uint64_t parent, _Atomic uint32_t *done)
{
	if (inherited_sock >= 0)
		sys1(__NR_close, inherited_sock);
	scratch_after_fork();
	window_after_fork();
	follow_after_fork();
	process->pid = sys0(__NR_getpid);
	process->sock = -1;
	shared_in_child(ticket);
	watch_in_child(parent);
	if (memory_has_adopted())
		memory_unshare_in_child();
	if (done) {
		atomic_store(done, 1);
		sys3(__NR_futex, done, FUTEX_WAKE, 1);
	}
}

/* A ticket is good while the parent lives: it waits so that it can do as it likes when it has forked, but not for a
 * child that somebody has stopped. */
#define TICKET_TURNS 200

/*
 * fork: made here, so that the child starts with a session of its own and with private copies of memory that the parent
 * shares with devices. Until those copies are made the parent waits: Linux, too, copies pinned pages within fork.
 */
void process_fork(ucontext_t *uc)
{
	long nr = UC_RET(uc), sock = -1, pid = -ENOMEM;
	/* A stack of its own is where the child continues; until then it runs on its copy of this one. */
	uint64_t child_stack = nr == __NR_clone ? UC_ARG2(uc) : 0;
	bool shares_files = nr == __NR_clone && UC_ARG1(uc) & CLONE_FILES;
	uint64_t flags = nr == __NR_clone ? fork_flags(UC_ARG1(uc)) : 0, ticket[2];
	uint32_t thread = order_self();
	_Atomic uint32_t *done = NULL;
	bool inherits, copies;
	uint64_t watched = watch_before_fork(uc);

	follow_lock();
	inherits = shared_before_fork(ticket);
	lock_all();
	copies = memory_has_adopted();
	if (copies || inherits)
		done = meeting_new();
	if (done || !copies) {
		sock = keep_holds() ? process->sock : -1;
		pid = sys5(nr, flags, 0, UC_ARG3(uc), UC_ARG4(uc), UC_ARG5(uc));
	}
	if (pid == 0)
		order_after_fork(thread);
	unlock_all();
	if (pid == 0) {
		fork_child(shares_files ? -1 : sock, inherits ? ticket : NULL, watched, done);
		if (child_stack)
			UC_SP(uc) = child_stack;
	} else if (pid > 0 && done) {
		meeting_wait(done, pid, copies ? UINT32_MAX : TICKET_TURNS);
	}
	if (done)
		sys2(__NR_munmap, done, PF_PAGE_SIZE);
	UC_RET(uc) = pid;
}
