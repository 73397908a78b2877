/* SPDX-License-Identifier: BSD-3-Clause */
/* dma-bufs of the test interface: what the tests of Linux 6.19 (dmabuf_simple, dmabuf_revoke) ask, and more. */
#include "fd.h"

#include <unistd.h>

#define BASE (1ull << 24)
#define SIZE (4 * PAGE)
#define RW   (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

static int get(struct fake *k, uint32_t len)
{
	long fd = TEST(MOCK_OP_DMABUF_GET, .dmabuf_get = {.length = len});

	assert_true(fd >= 0);
	return fd;
}

static long take_back(struct fake *k, int fd, uint32_t revoked)
{
	return TEST(MOCK_OP_DMABUF_REVOKE, .dmabuf_revoke = {fd, revoked});
}

static long map(struct fake *k, uint32_t ioas, int fd, uint64_t start, uint64_t len, uint64_t iova)
{
	return DO(FD, IOMMU_IOAS_MAP_FILE,
		  CMD(iommu_ioas_map_file, .flags = iova ? RW | IOMMU_IOAS_MAP_FIXED_IOVA : RW, .ioas_id = ioas,
		      .fd = fd, .start = start, .length = len, .iova = iova));
}

static void unmap(struct fake *k, uint32_t ioas, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_unmap u = {.size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = len};

	assert_int_equal(DO(FD, IOMMU_IOAS_UNMAP, &u), 0);
	assert_int_equal(u.length, len);
}

static void close_fd(struct fake *k, int fd)
{
	struct ufile *f = fake_file(k, fd);

	fake_close(k, &f);
}

static void sizes(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	int fd;

	fd_mock(k, ioas, 0);
	assert_int_equal(TEST(MOCK_OP_DMABUF_GET, .dmabuf_get = {.length = 0}), -EINVAL);
	assert_int_equal(TEST(MOCK_OP_DMABUF_GET, .dmabuf_get = {.length = 512 * PAGE + 1}), -EINVAL);
	fd = get(k, SIZE - 5);
	assert_int_equal(map(k, ioas, fd, 0, 0, 0), -EINVAL);
	assert_int_equal(map(k, ioas, fd, SIZE, SIZE, 0), -EINVAL);
	assert_int_equal(map(k, ioas, fd, 0, SIZE + 1, 0), -EINVAL);
	assert_int_equal(map(k, ioas, fd, UINT64_MAX - 100, PAGE, 0), -EOVERFLOW);
	assert_int_equal(map(k, ioas, fd, 0, SIZE, 0), 0);
	/* Half a page of it, as the mock's pages are. */
	assert_int_equal(map(k, ioas, fd, PAGE / 2, PAGE / 2, 2 * BASE), 0);
	close_fd(k, fd);
	unmap(k, ioas, 2 * BASE, PAGE / 2);
	assert_int_equal(mm_charged(k->owner), 0);
}

/* With page tables of the mock's and without: revoked before the first, or under them. */
static void revoking(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct mock m;
	int fd = get(k, SIZE);

	assert_int_equal(map(k, ioas, fd, 0, SIZE, BASE), 0);
	assert_int_equal(take_back(k, fd, 1), 0);
	m = fd_mock(k, ioas, 0);
	fd_hwpt(k, m.dev, ioas, 0);
	assert_int_equal(map(k, ioas, fd, 0, SIZE, BASE + SIZE), -ENODEV);
	assert_int_equal(take_back(k, fd, 0), 0);
	assert_int_equal(map(k, ioas, fd, 0, SIZE, BASE + SIZE), 0);
	unmap(k, ioas, BASE, SIZE);
	assert_int_equal(map(k, ioas, fd, 0, SIZE, BASE), 0);
	assert_int_equal(take_back(k, fd, 1), 0);
	assert_int_equal(take_back(k, fd, 1), 0);
	unmap(k, ioas, BASE, SIZE);
	unmap(k, ioas, BASE + SIZE, SIZE);
	close_fd(k, fd);
}

static void others(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	int fd = get(k, SIZE);

	assert_int_equal(take_back(k, -1, 1), -EBADF);
	assert_int_equal(take_back(k, k->memfd, 1), -EINVAL);
	assert_int_equal(take_back(k, fake_fd_of(k, FD), 1), -EINVAL);
	/* No process can be given what is no file's (rule D2). */
	assert_int_equal(map(k, ioas, fd, 0, SIZE, BASE), 0);
	assert_int_equal(DO(FD, IOMMU_IOAS_CHANGE_PROCESS, CMD(iommu_ioas_change_process)), -EINVAL);
	unmap(k, ioas, BASE, SIZE);
	close_fd(k, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(sizes), T(revoking), T(others)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
