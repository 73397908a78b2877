/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program under `pinfold run` that does what no driver should: bad pointers and sizes for every ioctl, memory that
 * goes away under a call, threads that do everything at once. It must see what Linux would show it, and live. One
 * process per test, named by the argument.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	      4096ul
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int failures;

#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, errno);                   \
			failures++;                                                                                    \
		}                                                                                                      \
	} while (0)

static int container, group, device;

static void open_all(void)
{
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	group = open("/dev/vfio/1", O_RDWR | O_CLOEXEC);
	CHECK(container >= 0 && group >= 0);
	CHECK(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	CHECK(!ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
	CHECK(device >= 0);
	if (failures)
		exit(1);
}

/* ---- every ioctl with a struct ---- */
enum { OUT = 1, ARGSZ = 2, FLAGS = 4 };

struct call {
	const char *name;
	int *fd;
	unsigned int cmd;
	size_t min; /* what the kernel reads at least */
	int what;
	size_t flags_at;
	uint32_t flags_known;
	int ret; /* of a call with init and no flags but init's: 0 or an errno */
	union {
		uint32_t word[16];
		struct vfio_iommu_type1_dma_map map;
		struct vfio_iommu_type1_dma_unmap unmap;
		struct vfio_region_info region;
		struct vfio_irq_info irq;
		struct vfio_irq_set set;
		struct vfio_device_ioeventfd ioevent;
	} init;
};

static struct call calls[] = {
    {"GROUP_GET_STATUS", &group, VFIO_GROUP_GET_STATUS, 8, OUT | ARGSZ, 0, 0, 0, {.word = {8}}},
    {"DEVICE_GET_INFO", &device, VFIO_DEVICE_GET_INFO, 16, OUT | ARGSZ, 0, 0, 0, {.word = {16}}},
    {"GET_REGION_INFO", &device, VFIO_DEVICE_GET_REGION_INFO, 32, OUT | ARGSZ, 0, 0, 0, {.region = {.argsz = 32}}},
    {"GET_IRQ_INFO", &device, VFIO_DEVICE_GET_IRQ_INFO, 16, OUT | ARGSZ, 0, 0, 0, {.irq = {16, 0, 2, 0}}},
    {"SET_IRQS",
     &device,
     VFIO_DEVICE_SET_IRQS,
     20,
     ARGSZ | FLAGS,
     4,
     0x3f,
     EINVAL, /* loopback of vectors that are not set up */
     {.set = {.argsz = 20, .flags = 0x21, .index = 2, .start = 0, .count = 1}}},
    {"HOT_RESET_INFO", &device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 12, OUT | ARGSZ, 0, 0, ENOSPC, {.word = {12}}},
    {"HOT_RESET", &device, VFIO_DEVICE_PCI_HOT_RESET, 12, ARGSZ | FLAGS, 4, 0, EINVAL, {.word = {12}}},
    {"IOEVENTFD",
     &device,
     VFIO_DEVICE_IOEVENTFD,
     28,
     ARGSZ | FLAGS,
     4,
     0xf,
     ENODEV, /* to take away one that is not there */
     {.ioevent = {.argsz = 32, .flags = 4, .offset = 0x1000, .data = 1, .fd = -1}}},
    {"FEATURE", &device, VFIO_DEVICE_FEATURE, 8, ARGSZ | FLAGS, 4, 0x7ffff, ENOTTY, {.word = {8, 1 << 16 | 99}}},
    {"IOMMU_GET_INFO", &container, VFIO_IOMMU_GET_INFO, 16, OUT | ARGSZ, 0, 0, 0, {.word = {16}}},
    {"MAP_DMA",
     &container,
     VFIO_IOMMU_MAP_DMA,
     32,
     ARGSZ | FLAGS,
     4,
     7,
     EINVAL, /* nothing to map */
     {.map = {.argsz = 32, .flags = 3}}},
    {"UNMAP_DMA",
     &container,
     VFIO_IOMMU_UNMAP_DMA,
     24,
     OUT | ARGSZ | FLAGS,
     4,
     7,
     0,
     {.unmap = {.argsz = 24, .iova = 0x100000, .size = PAGE}}},
    {"DIRTY_PAGES", &container, VFIO_IOMMU_DIRTY_PAGES, 8, ARGSZ | FLAGS, 4, 7, EINVAL, {.word = {8, 0}}},
};

static int result(const struct call *c, void *arg)
{
	errno = 0;
	return ioctl(*c->fd, c->cmd, arg) < 0 ? errno : 0;
}

#define EXPECT(c, got, want)                                                                                           \
	do {                                                                                                           \
		int got_ = (got), want_ = (want);                                                                      \
		if (got_ != want_) {                                                                                   \
			fprintf(stderr, "%s:%d: %s: errno %d, not %d\n", __FILE__, __LINE__, (c)->name, got_, want_);  \
			failures++;                                                                                    \
		}                                                                                                      \
	} while (0)

/* Two pages, the second one of which cannot be touched. */
static uint8_t *page_before_hole(void)
{
	uint8_t *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED && !mprotect(p + PAGE, PAGE, PROT_NONE));
	return p;
}

static void test_pointers(void)
{
	uint8_t *p = page_before_hole();
	void *const bad[] = {NULL,
			     (void *)1,
			     (void *)PAGE,
			     p + PAGE,
			     (void *)0x7fffffffe000,
			     (void *)0x800000000000,
			     (void *)0xffff888000000000,
			     (void *)-1,
			     (void *)-PAGE};

	open_all();
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct call *c = &calls[i];

		for (size_t j = 0; j < ARRAY_SIZE(bad); j++)
			EXPECT(c, result(c, bad[j]), EFAULT);
		/* All of it, to the last byte; and one byte less. */
		memcpy(p + PAGE - c->min, &c->init, c->min);
		EXPECT(c, result(c, p + PAGE - c->min), c->ret);
		for (size_t n = 0; n < c->min; n++) {
			memcpy(p + PAGE - n, &c->init, n);
			EXPECT(c, result(c, p + PAGE - n), EFAULT);
		}
		/* Unaligned is fine. */
		memcpy(p + 1, &c->init, sizeof(c->init));
		EXPECT(c, result(c, p + 1), c->ret);
		/* What can be read but not written. */
		memcpy(p, &c->init, sizeof(c->init));
		mprotect(p, PAGE, PROT_READ);
		EXPECT(c, result(c, p), c->what & OUT ? EFAULT : c->ret);
		CHECK(!memcmp(p, &c->init, sizeof(c->init)));
		mprotect(p, PAGE, PROT_READ | PROT_WRITE);
	}
	/* Those without a struct. */
	for (size_t j = 0; j < ARRAY_SIZE(bad); j++) {
		CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bad[j]) < 0 && errno == EFAULT);
		CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, bad[j]) < 0 && errno == EFAULT);
	}
	memset(p, 'x', PAGE);
	CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, p) < 0 && (errno == EFAULT || errno == EINVAL));
	CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, p + PAGE - 3) < 0 && errno == EFAULT);
}

