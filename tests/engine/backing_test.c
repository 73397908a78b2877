/* SPDX-License-Identifier: BSD-3-Clause */
/* Backings: one per file, grown beside and never moved, kept while idle within limits. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fixture.h"

static struct backing *get(struct backing_cache *c, int fd)
{
	struct backing *b = NULL;

	assert_int_equal(backing_get_fd(c, fd, &b), 0);
	assert_non_null(b);
	return b;
}

static struct pages *pages_at(struct mm_owner *who, struct backing *b, uint64_t offset, uint64_t len)
{
	struct page_slice s = {.backing = b, .offset = offset, .len = len, .writable = true};
	struct pages *p = NULL;

	assert_int_equal(pages_new(0, &s, 1, who, &p), 0);
	pages_configure(p, true, MM_ACCOUNT_PROCESS, false);
	return p;
}

static void test_one_per_file(void **state)
{
	int fd = memfd_pages(1), other = memfd_pages(1), dup_fd = dup(fd);
	struct backing *a, *b, *c;
	struct fixture f;
	struct stat st;

	fixture_open(&f);
	assert_int_equal(fstat(fd, &st), 0);
	assert_null(backing_find(f.cache, st.st_dev, st.st_ino));
	a = get(f.cache, fd);
	b = get(f.cache, dup_fd);
	c = get(f.cache, other);
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_ptr_equal(backing_find(f.cache, st.st_dev, st.st_ino), a);
	for (int i = 0; i < 3; i++)
		backing_put(a);
	assert_null(backing_find(f.cache, st.st_dev, st.st_ino));
	backing_put(c);
	close(fd);
	close(other);
	close(dup_fd);
	fixture_close(&f);
}

/* The file outgrows its map again and again: what was handed out stays where it is and stays the same memory. */
static void test_growth_moves_nothing(void **state)
{
	enum { STEPS = 12 };
	struct pages *p[STEPS];
	void *at[STEPS];
	struct fixture f;
	struct backing *b;
	uint64_t contig;
	int fd = memfd_pages(1);

	fixture_open(&f);
	b = get(f.cache, fd);
	for (int i = 0; i < STEPS; i++) {
		uint64_t size = (1UL << 20 << i) + PG;

		assert_int_equal(ftruncate(fd, size), 0);
		p[i] = pages_at(f.owner, b, 0, size);
		assert_int_equal(ioas_map(f.ioas, IOVA((uint64_t)i << 40), size, p[i], 0, 3), 0);
		at[i] = pages_ptr(p[i], 0, &contig);
		assert_int_equal(contig, size);
		assert_int_equal(dma_write(f.dev, IOVA(((uint64_t)i << 40) + size - 1), &(char){'A' + i}, 1, NULL), 0);
	}
	assert_true(maps_of("memfd:engine") > 4);
	for (int i = 0; i < STEPS; i++) {
		char c;

		assert_ptr_equal(pages_ptr(p[i], 0, &contig), at[i]);
		assert_int_equal(dma_write(f.dev, IOVA((uint64_t)i << 40), &(char){'Z' - i}, 1, NULL), 0);
		for (int k = 0; k < STEPS; k++) {
			assert_int_equal(dma_read(f.dev, IOVA((uint64_t)k << 40), &c, 1, NULL), 0);
			assert_int_equal(c, 'Z' - i);
		}
		pages_put(p[i]);
	}
	/* The newest stays for what comes; the others go with their last pages. */
	unmap_all(f.ioas);
	assert_int_equal(maps_of("memfd:engine"), 1);
	backing_put(b);
	close(fd);
	fixture_close(&f);
}

/* Pages need not be mapped by growing steps: a slice within the map that is there makes no further one. */
static void test_map_is_shared(void **state)
{
	struct pages *p[100];
	struct fixture f;
	struct backing *b;
	int fd = memfd_pages(1);

	fixture_open(&f);
	b = get(f.cache, fd);
	for (uint64_t i = 0; i < 100; i++) {
		assert_int_equal(ftruncate(fd, (i + 1) * PG), 0);
		p[i] = pages_at(f.owner, b, i * PG, PG);
	}
	assert_int_equal(maps_of("memfd:engine"), 1);
	for (uint64_t i = 0; i < 100; i++)
		pages_put(p[i]);
	/* A map that nobody uses makes way for a longer one. */
	assert_int_equal(ftruncate(fd, 64UL << 20), 0);
	pages_put(pages_at(f.owner, b, 0, 64UL << 20));
	assert_int_equal(maps_of("memfd:engine"), 1);
	backing_put(b);
	close(fd);
	fixture_close(&f);
}

static unsigned int known(struct backing_cache *c, const int *fd, unsigned int n)
{
	unsigned int count = 0;
	struct stat st;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int before = fds_open();
		struct backing *b;

		assert_int_equal(fstat(fd[i], &st), 0);
		b = backing_find(c, st.st_dev, st.st_ino);
		count += b != NULL;
		backing_put(b);
		assert_int_equal(fds_open(), before);
	}
	return count;
}

