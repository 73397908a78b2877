/* SPDX-License-Identifier: BSD-3-Clause */
/* B5: not the client's descriptors, sizes, offsets or timing; not the device's addresses. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"

static int reopen(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	assert_true(again >= 0);
	return again;
}

static void refuse(struct fixture *f, int fd)
{
	struct backing *b = NULL;

	assert_int_equal(backing_get_fd(f->cache, fd, &b), -EFAULT);
	assert_null(b);
	if (fd >= 0)
		close(fd);
}

/* Only files that hold memory are taken. */
static void test_descriptors(void **state)
{
	int pair[2], mem = memfd_pages(1);
	struct fixture f;
	long secret;

	fixture_open(&f);
	refuse(&f, -1);
	refuse(&f, 100000);
	refuse(&f, open("/dev/null", O_RDWR));
	refuse(&f, open("/dev/zero", O_RDWR));
	refuse(&f, open("/proc/self/exe", O_RDONLY));
	refuse(&f, open("/proc/self/mem", O_RDWR));
	refuse(&f, open("/", O_RDONLY | O_DIRECTORY));
	refuse(&f, open("/dev/shm", O_RDONLY | O_DIRECTORY));
	refuse(&f, eventfd(0, 0));
	assert_int_equal(pipe(pair), 0);
	refuse(&f, pair[0]);
	refuse(&f, pair[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	refuse(&f, pair[0]);
	refuse(&f, pair[1]);
	refuse(&f, reopen(mem, O_PATH));
	refuse(&f, reopen(mem, O_WRONLY));
	secret = syscall(SYS_memfd_secret, 0);
	if (secret >= 0)
		refuse(&f, (int)secret);
	close(mem);
	fixture_close(&f);
}

/* Who was shown a file read-only cannot have a device write to it, also not when somebody else has it writable. */
static void test_read_only_stays_read_only(void **state)
{
	struct page_slice own = {.len = PG, .writable = true}, theirs = {.len = PG, .writable = true};
	int fd = memfd_pages(1), ro = reopen(fd, O_RDONLY);
	struct pages *p = NULL;
	struct backing_key key;
	struct backing *found;
	struct fixture f;
	struct stat st;
	char c = '!';

	fixture_open(&f);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(backing_get_fd(f.cache, fd, &own.backing), 0);
	assert_int_equal(backing_get_fd(f.cache, ro, &theirs.backing), 0);
	assert_int_equal(pages_new(0, &theirs, 1, f.owner, &p), -EFAULT);
	assert_null(p);
	theirs.writable = false;
	assert_int_equal(pages_new(0, &theirs, 1, f.owner, &p), 0);
	/* Neither as such nor when it is said that they may be written. */
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, IOMMU_READ | IOMMU_WRITE), -EPERM);
	pages_configure(p, true, MM_ACCOUNT_USER, false);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, IOMMU_READ | IOMMU_WRITE), -EFAULT);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, IOMMU_READ), -EFAULT);
	pages_configure(p, false, MM_ACCOUNT_USER, false);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(dma_write(f.dev, IOVA(0), &c, 1, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_PERMISSION);
	assert_int_equal(dma_read(f.dev, IOVA(0), &c, 1, NULL), 0);
	assert_int_equal(c, 'a');
	/* No way around by device and inode number: what it was shown is what it gets. */
	key = backing_key(theirs.backing);
	assert_true(key.dev == st.st_dev && key.ino == st.st_ino && !key.writable);
	found = backing_find_key(f.cache, key);
	assert_ptr_equal(found, theirs.backing);
	backing_put(found);
	found = backing_find(f.cache, st.st_dev, st.st_ino);
	assert_ptr_equal(found, own.backing);
	backing_put(found);
	backing_put(own.backing);
	own.backing = backing_find(f.cache, st.st_dev, st.st_ino);
	assert_ptr_equal(own.backing, theirs.backing);
	backing_put(own.backing);
	backing_put(theirs.backing);
	pages_put(p);
	close(fd);
	close(ro);
	fixture_close(&f);
}