static void test_sizes(void)
{
	static uint8_t big[PAGE * 4];
	uint32_t argsz;

	open_all();
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct call *c = &calls[i];

		for (argsz = 0; argsz < c->min; argsz++) {
			memcpy(big, &c->init, sizeof(c->init));
			memcpy(big, &argsz, 4);
			EXPECT(c, result(c, big), EINVAL);
		}
		/* Longer is a later kernel's struct: what is behind ours is not looked at. */
		for (argsz = c->min; argsz < c->min + 9; argsz++) {
			int want = c->cmd == VFIO_DEVICE_GET_PCI_HOT_RESET_INFO && argsz >= 20 ? 0 : c->ret;

			memset(big, 0xff, sizeof(big));
			memcpy(big, &c->init, sizeof(c->init));
			memcpy(big, &argsz, 4);
			EXPECT(c, result(c, big), want);
		}
		argsz = UINT32_MAX;
		memcpy(big, &c->init, sizeof(c->init));
		memcpy(big, &argsz, 4);
		EXPECT(c, result(c, big), c->cmd == VFIO_DEVICE_GET_PCI_HOT_RESET_INFO ? 0 : c->ret);
	}
}

static void test_flags(void)
{
	open_all();
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		struct call *c = &calls[i];

		for (unsigned int bit = 0; c->what & FLAGS && bit < 32; bit++) {
			uint8_t arg[64];
			uint32_t flags;

			if (c->flags_known & 1u << bit)
				continue;
			memcpy(arg, &c->init, sizeof(arg));
			memcpy(&flags, arg + c->flags_at, 4);
			flags |= 1u << bit;
			memcpy(arg + c->flags_at, &flags, 4);
			EXPECT(c, result(c, arg), EINVAL);
		}
	}
	for (unsigned int nr = 0; nr < 256; nr++) {
		int want = nr >= 100 && nr < 100 + 24 ? 0 : ENOTTY;

		if (!want)
			continue;
		CHECK(ioctl(group, _IO(';', nr), 0) < 0 && errno == ENOTTY);
		CHECK(ioctl(device, _IO(';', nr), 0) < 0 && errno == ENOTTY);
		CHECK(ioctl(container, _IO(';', nr), 0) < 0 && errno == ENOTTY);
	}
}

