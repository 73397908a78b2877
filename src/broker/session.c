/* SPDX-License-Identifier: BSD-3-Clause */
/* One client process: its socket, its channel, its account. It ends when the socket does, and everything that it held
 * goes with it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/private.h"
#include "broker/shadow.h"
#include "vfio/vfio.h"

/* What one turn does for one client before the next has its turn (rule C1). */
#define RING_TURN 512

/* Files a client may have shown us at a time. */
#define KNOWN_MAX 65536

struct known {
	struct list node;
	uint64_t dev, ino;
	struct backing *held; /* not NULL: HOLD */
};

static bool may_lock(pid_t pid)
{
	char path[64], line[256];
	uint64_t caps = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &caps) == 1)
			break;
	fclose(f);
	return caps & BIT64(CAP_IPC_LOCK);
}

/* RLIMIT_MEMLOCK as Linux applies it to pins: none for CAP_IPC_LOCK. */
static uint64_t session_limit(void *ctx)
{
	struct session *s = ctx;
	struct rlimit rl;

	if (s->b->opt.memlock)
		return s->b->opt.memlock;
	if (s->may_lock)
		return UINT64_MAX;
	if (prlimit(s->pid, RLIMIT_MEMLOCK, NULL, &rl))
		return 0;
	return rl.rlim_cur == RLIM_INFINITY ? UINT64_MAX : rl.rlim_cur;
}

static const struct mm_owner_ops owner_ops = {session_limit};

/* ---- files that the client has shown ---- */
static struct known *known_find(struct session *s, uint64_t dev, uint64_t ino)
{
	struct known *k;

	list_for_each (k, &s->known, node)
		if (k->ino == ino && k->dev == dev)
			return k;
	return NULL;
}

bool session_knows(struct session *s, uint64_t dev, uint64_t ino)
{
	struct known *k = known_find(s, dev, ino);

	if (k) { /* likely to be asked for again */
		list_del(&k->node);
		list_add(&s->known, &k->node);
	}
	return k;
}

static void known_free(struct session *s, struct known *k)
{
	list_del(&k->node);
	s->nknown--;
	if (k->held)
		backing_put(k->held);
	free(k);
}

static int known_add(struct session *s, int fd, struct known **out)
{
	struct stat st;
	struct known *k;

	if (fstat(fd, &st))
		return -EBADF;
	k = known_find(s, st.st_dev, st.st_ino);
	if (!k) {
		if (s->nknown == KNOWN_MAX)
			known_free(s, list_entry(s->known.prev, struct known, node));
		k = malloc(sizeof(*k));
		if (!k)
			return -ENOMEM;
		*k = (struct known){.dev = st.st_dev, .ino = st.st_ino};
		list_add(&s->known, &k->node);
		s->nknown++;
	}
	*out = k;
	return 0;
}

int session_learn(struct session *s, int fd, uint64_t *dev, uint64_t *ino)
{
	struct known *k;
	int err = known_add(s, fd, &k);

	if (err)
		return err;
	*dev = k->dev;
	*ino = k->ino;
	return 0;
}

int session_hold(struct session *s, int fd)
{
	struct known *k;
	int err = known_add(s, fd, &k);

	if (err || k->held)
		return err;
	return backing_get_fd(s->b->backings, fd, &k->held);
}

void session_drop(struct session *s, uint64_t dev, uint64_t ino)
{
	struct known *k = known_find(s, dev, ino);

	if (k && k->held)
		known_free(s, k);
}

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
		close(fd);
}

int session_send_fd(struct session *s, unsigned int slot, int fd)
{
	struct fd_note note = {slot, 1};
	struct iovec iov = {&note, sizeof(note)};
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
	/* A client that does not read its socket loses its descriptor, not our time. */
	if (sendmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(note))
		return -EMFILE;
	return 0;
}

