/* SPDX-License-Identifier: BSD-3-Clause */
/* One client process: its socket, its channel, its account. It ends when the socket does, and everything that it held
 * goes with it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/private.h"
#include "broker/shadow.h"
#include "iommufd/iommufd.h"
#include "vfio/vfio.h"

/* Messages taken from one client's socket before the next has its turn (rule C1). */
#define MESSAGES_TURN 64

#define SCM_FDS_MAX 253 /* the kernel's SCM_MAX_FD */

/* Clients drop capabilities and raise them again, so each question is asked anew. */
static bool session_capable(void *ctx, int cap)
{
	struct session *s = ctx;
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = s->pid};
	struct __user_cap_data_struct d[2] = {0};

	return !syscall(SYS_capget, &h, d) && d[cap / 32].effective & 1U << cap % 32;
}

/* RLIMIT_MEMLOCK as Linux applies it to pins: none for CAP_IPC_LOCK. */
static uint64_t session_limit(void *ctx)
{
	struct session *s = ctx;
	struct rlimit rl;

	if (s->b->opt.memlock)
		return s->b->opt.memlock;
	if (session_capable(s, CAP_IPC_LOCK))
		return s->limit = UINT64_MAX;
	/* Of one that has ended under its call, nobody is to hear that it reached a limit. */
	if (prlimit(s->pid, RLIMIT_MEMLOCK, NULL, &rl))
		return errno == ESRCH ? s->limit : 0;
	return s->limit = rl.rlim_cur == RLIM_INFINITY ? UINT64_MAX : rl.rlim_cur;
}

