/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

/* Something that a file must not take the place of. */
static bool is_special(const char *path)
{
	struct stat st;

	return !stat(path, &st) && !S_ISREG(st.st_mode);
}

/* Beside the file itself: a link to it stays one. */
static int part_name(const char *path, char real[PATH_MAX], char part[PATH_MAX])
{
	if (!realpath(path, real) && (size_t)snprintf(real, PATH_MAX, "%s", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	path = real;
	return (size_t)snprintf(part, PATH_MAX, "%s.part", path) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int output_check(const char *path)
{
	char real[PATH_MAX], part[PATH_MAX];
	struct stat st;
	int ret = part_name(path, real, part), fd;

	if (ret)
		return ret;
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return -EISDIR;
	/* A pipe that nobody reads yet is no mistake. */
	if (is_special(path))
		return access(path, W_OK) ? -errno : 0;
	fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	if (fd < 0)
		return -errno;
	close(fd);
	unlink(part);
	return 0;
}

FILE *output_open(const char *path)
{
	char real[PATH_MAX], part[PATH_MAX];
	int ret = part_name(path, real, part);

	if (ret) {
		errno = -ret;
		return NULL;
	}
	return fopen(is_special(path) ? path : part, "we");
}

int output_close(const char *path, FILE *out, int err)
{
	char real[PATH_MAX], part[PATH_MAX];

	if (fclose(out) && !err)
		err = -errno;
	if (is_special(path) || part_name(path, real, part))
		return err;
	if (!err && rename(part, real))
		err = -errno;
	if (err)
		unlink(part);
	return err;
}
