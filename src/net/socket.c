/* SPDX-License-Identifier: BSD-3-Clause */
/* "socket:PATH": the other end is a program that speaks as QEMU's -netdev stream,addr.type=unix does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "net/internal.h"
#include "net/wire.h"

enum { KEY_SERVER };

static const struct net_key keys[] = {
    [KEY_SERVER] = {"server", false, "on: listens; off: connects; default: listens if nobody else does"},
    {NULL},
};

struct socket_net {
	struct net n;
	struct wire wire;
};

static struct wire *wire_of(struct net *n)
{
	return &container_of(n, struct socket_net, n)->wire;
}

static enum net_verdict socket_send(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len)
{
	return stream_send(&wire_of(n)->stream, iov, cnt, len);
}

static void socket_sent(struct net *n)
{
	stream_flush(&wire_of(n)->stream);
}

static void socket_readable(struct net *n)
{
	stream_resume(&wire_of(n)->stream);
}

static void socket_close(struct net *n)
{
	wire_close(wire_of(n));
}

static void socket_destroy(struct net *n)
{
	wire_free(wire_of(n));
	free(container_of(n, struct socket_net, n));
}

static const char *reason(int rc)
{
	switch (rc) {
	case -EEXIST:
		return "is there, and is no socket";
	case -EADDRINUSE:
		return "somebody listens there already";
	case -EPROTOTYPE:
		return "is a socket of another kind";
	default:
		return strerror(-rc);
	}
}

static int socket_open(const struct net_env *env, const struct net_args *a, struct net **out, char *err, size_t errlen)
{
	enum meet_role role = MEET_EITHER;
	struct socket_net *s;
	bool server = false;
	int rc;

	if (net_arg_bool("net=socket: server", a->value[KEY_SERVER], &server, err, errlen))
		return -EINVAL;
	if (a->value[KEY_SERVER])
		role = server ? MEET_LISTEN : MEET_CONNECT;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	net_init(&s->n, &net_socket, env);
	wire_init(&s->wire, &s->n, false);
	rc = wire_place(&s->wire, a->operand, role);
	if (rc) {
		snprintf(err, errlen, "net=socket: %.20s...: the path is longer than %zu bytes", a->operand,
			 sizeof(s->wire.meet.addr.sun_path) - 1);
		goto fail;
	}
	rc = wire_open(&s->wire, true);
	if (rc) {
		snprintf(err, errlen, "net=socket: %s: %s", a->operand, reason(rc));
		goto fail;
	}
	*out = &s->n;
	return 0;
fail:
	net_close(&s->n);
	return rc;
}

const struct net_kind net_socket = {
    .name = "socket",
    .operand = "PATH",
    .help = "a unix socket that QEMU's -netdev stream speaks",
    .keys = keys,
    .open = socket_open,
    .close = socket_close,
    .destroy = socket_destroy,
    .send = socket_send,
    .sent = socket_sent,
    .readable = socket_readable,
};