/* Whose call is being served is there; of anybody else the kernel is asked: an exec closes the socket, too. */
static bool session_alive(void *ctx)
{
	struct session *s = ctx;
	struct pollfd fd[] = {{s->watch.fd, POLLRDHUP, 0}, {s->pidfd, POLLIN, 0}};

	if (s->b->serving == s)
		return true;
	return poll(fd, ARRAY_SIZE(fd), 0) <= 0 ||
	       (!(fd[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) && !(fd[1].revents & POLLIN));
}

static const struct mm_owner_ops owner_ops = {
    .limit = session_limit, .alive = session_alive, .capable = session_capable};

/* ---- descriptors over the socket ---- */
int session_take_fd(struct session *s, unsigned int slot)
{
	for (unsigned int i = 0; i < s->nfds; i++) {
		int fd = s->fds[i].fd;

		if (s->fds[i].slot != slot)
			continue;
		memmove(&s->fds[i], &s->fds[i + 1], (--s->nfds - i) * sizeof(s->fds[0]));
		return fd;
	}
	return -1;
}

void session_discard_fds(struct session *s, unsigned int slot)
{
	int fd;

	while ((fd = session_take_fd(s, slot)) >= 0)
		session_close_fd(s, fd);
}

void session_close_fd(struct session *s, int fd)
{
	s->quota->fds--;
	client_fd_close(s->b, fd);
}

/* False: the client does not read its socket. */
static bool send_with_fd(struct session *s, void *data, size_t len, int fd)
{
	struct iovec iov = {data, len};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
	return sendmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

int session_send_fd(struct session *s, unsigned int slot, int fd)
{
	struct fd_note note = {slot, 1};

	/* A client that does not read its socket loses its descriptor, not our time. */
	return send_with_fd(s, &note, sizeof(note), fd) ? 0 : -EMFILE;
}

static void keep_fd(struct session *s, unsigned int slot, int fd)
{
	if (slot >= CHANNEL_SLOTS || s->nfds == SESSION_FDS_MAX || s->quota->fds >= s->b->client_fds) {
		client_fd_close(s->b, fd);
		return;
	}
	s->quota->fds++;
	s->fds[s->nfds++] = (struct session_fd){slot, fd};
}

/*
 * One message: a bell (one byte) or a note with descriptors. False: nothing more, *gone if the client is. There is room
 * for all that a message can carry, because the kernel would close here and now what does not fit.
 */
static bool receive_one(struct session *s, bool *gone)
{
	struct fd_note note = {0};
	struct iovec iov = {&note, sizeof(note)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(SCM_FDS_MAX * sizeof(int))];
	} control;
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm;

	if (n < 0) {
		*gone = errno != EAGAIN && errno != EINTR;
		return errno == EINTR;
	}
	for (cm = CMSG_FIRSTHDR(&m); cm; cm = CMSG_NXTHDR(&m, cm)) {
		size_t nfd = cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS
				 ? (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int)
				 : 0;

		for (size_t i = 0; i < nfd; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			keep_fd(s, n == sizeof(note) ? note.slot : CHANNEL_SLOTS, fd);
		}
	}
	*gone = n == 0;
	return n > 0;
}

void session_receive(struct session *s)
{
	bool gone = false;

	/* Bounded: a client cannot keep us here by sending on. */
	for (unsigned int i = 0; i < SESSION_FDS_MAX && receive_one(s, &gone); i++)
		;
}

/* What is left in the queue may hold descriptors that take long to close; closing the socket closes them. */
static void close_socket(struct session *s)
{
	bool gone = false;

	session_receive(s);
	while (s->nfds)
		session_close_fd(s, s->fds[--s->nfds].fd);
	if (receive_one(s, &gone) || !gone)
		closer_close(s->b->closer, s->watch.fd);
	else
		close(s->watch.fd);
}

/* ---- the channel ---- */
/*
 * A turn that ended quickly and rang a client is worth waiting for. One without interrupts says little (half of all
 * doorbells only give entries back); many of them mean that the client polls.
 */
#define HOLD_TURN_NS 12000
#define HOLD_TURNS   8

static void tune_hold(struct session *s, uint64_t took, bool rang)
{
	unsigned int before = s->hold;

	if (rang)
		s->hold = took < HOLD_TURN_NS && s->ch->spin_ns ? HOLD_TURNS : 0;
	else if (s->hold)
		s->hold--;
	if (!before != !s->hold)
		atomic_store_explicit(&s->ch->hold_ns, s->hold ? 2 * HOLD_TURN_NS : 0, memory_order_relaxed);
}

/*
 * Carries out the writes that were posted before this was called. There can be no more of them than the ring holds: a
 * client that claims otherwise has overwritten its own, and starts anew.
 */
static bool drain_ring(struct session *s)
{
	struct channel *ch = s->ch;
	uint32_t head = atomic_load_explicit(&ch->ring_head, memory_order_acquire), tail = s->tail;
	uint64_t began, took, rung;

	if (head == tail)
		return false;
	if (head - tail > RING_ENTRIES)
		tail = head;
	began = loop_now();
	rung = vfio_interrupts(s->b->vfio);
	/* Between two walks objects come and go. */
	s->last = NULL;
	vfio_batch_begin(s->b->vfio);
	for (; tail != head; tail++) {
		struct ring_entry e;

		copy_shared(&e, &ch->ring[tail % RING_ENTRIES], sizeof(e));
		rpc_mmio_write(s, &e);
	}
	/* Before the ringing, which takes longest when the client sleeps already. */
	took = loop_now() - began;
	vfio_batch_end(s->b->vfio);
	/* Only now: who holds for its write shall find its interrupt. */
	atomic_store_explicit(&ch->ring_tail, tail, memory_order_release);
	s->tail = tail;
	tune_hold(s, took, vfio_interrupts(s->b->vfio) != rung);
	if (!s->hold)
		aside_note(&s->b->aside, atomic_load_explicit(&ch->cpu, memory_order_relaxed), began);
	return true;
}

void session_drain_all(void *arg)
{
	struct broker *b = arg;
	struct session *s;

	list_for_each (s, &b->sessions, node)
		drain_ring(s);
}

/* Files that are busy do not say when they have ceased to be. */
#define HELD_NS 1000000

void session_hold(struct session *s)
{
	loop_timer_arm(s->b->loop, &s->b->held, HELD_NS);
}

void sessions_held(struct loop_timer *t)
{
	struct broker *b = container_of(t, struct broker, held);
	struct session *s;

	list_for_each (s, &b->sessions, node)
		rpc_serve_held(s);
}

static bool session_poll(struct loop_poll *p)
{
	struct session *s = container_of(p, struct session, poll);
	uint32_t pending = 0;
	bool busy;

	if (unlikely(atomic_load_explicit(&s->ch->pending, memory_order_relaxed)))
		pending = atomic_exchange_explicit(&s->ch->pending, 0, memory_order_acquire);
	/* A call pushes the writes that its thread posted before it: they are in the ring by now. */
	busy = drain_ring(s);
	for (; pending; pending &= pending - 1)
		busy |= rpc_serve(s, __builtin_ctz(pending));
	return busy;
}

static bool session_prepare_sleep(struct loop_poll *p)
{
	struct session *s = container_of(p, struct session, poll);

	atomic_store_explicit(&s->ch->broker_sleeps, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	return !atomic_load_explicit(&s->ch->pending, memory_order_relaxed) &&
	       atomic_load_explicit(&s->ch->ring_head, memory_order_relaxed) == s->tail;
}

static void session_cancel_sleep(struct loop_poll *p)
{
	struct session *s = container_of(p, struct session, poll);

	atomic_store_explicit(&s->ch->broker_sleeps, 0, memory_order_relaxed);
}

static void session_end(struct session *s)
{
	/* What it posted before it died goes out, as on a bus. */
	drain_ring(s);
	session_free(s);
}

static void session_ready(struct loop_fd *w, uint32_t events)
{
	struct session *s = container_of(w, struct session, watch);
	bool gone = false;
	unsigned int i;

	for (i = 0; i < MESSAGES_TURN && receive_one(s, &gone); i++)
		;
	if (gone)
		session_end(s);
}

/*
 * The process is gone, though its end of the socket may not be: it may have sent it to us, or into a queue that only we
 * could empty.
 */
static void session_died(struct hangup *h, uint32_t events)
{
	struct session *s = container_of(h, struct session, death);

	if (s == s->b->serving)
		return;
	list_del(&s->dead);
	list_add_tail(&s->b->dead, &s->dead);
}

void sessions_reap(struct broker *b)
{
	objects_reap(&b->objects);
	while (!list_empty(&b->dead))
		session_end(list_first(&b->dead, struct session, dead));
}

static int send_hello(struct session *s, int memfd)
{
	struct hello h = {
	    .magic = CHANNEL_MAGIC,
	    .version = CHANNEL_VERSION,
	    .channel_size = CHANNEL_SIZE,
	    .broker_id = s->b->objects.broker_id,
	    .flags = (s->b->opt.host_devices ? HELLO_HOST_DEVICES : 0) | (s->b->failnth ? HELLO_TASKS : 0) |
		     (s->b->opt.check ? HELLO_STACKS : 0),
	};

	snprintf(h.shadow, sizeof(h.shadow), "%s", shadow_root(s->b->shadow));
	return send_with_fd(s, &h, sizeof(h), memfd) ? 0 : -EPIPE;
}

static int map_channel(struct session *s)
{
	int fd = memfd_create("pinfold-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	void *p;

	if (fd < 0)
		return -errno;
	err = -ENOMEM;
	if (ftruncate(fd, CHANNEL_SIZE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto out;
	p = mmap(NULL, CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		goto out;
	s->ch = p;
	s->ch->magic = CHANNEL_MAGIC;
	s->ch->version = CHANNEL_VERSION;
	s->ch->spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 50000 : 0;
	s->ch->broker_sleeps = 1;
	s->ch->cpu = ASIDE_UNKNOWN;
	s->ch->memory_off = s->b->memory_off;
	err = send_hello(s, fd);
	if (err) {
		munmap(p, CHANNEL_SIZE);
		s->ch = NULL;
	}
out:
	close(fd);
	return err;
}

static unsigned int sessions_of(const struct broker *b, pid_t pid)
{
	const struct session *s;
	unsigned int n = 0;

	list_for_each (s, &b->sessions, node)
		n += s->pid == pid;
	return n;
}

/* Who is it, and may it? The broker acts with its user's rights: for that user alone. */
static int identify(struct session *s)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) || (cred.uid != geteuid() && cred.uid != 0))
		return -EPERM;
	if (sessions_of(s->b, cred.pid) >= SESSIONS_PER_PROCESS)
		return -EUSERS;
	s->pid = cred.pid;
	return 0;
}

/* Where processes cannot be watched (an old kernel, a filter, a process of another namespace) the socket has to do. */
static void watch_process(struct session *s)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &s->death};

	s->death.ready = session_died;
	s->pidfd = s->pid > 0 ? syscall(SYS_pidfd_open, s->pid, 0) : -1;
	if (s->pidfd >= 0 && epoll_ctl(s->b->objects.hangups, EPOLL_CTL_ADD, s->pidfd, &ev)) {
		close(s->pidfd);
		s->pidfd = -1;
	}
}

int session_accept(struct broker *b, int sock)
{
	struct session *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (!s)
		goto close_sock;
	list_init(&s->mappings);
	list_init(&s->tickets);
	list_init(&s->dead);
	known_init(&s->known, b->vfio, b->seed);
	s->b = b;
	s->id = ++b->sessions_made;
	s->watch = (struct loop_fd){sock, EPOLLIN | EPOLLRDHUP, session_ready};
	s->poll = (struct loop_poll){
	    .poll = session_poll, .prepare_sleep = session_prepare_sleep, .cancel_sleep = session_cancel_sleep};
	err = identify(s);
	if (err)
		goto free_session;
	err = -ENOMEM;
	s->quota = quota_new();
	s->owner = mm_owner_new(&owner_ops, s, b->user, s->pid, &b->events);
	if (!s->owner || !s->quota)
		goto free_owner;
	session_limit(s);
	err = map_channel(s);
	if (err)
		goto free_owner;
	err = loop_fd_add(b->loop, &s->watch);
	if (err)
		goto unmap;
	watch_process(s);
	loop_poll_add(b->loop, &s->poll);
	list_add_tail(&b->sessions, &s->node);
	event_emit(&b->events, EVENT_CLIENT, .who = s->pid, .flags = EVENT_START);
	return 0;

unmap:
	munmap(s->ch, CHANNEL_SIZE);
free_owner:
	mm_owner_put(s->owner);
	quota_put(s->quota);
free_session:
	free(s);
close_sock:
	/* What it may have sent by now is not known. */
	closer_close(b->closer, sock);
	return err;
}

void session_free(struct session *s)
{
	struct broker *b = s->b;

	event_emit(&b->events, EVENT_CLIENT, .who = s->pid, .addr = s->id, .flags = EVENT_END, .value = s->opened);
	atomic_store(&s->ch->dead, 1);
	loop_poll_del(b->loop, &s->poll);
	loop_fd_del(b->loop, &s->watch);
	list_del(&s->dead);
	if (s->pidfd >= 0) {
		epoll_ctl(b->objects.hangups, EPOLL_CTL_DEL, s->pidfd, NULL);
		close(s->pidfd);
	}
	for (unsigned int i = 0; i < CHANNEL_SLOTS; i++)
		call_free(s->call[i]);
	close_socket(s);
	rpc_drop_mappings(s);
	tickets_drop(s);
	known_fini(&s->known);
	munmap(s->ch, CHANNEL_SIZE);
	/* Its address space has ended, or is another program's. */
	iommufd_forget(b->iommufd, s->owner, 0, UINT64_MAX);
	mm_owner_orphan(s->owner);
	mm_owner_put(s->owner);
	quota_put(s->quota);
	list_del(&s->node);
	free(s);
	objects_reap(&b->objects);
	backing_cache_trim(b->backings);
}
