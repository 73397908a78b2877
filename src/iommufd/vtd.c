/* SPDX-License-Identifier: BSD-3-Clause */
/* The IOMMU before PCI functions: like one of Intel's (VT-d specification 4.1, chapters 9.6 and 10.4), coherent, with
 * 4 KiB, 2 MiB and 1 GiB pages and 48 bits of IOVA. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/util.h"
#include "iommu/walk.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

#define IOVA_BITS 48
#define MSI_FIRST 0xfee00000ull /* writes here are interrupts, never memory (chapter 3.14) */
#define MSI_LAST  0xfeefffffull
/*
 * Capability register: 3 bits of domain ids (ND), SAGAW 4-level, MGAW 48 bits, SLLPS 2M and 1G, FL1GP, 5LP.
 * Extended: coherent, queued invalidation, device TLBs, interrupt remapping, pass through, snoop control, nesting, page
 * requests, 20 bits of PASID (PSS is one less), SLADS, SMTS, FLTS.
 */
#define VTD_CAP	   (2ull | 1ull << 10 | (IOVA_BITS - 1ull) << 16 | 3ull << 34 | 1ull << 56 | 1ull << 60)
#define PASID_BITS 20
#define VTD_ECAP                                                                                                       \
	(1ull | 1ull << 1 | 1ull << 2 | 1ull << 3 | 1ull << 6 | 1ull << 7 | 1ull << 26 | 1ull << 29 |                  \
	 (PASID_BITS - 1ull) << 35 | 1ull << 40 | 1ull << 43 | 1ull << 45 | 1ull << 46 | 1ull << 47)

static size_t vtd_hw_info(const struct iommufd_device *dev, void *buf, size_t size)
{
	struct iommu_hw_info_vtd info = {.cap_reg = VTD_CAP, .ecap_reg = VTD_ECAP};

	memcpy(buf, &info, MIN(size, sizeof(info)));
	return sizeof(info);
}

static int vtd_paging(const struct iommufd_device *dev, uint32_t flags, struct domain_config *cfg)
{
	*cfg = (struct domain_config){
	    .first = 0,
	    .last = BIT64(IOVA_BITS) - 1,
	    .pgsizes = BIT64(12) | BIT64(21) | BIT64(30),
	    .dirty = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	};
	return 0;
}

static int vtd_pri(const struct iommufd_device *dev)
{
	return dma_dev_pri(dev->dma) ? 0 : -ENODEV;
}

static uint8_t vtd_pasid_bits(const struct iommufd_device *dev)
{
	return MIN(dma_dev_pasid_bits(dev->dma), (unsigned int)PASID_BITS);
}

static int vtd_attach_pasid(const struct iommufd_device *dev, const struct domain *d, uint32_t pasid)
{
	return 0;
}

static bool vtd_reserved(unsigned int i, uint64_t *first, uint64_t *last)
{
	*first = MSI_FIRST;
	*last = MSI_LAST;
	return i == 0;
}

/* ---- nesting: a first-stage table in client memory ---- */

static int vtd_nested_size(uint32_t type, uint32_t flags)
{
	return type == IOMMU_HWPT_DATA_VTD_S1 ? (int)sizeof(struct iommu_hwpt_vtd_s1) : -EOPNOTSUPP;
}

/*
 * The capabilities above have 1 GiB leaves. SRE and WPE (chapter 9.6, PASID entry) are about requests of a supervisor,
 * of which there are none. A table's address has no lower bits; one that is too wide leads nowhere.
 */
static struct walk_config walk_config_of(const struct iommu_hwpt_vtd_s1 *s1)
{
	return (struct walk_config){
	    .format = WALK_X86,
	    .input_bits = s1->addr_width,
	    .output_bits = IOVA_BITS,
	    .granule = 12,
	    .flags = WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY | WALK_HUGE,
	    .root = ALIGN_DOWN(s1->pgtbl_addr, PF_PAGE_SIZE),
	};
}

static int vtd_nested(const struct iommufd_device *dev, struct domain *parent, uint32_t type, const void *data,
		      struct domain **d, void **state)
{
	const struct walk_config cfg = walk_config_of(data);
	struct iommu_hwpt_vtd_s1 *s1 = mem_alloc(sizeof(*s1));

	if (!s1)
		return -ENOMEM;
	*s1 = *(const struct iommu_hwpt_vtd_s1 *)data;
	*d = domain_new_nested(parent, &cfg);
	if (!*d) {
		free(s1);
		return -ENOMEM;
	}
	*state = s1;
	return 0;
}

/*
 * What is wrong with a first stage is found out when a device is attached (intel_pasid_setup_nested): a width that
 * there is not, supervisor requests without ECAP.SRS, extended accessed flags without ECAP.EAFS.
 */
static int vtd_attach(const struct iommufd_device *dev, const struct hwpt *h)
{
	const struct iommu_hwpt_vtd_s1 *s1 = h->state;

	if (!s1)
		return 0;
	if (s1->addr_width != 48 && s1->addr_width != 57)
		return -EINVAL;
	return s1->flags & (IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_EAFE) ? -EINVAL : 0;
}

static int vtd_invalidate_size(uint32_t type)
{
	return type == IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 ? (int)sizeof(struct iommu_hwpt_vtd_s1_invalidate) : -EINVAL;
}

static int vtd_invalidate(struct domain *d, void *state, uint32_t type, const void *entry)
{
	const struct iommu_hwpt_vtd_s1_invalidate *inv = entry;
	uint64_t len;

	if (inv->flags & ~(uint32_t)IOMMU_VTD_INV_FLAGS_LEAF || inv->__reserved)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(inv->addr, PF_PAGE_SIZE) || (inv->npages == UINT64_MAX && inv->addr))
		return -EINVAL;
	/* A range that is none, or wraps, is everything. */
	if (!inv->npages || __builtin_mul_overflow(inv->npages, PF_PAGE_SIZE, &len) || len - 1 > UINT64_MAX - inv->addr)
		domain_invalidate(d, 0, UINT64_MAX);
	else
		domain_invalidate(d, inv->addr, inv->addr + len - 1);
	return 0;
}

const struct iommufd_unit vtd_unit = {
    .name = "vtd",
    .text = "Intel VT-d: nested page tables are x86's (the default)",
    .hw_info_type = IOMMU_HW_INFO_TYPE_INTEL_VTD,
    .cache_coherent = true,
    .follows = true,
    .pri = vtd_pri,
    .pasid_bits = vtd_pasid_bits,
    .attach_pasid = vtd_attach_pasid,
    .hw_info = vtd_hw_info,
    .paging = vtd_paging,
    .nested_size = vtd_nested_size,
    .nested = vtd_nested,
    .nested_free = free,
    .attach = vtd_attach,
    .invalidate_size = vtd_invalidate_size,
    .invalidate = vtd_invalidate,
    .reserved = vtd_reserved,
};
