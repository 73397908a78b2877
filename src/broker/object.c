/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "broker/private.h"

#define REAP_ROUNDS 64 /* so many times 64 events before others have their turn */

static struct list *bucket_of(struct objects *os, uint64_t id)
{
	return &os->bucket[id % OBJECT_BUCKETS];
}

struct quota *quota_new(void)
{
	struct quota *q = mem_calloc(1, sizeof(*q));

	if (q)
		q->refs = 1;
	return q;
}

struct quota *quota_get(struct quota *q)
{
	q->refs++;
	return q;
}

void quota_put(struct quota *q)
{
	if (q && !--q->refs)
		free(q);
}

struct object *object_find(struct objects *os, uint64_t id)
{
	struct object *o;

	list_for_each (o, bucket_of(os, id), node)
		if (o->id == id)
			return o;
	return NULL;
}

static void object_free(struct objects *os, struct object *o)
{
	list_del(&o->node);
	os->count--;
	close(o->fd);
	o->file->host = NULL;
	ufile_put(o->file);
	o->quota->objects--;
	quota_put(o->quota);
	free(o);
}

/* ---- descriptors that bytes go through ---- */

static void stream_watch(struct object *o, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = &o->hangup};

	if (o->events != events && !epoll_ctl(o->objects->hangups, EPOLL_CTL_MOD, o->fd, &ev))
		o->events = events;
}

static size_t stream_send(struct ufile *f, const void *buf, size_t len)
{
	struct object *o = f->host;
	ssize_t n = o ? send(o->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;

	if (o && n != (ssize_t)len)
		stream_watch(o, o->events | EPOLLOUT);
	/* As long as no send was seen waiting to be read, this one is the only one. */
	if (o && n > 0 && !o->weight && ioctl(o->fd, SIOCOUTQ, &o->weight))
		o->weight = 0;
	return n < 0 ? 0 : n;
}

static size_t stream_unread(struct ufile *f)
{
	struct object *o = f->host;
	int queued = 0;

	if (!o || !o->weight || ioctl(o->fd, SIOCOUTQ, &queued))
		return 0;
	return DIV_ROUND_UP(queued, o->weight);
}

static void stream_finish(struct ufile *f)
{
	struct object *o = f->host;

	if (o)
		shutdown(o->fd, SHUT_WR);
}

static size_t stream_receive(struct ufile *f, void *buf, size_t len)
{
	struct object *o = f->host;
	ssize_t n = o ? recv(o->fd, buf, len, MSG_DONTWAIT) : 0;

	return n < 0 ? 0 : n;
}

/* A piece at a time: whoever writes without end takes his turn like everybody else. */
static void stream_ready(struct object *o, uint32_t events)
{
	uint8_t buf[4096];
	ssize_t n;

	if (events & EPOLLIN) {
		n = recv(o->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			o->file->ops->written(o->file, buf, n);
		else if (!n) /* no more will come; there are readers still */
			stream_watch(o, o->events & ~(uint32_t)EPOLLIN);
	}
	if (events & EPOLLOUT) {
		stream_watch(o, o->events & ~(uint32_t)EPOLLOUT);
		o->file->ops->drained(o->file);
	}
}

static void object_ready(struct hangup *h, uint32_t events)
{
	struct object *o = container_of(h, struct object, hangup);

	if (events & EPOLLHUP)
		object_free(o->objects, o);
	else
		stream_ready(o, events);
}

void objects_reap(struct objects *os)
{
	struct epoll_event ev[64];
	unsigned int rounds = 0;
	int n;

	do {
		n = epoll_wait(os->hangups, ev, ARRAY_SIZE(ev), 0);
		for (int i = 0; i < n; i++) {
			struct hangup *h = ev[i].data.ptr;

			h->ready(h, ev[i].events);
		}
	} while (n == ARRAY_SIZE(ev) && ++rounds < REAP_ROUNDS);
}

static void hangups_ready(struct loop_fd *w, uint32_t events)
{
	sessions_reap(container_of(w, struct broker, objects.watch));
}

int objects_init(struct objects *os, struct loop *l)
{
	int err;

	if (getrandom(&os->broker_id, sizeof(os->broker_id), 0) != sizeof(os->broker_id))
		return -EIO;
	os->hangups = epoll_create1(EPOLL_CLOEXEC);
	if (os->hangups < 0)
		return -errno;
	os->watch = (struct loop_fd){os->hangups, EPOLLIN, hangups_ready};
	os->count = 0;
	for (unsigned int i = 0; i < OBJECT_BUCKETS; i++)
		list_init(&os->bucket[i]);
	err = loop_fd_add(l, &os->watch);
	if (err) {
		close(os->hangups);
		os->hangups = -1;
	}
	return err;
}

void objects_fini(struct objects *os, struct loop *l)
{
	for (unsigned int i = 0; i < OBJECT_BUCKETS; i++)
		while (!list_empty(&os->bucket[i]))
			object_free(os, list_first(&os->bucket[i], struct object, node));
	loop_fd_del(l, &os->watch);
	close(os->hangups);
}

static socklen_t object_address(const struct objects *os, uint64_t id, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(sa->sun_path + 1, sizeof(sa->sun_path) - 1, OBJECT_NAME_PREFIX "%016" PRIx64 "/%016" PRIx64,
		 os->broker_id, id);
	return offsetof(struct sockaddr_un, sun_path) + OBJECT_NAME_LEN;
}

/*
 * The client's end listens, ours is the one connection that there is room for: it hangs up when the last copy of the
 * other is closed. Why not a pair: read() of a socket that listens is EINVAL at once, as of a VFIO descriptor, where
 * one of a pair would wait, and write() fails without SIGPIPE.
 *
 * Ours is deaf: a descriptor that the client sent us there would never be read and never be closed, and if it was one
 * of this object's own the last copy would be out of everybody's reach.
 */
static int connect_ends(struct objects *os, struct object *o, int ours, int theirs)
{
	socklen_t len = sizeof(o->cookie), sa_len;
	struct sockaddr_un sa;

	if (getrandom(&o->id, sizeof(o->id), 0) != sizeof(o->id))
		return -EIO;
	sa_len = object_address(os, o->id, &sa);
	/* EAGAIN: somebody who guessed the name was there first. */
	if (bind(theirs, (struct sockaddr *)&sa, sa_len) || listen(theirs, 0) ||
	    connect(ours, (struct sockaddr *)&sa, sa_len))
		return errno == EAGAIN ? -EIO : -errno;
	if (getsockopt(theirs, SOL_SOCKET, SO_COOKIE, &o->cookie, &len) || shutdown(ours, SHUT_RD))
		return -errno;
	return 0;
}

/* A pair: what is written at one end is read at the other. We wait in neither: each call of ours says so. */
static int pair_ends(struct objects *os, struct object *o, bool waits, int *ours, int *theirs)
{
	socklen_t len = sizeof(o->cookie), sa_len;
	struct sockaddr_un sa;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK), 0, pair))
		return errno == ENFILE ? -EMFILE : -errno;
	*ours = pair[0];
	*theirs = pair[1];
	if (getrandom(&o->id, sizeof(o->id), 0) != sizeof(o->id))
		return -EIO;
	sa_len = object_address(os, o->id, &sa);
	if (bind(*theirs, (struct sockaddr *)&sa, sa_len) ||
	    getsockopt(*theirs, SOL_SOCKET, SO_COOKIE, &o->cookie, &len))
		return -errno;
	return 0;
}

