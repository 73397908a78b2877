/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames over a connected stream socket, each behind its length in 4 bytes, big-endian: what QEMU's -netdev stream
 * speaks. The other side is not believed: it may send any length, stop in the midst of a frame, never read, and be gone
 * at any time. Memory is bounded; where it does not read, the sender hears NET_FULL.
 */
#ifndef PINFOLD_NET_STREAM_H
#define PINFOLD_NET_STREAM_H

#include "base/loop.h"
#include "net/internal.h"

struct stream {
	struct net *n;
	struct loop_fd w; /* fd -1: not connected */
	struct loop_work resume;
	bool watched;
	bool paused;   /* the card had no room for the first frame in in */
	bool gone;     /* the other side has closed; what it sent before may still be there */
	uint64_t skip; /* bytes to come of a frame that is too long for any card */
	uint8_t *in, *out;
	size_t in_len, out_at, out_len;
	bool told;			 /* heard was called */
	void (*heard)(struct stream *s); /* something has come, for the first time */
	void (*ended)(struct stream *s); /* the connection is over: the stream is closed. Never from within send */
};

void stream_init(struct stream *s, struct net *n, void (*heard)(struct stream *s), void (*ended)(struct stream *s));
/* Takes fd, which does not block; in case of failure, too. Not from within a delivery. -ENOMEM or -errno. */
int stream_open(struct stream *s, int fd);
/* Harmless if it is not open. The buffers stay until stream_free: frames may be on their way to the card. */
void stream_close(struct stream *s);
void stream_free(struct stream *s);

static inline bool stream_is_open(const struct stream *s)
{
	return s->w.fd >= 0;
}

/* A frame without a byte, which everybody ignores; only on a stream that was just opened. */
void stream_greet(struct stream *s);
enum net_verdict stream_send(struct stream *s, const struct iovec *iov, unsigned int cnt, size_t len);
void stream_flush(struct stream *s);
void stream_resume(struct stream *s); /* the card has room again */

#endif
