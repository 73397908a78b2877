/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables: making, information, dirty bits, invalidation, page requests. */
#include "fd.h"

#define BASE  (1ull << 24)
#define MOCK  2048ull /* the mock unit's page */
#define DIRTY IOMMU_HWPT_ALLOC_DIRTY_TRACKING

static long hwpt(struct fake *k, uint32_t flags, uint32_t dev, uint32_t pt_id, uint32_t type, uint32_t len,
		 const void *data, uint32_t fault)
{
	return DO(FD, IOMMU_HWPT_ALLOC,
		  CMD(iommu_hwpt_alloc, .flags = flags, .dev_id = dev, .pt_id = pt_id, .data_type = type,
		      .data_len = len, .data_uptr = (uintptr_t)data, .fault_id = fault));
}

static void alloc(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k), parent, plain, data[3] = {0xbadbeef};
	struct mock m = fd_mock(k, ioas, 0), clean = fd_mock(k, ioas, MOCK_DEVICE_NO_DIRTY);

	parent = fd_hwpt(k, m.dev, ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	plain = fd_hwpt(k, m.dev, ioas, 0);
	assert_int_equal(hwpt(k, 0, 99, ioas, 0, 0, NULL, 0), -ENOENT);
	assert_int_equal(hwpt(k, 0, m.dev, 99, 0, 0, NULL, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, m.dev, 0, 0, NULL, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, ioas, 0, 4, data, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, ioas, MOCK_HWPT_DATA, 0, data, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, ioas, MOCK_HWPT_DATA, 4, data, 0), -EOPNOTSUPP);
	assert_int_equal(hwpt(k, DIRTY, clean.dev, ioas, 0, 0, NULL, 0), -EOPNOTSUPP);
	/* Below another. */
	assert_int_equal(hwpt(k, 0, m.dev, parent, 0, 0, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(hwpt(k, 0, m.dev, m.hwpt, MOCK_HWPT_DATA, 4, data, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, plain, MOCK_HWPT_DATA, 4, data, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, parent, 7, 4, data, 0), -EOPNOTSUPP);
	assert_int_equal(hwpt(k, DIRTY, m.dev, parent, MOCK_HWPT_DATA, 4, data, 0), -EOPNOTSUPP);
	assert_int_equal(hwpt(k, 0, m.dev, parent, MOCK_HWPT_DATA, 3, data, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, parent, MOCK_HWPT_DATA, 5, data, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, parent, MOCK_HWPT_DATA, UINT32_MAX, data, 0), -EINVAL);
	assert_int_equal(hwpt(k, 0, m.dev, parent, MOCK_HWPT_DATA, 4, k->hole, 0), -EFAULT);
	assert_int_equal(hwpt(k, IOMMU_HWPT_FAULT_ID_VALID, m.dev, parent, MOCK_HWPT_DATA, 4, data, ioas), -ENOENT);
	assert_int_equal(hwpt(k, 0, m.dev, parent, MOCK_HWPT_DATA, 4, data, 0), 0);
	/* A nested one is no parent. */
	assert_int_equal(hwpt(k, 0, m.dev, fd_nested(k, m.dev, parent, 0), MOCK_HWPT_DATA, 4, data, 0), -EINVAL);
	/* What failed is not there. */
	assert_int_equal(
	    DO(FD, IOMMU_HWPT_ALLOC, CMD(iommu_hwpt_alloc, .dev_id = m.dev, .pt_id = ioas, .__reserved = 1)),
	    -EOPNOTSUPP);
}

static void hw_info(void **state)
{
	struct fake *k = *state;
	struct mock m = fd_mock(k, fd_ioas(k), 0);
	struct {
		struct mock_hw_info i;
		uint8_t more[32];
	} buf;
	struct iommu_hw_info h = {
	    .size = sizeof(h), .dev_id = m.dev, .data_len = sizeof(buf), .data_uptr = (uintptr_t)&buf};

	memset(&buf, 0xff, sizeof(buf));
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), 0);
	assert_int_equal(h.data_len, sizeof(buf.i));
	assert_int_equal(h.out_data_type, MOCK_HW_INFO_TYPE);
	assert_int_equal(h.out_capabilities, IOMMU_HW_CAP_DIRTY_TRACKING);
	assert_int_equal(buf.i.test_reg, MOCK_HW_INFO_REGVAL);
	for (size_t i = 0; i < sizeof(buf.more); i++)
		assert_int_equal(buf.more[i], 0);
	/* As much as there is room for. */
	memset(&buf, 0xff, sizeof(buf));
	h.data_len = 4;
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), 0);
	assert_int_equal(h.data_len, sizeof(buf.i));
	assert_int_equal(buf.i.flags, 0);
	assert_int_equal(buf.i.test_reg, UINT32_MAX);
	h.data_uptr = (uintptr_t)k->hole;
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), -EFAULT);
	h.data_len = 0;
	h.__reserved[1] = 1;
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), -EOPNOTSUPP);
}