static int listening_ends(struct objects *os, struct object *o, int *ours, int *theirs)
{
	*ours = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	*theirs = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ours < 0 || *theirs < 0)
		return errno == ENFILE ? -EMFILE : -errno;
	return connect_ends(os, o, *ours, *theirs);
}

int object_new(struct objects *os, struct ufile *file, struct quota *q, int *client_fd)
{
	/* EPOLLHUP comes unasked when the last copy of the other end is closed. */
	struct epoll_event ev = {.events = file->ops->written ? EPOLLIN : 0};
	int ours = -1, theirs = -1, err;
	struct object *o;

	if (q->objects >= os->per_client)
		return -EMFILE;
	o = mem_alloc(sizeof(*o));
	if (!o)
		return -ENOMEM;
	err = file->ops->written ? pair_ends(os, o, file->ops->waits, &ours, &theirs)
				 : listening_ends(os, o, &ours, &theirs);
	if (err)
		goto close_ends;
	o->hangup.ready = object_ready;
	ev.data.ptr = &o->hangup;
	if (epoll_ctl(os->hangups, EPOLL_CTL_ADD, ours, &ev)) {
		err = -errno;
		goto close_ends;
	}
	o->fd = ours;
	o->events = ev.events;
	o->weight = 0;
	o->objects = os;
	o->file = file;
	o->quota = quota_get(q);
	q->objects++;
	file->host = o;
	file->send = file->ops->written ? stream_send : NULL;
	file->unread = file->ops->written ? stream_unread : NULL;
	file->finish = file->ops->written ? stream_finish : NULL;
	file->receive = file->ops->written ? stream_receive : NULL;
	list_add_tail(bucket_of(os, o->id), &o->node);
	os->count++;
	*client_fd = theirs;
	return 0;

close_ends:
	if (ours >= 0)
		close(ours);
	if (theirs >= 0)
		close(theirs);
	free(o);
	return err;
}

struct object *object_of_fd(struct objects *os, int fd)
{
	struct sockaddr_un sa;
	socklen_t len = sizeof(sa), cookie_len = sizeof(uint64_t);
	char name[OBJECT_NAME_LEN];
	uint64_t broker, id, cookie;
	struct object *o;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) || sa.sun_family != AF_UNIX ||
	    len != offsetof(struct sockaddr_un, sun_path) + OBJECT_NAME_LEN)
		return NULL;
	memcpy(name, sa.sun_path + 1, OBJECT_NAME_LEN - 1);
	name[OBJECT_NAME_LEN - 1] = 0;
	if (sscanf(name, OBJECT_NAME_PREFIX "%" SCNx64 "/%" SCNx64, &broker, &id) != 2 || broker != os->broker_id)
		return NULL;
	/* In another network namespace the name is free for anyone to take. */
	o = object_find(os, id);
	if (!o || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_len) || cookie != o->cookie)
		return NULL;
	return o;
}
