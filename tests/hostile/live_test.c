/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a client of its own making can do with a device's posted writes and its doorbell page, and with the parts of an
 * ioctl. One test per process, named by the argument.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"
#include "devices/nvme/spec.h"
#include "lib/file_lock.h"
#include "raw.h"

#define IOVA_BASE 0x100000ULL
#define BAR_SIZE  0x4000ULL
#define REGION(i) (REGION_OFFSET_MAGIC | (uint64_t)(i) << REGION_INDEX_SHIFT)

/* Pages of the client's memory. */
enum { ADMIN_SQ, ADMIN_CQ, DATA, IO_CQ, IO_SQ /* four */ };
static const unsigned int entries[2] = {16, 256};
static const unsigned int sq_at[2] = {ADMIN_SQ, IO_SQ}, cq_at[2] = {ADMIN_CQ, IO_CQ};

static struct server sv;

/* ---- a driver that speaks to the channel ---- */
static struct driver {
	struct raw r;
	struct raw_device d;
	uint64_t object;
	int live; /* the doorbell page's file */
	uint8_t *page;
	struct {
		unsigned int tail, head, phase;
	} q[2];
} dv;

static struct nvme_cmd *sqe(unsigned int q, unsigned int i)
{
	return (struct nvme_cmd *)(dv.r.mem + sq_at[q] * PF_PAGE_SIZE) + i;
}

static volatile struct nvme_cqe *cqe(unsigned int q, unsigned int i)
{
	return (volatile struct nvme_cqe *)(dv.r.mem + cq_at[q] * PF_PAGE_SIZE) + i;
}

