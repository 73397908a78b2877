/* SPDX-License-Identifier: BSD-3-Clause */
/* IOAS ioctls: what each refuses, and what it leaves. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fd.h"

#define RW   (IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)
#define BASE (1ull << 24) /* where the mock unit's aperture starts */

static long map(struct fake *k, uint32_t ioas, uint32_t flags, uint64_t va, uint64_t len, uint64_t iova)
{
	return DO(FD, IOMMU_IOAS_MAP,
		  CMD(iommu_ioas_map, .flags = flags, .ioas_id = ioas, .user_va = va, .length = len, .iova = iova));
}

static long unmap(struct fake *k, uint32_t ioas, uint64_t iova, uint64_t *len)
{
	struct iommu_ioas_unmap u = {.size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = *len};
	long ret = DO(FD, IOMMU_IOAS_UNMAP, &u);

	*len = u.length;
	return ret;
}

static void expect_unmap(struct fake *k, uint32_t ioas, uint64_t iova, uint64_t len, long ret)
{
	uint64_t was = len;

	assert_int_equal(unmap(k, ioas, iova, &len), ret);
	assert_int_equal(len, was);
}

static void map_errors(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k), fixed = IOMMU_IOAS_MAP_FIXED_IOVA | RW;
	uint64_t va = (uintptr_t)k->mem, len = 2 * PAGE;

	assert_int_equal(map(k, ioas, IOMMU_IOAS_MAP_FIXED_IOVA, va, PAGE, BASE), -EINVAL);
	assert_int_equal(map(k, ioas, fixed, va, 0, BASE), -EINVAL);
	assert_int_equal(map(k, ioas, fixed, va, UINT64_MAX, BASE), -EOVERFLOW);
	assert_int_equal(map(k, ioas, fixed, va, PAGE, UINT64_MAX), -EOVERFLOW);
	assert_int_equal(map(k, ioas, fixed, UINT64_MAX - 1, PAGE, BASE), -EOVERFLOW);
	assert_int_equal(map(k, ioas, fixed, va, PAGE, UINT64_MAX - PAGE + 2), -EOVERFLOW);
	assert_int_equal(map(k, 99, fixed, va, PAGE, BASE), -ENOENT);
	assert_int_equal(DO(FD, IOMMU_IOAS_MAP, CMD(iommu_ioas_map, .flags = fixed, .ioas_id = ioas, .__reserved = 1)),
			 -EOPNOTSUPP);
	assert_int_equal(map(k, ioas, fixed, va, PAGE, BASE), 0);
	assert_int_equal(map(k, ioas, fixed, va, 1, BASE + PAGE - 1), -EEXIST);
	/* Without a page table a byte is a mapping, and a hole is not noticed. */
	assert_int_equal(map(k, ioas, fixed, va + 1, 1, BASE + PAGE), 0);
	assert_int_equal(map(k, ioas, fixed, (uintptr_t)k->hole, PAGE, BASE + 2 * PAGE), 0);
	assert_int_equal(mm_charged(k->owner), 0);
	assert_int_equal(unmap(k, ioas, BASE, &len), 0);
	assert_int_equal(len, PAGE + 1);
}

static void map_attached(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k), fixed = IOMMU_IOAS_MAP_FIXED_IOVA | RW;
	uint64_t va = (uintptr_t)k->mem, ro = va + MEM_BYTES - PAGE;

	fd_mock(k, ioas, 0);
	assert_int_equal(map(k, ioas, fixed, va, PAGE, BASE - PAGE), -EINVAL); /* outside the aperture */
	assert_int_equal(map(k, ioas, fixed, va, PAGE, BASE + 1024), -EINVAL);
	assert_int_equal(map(k, ioas, fixed, va + 1024, PAGE, BASE), -EINVAL);
	assert_int_equal(map(k, ioas, fixed, va, 1024, BASE), -EINVAL);
	assert_int_equal(map(k, ioas, fixed, (uintptr_t)k->hole, PAGE, BASE), -EFAULT);
	assert_int_equal(map(k, ioas, fixed, ro, PAGE, BASE), -EFAULT);
	assert_int_equal(map(k, ioas, IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE, ro, PAGE, BASE), 0);
	k->limit = 3 * PAGE;
	assert_int_equal(map(k, ioas, fixed, va, 3 * PAGE, BASE + PAGE), -ENOMEM);
	assert_int_equal(mm_charged(k->owner), 1);
	assert_int_equal(map(k, ioas, fixed, va, 2 * PAGE, BASE + PAGE), 0);
	assert_int_equal(mm_charged(k->owner), 3);
	expect_unmap(k, ioas, BASE, 3 * PAGE, 0);
	assert_int_equal(mm_charged(k->owner), 0);
}