static void test_seals(void **state)
{
	struct page_slice s = {.len = PG, .writable = true};
	struct pages *p = NULL;
	struct fixture f;
	int fd = memfd_pages(1);
	char c;

	fixture_open(&f);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	assert_int_equal(backing_get_fd(f.cache, fd, &s.backing), 0);
	assert_int_equal(pages_new(0, &s, 1, f.owner, &p), -EFAULT);
	s.writable = false;
	assert_int_equal(pages_new(0, &s, 1, f.owner, &p), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(dma_read(f.dev, IOVA(0), &c, 1, NULL), 0);
	pages_put(p);
	backing_put(s.backing);
	close(fd);
	fixture_close(&f);
}

static void test_slices(void **state)
{
	const struct {
		uint64_t va, offset, len;
		int err;
	} bad[] = {
	    {0, 0, 0, -EINVAL},	      {1, 0, PG, -EINVAL},	   {0, 1, PG, -EINVAL},	       {0, 0, PG - 1, -EINVAL},
	    {0, 0, PG + 1, -EINVAL},  {0, -PG, 2 * PG, -EINVAL},   {-PG, 0, 2 * PG, -EINVAL},  {0, 0, 5 * PG, -EFAULT},
	    {0, 4 * PG, PG, -EFAULT}, {0, 1UL << 62, PG, -EFAULT}, {0, 0, 1UL << 62, -EFAULT}, {0, 0, -PG, -EFAULT},
	};
	int fd = memfd_pages(4);
	struct fixture f;
	struct pages *p = NULL;
	struct page_slice s[2];

	fixture_open(&f);
	assert_int_equal(backing_get_fd(f.cache, fd, &s[0].backing), 0);
	s[0].writable = true;
	assert_int_equal(pages_new(0, s, 0, f.owner, &p), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		s[0].offset = bad[i].offset;
		s[0].len = bad[i].len;
		assert_int_equal(pages_new(bad[i].va, s, 1, f.owner, &p), bad[i].err);
		/* Also when a good one comes first. */
		s[1] = s[0];
		s[0].offset = 0;
		s[0].len = PG;
		assert_int_not_equal(pages_new(bad[i].va, s, 2, f.owner, &p), 0);
		assert_null(p);
	}
	/* A file that claims to be larger than any address space. */
	assert_int_equal(ftruncate(fd, 1L << 62), 0);
	s[0].offset = (1L << 62) - PG;
	assert_int_equal(pages_new(0, s, 1, f.owner, &p), -ENOMEM);
	assert_int_equal(ftruncate(fd, 0), 0);
	s[0].offset = 0;
	assert_int_equal(pages_new(0, s, 1, f.owner, &p), -EFAULT);
	backing_put(s[0].backing);
	close(fd);
	fixture_close(&f);
}

static void test_maps(void **state)
{
	const struct {
		uint64_t iova, len, off;
		int prot, err;
	} bad[] = {
	    {0, 0, 0, 3, -EINVAL},	     {1, PG, 0, 3, -EINVAL},
	    {0, PG + 1, 0, 3, -EINVAL},	     {0, PG, 1, 3, -EINVAL},
	    {0, PG, 0, 8, -EINVAL},	     {0, PG, 0, 4, -EINVAL},
	    {0, PG, 0, -1, -EINVAL},	     {0, 3 * PG, 0, 3, -EINVAL},
	    {0, PG, 2 * PG, 3, -EINVAL},     {0, PG, -PG, 3, -EINVAL},
	    {0, -PG, PG, 3, -EINVAL},	     {-PG, 2 * PG, 0, 3, -EOVERFLOW},
	    {0x100000, PG, 0, 3, -EEXIST},   {0xff000, 2 * PG, 0, 3, -EEXIST},
	    {0xfee00000, PG, 0, 3, -EINVAL}, {0xfedff000, 2 * PG, 0, 3, -EINVAL},
	};
	int fd = memfd_pages(2);
	struct fixture f;
	struct pages *p;
	uint64_t bytes = 1234;

	fixture_open(&f);
	p = pages_memfd(&f, fd, 2, true);
	close(fd);
	assert_int_equal(ioas_reserve(f.ioas, 0xfee00000, 0xfeefffff, &f), 0);
	assert_int_equal(ioas_reserve(f.ioas, 2, 1, &f), -EINVAL);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x100000), 2 * PG, p, 0, 3), 0);
	assert_int_equal(ioas_reserve(f.ioas, 0x101fff, 0x200000, &f), -EADDRINUSE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ioas_map(f.ioas, IOVA(bad[i].iova), bad[i].len, p, bad[i].off, bad[i].prot),
				 bad[i].err);
		assert_int_equal(ioas_area_count(f.ioas), 1);
		assert_int_equal(mm_charged(f.owner), 2);
	}
	assert_int_equal(ioas_unmap(f.ioas, 0x101000, UINT64_MAX, &bytes), -ENOENT);
	assert_int_equal(bytes, 0);
	assert_int_equal(ioas_unmap(f.ioas, 0, 0x101ffe, &bytes), -ENOENT);
	assert_int_equal(ioas_unmap(f.ioas, 1, 0, &bytes), -EINVAL);
	assert_int_equal(ioas_area_count(f.ioas), 1);
	assert_int_equal(ioas_unmap(f.ioas, 0x102000, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, 0);
	/* The last page there is. */
	assert_int_equal(ioas_map(f.ioas, IOVA(-PG), PG, p, 0, 3), 0);
	pages_put(p);
	fixture_close(&f);
}

