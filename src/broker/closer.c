/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Closing what a client has sent. close() may wait for somebody: for the server of a FUSE file (flush), for the peer of
 * a TCP socket (SO_LINGER), also when such a socket merely lies unread in the queue of the one that is closed. The loop
 * must not (rule C1): whatever is not known to close at once is closed by a thread. The threads come when there is
 * something to close and go afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/thread.h"
#include "broker/private.h"
#include "vfio/eventfd.h"

/* So many closes may hang before those behind them wait, too. */
#define THREADS_MAX 8

struct pending {
	struct list node;
	int fd;
	bool spare; /* its number becomes the spare one */
};

struct closer {
	struct lock lock;
	struct list queue;
	unsigned int threads;
	int null;
	int spare;   /* -1: lent, or lost */
	bool lost;   /* there was none to be had when it should have come back */
	bool orphan; /* the last thread frees it */
};

static void closer_destroy(struct closer *c)
{
	lock_fini(&c->lock);
	if (c->spare >= 0)
		close(c->spare);
	if (c->null >= 0)
		close(c->null);
	free(c);
}

static void *closer_main(void *arg)
{
	struct closer *c = arg;
	bool last;

	lock_take(&c->lock);
	while (!list_empty(&c->queue)) {
		struct pending *p = list_first(&c->queue, struct pending, node);

		list_del(&p->node);
		lock_drop(&c->lock);
		lock_assert_none();
		/* The number is never free in between: nobody else can take it. */
		if (p->spare && dup3(c->null, p->fd, O_CLOEXEC) < 0)
			p->spare = false;
		if (!p->spare)
			close(p->fd);
		lock_take(&c->lock);
		if (p->spare)
			c->spare = p->fd;
		free(p);
	}
	last = !--c->threads && c->orphan;
	lock_drop(&c->lock);
	if (last)
		closer_destroy(c);
	return NULL;
}

struct closer *closer_new(void)
{
	struct closer *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	lock_init(&c->lock, LOCK_CLOSER);
	list_init(&c->queue);
	c->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (c->null < 0 || c->spare < 0) {
		closer_destroy(c);
		return NULL;
	}
	return c;
}

void closer_free(struct closer *c)
{
	bool last;

	if (!c)
		return;
	lock_take(&c->lock);
	c->orphan = true;
	last = !c->threads;
	lock_drop(&c->lock);
	if (last)
		closer_destroy(c);
}

/* With the lock held. If there is no thread to be had, the queue waits for the next call. */
static void start_thread(struct closer *c)
{
	if (c->threads < THREADS_MAX && !thread_start(NULL, closer_main, c))
		c->threads++;
}

bool closer_lend(struct closer *c)
{
	int fd;

	if (c->lost)
		closer_regain(c);
	lock_take(&c->lock);
	fd = c->spare;
	c->spare = -1;
	lock_drop(&c->lock);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

void closer_regain(struct closer *c)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	c->lost = fd < 0; /* of the loop's thread alone */
	lock_take(&c->lock);
	c->spare = fd;
	lock_drop(&c->lock);
}

static void enqueue(struct closer *c, int fd, bool spare)
{
	struct pending *p = malloc(sizeof(*p));

	if (!p) {
		close(fd);
		if (spare)
			closer_regain(c);
		return;
	}
	*p = (struct pending){.fd = fd, .spare = spare};
	lock_take(&c->lock);
	list_add_tail(&c->queue, &p->node);
	start_thread(c);
	lock_drop(&c->lock);
}

void closer_close(struct closer *c, int fd)
{
	enqueue(c, fd, false);
}

void closer_close_borrowed(struct closer *c, int fd)
{
	enqueue(c, fd, true);
}

/* Memory, an eventfd, a descriptor of ours: what clients send for good reasons. None of the questions calls a driver or
 * a file system. */
bool client_fd_closes_at_once(struct broker *b, int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0 || object_of_fd(&b->objects, fd) || !eventfd_check(fd);
}

void client_fd_close(struct broker *b, int fd)
{
	if (client_fd_closes_at_once(b, fd))
		close(fd);
	else
		closer_close(b->closer, fd);
}