/* n writes that the broker finds in its ring at once. */
static void post(const struct ring_entry *e, unsigned int n)
{
	uint32_t head = atomic_load(&dv.r.ch->ring_head);
	uint8_t bell = 0;

	for (unsigned int i = 0; i < n; i++)
		dv.r.ch->ring[(head + i) % RING_ENTRIES] = e[i];
	atomic_store(&dv.r.ch->ring_head, head + n);
	if (atomic_exchange(&dv.r.ch->broker_sleeps, 0))
		send(dv.r.sock, &bell, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	/* Not asleep at once, for the broker would sleep too. */
	for (unsigned int i = 0; i < 1000000 && atomic_load(&dv.r.ch->ring_tail) != head + n; i++)
		__builtin_ia32_pause();
	EVENTUALLY(atomic_load(&dv.r.ch->ring_tail) == head + n);
}

static struct ring_entry entry(unsigned int off, uint32_t val)
{
	return (struct ring_entry){dv.object, REGION(0) + off, val, 4, 0};
}

static void reg(unsigned int off, uint32_t val)
{
	struct ring_entry e = entry(off, val);

	post(&e, 1);
}

static void doorbell(unsigned int index, uint32_t val)
{
	if (!dv.page || guard_copy(dv.page + 4 * index, &val, sizeof(val)))
		reg(NVME_REG_DOORBELLS + 4 * index, val);
}

static void put(unsigned int q, struct nvme_cmd c)
{
	*sqe(q, dv.q[q].tail) = c;
	dv.q[q].tail = (dv.q[q].tail + 1) % entries[q];
}

static void take(unsigned int q)
{
	volatile struct nvme_cqe *e = cqe(q, dv.q[q].head);

	for (unsigned int i = 0; (e->status & 1) != dv.q[q].phase; i++) {
		CHECK(i < 100000000 && "a completion");
		if (i > 100000)
			usleep(100);
	}
	if (e->status >> 1)
		fprintf(stderr, "queue %u: status %#x\n", q, e->status >> 1);
	CHECK(!(e->status >> 1));
	if (++dv.q[q].head == entries[q]) {
		dv.q[q].head = 0;
		dv.q[q].phase ^= 1;
	}
}

static void collect(unsigned int q)
{
	take(q);
	doorbell(2 * q + 1, dv.q[q].head);
}

static void command(unsigned int q, struct nvme_cmd c)
{
	put(q, c);
	doorbell(2 * q, dv.q[q].tail);
	collect(q);
}

static void set_command_register(uint16_t val)
{
	CHECK(raw_call(&dv.r, 0, RPC_PWRITE, dv.object, REGION(VFIO_PCI_CONFIG_REGION_INDEX) + 4, 2, &val, 2) == 2);
}

static void map_bar(void)
{
	struct slot *sl = &dv.r.ch->slot[0];

	sl->op = RPC_MMAP;
	sl->object = dv.object;
	sl->a[0] = REGION(0);
	sl->a[1] = BAR_SIZE;
	sl->a[2] = PROT_READ | PROT_WRITE | 1ULL << 32;
	sl->nfds = sl->payload_len = 0;
	raw_post(&dv.r, 0);
	CHECK(!raw_wait(&dv.r, 0) && sl->a[0] == RPC_MMAP_TRAP && sl->flags & SLOT_HAS_FD);
	CHECK(sl->a[1] == NVME_REG_DOORBELLS);
	dv.live = raw_recv_fd(&dv.r);
	dv.page = mmap(NULL, PF_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, dv.live, 0);
	CHECK(dv.page != MAP_FAILED);
}

static void driver_start(void)
{
	guard_install();
	raw_connect(&dv.r, &sv);
	raw_device_open(&dv.r, &dv.d);
	dv.object = raw_object(dv.d.device);
	memset(dv.q, 0, sizeof(dv.q));
	dv.q[0].phase = dv.q[1].phase = 1;
	CHECK(!raw_map(&dv.r, dv.d.container, IOVA_BASE, 0, RAW_MEM));
	set_command_register(6);
	reg(NVME_REG_AQA, (entries[0] - 1) << 16 | (entries[0] - 1));
	reg(NVME_REG_ASQ, IOVA_BASE);
	reg(NVME_REG_ASQ + 4, 0);
	reg(NVME_REG_ACQ, IOVA_BASE + ADMIN_CQ * PF_PAGE_SIZE);
	reg(NVME_REG_ACQ + 4, 0);
	reg(NVME_REG_CC, 4 << 20 | 6 << 16 | NVME_CC_EN);
	command(0, (struct nvme_cmd){.opcode = NVME_ADM_CREATE_CQ,
				     .dptr = {IOVA_BASE + IO_CQ * PF_PAGE_SIZE},
				     .cdw10 = (entries[1] - 1) << 16 | 1,
				     .cdw11 = 1 << 16 | 3});
	command(0, (struct nvme_cmd){.opcode = NVME_ADM_CREATE_SQ,
				     .dptr = {IOVA_BASE + IO_SQ * PF_PAGE_SIZE},
				     .cdw10 = (entries[1] - 1) << 16 | 1,
				     .cdw11 = 1 << 16 | 1});
}

static const struct nvme_cmd a_read = {.opcode = NVME_IO_READ, .nsid = 1, .dptr = {IOVA_BASE + DATA * PF_PAGE_SIZE}};

static bool reachable(void)
{
	uint8_t byte;

	return !guard_copy(&byte, dv.page, 1);
}

/* Another client keeps the broker from sleeping, when the page would be closed. */
static atomic_bool ask;
static pthread_t asker;

static void *ask_on(void *arg)
{
	struct raw r;

	raw_connect(&r, &sv);
	while (atomic_load(&ask))
		CHECK(!raw_call(&r, 0, RPC_NOP, 0, 0, 0, NULL, 0));
	raw_close(&r);
	return NULL;
}

static void asker_start(void)
{
	atomic_store(&ask, true);
	CHECK(!pthread_create(&asker, NULL, ask_on, NULL));
}

static void asker_stop(void)
{
	atomic_store(&ask, false);
	pthread_join(asker, NULL);
}

/* Much to do at once: the page is opened to see whether that is better. Until the next command it stays so. */
static void until_reachable(void)
{
	for (unsigned int i = 0; !reachable(); i++) {
		CHECK(i < 100000);
		for (unsigned int k = 1; k < entries[1]; k++)
			put(1, a_read);
		doorbell(2, dv.q[1].tail);
		for (unsigned int k = 1; k < entries[1]; k++)
			take(1);
		doorbell(3, dv.q[1].head);
		for (unsigned int k = 0; k < 50 && !reachable(); k++)
			usleep(20);
	}
}

static void driver_end(void)
{
	if (dv.page) {
		munmap(dv.page, PF_PAGE_SIZE);
		close(dv.live);
		dv.page = NULL;
	}
	close(dv.d.device);
	close(dv.d.group);
	close(dv.d.container);
	raw_close(&dv.r);
}

/* Another client is served meanwhile. */
static void check_others(void)
{
	struct raw r;

	raw_connect(&r, &sv);
	for (unsigned int i = 0; i < 2000; i++)
		CHECK(!raw_call(&r, i % CHANNEL_SLOTS, RPC_NOP, 0, 0, 0, NULL, 0));
	raw_close(&r);
}

static void check_quiet(void)
{
	uint64_t before;

	usleep(300000);
	before = server_cpu_ms(&sv);
	usleep(500000);
	CHECK(server_cpu_ms(&sv) - before <= 200);
}

/* ---- interrupts of one walk over the ring, and the wait for it ---- */
static long set_vectors(const int *fds, unsigned int n)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd[65];
	} s = {.h = {.argsz = sizeof(s.h) + n * sizeof(int32_t),
		     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		     .index = VFIO_PCI_MSIX_IRQ_INDEX,
		     .count = n}};

	memcpy(s.fd, fds, n * sizeof(fds[0]));
	return raw_ioctl(&dv.r, dv.d.device, VFIO_DEVICE_SET_IRQS, (uintptr_t)&s);
}