/* What was promised without a page table is looked at when there is one; then all or nothing. */
static void attach_finds_hole(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);

	assert_int_equal(fd_map(k, ioas, k->mem, PAGE, BASE), 0);
	assert_int_equal(fd_map(k, ioas, k->hole, PAGE, BASE + PAGE), 0);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN, .id = ioas), -EFAULT);
	assert_int_equal(mm_charged(k->owner), 0);
	expect_unmap(k, ioas, BASE + PAGE, PAGE, 0);
	fd_mock(k, ioas, 0);
	assert_int_equal(mm_charged(k->owner), 1);
}

static void map_auto(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct iommu_iova_range r = {BASE, BASE + 2 * PAGE - 1};
	struct iommu_ioas_map m = {
	    .size = sizeof(m), .flags = RW, .ioas_id = ioas, .user_va = (uintptr_t)k->mem + 5, .length = 10};

	assert_int_equal(DO(FD, IOMMU_IOAS_MAP, &m), 0);
	assert_int_not_equal(m.iova, 0);
	assert_int_equal(m.iova % PAGE, 5);
	assert_int_equal(
	    DO(FD, IOMMU_IOAS_ALLOW_IOVAS,
	       CMD(iommu_ioas_allow_iovas, .ioas_id = ioas, .num_iovas = 1, .allowed_iovas = (uintptr_t)&r)),
	    0);
	m.user_va = (uintptr_t)k->mem;
	m.length = 2 * PAGE;
	assert_int_equal(DO(FD, IOMMU_IOAS_MAP, &m), 0);
	assert_int_equal(m.iova, BASE);
	m.iova = 77;
	assert_int_equal(DO(FD, IOMMU_IOAS_MAP, &m), -ENOSPC);
	assert_int_equal(m.iova, 77);
}

static void unmapping(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	uint64_t len;

	/* All of nothing is fine; some of it is not. */
	len = UINT64_MAX;
	assert_int_equal(unmap(k, ioas, 0, &len), 0);
	assert_int_equal(len, 0);
	expect_unmap(k, ioas, 0, PAGE, -ENOENT);
	expect_unmap(k, ioas, 0, 0, -EINVAL);
	expect_unmap(k, ioas, 1, UINT64_MAX, -EOVERFLOW);
	expect_unmap(k, ioas, UINT64_MAX, 1, -EOVERFLOW);
	expect_unmap(k, ioas, UINT64_MAX - 5, 100, -EOVERFLOW);
	for (int i = 0; i < 3; i++)
		assert_int_equal(fd_map(k, ioas, k->mem, 2 * PAGE, BASE + i * 2 * PAGE), 0);
	/* One is cut by the end: those below have gone. */
	expect_unmap(k, ioas, BASE, 3 * PAGE, -ENOENT);
	expect_unmap(k, ioas, BASE, 2 * PAGE, -ENOENT);
	expect_unmap(k, ioas, BASE + 3 * PAGE, 3 * PAGE, -ENOENT);
	len = UINT64_MAX;
	assert_int_equal(unmap(k, ioas, 0, &len), 0);
	assert_int_equal(len, 4 * PAGE);
}

static long copy(struct fake *k, uint32_t dst, uint32_t src, uint32_t flags, uint64_t to, uint64_t from, uint64_t len)
{
	return DO(FD, IOMMU_IOAS_COPY,
		  CMD(iommu_ioas_copy, .flags = flags, .dst_ioas_id = dst, .src_ioas_id = src, .length = len,
		      .dst_iova = to, .src_iova = from));
}

