/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A standing broker and clients that mean it harm: one process per test, named by the argument. After each the broker
 * serves another client, holds as many descriptors as before, and ends without a complaint.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raw.h"

static struct server sv;

/* The same numbers on every run. */
static uint32_t rnd(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x >> 16;
}

/* A good client gets all that there is: calls, a device, memory mapped. */
static void check_served(void)
{
	struct vfio_iommu_type1_dma_unmap un = {.argsz = sizeof(un), .size = 0x10000};
	struct raw_device d;
	struct raw r;

	raw_connect(&r, &sv);
	for (unsigned int i = 0; i < 2000; i++)
		CHECK(!raw_call(&r, i % CHANNEL_SLOTS, RPC_NOP, 0, 0, 0, NULL, 0));
	raw_device_open(&r, &d);
	CHECK(!raw_map(&r, d.container, 0, 0, 0x10000));
	CHECK(!raw_ioctl(&r, d.container, VFIO_IOMMU_UNMAP_DMA, (uintptr_t)&un) && un.size == 0x10000);
	close(d.device);
	close(d.group);
	close(d.container);
	raw_close(&r);
}

/* A client in a process of its own; returns when it has reached the end of fn, where it stays. */
static pid_t in_child(void (*fn)(void *), void *arg)
{
	int fd[2];
	pid_t pid;
	char c;

	CHECK(!pipe2(fd, O_CLOEXEC));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		close(fd[0]);
		close(sv.stop);
		fn(arg);
		CHECK(write(fd[1], "", 1) == 1);
		for (;;)
			pause();
	}
	close(fd[1]);
	CHECK(read(fd[0], &c, 1) == 1);
	close(fd[0]);
	return pid;
}

static void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
}