/* What a device may ask for. */
static void test_device_addresses(void **state)
{
	int fd = memfd_pages(1);
	struct fixture f;
	struct pages *p;
	struct iovec iov[1];
	unsigned int n = 1;
	char buf[64];

	fixture_open(&f);
	p = pages_memfd(&f, fd, 1, true);
	close(fd);
	assert_int_equal(ioas_map(f.ioas, IOVA(-PG), PG, p, 0, 3), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, 3), 0);
	pages_put(p);
	assert_int_equal(dma_read(f.dev, IOVA(-64UL), buf, 64, NULL), 0);
	/* From the top to the bottom is no range. */
	assert_int_equal(dma_read(f.dev, IOVA(-32UL), buf, 64, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_WRAP);
	assert_int_equal(dma_iov(f.dev, IOVA(-32UL), 64, true, iov, &n, NULL), -EFAULT);
	assert_int_equal(dma_iov(f.dev, IOVA(0), SIZE_MAX, true, iov, &n, NULL), -EFAULT);
	assert_int_equal(n, 1);
	assert_int_equal(dma_read(f.dev, IOVA(PG), NULL, 0, NULL), 0);
	fixture_close(&f);
}

/* The client cuts and grows its file all the time while a device works: each DMA succeeds or faults, none kills. */
static void test_racing_truncate(void **state)
{
	int fd = memfd_pages(16), status;
	struct fixture f;
	struct pages *p;
	char buf[4 * PG];
	pid_t pid;

	fixture_open(&f);
	p = pages_memfd(&f, fd, 16, true);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 16 * PG, p, 0, 3), 0);
	pages_put(p);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		for (unsigned int i = 0;; i++)
			if (ftruncate(fd, i % 17 * PG))
				_exit(1);
	memset(buf, 7, sizeof(buf));
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t iova = i * 1237 % (12 * PG);
		size_t len = i * 7919 % sizeof(buf);
		int err =
		    i % 2 ? dma_write(f.dev, IOVA(iova), buf, len, NULL) : dma_read(f.dev, IOVA(iova), buf, len, NULL);

		assert_true(err == 0 || (err == -EFAULT && f.last[EVENT_FAULT].error == DMA_FAULT_GONE));
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	close(fd);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_descriptors),
	    cmocka_unit_test(test_read_only_stays_read_only),
	    cmocka_unit_test(test_seals),
	    cmocka_unit_test(test_slices),
	    cmocka_unit_test(test_maps),
	    cmocka_unit_test(test_device_addresses),
	    cmocka_unit_test(test_racing_truncate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
