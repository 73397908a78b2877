/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tree's own directory. Its owner holds a flock on the file LOCK in it: that tells a tree in use from one whose
 * broker died, across PID namespaces too, which a PID would not.
 *
 * A tree is created and swept without any lock around both. The sweeper takes the flock before it touches anything
 * and removes the lock file last but one, the directory last. The creator, having taken the flock, checks that its
 * lock file is still there, and starts over if it is not.
 */
#include "broker/shadow_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

#define NAME_PREFIX "pinfold-tree-"
#define LOCK	    ".lock"

/* What a client may have put into the tree, or keeps putting there: more stays, for the next sweep to try again. */
#define DEPTH_MAX   32
#define PASSES_MAX  16
#define ENTRIES_MAX 100000

struct linux_dirent {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

/* The places that may hold a tree, best first; NULL past the last. */
static const char *parent(unsigned int i)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	const char *const where[] = {runtime && runtime[0] == '/' ? runtime : "/dev/shm", "/dev/shm", "/tmp"};

	return i < ARRAY_SIZE(where) ? where[i] : NULL;
}

/* ---- removing ---- */

static bool empty_below(int dir_fd, dev_t dev, unsigned int depth);

/* Opens a directory below the tree whatever its mode; never a link. */
static int directory_open(int dir_fd, const char *name)
{
	char self[32];
	int fd;

	fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fd;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	chmod(self, 0700); /* works on what fd stands for; if there is no /proc the directory may just stay */
	close(fd);
	return openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool remove_entry(int dir_fd, const char *name, dev_t dev, unsigned int depth)
{
	struct stat st;
	int fd;

	if (!unlinkat(dir_fd, name, 0))
		return true;
	if (errno != EISDIR && errno != EPERM)
		return errno == ENOENT;
	if (!unlinkat(dir_fd, name, AT_REMOVEDIR))
		return true;
	if (depth == DEPTH_MAX)
		return false;
	fd = directory_open(dir_fd, name);
	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && st.st_dev == dev)
		empty_below(fd, dev, depth + 1);
	close(fd);
	return !unlinkat(dir_fd, name, AT_REMOVEDIR);
}

