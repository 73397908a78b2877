/* SPDX-License-Identifier: BSD-3-Clause */
/* A2: a pin holds the page, not the address, until it is unmapped from every IOVA; what is gone is a fault. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"

/* A client in a process of its own. It does what it is told by a letter and answers with the byte it then sees. */
struct client {
	pid_t pid;
	int to, from;
};

static void client_main(int fd, int in, int out)
{
	char *va = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), cmd, see = 0;

	while (read(in, &cmd, 1) == 1) {
		switch (cmd) {
		case 'c': /* its last descriptor */
			close(fd);
			break;
		case 'd': /* discards */
			madvise(va, 2 * PG, MADV_DONTNEED);
			break;
		case 'r': /* puts something else there */
			mmap(va, 2 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			break;
		case 'm': /* moves */
			va = mremap(va, 2 * PG, 8 * PG, MREMAP_MAYMOVE);
			break;
		case 'f': /* forks; the child writes */
			if (fork() == 0) {
				*va = 'K';
				_exit(0);
			}
			wait(NULL);
			break;
		case 'u':
			munmap(va, 2 * PG);
			break;
		case 'x':
			_exit(0);
		}
		see = cmd == 'u' ? '-' : *va;
		if (write(out, &see, 1) != 1)
			break;
	}
	_exit(1);
}

static void client_start(struct client *c, int fd)
{
	int to[2], from[2];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (!c->pid) {
		close(to[1]);
		close(from[0]);
		client_main(fd, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	c->to = to[1];
	c->from = from[0];
}

static char client_do(struct client *c, char cmd)
{
	char see = 0;

	assert_int_equal(write(c->to, &cmd, 1), 1);
	if (cmd != 'x')
		assert_int_equal(read(c->from, &see, 1), 1);
	return see;
}

static char device_reads(struct fixture *f, uint64_t iova)
{
	char c;

	assert_int_equal(dma_read(f->dev, IOVA(iova), &c, 1, NULL), 0);
	return c;
}

static void device_writes(struct fixture *f, uint64_t iova, char c)
{
	assert_int_equal(dma_write(f->dev, IOVA(iova), &c, 1, NULL), 0);
}

/* order: what the client does before it exits; the device must see its own writes throughout. */
static void run_client(const char *order)
{
	struct client c;
	struct fixture f;
	struct pages *p;
	int fd = memfd_pages(2);
	char n = '0';

	fixture_open(&f);
	client_start(&c, fd);
	p = pages_memfd(&f, fd, 2, true);
	close(fd);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 2 * PG, p, 0, IOMMU_READ | IOMMU_WRITE), 0);
	pages_put(p);
	assert_int_equal(device_reads(&f, 0), 'a');
	for (const char *o = order; *o; o++) {
		bool replaced = memchr(order, 'r', o + 1 - order) != NULL;
		char see;

		device_writes(&f, 0, ++n);
		see = client_do(&c, *o);
		if (*o == 'f' && !replaced) {
			assert_int_equal(see, 'K');
			assert_int_equal(device_reads(&f, 0), 'K');
			continue;
		}
		if (see != '-' && *o != 'f')
			assert_int_equal(see, replaced ? 0 : n);
		assert_int_equal(device_reads(&f, 0), n);
	}
	client_do(&c, 'x');
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	assert_int_equal(device_reads(&f, PG), 'b');
	device_writes(&f, PG, 'z');
	assert_int_equal(device_reads(&f, PG), 'z');
	close(c.to);
	close(c.from);
	fixture_close(&f);
}

static void test_client_games(void **state)
{
	run_client("cd");
	run_client("dcr");
	run_client("rf");
	run_client("cfd");
	run_client("dfcm");
	run_client("cdu");
	run_client("");
}

/* The pin goes with the last IOVA, and not before. */
static void test_every_iova(void **state)
{
	struct fixture f;
	struct pages *p;
	uint64_t bytes;
	int fd = memfd_pages(1);

	fixture_open(&f);
	p = pages_memfd(&f, fd, 1, true);
	close(fd);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(ioas_map(f.ioas, IOVA(i * PG), PG, p, 0, IOMMU_READ), 0);
	pages_put(p);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(mm_charged(f.owner), 1);
		assert_int_equal(device_reads(&f, 2 * PG), 'a');
		assert_int_equal(maps_of("memfd:engine"), 1);
		assert_int_equal(ioas_unmap(f.ioas, i * PG, i * PG + (PG - 1), &bytes), 0);
		assert_int_equal(bytes, PG);
	}
	assert_int_equal(maps_of("memfd:engine"), 0);
	fixture_close(&f);
}

/* A truncated file: exactly the bytes that are still there move, and the rest is a fault, not zeroes. */
static void test_gone_is_a_fault(void **state)
{
	struct fixture f;
	struct pages *p;
	char buf[4 * PG], zero[4 * PG] = {0};
	int fd = memfd_pages(4);

	fixture_open(&f);
	p = pages_memfd(&f, fd, 4, true);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 4 * PG, p, 0, IOMMU_READ | IOMMU_WRITE), 0);
	pages_put(p);
	assert_int_equal(device_reads(&f, 2 * PG), 'c');
	assert_int_equal(ftruncate(fd, 2 * PG), 0);
	memset(buf, '?', sizeof(buf));
	assert_int_equal(dma_read(f.dev, IOVA(0), buf, 4 * PG, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_GONE);
	assert_int_equal(f.last[EVENT_FAULT].addr, 2 * PG);
	assert_int_equal(f.last[EVENT_FAULT].len, 2 * PG);
	assert_int_equal(buf[2 * PG - 1], 'b');
	assert_int_equal(buf[2 * PG], '?');
	assert_int_equal(dma_write(f.dev, IOVA(2 * PG - 8), zero, 16, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].addr, 2 * PG);
	assert_int_equal(dma_write(f.dev, IOVA(3 * PG), zero, 16, NULL), -EFAULT);
	assert_int_equal(f.seen[EVENT_FAULT], 3);
	/* The file is not made longer by a device, and still counted: the client asked for four pages. */
	assert_int_equal(lseek(fd, 0, SEEK_END), 2 * PG);
	assert_int_equal(mm_charged(f.owner), 4);
	close(fd);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_client_games),
	    cmocka_unit_test(test_every_iova),
	    cmocka_unit_test(test_gone_is_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
