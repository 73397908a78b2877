/* SPDX-License-Identifier: BSD-3-Clause */
#include "broker/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/log.h"
#include "broker/private.h"
#include "broker/shadow.h"
#include "check/check.h"
#include "check/class.h"
#include "devices/device.h"
#include "iommufd/iommufd.h"
#include "pci/pci.h"
#include "vfio/vfio.h"

/* Files of clients that nobody has mapped for DMA any more, kept for the next time. */
#define IDLE_BACKING_BYTES (256ul << 20)
#define IDLE_BACKINGS	   1024

/* Clients that are let in before the others have their turn. */
#define ACCEPT_TURN 16

#define REFUSED_EVERY 1000000000ull /* ns between two lines about it */

static void refused(struct broker *b, int err)
{
	uint64_t now = loop_now();

	if (b->refused_printed && now - b->refused_printed < REFUSED_EVERY)
		return;
	b->refused_printed = now;
	log_warn("a client could not be served: %s", strerror(err));
}

/* Without a descriptor to accept with, who waits at the door would keep waking us: let one in and show it out. False:
 * there was nobody. */
static bool turn_away(struct broker *b)
{
	int fd;

	if (!closer_lend(b->closer))
		return false;
	fd = accept4(b->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		closer_close_borrowed(b->closer, fd);
	else
		closer_regain(b->closer);
	return fd >= 0;
}

static void listener_ready(struct loop_fd *w, uint32_t events)
{
	struct broker *b = container_of(w, struct broker, listener);

	for (unsigned int i = 0; i < ACCEPT_TURN; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), err = errno;

		if (fd >= 0)
			err = -session_accept(b, fd);
		else if ((err != EMFILE && err != ENFILE) || !turn_away(b))
			return;
		/* EPIPE: it has gone already. */
		if (err && err != EPIPE)
			refused(b, err);
	}
}

static void stopper_ready(struct loop_fd *w, uint32_t events)
{
	loop_stop(container_of(w, struct broker, stopper)->loop);
}

static int listen_for_clients(struct broker *b, char *err, size_t errlen)
{
	int fd = listen_at(b->opt.socket, "pinfold", b->address, sizeof(b->address), err, errlen);

	if (fd < 0)
		return fd;
	b->unlink_socket = b->opt.socket;
	b->listener = (struct loop_fd){fd, EPOLLIN, listener_ready};
	return loop_fd_add(b->loop, &b->listener);
}

static bool p2p_side_exists(struct broker *b, uint32_t side)
{
	const struct pci_func *f;

	if (side == P2P_ALL)
		return true;
	for (size_t i = 0; (f = vfio_func(b->vfio, i)); i++)
		if (((uint32_t)f->domain << 16 | f->bdf) == side)
			return true;
	return false;
}

/* Who may reach whose memory (rule B2): nobody whom these do not name. */
static int allow_p2p(struct broker *b, char *err, size_t errlen)
{
	for (size_t i = 0; i < b->opt.np2p; i++) {
		int ret = p2p_allow(&b->p2p, b->opt.p2p[i]);
		const struct p2p_pair *pair = &b->p2p.pair[b->p2p.n - 1];

		if (ret == -EINVAL)
			snprintf(err, errlen, "--p2p %s: not INITIATOR:TARGET (each [DDDD:]BB:DD.F or all)",
				 b->opt.p2p[i]);
		else if (ret)
			snprintf(err, errlen, "--p2p %s: more than %d pairs", b->opt.p2p[i], P2P_PAIRS_MAX);
		else if (!p2p_side_exists(b, pair->initiator) || !p2p_side_exists(b, pair->target))
			snprintf(err, errlen, "--p2p %s: there is no such device", b->opt.p2p[i]);
		else
			continue;
		return -EINVAL;
	}
	return 0;
}

/* No client gets all the descriptors that we may have open. */
void broker_iommu_help(char *text, size_t size)
{
	const struct iommufd_unit *u;
	size_t n = 0;

	*text = 0;
	for (unsigned int i = 0; (u = iommufd_unit(i)) && n < size; i++)
		n += snprintf(text + n, size - n, "  %-8s%s\n", iommufd_unit_name(u), iommufd_unit_text(u));
}

static int choose_iommu(struct broker *b, char *err, size_t errlen)
{
	b->unit = b->opt.iommu ? iommufd_unit_find(b->opt.iommu) : iommufd_unit(0);
	if (!b->unit) {
		snprintf(err, errlen, "--iommu=%s: there is no such IOMMU; --iommu=help lists them", b->opt.iommu);
		return -EINVAL;
	}
	iommufd_set_pci_unit(b->iommufd, b->unit);
	vfio_set_unit(b->vfio, b->unit);
	return 0;
}

static int share_descriptors(struct broker *b)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl))
		return -errno;
	b->client_fds = MAX(MIN(rl.rlim_cur / 8, (rlim_t)4096), (rlim_t)64);
	return 0;
}

