/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that makes its own calls on /dev/iommu fail, as on a kernel with fault injection: each attempt of each call
 * in turn. A failed call has changed nothing. "off" as an argument: the files are not there, or the system's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iommufd/mock_abi.h"
#include "uapi/iommufd_abi.h"

#define PAGE 4096ul
/* The test runs with --memlock of this many pages. */
#define LIMIT 16ul
#define BASE  MOCK_APERTURE_FIRST
#define RW    (IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)

#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			printf("# line %d: %s (errno %d)\n", __LINE__, #cond, errno);                                  \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static int nth = -1;
static char *memory;

/* ---- the file ---- */

static void set_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	CHECK(pwrite(nth, text, len, 0) == len);
}

static int left(int fd)
{
	char text[16] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	CHECK(n > 0);
	return atoi(text);
}

static int open_nth(const char *fmt, unsigned int a, unsigned int b)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), fmt, a, b);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	return fd;
}

/* ---- calls ---- */

struct world {
	int fd;
	uint32_t ioas, other, dev, hwpt, last;
	uint64_t iova;
};

static int alloc_ioas(int fd, uint32_t *id)
{
	struct iommu_ioas_alloc c = {.size = sizeof(c)};
	int ret = ioctl(fd, IOMMU_IOAS_ALLOC, &c);

	*id = c.out_ioas_id;
	return ret;
}

static int destroy(int fd, uint32_t id)
{
	struct iommu_destroy c = {.size = sizeof(c), .id = id};

	return ioctl(fd, IOMMU_DESTROY, &c);
}

static int map(int fd, uint32_t ioas, char *at, uint64_t len, uint64_t iova)
{
	struct iommu_ioas_map c = {.size = sizeof(c),
				   .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
				   .ioas_id = ioas,
				   .user_va = (uintptr_t)at,
				   .length = len,
				   .iova = iova};

	return ioctl(fd, IOMMU_IOAS_MAP, &c);
}

static int unmap(int fd, uint32_t ioas, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_unmap c = {.size = sizeof(c), .ioas_id = ioas, .iova = iova, .length = len};

	return ioctl(fd, IOMMU_IOAS_UNMAP, &c);
}

static int mock(struct world *w, uint32_t ioas, uint32_t *stdev, uint32_t *dev, uint32_t *hwpt)
{
	struct mock_cmd c = {.size = sizeof(c), .op = MOCK_OP_MOCK_DOMAIN, .id = ioas};
	int ret = ioctl(w->fd, IOMMUFD_NR(IOMMUFD_CMD_TEST), &c);

	*stdev = c.domain.out_stdev_id;
	*dev = c.domain.out_idev_id;
	*hwpt = c.domain.out_hwpt_id;
	return ret;
}

/* Each makes something and remembers it; undo takes it away again. */

static int do_ioas(struct world *w)
{
	return alloc_ioas(w->fd, &w->last);
}

static int undo_last(struct world *w)
{
	return destroy(w->fd, w->last);
}

static int do_map(struct world *w)
{
	return map(w->fd, w->ioas, memory, 4 * PAGE, BASE + 64 * PAGE);
}

static int undo_map(struct world *w)
{
	return unmap(w->fd, w->ioas, BASE + 64 * PAGE, 4 * PAGE);
}

/* Memory that the broker has not seen: it asks for its file, and for the file's descriptor. */
static int do_map_new(struct world *w)
{
	char *fresh = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret, err;

	CHECK(fresh != MAP_FAILED);
	memset(fresh, 1, 4 * PAGE);
	ret = map(w->fd, w->ioas, fresh, 4 * PAGE, BASE + 64 * PAGE);
	err = errno;
	munmap(fresh, 4 * PAGE);
	errno = err;
	return ret;
}

static int do_copy(struct world *w)
{
	struct iommu_ioas_copy c = {.size = sizeof(c),
				    .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
				    .dst_ioas_id = w->other,
				    .src_ioas_id = w->ioas,
				    .length = 2 * PAGE,
				    .dst_iova = BASE,
				    .src_iova = BASE};

	return ioctl(w->fd, IOMMU_IOAS_COPY, &c);
}

static int undo_copy(struct world *w)
{
	return unmap(w->fd, w->other, BASE, 2 * PAGE);
}

static int do_unmap(struct world *w)
{
	return unmap(w->fd, w->ioas, BASE, 2 * PAGE);
}

static int undo_unmap(struct world *w)
{
	return map(w->fd, w->ioas, memory, 2 * PAGE, BASE);
}

static int do_hwpt(struct world *w)
{
	struct iommu_hwpt_alloc c = {.size = sizeof(c), .dev_id = w->dev, .pt_id = w->ioas};
	int ret = ioctl(w->fd, IOMMU_HWPT_ALLOC, &c);

	w->last = c.out_hwpt_id;
	return ret;
}