static void test_idle_limits(void **state)
{
	enum { N = 10 };
	static const struct mm_owner_ops ops;
	struct mm_owner *who = mm_owner_new(&ops, NULL, NULL, 1, NULL);
	struct backing_cache *c = backing_cache_new(SIZE_MAX, 4);
	struct backing *b;
	struct stat st;
	int fd[N];

	for (int i = 0; i < N; i++) {
		fd[i] = memfd_pages(4);
		b = get(c, fd[i]);
		pages_put(pages_at(who, b, 0, PG));
		backing_put(b);
	}
	assert_int_equal(known(c, fd, N), 4);
	assert_int_equal(maps_of("memfd:engine"), 4);
	/* The least recently used goes first: 6 is used, so 7 has to go. */
	backing_put(get(c, fd[6]));
	backing_put(get(c, fd[0]));
	assert_int_equal(known(c, &fd[6], 1), 1);
	assert_int_equal(known(c, &fd[7], 1), 0);
	/* What is in use is not idle. */
	b = get(c, fd[6]);
	backing_cache_trim(c);
	assert_int_equal(known(c, fd, N), 1);
	assert_int_equal(fstat(fd[6], &st), 0);
	backing_put(b);
	assert_int_equal(known(c, fd, N), 1);
	backing_cache_free(c);

	/* By bytes: three files of four pages and a bit. */
	c = backing_cache_new(3 * 5 * PG, 100);
	for (int i = 0; i < N; i++)
		backing_put(get(c, fd[i]));
	assert_int_equal(known(c, fd, N), 3);
	backing_cache_free(c);
	assert_int_equal(maps_of("memfd:engine"), 0);
	for (int i = 0; i < N; i++)
		close(fd[i]);
	mm_owner_put(who);
}

/* Several files, out of order, as one range of the client's; seams only where they are. */
static void test_slices_and_seams(void **state)
{
	int fd[2] = {memfd_pages(4), memfd_pages(4)};
	struct page_slice s[6];
	struct fixture f;
	struct pages *p;
	struct iovec iov[8];
	unsigned int n = 8;
	uint64_t contig;
	char got[6 * PG];

	fixture_open(&f);
	s[0] = (struct page_slice){get(f.cache, fd[0]), 0, PG, true};
	s[1] = (struct page_slice){s[0].backing, PG, PG, true}; /* continues */
	s[2] = (struct page_slice){get(f.cache, fd[1]), 3 * PG, PG, true};
	s[3] = (struct page_slice){s[2].backing, 2 * PG, PG, false};
	s[4] = (struct page_slice){s[2].backing, 3 * PG, PG, true}; /* continues, with other access */
	s[5] = (struct page_slice){s[0].backing, 0, PG, true};	    /* once more */
	assert_int_equal(pages_new(0x10000, s, 6, f.owner, &p), 0);
	backing_put(s[0].backing);
	backing_put(s[2].backing);
	assert_int_equal(pages_len(p), 6 * PG);
	assert_int_equal(pages_va(p), 0x10000);
	assert_non_null(pages_ptr(p, PG - 1, &contig));
	assert_int_equal(contig, PG + 1);
	assert_null(pages_ptr(p, 6 * PG, &contig));
	assert_int_equal(contig, 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 6 * PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(dma_read(f.dev, IOVA(0), got, sizeof(got), NULL), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(got[i * PG + 5], "abdcda"[i]);
	/* Pieces that touch in our memory are one entry, also across a change of access. */
	assert_int_equal(dma_iov(f.dev, IOVA(8), 6 * PG - 8, false, iov, &n, NULL), 0);
	assert_int_equal(n, 4);
	assert_int_equal(iov[0].iov_len, 2 * PG - 8);
	assert_int_equal(iov[2].iov_len, 2 * PG);
	n = 3;
	assert_int_equal(dma_iov(f.dev, IOVA(8), 6 * PG - 8, false, iov, &n, NULL), -E2BIG);
	assert_int_equal(n, 3);
	assert_int_equal(f.seen[EVENT_FAULT], 0);
	pages_put(p);
	close(fd[0]);
	close(fd[1]);
	fixture_close(&f);
}

static void test_no_descriptors(void **state)
{
	struct rlimit old, none;
	int fd = memfd_pages(1);
	struct backing *b = NULL;
	struct fixture f;

	fixture_open(&f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = fd + 1; /* whatever is free below is used up first */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	while (dup(fd) >= 0)
		;
	assert_int_equal(backing_get_fd(f.cache, fd, &b), -EMFILE);
	assert_null(b);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(fd);
	fixture_close(&f);
}

/* Huge pages, where the machine has the file system: addresses past the end would change the file. */
static void test_hugetlb(void **state)
{
	int fd = memfd_create("engine", MFD_CLOEXEC | MFD_HUGETLB);
	struct fixture f;
	struct backing *b;
	struct pages *p;
	uint64_t unmapped;
	struct stat st;
	char c;
	int err;

	if (fd < 0)
		skip();
	fixture_open(&f);
	b = get(f.cache, fd);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, 2 * st.st_blksize), 0);
	backing_put(b);
	b = get(f.cache, fd);
	p = pages_at(f.owner, b, st.st_blksize, st.st_blksize);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 2 * st.st_blksize);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), st.st_blksize, p, 0, 3), 0);
	/* Zeroes if the pool has a page, and a fault if not. */
	err = dma_read(f.dev, IOVA(0), &c, 1, NULL);
	assert_true(err == 0 ? c == 0 : f.last[EVENT_FAULT].error == DMA_FAULT_GONE);
	pages_put(p);
	backing_put(b);
	assert_int_equal(known(f.cache, &fd, 1), 1);
	/* And then the pool has it back at once. */
	assert_int_equal(ioas_unmap(f.ioas, 0, st.st_blksize - 1, &unmapped), 0);
	assert_int_equal(known(f.cache, &fd, 1), 0);
	close(fd);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_per_file),     cmocka_unit_test(test_growth_moves_nothing),
	    cmocka_unit_test(test_map_is_shared),    cmocka_unit_test(test_idle_limits),
	    cmocka_unit_test(test_slices_and_seams), cmocka_unit_test(test_no_descriptors),
	    cmocka_unit_test(test_hugetlb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