/* ---- garbage ---- */
static void garbage_messages(struct raw *r)
{
	uint32_t bytes[16];

	for (unsigned int i = 0; i < ARRAY_SIZE(bytes); i++)
		bytes[i] = rnd();
	if (send(r->sock, bytes, 1 + rnd() % sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		CHECK(errno == EAGAIN);
}

static void garbage_slot(struct raw *r, uint64_t object)
{
	static const uint32_t lengths[] = {0,	      1, 40, 4096, SLOT_PAYLOAD - 1, SLOT_PAYLOAD, SLOT_PAYLOAD + 1,
					   UINT32_MAX};
	unsigned int n = rnd() % CHANNEL_SLOTS;
	struct slot *sl = &r->ch->slot[n];
	uint32_t *payload = (uint32_t *)channel_payload(r->ch, n);

	sl->op = rnd() % 4 ? rnd() % RPC_COUNT : rnd();
	sl->object = rnd() % 4 ? object : rnd();
	for (unsigned int i = 0; i < 4; i++)
		sl->a[i] = rnd() % 2 ? rnd() : rnd() % 4096;
	sl->nfds = rnd() % 2;
	sl->payload_len = lengths[rnd() % ARRAY_SIZE(lengths)];
	for (unsigned int i = 0; i < 64; i++)
		payload[i] = rnd() % 2 ? rnd() : rnd() % 8;
	if (rnd() % 2) { /* a plausible ioctl */
		sl->op = RPC_IOCTL;
		sl->a[0] = VFIO_GET_API_VERSION + rnd() % 24;
		sl->a[2] = rnd() % 2;
	}
	raw_post(r, n);
	raw_wait(r, n);
	/* What it gave out is not wanted. */
	if (sl->flags & SLOT_HAS_FD)
		close(raw_recv_fd(r));
}

static void test_garbage(void)
{
	struct raw_device d;
	struct raw r;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	for (unsigned int i = 0; i < 20000; i++) {
		const int fds[] = {d.container, d.group, d.device};

		if (rnd() % 8 == 0)
			garbage_messages(&r);
		garbage_slot(&r, raw_object(fds[rnd() % 3]));
	}
	close(d.device);
	close(d.group);
	close(d.container);
	raw_close(&r);
}

/* ---- stopped, killed ---- */
static void half_a_call(void *arg)
{
	struct raw_device d;
	struct raw r;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	r.stop_at = r.served + 2;
	CHECK(raw_map(&r, d.container, 0, 0, RAW_MEM) == RPC_NEED);
	/* And some that nobody waits for. */
	for (unsigned int i = 1; i < CHANNEL_SLOTS; i++)
		raw_post(&r, i);
	atomic_store(&r.ch->ring_head, RING_ENTRIES);
	memset(arg, 0, 0);
}

/* Rule C1: a client that is stopped anywhere delays nobody. */
static void test_stopped(void)
{
	pid_t pid = in_child(half_a_call, NULL);
	unsigned int done = 0;
	struct raw r;
	int status;

	kill(pid, SIGSTOP);
	CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	raw_connect(&r, &sv);
	for (unsigned int i = 0; i < 2000; i++) {
		int fd = raw_open(&r, "/dev/vfio/vfio");

		CHECK(fd >= 0);
		done += raw_ioctl(&r, fd, VFIO_GET_API_VERSION, 0) == VFIO_API_VERSION;
		close(fd);
	}
	CHECK(done == 2000);
	CHECK(raw_open(&r, "/dev/vfio/1") == -EBUSY);
	raw_close(&r);
	kill_child(pid);
}

static void map_until(void *arg)
{
	unsigned int stop_at = *(unsigned int *)arg;
	struct raw_device d;
	struct raw r;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	r.stop_at = stop_at ? r.served + stop_at : 0;
	CHECK(raw_map(&r, d.container, 0, 0, RAW_MEM) == (stop_at ? RPC_NEED : 0));
}

/* Rule B1: nothing stays charged (the broker asserts that), at whatever point of a map the client is killed. */
static void test_killed_in_map(void)
{
	for (unsigned int stop_at = 0; stop_at <= 3; stop_at++) {
		kill_child(in_child(map_until, &stop_at));
		check_served();
	}
}

/* ---- memory that goes away ---- */
static void bar_write(struct raw *r, int device, uint64_t off, uint64_t val, unsigned int size)
{
	CHECK(raw_call(r, 0, RPC_PWRITE, raw_object(device), off, size, &val, size) == size);
}

static void test_truncated(void)
{
	const uint64_t config = (uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << REGION_INDEX_SHIFT;
	struct raw_device d;
	struct raw r;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	CHECK(!raw_map(&r, d.container, 0, 0, RAW_MEM));
	bar_write(&r, d.device, config + 4, 6, 2);    /* COMMAND: memory, bus master */
	bar_write(&r, d.device, 0x24, 0x000f000f, 4); /* AQA */
	bar_write(&r, d.device, 0x28, 0x1000, 8);     /* ASQ */
	bar_write(&r, d.device, 0x30, 0x2000, 8);     /* ACQ */
	bar_write(&r, d.device, 0x14, 0x460001, 4);   /* CC: enable */
	CHECK(!ftruncate(r.memfd, 0));
	bar_write(&r, d.device, 0x1000, 1, 4); /* the admin queue's doorbell */
	CHECK(!raw_call(&r, 0, RPC_NOP, 0, 0, 0, NULL, 0));
	CHECK(!raw_ioctl(&r, d.device, VFIO_DEVICE_RESET, 0));
	close(d.device);
	close(d.group);
	close(d.container);
	raw_close(&r);
	check_served();
}

/* ---- descriptors ---- */
static void send_into_itself(void *arg)
{
	struct raw_device d;
	struct raw r, other;
	int sock;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	CHECK(!raw_map(&r, d.container, 0, 0, RAW_MEM));
	/* Its session into itself, and two into each other. */
	raw_note_fds(&r, 3, &r.sock, 1);
	raw_connect(&other, &sv);
	raw_note_fds(&other, 3, &r.sock, 1);
	raw_note_fds(&r, 4, &other.sock, 1);
	/* Objects, to be kept by the session and in their own queues. */
	raw_note_fds(&r, 5, &d.device, 1);
	raw_note_fds(&r, 5, &d.group, 1);
	sock = r.sock;
	for (unsigned int i = 0; i < 2; i++) {
		struct fd_note note = {0};
		struct iovec iov = {&note, sizeof(note)};
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(sizeof(int))];
		} control = {.align = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
		struct msghdr m = {
		    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control)};

		memcpy(CMSG_DATA(&control.align), i ? &d.group : &sock, sizeof(int));
		sendmsg(i ? d.group : d.device, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	CHECK(!raw_call(&r, 0, RPC_NOP, 0, 0, 0, NULL, 0));
}

static void test_own_socket(void)
{
	kill_child(in_child(send_into_itself, NULL));
}

static void test_descriptors(void)
{
	int fds[253], kinds[] = {memfd_create("m", MFD_CLOEXEC),	eventfd(0, EFD_CLOEXEC),
				 epoll_create1(EPOLL_CLOEXEC),		open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
				 open("/dev/null", O_RDWR | O_CLOEXEC), socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	struct raw_device d;
	struct raw r;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	for (unsigned int round = 0; round < 40; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
			fds[i] = kinds[rnd() % ARRAY_SIZE(kinds)];
		raw_note_fds(&r, round % 2 ? round : UINT32_MAX - round, fds, 1 + rnd() % ARRAY_SIZE(fds));
		raw_send_fds(&r, "x", 1, fds, 5);
		/* Each kind as what the broker asks for. */
		for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
			CHECK(raw_ioctl(&r, d.group, VFIO_GROUP_SET_CONTAINER, (uintptr_t)&kinds[i]) < 0);
			raw_note_fds(&r, 1, &kinds[i], 1);
			r.ch->slot[1].nfds = 1;
			r.ch->slot[1].op = RPC_HOLD;
			raw_post(&r, 1);
			CHECK(raw_wait(&r, 1) == (i ? -EFAULT : 0) || round);
		}
	}
	CHECK(!raw_call(&r, 0, RPC_NOP, 0, 0, 0, NULL, 0));
	close(d.device);
	close(d.group);
	close(d.container);
	raw_close(&r);
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		close(kinds[i]);
}

/* A TCP socket whose close waits for a peer that does not read. */
static int lingering_socket(int *peer)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct linger linger = {1, 3600};
	socklen_t len = sizeof(sa);
	static char buf[1 << 16];
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	CHECK(!bind(l, (struct sockaddr *)&sa, sizeof(sa)) && !listen(l, 1));
	CHECK(!getsockname(l, (struct sockaddr *)&sa, &len));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!connect(fd, (struct sockaddr *)&sa, len));
	*peer = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	close(l);
	CHECK(*peer >= 0 && !setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	while (send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	return fd;
}

static void give(struct raw *r, int fd)
{
	raw_note_fds(r, UINT32_MAX, &fd, 1);
}

static void give_and_keep_in_slot(struct raw *r, int fd)
{
	raw_note_fds(r, 3, &fd, 1);
}

static void give_in_a_queue(struct raw *r, int fd)
{
	struct raw into = {0};
	int sv2[2];

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv2));
	into.sock = sv2[0];
	raw_note_fds(&into, 0, &fd, 1);
	raw_note_fds(r, 3, &sv2[1], 1);
}

/*
 * Hand a lingering socket to the broker from a process that then ends: whoever closes it last waits, but for a process
 * that exits, so it must not be this one. Returns the end that does not read.
 */
static int give_lingering(struct raw *r, void (*how)(struct raw *, int))
{
	int peer, fd = lingering_socket(&peer), alone[2], status;
	pid_t pid;
	char c;

	CHECK(!pipe2(alone, O_CLOEXEC));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		close(alone[1]);
		CHECK(read(alone[0], &c, 1) == 0);
		how(r, fd);
		_exit(0);
	}
	close(fd);
	close(alone[0]);
	close(alone[1]);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
	return peer;
}

