/* SPDX-License-Identifier: BSD-3-Clause */
/* What all kinds share: the life of a struct net, a sender's patience, and calls between card and backend. */
#include <stdlib.h>

#include "base/util.h"
#include "net/internal.h"

/* ---- life ---- */

static void notice_run(struct loop_work *w)
{
	struct net *n = container_of(w, struct net, notice);

	net_hold(n);
	if (n->tell_link) {
		n->tell_link = false;
		n->card->link(n->card);
	}
	if (n->tell_writable && !n->closed) {
		n->tell_writable = false;
		n->card->writable(n->card);
	}
	net_release(n);
}

static void notice_queue(struct net *n, bool *what)
{
	if (n->closed || !n->card)
		return;
	*what = true;
	loop_work_queue(n->loop, &n->notice);
}

static void patience_expired(struct loop_timer *t)
{
	struct net *n = container_of(t, struct net, patience);

	n->impatient = true;
	net_wake(n);
}

void net_init(struct net *n, const struct net_kind *kind, const struct net_env *env)
{
	n->kind = kind;
	n->loop = env->loop;
	n->holds = 1;
	n->notice.run = notice_run;
	list_init(&n->notice.node);
	loop_timer_init(&n->patience, patience_expired);
}

void net_hold(struct net *n)
{
	n->holds++;
}

void net_release(struct net *n)
{
	if (--n->holds)
		return;
	if (n->kind->destroy)
		n->kind->destroy(n);
	else
		free(n);
}

void net_close(struct net *n)
{
	if (!n)
		return;
	n->closed = true;
	loop_work_cancel(n->loop, &n->notice);
	loop_timer_cancel(n->loop, &n->patience);
	if (n->kind->close)
		n->kind->close(n);
	net_release(n);
}

/* ---- what the card asks for ---- */

/* Answers FULL for as long as a sender has patience, and then no longer. */
static enum net_verdict refuse(struct net *n)
{
	if (n->impatient) {
		if (n->kind->missed)
			n->kind->missed(n);
		return NET_DROPPED;
	}
	if (!n->full) {
		n->full = true;
		loop_timer_arm(n->loop, &n->patience, NET_PATIENCE_NS);
	}
	return NET_FULL;
}

enum net_verdict net_send(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len)
{
	enum net_verdict v;

	if (unlikely(len < NET_FRAME_MIN || len > NET_FRAME_MAX))
		return NET_DROPPED;
	net_hold(n);
	v = n->kind->send(n, iov, cnt, len);
	if (unlikely(v == NET_FULL && !n->closed)) {
		v = refuse(n);
	} else if (unlikely(n->full)) {
		n->full = n->impatient = false;
		loop_timer_cancel(n->loop, &n->patience);
	}
	net_release(n);
	return v;
}

void net_sent(struct net *n)
{
	if (!n->kind->sent)
		return;
	net_hold(n);
	n->kind->sent(n);
	net_release(n);
}

void net_readable(struct net *n)
{
	if (n->kind->readable)
		n->kind->readable(n);
}

bool net_link(const struct net *n)
{
	return n->link;
}

void net_set_up(struct net *n, bool up)
{
	if (n->up == up)
		return;
	n->up = up;
	if (n->kind->set_up)
		n->kind->set_up(n, up);
}

/* ---- what a backend has for the card ---- */

enum net_verdict net_deliver(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len)
{
	if (unlikely(n->closed || !n->up))
		return NET_DROPPED;
	return n->card->receive(n->card, iov, cnt, len);
}

void net_delivered(struct net *n)
{
	if (likely(!n->closed && n->up))
		n->card->received(n->card);
}

void net_missed(struct net *n)
{
	if (!n->closed && n->up && n->card->missed)
		n->card->missed(n->card);
}

enum net_verdict net_deliver_raw(struct net *n, void *data, size_t len)
{
	static char zeros[NET_FRAME_MIN];
	struct iovec iov[2] = {{data, len}, {zeros, NET_FRAME_MIN - len}};

	if (len < NET_HEADER || len > NET_FRAME_MAX)
		return NET_DROPPED;
	if (len < NET_FRAME_MIN)
		return net_deliver(n, iov, 2, NET_FRAME_MIN);
	return net_deliver(n, iov, 1, len);
}

void net_link_set(struct net *n, bool link)
{
	if (n->link == link)
		return;
	n->link = link;
	notice_queue(n, &n->tell_link);
	net_wake(n);
}

void net_wake(struct net *n)
{
	if (n->full)
		notice_queue(n, &n->tell_writable);
}
