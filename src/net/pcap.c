/* SPDX-License-Identifier: BSD-3-Clause */
/* "pcap:in=FILE,out=FILE": a cable whose other end plays one capture and records another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/util.h"
#include "net/capture.h"
#include "net/frame.h"
#include "net/internal.h"

#define BURST	 64 /* frames of one turn of the loop */
#define LOOP_MAX 1000000000

enum { KEY_IN, KEY_OUT, KEY_PACE, KEY_LOOP };

static const struct net_key keys[] = {
    [KEY_IN] = {"in", false, "a capture (pcap, pcapng) that is played to the card once it is up"},
    [KEY_OUT] = {"out", false, "a capture of what the card sends; a new file, or a FIFO"},
    [KEY_PACE] = {"pace", false, "on: in the time that it took; default: as fast as the card takes it"},
    [KEY_LOOP] = {"loop", false, "how often it is played; 0: for ever; default: 1"},
    {NULL},
};

struct pcap_net {
	struct net n;
	struct capture *in, *out;
	struct loop_fd in_bell, out_bell;
	struct loop_work play;
	struct loop_timer due;
	bool pace;
	bool waits;    /* for the card's room */
	bool started;  /* the times below are set */
	uint64_t then; /* the last frame's time in the file, ns */
	uint64_t now;  /* and the loop's, when it was due */
};

static struct pcap_net *pcap_of(struct net *n)
{
	return container_of(n, struct pcap_net, n);
}

/* ---- what the card sends ---- */

static uint64_t wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static enum net_verdict pcap_send(struct net *n, const struct iovec *iov, unsigned int cnt, size_t len)
{
	struct pcap_net *p = pcap_of(n);
	struct ring_frame *f;
	struct ring *r;

	if (!p->out)
		return NET_TAKEN;
	r = capture_ring(p->out);
	while (unlikely(!(f = ring_reserve(r, (uint32_t)len))))
		if (ring_put_sleep(r, (uint32_t)len))
			return NET_FULL;
	if (frame_copy(iov, cnt, 0, f->data, len))
		return NET_DROPPED;
	f->wire_len = (uint32_t)len;
	f->ns = wall_clock();
	ring_commit(r);
	return NET_TAKEN;
}

static void out_ready(struct loop_fd *w, uint32_t events)
{
	struct pcap_net *p = container_of(w, struct pcap_net, out_bell);

	ring_bell_clear(&capture_ring(p->out)->put);
	net_wake(&p->n);
}

/* ---- what is played ---- */

/* Whether f's time has come; if not, the timer is set. Time that goes back, as at the file's beginning, begins anew. */
static bool is_due(struct pcap_net *p, const struct ring_frame *f)
{
	uint64_t now = loop_now(), at;

	if (!p->started || f->ns < p->then) {
		p->started = true;
		p->now = now;
		p->then = f->ns;
		return true;
	}
	if (add_overflows(p->now, f->ns - p->then, &at) || at > now) {
		loop_timer_arm(p->n.loop, &p->due, at - now);
		return false;
	}
	p->now = at;
	p->then = f->ns;
	return true;
}

/* The next frame, if it is here and due. */
static struct ring_frame *next_frame(struct pcap_net *p)
{
	struct ring *r = capture_ring(p->in);
	struct ring_frame *f;

	while (!(f = ring_front(r)))
		if (ring_take_sleep(r))
			return NULL;
	return !p->pace || is_due(p, f) ? f : NULL;
}

static void play_run(struct loop_work *w)
{
	struct pcap_net *p = container_of(w, struct pcap_net, play);
	struct ring_frame *f = NULL;
	unsigned int n;

	net_hold(&p->n);
	for (n = 0; n < BURST && p->n.up && !p->n.closed && !p->waits; n++) {
		f = next_frame(p);
		if (!f)
			break;
		p->waits = net_deliver_raw(&p->n, f->data, f->len) == NET_FULL;
		if (!p->waits)
			ring_pop(capture_ring(p->in));
	}
	if (n)
		net_delivered(&p->n);
	if (n == BURST && !p->n.closed)
		loop_work_queue(p->n.loop, &p->play);
	net_release(&p->n);
}

