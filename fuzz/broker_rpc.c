/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The broker against a client that writes anything into the channel and sends anything over the socket. A broker with
 * one toy function and the checker, with all its classes, runs in this process, its loop stepped by hand; each input is
 * a client's life. What must hold: no
 * sanitizer's complaint, no assertion, and afterwards no session, no object, no pin and no descriptor is left.
 *
 * Input: a byte names a step, its operands follow; what is missing at the end reads as zeros. Ioctls are played both
 * ways: raw garbage in a slot, and a client that answers honestly to what the broker asks for, with odd contents.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "input.h"
#include "base/log.h"
#include "broker/private.h"
#include "check/check.h"
#include "check/class.h"
#include "pci/pci.h"
#include "vfio/vfio.h"

#define REQUIRE(cond)                                                                                                  \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			abort();                                                                                       \
	} while (0)

#define OBJECTS	  8
#define MEM_BYTES (64 * PF_PAGE_SIZE)
#define MEM_VA	  0x100000ull

struct client {
	int sock;
	struct channel *ch;
	int object[OBJECTS]; /* descriptors given out, or -1 */
	uint64_t id[OBJECTS];
	bool odd; /* has sent what a thread closes */
};

/* What descriptors can be sent besides objects. */
enum { FD_MEM, FD_READ_ONLY, FD_EVENT, FD_EPOLL, FD_PIPE, FD_DIR, FD_SESSION, FD_KINDS };

static struct broker *b;
static struct pci_func toy;
static int palette[FD_KINDS];
static struct stat mem_stat;

/* ---- a function that moves memory when it is written to ---- */
static uint64_t bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	return off;
}

static void bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	uint8_t buf[256];

	if (!pci_dma_read(f, val, buf, sizeof(buf), NULL))
		pci_dma_write(f, val ^ PF_PAGE_SIZE, buf, sizeof(buf), NULL);
	pci_msix_raise(f, off % 4);
}

static void nothing(struct pci_func *f)
{
}

static void toy_add(void)
{
	static const struct pci_func_ops ops = {
	    .bar_read = bar_read, .bar_write = bar_write, .reset = nothing, .destroy = nothing};
	static const struct pci_ids ids = {.vendor = 0x1b36, .device = 0x10, .class = 0x010802};

	REQUIRE(!pci_func_init(&toy, &ops, "toy", &ids, &b->events) && !pci_add_bar(&toy, 0, 0x4000, true, false) &&
		!pci_add_mem_bar(&toy, 2, PF_PAGE_SIZE, false, true) && !pci_add_pm(&toy) && !pci_add_express(&toy) &&
		!pci_add_msix(&toy, 4, 0, 0x2000, 0x3000));
	pci_func_place(&toy, 0, 0x100, 1);
	REQUIRE(!vfio_add(b->vfio, &toy));
}

static void stop(void)
{
	broker_free(b);
	pci_func_fini(&toy);
}

