/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules C1 and C5: nobody waits for what a client does not do. A call that does wait for one that is stopped never
 * returns, which ends the case; one that takes longer for it shows in the 99th percentile, beside the same client's
 * alone, measured by turns.
 */
#include "rules.h"

#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX 20000u
#define FACTOR	    10u /* of noise between two percentiles of the same */
#define TRIES	    5u

struct samples {
	uint64_t ns[SAMPLES_MAX];
	unsigned int n;
};
static struct samples alone, beside;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static uint64_t percentile_99(struct samples *s)
{
	qsort(s->ns, s->n, sizeof(s->ns[0]), compare);
	return s->ns[s->n - 1 - s->n / 100];
}

/* The witness: maps, unmaps, and opens in a context of its own. */
static int witness_fd;
static uint32_t witness_ioas;
static uint8_t *witness_mem;

static void measure(struct samples *s, unsigned int n)
{
	int was = container;

	container = witness_fd;
	while (n-- && s->n < SAMPLES_MAX) {
		uint64_t start = now();

		expect_eq(space_map(witness_ioas, witness_mem, DATA_IOVA, 4 * PAGE, RW), 0);
		expect_eq(space_unmap(witness_ioas, DATA_IOVA, 4 * PAGE), 0);
		s->ns[s->n++] = now() - start;
	}
	container = was;
}

static void witness_start(void)
{
	witness_fd = iommufd_open();
	expect(witness_fd >= 0);
	witness_ioas = ioas_alloc(witness_fd);
	witness_mem = pages_alloc(4 * PAGE);
	memset(witness_mem, 1, 4 * PAGE);
	measure(&alone, 500);
	alone.n = 0;
}

/* ---- victims: at work until they are stopped ---- */

static uint32_t seed;