static void play(struct pcap_net *p)
{
	if (p->in && p->n.up)
		loop_work_queue(p->n.loop, &p->play);
}

static void due_expired(struct loop_timer *t)
{
	play(container_of(t, struct pcap_net, due));
}

static void in_ready(struct loop_fd *w, uint32_t events)
{
	struct pcap_net *p = container_of(w, struct pcap_net, in_bell);

	ring_bell_clear(&capture_ring(p->in)->take);
	play(p);
}

static void pcap_readable(struct net *n)
{
	struct pcap_net *p = pcap_of(n);

	if (p->waits) {
		p->waits = false;
		play(p);
	}
}

static void pcap_set_up(struct net *n, bool up)
{
	struct pcap_net *p = pcap_of(n);

	p->waits = p->started = false;
	if (!up)
		loop_timer_cancel(n->loop, &p->due);
	play(p);
}

/* ---- life ---- */

static void pcap_net_close(struct net *n)
{
	struct pcap_net *p = pcap_of(n);

	loop_work_cancel(n->loop, &p->play);
	loop_timer_cancel(n->loop, &p->due);
	if (p->in_bell.fd >= 0)
		loop_fd_del(n->loop, &p->in_bell);
	if (p->out_bell.fd >= 0)
		loop_fd_del(n->loop, &p->out_bell);
}

static void pcap_destroy(struct net *n)
{
	struct pcap_net *p = pcap_of(n);

	capture_close(p->in);
	capture_close(p->out);
	free(p);
}

static int bell_add(struct loop *loop, struct loop_fd *w, int fd)
{
	int rc;

	w->fd = fd;
	w->events = EPOLLIN;
	rc = loop_fd_add(loop, w);
	if (rc)
		w->fd = -1;
	return rc;
}

static int files_open(struct pcap_net *p, const struct net_args *a, uint64_t times, char *err, size_t errlen)
{
	const char *in = a->value[KEY_IN], *out = a->value[KEY_OUT];
	size_t at = (size_t)snprintf(err, errlen, "net=pcap: ");
	int rc = 0;

	err += MIN(at, errlen);
	errlen -= MIN(at, errlen);
	if (in)
		rc = capture_read(in, times, &p->in, err, errlen);
	if (!rc && out)
		rc = capture_write(out, p->in, &p->out, err, errlen);
	if (!rc && in)
		rc = bell_add(p->n.loop, &p->in_bell, capture_ring(p->in)->take.bell);
	if (!rc && out)
		rc = bell_add(p->n.loop, &p->out_bell, capture_ring(p->out)->put.bell);
	return rc;
}

static int pcap_net_open(const struct net_env *env, const struct net_args *a, struct net **out, char *err,
			 size_t errlen)
{
	struct pcap_net *p;
	uint64_t times = 1;
	bool pace = false;
	int rc;

	if (net_arg_bool("net=pcap: pace", a->value[KEY_PACE], &pace, err, errlen) ||
	    net_arg_uint("net=pcap: loop", a->value[KEY_LOOP], LOOP_MAX, &times, err, errlen))
		return -EINVAL;
	if (!a->value[KEY_IN] && (a->value[KEY_PACE] || a->value[KEY_LOOP] || !a->value[KEY_OUT])) {
		snprintf(err, errlen, "net=pcap needs in=FILE%s", a->value[KEY_OUT] ? "" : ", out=FILE, or both");
		return -EINVAL;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	net_init(&p->n, &net_pcap, env);
	p->n.link = true;
	p->pace = pace;
	p->in_bell = (struct loop_fd){.fd = -1, .ready = in_ready};
	p->out_bell = (struct loop_fd){.fd = -1, .ready = out_ready};
	p->play.run = play_run;
	list_init(&p->play.node);
	loop_timer_init(&p->due, due_expired);
	rc = files_open(p, a, times, err, errlen);
	if (rc)
		net_close(&p->n);
	else
		*out = &p->n;
	return rc;
}

const struct net_kind net_pcap = {
    .name = "pcap",
    .help = "plays a capture, and records one",
    .keys = keys,
    .open = pcap_net_open,
    .close = pcap_net_close,
    .destroy = pcap_destroy,
    .send = pcap_send,
    .readable = pcap_readable,
    .set_up = pcap_set_up,
};