static int do_mock(struct world *w)
{
	uint32_t dev, hwpt;

	return mock(w, w->other, &w->last, &dev, &hwpt);
}

static int do_open(struct world *w)
{
	w->last = open("/dev/iommu", O_RDWR);
	return w->last;
}

static int undo_open(struct world *w)
{
	return close(w->last);
}

static int do_access(struct world *w)
{
	struct mock_cmd c = {.size = sizeof(c),
			     .op = MOCK_OP_CREATE_ACCESS,
			     .id = w->ioas,
			     .create_access.flags = MOCK_ACCESS_NEEDS_PIN_PAGES};
	int ret = ioctl(w->fd, IOMMUFD_NR(IOMMUFD_CMD_TEST), &c);

	w->last = c.create_access.out_access_fd;
	return ret;
}

static const struct operation {
	const char *name;
	int (*make)(struct world *w);
	int (*undo)(struct world *w);
	unsigned int least; /* attempts in it */
} operations[] = {
    {"open", do_open, undo_open, 2},	   {"IOAS_ALLOC", do_ioas, undo_last, 4},
    {"MAP", do_map, undo_map, 7},	   {"MAP of new memory", do_map_new, undo_map, 10},
    {"COPY", do_copy, undo_copy, 5},	   {"UNMAP", do_unmap, undo_unmap, 3},
    {"HWPT_ALLOC", do_hwpt, undo_last, 8}, {"mock domain", do_mock, undo_last, 10},
    {"access", do_access, undo_open, 6},
};

/* ---- what is left ---- */

/* The whole limit can be pinned, and not a page more: nothing is charged. */
static void check_charges(void)
{
	struct world w = {.fd = open("/dev/iommu", O_RDWR)};
	uint32_t stdev;

	CHECK(w.fd >= 0 && !alloc_ioas(w.fd, &w.ioas));
	CHECK(!mock(&w, w.ioas, &stdev, &w.dev, &w.hwpt));
	CHECK(!map(w.fd, w.ioas, memory, LIMIT * PAGE, BASE));
	CHECK(map(w.fd, w.ioas, memory + LIMIT * PAGE, PAGE, BASE + LIMIT * PAGE) == -1 && errno == ENOMEM);
	CHECK(!close(w.fd));
}

/* The number that the next object gets. */
static uint32_t next_id(int fd)
{
	uint32_t id;

	CHECK(!alloc_ioas(fd, &id) && !destroy(fd, id));
	return id;
}

static void world_make(struct world *w)
{
	uint32_t stdev;

	*w = (struct world){.fd = open("/dev/iommu", O_RDWR)};
	CHECK(w->fd >= 0);
	CHECK(!alloc_ioas(w->fd, &w->ioas) && !alloc_ioas(w->fd, &w->other));
	CHECK(!mock(w, w->ioas, &stdev, &w->dev, &w->hwpt));
	CHECK(!map(w->fd, w->ioas, memory, 2 * PAGE, BASE));
}

/* Every attempt in the call fails once; returns how many there were. */
static unsigned int sweep(const struct operation *o)
{
	struct world w;
	unsigned int n;
	uint32_t id;

	world_make(&w);
	id = next_id(w.fd);
	for (n = 1; n < 400; n++) {
		int ret, err, rest;

		set_nth(n);
		ret = o->make(&w);
		err = errno;
		rest = left(nth);
		set_nth(0);
		CHECK(left(nth) == 0);
		if (ret >= 0)
			CHECK(!o->undo(&w));
		if (rest) {
			CHECK(ret >= 0);
			break;
		}
		errno = err;
		if (ret != -1)
			printf("# the failure of attempt %u was made good\n", n);
		CHECK(ret == -1 && (err == ENOMEM || err == ENOENT || err == EFAULT || err == EINVAL));
		CHECK(next_id(w.fd) == id);
	}
	CHECK(!close(w.fd));
	check_charges();
	return n - 1;
}

/* ---- the files ---- */

static void test_debugfs(void)
{
	static const char file[] = "/sys/kernel/debug/failslab/ignore-gfp-wait";
	int fd = open(file, O_WRONLY);
	char c[4];

	CHECK(fd >= 0 && write(fd, "N", 1) == 1 && !close(fd));
	fd = open(file, O_RDONLY);
	CHECK(fd >= 0 && read(fd, c, sizeof(c)) == 2 && !memcmp(c, "N\n", 2));
	CHECK(!close(fd) && !access("/sys/kernel/debug/fail_page_alloc/verbose", R_OK | W_OK));
	CHECK(open("/sys/kernel/debug/failslab/nothing", O_WRONLY | O_CREAT, 0600) == -1);
}

