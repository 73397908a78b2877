/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stat says of device nodes. In the tree they are plain files, whose length is the device's number; descriptors of
 * them are sockets. A device that came from a group has no node: an anonymous inode, without a type.
 */
#include "boundary/boundary.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>

/* The kernel's encoding, new_encode_dev(). */
static uint32_t dev_major(uint64_t dev)
{
	return dev >> 8 & 0xfff;
}

static uint32_t dev_minor(uint64_t dev)
{
	return (dev & 0xff) | (dev >> 12 & ~0xffu);
}

static void stat_dress(struct stat *st)
{
	st->st_mode = S_IFCHR | (st->st_mode & 07777);
	st->st_rdev = st->st_size;
	st->st_size = 0;
	st->st_blocks = 0;
}

static void statx_dress(struct statx *stx)
{
	stx->stx_mode = S_IFCHR | (stx->stx_mode & 07777);
	stx->stx_rdev_major = dev_major(stx->stx_size);
	stx->stx_rdev_minor = dev_minor(stx->stx_size);
	stx->stx_size = 0;
	stx->stx_blocks = 0;
}

long node_dress(long nr, uint64_t out)
{
	struct statx stx;
	struct stat st;

	if (nr == __NR_statx) {
		if (guard_copy(&stx, (void *)out, sizeof(stx)))
			return -EFAULT;
		if (S_ISREG(stx.stx_mode))
			statx_dress(&stx);
		return guard_copy((void *)out, &stx, sizeof(stx)) ? -EFAULT : 0;
	}
	if (guard_copy(&st, (void *)out, sizeof(st)))
		return -EFAULT;
	if (S_ISREG(st.st_mode))
		stat_dress(&st);
	return guard_copy((void *)out, &st, sizeof(st)) ? -EFAULT : 0;
}

/* Where in the tree the descriptor's node is: "" for none. False: not a descriptor of ours. */
static bool node_of(int fd, struct scratch *s)
{
	size_t n = strlen(image.shadow);
	char *path = s->path.out;
	long len = object_name(fd, s->buf, sizeof(s->buf) - 1);

	if (len < 0)
		return false;
	s->buf[len] = 0;
	path[0] = 0;
	if (!strncmp(s->buf, "/dev/", 5) && n + len < sizeof(s->path.out)) {
		memcpy(path, image.shadow, n);
		memcpy(path + n, s->buf, len + 1);
	}
	return true;
}

bool node_statx(ucontext_t *uc, int fd, uint64_t flags, uint64_t mask, uint64_t out, struct scratch *s)
{
	struct statx stx;
	long ret;

	if (!node_of(fd, s))
		return false;
	if (s->path.out[0]) {
		ret = sys5(__NR_statx, AT_FDCWD, s->path.out, flags & ~(uint64_t)AT_EMPTY_PATH, mask, &stx);
		statx_dress(&stx);
	} else {
		ret = sys5(__NR_statx, fd, "", flags | AT_EMPTY_PATH, mask, &stx);
		stx.stx_mode = 0600;
	}
	UC_RET(uc) = !ret && guard_copy((void *)out, &stx, sizeof(stx)) ? -EFAULT : ret;
	return true;
}

bool node_fstat(ucontext_t *uc, int fd, uint64_t out, struct scratch *s)
{
	struct stat st;
	long ret;

	if (!node_of(fd, s))
		return false;
	if (s->path.out[0]) {
		ret = sys2(__NR_stat, s->path.out, &st);
		stat_dress(&st);
	} else {
		ret = sys2(__NR_fstat, fd, &st);
		st.st_mode = 0600;
	}
	UC_RET(uc) = !ret && guard_copy((void *)out, &st, sizeof(st)) ? -EFAULT : ret;
	return true;
}

void node_fstat_syscall(ucontext_t *uc)
{
	struct scratch *s;
	struct stat st;
	long ret = sys2(__NR_fstat, UC_ARG1(uc), &st);

	if (!ret && S_ISSOCK(st.st_mode)) {
		bool ours;

		s = scratch_get();
		ours = node_fstat(uc, UC_ARG1(uc), UC_ARG2(uc), s);
		scratch_put(s);
		if (ours)
			return;
	}
	if (!ret && guard_copy((void *)UC_ARG2(uc), &st, sizeof(st)))
		ret = -EFAULT;
	UC_RET(uc) = ret;
}
