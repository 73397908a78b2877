/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SIGSYS, SIGSEGV and SIGBUS are ours. A forced signal that is blocked or has no handler kills the process, so the
 * program never really blocks them nor takes them away: its masks are edited on the way in, and its own handlers for
 * the three stand in a table here and are called for what is not ours.
 */
#include "boundary/boundary.h"

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

#define SA_RESTORER_ 0x04000000UL
#define SIGBIT(s)    (1ULL << ((s)-1))
#define OURS	     (SIGBIT(SIGSYS) | SIGBIT(SIGSEGV) | SIGBIT(SIGBUS))

/* Everything asynchronous waits while we are inside; faults cannot. */
#define INSIDE ~(OURS | SIGBIT(SIGTRAP) | SIGBIT(SIGILL) | SIGBIT(SIGFPE))

static const int our_signals[] = {SIGSYS, SIGSEGV, SIGBUS};
static struct kernel_sigaction shadow[3];
static uint64_t stripped[65]; /* of OURS, what the program asked to be blocked in the handler of each signal */
static _Atomic uint32_t shadow_lock;

static struct kernel_sigaction *shadow_of(int sig)
{
	return &shadow[sig == SIGSYS ? 0 : sig == SIGSEGV ? 1 : 2];
}

static uint64_t *frame_mask(ucontext_t *uc)
{
	return (uint64_t *)&uc->uc_sigmask;
}

static void set_mask(uint64_t mask)
{
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

/*
 * A fault or signal that is the program's own. With a handler: it runs now, with the mask that Linux would give it.
 * Without: the default action, by returning to the faulting instruction with the default disposition, so that a core
 * dump shows the right place.
 */
static void deliver(int sig, siginfo_t *si, ucontext_t *uc)
{
	bool turned = si->si_signo != sig; /* into another one: the instruction would not raise it again */
	struct kernel_sigaction *s, sa, dfl = {SIG_DFL, SA_RESTORER_, (void *)STUB_RETURN, 0};
	bool forced = si->si_code > 0;

	sig = si->si_signo;
	s = shadow_of(sig);
	spin_lock(&shadow_lock, LOCK_SIGNALS);
	sa = *s;
	if (sa.flags & SA_RESETHAND)
		s->handler = SIG_DFL;
	spin_unlock(&shadow_lock, LOCK_SIGNALS);

	if (sa.handler == SIG_IGN && !forced)
		return;
	if (sa.handler == SIG_DFL || sa.handler == SIG_IGN) {
		if (forced)
			rpc_crash(sig, (uint64_t)si->si_addr, uc);
		sys4(__NR_rt_sigaction, sig, &dfl, NULL, 8);
		if (turned)
			sys4(__NR_rt_tgsigqueueinfo, sys0(__NR_getpid), sys0(__NR_gettid), sig, si);
		else if (!forced)
			sys3(__NR_tgkill, sys0(__NR_getpid), sys0(__NR_gettid), sig);
		return;
	}
	set_mask((*frame_mask(uc) | sa.mask | (sa.flags & SA_NODEFER ? 0 : SIGBIT(sig))) & ~OURS);
	if (sa.flags & SA_SIGINFO)
		((void (*)(int, siginfo_t *, void *))sa.handler)(sig, si, uc);
	else
		((void (*)(int))sa.handler)(sig);
	*frame_mask(uc) &= ~OURS;
}

#define FAULT_WRITE 2 /* in a page fault's error code */

static void fault_handler(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;

	if (guard_fixup(uc))
		return;
	if (si->si_code > 0 && window_fault(uc, si))
		return;
	if (sig == SIGSEGV && si->si_code == SEGV_ACCERR && uc->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE &&
	    memory_fault((uint64_t)si->si_addr))
		return;
	deliver(sig, si, uc);
}

static void sys_handler(int sig, siginfo_t *si, void *ctx)
{
	/* The program may have a filter of its own that traps. */
	if (si->si_code == 1 /* SYS_SECCOMP */ && si->si_errno == FILTER_TRAP_DATA)
		trap_handler(sig, si, ctx);
	else
		deliver(sig, si, ctx);
}

static long take(int sig, struct kernel_sigaction *old)
{
	struct kernel_sigaction sa = {
	    sig == SIGSYS ? (void *)sys_handler : (void *)fault_handler,
	    SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER_,
	    (void *)STUB_RETURN,
	    INSIDE,
	};

	return sys4(__NR_rt_sigaction, sig, &sa, old, 8);
}

int signals_init(void)
{
	uint64_t ours = OURS;

	for (unsigned int i = 0; i < ARRAY_SIZE(our_signals); i++) {
		long ret = take(our_signals[i], shadow_of(our_signals[i]));

		if (ret)
			return ret;
	}
	return sys4(__NR_rt_sigprocmask, SIG_UNBLOCK, &ours, NULL, 8);
}

void signals_sigaction(ucontext_t *uc)
{
	int sig = UC_ARG1(uc);
	struct kernel_sigaction sa = {0}, old;
	uint64_t actp = UC_ARG2(uc), oldp = UC_ARG3(uc), asked;
	bool ours = sig == SIGSYS || sig == SIGSEGV || sig == SIGBUS, keep;
	long ret = 0;

	if (UC_ARG4(uc) != 8) {
		UC_RET(uc) = -EINVAL;
		return;
	}
	if (actp && guard_copy(&sa, (void *)actp, sizeof(sa))) {
		UC_RET(uc) = -EFAULT;
		return;
	}
	asked = sa.mask & OURS;
	sa.mask &= ~(OURS | SIGBIT(SIGKILL) | SIGBIT(SIGSTOP));
	/* posix_spawn's child resets its handlers while it still runs on its parent's memory. */
	keep = actp && !process_is_vfork_child();
	spin_lock(&shadow_lock, LOCK_SIGNALS);
	if (!ours)
		ret = sys4(__NR_rt_sigaction, sig, actp ? &sa : NULL, &old, 8);
	else
		old = *shadow_of(sig);
	if (!ret) {
		old.mask |= stripped[sig];
		if (keep)
			stripped[sig] = asked;
		if (keep && ours)
			*shadow_of(sig) = sa;
	}
	spin_unlock(&shadow_lock, LOCK_SIGNALS);
	if (!ret && oldp && guard_copy((void *)oldp, &old, sizeof(old)))
		ret = -EFAULT;
	UC_RET(uc) = ret;
}

void signals_sigprocmask(ucontext_t *uc)
{
	uint64_t set, old = *frame_mask(uc), now = old;

	if (UC_ARG4(uc) != 8) {
		UC_RET(uc) = -EINVAL;
		return;
	}
	if (UC_ARG2(uc)) {
		if (guard_copy(&set, (void *)UC_ARG2(uc), sizeof(set))) {
			UC_RET(uc) = -EFAULT;
			return;
		}
		switch (UC_ARG1(uc)) {
		case SIG_BLOCK:
			now = old | set;
			break;
		case SIG_UNBLOCK:
			now = old & ~set;
			break;
		case SIG_SETMASK:
			now = set;
			break;
		default:
			UC_RET(uc) = -EINVAL;
			return;
		}
		*frame_mask(uc) = now & ~OURS;
	}
	UC_RET(uc) = 0;
	if (UC_ARG3(uc) && guard_copy((void *)UC_ARG3(uc), &old, sizeof(old)))
		UC_RET(uc) = -EFAULT;
}

void signals_lock(void)
{
	spin_lock(&shadow_lock, LOCK_SIGNALS);
}

void signals_unlock(void)
{
	spin_unlock(&shadow_lock, LOCK_SIGNALS);
}

/*
 * Makes the call in the frame with what the next image inherits as the program left it: its mask, and which of our
 * three it ignores.
 */
long signals_execve(ucontext_t *uc, long nr)
{
	struct kernel_sigaction ignore = {SIG_IGN, SA_RESTORER_, (void *)STUB_RETURN, 0};
	long ret;

	for (unsigned int i = 0; i < ARRAY_SIZE(our_signals); i++)
		if (shadow[i].handler == SIG_IGN)
			sys4(__NR_rt_sigaction, our_signals[i], &ignore, NULL, 8);
	set_mask(*frame_mask(uc));
	ret = sys5(nr, UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), UC_ARG4(uc), UC_ARG5(uc));
	set_mask(INSIDE);
	for (unsigned int i = 0; i < ARRAY_SIZE(our_signals); i++)
		if (shadow[i].handler == SIG_IGN)
			take(our_signals[i], NULL);
	return ret;
}