static void start(void)
{
	static const struct check_options check = {.classes = BIT64(CLASS_COUNT) - 1};
	struct broker_options o = {.memlock = MEM_BYTES / 2, .check = &check};
	char err[256];
	int rw;

	log_set_level(LOG_ERROR);
	b = broker_new(&o, err, sizeof(err));
	REQUIRE(b);
	loop_set_spin_max(b->loop, 0);
	toy_add();
	atexit(stop);
	rw = memfd_create("mem", MFD_CLOEXEC);
	REQUIRE(rw >= 0 && !fstat(rw, &mem_stat));
	palette[FD_MEM] = rw;
	palette[FD_READ_ONLY] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	palette[FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	palette[FD_EPOLL] = epoll_create1(EPOLL_CLOEXEC);
	palette[FD_PIPE] = open("/dev/null", O_RDWR | O_CLOEXEC);
	palette[FD_DIR] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	palette[FD_SESSION] = -1;
}

static void pump(void)
{
	for (unsigned int i = 0; i < 64 && loop_step(b->loop, false); i++)
		;
}

/* ---- the client's side ---- */
static ssize_t receive(struct client *c, void *buf, size_t len, int *fd)
{
	struct iovec iov = {buf, len};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(c->sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*fd = -1;
	if (cm)
		memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
	return n;
}

static bool client_connect(struct client *c)
{
	struct hello h;
	int sv[2], fd;

	*c = (struct client){.sock = -1};
	memset(c->object, 0xff, sizeof(c->object));
	REQUIRE(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv));
	REQUIRE(!session_accept(b, sv[0]));
	c->sock = sv[1];
	REQUIRE(receive(c, &h, sizeof(h), &fd) == sizeof(h) && fd >= 0 && h.channel_size == CHANNEL_SIZE);
	c->ch = mmap(NULL, CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	REQUIRE(c->ch != MAP_FAILED);
	return true;
}

static void client_leave(struct client *c)
{
	for (unsigned int i = 0; i < OBJECTS; i++)
		if (c->object[i] >= 0)
			close(c->object[i]);
	close(c->sock);
	munmap(c->ch, CHANNEL_SIZE);
}

/* Objects keep their place in the list; a full list forgets the first. */
static void client_keep(struct client *c, int fd, unsigned int at)
{
	struct sockaddr_un sa = {0};
	socklen_t len = sizeof(sa);
	char *slash;

	if (c->object[at % OBJECTS] >= 0)
		close(c->object[at % OBJECTS]);
	c->object[at % OBJECTS] = fd;
	getsockname(fd, (struct sockaddr *)&sa, &len);
	slash = strrchr(sa.sun_path + 1, '/');
	c->id[at % OBJECTS] = slash ? strtoull(slash + 1, NULL, 16) : 0;
}

static void client_receive(struct client *c, unsigned int at)
{
	struct fd_note note;
	int fd;

	while (receive(c, &note, sizeof(note), &fd) > 0)
		if (fd >= 0)
			client_keep(c, fd, at++);
}

static void client_send_fds(struct client *c, unsigned int slot, unsigned int kind, unsigned int n)
{
	struct fd_note note = {slot, n};
	struct iovec iov = {&note, sizeof(note)};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(253 * sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf};
	struct cmsghdr *cm = &control.align;
	int fd = kind < FD_KINDS ? palette[kind] : c->object[kind % OBJECTS];

	if (kind == FD_SESSION)
		fd = c->sock;
	if (fd < 0 || !n)
		return;
	c->odd |= kind < FD_KINDS && kind != FD_MEM && kind != FD_EVENT;
	n = MIN(n, 253U);
	m.msg_controllen = CMSG_SPACE(n * sizeof(int));
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned int i = 0; i < n; i++)
		memcpy(CMSG_DATA(cm) + i * sizeof(int), &fd, sizeof(fd));
	sendmsg(c->sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void post(struct client *c, unsigned int slot)
{
	atomic_store(&c->ch->slot[slot].state, SLOT_REQUEST);
	atomic_fetch_or(&c->ch->pending, 1U << slot);
	pump();
}

static bool lost(const struct client *c)
{
	return atomic_load(&c->ch->dead);
}

/* ---- parts ---- */
static void append(struct slot *sl, uint8_t *payload, const struct ucall_part *h, const void *data)
{
	size_t n = sizeof(*h) + ALIGN_UP(h->got, 8UL);

	if (n > SLOT_PAYLOAD - sl->payload_len)
		return;
	memcpy(payload + sl->payload_len, h, sizeof(*h));
	memcpy(payload + sl->payload_len + sizeof(*h), data, h->got);
	sl->payload_len += n;
}

static void append_pages(struct input *in, struct slot *sl, uint8_t *payload, const struct ucall_part *need)
{
	uint8_t how = take(in, 1);
	struct page_desc d[2] = {{mem_stat.st_dev, mem_stat.st_ino, take(in, 1) * PF_PAGE_SIZE, need->len, !(how & 1)}};
	struct ucall_part h = *need;

	if (how & 2) { /* in two pieces, the second one of any kind */
		d[0].len = take(in, 1) * PF_PAGE_SIZE;
		d[1] = d[0];
		d[1].offset += d[0].len;
		d[1].len = need->len - d[0].len;
		if (how & 4)
			d[1].len = take(in, 8);
		if (how & 8)
			d[1].ino = take(in, 8);
	}
	h.got = how & 2 ? sizeof(d) : sizeof(d[0]);
	h.error = how & 16 ? 14 : 0;
	append(sl, payload, &h, d);
}

/* Answers one need; the payload held it. */
static void supply(struct client *c, struct input *in, unsigned int slot)
{
	struct slot *sl = &c->ch->slot[slot];
	uint8_t *payload = channel_payload(c->ch, slot), bytes[512];
	struct ucall_part need, h;

	memcpy(&need, payload, sizeof(need));
	h = need;
	h.got = 0;
	sl->payload_len = sl->nfds = 0;
	switch (need.kind) {
	case PART_BYTES:
		h.got = MIN(need.len, sizeof(bytes));
		for (size_t i = 0; i < h.got; i += 8) {
			uint64_t v = take(in, 8);

			memcpy(bytes + i, &v, 8);
		}
		append(sl, payload, &h, bytes);
		break;
	case PART_FD:
	case PART_BACKING:
		client_send_fds(c, slot, need.kind == PART_FD ? take(in, 1) % 16 : FD_MEM, 1);
		sl->nfds = 1;
		append(sl, payload, &h, bytes);
		break;
	case PART_WRITE:
		append(sl, payload, &h, bytes);
		break;
	case PART_PAGES:
		append_pages(in, sl, payload, &need);
		break;
	default:
		break;
	}
}

static const unsigned int commands[] = {
    VFIO_GET_API_VERSION,
    VFIO_CHECK_EXTENSION,
    VFIO_SET_IOMMU,
    VFIO_GROUP_GET_STATUS,
    VFIO_GROUP_SET_CONTAINER,
    VFIO_GROUP_UNSET_CONTAINER,
    VFIO_GROUP_GET_DEVICE_FD,
    VFIO_DEVICE_GET_INFO,
    VFIO_DEVICE_GET_REGION_INFO,
    VFIO_DEVICE_GET_IRQ_INFO,
    VFIO_DEVICE_SET_IRQS,
    VFIO_DEVICE_RESET,
    VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
    VFIO_DEVICE_PCI_HOT_RESET,
    VFIO_DEVICE_IOEVENTFD,
    VFIO_DEVICE_FEATURE,
    VFIO_IOMMU_GET_INFO,
    VFIO_IOMMU_MAP_DMA,
    VFIO_IOMMU_UNMAP_DMA,
    VFIO_IOMMU_DIRTY_PAGES,
};

/* An ioctl whose argument starts with `head` bytes, answered to the end or given up in the middle. */
static void play(struct client *c, struct input *in, unsigned int slot, unsigned int object, unsigned int cmd,
		 uint64_t arg, const void *head, size_t len)
{
	struct slot *sl = &c->ch->slot[slot];
	struct ucall_part h = {.kind = PART_BYTES, .addr = arg, .len = len, .got = len};

	sl->op = RPC_IOCTL;
	sl->object = c->id[object % OBJECTS];
	sl->nfds = sl->payload_len = 0;
	if (len)
		append(sl, channel_payload(c->ch, slot), &h, head);
	for (unsigned int round = 0; round < 12 && !lost(c); round++) {
		sl->a[0] = cmd;
		sl->a[1] = arg;
		sl->a[2] = round > 0;
		post(c, slot);
		if (atomic_load(&sl->state) != SLOT_REPLY || sl->ret != RPC_NEED)
			break;
		supply(c, in, slot);
	}
	client_receive(c, take(in, 1));
}

static void open_path(struct client *c, unsigned int slot, const char *path, unsigned int at)
{
	struct slot *sl = &c->ch->slot[slot];

	memcpy(channel_payload(c->ch, slot), path, strlen(path));
	sl->payload_len = strlen(path);
	sl->op = RPC_OPEN;
	sl->nfds = 0;
	post(c, slot);
	client_receive(c, at);
}

/* The usual way to a device with memory mapped for it: objects 0, 1 and 2 are container, group and device. */
static void set_up(struct client *c, struct input *in)
{
	struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map), .flags = 3, .vaddr = MEM_VA, .size = 0x8000};
	static const char name[] = "0000:01:00.0";
	uint16_t command = 6;
	int32_t fd = 0;
	struct slot *sl = &c->ch->slot[1];
	uint8_t honest[64] = {FD_KINDS + OBJECTS - FD_KINDS % OBJECTS, 0}; /* PART_FD: object 0; the rest zeros */
	struct input h = {honest, 1};

	open_path(c, 0, "/dev/vfio/vfio", 0);
	open_path(c, 0, "/dev/vfio/1", 1);
	play(c, &h, 0, 1, VFIO_GROUP_SET_CONTAINER, 0x1000, &fd, sizeof(fd));
	h = (struct input){honest + 1, 0};
	play(c, &h, 0, 0, VFIO_SET_IOMMU, take(in, 1) & 1 ? VFIO_TYPE1v2_IOMMU : VFIO_TYPE1_IOMMU, NULL, 0);
	honest[1] = 2;
	h = (struct input){honest + 1, 1};
	/* The name is read in pieces of 64 bytes. */
	memset(honest + 2, 0, 62);
	memcpy(honest + 2, name, sizeof(name));
	{
		uint8_t piece[64] = {0};

		memcpy(piece, name, sizeof(name));
		play(c, &h, 0, 1, VFIO_GROUP_GET_DEVICE_FD, 0x1000, piece, sizeof(piece));
	}
	h = (struct input){honest, 0};
	play(c, &h, 0, 0, VFIO_IOMMU_MAP_DMA, 0x1000, &map, sizeof(map));
	sl->op = RPC_PWRITE;
	sl->object = c->id[2];
	sl->a[0] = ((uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << REGION_INDEX_SHIFT) + 4;
	sl->payload_len = 2;
	memcpy(channel_payload(c->ch, 1), &command, 2);
	post(c, 1);
}

/* ---- steps ---- */
static void step_garbage(struct client *c, struct input *in)
{
	unsigned int slot = take(in, 1) % CHANNEL_SLOTS, len = take(in, 2);
	struct slot *sl = &c->ch->slot[slot];
	uint8_t *payload = channel_payload(c->ch, slot);

	sl->op = take(in, 1);
	sl->object = take(in, 1);
	if (sl->object < OBJECTS)
		sl->object = c->id[sl->object];
	for (unsigned int i = 0; i < 4; i++)
		sl->a[i] = take(in, 1) & 1 ? take(in, 8) : take(in, 1);
	sl->nfds = take(in, 1);
	sl->payload_len = len == 0xffff ? UINT32_MAX : len;
	len = MIN(len, 256U);
	for (unsigned int i = 0; i < len; i++)
		payload[i] = take(in, 1);
	post(c, slot);
	client_receive(c, slot);
}

static void step_ioctl(struct client *c, struct input *in)
{
	unsigned int slot = take(in, 1) % CHANNEL_SLOTS, object = take(in, 1), cmd = take(in, 1);
	uint8_t head[64];
	size_t len = take(in, 1) % (sizeof(head) + 1);

	for (size_t i = 0; i < len; i++)
		head[i] = take(in, 1);
	/* Most structs start with their size. */
	if (len >= 4 && !head[2] && !head[3])
		memset(head + 1, 0, 3);
	play(c, in, slot, object, commands[cmd % ARRAY_SIZE(commands)], 0x1000 + (take(in, 1) << 4), head, len);
}

static void step_ring(struct client *c, struct input *in)
{
	uint32_t head = atomic_load(&c->ch->ring_head), n = take(in, 1) % 16;

	for (uint32_t i = 0; i < n; i++)
		c->ch->ring[(head + i) % RING_ENTRIES] = (struct ring_entry){
		    .object = c->id[take(in, 1) % OBJECTS],
		    .offset = take(in, 2),
		    .value = take(in, 2) << 4,
		    .size = take(in, 1),
		};
	if (take(in, 1) == 0xff)
		n = take(in, 4);
	atomic_store(&c->ch->ring_head, head + n);
}

static void step_socket(struct client *c, struct input *in)
{
	uint8_t bytes[32] = {0}, how = take(in, 1);

	switch (how & 3) {
	case 0:
	case 1:
		client_send_fds(c, how >> 2, take(in, 1) % 16, take(in, 1));
		break;
	case 2:
		for (unsigned int i = 0; i < sizeof(bytes); i++)
			bytes[i] = take(in, 1);
		send(c->sock, bytes, 1 + (how >> 3), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 3:
		if (how == 0xff)
			shutdown(c->sock, take(in, 1) % 3);
		break;
	}
}

static void step_object(struct client *c, struct input *in)
{
	unsigned int i = take(in, 1) % OBJECTS;
	uint8_t how = take(in, 1);

	if (c->object[i] < 0)
		return;
	if (how & 1) {
		close(c->object[i]);
		c->object[i] = -1;
	} else if (how & 2) {
		shutdown(c->object[i], how >> 2 & 3);
	} else {
		send(c->object[i], &how, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

/* Where the calls of a slot come from, from now on: code of this process, or anything. */
static void step_origin(struct client *c, struct input *in)
{
	unsigned int slot = take(in, 1) % CHANNEL_SLOTS, how = take(in, 1), n = take(in, 1) % 16;
	uint64_t *stack = (uint64_t *)channel_stack(c->ch, slot), code = (uintptr_t)LLVMFuzzerTestOneInput;
	struct slot *sl = &c->ch->slot[slot];

	sl->task = take(in, 1);
	sl->ip = how & 1 ? code + take(in, 1) : take(in, 8);
	sl->sp = how & 2 ? 0x10000 : take(in, 8);
	sl->bp = how & 4 ? sl->sp + take(in, 1) * 8 : take(in, 8);
	sl->stack_len = how & 8 ? SLOT_STACK : take(in, 4);
	for (unsigned int i = 0; i < n; i++)
		stack[i] = how & 16 ? code + take(in, 2) : how & 32 ? sl->sp + take(in, 1) : take(in, 8);
}

static void step(struct client *c, struct input *in)
{
	switch (take(in, 1) % 12) {
	case 0:
		step_garbage(c, in);
		break;
	case 1:
	case 2:
	case 3:
		step_ioctl(c, in);
		break;
	case 4:
		step_ring(c, in);
		break;
	case 5:
		step_socket(c, in);
		break;
	case 6:
		step_object(c, in);
		break;
	case 7:
		REQUIRE(!ftruncate(palette[FD_MEM], take(in, 1) % 65 * PF_PAGE_SIZE));
		break;
	case 8:
		atomic_store(&c->ch->pending, (uint32_t)take(in, 4));
		break;
	case 9:
		open_path(c, 0, take(in, 1) & 1 ? "/dev/vfio/1" : "/dev/vfio/vfio", take(in, 1));
		break;
	case 10:
		open_path(c, 0, take(in, 1) & 1 ? "/sys/bus/pci/devices/../../../.." : "/sys/bus/pci/devices", 0);
		break;
	default:
		step_origin(c, in);
		pump();
		break;
	}
}

/* What the broker opens once and keeps; the files of this process, for its stacks, too. */
#define FDS_KEPT 48

/* Descriptors of odd kinds are closed by a thread, soon. */
static void check_fds(void)
{
	static int base;

	for (unsigned int i = 0; i < 5000; i++) {
		int fd = dup(palette[FD_EVENT]);

		close(fd);
		base = base ? base : fd;
		if (fd <= base + FDS_KEPT)
			return;
		usleep(1000);
	}
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct client c;

	if (!b)
		start();
	backing_cache_trim(b->backings);
	check_fds();
	REQUIRE(!ftruncate(palette[FD_MEM], 0) && !ftruncate(palette[FD_MEM], MEM_BYTES));
	client_connect(&c);
	if (take(&in, 1) & 1)
		set_up(&c, &in);
	while (in.n && !lost(&c))
		step(&c, &in);
	client_leave(&c);
	/* A client that has sent us its own socket lives as long as its process, which is this one. */
	pump();
	while (!list_empty(&b->sessions) && c.odd)
		session_free(list_first(&b->sessions, struct session, node));
	pump();
	REQUIRE(list_empty(&b->sessions) && !b->objects.count);
	return 0;
}