static void copying(void **state)
{
	struct fake *k = *state;
	uint32_t src = fd_ioas(k), dst = fd_ioas(k), fixed = IOMMU_IOAS_MAP_FIXED_IOVA | RW;

	fd_mock(k, dst, 0);
	assert_int_equal(fd_map(k, src, k->mem, 2 * PAGE, BASE), 0);
	assert_int_equal(
	    map(k, src, IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE, (uintptr_t)k->mem, PAGE, BASE + 2 * PAGE),
	    0);
	assert_int_equal(copy(k, dst, src, IOMMU_IOAS_MAP_FIXED_IOVA, BASE, BASE, PAGE), -EINVAL);
	assert_int_equal(copy(k, dst, src, fixed, BASE, BASE, 0), -EINVAL);
	assert_int_equal(copy(k, dst, src, fixed, BASE, BASE, UINT64_MAX), -EOVERFLOW);
	assert_int_equal(copy(k, dst, src, fixed, UINT64_MAX, BASE, PAGE), -EOVERFLOW);
	assert_int_equal(copy(k, dst, src, fixed, BASE, UINT64_MAX, PAGE), -EOVERFLOW);
	assert_int_equal(copy(k, dst, src, fixed, BASE, BASE, 4 * PAGE), -ENOENT);
	assert_int_equal(copy(k, dst, src, fixed, BASE, BASE - 1, PAGE), -ENOENT);
	assert_int_equal(copy(k, dst, 99, fixed, BASE, BASE, PAGE), -ENOENT);
	assert_int_equal(copy(k, 99, src, fixed, BASE, BASE, PAGE), -ENOENT);
	assert_int_equal(copy(k, dst, src, fixed, BASE, BASE + 2 * PAGE, PAGE), -EPERM);
	assert_int_equal(copy(k, dst, src, fixed, BASE + 1, BASE, PAGE), -EINVAL);
	assert_int_equal(copy(k, dst, src, fixed, BASE, BASE, 2 * PAGE), 0);
	assert_int_equal(copy(k, dst, src, fixed, BASE + PAGE, BASE, PAGE), -EEXIST);
	assert_int_equal(copy(k, dst, src, fixed, BASE + 2 * PAGE, BASE, PAGE), 0);
	/* Pages are pinned once, and stay without what they were copied from. */
	assert_int_equal(mm_charged(k->owner), 2);
	expect_unmap(k, src, BASE, 2 * PAGE, 0);
	assert_int_equal(mm_charged(k->owner), 2);
	expect_unmap(k, dst, BASE, 3 * PAGE, 0);
	assert_int_equal(mm_charged(k->owner), 0);
}

static long allow(struct fake *k, uint32_t ioas, const struct iommu_iova_range *r, uint32_t n)
{
	return DO(FD, IOMMU_IOAS_ALLOW_IOVAS,
		  CMD(iommu_ioas_allow_iovas, .ioas_id = ioas, .num_iovas = n, .allowed_iovas = (uintptr_t)r));
}

static void ranges(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct iommu_iova_range r[3] = {{0}};
	struct iommu_ioas_iova_ranges q = {
	    .size = sizeof(q), .ioas_id = ioas, .num_iovas = 3, .allowed_iovas = (uintptr_t)r};

	assert_int_equal(DO(FD, IOMMU_IOAS_IOVA_RANGES, &q), 0);
	assert_int_equal(q.num_iovas, 1);
	assert_int_equal(q.out_iova_alignment, 1);
	assert_int_equal(r[0].start, 0);
	assert_int_equal(r[0].last, UINT64_MAX);
	assert_int_equal(TEST(MOCK_OP_ADD_RESERVED, .id = ioas, .add_reserved = {PAGE, PAGE}), 0);
	/* Too little room: as much as there is, and how much it takes. */
	q.num_iovas = 1;
	assert_int_equal(DO(FD, IOMMU_IOAS_IOVA_RANGES, &q), -EMSGSIZE);
	assert_int_equal(q.num_iovas, 2);
	assert_int_equal(r[0].last, PAGE - 1);
	assert_int_equal(r[1].start, 0);
	assert_int_equal(DO(FD, IOMMU_IOAS_IOVA_RANGES, &q), 0);
	assert_int_equal(r[1].start, 2 * PAGE);
	q.allowed_iovas = (uintptr_t)k->hole;
	assert_int_equal(DO(FD, IOMMU_IOAS_IOVA_RANGES, &q), -EFAULT);
	assert_int_equal(fd_map(k, ioas, k->mem, PAGE, PAGE), -EINVAL);
	fd_mock(k, ioas, 0);
	q.num_iovas = 3;
	q.allowed_iovas = (uintptr_t)r;
	assert_int_equal(DO(FD, IOMMU_IOAS_IOVA_RANGES, &q), 0);
	assert_int_equal(q.out_iova_alignment, 2048);
	assert_int_equal(r[0].start, MOCK_APERTURE_FIRST);
	assert_int_equal(r[0].last, MOCK_APERTURE_LAST);
}