static uint32_t rnd(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void with_memory(uint32_t ioas)
{
	uint8_t *p = pages_alloc(32 * PAGE);

	memset(p, 1, (1 + rnd() % 32) * PAGE);
	space_map(ioas, p, DATA_IOVA, 32 * PAGE, RW);
	space_copy(ioas, 2 * DATA_IOVA, ioas, DATA_IOVA, 8 * PAGE);
	if (rnd() % 2)
		munmap(p, 32 * PAGE);
	if (rnd() % 2)
		space_unmap(ioas, DATA_IOVA, 32 * PAGE);
	munmap(p, 32 * PAGE);
}

/* Pins, and is told to let go; its descriptor may be left to the process's end. */
static void with_access(uint32_t ioas)
{
	struct mock_cmd c = {.op = MOCK_OP_CREATE_ACCESS, .id = ioas, .create_access = {.flags = 1}};
	uint8_t *p = pages_alloc(8 * PAGE);
	int fd;

	if (!mock_cmd(container, &c))
		return;
	fd = (int)c.create_access.out_access_fd;
	if (!space_map(ioas, p, DATA_IOVA, 8 * PAGE, RW)) {
		c = (struct mock_cmd){.op = MOCK_OP_ACCESS_PAGES,
				      .id = fd,
				      .access_pages = {.iova = DATA_IOVA, .length = 8 * PAGE, .uptr = (uintptr_t)p}};
		c.size = sizeof(c);
		ioctl(container, IOMMUFD_NR(IOMMUFD_CMD_TEST), &c);
		c = (struct mock_cmd){.op = MOCK_OP_ACCESS_RW,
				      .id = fd,
				      .access_rw = {.iova = DATA_IOVA, .length = PAGE, .uptr = (uintptr_t)p}};
		c.size = sizeof(c);
		ioctl(container, IOMMUFD_NR(IOMMUFD_CMD_TEST), &c);
		if (rnd() % 2)
			space_unmap(ioas, DATA_IOVA, 8 * PAGE);
	}
	if (rnd() % 2)
		close(fd);
	munmap(p, 8 * PAGE);
}

static void victim(void)
{
	for (;;) {
		uint32_t ioas;

		container = iommufd_open();
		if (container < 0)
			continue;
		ioas = ioas_alloc(container);
		for (unsigned int i = rnd() % 4; i; i--) {
			if (rnd() % 2)
				with_memory(ioas);
			else
				with_access(ioas);
		}
		/* The first one has the device. */
		device = seed & 1 ? cdev_open() : -1;
		if (device >= 0 && !cdev_bind(device, container, &devid))
			attach_to(ioas);
		with_memory(ioas);
		if (rnd() % 2 && device >= 0)
			cdev_detach(device);
		for (int fd = witness_fd + 1; fd < 64; fd++)
			close(fd);
	}
}

/*
 * Bursts of calls, each after an idle moment of another length and beside the n victims stopped wherever they are
 * then. A burst begins with a broker that has gone to sleep, whoever else is there: only bursts compare with bursts.
 */
static void measure_bursts(struct samples *s, unsigned int block, const pid_t *pid, unsigned int n)
{
	for (unsigned int round = 0; round < 25; round++) {
		struct timespec t = {0, (round * 7919 + block * 104729) % 4000000};

		nanosleep(&t, NULL);
		for (unsigned int i = 0; i < n; i++)
			child_stop(pid[i]);
		measure(s, 20);
		for (unsigned int i = 0; i < n; i++)
			expect_eq(kill(pid[i], SIGCONT), 0);
	}
}

static void stopped_anywhere(void)
{
	pid_t pid[3];

	for (unsigned int block = 0; block < 6; block++) {
		measure_bursts(&alone, block, NULL, 0);
		for (unsigned int i = 0; i < COUNT(pid); i++) {
			seed = block * 97 + i;
			pid[i] = child_start(victim);
		}
		measure_bursts(&beside, block, pid, COUNT(pid));
		for (unsigned int i = 0; i < COUNT(pid); i++) {
			child_stop(pid[i]);
			child_kill(pid[i]);
		}
	}
}

static void expect_unmoved(void (*run)(void))
{
	uint64_t a = 0, b = 0;

	for (unsigned int i = 0; i < TRIES; i++) {
		alone.n = beside.n = 0;
		run();
		a = percentile_99(&alone);
		b = percentile_99(&beside);
		printf("# 99th percentile: alone %llu us, beside stopped clients %llu us\n",
		       (unsigned long long)a / 1000, (unsigned long long)b / 1000);
		if (b <= FACTOR * a)
			return;
	}
	fail("the 99th percentile moves: %llu ns alone, %llu ns beside stopped clients", (unsigned long long)a,
	     (unsigned long long)b);
}

static void never_wait(void)
{
	witness_start();
	expect_unmoved(stopped_anywhere);
}

/* ---- what nobody reads, and nobody closes ---- */

static int told[2];

static void tell_and_sleep(char c)
{
	expect_eq(write(told[1], &c, 1), 1);
	for (;;)
		pause();
}

static void sleeper_faults(void)
{
	struct mock_cmd c = {.op = MOCK_OP_MOCK_DOMAIN_FLAGS};
	struct iommu_fault_alloc f = {.size = sizeof(f)};
	struct mock_hwpt_data data = {0};
	struct iommu_hwpt_alloc a;
	uint32_t stdev, queue;

	container = iommufd_open();
	c.id = ioas_alloc(container);
	if (!mock_cmd(container, &c))
		tell_and_sleep('n');
	stdev = c.domain.out_stdev_id;
	devid = c.domain.out_idev_id;
	expect_eq(ioctl(container, IOMMU_FAULT_QUEUE_ALLOC, &f), 0);
	queue = f.out_fault_id;
	expect_eq(hwpt_alloc(c.id, IOMMU_HWPT_ALLOC_NEST_PARENT, 0, NULL, 0, &a.pt_id), 0);
	a = (struct iommu_hwpt_alloc){.size = sizeof(a),
				      .flags = IOMMU_HWPT_FAULT_ID_VALID,
				      .dev_id = devid,
				      .pt_id = a.pt_id,
				      .data_type = MOCK_HWPT_DATA,
				      .data_len = sizeof(data),
				      .data_uptr = (uintptr_t)&data,
				      .fault_id = queue};
	expect_eq(ioctl(container, IOMMU_HWPT_ALLOC, &a), 0);
	c = (struct mock_cmd){.op = MOCK_OP_MOCK_DOMAIN_REPLACE, .id = stdev, .replace = {.pt_id = a.out_hwpt_id}};
	mock_cmd(container, &c);
	for (unsigned int i = 0; i < 20000; i++) {
		c = (struct mock_cmd){.op = MOCK_OP_TRIGGER_IOPF,
				      .iopf = {.dev_id = devid, .pasid = -1, .grpid = i, .perm = 1, .addr = i * PAGE}};
		mock_cmd(container, &c);
	}
	tell_and_sleep('x');
}

static void sleeper_access(void)
{
	uint8_t *p = pages_alloc(8 * PAGE);
	struct mock_cmd c = {.op = MOCK_OP_CREATE_ACCESS, .create_access = {.flags = 1}};
	uint32_t ioas;
	int fd;

	container = iommufd_open();
	c.id = ioas = ioas_alloc(container);
	if (!mock_cmd(container, &c))
		tell_and_sleep('n');
	fd = (int)c.create_access.out_access_fd;
	expect_eq(space_map(ioas, p, DATA_IOVA, 8 * PAGE, RW), 0);
	c = (struct mock_cmd){.op = MOCK_OP_ACCESS_PAGES,
			      .id = fd,
			      .access_pages = {.iova = DATA_IOVA, .length = 8 * PAGE, .uptr = (uintptr_t)p}};
	mock_cmd(container, &c);
	close(container); /* its access stays */
	tell_and_sleep('x');
}

static void beside_sleepers(void)
{
	static void (*const sleepers[])(void) = {sleeper_faults, sleeper_access};
	pid_t pid[COUNT(sleepers)];
	char c;

	measure(&alone, 2000);
	for (unsigned int i = 0; i < COUNT(sleepers); i++) {
		expect_eq(pipe(told), 0);
		pid[i] = child_start(sleepers[i]);
		close(told[1]);
		expect_eq(read(told[0], &c, 1), 1);
		close(told[0]);
		if (c == 'n') {
			child_kill(pid[i]);
			skip_case("needs the test interface");
		}
		child_stop(pid[i]);
	}
	measure(&beside, 4000);
	for (unsigned int i = 0; i < COUNT(sleepers); i++)
		child_kill(pid[i]);
	measure(&alone, 2000);
}

static void never_wait_asleep(void)
{
	witness_start();
	expect_unmoved(beside_sleepers);
}

/* An unmap is refused rather than wait for an access that does not let go; and nobody is locked out by it. */
static void access_keeps(void)
{
	struct mock_cmd c = {.op = MOCK_OP_CREATE_ACCESS, .create_access = {.flags = 1}};
	uint8_t *p = pages_alloc(PAGE);
	uint32_t ioas;
	int fd;

	container = iommufd_open();
	c.id = ioas = ioas_alloc(container);
	if (!mock_cmd(container, &c))
		skip_case("needs the test interface");
	fd = (int)c.create_access.out_access_fd;
	for (unsigned int i = 0; i < 50; i++) {
		expect_eq(space_map(ioas, p, DATA_IOVA, PAGE, RW), 0);
		for (unsigned int k = 0; k < 5; k++) {
			c = (struct mock_cmd){
			    .op = MOCK_OP_ACCESS_PAGES,
			    .id = fd,
			    .access_pages = {.iova = DATA_IOVA, .length = PAGE, .uptr = (uintptr_t)p}};
			mock_cmd(container, &c);
		}
		expect_eq(space_unmap(ioas, DATA_IOVA, PAGE), 0); /* it was told, and let go of all five */
	}
	close(fd);
	expect_eq(object_destroy(ioas), 0);
}

/* ---- C5: whatever there is, and in whatever order it goes, closing is the end of it ---- */

static void pile_up(void)
{
	struct iommu_hwpt_vtd_s1 s1 = {.pgtbl_addr = DATA_IOVA, .addr_width = 48};
	uint8_t *p = pages_alloc(64 * PAGE);
	uint32_t ioas, hwpt, nested;

	device_started();
	for (unsigned int i = 0; i < 20; i++) {
		ioas = space_with_rings();
		for (unsigned int k = 0; k < 64; k++)
			expect_eq(space_map(ioas, p + k * PAGE, DATA_IOVA + 2 * k * PAGE, PAGE, RW), 0);
		for (unsigned int k = 0; k < 4; k++) {
			expect_eq(hwpt_alloc(ioas, IOMMU_HWPT_ALLOC_NEST_PARENT, 0, NULL, 0, &hwpt), 0);
			expect_eq(hwpt_alloc(hwpt, 0, IOMMU_HWPT_DATA_VTD_S1, &s1, sizeof(s1), &nested), 0);
		}
	}
	expect_eq(attach_to(nested), 0);
}

/* For who is killed on the way, and must not have ended before. */
static void pile_up_and_stay(void)
{
	pile_up();
	for (;;)
		pause();
}

static void destroy_never_fails(void)
{
	for (unsigned int i = 0; i < 12; i++) {
		if (i % 3 == 0) {
			child_wait(child_start(pile_up));
		} else {
			pid_t pid = child_start(pile_up_and_stay);

			usleep(i * 3000);
			child_kill(pid);
		}
		device_wait_free();
	}
}

const struct client_case wait_cases[] = {
    {"rule-never-wait", "C1: clients stopped anywhere in map, unmap, access, close", never_wait},
    {"rule-never-wait-asleep", "C1: faults that nobody reads, an access that nobody closes", never_wait_asleep},
    {"rule-never-wait-access", "C1: an unmap does not wait for an access", access_keeps},
    {"rule-destroy-never-fails", "C5: the end of a client with everything there is", destroy_never_fails},
    {NULL, NULL, NULL},
};