static void test_one_file(void)
{
	unsigned int pid = getpid();
	int other[] = {open_nth("/proc/self/fail-nth", 0, 0), open_nth("/proc/thread-self/fail-nth", 0, 0),
		       open_nth("/proc/%u/fail-nth", pid, 0), open_nth("/proc/%u/task/%u/fail-nth", pid, pid)};
	char text[8];

	for (unsigned int i = 0; i < 4; i++) {
		CHECK(pread(other[i], text, sizeof(text), 0) == 2 && !memcmp(text, "0\n", 2));
		set_nth(7 + i);
		CHECK(left(other[i]) == (int)(7 + i));
		CHECK(pwrite(other[i], "0\n", 2, 0) == 2 && !left(nth));
		CHECK(!close(other[i]));
	}
	CHECK(open("/proc/self/fail-nthx", O_RDWR) == -1 && errno == ENOENT);
	CHECK(open("/proc/self/task/fail-nth", O_RDWR) == -1 && errno == ENOENT);
}

/* 0 can be told from the number whose first digit it replaces. */
static void test_disarmed(void)
{
	uint32_t id;
	int fd = open("/dev/iommu", O_RDWR);

	CHECK(fd >= 0);
	set_nth(100);
	CHECK(!alloc_ioas(fd, &id) && left(nth) > 10 && left(nth) < 100);
	set_nth(0);
	for (unsigned int i = 0; i < 100; i++)
		CHECK(!alloc_ioas(fd, &id));
	CHECK(!close(fd));
}

static void *in_thread(void *fd)
{
	uint32_t id;

	CHECK(!alloc_ioas(*(int *)fd, &id) && left(nth) == 1);
	return NULL;
}

/* One thread's number is nothing to another, nor to a child. */
static void test_own(void)
{
	int fd = open("/dev/iommu", O_RDWR), status;
	pthread_t t;
	uint32_t id;

	CHECK(fd >= 0);
	set_nth(1);
	CHECK(!pthread_create(&t, NULL, in_thread, &fd) && !pthread_join(t, NULL));
	if (!fork())
		_exit(alloc_ioas(fd, &id) || left(nth) != 1);
	CHECK(wait(&status) > 0 && !status);
	CHECK(alloc_ioas(fd, &id) == -1 && errno == ENOMEM && !left(nth));
	CHECK(!alloc_ioas(fd, &id) && !close(fd));
}

static int off(void)
{
	struct statfs fs;
	int fd;

	fd = open("/proc/self/fail-nth", O_RDWR);
	CHECK(fd == -1 || (!fstatfs(fd, &fs) && fs.f_type == 0x9fa0)); /* PROC_SUPER_MAGIC */
	CHECK(statfs("/sys/kernel/debug", &fs) || fs.f_type == 0x62656572 || fs.f_type == 0x64626720);
	fd = open("/dev/iommu", O_RDWR);
	CHECK(fd >= 0 && !next_id(fd) == 0);
	printf("1..1\nok 1 - nothing without --iommufd-test\n");
	return 0;
}

/* Each in a process of its own, as the kernel's tests have it. */
static bool run(void (*test)(void), const struct operation *o)
{
	int status;

	fflush(stdout);
	if (!fork()) {
		unsigned int n;

		nth = open_nth("/proc/self/task/%u/fail-nth", getpid(), 0);
		memory = mmap(NULL, 2 * LIMIT * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		CHECK(memory != MAP_FAILED);
		if (test) {
			test();
			exit(0);
		}
		n = sweep(o);
		printf("# %s: %u attempts\n", o->name, n);
		CHECK(n >= o->least);
		CHECK(sweep(o) == n);
		exit(0);
	}
	return wait(&status) > 0 && !status;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} tests[] = {
	    {"debugfs has the faults' files", test_debugfs},
	    {"a thread's names lead to one file", test_one_file},
	    {"0 disarms", test_disarmed},
	    {"a number is one thread's own", test_own},
	};
	unsigned int ntests = sizeof(tests) / sizeof(tests[0]), nops = sizeof(operations) / sizeof(operations[0]);
	bool good = true;

	if (argc > 1 && !strcmp(argv[1], "off"))
		return off();
	printf("1..%u\n", ntests + nops);
	for (unsigned int i = 0; i < ntests + nops; i++) {
		bool ok = i < ntests ? run(tests[i].fn, NULL) : run(NULL, &operations[i - ntests]);

		good &= ok;
		printf("%sok %u - %s%s\n", ok ? "" : "not ", i + 1,
		       i < ntests ? tests[i].name : operations[i - ntests].name,
		       i < ntests ? "" : " changes nothing when it fails");
	}
	return good ? 0 : 1;
}