/* ---- races ---- */
static atomic_bool stop;

static void *unmapper(void *arg)
{
	while (!atomic_load(&stop)) {
		munmap(arg, PAGE);
		mmap(arg, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		*(volatile uint32_t *)arg = sizeof(struct vfio_group_status);
	}
	return NULL;
}

static void test_argument_unmapped(void)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int ok = 0;
	pthread_t t;

	open_all();
	CHECK(!pthread_create(&t, NULL, unmapper, p));
	for (unsigned int i = 0; i < 5000; i++) {
		int ret = ioctl(group, VFIO_GROUP_GET_STATUS, p);

		/* EINVAL: the size was not there yet. */
		CHECK(!ret || errno == EFAULT || errno == EINVAL);
		ok += !ret;
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	CHECK(ok);
}

#define RANGE (16 * PAGE)

struct place {
	uint8_t *at;
	bool shared;
};

/* Comes, is written to, goes, again and again at the same place. */
static void *come_and_go(void *arg)
{
	struct place *pl = arg;

	while (!atomic_load(&stop)) {
		uint8_t *p = mmap(pl->at, RANGE, PROT_READ | PROT_WRITE,
				  (pl->shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (p == MAP_FAILED)
			continue;
		memset(p, 1, RANGE);
		munmap(p, RANGE);
	}
	return NULL;
}

/* Takes whatever place is free, and must find there what it wrote. */
static void *bystander(void *arg)
{
	struct place *pl = arg;

	for (uint64_t n = 1; !atomic_load(&stop); n++) {
		uint64_t *p = mmap(pl->at, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			continue;
		for (size_t i = 0; i < RANGE / 8; i++)
			p[i] = n;
		for (size_t i = 0; i < RANGE / 8; i++)
			if (p[i] != n) {
				fprintf(stderr, "a bystander's memory has changed\n");
				failures++;
				break;
			}
		munmap(p, RANGE);
	}
	return NULL;
}

static void map_while_it_goes(bool shared)
{
	struct vfio_iommu_type1_dma_unmap un = {.argsz = sizeof(un), .size = RANGE};
	struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map), .flags = 3, .size = RANGE};
	struct place pl = {mmap(NULL, RANGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), shared};
	pthread_t t[2];

	open_all();
	munmap(pl.at, RANGE);
	map.vaddr = (uintptr_t)pl.at;
	CHECK(!pthread_create(&t[0], NULL, come_and_go, &pl) && !pthread_create(&t[1], NULL, bystander, &pl));
	for (unsigned int i = 0; i < 1500; i++) {
		int ret = ioctl(container, VFIO_IOMMU_MAP_DMA, &map);

		CHECK(!ret || errno == EFAULT);
		un.size = RANGE;
		CHECK(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &un) && un.size == (ret ? 0 : RANGE));
	}
	atomic_store(&stop, true);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
}

static void test_memory_unmapped(void)
{
	map_while_it_goes(false);
}

static void test_shared_unmapped(void)
{
	map_while_it_goes(true);
}

static void *hammer(void *arg)
{
	unsigned int n = (uintptr_t)arg;
	uint8_t *mem = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (unsigned int i = 0; i < 300; i++) {
		struct vfio_iommu_type1_dma_map map = {
		    .argsz = sizeof(map), .flags = 3, .vaddr = (uintptr_t)mem, .iova = (n + 1) << 20, .size = RANGE};
		struct vfio_iommu_type1_dma_unmap un = {.argsz = sizeof(un), .iova = map.iova, .size = RANGE};
		struct vfio_region_info r = {.argsz = sizeof(r), .index = 0};
		volatile uint32_t *bar;
		uint32_t id;
		int fd;

		memset(mem, n + i, RANGE);
		CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
		CHECK(mem[RANGE - 1] == (uint8_t)(n + i));
		CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &r));
		bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
		CHECK(bar != MAP_FAILED);
		if (bar != MAP_FAILED) {
			for (unsigned int k = 0; k < 20; k++) {
				CHECK(bar[2] == 0x10400); /* VS: 1.4 */
				bar[3] = 1;		  /* INTMS */
				bar[4] = 1;		  /* INTMC */
			}
			munmap((void *)bar, PAGE);
		}
		CHECK(pread(device, &id, 4, VFIO_PCI_CONFIG_REGION_INDEX * (1ull << 40)) == 4 && id && ~id);
		fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
		CHECK(fd >= 0 && ioctl(fd, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
		close(fd);
		CHECK(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &un) && un.size == RANGE);
	}
	return NULL;
}

