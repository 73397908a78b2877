/* SPDX-License-Identifier: BSD-3-Clause */
/* The units that stand before PCI functions: what VT-d and SMMUv3 say of themselves and of a guest's first stage. */
#include "fd.h"

#include "iommu/iommu.h"

struct bound {
	struct dma_dev *dma;
	struct iommufd_device *dev;
	uint32_t id, ioas, parent;
};

static struct bound bound_new(struct fake *k, const char *unit)
{
	struct bound b = {.dma = dma_dev_new(0x100, &k->evs)};

	assert_non_null(iommufd_unit_find(unit));
	assert_int_equal(iommufd_device_bind(iommufd_ctx(FD), b.dma, b.dma, iommufd_unit_find(unit), &b.dev, &b.id), 0);
	b.ioas = fd_ioas(k);
	b.parent = fd_hwpt(k, b.id, b.ioas, IOMMU_HWPT_ALLOC_NEST_PARENT);
	return b;
}

static void bound_end(struct bound *b)
{
	iommufd_device_unbind(b->dev);
	dma_dev_free(b->dma);
}

static long nested(struct fake *k, const struct bound *b, uint32_t type, const void *data, uint32_t len, uint32_t *id)
{
	struct iommu_hwpt_alloc a = {.size = sizeof(a),
				     .dev_id = b->id,
				     .pt_id = b->parent,
				     .data_type = type,
				     .data_len = len,
				     .data_uptr = (uintptr_t)data};
	long ret = DO(FD, IOMMU_HWPT_ALLOC, &a);

	*id = a.out_hwpt_id;
	return ret;
}

static void names(void **state)
{
	unsigned int n = 0;
	uint64_t first, last;

	assert_string_equal(iommufd_unit_name(iommufd_unit(0)), "vtd");
	assert_null(iommufd_unit_find("dmar"));
	for (; iommufd_unit(n); n++)
		assert_ptr_equal(iommufd_unit_find(iommufd_unit_name(iommufd_unit(n))), iommufd_unit(n));
	assert_int_equal(n, 2);
	assert_true(iommufd_unit_reserved(iommufd_unit_find("vtd"), 0, &first, &last));
	assert_int_equal(first, 0xfee00000);
	assert_true(iommufd_unit_reserved(iommufd_unit_find("smmuv3"), 0, &first, &last));
	assert_int_equal(first, 0x8000000);
	assert_int_equal(last, 0x80fffff);
	assert_false(iommufd_unit_reserved(iommufd_unit_find("smmuv3"), 1, &first, &last));
}

/* A first stage is taken as it is, and judged when a device is attached. */
static void vtd_attach(void **state)
{
	struct fake *k = *state;
	struct bound b = bound_new(k, "vtd");
	const struct {
		struct iommu_hwpt_vtd_s1 s1;
		int attach;
	} c[] = {
	    {{.addr_width = 48}, 0},
	    {{.addr_width = 57}, 0},
	    {{.addr_width = 48, .flags = IOMMU_VTD_S1_WPE}, 0},
	    {{.addr_width = 48, .pgtbl_addr = 0x1234567}, 0},
	    {{.addr_width = 48, .pgtbl_addr = UINT64_MAX}, 0},
	    {{.addr_width = 48, .flags = IOMMU_VTD_S1_SRE}, -EINVAL},
	    {{.addr_width = 48, .flags = IOMMU_VTD_S1_EAFE}, -EINVAL},
	    {{.addr_width = 39}, -EINVAL},
	    {{.addr_width = 0}, -EINVAL},
	};
	uint32_t id, pt;
	char byte;

	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		assert_int_equal(nested(k, &b, IOMMU_HWPT_DATA_VTD_S1, &c[i].s1, sizeof(c[i].s1), &id), 0);
		pt = id;
		assert_int_equal(iommufd_device_attach(b.dev, &pt), c[i].attach);
		assert_int_equal(dma_read(b.dma, IOVA(0), &byte, 1, NULL), -EFAULT);
		if (!c[i].attach)
			iommufd_device_detach(b.dev);
		fd_destroyed(k, id);
	}
	assert_int_equal(nested(k, &b, IOMMU_HWPT_DATA_ARM_SMMUV3, &c[0].s1, 16, &id), -EOPNOTSUPP);
	assert_int_equal(nested(k, &b, IOMMU_HWPT_DATA_VTD_S1, &c[0].s1, 16, &id), -EINVAL);
	bound_end(&b);
}

