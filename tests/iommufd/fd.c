/* SPDX-License-Identifier: BSD-3-Clause */
#include "fd.h"

int fd_setup(void **state)
{
	struct fake *k = fake_client_new();
	struct ufile *f;

	k->capable = true;
	k->iommufd = iommufd_new(&k->evs, k->cache, true);
	assert_non_null(k->iommufd);
	assert_int_equal(iommufd_open(k->iommufd, &f), 0);
	fake_keep(k, f);
	*state = k;
	return 0;
}

int fd_teardown(void **state)
{
	struct fake *k = *state;

	for (int i = CLIENT_FDS - 1; i >= 0; i--)
		if (k->file[i])
			fake_close(k, &(struct ufile *){k->file[i]});
	fake_client_check(k);
	iommufd_free(k->iommufd);
	fake_client_free(k);
	return 0;
}

uint32_t fd_ioas(struct fake *k)
{
	struct iommu_ioas_alloc a = {.size = sizeof(a)};

	assert_int_equal(DO(FD, IOMMU_IOAS_ALLOC, &a), 0);
	return a.out_ioas_id;
}

struct mock fd_mock(struct fake *k, uint32_t pt_id, uint32_t flags)
{
	struct mock_cmd c = {
	    .size = sizeof(c), .op = MOCK_OP_MOCK_DOMAIN_FLAGS, .id = pt_id, .domain.dev_flags = flags};

	assert_int_equal(DO(FD, IOMMUFD_NR(IOMMUFD_CMD_TEST), &c), 0);
	return (struct mock){c.domain.out_stdev_id, c.domain.out_hwpt_id, c.domain.out_idev_id};
}

uint32_t fd_hwpt(struct fake *k, uint32_t dev, uint32_t pt_id, uint32_t flags)
{
	struct iommu_hwpt_alloc a = {.size = sizeof(a), .flags = flags, .dev_id = dev, .pt_id = pt_id};

	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, &a), 0);
	return a.out_hwpt_id;
}

uint32_t fd_nested(struct fake *k, uint32_t dev, uint32_t pt_id, uint32_t flags)
{
	struct mock_hwpt_data data = {.iotlb = 0xbadbeef};
	struct iommu_hwpt_alloc a = {.size = sizeof(a),
				     .flags = flags,
				     .dev_id = dev,
				     .pt_id = pt_id,
				     .data_type = MOCK_HWPT_DATA,
				     .data_len = sizeof(data),
				     .data_uptr = (uintptr_t)&data};

	assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, &a), 0);
	return a.out_hwpt_id;
}

long fd_destroy(struct fake *k, uint32_t id)
{
	return DO(FD, IOMMU_DESTROY, CMD(iommu_destroy, .id = id));
}

void fd_destroyed(struct fake *k, uint32_t id)
{
	assert_int_equal(fd_destroy(k, id), 0);
}

long fd_map(struct fake *k, uint32_t ioas, const void *va, uint64_t len, uint64_t iova)
{
	return DO(FD, IOMMU_IOAS_MAP,
		  CMD(iommu_ioas_map,
		      .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE,
		      .ioas_id = ioas, .user_va = (uintptr_t)va, .length = len, .iova = iova));
}
