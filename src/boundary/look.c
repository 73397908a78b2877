/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Links of the program's own that lead to our places (ln -s /sys/bus/pci/devices x). A path's text does not show them,
 * and a walk costs a system call for each component. So the kernel is asked where the path ends: on a file system that
 * holds nothing of ours; or nowhere, though there is no link on the way. Only the rest is walked.
 */
#include "boundary/boundary.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static struct {
	uint64_t sys, dev;
	bool apart; /* both are file systems of their own */
	_Atomic bool known;
} places;

static uint64_t dev_of(const char *path)
{
	struct stat st;

	return sys4(__NR_newfstatat, AT_FDCWD, path, &st, 0) ? 0 : st.st_dev;
}

/* Threads that come here together find the same. */
static void places_learn(void)
{
	uint64_t root = dev_of("/");

	places.sys = dev_of("/sys");
	places.dev = dev_of("/dev");
	places.apart = places.sys && places.dev && places.sys != root && places.dev != root;
	atomic_store_explicit(&places.known, true, memory_order_release);
}

static bool places_apart(void)
{
	if (unlikely(!atomic_load_explicit(&places.known, memory_order_acquire)))
		places_learn();
	return places.apart;
}

/* Memory devices and terminals (Linux's devices.txt), which alone are opened often. */
static bool is_common_device(uint64_t rdev)
{
	unsigned int n = major(rdev);

	return n == 1 || n == 4 || n == 5 || (n >= 136 && n <= 143);
}

enum look look_found(const struct stat *st)
{
	static uint64_t tree;
	bool ours;

	if (unlikely(!tree && image.shadow[0]))
		tree = dev_of(image.shadow);
	/* A container may have its device nodes mounted one by one. */
	if (S_ISCHR(st->st_mode))
		ours = !is_common_device(st->st_rdev);
	else
		ours = !places_apart() || st->st_dev == places.sys || st->st_dev == places.dev || st->st_dev == tree;
	return ours ? LOOK_MAYBE : LOOK_ELSEWHERE;
}

long look_missing(int dirfd, const char *path, bool follow)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), .resolve = RESOLVE_NO_SYMLINKS};
	long fd = sys4(__NR_openat2, dirfd, path, &how, sizeof(how));

	if (fd < 0)
		return fd;
	sys1(__NR_close, fd);
	return 0;
}

enum look look(int dirfd, const char *path, bool follow)
{
	struct stat st;

	if (sys4(__NR_newfstatat, dirfd, path, &st, AT_NO_AUTOMOUNT | (follow ? 0 : AT_SYMLINK_NOFOLLOW)))
		return LOOK_MISSING;
	return look_found(&st);
}