/* close() of what a client has sent may take for ever; the broker goes on. */
static void test_slow_close(void)
{
	int peer[3];
	struct raw r;

	raw_connect(&r, &sv);
	peer[0] = give_lingering(&r, give);
	CHECK(!raw_call(&r, 0, RPC_NOP, 0, 0, 0, NULL, 0));
	/* Not seen before the client has gone. */
	peer[1] = give_lingering(&r, give_and_keep_in_slot);
	raw_close(&r);
	check_served();
	/* In the queue of what is sent. */
	raw_connect(&r, &sv);
	peer[2] = give_lingering(&r, give_in_a_queue);
	raw_close(&r);
	check_served();
	for (unsigned int i = 0; i < ARRAY_SIZE(peer); i++)
		close(peer[i]);
}

/* ---- limits ---- */
static void test_objects(void)
{
	unsigned int n;
	struct raw r;
	int fd = 0;

	raw_connect(&r, &sv);
	for (n = 0; n < 5000 && (fd = raw_open(&r, "/dev/vfio/vfio")) >= 0; n++)
		;
	CHECK(fd == -EMFILE && n >= 64);
	/* The others have theirs. */
	check_served();
	for (unsigned int i = 3; i < 5000; i++)
		if (i != (unsigned int)r.sock && i != (unsigned int)r.memfd && i != (unsigned int)sv.stop)
			close(i);
	CHECK((fd = raw_open(&r, "/dev/vfio/vfio")) >= 0);
	close(fd);
	raw_close(&r);
}