/* Calls that wait with a mask of their own: they get a copy of it without our three. */
void signals_mask_argument(ucontext_t *uc, long nr)
{
	struct {
		uint64_t mask;
		uint64_t arg[2]; /* pselect6, io_pgetevents: pointer to the mask, its size */
	} * room, copy = {0};
	bool packed = nr == __NR_pselect6 || nr == __NR_io_pgetevents;
	greg_t *arg = nr == __NR_ppoll		 ? &UC_ARG4(uc)
		      : packed			 ? &UC_ARG6(uc)
		      : nr == __NR_rt_sigsuspend ? &UC_ARG1(uc)
						 : &UC_ARG5(uc);
	uint64_t maskp = *arg;

	if (packed) {
		if (guard_copy(copy.arg, (void *)maskp, sizeof(copy.arg))) {
			trap_resume(uc); /* EFAULT is the kernel's to say */
			return;
		}
		maskp = copy.arg[0];
	}
	if (!maskp || guard_copy(&copy.mask, (void *)maskp, sizeof(copy.mask))) {
		trap_resume(uc);
		return;
	}
	copy.mask &= ~OURS;
	room = trap_resume_with(uc, sizeof(copy));
	if (!room)
		return;
	copy.arg[0] = (uint64_t)&room->mask;
	if (guard_copy(room, &copy, sizeof(copy))) {
		UC_RET(uc) = -EFAULT;
		return;
	}
	*arg = packed ? (greg_t)room->arg : (greg_t)&room->mask;
}