/* One message: a bell (one byte) or a note with a descriptor. False: nothing more, *gone if the client is. */
static bool receive_one(struct session *s, bool *gone)
{
	struct fd_note note = {0};
	struct iovec iov = {&note, sizeof(note)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm;

	if (n <= 0) {
		*gone = n == 0 || (errno != EAGAIN && errno != EINTR);
		return n < 0 && errno == EINTR;
	}
	for (cm = CMSG_FIRSTHDR(&m); cm; cm = CMSG_NXTHDR(&m, cm)) {
		size_t nfd = cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS
				 ? (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int)
				 : 0;

		for (size_t i = 0; i < nfd; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			if (n == sizeof(note) && note.slot < CHANNEL_SLOTS && s->nfds < SESSION_FDS_MAX)
				s->fds[s->nfds++] = (struct session_fd){note.slot, fd};
			else
				close(fd);
		}
	}
	return true;
}

void session_receive(struct session *s)
{
	bool gone = false;

	/* Bounded: a client cannot keep us here by sending on. */
	for (unsigned int i = 0; i < 2 * SESSION_FDS_MAX && receive_one(s, &gone); i++)
		;
}

/* ---- the channel ---- */
/*
 * A turn that ended quickly and rang a client is worth waiting for. One without interrupts says little (half of all
 * doorbells only give entries back); many of them mean that the client polls.
 */
#define HOLD_TURN_NS 15000
#define HOLD_TURNS   8

static void tune_hold(struct session *s, uint64_t took, bool rang)
{
	unsigned int before = s->hold;

	if (rang)
		s->hold = took < HOLD_TURN_NS && s->ch->spin_ns ? HOLD_TURNS : 0;
	else if (s->hold)
		s->hold--;
	if (!before != !s->hold)
		atomic_store_explicit(&s->ch->hold_ns, s->hold ? HOLD_TURN_NS : 0, memory_order_relaxed);
}

static bool drain_ring(struct session *s)
{
	struct channel *ch = s->ch;
	uint32_t head = atomic_load_explicit(&ch->ring_head, memory_order_acquire), tail = s->tail;
	uint64_t began, rung;
	unsigned int n = 0;

	if (head == tail)
		return false;
	began = loop_now();
	rung = vfio_interrupts(s->b->vfio);
	/* A client that claims more than the ring holds gets what is there: its own lies. */
	for (; tail != head && n < RING_TURN; tail++, n++) {
		struct ring_entry e = ch->ring[tail % RING_ENTRIES];

		rpc_mmio_write(s, &e);
		atomic_store_explicit(&ch->ring_tail, tail + 1, memory_order_release);
	}
	s->tail = tail;
	tune_hold(s, loop_now() - began, vfio_interrupts(s->b->vfio) != rung);
	return true;
}

static bool session_poll(struct loop_poll *p)
{
	struct session *s = container_of(p, struct session, poll);
	bool busy = false;
	uint32_t pending;

	/* Descriptors may have been closed since: never trust an old pointer across turns. */
	s->last = NULL;
	if (likely(atomic_load_explicit(&s->ch->pending, memory_order_relaxed) == 0))
		return drain_ring(s);
	pending = atomic_exchange_explicit(&s->ch->pending, 0, memory_order_acquire);
	for (; pending; pending &= pending - 1) {
		/* A call pushes the writes that were posted before it. */
		for (unsigned int turn = 0; turn < RING_ENTRIES / RING_TURN && drain_ring(s); turn++)
			;
		rpc_serve(s, __builtin_ctz(pending));
		busy = true;
	}
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

static void session_ready(struct loop_fd *w, uint32_t events)
{
	struct session *s = container_of(w, struct session, watch);
	bool gone = false;
	unsigned int i;

	for (i = 0; i < 64 && receive_one(s, &gone); i++)
		;
	if (!gone)
		return;
	/* What it posted before it died goes out, as on a bus. */
	for (i = 0; i < RING_ENTRIES / RING_TURN && drain_ring(s); i++)
		;
	session_free(s);
}

static int send_hello(struct session *s, int memfd)
{
	struct hello h = {
	    .magic = CHANNEL_MAGIC,
	    .version = CHANNEL_VERSION,
	    .channel_size = CHANNEL_SIZE,
	    .broker_id = s->b->objects.broker_id,
	    .host_devices = s->b->opt.host_devices,
	};
	struct iovec iov = {&h, sizeof(h)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);

	snprintf(h.shadow, sizeof(h.shadow), "%s", shadow_root(s->b->shadow));
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &memfd, sizeof(memfd));
	return sendmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(h) ? 0 : -EPIPE;
}

static int map_channel(struct session *s)
{
	int fd = memfd_create("pinfold-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	if (fd < 0)
		return -errno;
	err = -ENOMEM;
	if (ftruncate(fd, CHANNEL_SIZE) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto out;
	s->ch = mmap(NULL, CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s->ch == MAP_FAILED) {
		s->ch = NULL;
		goto out;
	}
	s->ch->magic = CHANNEL_MAGIC;
	s->ch->version = CHANNEL_VERSION;
	s->ch->spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 50000 : 0;
	s->ch->broker_sleeps = 1;
	err = send_hello(s, fd);
out:
	close(fd);
	return err;
}

int session_accept(struct broker *b, int sock)
{
	struct session *s = calloc(1, sizeof(*s));
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int err = -ENOMEM;

	if (!s)
		goto close_sock;
	list_init(&s->mappings);
	list_init(&s->known);
	s->b = b;
	s->watch = (struct loop_fd){sock, EPOLLIN | EPOLLRDHUP, session_ready};
	s->poll = (struct loop_poll){
	    .poll = session_poll, .prepare_sleep = session_prepare_sleep, .cancel_sleep = session_cancel_sleep};
	err = -EPERM;
	/* The broker acts with its user's rights: for that user alone. */
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) || (cred.uid != geteuid() && cred.uid != 0))
		goto free_session;
	s->pid = cred.pid;
	s->may_lock = may_lock(s->pid);
	s->owner = mm_owner_new(&owner_ops, s, s->pid, &b->events);
	if (!s->owner) {
		err = -ENOMEM;
		goto free_session;
	}
	err = map_channel(s);
	if (err)
		goto free_owner;
	err = loop_fd_add(b->loop, &s->watch);
	if (err)
		goto unmap;
	loop_poll_add(b->loop, &s->poll);
	list_add_tail(&b->sessions, &s->node);
	event_emit(&b->events, EVENT_CLIENT, .who = s->pid, .flags = EVENT_START);
	return 0;

unmap:
	munmap(s->ch, CHANNEL_SIZE);
free_owner:
	if (s->ch && err)
		s->ch = NULL;
	mm_owner_orphan(s->owner);
	mm_owner_put(s->owner);
free_session:
	free(s);
close_sock:
	close(sock);
	return err;
}

void session_free(struct session *s)
{
	struct broker *b = s->b;

	event_emit(&b->events, EVENT_CLIENT, .who = s->pid, .flags = EVENT_END);
	atomic_store(&s->ch->dead, 1);
	loop_poll_del(b->loop, &s->poll);
	loop_fd_del(b->loop, &s->watch);
	for (unsigned int i = 0; i < CHANNEL_SLOTS; i++)
		call_free(s->call[i]);
	for (unsigned int i = 0; i < s->nfds; i++)
		close(s->fds[i].fd);
	close(s->watch.fd);
	rpc_drop_mappings(s);
	while (!list_empty(&s->known))
		known_free(s, list_first(&s->known, struct known, node));
	munmap(s->ch, CHANNEL_SIZE);
	mm_owner_orphan(s->owner);
	mm_owner_put(s->owner);
	list_del(&s->node);
	free(s);
	objects_reap(&b->objects);
	backing_cache_trim(b->backings);
}