static void allowing(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct iommu_iova_range good[] = {{0, PAGE - 1}, {BASE, BASE + PAGE - 1}}, point = {5, 5},
				overlap[] = {{0, PAGE}, {PAGE, 2 * PAGE}}, reserved = {PAGE, 3 * PAGE};

	assert_int_equal(TEST(MOCK_OP_ADD_RESERVED, .id = ioas, .add_reserved = {2 * PAGE, PAGE}), 0);
	assert_int_equal(allow(k, ioas, good, 2), 0);
	assert_int_equal(allow(k, ioas, &point, 1), -EINVAL);
	assert_int_equal(allow(k, ioas, overlap, 2), -EINVAL);
	assert_int_equal(allow(k, ioas, &reserved, 1), -EADDRINUSE);
	assert_int_equal(allow(k, ioas, (void *)k->hole, 1), -EFAULT);
	assert_int_equal(allow(k, 99, good, 2), -ENOENT);
	/* None of those has changed anything: the first good one is outside the aperture. */
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN, .id = ioas), -EADDRINUSE);
	assert_int_equal(allow(k, ioas, NULL, 0), 0);
	fd_mock(k, ioas, 0);
}

static void attach_misaligned(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);

	assert_int_equal(fd_map(k, ioas, k->mem, 1024, BASE), 0);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN, .id = ioas), -EADDRINUSE);
	expect_unmap(k, ioas, BASE, 1024, 0);
	assert_int_equal(fd_map(k, ioas, k->mem, PAGE, BASE - PAGE), 0);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN, .id = ioas), -EADDRINUSE);
}

static void huge_pages(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct iommu_option o = {
	    .size = sizeof(o), .option_id = IOMMU_OPTION_HUGE_PAGES, .op = IOMMU_OPTION_OP_SET, .object_id = ioas};

	assert_int_equal(fd_map(k, ioas, k->mem, 2048, BASE), 0);
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -EADDRINUSE);
	fd_mock(k, ioas, 0);
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -EINVAL);
	o.val64 = 2;
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -EINVAL);
	o.op = 7;
	assert_int_equal(DO(FD, IOMMU_OPTION, &o), -EOPNOTSUPP);
}

static long vfio_ioas(struct fake *k, uint16_t op, uint32_t *id)
{
	struct iommu_vfio_ioas v = {.size = sizeof(v), .op = op, .ioas_id = *id};
	long ret = DO(FD, IOMMU_VFIO_IOAS, &v);

	*id = v.ioas_id;
	return ret;
}

static void compat_ioas(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k), id = 99;

	assert_int_equal(vfio_ioas(k, IOMMU_VFIO_IOAS_GET, &id), -ENODEV);
	assert_int_equal(vfio_ioas(k, IOMMU_VFIO_IOAS_SET, &id), -ENOENT);
	assert_int_equal(vfio_ioas(k, 3, &id), -EOPNOTSUPP);
	id = ioas;
	assert_int_equal(vfio_ioas(k, IOMMU_VFIO_IOAS_SET, &id), 0);
	id = 0;
	assert_int_equal(vfio_ioas(k, IOMMU_VFIO_IOAS_GET, &id), 0);
	assert_int_equal(id, ioas);
	/* A destroyed one is none. */
	fd_destroyed(k, ioas);
	assert_int_equal(vfio_ioas(k, IOMMU_VFIO_IOAS_GET, &id), -ENODEV);
	assert_int_equal(vfio_ioas(k, IOMMU_VFIO_IOAS_CLEAR, &id), 0);
}

