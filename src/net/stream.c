/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "net/frame.h"

#define LENGTH	   4
#define IN_SIZE	   (64 * 1024)
#define OUT_SIZE   (256 * 1024)
#define READS_MAX  4	   /* of one turn of the loop */
#define LENGTH_MAX 0x11000 /* the longest that QEMU has a buffer for; beyond, we have lost the beat */

_Static_assert(IN_SIZE >= 2 * (LENGTH + NET_FRAME_MAX), "a frame fits in whatever is before it");

static void watch(struct stream *s)
{
	uint32_t events = 0;

	if (!stream_is_open(s))
		return;
	if (!s->paused)
		events |= EPOLLIN;
	if (s->out_len)
		events |= EPOLLOUT;
	/* Without interest in anything the kernel would still tell of a hang-up, again and again. */
	if (s->gone)
		events &= EPOLLIN;
	if (s->watched && events == s->w.events)
		return;
	if (s->watched)
		loop_fd_del(s->n->loop, &s->w);
	s->w.events = events;
	s->watched = events && !loop_fd_add(s->n->loop, &s->w);
}

static void end(struct stream *s)
{
	stream_close(s);
	s->ended(s);
}

/* ---- to the other side ---- */

static void out_flush(struct stream *s)
{
	while (s->out_len) {
		ssize_t n = send(s->w.fd, s->out + s->out_at, s->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
			s->gone = true;
		if (n <= 0)
			break;
		s->out_at += (size_t)n;
		s->out_len -= (size_t)n;
	}
	if (s->gone)
		s->out_len = 0;
	if (!s->out_len)
		s->out_at = 0;
}

void stream_flush(struct stream *s)
{
	if (!stream_is_open(s) || !s->out_len)
		return;
	out_flush(s);
	if (s->out_len < OUT_SIZE / 2)
		net_wake(s->n);
	watch(s);
}

/* Makes the room at the end of the buffer that len bytes take. */
static bool out_reserve(struct stream *s, size_t len)
{
	if (OUT_SIZE - s->out_len < len)
		out_flush(s);
	if (OUT_SIZE - s->out_len < len)
		return false;
	if (OUT_SIZE - s->out_at - s->out_len < len) {
		memmove(s->out, s->out + s->out_at, s->out_len);
		s->out_at = 0;
	}
	return true;
}

enum net_verdict stream_send(struct stream *s, const struct iovec *iov, unsigned int cnt, size_t len)
{
	uint8_t *to;

	if (!stream_is_open(s) || s->gone)
		return NET_DROPPED;
	if (!out_reserve(s, LENGTH + len)) {
		watch(s);
		return NET_FULL;
	}
	to = s->out + s->out_at + s->out_len;
	if (frame_copy(iov, cnt, 0, to + LENGTH, len))
		return NET_DROPPED;
	for (unsigned int i = 0; i < LENGTH; i++)
		to[i] = (uint8_t)(len >> (24 - 8 * i));
	s->out_len += LENGTH + len;
	return NET_TAKEN;
}

void stream_greet(struct stream *s)
{
	memset(s->out, 0, LENGTH);
	s->out_len = LENGTH;
	stream_flush(s);
}

/* ---- from the other side ---- */

static size_t length_read(const uint8_t *p)
{
	return (size_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void in_skip(struct stream *s, size_t *at)
{
	size_t part = MIN(s->skip, (uint64_t)(s->in_len - *at));

	s->skip -= part;
	*at += part;
}

/* Hands over the frames that are complete, until the card has no room. False: the stream is over. */
static bool in_deliver(struct stream *s)
{
	size_t at = 0, len;
	bool sane = true;

	for (;;) {
		in_skip(s, &at);
		if (s->in_len - at < LENGTH)
			break;
		len = length_read(s->in + at);
		sane = len <= LENGTH_MAX;
		if (!sane)
			break;
		if (len > NET_FRAME_MAX) {
			s->skip = LENGTH + len;
			continue;
		}
		if (s->in_len - at < LENGTH + len)
			break;
		s->paused = net_deliver_raw(s->n, s->in + at + LENGTH, len) == NET_FULL;
		if (s->paused || !stream_is_open(s))
			break;
		at += LENGTH + len;
	}
	s->in_len -= at;
	memmove(s->in, s->in + at, s->in_len);
	return sane;
}

/* More into the buffer. False: there is nothing now; gone: nor will there be. */
static bool in_fill(struct stream *s)
{
	ssize_t n;

	do
		n = recv(s->w.fd, s->in + s->in_len, IN_SIZE - s->in_len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		s->in_len += (size_t)n;
		if (!s->told) {
			s->told = true;
			s->heard(s);
		}
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		s->gone = true;
	return false;
}

/* What has come, after what is in the buffer; the stream may be closed afterwards. */
static void in_run(struct stream *s)
{
	bool sane = in_deliver(s), over = false;

	for (unsigned int i = 0; sane && !s->paused && stream_is_open(s) && i < READS_MAX; i++) {
		over = !in_fill(s);
		if (over)
			break;
		sane = in_deliver(s);
	}
	net_delivered(s->n);
	if (!stream_is_open(s))
		return;
	if (!sane || (over && s->gone))
		end(s);
	else
		watch(s);
}

/* Frames that are already here make no descriptor ready. */
static void resume_run(struct loop_work *w)
{
	struct stream *s = container_of(w, struct stream, resume);
	struct net *n = s->n;

	net_hold(n);
	s->paused = false;
	in_run(s);
	net_release(n);
}

void stream_resume(struct stream *s)
{
	if (s->paused && stream_is_open(s))
		loop_work_queue(s->n->loop, &s->resume);
}

static void ready(struct loop_fd *w, uint32_t events)
{
	struct stream *s = container_of(w, struct stream, w);
	struct net *n = s->n;

	net_hold(n);
	if (events & (EPOLLHUP | EPOLLERR) && s->paused)
		s->gone = true;
	if (events & EPOLLOUT || s->gone) {
		out_flush(s);
		if (s->out_len < OUT_SIZE / 2)
			net_wake(n);
	}
	if (s->paused)
		watch(s);
	else
		in_run(s);
	net_release(n);
}

/* ---- life ---- */

void stream_init(struct stream *s, struct net *n, void (*heard)(struct stream *s), void (*ended)(struct stream *s))
{
	*s = (struct stream){
	    .n = n, .w = {.fd = -1, .ready = ready}, .resume.run = resume_run, .heard = heard, .ended = ended};
	list_init(&s->resume.node);
}

int stream_open(struct stream *s, int fd)
{
	if (!s->in)
		s->in = malloc(IN_SIZE);
	if (!s->out)
		s->out = malloc(OUT_SIZE);
	s->in_len = s->out_at = s->out_len = 0;
	s->skip = 0;
	s->paused = s->gone = s->watched = s->told = false;
	s->w.fd = fd;
	if (s->in && s->out)
		watch(s);
	if (s->watched)
		return 0;
	stream_close(s);
	return -ENOMEM;
}

void stream_close(struct stream *s)
{
	if (!stream_is_open(s))
		return;
	loop_work_cancel(s->n->loop, &s->resume);
	if (s->watched)
		loop_fd_del(s->n->loop, &s->w);
	s->watched = false;
	close(s->w.fd);
	s->w.fd = -1;
}

void stream_free(struct stream *s)
{
	stream_close(s);
	free(s->in);
	free(s->out);
}
