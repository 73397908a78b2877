/* SPDX-License-Identifier: BSD-3-Clause */
#include "raw.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/broker.h"

/* ---- the broker ---- */
static _Noreturn void serve(const struct server *sv, const struct server_options *opt, int stop, int ready)
{
	char spec[128], err[256];
	const char *devices[] = {spec};
	struct broker_options o = {
	    .devices = devices, .ndevices = 1, .socket = sv->socket, .memlock = opt ? opt->memlock : 0};
	struct broker *b;

	snprintf(spec, sizeof(spec), "nvme,path=%s", sv->disk);
	if (opt && opt->nofile) {
		struct rlimit rl = {opt->nofile, opt->nofile};

		setrlimit(RLIMIT_NOFILE, &rl);
	}
	b = broker_new(&o, err, sizeof(err));
	if (!b) {
		fprintf(stderr, "broker: %s\n", err);
		_exit(1);
	}
	if (write(ready, "", 1) != 1)
		_exit(1);
	close(ready);
	if (broker_serve(b, stop))
		_exit(1);
	broker_free(b);
	close(stop);
	exit(0);
}

void server_start(struct server *sv, const struct server_options *o)
{
	int stop[2], ready[2], fd;
	char c;

	strcpy(sv->dir, "/tmp/pinfold-hostile-XXXXXX");
	CHECK(mkdtemp(sv->dir));
	snprintf(sv->socket, sizeof(sv->socket), "%s/socket", sv->dir);
	snprintf(sv->disk, sizeof(sv->disk), "%s/disk", sv->dir);
	fd = open(sv->disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, 1 << 20));
	close(fd);
	CHECK(!pipe2(stop, O_CLOEXEC) && !pipe2(ready, O_CLOEXEC));
	fflush(NULL);
	sv->pid = fork();
	CHECK(sv->pid >= 0);
	if (!sv->pid) {
		close(stop[1]);
		close(ready[0]);
		serve(sv, o, stop[0], ready[1]);
	}
	close(stop[0]);
	close(ready[1]);
	sv->stop = stop[1];
	CHECK(read(ready[0], &c, 1) == 1);
	close(ready[0]);
}

