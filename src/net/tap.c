/* SPDX-License-Identifier: BSD-3-Clause */
/* "tap:NAME": the host's own network, where it permits that (Linux, Documentation/networking/tuntap.rst). */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/util.h"
#include "net/frame.h"
#include "net/internal.h"

#define BURST 64 /* frames of one turn of the loop */

struct tap_net {
	struct net n;
	struct loop_fd w;
	bool watched;
	size_t held; /* bytes of in that the card had no room for */
	struct loop_work again;
	uint8_t in[NET_FRAME_MAX + 1], out[NET_FRAME_MAX];
};

static struct tap_net *tap_of(struct net *n)
{
	return container_of(n, struct tap_net, n);
}

/* ---- to the host ---- */

/*
 * The frame is copied first: the kernel reads headers and the rest at different times, and a client may change them.
 * An interface that is not up refuses with EIO.
 */
static enum net_verdict tap_send(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len)
{
	struct tap_net *t = tap_of(n);
	ssize_t rc;

	if (frame_copy(iov, cnt, 0, t->out, len))
		return NET_DROPPED;
	do
		rc = write(t->w.fd, t->out, len);
	while (rc < 0 && errno == EINTR);
	return rc == (ssize_t)len ? NET_TAKEN : NET_DROPPED;
}

/* ---- from the host ---- */

static void watch(struct tap_net *t, bool yes)
{
	if (yes == t->watched)
		return;
	if (yes)
		t->watched = !loop_fd_add(t->n.loop, &t->w);
	else
		loop_fd_del(t->n.loop, &t->w);
	t->watched &= yes;
}

/* Reads and delivers, until there is nothing or no room. Without room, and while down, the host's queue is what waits.
 */
static void tap_run(struct tap_net *t)
{
	unsigned int n;

	net_hold(&t->n);
	for (n = 0; n < BURST && t->n.up && !t->n.closed; n++) {
		ssize_t len = t->held ? (ssize_t)t->held : read(t->w.fd, t->in, sizeof(t->in));

		if (len <= 0)
			break;
		t->held = net_deliver_raw(&t->n, t->in, (size_t)len) == NET_FULL ? (size_t)len : 0;
		if (t->held)
			break;
	}
	if (n)
		net_delivered(&t->n);
	if (!t->n.closed)
		watch(t, t->n.up && !t->held);
	net_release(&t->n);
}

static void tap_ready(struct loop_fd *w, uint32_t events)
{
	tap_run(container_of(w, struct tap_net, w));
}

static void again_run(struct loop_work *w)
{
	tap_run(container_of(w, struct tap_net, again));
}

static void tap_readable(struct net *n)
{
	struct tap_net *t = tap_of(n);

	if (t->held)
		loop_work_queue(n->loop, &t->again);
}

static void tap_set_up(struct net *n, bool up)
{
	struct tap_net *t = tap_of(n);

	t->held = 0;
	watch(t, up);
}

/* ---- life ---- */

static void tap_close(struct net *n)
{
	struct tap_net *t = tap_of(n);

	loop_work_cancel(n->loop, &t->again);
	watch(t, false);
}

static void tap_destroy(struct net *n)
{
	struct tap_net *t = tap_of(n);

	if (t->w.fd >= 0)
		close(t->w.fd);
	free(t);
}

static int device_open(const char *name, char *err, size_t errlen)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd, rc;

	if (strlen(name) >= sizeof(ifr.ifr_name)) {
		snprintf(err, errlen, "net=tap: '%s' is longer than the %zu letters of an interface's name", name,
			 sizeof(ifr.ifr_name) - 1);
		return -EINVAL;
	}
	strcpy(ifr.ifr_name, name);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		snprintf(err, errlen, "net=tap: /dev/net/tun: %s", strerror(-rc));
		return rc;
	}
	if (!ioctl(fd, TUNSETIFF, &ifr))
		return fd;
	rc = -errno;
	close(fd);
	if (rc == -EPERM)
		snprintf(
		    err, errlen,
		    "net=tap: %s: not permitted; as root: ip tuntap add %s mode tap user USER && ip link set %s up",
		    name, name, name);
	else
		snprintf(err, errlen, "net=tap: %s: %s", name,
			 rc == -EINVAL ? "is another kind of interface, or no name for one" : strerror(-rc));
	return rc;
}

static int tap_open(const struct net_env *env, const struct net_args *a, struct net **out, char *err, size_t errlen)
{
	struct tap_net *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	net_init(&t->n, &net_tap, env);
	t->n.link = true;
	t->w = (struct loop_fd){.fd = -1, .events = EPOLLIN, .ready = tap_ready};
	t->again.run = again_run;
	list_init(&t->again.node);
	t->w.fd = device_open(a->operand, err, errlen);
	if (t->w.fd < 0) {
		int rc = t->w.fd;

		net_close(&t->n);
		return rc;
	}
	*out = &t->n;
	return 0;
}

const struct net_kind net_tap = {
    .name = "tap",
    .operand = "NAME",
    .help = "a tap interface of the host",
    .open = tap_open,
    .close = tap_close,
    .destroy = tap_destroy,
    .send = tap_send,
    .readable = tap_readable,
    .set_up = tap_set_up,
};