static int broker_init(struct broker *b, char *err, size_t errlen)
{
	int ret;

	/* Truncated files fault: they must not take the broker along. */
	ret = guard_install();
	if (ret)
		return ret;
	ret = share_descriptors(b);
	if (ret)
		return ret;
	if (getrandom(&b->seed, sizeof(b->seed), 0) != sizeof(b->seed))
		return -EIO;
	b->closer = closer_new();
	if (!b->closer)
		return -errno;
	b->loop = loop_new();
	if (!b->loop)
		return -errno;
	b->vfio = vfio_new(&b->events);
	b->backings = backing_cache_new(IDLE_BACKING_BYTES, IDLE_BACKINGS);
	b->user = mm_user_new();
	if (!b->vfio || !b->backings || !b->user)
		return -ENOMEM;
	b->iommufd = iommufd_new(&b->events, b->backings, b->opt.iommufd_test);
	if (!b->iommufd)
		return -ENOMEM;
	ret = choose_iommu(b, err, errlen);
	if (ret)
		return ret;
	vfio_set_loop(b->vfio, b->loop);
	vfio_set_flush(b->vfio, session_drain_all, b);
	vfio_set_waits(b->vfio);
	faults_init(b);
	vfio_set_strict(b->vfio, b->opt.strict);
	b->objects.per_client = b->client_fds;
	ret = objects_init(&b->objects, b->loop);
	if (ret)
		return ret;
	ret = shadow_new(b->opt.host_devices, &b->shadow);
	if (ret) {
		snprintf(err, errlen, "cannot make a directory for the PCI tree: %s", strerror(-ret));
		return ret;
	}
	shadow_set_unit(b->shadow, b->unit);
	if (b->opt.iommufd_test) {
		ret = shadow_add_faults(b->shadow);
		if (ret)
			return ret;
		b->failnth = failnth_new(b->shadow);
		if (!b->failnth)
			return -ENOMEM;
	}
	ret = topology_build(b, err, errlen);
	if (ret)
		return ret;
	for (size_t i = 0; i < b->opt.nfaults; i++) {
		ret = fault_add(b, b->opt.faults[i], &(unsigned int){0}, err, errlen);
		if (ret)
			return ret;
	}
	ret = allow_p2p(b, err, errlen);
	if (ret)
		return ret;
	ret = listen_for_clients(b, err, errlen);
	return ret ? ret : ctl_init(b, err, errlen);
}

struct broker *broker_new(const struct broker_options *o, char *err, size_t errlen)
{
	struct broker *b = calloc(1, sizeof(*b));
	int ret;

	snprintf(err, errlen, "out of memory");
	if (!b)
		return NULL;
	b->opt = *o;
	b->opt.summary = false;
	b->listener.fd = b->stopper.fd = -1;
	b->objects.hangups = -1;
	list_init(&b->sessions);
	list_init(&b->dead);
	loop_timer_init(&b->held, sessions_held);
	tickets_init(&b->tickets);
	list_init(&b->ctl.peers);
	b->ctl.listener.fd = -1;
	events_init(&b->events);
	summary_init(&b->summary, &b->events, o->summary, !o->check || !class_set_has_dma(o->check->classes));
	err[0] = 0;
	b->check = o->check ? check_new(o->check, &b->events, err, errlen) : NULL;
	ret = o->check && !b->check ? -errno : broker_init(b, err, errlen);
	if (ret) {
		if (!err[0])
			snprintf(err, errlen, "cannot start: %s", strerror(-ret));
		broker_free(b);
		errno = -ret;
		return NULL;
	}
	b->opt.summary = o->summary;
	return b;
}

const char *broker_address(const struct broker *b)
{
	return b->address;
}

int broker_serve(struct broker *b, int stop_fd)
{
	int ret;

	if (stop_fd >= 0) {
		b->stopper = (struct loop_fd){stop_fd, EPOLLIN, stopper_ready};
		ret = loop_fd_add(b->loop, &b->stopper);
		if (ret)
			return ret;
	}
	ret = loop_run(b->loop);
	if (stop_fd >= 0)
		loop_fd_del(b->loop, &b->stopper);
	return ret;
}

void broker_stop(struct broker *b)
{
	loop_stop(b->loop);
}

void broker_program_ended(struct broker *b, uint32_t pid, int status)
{
	if (b->check)
		check_program_ended(b->check, pid, status);
}

uint64_t broker_free(struct broker *b)
{
	uint64_t findings = 0;

	if (b->listener.fd >= 0) {
		loop_fd_del(b->loop, &b->listener);
		close(b->listener.fd);
		if (b->unlink_socket)
			unlink(b->opt.socket);
	}
	ctl_fini(b);
	while (!list_empty(&b->sessions))
		session_free(list_first(&b->sessions, struct session, node));
	if (b->objects.hangups >= 0)
		objects_fini(&b->objects, b->loop);
	if (b->check)
		findings = check_end(b->check);
	if (b->opt.summary)
		summary_print(&b->summary, b->vfio, b->check);
	if (b->failnth && failnth_injected(b->failnth))
		fprintf(stderr, "pinfold: %" PRIu64 " faults injected\n", failnth_injected(b->failnth));
	failnth_free(b->failnth);
	if (b->vfio)
		vfio_free(b->vfio);
	topology_free(b);
	if (b->iommufd)
		iommufd_free(b->iommufd);
	if (b->backings)
		backing_cache_free(b->backings);
	mm_user_put(b->user);
	if (b->shadow)
		shadow_free(b->shadow);
	if (b->loop)
		loop_free(b->loop);
	check_free(b->check);
	events_unlisten(&b->events, &b->summary.listener);
	closer_free(b->closer);
	free(b);
	return findings;
}
