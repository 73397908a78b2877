/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/private.h"

/* A socket that nobody listens on any more is in the way; anything else is somebody's. */
static void remove_dead(const char *path, const struct sockaddr_un *sa)
{
	struct stat st;
	int probe;

	if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
		return;
	probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (const struct sockaddr *)sa, sizeof(*sa)) && errno == ECONNREFUSED)
		unlink(path);
	if (probe >= 0)
		close(probe);
}

int listen_at(const char *path, const char *prefix, char *address, size_t size, char *err, size_t errlen)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa);
	uint64_t token[2];
	int fd;

	if (path) {
		if (strlen(path) >= sizeof(sa.sun_path) || strlen(path) >= size) {
			snprintf(err, errlen, "socket path '%s' is longer than %zu bytes", path,
				 sizeof(sa.sun_path) - 1);
			return -EINVAL;
		}
		strcpy(sa.sun_path, path);
		strcpy(address, path);
		remove_dead(path, &sa);
	} else {
		if (getrandom(token, sizeof(token), 0) != sizeof(token))
			return -EIO;
		snprintf(address, size, "@%s-%016" PRIx64 "%016" PRIx64, prefix, token[0], token[1]);
		strcpy(sa.sun_path + 1, address + 1);
		len = offsetof(struct sockaddr_un, sun_path) + strlen(address);
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 128)) {
		int e = errno;

		snprintf(err, errlen, "cannot listen on %s: %s", address, strerror(e));
		close(fd);
		return path ? -EINVAL : -e;
	}
	if (path)
		chmod(path, 0600);
	return fd;
}
