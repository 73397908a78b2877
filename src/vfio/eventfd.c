/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio/eventfd.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

#define RING_EVENTS 128

void eventfd_ringer_init(struct eventfd_ringer *r)
{
	*r = (struct eventfd_ringer){.empty = -1};
}

static void ringer_setup(struct eventfd_ringer *r)
{
	r->tried = true;
	r->empty = memfd_create("pinfold-empty", MFD_CLOEXEC);
	if (r->empty >= 0 && syscall(SYS_io_setup, RING_EVENTS, &r->aio) < 0)
		r->aio = 0;
}

void eventfd_ringer_fini(struct eventfd_ringer *r)
{
	if (r->aio)
		syscall(SYS_io_destroy, r->aio);
	if (r->empty >= 0)
		close(r->empty);
	eventfd_ringer_init(r);
}

static void ringer_reap(struct eventfd_ringer *r)
{
	struct io_event ev[RING_EVENTS];
	struct timespec zero = {0};

	syscall(SYS_io_getevents, r->aio, 0L, (long)RING_EVENTS, ev, &zero);
	r->unreaped = 0;
}

/*
 * Completion of an asynchronous read adds to the eventfd named in it inside the kernel, where a full counter saturates
 * instead of putting the caller to sleep: what VFIO does for a real interrupt. The read is of an empty file, so that it
 * is complete when io_submit returns.
 */
static bool ring_by_aio(struct eventfd_ringer *r, int fd)
{
	char nothing;
	struct iocb cb = {
	    .aio_lio_opcode = IOCB_CMD_PREAD,
	    .aio_fildes = r->empty,
	    .aio_buf = (uintptr_t)&nothing,
	    .aio_nbytes = 1,
	    .aio_flags = IOCB_FLAG_RESFD,
	    .aio_resfd = fd,
	};
	struct iocb *p = &cb;

	if (unlikely(!r->tried))
		ringer_setup(r);
	if (!r->aio)
		return false;
	if (++r->unreaped >= RING_EVENTS / 2)
		ringer_reap(r);
	return syscall(SYS_io_submit, r->aio, 1L, &p) == 1;
}

static bool ring_later(struct eventfd_ringer *r, int fd)
{
	for (unsigned int i = 0; i < r->nheld; i++)
		if (r->held[i] == fd)
			return true;
	if (r->nheld == EVENTFD_BATCH_MAX)
		return false;
	r->held[r->nheld++] = fd;
	return true;
}

void eventfd_batch_begin(struct eventfd_ringer *r)
{
	r->batching = true;
}

void eventfd_batch_end(struct eventfd_ringer *r)
{
	unsigned int n = r->nheld;

	r->batching = false;
	r->nheld = 0;
	for (unsigned int i = 0; i < n; i++)
		eventfd_ring(r, r->held[i]);
}

void eventfd_ring(struct eventfd_ringer *r, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	uint64_t one = 1;

	if (r->batching && ring_later(r, fd))
		return;
	r->rung++;
	if (ring_by_aio(r, fd))
		return;
	/* Without AIO: a full counter is left alone. Only a client that fills it in between could make this wait. */
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && write(fd, &one, sizeof(one)) < 0)
		return;
}

int eventfd_check(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], name[sizeof(want)];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name));
	return n == sizeof(want) - 1 && memcmp(name, want, n) == 0 ? 0 : -EINVAL;
}

uint64_t eventfd_unread(int fd)
{
	unsigned long long n = 0;
	char path[40], line[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "eventfd-count: %llx", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

void eventfd_listener_look(struct eventfd_listener *l)
{
	uint64_t n;
	struct iovec iov = {&n, sizeof(n)};

	/* RWF_NOWAIT: it may be empty, or somebody else may have emptied it since the loop looked. */
	if (preadv2(l->w.fd, &iov, 1, -1, RWF_NOWAIT) == sizeof(n))
		l->fire(l);
}

static void listener_ready(struct loop_fd *w, uint32_t events)
{
	if (events & EPOLLIN)
		eventfd_listener_look(container_of(w, struct eventfd_listener, w));
}

int eventfd_listen(struct eventfd_listener *l, struct loop *loop, int fd, void (*fire)(struct eventfd_listener *l))
{
	int ret = eventfd_check(fd);

	if (ret)
		return ret;
	l->w = (struct loop_fd){.fd = fd, .events = EPOLLIN, .ready = listener_ready};
	l->loop = loop;
	l->fire = fire;
	return loop_fd_add(loop, &l->w);
}

void eventfd_unlisten(struct eventfd_listener *l)
{
	loop_fd_del(l->loop, &l->w);
	close(l->w.fd);
}