static void test_batch(void)
{
	struct ring_entry e[4];
	int fds[2] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
	uint64_t n;

	driver_start();
	CHECK(!set_vectors(fds, 2));
	for (unsigned int i = 0; i < 4; i++) {
		put(1, a_read);
		e[i] = entry(NVME_REG_DOORBELLS + 8, dv.q[1].tail);
	}
	CHECK(read(fds[1], &n, sizeof(n)) < 0);
	post(e, 4);
	/* When the writes are taken for done, their interrupt is there, once for all. */
	CHECK(read(fds[1], &n, sizeof(n)) == sizeof(n) && n == 1);
	for (unsigned int i = 0; i < 4; i++)
		collect(1);
	/* One at a time they are four. */
	for (unsigned int i = 0; i < 4; i++)
		command(1, a_read);
	CHECK(read(fds[1], &n, sizeof(n)) == sizeof(n) && n == 4);
	close(fds[0]);
	close(fds[1]);
	driver_end();
}

/* A client that says nothing of interrupts is not asked to hold for them. */
static void test_hold(void)
{
	int fds[2] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
	unsigned int asked = 0;

	driver_start();
	for (unsigned int i = 0; i < 100; i++) {
		command(1, a_read);
		CHECK(!atomic_load(&dv.r.ch->hold_ns));
	}
	CHECK(!set_vectors(fds, 2));
	for (unsigned int i = 0; i < 1000; i++) {
		command(1, a_read);
		asked += atomic_load(&dv.r.ch->hold_ns) != 0;
	}
	CHECK(asked || !dv.r.ch->spin_ns);
	for (unsigned int i = 0; i < 50; i++)
		reg(NVME_REG_INTMC, 0);
	CHECK(!atomic_load(&dv.r.ch->hold_ns));
	close(fds[0]);
	close(fds[1]);
	driver_end();
}

/* ---- the doorbell page ---- */
static void test_page_kept_busy(void)
{
	driver_start();
	map_bar();
	asker_start();
	until_reachable();
	for (uint32_t i = 0; i < 3000000; i++) {
		uint32_t val = i % 300;

		if (guard_copy(dv.page + 4 * (i % 140), &val, sizeof(val)))
			break;
		if (i % 1000000 == 0)
			check_others();
	}
	asker_stop();
	check_quiet();
	driver_end();
}

