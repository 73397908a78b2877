/* SPDX-License-Identifier: BSD-3-Clause */
#include "broker/shadow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The directory is made with the mode that it shall have whatever the umask is. */
static int dir_make(int root_fd, const char *path)
{
	if (mkdirat(root_fd, path, 0700))
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(root_fd, path, 0755, 0) ? -errno : 0;
}

static int parents_make(int root_fd, const char *path)
{
	char dir[PATH_MAX];
	int ret;

	if (strlen(path) >= sizeof(dir))
		return -ENAMETOOLONG;
	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		memcpy(dir, path, p - path);
		dir[p - path] = 0;
		ret = dir_make(root_fd, dir);
		if (ret)
			return ret;
	}
	return 0;
}

/* The parents are there nearly always: they are made when it turns out that they are not. */
int tree_dir(int root_fd, const char *path)
{
	int ret = dir_make(root_fd, path);

	if (ret != -ENOENT)
		return ret;
	ret = parents_make(root_fd, path);
	return ret ? ret : dir_make(root_fd, path);
}

int tree_link(int root_fd, const char *path, const char *target)
{
	int ret = symlinkat(target, root_fd, path) ? -errno : 0;

	if (ret == -ENOENT) {
		ret = parents_make(root_fd, path);
		if (!ret)
			ret = symlinkat(target, root_fd, path) ? -errno : 0;
	}
	return ret == -EEXIST ? 0 : ret;
}

static int data_write(int fd, const char *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(fd, data + done, len - done, done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		done += n;
	}
	return 0;
}

int tree_file(int root_fd, const char *path, mode_t mode, const void *data, size_t len)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(root_fd, path, flags, 0600), ret;

	if (fd < 0 && errno == ENOENT) {
		ret = parents_make(root_fd, path);
		if (ret)
			return ret;
		fd = openat(root_fd, path, flags, 0600);
	}
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	ret = data_write(fd, data, len);
	if (!ret && fchmod(fd, mode))
		ret = -errno;
	close(fd);
	return ret;
}

int tree_printf(int root_fd, const char *path, mode_t mode, const char *fmt, ...)
{
	char buf[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof(buf))
		return -EOVERFLOW;
	return tree_file(root_fd, path, mode, buf, n);
}

/* The boundary knows what to make of it. */
int tree_node(int root_fd, const char *path, mode_t mode, unsigned int major, unsigned int minor)
{
	int ret = tree_file(root_fd, path, mode, "", 0);

	return ret ? ret : tree_resize(root_fd, path, makedev(major, minor));
}

int tree_resize(int root_fd, const char *path, off_t size)
{
	int fd = openat(root_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = ftruncate(fd, size) ? -errno : 0;
	close(fd);
	return ret;
}

int tree_update(int root_fd, const char *path, const void *data, size_t len)
{
	struct stat st;
	int fd, ret;

	/* The mode may forbid its owner to write; it is not changed when it does not. */
	fd = openat(root_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && !fstatat(root_fd, path, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode)) {
		if (fchmodat(root_fd, path, st.st_mode | 0200, 0))
			return -errno;
		fd = openat(root_fd, path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
		fchmodat(root_fd, path, st.st_mode, 0);
	}
	if (fd < 0)
		return -errno;
	ret = data_write(fd, data, len);
	if (!ret && ftruncate(fd, len))
		ret = -errno;
	close(fd);
	return ret;
}
