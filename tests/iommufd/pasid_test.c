/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables for PASIDs. */
#include "fd.h"

struct tables {
	uint32_t ioas, plain, a, b; /* a and b: made for PASIDs */
	struct mock m;
};

static struct tables tables_new(struct fake *k)
{
	struct tables t = {.ioas = fd_ioas(k)};

	t.m = fd_mock(k, t.ioas, MOCK_DEVICE_PASID);
	t.plain = fd_hwpt(k, t.m.dev, t.ioas, 0);
	t.a = fd_hwpt(k, t.m.dev, t.ioas, IOMMU_HWPT_ALLOC_PASID);
	t.b = fd_hwpt(k, t.m.dev, t.ioas, IOMMU_HWPT_ALLOC_PASID);
	return t;
}

static long attach(struct fake *k, struct tables *t, uint32_t pasid, uint32_t pt_id)
{
	return TEST(MOCK_OP_PASID_ATTACH, .id = t->m.stdev, .pasid = {pasid, pt_id});
}

static long replace(struct fake *k, struct tables *t, uint32_t pasid, uint32_t pt_id)
{
	return TEST(MOCK_OP_PASID_REPLACE, .id = t->m.stdev, .pasid = {pasid, pt_id});
}

static long detach(struct fake *k, struct tables *t, uint32_t pasid)
{
	return TEST(MOCK_OP_PASID_DETACH, .id = t->m.stdev, .pasid = {pasid});
}

static void expect(struct fake *k, struct tables *t, uint32_t pasid, uint32_t hwpt)
{
	assert_int_equal(TEST(MOCK_OP_PASID_CHECK_HWPT, .id = t->m.stdev, .pasid = {pasid, hwpt}), 0);
	assert_int_equal(TEST(MOCK_OP_PASID_CHECK_HWPT, .id = t->m.stdev, .pasid = {pasid, hwpt ? 0 : t->plain}),
			 -EINVAL);
}

static void device_to(struct fake *k, struct tables *t, uint32_t pt_id)
{
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = t->m.stdev, .replace.pt_id = pt_id), 0);
}

static void attaching(void **state)
{
	struct fake *k = *state;
	struct tables t = tables_new(k);

	/* The device itself is attached to an automatic page table, which has no PASIDs beside it. */
	assert_int_equal(attach(k, &t, 100, t.a), -EINVAL);
	device_to(k, &t, t.b);
	assert_int_equal(attach(k, &t, 100, t.plain), -EINVAL);
	assert_int_equal(attach(k, &t, 100, t.ioas), -EINVAL);
	assert_int_equal(attach(k, &t, 100, t.m.dev), -EINVAL);
	assert_int_equal(attach(k, &t, 100, 999), -ENOENT);
	assert_int_equal(attach(k, &t, 1 << MOCK_PASID_WIDTH, t.a), -EINVAL);
	assert_int_equal(attach(k, &t, UINT32_MAX, t.a), -EINVAL);
	expect(k, &t, 100, 0);
	assert_int_equal(attach(k, &t, 100, t.a), 0);
	expect(k, &t, 100, t.a);
	assert_int_equal(attach(k, &t, 100, t.a), -EBUSY);
	assert_int_equal(attach(k, &t, 100, t.b), -EINVAL);
	assert_int_equal(attach(k, &t, (1 << MOCK_PASID_WIDTH) - 1, t.a), 0);
	assert_int_equal(fd_destroy(k, t.a), -EBUSY);
	/* While PASIDs are there the device stays among page tables that allow them. */
	assert_int_equal(TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = t.m.stdev, .replace.pt_id = t.plain), -EINVAL);
	device_to(k, &t, t.a);
	assert_int_equal(detach(k, &t, 100), 0);
	assert_int_equal(detach(k, &t, 100), 0);
	expect(k, &t, 100, 0);
	assert_int_equal(detach(k, &t, (1 << MOCK_PASID_WIDTH) - 1), 0);
	device_to(k, &t, t.plain);
	fd_destroyed(k, t.a);
}

static void replacing(void **state)
{
	struct fake *k = *state;
	struct tables t = tables_new(k);

	device_to(k, &t, t.a);
	assert_int_equal(replace(k, &t, 100, t.b), -EINVAL);
	assert_int_equal(attach(k, &t, 100, t.a), 0);
	assert_int_equal(replace(k, &t, 100, t.a), 0);
	assert_int_equal(replace(k, &t, 100, t.b), 0);
	expect(k, &t, 100, t.b);
	assert_int_equal(replace(k, &t, 100, t.plain), -EINVAL);
	expect(k, &t, 100, t.b);
	/* The unit refuses: nothing has changed. */
	assert_int_equal(attach(k, &t, MOCK_PASID_FAILING, t.a), 0);
	assert_int_equal(replace(k, &t, MOCK_PASID_FAILING, t.b), -ENOMEM);
	expect(k, &t, MOCK_PASID_FAILING, t.a);
	assert_int_equal(replace(k, &t, MOCK_PASID_FAILING, t.b), 0);
	expect(k, &t, MOCK_PASID_FAILING, t.b);
	/* PASIDs go with their device. */
	fd_destroyed(k, t.m.stdev);
	fd_destroyed(k, t.b);
}