/* The directory that path's last name is in; -1: there is none, or a link is on the way. */
static int parent_open(int root_fd, const char *path, const char **name)
{
	char part[NAME_MAX + 1];
	int fd = dup(root_fd), next;
	const char *slash;

	for (; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	*name = path;
	return fd;
}

void root_remove_path(int root_fd, const char *path)
{
	const char *name;
	struct stat st;
	int fd = parent_open(root_fd, path, &name);

	if (fd < 0)
		return;
	if (!fstat(fd, &st))
		remove_entry(fd, name, st.st_dev, 1);
	close(fd);
}

/* One reading of the directory. Returns how many entries went; *left: how many did not. */
static unsigned int empty_pass(int dir_fd, dev_t dev, unsigned int depth, unsigned int *left)
{
	_Alignas(struct linux_dirent) char buf[1024];
	unsigned int gone = 0;
	long n;

	*left = 0;
	lseek(dir_fd, 0, SEEK_SET);
	while (gone + *left < ENTRIES_MAX && (n = syscall(SYS_getdents64, dir_fd, buf, sizeof(buf))) > 0) {
		for (long i = 0; i < n;) {
			const struct linux_dirent *d = (const struct linux_dirent *)(buf + i);

			i += d->reclen;
			if (!strcmp(d->name, ".") || !strcmp(d->name, "..") || (!depth && !strcmp(d->name, LOCK)))
				continue;
			if (remove_entry(dir_fd, d->name, dev, depth))
				gone++;
			else
				++*left;
		}
	}
	return gone;
}

/* Removing while reading may make a reading skip entries: read again until it finds nothing more to do. */
static bool empty_below(int dir_fd, dev_t dev, unsigned int depth)
{
	unsigned int left = 0;

	for (int i = 0; i < PASSES_MAX; i++)
		if (!empty_pass(dir_fd, dev, depth, &left))
			return !left;
	return false;
}

bool root_empty(int dir_fd)
{
	struct stat st;

	fchmod(dir_fd, 0700);
	return !fstat(dir_fd, &st) && empty_below(dir_fd, st.st_dev, 0);
}

void root_remove(const char *root, int root_fd, int lock_fd)
{
	struct stat st, now;
	bool same;

	/* Someone may have moved the tree and put another thing in its place. */
	same = !fstat(root_fd, &st) && !lstat(root, &now) && st.st_dev == now.st_dev && st.st_ino == now.st_ino;
	if (root_empty(root_fd) && !unlinkat(root_fd, LOCK, 0) && same)
		rmdir(root);
	close(root_fd);
	close(lock_fd);
}

/* ---- sweeping ---- */

static void sweep_one(int parent_fd, const char *name)
{
	int dir_fd, lock_fd;
	struct stat st;

	dir_fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir_fd < 0)
		return;
	if (fstat(dir_fd, &st) || st.st_uid != geteuid()) {
		close(dir_fd);
		return;
	}
	lock_fd = openat(dir_fd, LOCK, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (lock_fd >= 0) {
		if (!flock(lock_fd, LOCK_EX | LOCK_NB) && root_empty(dir_fd) && !unlinkat(dir_fd, LOCK, 0))
			unlinkat(parent_fd, name, AT_REMOVEDIR);
		close(lock_fd);
	} else if (errno == ENOENT) { /* died between two steps, at either end: nothing else is in it */
		unlinkat(parent_fd, name, AT_REMOVEDIR);
	}
	close(dir_fd);
}

static void sweep_parent(const char *path)
{
	struct dirent *d;
	DIR *dir = opendir(path);

	if (!dir)
		return;
	while ((d = readdir(dir)))
		if (!strncmp(d->d_name, NAME_PREFIX, strlen(NAME_PREFIX)))
			sweep_one(dirfd(dir), d->d_name);
	closedir(dir);
}

void root_sweep(void)
{
	const char *path;

	for (unsigned int i = 0; (path = parent(i)); i++)
		sweep_parent(path);
}

/* ---- creating ---- */

/* 0, -EAGAIN if a sweeper was faster, or -errno. */
static int root_lock(int root_fd, int *lock_fd)
{
	struct stat st;
	int fd, ret = 0;

	fd = openat(root_fd, LOCK, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		ret = errno == EWOULDBLOCK ? -EAGAIN : -errno;
	else if (fstat(fd, &st) || !st.st_nlink)
		ret = -EAGAIN;
	if (ret)
		close(fd);
	else
		*lock_fd = fd;
	return ret;
}

static int root_create_in(const char *where, char root[SHADOW_ROOT_MAX], int *root_fd, int *lock_fd)
{
	char path[PATH_MAX];
	int fd, ret;

	/* The boundary recognises the tree by its real path. */
	if (!realpath(where, path))
		return -errno;
	if (snprintf(root, SHADOW_ROOT_MAX, "%s/" NAME_PREFIX "XXXXXX", strcmp(path, "/") ? path : "") >=
	    SHADOW_ROOT_MAX)
		return -ENAMETOOLONG;
	if (!mkdtemp(root))
		return -errno;
	if (chmod(root, 0700)) /* what the umask may have taken away */
		return errno == ENOENT ? -EAGAIN : -errno;
	fd = open(root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	ret = root_lock(fd, lock_fd);
	if (ret) {
		rmdir(root);
		close(fd);
		return ret;
	}
	*root_fd = fd;
	return 0;
}

int root_create(char root[SHADOW_ROOT_MAX], int *root_fd, int *lock_fd)
{
	const char *where;
	int ret = -ENOENT;

	for (unsigned int i = 0; (where = parent(i)); i++) {
		for (int tries = 0; tries < 100; tries++) {
			ret = root_create_in(where, root, root_fd, lock_fd);
			if (ret != -EAGAIN)
				break;
		}
		if (!ret)
			return 0;
	}
	return ret;
}