static void check_idle(void)
{
	uint64_t before;

	usleep(300000);
	before = server_cpu_ms(&sv);
	sleep(1);
	CHECK(server_cpu_ms(&sv) - before < 500);
}

/* Out of descriptors, the broker neither spins nor keeps anybody waiting at the door. */
static void flood(void *arg)
{
	static struct raw r[64];
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++)
		n += raw_try_connect(&r[i], &sv);
	CHECK(n > 2 && n < ARRAY_SIZE(r));
	/* The last descriptor, too, so that there is none to accept with. */
	for (unsigned int i = 0; i < 64; i++)
		raw_note_fds(&r[0], 1, &r[0].memfd, 1);
	CHECK(!raw_call(&r[0], 0, RPC_NOP, 0, 0, 0, NULL, 0));
	usleep(100000);
	for (unsigned int i = n; i < ARRAY_SIZE(r); i++)
		CHECK(!raw_try_connect(&r[i], &sv));
}

static void test_accept_flood(void)
{
	pid_t pid = in_child(flood, NULL);

	check_idle();
	kill_child(pid);
}

/* One process gets so many sessions and no more. */
static void test_sessions(void)
{
	static struct raw r[200];
	unsigned int n = 0;

	while (n < ARRAY_SIZE(r) && raw_try_connect(&r[n], &sv))
		n++;
	CHECK(n >= 8 && n < ARRAY_SIZE(r));
	raw_close(&r[--n]);
	EVENTUALLY(raw_try_connect(&r[n], &sv));
	for (n++; n; n--)
		raw_close(&r[n - 1]);
}

/* ---- keeping the broker busy ---- */
static void test_lies(void)
{
	struct raw r;

	raw_connect(&r, &sv);
	atomic_store(&r.ch->ring_head, 0x80000000u);
	atomic_store(&r.ch->pending, UINT32_MAX);
	atomic_store(&r.ch->ring_tail, 12345);
	for (unsigned int i = 0; i < CHANNEL_SLOTS; i++)
		atomic_store(&r.ch->slot[i].state, 0xdead00 | (rnd() & 0xf8));
	CHECK(send(r.sock, "", 1, MSG_NOSIGNAL) == 1);
	check_idle();
	for (unsigned int i = 0; i < CHANNEL_SLOTS; i++)
		CHECK(!raw_call(&r, i, RPC_NOP, 0, 0, 0, NULL, 0));
	raw_close(&r);
}

/* As many parts as will go, in an order that is bad for lists, again and again; then the same with descriptions. */
static void bomb(struct raw *r, int container, enum part_kind kind)
{
	struct slot *sl = &r->ch->slot[7];
	uint64_t x = 0;
	long ret = RPC_NEED;

	for (unsigned int round = 0; ret == RPC_NEED && round < 400; round++) {
		sl->op = RPC_IOCTL;
		sl->object = raw_object(container);
		sl->a[0] = VFIO_IOMMU_MAP_DMA;
		sl->a[1] = 0x7000;
		sl->a[2] = round > 0;
		sl->nfds = sl->payload_len = 0;
		while (SLOT_PAYLOAD - sl->payload_len >= 2 * sizeof(struct ucall_part)) {
			struct ucall_part h = {.kind = kind, .addr = ~(x++ * 8), .len = 1 + (x & 7), .error = 14};

			raw_append(r, 7, &h, NULL);
		}
		raw_post(r, 7);
		ret = raw_wait(r, 7);
	}
	CHECK(ret == -ENOMEM);
}

