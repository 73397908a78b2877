/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/launch.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "proto/channel.h"
#include "proto/ctl.h"

#define BOUNDARY "libpinfold-boundary.so"

/* ---- the boundary library ---- */

/* Relative to the directory of our own binary: the build tree, then what an installation looks like. */
static const char *const boundary_places[] = {
    "../boundary/" BOUNDARY,
    "../lib/pinfold/" BOUNDARY,
    "../lib/x86_64-linux-gnu/pinfold/" BOUNDARY,
    "../lib64/pinfold/" BOUNDARY,
};

static bool boundary_try(const char *candidate, char *path, size_t size)
{
	char real[PATH_MAX];

	if (!realpath(candidate, real) || access(real, R_OK) || strlen(real) >= size)
		return false;
	strcpy(path, real);
	return true;
}

int launch_find_boundary(char *path, size_t size, char *err, size_t errlen)
{
	const char *given = getenv("PINFOLD_BOUNDARY");
	char dir[PATH_MAX], candidate[PATH_MAX + 64];
	bool found = false;
	ssize_t n;

	if (given && *given) {
		if (!boundary_try(given, path, size)) {
			snprintf(err, errlen, "PINFOLD_BOUNDARY=%s: %s", given, strerror(errno));
			return -ENOENT;
		}
		found = true;
	}
	n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	dir[MAX(n, 0)] = 0;
	*(strrchr(dir, '/') ?: dir) = 0;
	for (size_t i = 0; i < ARRAY_SIZE(boundary_places) && !found; i++) {
		snprintf(candidate, sizeof(candidate), "%s/%s", dir, boundary_places[i]);
		found = boundary_try(candidate, path, size);
	}
	if (!found && !boundary_try(PINFOLD_LIBDIR "/" BOUNDARY, path, size)) {
		snprintf(err, errlen, "%s is neither near %s nor in %s", BOUNDARY, dir, PINFOLD_LIBDIR);
		return -ENOENT;
	}
	/* The loader takes both as separators, and knows no way to quote them. */
	if (strpbrk(path, " :")) {
		snprintf(err, errlen, "the path %s has a blank or a colon, which LD_PRELOAD cannot express", path);
		return -EINVAL;
	}
	return 0;
}

/* ---- the environment ---- */

static bool list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (; *list; list += strspn(list, " :")) {
		size_t n = strcspn(list, " :");

		if (n == len && !memcmp(list, word, len))
			return true;
		list += n;
	}
	return false;
}

/* NAME=value, joined with what is already there. */
static int environment_join(const char *name, const char *first, const char *second)
{
	char *joined;
	int ret;

	if (!*first || !*second)
		return setenv(name, *first ? first : second, 1) ? -ENOMEM : 0;
	if (asprintf(&joined, "%s:%s", first, second) < 0)
		return -ENOMEM;
	ret = setenv(name, joined, 1) ? -ENOMEM : 0;
	free(joined);
	return ret;
}

int launch_environment(const char *boundary, const char *address, const char *control)
{
	const char *preload = getenv("LD_PRELOAD") ?: "";
	const char *asan = getenv("ASAN_OPTIONS") ?: "";
	int ret = 0;

	if (!list_has(preload, boundary))
		ret = environment_join("LD_PRELOAD", boundary, preload);
	/* A program built with AddressSanitizer insists on its runtime's being first, which a preloaded library is. */
	if (!ret && !strstr(asan, "verify_asan_link_order"))
		ret = environment_join("ASAN_OPTIONS", asan, "verify_asan_link_order=0");
	if (!ret && setenv(ENV_SOCKET, address, 1))
		ret = -ENOMEM;
	if (!ret && *control ? setenv(ENV_CONTROL, control, 1) : unsetenv(ENV_CONTROL))
		ret = -ENOMEM;
	return ret;
}

/* ---- a standing broker ---- */

void launch_control_beside(const char *address, char *control, size_t size)
{
	if (snprintf(control, size, "%s" CTL_SUFFIX, address) > CTL_PATH_MAX || *address == '@')
		*control = 0;
}

/* A session is opened and dropped again: what the broker says first tells whether we understand each other. */
static int broker_greeting(int fd)
{
	struct timeval patience = {.tv_sec = 5};
	struct hello hello = {0};
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	do
		n = recv(fd, &hello, sizeof(hello), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if (n < (ssize_t)(2 * sizeof(uint32_t)) || hello.magic != CHANNEL_MAGIC)
		return -EPROTO;
	return hello.version == CHANNEL_VERSION ? 0 : -EPROTONOSUPPORT;
}

static int broker_connect(const char *address, const char *path, char *err, size_t errlen)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	size_t len = strlen(address);
	int fd, ret;

	if (len >= sizeof(sun.sun_path)) {
		snprintf(err, errlen, "--connect %s: the path of a socket has at most %zu bytes", path,
			 sizeof(sun.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(sun.sun_path, address, len);
	if (*address == '@')
		sun.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		snprintf(err, errlen, "no socket: %s", strerror(errno));
		return -errno;
	}
	if (connect(fd, (struct sockaddr *)&sun,
		    offsetof(struct sockaddr_un, sun_path) + len + (*address == '@' ? 0 : 1))) {
		ret = -errno;
		snprintf(err, errlen, "--connect %s: nothing that serves there (%s); start `pinfold serve --socket %s`",
			 path, strerror(errno), path);
	} else {
		ret = broker_greeting(fd);
		if (ret == -EPROTONOSUPPORT)
			snprintf(err, errlen, "--connect %s: that broker is of another version of Pinfold", path);
		else if (ret)
			snprintf(err, errlen, "--connect %s: what listens there is no broker, or does not answer (%s)",
				 path, strerror(-ret));
	}
	close(fd);
	return ret;
}

int launch_check_broker(const char *path, char *address, size_t size, char *err, size_t errlen)
{
	char real[PATH_MAX];

	/* The program may change its directory. */
	if (*path != '@' && !realpath(path, real)) {
		int ret = -errno;

		snprintf(err, errlen, "--connect %s: %s; start `pinfold serve --socket %s` first", path,
			 strerror(errno), path);
		return ret;
	}
	snprintf(address, size, "%s", *path == '@' ? path : real);
	return broker_connect(address, path, err, errlen);
}