/* ---- files ---- */

static long map_file(struct fake *k, uint32_t ioas, int fd, uint64_t start, uint64_t len, uint64_t iova)
{
	return DO(FD, IOMMU_IOAS_MAP_FILE,
		  CMD(iommu_ioas_map_file, .flags = IOMMU_IOAS_MAP_FIXED_IOVA | RW, .ioas_id = ioas, .fd = fd,
		      .start = start, .length = len, .iova = iova));
}

static void files(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k);
	struct mock m;
	int null = open("/dev/null", O_RDWR);

	m = fd_mock(k, ioas, 0);
	assert_int_equal(map_file(k, ioas, 9999, 0, PAGE, BASE), -EBADF);
	assert_int_equal(map_file(k, ioas, null, 0, PAGE, BASE), -EINVAL);
	close(null);
	assert_int_equal(map_file(k, ioas, k->memfd, 0, 0, BASE), -EINVAL);
	assert_int_equal(map_file(k, ioas, k->memfd, UINT64_MAX - 100, PAGE, BASE), -EOVERFLOW);
	assert_int_equal(map_file(k, ioas, k->memfd, MEM_FILE_OFF + MEM_BYTES, PAGE, BASE), -EINVAL);
	assert_int_equal(map_file(k, ioas, k->memfd, MEM_FILE_OFF, 2 * PAGE, BASE), 0);
	/* It is the client's memory, by another way. */
	assert_int_equal(TEST(MOCK_OP_MD_CHECK_MAP, .id = m.hwpt, .check_map = {BASE, 2 * PAGE, (uintptr_t)k->mem}), 0);
	assert_int_equal(mm_charged(k->owner), 2);
	expect_unmap(k, ioas, BASE, 2 * PAGE, 0);
}

static uint64_t other_limit(void *ctx)
{
	return *(uint64_t *)ctx;
}

static void change_process(void **state)
{
	struct fake *k = *state;
	static const struct mm_owner_ops ops = {.limit = other_limit};
	uint32_t ioas = fd_ioas(k), ioas2 = fd_ioas(k);
	uint64_t limit = PAGE;
	struct mm_owner *other = mm_owner_new(&ops, &limit, NULL, 4711, &k->evs);

	fd_mock(k, ioas, 0);
	assert_int_equal(map_file(k, ioas, k->memfd, MEM_FILE_OFF, 2 * PAGE, BASE), 0);
	assert_int_equal(copy(k, ioas, ioas, IOMMU_IOAS_MAP_FIXED_IOVA | RW, BASE + 2 * PAGE, BASE, PAGE), 0);
	assert_int_equal(mm_charged(k->owner), 2);
	/* A mapping that is no file's, even in a space without a page table: nothing moves. */
	assert_int_equal(fd_map(k, ioas2, k->mem, PAGE, BASE), 0);
	k->c.owner = other;
	assert_int_equal(DO(FD, IOMMU_IOAS_CHANGE_PROCESS, CMD(iommu_ioas_change_process)), -EINVAL);
	expect_unmap(k, ioas2, BASE, PAGE, 0);
	/* Nor where the new one may not pin as much. */
	assert_int_equal(DO(FD, IOMMU_IOAS_CHANGE_PROCESS, CMD(iommu_ioas_change_process)), -ENOMEM);
	assert_int_equal(mm_charged(k->owner), 2);
	assert_int_equal(mm_charged(other), 0);
	limit = 2 * PAGE;
	assert_int_equal(DO(FD, IOMMU_IOAS_CHANGE_PROCESS, CMD(iommu_ioas_change_process)), 0);
	assert_int_equal(mm_charged(k->owner), 0);
	assert_int_equal(mm_charged(other), 2);
	expect_unmap(k, ioas, BASE, 3 * PAGE, 0);
	assert_int_equal(mm_charged(other), 0);
	k->c.owner = k->owner;
	mm_owner_put(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(map_errors),  T(map_attached), T(attach_finds_hole), T(map_auto),		 T(unmapping),
	    T(copying),	    T(ranges),	     T(allowing),	   T(attach_misaligned), T(huge_pages),
	    T(compat_ioas), T(files),	     T(change_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