static void test_threads(void)
{
	pthread_t t[8];

	open_all();
	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, hammer, (void *)i));
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
}

static void *map_and_unmap(void *arg)
{
	uint64_t iova = ((uintptr_t)arg + 1) << 24;

	while (!atomic_load(&stop)) {
		uint8_t *p = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct vfio_iommu_type1_dma_map map = {
		    .argsz = sizeof(map), .flags = 3, .vaddr = (uintptr_t)p, .iova = iova, .size = RANGE};
		struct vfio_iommu_type1_dma_unmap un = {.argsz = sizeof(un), .iova = iova, .size = RANGE};

		memset(p, 7, RANGE);
		CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
		for (size_t i = 0; i < RANGE; i += PAGE)
			CHECK(p[i] == 7);
		CHECK(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &un));
		munmap(p, RANGE);
	}
	return NULL;
}

/* A child has its own copy of everything, at whatever moment of a map it was made, and can use its own descriptors. */
static void child(const uint8_t *mem)
{
	int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	alarm(300);
	for (size_t i = 0; i < RANGE; i++)
		if (mem[i] != 0x5a)
			_exit(2);
	memset((void *)mem, 0, RANGE);
	_exit(fd >= 0 && ioctl(fd, VFIO_GET_API_VERSION) == VFIO_API_VERSION ? 0 : 3);
}