static void bombs(void *arg)
{
	struct raw_device d;
	struct raw r;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	for (enum part_kind kind = PART_BYTES; kind <= PART_WRITE; kind++)
		bomb(&r, d.container, kind);
}

static void test_parts(void)
{
	pid_t pid = in_child(bombs, NULL);

	kill_child(pid);
}

/* ---- words that change while they are looked at ---- */
static atomic_bool flipping;

static void *flip(void *arg)
{
	struct raw *r = arg;
	struct slot *sl = &r->ch->slot[0];
	volatile uint32_t *payload = (uint32_t *)channel_payload(r->ch, 0);

	for (uint32_t i = 0; atomic_load(&flipping); i++) {
		__atomic_store_n(&sl->payload_len, i % 3 ? 80 + i % 512 : UINT32_MAX, __ATOMIC_RELAXED);
		__atomic_store_n(&sl->op, i % 5 ? RPC_IOCTL : i % (RPC_COUNT + 1), __ATOMIC_RELAXED);
		payload[0] = i % 4;			  /* kind */
		payload[6] = i % 7 ? i % 64 : UINT32_MAX; /* got */
		payload[16] = i * 2654435761u;
		atomic_store(&r->ch->ring_head, i);
	}
	return NULL;
}

static void test_double_fetch(void)
{
	struct raw_device d;
	struct raw r;
	pthread_t t;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	atomic_store(&flipping, true);
	CHECK(!pthread_create(&t, NULL, flip, &r));
	for (unsigned int i = 0; i < 20000; i++) {
		r.ch->slot[0].object = raw_object(i % 2 ? d.container : d.device);
		r.ch->slot[0].a[0] = VFIO_GET_API_VERSION + i % 24;
		r.ch->slot[0].a[1] = 0x7000;
		raw_post(&r, 0);
		raw_wait(&r, 0);
		if (r.ch->slot[0].flags & SLOT_HAS_FD)
			close(raw_recv_fd(&r));
	}
	atomic_store(&flipping, false);
	pthread_join(t, NULL);
	close(d.device);
	close(d.group);
	close(d.container);
	raw_close(&r);
}

/* A descriptor that is closed while a call on it waits for more. */
static void test_closed_in_call(void)
{
	struct vfio_group_status st = {.argsz = sizeof(st)};
	struct slot *sl;
	struct raw r;
	int fd;

	raw_connect(&r, &sv);
	sl = &r.ch->slot[2];
	fd = raw_open(&r, "/dev/vfio/1");
	CHECK(fd >= 0);
	CHECK(raw_call(&r, 2, RPC_IOCTL, raw_object(fd), VFIO_GROUP_GET_STATUS, (uintptr_t)&st, NULL, 0) == RPC_NEED);
	close(fd);
	sl->a[0] = VFIO_GROUP_GET_STATUS;
	sl->a[1] = (uintptr_t)&st;
	sl->a[2] = 1;
	raw_post(&r, 2);
	CHECK(raw_wait(&r, 2) == -EBADF);
	raw_close(&r);
}

/* Posted writes to an object that a call between them releases. */
static void test_ring_after_close(void)
{
	struct raw r;

	raw_connect(&r, &sv);
	for (unsigned int i = 0; i < 200; i++) {
		int fd = raw_open(&r, "/dev/vfio/vfio");
		uint32_t head = atomic_load(&r.ch->ring_head);

		CHECK(fd >= 0);
		for (unsigned int j = 0; j < 8; j++)
			r.ch->ring[(head + j) % RING_ENTRIES] = (struct ring_entry){raw_object(fd), 0, 0, 4, 0};
		atomic_store(&r.ch->ring_head, head + 4);
		close(fd);
		for (unsigned int j = 0; j < 4; j++) {
			r.ch->slot[j].op = RPC_IOCTL;
			atomic_store(&r.ch->slot[j].state, SLOT_REQUEST);
		}
		atomic_store(&r.ch->pending, 0xf);
		atomic_store(&r.ch->ring_head, head + 8);
		raw_post(&r, 0);
		for (unsigned int j = 0; j < 4; j++)
			raw_wait(&r, j);
	}
	raw_close(&r);
}

