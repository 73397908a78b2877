/* SPDX-License-Identifier: BSD-3-Clause */
/* SIGSYS: what becomes of each trapped system call. */
#include "boundary/boundary.h"

#include <sys/mman.h>

void *trap_resume_with(ucontext_t *uc, size_t n)
{
	uint64_t sp = UC_SP(uc), data = ALIGN_DOWN(sp - 128 - n, 16UL);

	/* What the stub pops as it leaves: the arguments that may be changed for the call (a system call preserves its
	 * registers, and compilers count on that), the return address, the stack pointer. */
	uint64_t frame[] = {UC_ARG1(uc), UC_ARG4(uc), UC_ARG5(uc), UC_ARG6(uc), UC_IP(uc), sp};
	uint64_t *top = (uint64_t *)data - ARRAY_SIZE(frame);

	if (guard_copy(top, frame, sizeof(frame))) {
		UC_RET(uc) = -EFAULT;
		return NULL;
	}
	UC_SP(uc) = (long)top;
	UC_IP(uc) = STUB_SWITCH;
	return (void *)data;
}

void trap_resume(ucontext_t *uc)
{
	uint64_t *top = (uint64_t *)(UC_SP(uc) - 128 - 8), ret = UC_IP(uc);

	if (guard_copy(top, &ret, sizeof(ret))) {
		UC_RET(uc) = -EFAULT;
		return;
	}
	UC_SP(uc) = (long)top;
	UC_IP(uc) = STUB_RESUME;
}

void trap_handler(int sig, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	long nr = si->si_syscall;

	/* On entry to a trapped call rax still holds its number: the handlers may rely on that and trap_resume runs it
	 * again. */
	UC_RET(uc) = nr;
	switch (nr) {
	case __NR_ioctl:
		object_ioctl(uc);
		return;
	case __NR_read:
		object_read(uc);
		return;
	case __NR_write:
		object_write(uc);
		return;
	case __NR_pread64:
		object_pread(uc);
		return;
	case __NR_pwrite64:
		object_pwrite(uc);
		return;
	case __NR_preadv:
	case __NR_preadv2:
		object_iov(uc, false, nr == __NR_preadv2);
		return;
	case __NR_pwritev:
	case __NR_pwritev2:
		object_iov(uc, true, nr == __NR_pwritev2);
		return;
	case __NR_mmap:
		memory_mmap(uc);
		return;
	case __NR_munmap:
		memory_munmap(uc);
		return;
	case __NR_mremap:
		memory_mremap(uc);
		return;
	case __NR_madvise:
		memory_madvise(uc);
		return;
	case __NR_fork:
	case __NR_clone:
		process_fork(uc);
		return;
	case __NR_rt_sigaction:
		signals_sigaction(uc);
		return;
	case __NR_rt_sigprocmask:
		signals_sigprocmask(uc);
		return;
	case __NR_ppoll:
	case __NR_pselect6:
	case __NR_io_pgetevents:
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
	case __NR_rt_sigsuspend:
		signals_mask_argument(uc, nr);
		return;
	case __NR_ptrace:
		process_traceme(uc);
		return;
	case __NR_execve:
	case __NR_execveat:
		exec_syscall(uc, nr);
		return;
	case __NR_close:
	case __NR_close_range:
	case __NR_dup2:
	case __NR_dup3:
		keep_syscall(uc, nr);
		return;
	case __NR_mprotect:
	case __NR_pkey_mprotect:
	case __NR_brk:
	case __NR_shmdt:
	case __NR_shmat:
	case __NR_remap_file_pages:
	case __NR_exit_group:
		follow_syscall(uc, nr);
		return;
	case __NR_ftruncate:
	case __NR_fallocate:
		watch_syscall(uc, nr);
		return;
	case __NR_fstat:
		node_fstat_syscall(uc);
		return;
	default:
		file_syscall(uc, nr);
	}
}
