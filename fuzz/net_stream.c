/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A socket's other end that sends anything, in any pieces, to a card with or without room; and any text as a cable that
 * needs no file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/util.h"
#include "input.h"
#include "net/internal.h"
#include "net/stream.h"

struct card {
	struct net_card card;
	struct net n;
	struct stream s;
	unsigned int room;
	bool down;
};

static enum net_verdict receive(struct net_card *nc, const struct iovec *iov, unsigned int n, size_t len)
{
	struct card *c = container_of(nc, struct card, card);
	size_t sum = 0;

	for (unsigned int i = 0; i < n; i++)
		for (size_t k = 0; k < iov[i].iov_len; k++, sum++)
			*(volatile char *)((char *)iov[i].iov_base + k);
	if (sum != len || len < NET_FRAME_MIN || len > NET_FRAME_MAX)
		abort();
	if (!c->room)
		return NET_FULL;
	c->room--;
	if (c->down)
		stream_close(&c->s);
	return NET_TAKEN;
}

static void nothing(struct net_card *nc)
{
}

static void stream_nothing(struct stream *s)
{
}

static void destroy(struct net *n)
{
}

static const struct net_kind kind = {.name = "fuzz", .destroy = destroy};

static void turn(struct card *c, struct input *in, int fd)
{
	unsigned int what = (unsigned int)take(in, 1) % 4;
	size_t len = take(in, 1) * 7;
	struct iovec iov = {(void *)in->p, MIN(len, in->n)};

	switch (what) {
	case 0:
		c->room += len % 8;
		stream_resume(&c->s);
		break;
	case 1:
		if (iov.iov_len >= NET_FRAME_MIN)
			stream_send(&c->s, &iov, 1, iov.iov_len);
		stream_flush(&c->s);
		break;
	default:
		send(fd, iov.iov_base, iov.iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
		in->p += iov.iov_len;
		in->n -= iov.iov_len;
	}
}

static void specification(struct loop *loop, const uint8_t *data, size_t size)
{
	static const char *const harmless[] = {"null", "loopback", "pair:"};
	struct net_env env = {.loop = loop};
	struct net_card nc = {receive, nothing, nothing, nothing};
	struct net *n;
	char text[256], err[32];

	/* The kinds that touch no file; others are refused for their keys. */
	snprintf(text, sizeof(text), "%s%.*s", size & 1 ? "" : harmless[size / 2 % ARRAY_SIZE(harmless)],
		 (int)MIN(size, 200UL), (const char *)data);
	if (strchr(text, '/') || !strncmp(text, "tap", 3) || !strncmp(text, "socket", 6) || !strncmp(text, "pcap", 4))
		return;
	if (!net_open(&env, text, &nc, &n, err, sizeof(err)))
		net_close(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct card c = {.card = {receive, nothing, nothing, nothing}, .room = 4};
	struct input in = {data, size};
	struct loop *loop = loop_new();
	struct net_env env = {.loop = loop};
	int fd[2];

	if (!loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd))
		abort();
	specification(loop, data, size);
	net_init(&c.n, &kind, &env);
	c.n.card = &c.card;
	c.n.up = true;
	stream_init(&c.s, &c.n, stream_nothing, stream_nothing);
	if (stream_open(&c.s, fd[0]))
		abort();
	c.down = take(&in, 1) == 1;
	while (in.n) {
		turn(&c, &in, fd[1]);
		loop_step(loop, false);
	}
	close(fd[1]);
	c.room = 1000000;
	stream_resume(&c.s);
	for (int i = 0; i < 64 && stream_is_open(&c.s); i++)
		loop_step(loop, false);
	net_close(&c.n);
	stream_free(&c.s);
	loop_free(loop);
	return 0;
}
