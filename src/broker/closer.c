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
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/private.h"
#include "vfio/eventfd.h"

/* So many closes may hang before those behind them wait, too. */
#define THREADS_MAX 8

struct pending {
	struct list node;
	int fd;
};

struct closer {
	pthread_mutex_t lock;
	struct list queue;
	unsigned int threads;
	bool orphan; /* the last thread frees it */
};

static void closer_destroy(struct closer *c)
{
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static void *closer_main(void *arg)
{
	struct closer *c = arg;
	bool last;

	pthread_mutex_lock(&c->lock);
	while (!list_empty(&c->queue)) {
		struct pending *p = list_first(&c->queue, struct pending, node);

		list_del(&p->node);
		pthread_mutex_unlock(&c->lock);
		close(p->fd);
		free(p);
		pthread_mutex_lock(&c->lock);
	}
	last = !--c->threads && c->orphan;
	pthread_mutex_unlock(&c->lock);
	if (last)
		closer_destroy(c);
	return NULL;
}

struct closer *closer_new(void)
{
	struct closer *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->queue);
	return c;
}

void closer_free(struct closer *c)
{
	bool last;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->orphan = true;
	last = !c->threads;
	pthread_mutex_unlock(&c->lock);
	if (last)
		closer_destroy(c);
}

/* With the lock held. If there is no thread to be had, the queue waits for the next call. */
static void start_thread(struct closer *c)
{
	sigset_t all, old;
	pthread_t t;

	if (c->threads == THREADS_MAX)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!pthread_create(&t, NULL, closer_main, c)) {
		pthread_detach(t);
		c->threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void closer_close(struct closer *c, int fd)
{
	struct pending *p = malloc(sizeof(*p));

	if (!p) {
		close(fd);
		return;
	}
	p->fd = fd;
	pthread_mutex_lock(&c->lock);
	list_add_tail(&c->queue, &p->node);
	start_thread(c);
	pthread_mutex_unlock(&c->lock);
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
