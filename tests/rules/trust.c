/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules B4 and B5: one owner; and nothing that a client says or does is believed. */
#include "rules.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- B4 ---- */

static int ready[2];

static void own_by_cdev(void)
{
	device_bound();
	dma_ioas = ioas_alloc(container);
	expect_eq(attach_to(dma_ioas), 0);
	expect_eq(write(ready[1], "x", 1), 1);
	pause();
}

static void own_by_group(void)
{
	container_set(VFIO_TYPE1v2_IOMMU);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	expect(device >= 0);
	expect_eq(write(ready[1], "x", 1), 1);
	pause();
}

static void own_by_compat(void)
{
	container = iommufd_open();
	group = group_open();
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	expect_eq(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	expect(device >= 0);
	expect_eq(write(ready[1], "x", 1), 1);
	pause();
}

static int group_errno(void)
{
	int fd = group_open(), err = fd < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static void one_owner(void)
{
	static void (*const owners[])(void) = {own_by_cdev, own_by_group, own_by_compat};
	char c;

	expect_eq(pipe(ready), 0);
	for (unsigned int i = 0; i < 3 * COUNT(owners); i++) {
		bool cdev = owners[i % COUNT(owners)] == own_by_cdev;
		pid_t pid = child_start(owners[i % COUNT(owners)]);

		expect_eq(read(ready[0], &c, 1), 1);
		/* A second user of the same kind has another errno than one of the other kind, as in Linux. */
		expect_eq(bind_errno(), cdev ? EINVAL : EBUSY);
		expect_eq(group_errno(), EBUSY);
		child_stop(pid);
		expect_eq(bind_errno(), cdev ? EINVAL : EBUSY);
		expect_eq(group_errno(), EBUSY);
		child_kill(pid);
		device_wait_free();
		expect_eq(group_errno(), 0);
	}
}

/* ---- B5 ---- */

#define NR_FIRST IOMMUFD_CMD_DESTROY
#define NR_LAST	 IOMMUFD_CMD_HW_QUEUE_ALLOC

static uint64_t rnd(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static int call(unsigned int nr, void *arg)
{
	return ioctl_errno(container, IOMMUFD_NR(nr), arg);
}

static void sizes_and_pointers(void)
{
	uint8_t *p = pages_alloc(3 * PAGE);
	void *const bad[] = {NULL,
			     (void *)1,
			     p + 2 * PAGE,
			     (void *)0x7fffffffe000,
			     (void *)0x800000000000,
			     (void *)0xffff888000000000,
			     (void *)-1};

	container = iommufd_open();
	expect(!mprotect(p + 2 * PAGE, PAGE, PROT_NONE));
	for (unsigned int nr = NR_FIRST; nr <= NR_LAST; nr++) {
		uint32_t *size = (uint32_t *)p;

		for (unsigned int i = 0; i < COUNT(bad); i++)
			expect_eq(call(nr, bad[i]), EFAULT);
		for (unsigned int n = 0; n < 8; n++) {
			memset(p, 0, PAGE);
			*size = n;
			expect_eq(call(nr, p), EINVAL);
		}
		/* A tail that nobody knows must be zero, up to its last byte; and there. */
		for (unsigned int n = 128; n <= 2 * PAGE; n *= 2) {
			memset(p, 0, 2 * PAGE);
			*size = n;
			p[n - 1] = 1;
			expect_eq(call(nr, p), E2BIG);
		}
		memset(p, 0, 2 * PAGE);
		*size = 2 * PAGE + 1;
		expect_eq(call(nr, p), EFAULT);
		*size = UINT32_MAX;
		expect_eq(call(nr, p), EFAULT);
		/* The structure ends where memory does. */
		memcpy(p + 2 * PAGE - 6, &(uint32_t){64}, sizeof(uint32_t));
		expect_eq(call(nr, p + 2 * PAGE - 6), EFAULT);
	}
	for (unsigned int nr = 0; nr < 256; nr++)
		if ((nr < NR_FIRST || nr > NR_LAST) && (nr < 100 || nr > 120) && nr != IOMMUFD_CMD_TEST)
			expect_eq(call(nr, p), ENOTTY);
}

static uint8_t *good;

static uint64_t word(void)
{
	switch (rnd() % 8) {
	case 0:
		return rnd();
	case 1:
		return (uintptr_t)good + rnd() % 4 * PAGE;
	case 2:
		return rnd() % 64 * PAGE;
	case 3:
		return -(rnd() % 3) * PAGE;
	case 4:
		return rnd() % 10 | rnd() % 10 << 32;
	case 5:
		return UINT64_MAX - rnd() % 2;
	default:
		return rnd() % 8;
	}
}

/* Nothing is known of the answers, but that there is one, and that memory which nobody gave stays as it is. */
static void garbage(void)
{
	uint8_t *kept = pages_alloc(4 * PAGE);

	device_bound();
	good = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(good != MAP_FAILED);
	fill_page(kept, 'k');
	for (unsigned int i = 0; i < 15000; i++) {
		unsigned int nr = NR_FIRST + rnd() % (NR_LAST - NR_FIRST + 1);
		static const uint8_t sizes[] = {8, 12, 16, 24, 32, 40, 48, 56};
		uint64_t arg[8];

		/* Closing what it makes: descriptors of queues, by their numbers. */
		if (i % 500 == 499) {
			for (int fd = container + 2; fd < 600; fd++)
				if (fd != device)
					close(fd);
		}
		for (unsigned int k = 0; k < COUNT(arg); k++)
			arg[k] = word();
		*(uint32_t *)arg = rnd() % 16 ? sizes[rnd() % COUNT(sizes)] : rnd();
		if (nr == IOMMUFD_CMD_DESTROY && rnd() % 4)
			continue;
		if (rnd() % 64 == 0) {
			uint32_t pt = rnd() % 10;

			cdev_attach(device, &pt);
		}
		call(nr, arg);
	}
	expect_page(kept, 'k', "memory that no call named");
	device_gone();
	device_started();
	expect_unreachable(DATA_IOVA);
}

static bool stop;

static void *come_and_go(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		munmap(arg, PAGE);
		mmap(arg, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		*(volatile uint32_t *)arg = sizeof(struct iommu_ioas_alloc);
	}
	return NULL;
}

/* Their memory goes away under the calls: whole answers or EFAULT. */
static void argument_unmapped(void)
{
	void *p = pages_alloc(PAGE);
	struct iommu_ioas_alloc a = {.size = sizeof(a)};
	unsigned int ok = 0, unheard = 0;
	pthread_t t;

	container = iommufd_open();
	expect_eq(pthread_create(&t, NULL, come_and_go, p), 0);
	/* On a busy machine the other thread may rest for thousands of calls. */
	for (unsigned int i = 0; i < 4000 || !ok; i++) {
		int err = call(IOMMUFD_CMD_IOAS_ALLOC, p);

		expect(!err || err == EFAULT || err == EINVAL);
		ok += !err;
		unheard += err == EFAULT;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	expect_eq(call(IOMMUFD_CMD_IOAS_ALLOC, &a), 0);
	/* Where the answer could not be written, the object may be there: it goes with the context. */
	expect(a.out_ioas_id >= ok + 1 && a.out_ioas_id <= ok + unheard + 1);
}

static void *map_changer(void *arg)
{
	struct iommu_ioas_map *m = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		m->length = 64 * PAGE;
		m->user_va = 0;
		m->flags = ~0u;
		m->length = PAGE;
		m->user_va = (uintptr_t)good;
		m->flags = 7;
	}
	return NULL;
}

/* A structure is read once: what was checked is what is done. */
static void argument_changes(void)
{
	struct iommu_ioas_map *m = pages_alloc(PAGE);
	/* Half of one argument with half of the other would reach further: into nothing, and not into a thread's stack.
	 */
	uint8_t *around = mmap(NULL, 66 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int ok = 0;
	pthread_t t;

	expect(around != MAP_FAILED && !mprotect(around, 3 * PAGE, PROT_READ | PROT_WRITE));
	device_started();
	good = around + PAGE;
	fill_page(around, 'b');
	fill_page(around + PAGE, 'g');
	fill_page(around + 2 * PAGE, 'a');
	m->size = sizeof(*m);
	m->ioas_id = dma_ioas;
	m->iova = DATA_IOVA;
	m->length = PAGE;
	m->user_va = (uintptr_t)good;
	m->flags = 7;
	expect_eq(pthread_create(&t, NULL, map_changer, m), 0);
	for (unsigned int i = 0; i < 2000 || !ok; i++) {
		int err = call(IOMMUFD_CMD_IOAS_MAP, m);

		if (err) {
			expect(err == EOPNOTSUPP || err == EFAULT);
			continue;
		}
		ok++;
		expect_sees(DATA_IOVA, 'g');
		expect_eq(space_unmap(dma_ioas, 0x1000000, 64 * PAGE), 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	expect_page(around, 'b', "memory before it");
	expect_page(around + 2 * PAGE, 'a', "memory behind it");
}

const struct client_case trust_cases[] = {
    {"rule-one-owner", "B4: through the group, the node, an iommufd; alive, stopped, killed", one_owner},
    {"rule-believe-nobody-sizes", "B5: every ioctl with every wrong size and pointer", sizes_and_pointers},
    {"rule-believe-nobody-garbage", "B5: structures full of nonsense", garbage},
    {"rule-believe-nobody-unmapped", "B5: the argument's memory comes and goes", argument_unmapped},
    {"rule-believe-nobody-changed", "B5: the argument changes under the call", argument_changes},
    {NULL, NULL, NULL},
};
