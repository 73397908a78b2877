/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Orders from outside: `pinfold ctl`. An order is one message of text, its answer one message whose first byte says how
 * it went: CTL_OK, CTL_USAGE (the order was wrong), CTL_FAILED. An order that has to wait (unbind) is answered later.
 *
 * Peers are believed as little as clients: they are of our user, there are few at a time (who comes when there is no
 * room takes the place of whoever has been there longest), and one that does not read its answer loses it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/private.h"
#include "broker/shadow.h"
#include "devices/fault.h"
#include "devices/option.h"
#include "pci/pci.h"
#include "pci/sriov.h"
#include "proto/ctl.h"
#include "vfio/vfio.h"

#define PEERS_MAX   16
#define ORDERS_TURN 16
#define FDS_MAX	    253 /* SCM_MAX_FD: all that one message can carry */

struct ctl_peer {
	struct list node;
	struct broker *b;
	struct loop_fd watch;
	const struct pci_func *waits_for; /* to be unbound; NULL: for nothing */
};

static void peer_free(struct ctl_peer *p)
{
	struct broker *b = p->b;

	loop_fd_del(b->loop, &p->watch);
	closer_close(b->closer, p->watch.fd);
	list_del(&p->node);
	b->ctl.npeers--;
	free(p);
}

/* ---- answers ---- */

struct answer {
	char text[CTL_ANSWER_MAX]; /* its first byte: how it went */
	size_t len;
	bool later;
};

static void say(struct answer *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct answer *a, const char *fmt, ...)
{
	size_t room = sizeof(a->text) - a->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->text + a->len, room, fmt, ap);
	va_end(ap);
	a->len += MIN((size_t)n, room - 1);
}

