/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one descriptor of ours in the program's table: the session's socket. Programs close every descriptor they do not
 * know, or take a number for their own; ours lives in a range of its own, where such calls are seen, and steps aside.
 */
#include "boundary/boundary.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

static bool in_range(uint64_t fd)
{
	return fd - image.keep_first < KEEP_FD_COUNT;
}

bool keep_holds(void)
{
	struct stat st;

	/* Outside of the range nobody sees what becomes of it. */
	return in_range((uint32_t)process->sock) ||
	       (!sys2(__NR_fstat, process->sock, &st) && S_ISSOCK(st.st_mode) && st.st_ino == process->sock_ino);
}

static bool is_ours(uint64_t fd)
{
	return process->channel && process->sock >= 0 && fd == (uint32_t)process->sock && keep_holds();
}

void keep_init(void)
{
	uint64_t limit[2];

	image.keep_first = KEEP_FD_FIRST;
	if (!sys4(__NR_prlimit64, 0, RLIMIT_NOFILE, NULL, limit) && limit[0] < KEEP_FD_FIRST + KEEP_FD_COUNT)
		image.keep_first = limit[0] > 2 * KEEP_FD_COUNT ? limit[0] - KEEP_FD_COUNT : limit[0] / 2;
}

int keep_move(int fd)
{
	long high = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, image.keep_first);

	if (high < 0)
		return fd; /* a low limit on descriptors: stay where we are */
	sys1(__NR_close, fd);
	return high;
}

int keep_move_asking(int fd)
{
	uint32_t first = image.keep_first + KEEP_FD_COUNT;
	long high = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, first);

	if (high < 0)
		return fd;
	if ((uint32_t)high - first >= ASK_FD_COUNT) {
		sys1(__NR_close, high);
		return fd;
	}
	sys1(__NR_close, fd);
	return high;
}

/* Another place for it, in the range if there is one. -errno: none anywhere. */
static long keep_copy(int fd)
{
	long high = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, fd + 1), low;

	if (in_range(high))
		return high;
	low = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, image.keep_first);
	if (!in_range(low) && high >= 0) {
		if (low >= 0)
			sys1(__NR_close, low);
		return high;
	}
	if (high >= 0)
		sys1(__NR_close, high);
	return low;
}

/* What is ours is not there for the program. */
static void keep_close(ucontext_t *uc)
{
	if (is_ours((uint32_t)UC_ARG1(uc)))
		UC_RET(uc) = -EBADF;
	else
		trap_resume(uc);
}

static void keep_close_range(ucontext_t *uc)
{
	uint64_t first = (uint32_t)UC_ARG1(uc), last = (uint32_t)UC_ARG2(uc), sock = (uint32_t)process->sock;
	long ret = 0;

	if (first > last || sock < first || sock > last || !is_ours(sock)) {
		trap_resume(uc);
		return;
	}
	if (sock > first)
		ret = sys3(__NR_close_range, first, sock - 1, UC_ARG3(uc));
	if (!ret && sock < last)
		ret = sys3(__NR_close_range, sock + 1, last, UC_ARG3(uc));
	UC_RET(uc) = ret;
}

/* dup2, dup3: the program wants this number. Another thread may be about to use it: the old one stays open until it is
 * replaced, and a fork comes before or after. */
static void keep_dup(ucontext_t *uc, long nr)
{
	bool done = false;

	/* A vfork child has a table of its own, and with it its own copy to lose. */
	if (!process_is_vfork_child()) {
		spin_lock(&process->lock, LOCK_PROCESS);
		if (is_ours((uint32_t)UC_ARG2(uc)) && UC_ARG1(uc) != UC_ARG2(uc) &&
		    sys2(__NR_fcntl, UC_ARG1(uc), F_GETFD) >= 0) {
			long fd = keep_copy(process->sock);

			if (fd >= 0)
				process->sock = fd;
			UC_RET(uc) = sys3(nr, UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc));
			done = true;
		}
		spin_unlock(&process->lock, LOCK_PROCESS);
	}
	if (!done)
		trap_resume(uc);
}

void keep_syscall(ucontext_t *uc, long nr)
{
	if (nr == __NR_close)
		keep_close(uc);
	else if (nr == __NR_close_range)
		keep_close_range(uc);
	else
		keep_dup(uc, nr);
}