static void test_fork(void)
{
	uint8_t *mem = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_map map = {
	    .argsz = sizeof(map), .flags = 3, .vaddr = (uintptr_t)mem, .iova = 0, .size = RANGE};
	pthread_t t[3];
	int status;

	open_all();
	memset(mem, 0x5a, RANGE);
	CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
	for (uintptr_t i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(!pthread_create(&t[i], NULL, map_and_unmap, (void *)i));
	for (unsigned int i = 0; i < 60; i++) {
		pid_t pid = fork();

		if (!pid)
			child(mem);
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		for (size_t k = 0; k < RANGE; k += 64)
			CHECK(mem[k] == 0x5a);
	}
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
}

static _Atomic unsigned int ticks;

static void tick(int sig)
{
	ticks++;
}

/* A timer that interrupts whatever is under way. */
static void test_signals(void)
{
	struct itimerval it = {{0, 200}, {0, 200}}, off = {0};
	pthread_t t;

	open_all();
	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &it, NULL);
	CHECK(!pthread_create(&t, NULL, hammer, NULL));
	hammer((void *)1);
	pthread_join(t, NULL);
	setitimer(ITIMER_REAL, &off, NULL);
	CHECK(ticks);
}

static void *closer(void *arg)
{
	int *fd = arg;

	for (unsigned int i = 0; i < 2000; i++) {
		int now = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

		CHECK(now >= 0);
		__atomic_store_n(fd, now, __ATOMIC_RELAXED);
		close(now);
	}
	atomic_store(&stop, true);
	return NULL;
}

static void test_close(void)
{
	pthread_t t;
	int fd = -1;

	open_all();
	CHECK(!pthread_create(&t, NULL, closer, &fd));
	while (!atomic_load(&stop)) {
		int now = __atomic_load_n(&fd, __ATOMIC_RELAXED);
		int ret = ioctl(now, VFIO_GET_API_VERSION);

		/* The number may meanwhile be anything that the process opens. */
		CHECK(ret == VFIO_API_VERSION || (ret < 0 && (errno == EBADF || errno == ENOTTY || errno == EINVAL)));
	}
	pthread_join(t, NULL);
}

/* A long answer: more than one message's worth of dirty bits. */
static void test_long_answer(void)
{
	const uint64_t size = 4ull << 30; /* a mebipage: 128 KiB of bitmap */
	uint8_t *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct vfio_iommu_type1_dma_map map = {
	    .argsz = sizeof(map), .flags = 3, .vaddr = (uintptr_t)mem, .iova = 1ull << 32, .size = size};
	static uint64_t bits[(1 << 20) / 64 + 1];
	struct {
		struct vfio_iommu_type1_dirty_bitmap h;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} d = {.h = {.argsz = sizeof(d), .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START}};

	open_all();
	CHECK(mem != MAP_FAILED);
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map)) {
		CHECK(errno == ENOMEM); /* RLIMIT_MEMLOCK */
		exit(failures ? 1 : 77);
	}
	CHECK(!ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &d));
	d.h.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
	d.get.iova = map.iova;
	d.get.size = size;
	d.get.bitmap = (struct vfio_bitmap){.pgsize = PAGE, .size = sizeof(bits) - 8, .data = (void *)bits};
	CHECK(!ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &d));
	for (size_t i = 0; i < ARRAY_SIZE(bits) - 1; i++)
		if (~bits[i]) {
			CHECK(!"every bit is set");
			break;
		}
	CHECK(!bits[ARRAY_SIZE(bits) - 1]);
	/* To where nothing can be written. */
	mprotect((void *)(((uintptr_t)bits + PAGE) & ~(PAGE - 1)), 16 * PAGE, PROT_READ);
	CHECK(ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &d) < 0 && errno == EFAULT);
}

static const struct {
	const char *name;
	void (*fn)(void);
} tests[] = {
    {"pointers", test_pointers},
    {"sizes", test_sizes},
    {"flags", test_flags},
    {"argument_unmapped", test_argument_unmapped},
    {"memory_unmapped", test_memory_unmapped},
    {"shared_unmapped", test_shared_unmapped},
    {"threads", test_threads},
    {"fork", test_fork},
    {"signals", test_signals},
    {"close", test_close},
    {"long_answer", test_long_answer},
};

int main(int argc, char **argv)
{
	alarm(900);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		if (argc < 2 || strcmp(argv[1], tests[i].name))
			continue;
		tests[i].fn();
		return failures ? 1 : 0;
	}
	fprintf(stderr, "usage: %s TEST\n", argv[0]);
	return 2;
}
