/* SPDX-License-Identifier: BSD-3-Clause */
/* The IOMMU before PCI functions: like one of Intel's (VT-d specification 4.1, chapters 9.6 and 10.4), coherent, with
 * 4 KiB, 2 MiB and 1 GiB pages and 48 bits of IOVA. */
#include <errno.h>
#include <string.h>

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

static bool vtd_pri(const struct iommufd_device *dev)
{
	return dma_dev_pri(dev->dma);
}

static uint8_t vtd_pasid_bits(const struct iommufd_device *dev)
{
	return MIN(dma_dev_pasid_bits(dev->dma), (unsigned int)PASID_BITS);
}

static int vtd_attach_pasid(const struct iommufd_device *dev, const struct domain *d, uint32_t pasid)
{
	return 0;
}

static bool vtd_reserved(const struct iommufd_device *dev, unsigned int i, uint64_t *first, uint64_t *last)
{
	*first = MSI_FIRST;
	*last = MSI_LAST;
	return i == 0;
}

/* ---- nesting: a first-stage table in client memory ---- */

static size_t vtd_nested_size(uint32_t type)
{
	return type == IOMMU_HWPT_DATA_VTD_S1 ? sizeof(struct iommu_hwpt_vtd_s1) : 0;
}

/* The capabilities above have 1 GiB leaves; WPE makes read-only hold for the supervisor (chapter 9.6, PASID entry). */
static struct walk_config walk_config_of(const struct iommu_hwpt_vtd_s1 *s1)
{
	return (struct walk_config){
	    .format = WALK_X86,
	    .input_bits = s1->addr_width,
	    .output_bits = IOVA_BITS,
	    .granule = 12,
	    .flags = WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY | WALK_HUGE |
		     (s1->flags & IOMMU_VTD_S1_WPE ? WALK_WRITE_PROTECT : 0),
	    .root = s1->pgtbl_addr,
	};
}

static int vtd_nested(const struct iommufd_device *dev, struct domain *parent, uint32_t type, const void *data,
		      struct domain **d, void **state)
{
	const struct iommu_hwpt_vtd_s1 *s1 = data;
	struct walk_config cfg;

	if (s1->__reserved || s1->flags & ~(uint64_t)(IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_WPE))
		return -EOPNOTSUPP; /* no extended accessed flag either: ECAP.EAFS is 0 */
	if (s1->addr_width != 48 && s1->addr_width != 57)
		return -EINVAL;
	cfg = walk_config_of(s1);
	if (walk_config_check(&cfg))
		return -EINVAL;
	*d = domain_new_nested(parent, &cfg);
	return *d ? 0 : -ENOMEM;
}

static size_t vtd_invalidate_size(uint32_t type)
{
	return type == IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 ? sizeof(struct iommu_hwpt_vtd_s1_invalidate) : 0;
}

static int vtd_invalidate(struct domain *d, void *state, uint32_t type, const void *entry)
{
	const struct iommu_hwpt_vtd_s1_invalidate *inv = entry;
	uint64_t len;

	if (inv->flags & ~(uint32_t)IOMMU_VTD_INV_FLAGS_LEAF || inv->__reserved)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(inv->addr, PF_PAGE_SIZE) || (!inv->npages && inv->addr))
		return -EINVAL;
	if (inv->npages == UINT64_MAX || __builtin_mul_overflow(inv->npages, PF_PAGE_SIZE, &len) || !inv->npages ||
	    len - 1 > UINT64_MAX - inv->addr)
		domain_invalidate(d, inv->npages == UINT64_MAX || !inv->npages ? 0 : inv->addr, UINT64_MAX);
	else
		domain_invalidate(d, inv->addr, inv->addr + len - 1);
	return 0;
}

static const struct iommufd_unit vtd = {
    .name = "dmar0",
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
    .invalidate_size = vtd_invalidate_size,
    .invalidate = vtd_invalidate,
    .reserved = vtd_reserved,
};

const struct iommufd_unit *iommufd_pci_unit(void)
{
	return &vtd;
}