/* A type may be asked for; without the flag what stands there means nothing. */
static void hw_info_type(void **state)
{
	struct fake *k = *state;
	struct mock m = fd_mock(k, fd_ioas(k), 0);
	struct iommu_hw_info h = {.size = sizeof(h), .dev_id = m.dev, .out_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD};

	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), 0);
	h.data_len = 0;
	h.flags = IOMMU_HW_INFO_FLAG_INPUT_TYPE;
	h.out_data_type = IOMMU_HW_INFO_TYPE_INTEL_VTD;
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), -EOPNOTSUPP);
	h.out_data_type = MOCK_HW_INFO_TYPE;
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), 0);
	h.data_len = 0;
	h.out_data_type = IOMMU_HW_INFO_TYPE_NONE;
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &h), 0);
	assert_int_equal(h.out_data_type, MOCK_HW_INFO_TYPE);
}

/* ---- dirty tracking ---- */

static long set_dirty(struct fake *k, uint32_t id, uint32_t flags)
{
	return DO(FD, IOMMU_HWPT_SET_DIRTY_TRACKING, CMD(iommu_hwpt_set_dirty_tracking, .flags = flags, .hwpt_id = id));
}

static long get_dirty(struct fake *k, uint32_t id, uint32_t flags, uint64_t iova, uint64_t len, uint64_t page,
		      void *data)
{
	return DO(FD, IOMMU_HWPT_GET_DIRTY_BITMAP,
		  CMD(iommu_hwpt_get_dirty_bitmap, .hwpt_id = id, .flags = flags, .iova = iova, .length = len,
		      .page_size = page, .data = (uintptr_t)data));
}

static long mark_dirty(struct fake *k, uint32_t id, uint64_t iova, uint64_t len, const void *bits)
{
	return TEST(MOCK_OP_DIRTY, .id = id,
		    .dirty = {.iova = iova, .length = len, .page_size = MOCK, .uptr = (uintptr_t)bits});
}

static void dirty(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k), h, plain;
	struct mock m = fd_mock(k, ioas, 0);
	uint64_t bits[2] = {0x5}, got[2] = {0};
	const uint64_t len = 32 * PAGE;

	plain = fd_hwpt(k, m.dev, ioas, 0);
	h = fd_hwpt(k, m.dev, ioas, DIRTY);
	assert_int_equal(fd_map(k, ioas, k->mem, len, BASE), 0);
	assert_int_equal(set_dirty(k, plain, 1), -EOPNOTSUPP);
	assert_int_equal(set_dirty(k, plain, 0), -EOPNOTSUPP);
	assert_int_equal(get_dirty(k, plain, 0, BASE, len, MOCK, got), -EOPNOTSUPP);
	assert_int_equal(get_dirty(k, h, 0, BASE, len, MOCK, got), 0); /* it is off: nothing is told */
	assert_int_equal(set_dirty(k, h, 1), 0);
	assert_int_equal(set_dirty(k, h, 1), 0);
	assert_int_equal(get_dirty(k, h, 0, BASE + 1, len, MOCK, got), -EINVAL);
	assert_int_equal(get_dirty(k, h, 0, BASE, 0, MOCK, got), -EINVAL);
	assert_int_equal(get_dirty(k, h, 0, BASE, len, 0, got), -EINVAL);
	assert_int_equal(get_dirty(k, h, 0, BASE + PAGE, len, 2 * PAGE, got), -EINVAL);
	assert_int_equal(get_dirty(k, h, 0, UINT64_MAX - MOCK + 1, 2 * MOCK, MOCK, got), -EOVERFLOW);
	assert_int_equal(mark_dirty(k, h, BASE, len, bits), 0);
	/* Seen, kept, seen, cleared, gone; bits are only ever set. */
	assert_int_equal(get_dirty(k, h, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR, BASE, len, MOCK, got), 0);
	assert_int_equal(got[0], 5);
	got[0] = 1ull << 40;
	assert_int_equal(get_dirty(k, h, 0, BASE, len, MOCK, got), 0);
	assert_int_equal(got[0], 5 | 1ull << 40);
	got[0] = 0;
	assert_int_equal(get_dirty(k, h, 0, BASE, len, MOCK, got), 0);
	assert_int_equal(got[0], 0);
	/* Behind a hole nothing is looked at, and that is no error; nor is it one that tracking is off. */
	assert_int_equal(get_dirty(k, h, 0, BASE - PAGE, len, MOCK, got), 0);
	assert_int_equal(mark_dirty(k, h, BASE, len, bits), 0);
	assert_int_equal(set_dirty(k, h, 0), 0);
	assert_int_equal(get_dirty(k, h, 0, BASE, len, MOCK, got), 0);
	assert_int_equal(got[0], 0);
	assert_int_equal(mark_dirty(k, h, BASE, len, bits), -EINVAL);
}