static void vtd_invalidate(void **state)
{
	struct fake *k = *state;
	struct bound b = bound_new(k, "vtd");
	const struct iommu_hwpt_vtd_s1 s1 = {.addr_width = 48};
	const struct {
		struct iommu_hwpt_vtd_s1_invalidate inv;
		int want;
	} c[] = {
	    {{.npages = UINT64_MAX}, 0},
	    {{.npages = UINT64_MAX, .flags = IOMMU_VTD_INV_FLAGS_LEAF}, 0},
	    {{.addr = 4096, .npages = 3}, 0},
	    {{.addr = 4096, .npages = 0}, 0},
	    {{.addr = -4096ull, .npages = 1}, 0},
	    {{.addr = -4096ull, .npages = 2}, 0},
	    {{.addr = 4096, .npages = UINT64_MAX}, -EINVAL},
	    {{.addr = 2048, .npages = 1}, -EINVAL},
	    {{.npages = 1, .flags = 2}, -EOPNOTSUPP},
	    {{.npages = 1, .__reserved = 1}, -EOPNOTSUPP},
	};
	struct iommu_hwpt_invalidate i = {.size = sizeof(i), .entry_len = sizeof(c[0].inv)};
	struct iommu_hwpt_vtd_s1_invalidate row[3] = {{.npages = 1}, {.npages = 1, .flags = 2}, {.npages = 1}};

	assert_int_equal(nested(k, &b, IOMMU_HWPT_DATA_VTD_S1, &s1, sizeof(s1), &i.hwpt_id), 0);
	for (size_t n = 0; n < ARRAY_SIZE(c); n++) {
		i.data_uptr = (uintptr_t)&c[n].inv;
		i.entry_num = 1;
		assert_int_equal(DO(FD, IOMMU_HWPT_INVALIDATE, &i), c[n].want);
		assert_int_equal(i.entry_num, !c[n].want);
	}
	i.data_uptr = (uintptr_t)row;
	i.entry_num = 3;
	assert_int_equal(DO(FD, IOMMU_HWPT_INVALIDATE, &i), -EOPNOTSUPP);
	assert_int_equal(i.entry_num, 1);
	/* No entries ask for the type. */
	i.entry_num = 0;
	assert_int_equal(DO(FD, IOMMU_HWPT_INVALIDATE, &i), 0);
	i.data_type = IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3;
	assert_int_equal(DO(FD, IOMMU_HWPT_INVALIDATE, &i), -EINVAL);
	bound_end(&b);
}

/* Faults that a device cannot report keep it from being attached, and each unit says so in its own way. */
static void faults(void **state)
{
	struct fake *k = *state;
	const char *const unit[] = {"vtd", "smmuv3"};

	for (unsigned int i = 0; i < 2; i++) {
		struct bound b = bound_new(k, unit[i]);
		struct iommu_fault_alloc f = {.size = sizeof(f)};
		uint32_t pt;

		assert_int_equal(DO(FD, IOMMU_FAULT_QUEUE_ALLOC, &f), 0);
		struct iommu_hwpt_alloc a = {.size = sizeof(a),
					     .flags = IOMMU_HWPT_FAULT_ID_VALID,
					     .dev_id = b.id,
					     .pt_id = b.ioas,
					     .fault_id = f.out_fault_id};

		assert_int_equal(DO(FD, IOMMU_HWPT_ALLOC, &a), 0);
		pt = a.out_hwpt_id;
		assert_int_equal(iommufd_device_attach(b.dev, &pt), i ? -EINVAL : -ENODEV);
		bound_end(&b);
	}
}

static void smmu_virtual(void **state)
{
	struct fake *k = *state;
	struct bound v = bound_new(k, "vtd"), b = bound_new(k, "smmuv3");
	struct iommu_viommu_alloc a = {
	    .size = sizeof(a), .type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3, .dev_id = v.id, .hwpt_id = v.parent};
	const struct iommu_hwpt_arm_smmuv3 ste = {{1 | 4 << 1, 0}};
	struct iommu_vdevice_alloc d = {.size = sizeof(d), .virt_id = 1ull << 40};
	uint32_t id;

	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), -EOPNOTSUPP);
	a.dev_id = b.id;
	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), -EINVAL); /* the parent is another unit's */
	a.hwpt_id = b.parent;
	/* There are no data of the user's that anybody looks at. */
	a.data_len = 24;
	a.data_uptr = (uintptr_t)k->hole;
	assert_int_equal(DO(FD, IOMMU_VIOMMU_ALLOC, &a), 0);
	d.viommu_id = a.out_viommu_id;
	d.dev_id = v.id;
	assert_int_equal(DO(FD, IOMMU_VDEVICE_ALLOC, &d), -EINVAL);
	d.dev_id = b.id;
	assert_int_equal(DO(FD, IOMMU_VDEVICE_ALLOC, &d), 0);
	/* A page table of the guest's is no device's of another unit, and not one without the virtual IOMMU. */
	b.parent = a.out_viommu_id;
	assert_int_equal(nested(k, &b, IOMMU_HWPT_DATA_ARM_SMMUV3, &ste, sizeof(ste), &id), 0);
	assert_int_equal(iommufd_device_attach(v.dev, &id), -EINVAL);
	v.parent = a.out_viommu_id;
	assert_int_equal(nested(k, &v, IOMMU_HWPT_DATA_ARM_SMMUV3, &ste, sizeof(ste), &id), -EINVAL);
	bound_end(&v);
	bound_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(names), T(vtd_attach), T(vtd_invalidate), T(faults), T(smmu_virtual)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