static void answer_send(struct ctl_peer *p, const struct answer *a)
{
	/* Without waiting: who does not read has no answer. */
	send(p->watch.fd, a->text, a->len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- orders ---- */

static const char *state_name(struct broker *b, const struct pci_func *f)
{
	static const char *const names[] = {
	    [VFIO_UNBOUND] = "unbound", [VFIO_LEAVING] = "leaving", [VFIO_BOUND] = "free", [VFIO_IN_USE] = "in use"};

	return names[vfio_binding(b->vfio, f)];
}

static void order_list(struct ctl_peer *p, char *arg, struct answer *a)
{
	struct pci_func *f;
	char bdf[16];

	say(a, "%-12s  %-10s  %5s  %s\n", "ADDRESS", "TYPE", "GROUP", "STATE");
	for (size_t i = 0; (f = vfio_func(p->b->vfio, i)); i++) {
		/* Of virtual functions, those that there are. */
		if (f->physfn && f->virtfn >= f->physfn->sriov->n)
			continue;
		pci_bdf_format(f, bdf);
		say(a, "%-12s  %-10s  %5u  %s%s\n", bdf, f->name, f->group, state_name(p->b, f),
		    f->pulled ? ", removed"
		    : f->away ? ", link down"
			      : "");
	}
}

static void order_status(struct ctl_peer *p, char *arg, struct answer *a)
{
	struct inject_status st;
	char bdf[16], text[160];
	struct pci_func *f;

	say(a, "%3s  %-12s  %10s  %10s  %s\n", "ID", "ADDRESS", "SEEN", "STRUCK", "FAULT");
	for (size_t i = 0; (f = vfio_func(p->b->vfio, i)); i++) {
		pci_bdf_format(f, bdf);
		for (size_t j = 0; inject_status(f, j, &st); j++) {
			fault_format(&st.spec, text, sizeof(text));
			say(a, "%3u  %-12s  %10" PRIu64 "  %10" PRIu64 "  %s%s\n", st.id, bdf, st.seen, st.struck, text,
			    st.waiting ? " (waits for its time)" : "");
		}
	}
}

static void order_inject(struct ctl_peer *p, char *arg, struct answer *a)
{
	char err[CTL_ORDER_MAX + 256] = "";
	unsigned int id;
	int ret = fault_add(p->b, arg, &id, err, sizeof(err));

	if (ret) {
		a->text[0] = ret == -EINVAL ? CTL_USAGE : CTL_FAILED;
		say(a, "%s\n", err);
	} else {
		say(a, "fault %u\n", id);
	}
}

static void order_clear(struct ctl_peer *p, char *arg, struct answer *a)
{
	unsigned long id = 0;
	char *end = arg;

	if (strcmp(arg, "all")) {
		if (*arg >= '0' && *arg <= '9')
			id = strtoul(arg, &end, 10);
		if (end == arg || *end || !id || id > UINT32_MAX || !fault_drop(p->b, id)) {
			a->text[0] = CTL_USAGE;
			say(a, "there is no fault '%s'; `status` lists them\n", arg);
		}
		return;
	}
	fault_drop(p->b, 0);
}

/* The function that the order is about; NULL after an answer that says why not. */
static struct pci_func *func_arg(struct ctl_peer *p, const char *arg, bool pulled, struct answer *a)
{
	struct pci_func *f;
	int domain = 0, bdf;

	a->text[0] = CTL_USAGE;
	if (!option_parse_addr(arg, &domain, &bdf)) {
		say(a, "'%s' is not a PCI address ([DDDD:]BB:DD.F)\n", arg);
		return NULL;
	}
	for (size_t i = 0; (f = vfio_func(p->b->vfio, i)); i++)
		if (f->domain == domain && f->bdf == bdf && f->pulled == pulled)
			break;
	if (!f)
		say(a, "there is no device at %s; `list` shows them\n", arg);
	else
		a->text[0] = CTL_OK;
	return f;
}

static void failed(struct answer *a, const char *arg, int err)
{
	a->text[0] = CTL_FAILED;
	say(a, "%s: %s\n", arg, strerror(err));
}

static void order_unbind(struct ctl_peer *p, char *arg, struct answer *a)
{
	struct pci_func *f = func_arg(p, arg, false, a);
	int ret;

	if (!f)
		return;
	p->waits_for = f;
	ret = vfio_unbind(p->b->vfio, f);
	/* What it waited for may have happened already, and has been answered. */
	a->later = p->waits_for || !ret;
	if (ret && ret != -EALREADY) {
		p->waits_for = NULL;
		a->later = false;
		failed(a, arg, -ret);
	}
}

void ctl_unbound(struct broker *b, const struct pci_func *f)
{
	static const char ok[] = {CTL_OK};
	struct ctl_peer *p;

	list_for_each (p, &b->ctl.peers, node) {
		if (p->waits_for != f)
			continue;
		p->waits_for = NULL;
		send(p->watch.fd, ok, sizeof(ok), MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

static void order_bind(struct ctl_peer *p, char *arg, struct answer *a)
{
	struct pci_func *f = func_arg(p, arg, false, a);
	int ret = f ? vfio_bind(p->b->vfio, f) : 0;

	if (f && !ret)
		ret = shadow_bind(p->b->shadow, f);
	if (ret)
		failed(a, arg, -ret);
}

static void order_insert(struct ctl_peer *p, char *arg, struct answer *a)
{
	struct pci_func *f = func_arg(p, arg, true, a);
	int ret = f ? func_insert(p->b, f) : 0;

	if (ret)
		failed(a, arg, -ret);
}

static const struct {
	const char *name;
	bool arg;
	void (*run)(struct ctl_peer *p, char *arg, struct answer *a);
} orders[] = {
    {"list", false, order_list},    {"status", false, order_status}, {"inject", true, order_inject},
    {"clear", true, order_clear},   {"unbind", true, order_unbind},  {"bind", true, order_bind},
    {"insert", true, order_insert},
};

static void obey(struct ctl_peer *p, char *order)
{
	static struct answer a;
	char *arg = strchr(order, ' ');
	size_t i;

	a.text[0] = CTL_OK;
	a.len = 1;
	a.later = false;
	if (arg)
		*arg++ = 0;
	for (i = 0; i < ARRAY_SIZE(orders) && strcmp(order, orders[i].name); i++)
		;
	if (i == ARRAY_SIZE(orders) || orders[i].arg != (arg && *arg)) {
		a.text[0] = CTL_USAGE;
		say(&a, i == ARRAY_SIZE(orders) ? "there is no order '%.64s'\n" : "wrong arguments of '%.64s'\n",
		    order);
	} else if (p->waits_for) {
		a.text[0] = CTL_FAILED;
		say(&a, "an order is under way\n");
	} else {
		orders[i].run(p, arg, &a);
	}
	if (!a.later)
		answer_send(p, &a);
}

/* ---- peers ---- */

/* One message into text, ended by 0; descriptors that came with it are closed without waiting for them. Its length, 0
 * at the end, -errno; -EMSGSIZE: longer than there is room. */
static int order_receive(struct ctl_peer *p, char *text, size_t size)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {text, size - 1};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(p->watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm;

	if (n < 0)
		return -errno;
	for (cm = CMSG_FIRSTHDR(&m); cm; cm = CMSG_NXTHDR(&m, cm)) {
		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			client_fd_close(p->b, fd);
		}
	}
	text[n] = 0;
	return m.msg_flags & MSG_TRUNC ? -EMSGSIZE : (int)n;
}

static void peer_ready(struct loop_fd *w, uint32_t events)
{
	static const char garbage[] = "Uan order is a line of text\n";
	struct ctl_peer *p = container_of(w, struct ctl_peer, watch);
	char text[CTL_ORDER_MAX + 1];

	_Static_assert(CTL_USAGE == 'U', "how the answer to garbage begins");
	for (unsigned int i = 0; i < ORDERS_TURN; i++) {
		int n = order_receive(p, text, sizeof(text));

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n == 0 || (n < 0 && n != -EMSGSIZE)) {
			peer_free(p);
			return;
		}
		if (n < 0 || strlen(text) != (size_t)n)
			send(w->fd, garbage, strlen(garbage), MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			obey(p, text);
	}
}

static bool allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && (cred.uid == geteuid() || cred.uid == 0);
}

static void listener_ready(struct loop_fd *w, uint32_t events)
{
	struct broker *b = container_of(w, struct broker, ctl.listener);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ctl_peer *p;

	if (fd < 0)
		return;
	p = allowed(fd) ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		goto close;
	*p = (struct ctl_peer){.b = b, .watch = {fd, EPOLLIN, peer_ready}};
	if (loop_fd_add(b->loop, &p->watch))
		goto close;
	if (b->ctl.npeers == PEERS_MAX)
		peer_free(list_first(&b->ctl.peers, struct ctl_peer, node));
	list_add_tail(&b->ctl.peers, &p->node);
	b->ctl.npeers++;
	return;
close:
	free(p);
	closer_close(b->closer, fd);
}

/* ---- the socket ---- */

/* Beside a standing broker's own, unless told otherwise; there it may be missing for want of room in a path's length.
 */
static int open_socket(struct broker *b, char *err, size_t errlen)
{
	struct ctl *c = &b->ctl;
	const char *path = b->opt.control;

	if (!path && b->opt.socket) {
		if (snprintf(c->path, sizeof(c->path), "%s" CTL_SUFFIX, b->opt.socket) > CTL_PATH_MAX)
			return -ENAMETOOLONG;
		path = c->path;
	}
	c->unlink = path;
	return listen_at(path, "pinfold-control", c->address, sizeof(c->address), err, errlen);
}

int ctl_init(struct broker *b, char *err, size_t errlen)
{
	int fd = open_socket(b, err, errlen);

	if (fd < 0) {
		b->ctl.unlink = NULL;
		b->ctl.address[0] = 0;
		return fd == -ENAMETOOLONG && !b->opt.control ? 0 : fd;
	}
	b->ctl.listener = (struct loop_fd){fd, EPOLLIN, listener_ready};
	return loop_fd_add(b->loop, &b->ctl.listener);
}

void ctl_fini(struct broker *b)
{
	while (!list_empty(&b->ctl.peers))
		peer_free(list_first(&b->ctl.peers, struct ctl_peer, node));
	if (b->ctl.listener.fd < 0)
		return;
	loop_fd_del(b->loop, &b->ctl.listener);
	close(b->ctl.listener.fd);
	if (b->ctl.unlink)
		unlink(b->ctl.unlink);
}

const char *broker_control(const struct broker *b)
{
	return b->ctl.address;
}