/* ---- invalidation ---- */

static long invalidate(struct fake *k, uint32_t id, uint32_t type, const void *e, uint32_t len, uint32_t *n)
{
	struct iommu_hwpt_invalidate i = {.size = sizeof(i),
					  .hwpt_id = id,
					  .data_uptr = (uintptr_t)e,
					  .data_type = type,
					  .entry_len = len,
					  .entry_num = *n};
	long ret = DO(FD, IOMMU_HWPT_INVALIDATE, &i);

	*n = i.entry_num;
	return ret;
}

static long iotlb(struct fake *k, uint32_t id, uint32_t i, uint32_t word)
{
	return TEST(MOCK_OP_MD_CHECK_IOTLB, .id = id, .check_iotlb = {i, word});
}

static void invalidation(void **state)
{
	struct fake *k = *state;
	uint32_t ioas = fd_ioas(k), parent, n;
	struct mock m = fd_mock(k, ioas, 0);
	struct mock_invalidate e[3] = {{.iotlb_id = 1}, {.iotlb_id = 9}, {.iotlb_id = 2}};
	static const struct {
		uint32_t type;
		bool data;
		uint32_t len, num;
		long ret;
	} wrong[] = {
	    {MOCK_INVALIDATE_DATA, false, 8, 1, -EINVAL},
	    {MOCK_INVALIDATE_DATA, true, 0, 1, -EINVAL},
	    {MOCK_INVALIDATE_DATA, true, 7, 1, -EINVAL},
	    {MOCK_INVALIDATE_DATA, true, 9, 1, -EINVAL},
	    {MOCK_INVALIDATE_DATA, true, 8192, 1, -EINVAL},
	    {MOCK_INVALIDATE_DATA, true, 8, UINT32_MAX, -EINVAL},
	    {7, true, 8, 1, -EINVAL},
	    {7, false, 0, 0, -EINVAL},
	    {MOCK_INVALIDATE_DATA, false, 0, 0, 0},
	};
	uint32_t nested;

	parent = fd_hwpt(k, m.dev, ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	nested = fd_nested(k, m.dev, parent, 0);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		n = wrong[i].num;
		assert_int_equal(invalidate(k, nested, wrong[i].type, wrong[i].data ? e : NULL, wrong[i].len, &n),
				 wrong[i].ret);
		assert_int_equal(n, 0);
	}
	n = 1;
	assert_int_equal(invalidate(k, parent, MOCK_INVALIDATE_DATA, e, 8, &n), -ENOENT);
	assert_int_equal(n, 0);
	n = 1;
	assert_int_equal(invalidate(k, nested, MOCK_INVALIDATE_DATA, k->hole, 8, &n), -EFAULT);
	assert_int_equal(n, 0);
	n = 3;
	assert_int_equal(invalidate(k, nested, MOCK_INVALIDATE_DATA, e, 8, &n), -EINVAL);
	assert_int_equal(n, 1);
	assert_int_equal(iotlb(k, nested, 1, 0), 0);
	assert_int_equal(iotlb(k, nested, 2, 0xbadbeef), 0);
	e[0].flags = 4;
	n = 1;
	assert_int_equal(invalidate(k, nested, MOCK_INVALIDATE_DATA, e, 8, &n), -EOPNOTSUPP);
	e[0].flags = MOCK_INVALIDATE_ALL;
	n = 1;
	assert_int_equal(invalidate(k, nested, MOCK_INVALIDATE_DATA, e, 8, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(iotlb(k, nested, 2, 0), 0);
	assert_int_equal(iotlb(k, nested, 4, 0), -EINVAL);
	assert_int_equal(iotlb(k, parent, 0, 0), -ENOENT);
}

/* ---- page requests ---- */

struct faulting {
	struct mock m;
	uint32_t hwpt, ioas, queue_id;
	struct ufile *q;
};

static struct faulting faulting_new(struct fake *k)
{
	struct faulting f = {.ioas = fd_ioas(k)};
	struct iommu_fault_alloc fa = {.size = sizeof(fa)};
	struct mock_hwpt_data data = {0};
	struct iommu_hwpt_alloc h = {.size = sizeof(h),
				     .flags = IOMMU_HWPT_FAULT_ID_VALID,
				     .data_type = MOCK_HWPT_DATA,
				     .data_len = sizeof(data),
				     .data_uptr = (uintptr_t)&data};

	f.m = fd_mock(k, f.ioas, 0);
	assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fa), 0);
	f.q = fake_file(k, fa.out_fault_fd);
	f.queue_id = h.fault_id = fa.out_fault_id;
	h.dev_id = f.m.dev;
	h.pt_id = fd_hwpt(k, f.m.dev, f.ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, &h), 0);
	f.hwpt = h.out_hwpt_id;
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = f.m.stdev, .replace.pt_id = f.hwpt), 0);
	return f;
}