void server_stop(struct server *sv)
{
	int status;

	close(sv->stop);
	CHECK(waitpid(sv->pid, &status, 0) == sv->pid);
	unlink(sv->disk);
	unlink(sv->socket);
	rmdir(sv->dir);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

unsigned int server_fds(const struct server *sv)
{
	char path[64];
	unsigned int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", sv->pid);
	d = opendir(path);
	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

uint64_t server_cpu_ms(const struct server *sv)
{
	unsigned long user, sys;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", sv->pid);
	f = fopen(path, "re");
	CHECK(f && fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) == 2);
	fclose(f);
	return (user + sys) * 1000 / sysconf(_SC_CLK_TCK);
}

/* ---- the socket ---- */
static ssize_t receive(struct raw *r, void *buf, size_t len, int *fd)
{
	struct iovec iov = {buf, len};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(r->sock, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *cm = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*fd = -1;
	if (cm)
		memcpy(fd, CMSG_DATA(cm), sizeof(*fd));
	return n;
}

bool raw_try_connect(struct raw *r, const struct server *sv)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;
	int fd;

	*r = (struct raw){.memfd = -1};
	strcpy(sa.sun_path, sv->socket);
	r->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CHECK(r->sock >= 0);
	if (connect(r->sock, (struct sockaddr *)&sa, sizeof(sa)) ||
	    receive(r, &r->hello, sizeof(r->hello), &fd) != sizeof(r->hello)) {
		close(r->sock);
		return false;
	}
	CHECK(r->hello.magic == CHANNEL_MAGIC && fd >= 0);
	r->ch = mmap(NULL, CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	CHECK(r->ch != MAP_FAILED);
	r->memfd = memfd_create("raw", MFD_CLOEXEC);
	CHECK(r->memfd >= 0 && !ftruncate(r->memfd, RAW_MEM) && !fstat(r->memfd, &st));
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->mem = mmap(NULL, RAW_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
	CHECK(r->mem != MAP_FAILED);
	return true;
}

void raw_connect(struct raw *r, const struct server *sv)
{
	/* The sessions that this process closed last may be counted for a moment more. */
	EVENTUALLY(raw_try_connect(r, sv));
}

void raw_close(struct raw *r)
{
	close(r->sock);
	munmap(r->ch, CHANNEL_SIZE);
	munmap(r->mem, RAW_MEM);
	close(r->memfd);
}

void raw_send_fds(struct raw *r, const void *data, size_t len, const int *fds, unsigned int n)
{
	struct iovec iov = {(void *)data, len};
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(253 * sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cm = &control.align;

	if (n) {
		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, n * sizeof(int));
	}
	CHECK(sendmsg(r->sock, &m, MSG_NOSIGNAL) == (ssize_t)len);
}

void raw_note_fds(struct raw *r, unsigned int slot, const int *fds, unsigned int n)
{
	struct fd_note note = {slot, n};

	raw_send_fds(r, &note, sizeof(note), fds, n);
}

int raw_recv_fd(struct raw *r)
{
	struct fd_note note;
	int fd;

	receive(r, &note, sizeof(note), &fd);
	return fd;
}

/* ---- calls ---- */
void raw_post(struct raw *r, unsigned int slot)
{
	uint8_t bell = 0;

	atomic_store(&r->ch->slot[slot].state, SLOT_REQUEST);
	atomic_fetch_or(&r->ch->pending, 1U << slot);
	if (atomic_exchange(&r->ch->broker_sleeps, 0))
		send(r->sock, &bell, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

long raw_wait(struct raw *r, unsigned int slot)
{
	struct slot *sl = &r->ch->slot[slot];

	for (unsigned int i = 0; atomic_load(&sl->state) != SLOT_REPLY; i++) {
		if (atomic_load(&r->ch->dead))
			return -EIO;
		CHECK(i < 200000 && "an answer");
		usleep(i < 1000 ? 0 : 100);
	}
	return sl->ret;
}

long raw_call(struct raw *r, unsigned int slot, uint32_t op, uint64_t object, uint64_t a0, uint64_t a1,
	      const void *payload, size_t len)
{
	struct slot *sl = &r->ch->slot[slot];

	sl->op = op;
	sl->object = object;
	sl->a[0] = a0;
	sl->a[1] = a1;
	sl->a[2] = sl->a[3] = 0;
	sl->nfds = 0;
	sl->payload_len = len;
	if (len)
		memcpy(channel_payload(r->ch, slot), payload, MIN(len, (size_t)SLOT_PAYLOAD));
	raw_post(r, slot);
	return raw_wait(r, slot);
}

uint64_t raw_object(int fd)
{
	struct sockaddr_un sa = {0};
	socklen_t len = sizeof(sa);
	char *slash;

	CHECK(!getsockname(fd, (struct sockaddr *)&sa, &len));
	slash = strrchr(sa.sun_path + 1, '/');
	CHECK(slash);
	return strtoull(slash + 1, NULL, 16);
}

int raw_open(struct raw *r, const char *path)
{
	long ret = raw_call(r, 0, RPC_OPEN, 0, O_RDWR, 0, path, strlen(path));

	if (ret)
		return ret;
	CHECK(r->ch->slot[0].flags & SLOT_HAS_FD);
	return raw_recv_fd(r);
}

void raw_append(struct raw *r, unsigned int slot, const struct ucall_part *h, const void *data)
{
	struct slot *sl = &r->ch->slot[slot];
	uint8_t *to = channel_payload(r->ch, slot) + sl->payload_len;

	CHECK(sizeof(*h) + ALIGN_UP(h->got, 8UL) <= SLOT_PAYLOAD - sl->payload_len);
	memcpy(to, h, sizeof(*h));
	if (h->got)
		memcpy(to + sizeof(*h), data, h->got);
	sl->payload_len += sizeof(*h) + ALIGN_UP(h->got, 8UL);
}

static void supply_one(struct raw *r, unsigned int slot, struct ucall_part h)
{
	struct slot *sl = &r->ch->slot[slot];
	struct page_desc d;
	int fd;

	h.got = 0;
	switch (h.kind) {
	case PART_BYTES:
		h.got = h.len;
		raw_append(r, slot, &h, (const void *)h.addr);
		break;
	case PART_FD:
	case PART_BACKING:
		fd = h.kind == PART_FD ? (int)h.addr : r->memfd;
		raw_note_fds(r, slot, &fd, 1);
		sl->nfds++;
		raw_append(r, slot, &h, NULL);
		break;
	case PART_WRITE:
		raw_append(r, slot, &h, NULL);
		break;
	case PART_PAGES:
		d = (struct page_desc){r->dev, r->ino, h.addr - (uintptr_t)r->mem, h.len, !r->read_only, 0};
		h.got = sizeof(d);
		raw_append(r, slot, &h, &d);
		break;
	}
}

/* The list is copied out of the payload first: the answer takes its place. */
static void supply(struct raw *r, unsigned int slot)
{
	struct ucall_part need[64];
	struct slot *sl = &r->ch->slot[slot];
	unsigned int n = sl->payload_len / sizeof(need[0]);

	CHECK(n >= 1 && n <= ARRAY_SIZE(need));
	memcpy(need, channel_payload(r->ch, slot), n * sizeof(need[0]));
	sl->payload_len = sl->nfds = 0;
	for (unsigned int i = 0; i < n; i++)
		supply_one(r, slot, need[i]);
}

static void apply_outs(struct raw *r, unsigned int slot)
{
	const struct slot *sl = &r->ch->slot[slot];
	uint8_t *p = channel_payload(r->ch, slot), *end = p + sl->payload_len;

	while (p < end) {
		struct ucall_part h;

		memcpy(&h, p, sizeof(h));
		CHECK(h.kind == PART_COPY_OUT);
		memcpy((void *)h.addr, p + sizeof(h), h.got);
		p += sizeof(h) + ALIGN_UP(h.got, 8UL);
	}
}

long raw_ioctl(struct raw *r, int fd, unsigned int cmd, uint64_t arg)
{
	struct slot *sl = &r->ch->slot[0];
	long ret = raw_call(r, 0, RPC_IOCTL, raw_object(fd), cmd, arg, NULL, 0);

	while (ret == RPC_NEED) {
		if (++r->served == r->stop_at)
			return ret;
		supply(r, 0);
		sl->a[0] = cmd;
		sl->a[1] = arg;
		sl->a[2] = 1;
		raw_post(r, 0);
		ret = raw_wait(r, 0);
	}
	apply_outs(r, 0);
	return sl->flags & SLOT_HAS_FD && ret >= 0 ? raw_recv_fd(r) : ret;
}

void raw_device_open(struct raw *r, struct raw_device *d)
{
	static const char name[64] = "0000:01:00.0";

	d->container = raw_open(r, "/dev/vfio/vfio");
	/* Another client may be on its way out. */
	EVENTUALLY((d->group = raw_open(r, "/dev/vfio/1")) >= 0);
	CHECK(d->container >= 0);
	CHECK(!raw_ioctl(r, d->group, VFIO_GROUP_SET_CONTAINER, (uintptr_t)&d->container));
	CHECK(!raw_ioctl(r, d->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	d->device = raw_ioctl(r, d->group, VFIO_GROUP_GET_DEVICE_FD, (uintptr_t)name);
	CHECK(d->device >= 0);
}

long raw_map(struct raw *r, int container, uint64_t iova, uint64_t off, uint64_t len)
{
	struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
					       .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
					       .vaddr = (uintptr_t)r->mem + off,
					       .iova = iova,
					       .size = len};

	return raw_ioctl(r, container, VFIO_IOMMU_MAP_DMA, (uintptr_t)&map);
}