/* Rule C1. */
static void test_page_locked(void)
{
	driver_start();
	map_bar();
	asker_start();
	until_reachable();
	if (!file_lock_hold(dv.live)) {
		asker_stop();
		driver_end();
		return;
	}
	asker_stop();
	check_others();
	check_quiet();
	check_others();
	/* Its own commands go on. */
	for (unsigned int i = 0; i < 100; i++)
		command(1, a_read);
	set_command_register(4);
	check_others();
	file_lock_release();
	driver_end();
}

/* The page's file is of no use as memory for DMA when the page is closed, and does no harm when it is open. */
static void test_page_for_dma(void)
{
	struct stat st;

	driver_start();
	map_bar();
	asker_start();
	until_reachable();
	CHECK(!fstat(dv.live, &st));
	dup2(dv.live, dv.r.memfd);
	dv.r.dev = st.st_dev;
	dv.r.ino = st.st_ino;
	raw_map(&dv.r, dv.d.container, 0x800000, 0, PF_PAGE_SIZE);
	for (unsigned int i = 0; i < 2000; i++) {
		struct nvme_cmd c = a_read;

		c.dptr[0] = 0x800000;
		put(1, c);
		doorbell(2, dv.q[1].tail);
		if (i % 500 == 0)
			usleep(3000);
	}
	asker_stop();
	check_others();
	driver_end();
}

/* ---- parts ---- */
/* Some fetches for all of the descriptors, not one for each. */
static void test_many_vectors(void)
{
	unsigned int before;
	int fds[65];
	uint64_t one = 1;

	driver_start();
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = eventfd(0, EFD_NONBLOCK);
	before = dv.r.served;
	CHECK(!set_vectors(fds, ARRAY_SIZE(fds)));
	CHECK(dv.r.served - before <= 8);
	command(1, a_read);
	CHECK(read(fds[1], &one, sizeof(one)) == sizeof(one));
	/* The same one many times over is asked for once. */
	for (unsigned int i = 1; i < ARRAY_SIZE(fds); i++) {
		close(fds[i]);
		fds[i] = fds[0];
	}
	CHECK(!set_vectors(fds, ARRAY_SIZE(fds)));
	close(fds[0]);
	driver_end();
}

/* Who shows a file for reading gets no access to it that another client has: here to its very container. */
static void test_read_only(void)
{
	struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map), .iova = 0x40000000, .size = PF_PAGE_SIZE};
	struct raw other;
	char path[64];
	int fd;

	driver_start(); /* its memory is known to the broker, and writable */
	raw_connect(&other, &sv);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dv.r.memfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && dup2(fd, other.memfd) >= 0);
	close(fd);
	other.dev = dv.r.dev;
	other.ino = dv.r.ino;
	map.vaddr = (uintptr_t)other.mem;
	map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	CHECK(raw_ioctl(&other, dv.d.container, VFIO_IOMMU_MAP_DMA, (uintptr_t)&map) == -EFAULT);
	other.read_only = true;
	CHECK(raw_ioctl(&other, dv.d.container, VFIO_IOMMU_MAP_DMA, (uintptr_t)&map) == -EFAULT);
	map.flags = VFIO_DMA_MAP_FLAG_READ;
	CHECK(!raw_ioctl(&other, dv.d.container, VFIO_IOMMU_MAP_DMA, (uintptr_t)&map));
	raw_close(&other);
	driver_end();
}

static const struct {
	const char *name;
	void (*fn)(void);
} tests[] = {
    {"batch", test_batch},
    {"hold", test_hold},
    {"page_kept_busy", test_page_kept_busy},
    {"page_locked", test_page_locked},
    {"page_for_dma", test_page_for_dma},
    {"many_vectors", test_many_vectors},
    {"read_only", test_read_only},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		if (argc < 2 || strcmp(argv[1], tests[i].name))
			continue;
		server_start(&sv, NULL);
		tests[i].fn();
		/* The next owner finds a device that works. */
		driver_start();
		for (unsigned int k = 0; k < 100; k++)
			command(1, a_read);
		driver_end();
		server_stop(&sv);
		return 0;
	}
	fprintf(stderr, "usage: %s TEST\n", argv[0]);
	return 2;
}
