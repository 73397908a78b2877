/* SPDX-License-Identifier: BSD-3-Clause */
/* Each allocation of a long session fails in turn: the call says so or does without, and at the end nothing is left. */
#include <stdlib.h>

#include "fd.h"

#define BASE (1ull << 24)

static unsigned long seen, fail_at;

static bool fails(void)
{
	return fake_inside && ++seen == fail_at;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

/* Everything that can be made, each from what was made before, or from nothing if that failed. */
static long session(struct fake *k)
{
	struct mock_viommu_data vdata = {.in_data = 1};
	struct mock_hwpt_data hdata = {0};
	struct iommu_ioas_alloc ia = {.size = sizeof(ia)};
	struct iommu_fault_alloc fa = {.size = sizeof(fa)};
	struct mock_cmd mc = {
	    .size = sizeof(mc), .op = MOCK_OP_MOCK_DOMAIN_FLAGS, .domain.dev_flags = MOCK_DEVICE_PASID};
	struct iommu_hwpt_alloc ha = {.size = sizeof(ha)};
	struct iommu_viommu_alloc va = {
	    .size = sizeof(va), .type = MOCK_VIOMMU_TYPE, .data_len = sizeof(vdata), .data_uptr = (uintptr_t)&vdata};
	struct iommu_vdevice_alloc da = {.size = sizeof(da), .virt_id = 9};
	struct iommu_veventq_alloc ea = {.size = sizeof(ea), .type = MOCK_VEVENTQ_TYPE, .veventq_depth = 2};
	struct iommu_hw_queue_alloc qa = {
	    .size = sizeof(qa), .type = MOCK_HW_QUEUE_TYPE, .nesting_parent_iova = BASE, .length = PAGE};
	struct mock_invalidate inv = {0};
	struct iommu_hwpt_invalidate hi = {.size = sizeof(hi),
					   .data_uptr = (uintptr_t)&inv,
					   .data_type = MOCK_INVALIDATE_DATA,
					   .entry_len = sizeof(inv),
					   .entry_num = 1};
	long errors = 0;

	errors += DO(FD, IOMMU_IOAS_ALLOC, &ia) != 0;
	errors += fd_map(k, ia.out_ioas_id, k->mem, 4 * PAGE, BASE) != 0;
	mc.id = ia.out_ioas_id;
	errors += DO(FD, IOMMUFD_NR(IOMMUFD_CMD_TEST), &mc) != 0;
	ha.dev_id = va.dev_id = da.dev_id = mc.domain.out_idev_id;
	ha.pt_id = ia.out_ioas_id;
	ha.flags = IOMMU_HWPT_ALLOC_NEST_PARENT;
	errors += DO(FD, IOMMU_HWPT_ALLOC, &ha) != 0;
	va.hwpt_id = ha.out_hwpt_id;
	errors += DO(FD, IOMMU_VIOMMU_ALLOC, &va) != 0;
	da.viommu_id = ea.viommu_id = qa.viommu_id = va.out_viommu_id;
	errors += DO(FD, IOMMU_VDEVICE_ALLOC, &da) != 0;
	errors += DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &fa) != 0;
	ha = (struct iommu_hwpt_alloc){.size = sizeof(ha),
				       .flags = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID,
				       .dev_id = mc.domain.out_idev_id,
				       .pt_id = va.out_viommu_id,
				       .data_type = MOCK_HWPT_DATA,
				       .data_len = sizeof(hdata),
				       .data_uptr = (uintptr_t)&hdata,
				       .fault_id = fa.out_fault_id};
	errors += DO(FD, IOMMU_HWPT_ALLOC, &ha) != 0;
	hi.hwpt_id = ha.out_hwpt_id;
	errors += DO(FD, IOMMU_HWPT_INVALIDATE, &hi) != 0;
	errors += TEST(MOCK_OP_MOCK_DOMAIN_REPLACE, .id = mc.domain.out_stdev_id, .replace.pt_id = ha.out_hwpt_id) != 0;
	errors += TEST(MOCK_OP_PASID_ATTACH, .id = mc.domain.out_stdev_id, .pasid = {5, ha.out_hwpt_id}) != 0;
	errors += DO(FD, IOMMU_VEVENTQ_ALLOC, &ea) != 0;
	errors += DO(FD, IOMMU_HW_QUEUE_ALLOC, &qa) != 0;
	for (int i = 0; i < 3; i++) {
		errors += TEST(MOCK_OP_TRIGGER_VEVENT, .vevent.dev_id = mc.domain.out_idev_id) != 0;
		/* A request that there is no memory for is answered by the unit. */
		TEST(MOCK_OP_TRIGGER_IOPF, .iopf.dev_id = mc.domain.out_idev_id);
	}
	return errors;
}

static void each_fails(void **state)
{
	struct fake *k = *state;
	unsigned long injected = 0;

	for (fail_at = 1;; fail_at++) {
		struct ufile *f;
		long errors;

		seen = 0;
		errors = session(k);
		if (seen < fail_at) {
			assert_int_equal(errors, 0);
			break;
		}
		injected++;
		fake_inside = false;
		for (int i = CLIENT_FDS - 1; i >= 0; i--)
			if (k->file[i])
				fake_close(k, &(struct ufile *){k->file[i]});
		fake_client_check(k);
		assert_int_equal(iommufd_open(k->iommufd, &f), 0);
		fake_keep(k, f);
	}
	fail_at = 0;
	assert_true(injected > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(each_fails)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