static void map_registers(void *arg)
{
	struct raw_device d;
	struct slot *sl;
	struct raw r;

	raw_connect(&r, &sv);
	raw_device_open(&r, &d);
	sl = &r.ch->slot[0];
	sl->op = RPC_MMAP;
	sl->object = raw_object(d.device);
	sl->a[0] = (uint64_t)VFIO_PCI_BAR0_REGION_INDEX << REGION_INDEX_SHIFT;
	sl->a[1] = PF_PAGE_SIZE;
	sl->a[2] = PROT_READ | PROT_WRITE | 1ull << 32;
	raw_post(&r, 0);
	CHECK(!raw_wait(&r, 0));
}

/* Whoever has waited for a process to end finds the device free: a mapping of its registers ends with it, too. */
static void test_died_with_mapping(void)
{
	struct raw r;

	raw_connect(&r, &sv);
	for (unsigned int i = 0; i < 10; i++) {
		pid_t owner = in_child(map_registers, NULL), waker;
		int fd;

		/* The broker is to hear of the death and of the call in the same moment. */
		kill(sv.pid, SIGSTOP);
		CHECK(waitpid(sv.pid, NULL, WUNTRACED) == sv.pid);
		kill_child(owner);
		waker = fork();
		if (!waker) {
			usleep(2000);
			kill(sv.pid, SIGCONT);
			_exit(0);
		}
		fd = raw_open(&r, "/dev/vfio/1");
		CHECK(fd >= 0);
		close(fd);
		CHECK(waitpid(waker, NULL, 0) == waker);
	}
	raw_close(&r);
}

/* Outside the tree nothing is looked up. */
static void test_paths(void)
{
	static const char *const paths[] = {
	    "",
	    "/",
	    "relative",
	    "/etc/passwd",
	    "/sys/..",
	    "/sys/../../../../etc/passwd",
	    "/dev/vfio/../../../etc",
	    "/dev/vfio/99999999999999999999",
	    "/dev/vfio/1x",
	    "/dev/vfio/-1",
	};
	static char longest[SLOT_PAYLOAD];
	struct raw r;

	raw_connect(&r, &sv);
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++)
		CHECK(raw_open(&r, paths[i]) < 0);
	CHECK(raw_open(&r, "/sys/../../../../there/is/no/such/file") == -EXDEV);
	memset(longest, '/', sizeof(longest));
	CHECK(raw_call(&r, 0, RPC_OPEN, 0, 0, 0, longest, sizeof(longest)) == -ENAMETOOLONG);
	raw_close(&r);
}

static const struct {
	const char *name;
	void (*fn)(void);
	struct server_options o;
} tests[] = {
    {"garbage", test_garbage, {0}},
    {"stopped", test_stopped, {0}},
    {"killed_in_map", test_killed_in_map, {.memlock = RAW_MEM}},
    {"truncated", test_truncated, {0}},
    {"own_socket", test_own_socket, {0}},
    {"descriptors", test_descriptors, {0}},
    {"slow_close", test_slow_close, {0}},
    {"objects", test_objects, {.nofile = 512}},
    {"accept_flood", test_accept_flood, {.nofile = 64}},
    {"sessions", test_sessions, {0}},
    {"lies", test_lies, {0}},
    {"parts", test_parts, {0}},
    {"double_fetch", test_double_fetch, {0}},
    {"closed_in_call", test_closed_in_call, {0}},
    {"ring_after_close", test_ring_after_close, {0}},
    {"died_with_mapping", test_died_with_mapping, {0}},
    {"paths", test_paths, {0}},
};

int main(int argc, char **argv)
{
	unsigned int fds;

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		if (argc < 2 || strcmp(argv[1], tests[i].name))
			continue;
		server_start(&sv, &tests[i].o);
		/* What the broker opens once and keeps is open after the first client. */
		check_served();
		usleep(100000);
		fds = server_fds(&sv);
		tests[i].fn();
		check_served();
		EVENTUALLY(server_fds(&sv) <= fds);
		server_stop(&sv);
		return 0;
	}
	fprintf(stderr, "usage: %s TEST\n", argv[0]);
	return 2;
}
