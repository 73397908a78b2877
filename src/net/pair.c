/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * "pair:NAME": two cards that name the same pair are the ends of one cable. Of one broker, they hand each other the
 * sender's own memory. Of two brokers of one user, they meet at a socket in his runtime directory, and only while both
 * are up: the connection is the link. A card with a peer in its own broker never looks outside.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/util.h"
#include "net/internal.h"
#include "net/wire.h"

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
#define NAME_LEN   32

struct pair_end {
	struct net n;
	struct list node;
	char name[NAME_LEN + 1];
	struct pair_end *peer; /* NULL: not in this broker */
	struct wire wire;      /* open while up and without peer */
	bool placed;	       /* the wire knows where to */
};

/* Of all loops of this process. */
static struct list ends = LIST_INIT(ends);

static struct pair_end *end_of(struct net *n)
{
	return container_of(n, struct pair_end, n);
}

/* ---- between the two ---- */

static void link_update(struct pair_end *e)
{
	bool both = e->peer && e->n.up && e->peer->n.up;

	net_link_set(&e->n, both);
	if (e->peer)
		net_link_set(&e->peer->n, both);
}

static enum net_verdict pair_send(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len)
{
	struct pair_end *e = end_of(n);
	enum net_verdict v;
	struct net *peer;

	if (unlikely(!e->peer))
		return stream_send(&e->wire.stream, iov, cnt, len);
	if (unlikely(!n->link))
		return NET_DROPPED;
	peer = &e->peer->n;
	net_hold(peer);
	v = net_deliver(peer, iov, cnt, len);
	net_release(peer);
	return v;
}

static void pair_sent(struct net *n)
{
	struct pair_end *e = end_of(n);
	struct net *peer;

	if (unlikely(!e->peer)) {
		stream_flush(&e->wire.stream);
		return;
	}
	peer = &e->peer->n;
	net_hold(peer);
	net_delivered(peer);
	net_release(peer);
}

static void pair_readable(struct net *n)
{
	struct pair_end *e = end_of(n);

	if (e->peer)
		net_wake(&e->peer->n);
	else
		stream_resume(&e->wire.stream);
}

static void pair_missed(struct net *n)
{
	struct pair_end *e = end_of(n);

	if (e->peer)
		net_missed(&e->peer->n);
}

/* ---- to another broker ---- */

/* A directory that is this user's alone, for its reason or 0. */
static int directory_make(char *path, size_t size, const char **why)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (runtime && *runtime == '/')
		snprintf(path, size, "%s/pinfold-net", runtime);
	else
		snprintf(path, size, "/tmp/pinfold-net-%u", (unsigned int)geteuid());
	*why = NULL;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		*why = strerror(errno);
	else if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
		*why = "it is not a directory of this user's alone";
	return *why ? -1 : 0;
}

static void outside_open(struct pair_end *e)
{
	const char *why;
	char path[256];
	size_t n;

	if (!e->placed && !directory_make(path, sizeof(path), &why)) {
		n = strlen(path);
		snprintf(path + n, sizeof(path) - n, "/%s", e->name);
		e->placed = !wire_place(&e->wire, path, MEET_EITHER);
		why = "the path is too long";
	}
	if (e->placed)
		wire_open(&e->wire, false);
	else
		log_warn("net=pair:%s: no other broker can reach it: %s: %s", e->name, path, why);
}

static void outside_close(struct pair_end *e)
{
	if (e->placed)
		wire_close(&e->wire);
}

static void pair_set_up(struct net *n, bool up)
{
	struct pair_end *e = end_of(n);

	if (e->peer)
		link_update(e);
	else if (up)
		outside_open(e);
	else
		outside_close(e);
}

/* ---- life ---- */

/* The other end: the one that has the name and no peer. -EBUSY: there is one with both. */
static int peer_find(const struct pair_end *e, struct pair_end **peer)
{
	struct pair_end *p;

	list_for_each (p, &ends, node) {
		if (p->n.loop != e->n.loop || strcmp(p->name, e->name))
			continue;
		if (p->peer || stream_is_open(&p->wire.stream))
			return -EBUSY;
		*peer = p;
	}
	return 0;
}

static int name_check(const char *name, char *err, size_t errlen)
{
	size_t n = strlen(name);

	if (n <= NAME_LEN && strspn(name, NAME_CHARS) == n && name[0] != '.')
		return 0;
	snprintf(err, errlen, "net=pair: '%.40s' is not a name: letters, digits, - _ and ., at most %d", name,
		 NAME_LEN);
	return -EINVAL;
}

static int pair_open(const struct net_env *env, const struct net_args *a, struct net **out, char *err, size_t errlen)
{
	struct pair_end *e, *peer = NULL;

	if (name_check(a->operand, err, errlen))
		return -EINVAL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	net_init(&e->n, &net_pair, env);
	strcpy(e->name, a->operand);
	if (peer_find(e, &peer)) {
		free(e);
		snprintf(err, errlen, "net=pair:%s: both ends are taken", a->operand);
		return -EBUSY;
	}
	wire_init(&e->wire, &e->n, true);
	list_add(&ends, &e->node);
	if (peer) {
		outside_close(peer);
		e->peer = peer;
		peer->peer = e;
	}
	*out = &e->n;
	return 0;
}

static void pair_close(struct net *n)
{
	struct pair_end *e = end_of(n), *peer = e->peer;

	list_del(&e->node);
	outside_close(e);
	if (!peer)
		return;
	e->peer = peer->peer = NULL;
	net_link_set(&peer->n, false);
	if (peer->n.up)
		outside_open(peer);
}

static void pair_destroy(struct net *n)
{
	struct pair_end *e = end_of(n);

	wire_free(&e->wire);
	free(e);
}

const struct net_kind net_pair = {
    .name = "pair",
    .operand = "NAME",
    .help = "a cable to the other card that names it, of any program of this user",
    .open = pair_open,
    .close = pair_close,
    .destroy = pair_destroy,
    .send = pair_send,
    .sent = pair_sent,
    .readable = pair_readable,
    .missed = pair_missed,
    .set_up = pair_set_up,
};