/* PASID 0 is the device itself. */
static void no_pasid(void **state)
{
	struct fake *k = *state;
	struct tables t = tables_new(k);

	assert_int_equal(attach(k, &t, 0, t.m.hwpt), -EBUSY);
	assert_int_equal(attach(k, &t, 0, t.a), -EINVAL);
	assert_int_equal(replace(k, &t, 0, t.a), 0);
	expect(k, &t, 0, t.a);
	assert_int_equal(detach(k, &t, 0), 0);
	expect(k, &t, 0, 0);
	assert_int_equal(detach(k, &t, 0), 0);
	assert_int_equal(attach(k, &t, 100, t.a), 0);
	assert_int_equal(attach(k, &t, 0, t.plain), -EINVAL);
	assert_int_equal(attach(k, &t, 0, t.b), 0);
}

static void device_without(void **state)
{
	struct fake *k = *state;
	struct tables t = tables_new(k);
	struct tables w = t;

	w.m = fd_mock(k, t.ioas, 0);
	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC,
			    CMD(iommu_hwpt_alloc, .flags = IOMMU_HWPT_ALLOC_PASID, .dev_id = w.m.dev, .pt_id = t.ioas)),
			 -EOPNOTSUPP);
	device_to(k, &w, t.a);
	assert_int_equal(attach(k, &w, 100, t.a), -EINVAL);
	assert_int_equal(TEST(MOCK_OP_PASID_ATTACH, .id = t.m.dev, .pasid = {100, t.a}), -ENOENT);
}

static void hw_info(void **state)
{
	struct fake *k = *state;
	struct tables t = tables_new(k);
	struct iommu_hw_info i = {.size = sizeof(i), .dev_id = t.m.dev};

	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &i), 0);
	assert_int_equal(i.out_max_pasid_log2, MOCK_PASID_WIDTH);
	i.dev_id = fd_mock(k, t.ioas, 0).dev;
	i.data_len = 0; /* it said how long the information is */
	assert_int_equal(DO(FD, IOMMU_GET_HW_INFO, &i), 0);
	assert_int_equal(i.out_max_pasid_log2, 0);
}

/* A request of a PASID goes to what that is attached to, else to the nested page table of the device. */
static void faults(void **state)
{
	struct fake *k = *state;
	struct tables t = tables_new(k);
	struct iommu_fault_alloc fa = {.size = sizeof(fa)}, fb = fa;
	uint32_t parent = fd_hwpt(k, t.m.dev, t.ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	struct mock_hwpt_data data = {0};
	struct iommu_hwpt_alloc h = {.size = sizeof(h),
				     .flags = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID,
				     .dev_id = t.m.dev,
				     .pt_id = parent,
				     .data_type = MOCK_HWPT_DATA,
				     .data_len = sizeof(data),
				     .data_uptr = (uintptr_t)&data};
	struct iommu_hwpt_pgfault f;
	struct ufile *qa, *qb;
	uint32_t na, nb;

	assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fa), 0);
	assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fb), 0);
	qa = fake_file(k, fa.out_fault_fd);
	qb = fake_file(k, fb.out_fault_fd);
	h.fault_id = fa.out_fault_id;
	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, &h), 0);
	na = h.out_hwpt_id;
	h.fault_id = fb.out_fault_id;
	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, &h), 0);
	nb = h.out_hwpt_id;
	device_to(k, &t, na);
	assert_int_equal(attach(k, &t, 7, nb), 0);
	for (uint32_t pasid = 6; pasid <= 7; pasid++)
		assert_int_equal(TEST(MOCK_OP_TRIGGER_IOPF, .iopf = {.dev_id = t.m.dev, .pasid = pasid}), 0);
	assert_int_equal(fake_read(k, qa, &f, sizeof(f)), sizeof(f));
	assert_int_equal(f.pasid, 6);
	assert_int_equal(fake_read(k, qb, &f, sizeof(f)), sizeof(f));
	assert_int_equal(f.pasid, 7);
	assert_int_equal(f.flags, IOMMU_PGFAULT_FLAGS_LAST_PAGE | IOMMU_PGFAULT_FLAGS_PASID_VALID);
	assert_int_equal(fake_read(k, qa, &f, sizeof(f)), 0);
	/* What goes with a PASID takes none of the device's own requests along: their cookies are in use. */
	assert_int_equal(attach(k, &t, 8, na), 0);
	assert_int_equal(TEST(MOCK_OP_TRIGGER_IOPF, .iopf = {.dev_id = t.m.dev, .pasid = 8}), 0);
	assert_int_equal(detach(k, &t, 8), 0);
	assert_int_equal(TEST(MOCK_OP_TRIGGER_IOPF, .iopf = {.dev_id = t.m.dev}), 0);
	for (uint32_t cookie = 2; cookie <= 3; cookie++) {
		assert_int_equal(fake_read(k, qa, &f, sizeof(f)), sizeof(f));
		assert_int_equal(f.cookie, cookie);
	}
	assert_int_equal(detach(k, &t, 7), 0);
	fd_destroyed(k, nb);
	device_to(k, &t, t.ioas);
	assert_int_equal(TEST(MOCK_OP_TRIGGER_IOPF, .iopf = {.dev_id = t.m.dev, .pasid = 6}), 0);
	assert_int_equal(fake_read(k, qa, &f, sizeof(f)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(attaching), T(replacing), T(no_pasid), T(device_without), T(hw_info), T(faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
