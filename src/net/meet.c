/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/meet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define SOON_NS	  0ULL
#define AGAIN_NS  100000000ULL
#define LOOK_NS	  1000000000ULL /* whether the listener's name is still ours */
#define BACKLOG	  4
#define GREETINGS 16 /* of one turn of the loop */

static int socket_new(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* The descriptor of a connection, or -errno. A listener whose backlog is full says EAGAIN. */
static int dial(const struct meet *m)
{
	int fd = socket_new(), rc;

	if (fd < 0)
		return fd;
	if (!connect(fd, (const struct sockaddr *)&m->addr, sizeof(m->addr)))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* ---- listening ---- */

static void greet(struct loop_fd *w, uint32_t events)
{
	struct meet *m = container_of(w, struct meet, listener);

	for (int i = 0; i < GREETINGS && m->open; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			break;
		if (m->taken) {
			close(fd);
			continue;
		}
		m->taken = true;
		m->met(m, fd);
	}
}

static bool name_is_ours(const struct meet *m)
{
	struct stat st;

	return !lstat(m->addr.sun_path, &st) && st.st_dev == m->dev && st.st_ino == m->ino;
}

static void listener_close(struct meet *m)
{
	if (m->listener.fd < 0)
		return;
	loop_fd_del(m->loop, &m->listener);
	close(m->listener.fd);
	m->listener.fd = -1;
	if (name_is_ours(m))
		unlink(m->addr.sun_path);
}

/* Removes the name of a socket that nobody listens to; nothing else. */
static int stale_remove(const struct meet *m)
{
	struct stat st;

	if (lstat(m->addr.sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	return unlink(m->addr.sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

static int listener_bind(struct meet *m, int fd)
{
	struct stat st;

	if (bind(fd, (const struct sockaddr *)&m->addr, sizeof(m->addr)) < 0 || lstat(m->addr.sun_path, &st) < 0)
		return -errno;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	if (listen(fd, BACKLOG) < 0)
		return -errno;
	m->listener.fd = fd;
	return loop_fd_add(m->loop, &m->listener);
}

static int listener_open(struct meet *m)
{
	int rc = stale_remove(m), fd;

	if (rc)
		return rc;
	fd = socket_new();
	if (fd < 0)
		return fd;
	rc = listener_bind(m, fd);
	if (!rc)
		return 0;
	m->listener.fd = -1;
	close(fd);
	return rc;
}

/* ---- either ---- */

/*
 * Two who find a dead listener's name at the same time may both replace it; then the first one's name leads to the
 * second. He notices when he looks again.
 */
static int attempt(struct meet *m)
{
	int fd;

	if (m->listener.fd >= 0) {
		if (name_is_ours(m))
			return 0;
		listener_close(m);
	}
	fd = dial(m);
	if (fd >= 0 && m->role == MEET_LISTEN) {
		close(fd);
		return -EADDRINUSE;
	}
	if (fd >= 0) {
		m->taken = true;
		m->met(m, fd);
		return 0;
	}
	if (m->role != MEET_CONNECT && (fd == -ENOENT || fd == -ECONNREFUSED))
		return listener_open(m);
	return fd;
}

/* What the other side may still put right. */
static bool passes(const struct meet *m, int rc)
{
	return rc == -EAGAIN || (rc == -EADDRINUSE && m->role == MEET_EITHER) ||
	       (m->role == MEET_CONNECT && (rc == -ENOENT || rc == -ECONNREFUSED));
}

static void plan(struct meet *m)
{
	if (m->open && !m->taken)
		loop_timer_arm(m->loop, &m->again, m->listener.fd >= 0 ? LOOK_NS : AGAIN_NS);
}

static void again_expired(struct loop_timer *t)
{
	struct meet *m = container_of(t, struct meet, again);
	int rc = attempt(m);

	if (rc && !passes(m, rc) && rc != m->error)
		log_warn("net: %s: %s", m->addr.sun_path, strerror(-rc));
	m->error = passes(m, rc) ? 0 : rc;
	plan(m);
}

int meet_init(struct meet *m, struct loop *loop, const char *path, enum meet_role role,
	      void (*met)(struct meet *m, int fd))
{
	*m = (struct meet){
	    .loop = loop,
	    .role = role,
	    .addr = {.sun_family = AF_UNIX},
	    .listener = {.fd = -1, .events = EPOLLIN, .ready = greet},
	    .met = met,
	};
	loop_timer_init(&m->again, again_expired);
	if (strlen(path) >= sizeof(m->addr.sun_path))
		return -EINVAL;
	strcpy(m->addr.sun_path, path);
	return 0;
}

int meet_open(struct meet *m, bool check)
{
	int rc;

	m->open = true;
	m->taken = false;
	if (!check) {
		loop_timer_arm(m->loop, &m->again, SOON_NS);
		return 0;
	}
	rc = attempt(m);
	if (rc && !passes(m, rc)) {
		m->open = false;
		return rc;
	}
	plan(m);
	return 0;
}

void meet_lost(struct meet *m)
{
	m->taken = false;
	plan(m);
}

void meet_close(struct meet *m)
{
	m->open = false;
	loop_timer_cancel(m->loop, &m->again);
	listener_close(m);
}