static void fault(struct fake *k, struct faulting *f, uint64_t addr)
{
	assert_int_equal(TEST(MOCK_OP_TRIGGER_IOPF, .iopf = {.dev_id = f->m.dev, .grpid = 2, .perm = 3, .addr = addr}),
			 0);
}

static void faults(void **state)
{
	struct fake *k = *state;
	struct faulting f = faulting_new(k);
	struct iommu_hwpt_page_response r = {.cookie = 1, .code = 7};
	struct iommu_hwpt_pgfault p;

	fault(k, &f, 0xdeadbeaf);
	assert_int_equal(fake_read(k, f.q, &p, sizeof(p)), sizeof(p));
	assert_int_equal(p.flags, IOMMU_PGFAULT_FLAGS_LAST_PAGE);
	assert_int_equal(p.dev_id, f.m.dev);
	assert_int_equal(p.grpid, 2);
	assert_int_equal(p.perm, 3);
	assert_int_equal(p.addr, 0xdeadbeaf);
	assert_int_equal(p.cookie, 1);
	/* One that is wrong answers nothing; the next has a cookie of its own. */
	fake_write(k, f.q, &r, sizeof(r));
	fault(k, &f, 1);
	assert_int_equal(fake_read(k, f.q, &p, sizeof(p)), sizeof(p));
	assert_int_equal(p.cookie, 2);
	r.code = IOMMUFD_PAGE_RESP_SUCCESS;
	fake_write(k, f.q, &r, 3);
	fake_write(k, f.q, (uint8_t *)&r + 3, sizeof(r) - 3);
	r.cookie = 2;
	fake_write(k, f.q, &r, sizeof(r));
	fault(k, &f, 2);
	assert_int_equal(fake_read(k, f.q, &p, sizeof(p)), sizeof(p));
	assert_int_equal(p.cookie, 1);
	assert_int_equal(TEST(MOCK_OP_TRIGGER_IOPF, .iopf.dev_id = f.ioas), -ENOENT);
}

/* Requests that do not fit wait; those of a device that is moved away are nobody's. */
static void faults_flushed(void **state)
{
	struct fake *k = *state;
	struct faulting f = faulting_new(k);
	struct iommu_hwpt_pgfault p;

	k->stream_room = sizeof(p) + 8;
	for (uint64_t i = 0; i < 4; i++)
		fault(k, &f, i);
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = f.m.stdev, .replace.pt_id = f.ioas), 0);
	fault(k, &f, 9);
	for (uint64_t i = 0; i < 2; i++) {
		assert_int_equal(fake_read(k, f.q, &p, sizeof(p)), sizeof(p));
		assert_int_equal(p.addr, i);
	}
	assert_int_equal(fake_read(k, f.q, &p, sizeof(p)), 0);
	fd_destroyed(k, f.hwpt);
	assert_int_equal(fd_destroy(k, f.queue_id), -EBUSY);
}

/* The queue's descriptor goes first. */
static void faults_unheard(void **state)
{
	struct fake *k = *state;
	struct faulting f = faulting_new(k);

	fault(k, &f, 1);
	fake_close(k, &f.q);
	fault(k, &f, 2);
	assert_int_equal(fd_destroy(k, f.queue_id), -EBUSY);
}

static void again(void **state)
{
	struct fake *k = *state;

	k->again = true;
	alloc(state);
	dirty(state);
	invalidation(state);
	hw_info(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(alloc),  T(hw_info),	  T(hw_info_type),   T(dirty), T(invalidation),
	    T(faults), T(faults_flushed), T(faults_unheard), T(again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
