/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IOMMU before PCI functions as an Arm SMMUv3: Arm SMMU architecture version 3 (IHI 0070), coherent, with 4 KiB,
 * 2 MiB and 1 GiB pages of its own and 48 bits of IOVA. Answers follow Linux 6.19
 * drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-iommufd.c: guests drive it through virtual IOMMUs alone, with stream table
 * entries, commands and event records as the hardware has them.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/util.h"
#include "iommu/smmu.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

/* Where Linux's driver puts doorbells of interrupt controllers (MSI_IOVA_BASE). */
#define MSI_FIRST 0x08000000ull
#define MSI_LAST  0x080fffffull

/*
 * Chapter 6.3. SMMU_IDR0: both stages, AArch64 tables (TTF), coherent, hardware updates of access flag and dirty state,
 * ATS without split stages (NS1ATS), 16 bits of ASID and VMID, two-level CD tables, no stall (STALL_MODEL), faults
 * abort (TERM_MODEL), two-level stream tables. IDR1: 16 bits of StreamID, those of SubstreamID, queues of 2^19 entries.
 * IDR3: hierarchical rights can be turned off (HAD), the second stage forces memory types (FWB), range invalidation
 * (RIL). IDR5: 48 bits of output address, all granules, 48 bits of input address. AIDR: SMMUv3.2. IIDR: nobody's.
 */
#define SMMU_IDR0                                                                                                      \
	(1u | 1u << 1 | 2u << 2 | 1u << 4 | 2u << 6 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 18 | 1u << 19 |           \
	 1u << 24 | 1u << 26 | 1u << 27)
#define SMMU_IDR1 (16u | SMMU_SSID_BITS << 6 | 19u << 16 | 19u << 21)
#define SMMU_IDR3 (1u << 2 | 1u << 8 | 1u << 10)
#define SMMU_IDR5 (5u | 1u << 4 | 1u << 5 | 1u << 6)
#define SMMU_AIDR 2u
_Static_assert(SMMU_OAS_BITS == 48 && SMMU_VA_BITS == 48, "IDR5");

/* ---- devices and page tables of the kernel's own ---- */

static size_t smmu_hw_info(const struct iommufd_device *dev, void *buf, size_t size)
{
	struct iommu_hw_info_arm_smmuv3 info = {.idr = {SMMU_IDR0, SMMU_IDR1, 0, SMMU_IDR3, 0, SMMU_IDR5},
						.aidr = SMMU_AIDR};

	memcpy(buf, &info, MIN(size, sizeof(info)));
	return sizeof(info);
}

/* A nesting parent is a second stage: it serves no PASIDs, and no dirty state is read from it. */
static int smmu_paging(const struct iommufd_device *dev, uint32_t flags, struct domain_config *cfg)
{
	if (flags & IOMMU_HWPT_ALLOC_NEST_PARENT && flags != IOMMU_HWPT_ALLOC_NEST_PARENT)
		return -EOPNOTSUPP;
	*cfg = (struct domain_config){
	    .first = 0,
	    .last = BIT64(SMMU_VA_BITS) - 1,
	    .pgsizes = BIT64(12) | BIT64(21) | BIT64(30),
	    .dirty = flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	};
	return 0;
}

/* arm_smmu_dev_enable_feature: only who can be stalled may ask for pages. */
static int smmu_pri(const struct iommufd_device *dev)
{
	return -EINVAL;
}

static uint8_t smmu_pasid_bits(const struct iommufd_device *dev)
{
	return MIN(dma_dev_pasid_bits(dev->dma), (unsigned int)SMMU_SSID_BITS);
}

static int smmu_attach_pasid(const struct iommufd_device *dev, const struct domain *d, uint32_t pasid)
{
	return 0;
}

static bool smmu_reserved(unsigned int i, uint64_t *first, uint64_t *last)
{
	*first = MSI_FIRST;
	*last = MSI_LAST;
	return i == 0;
}

/* ---- nesting ---- */

struct nested {
	struct smmu_stream *stream;
	struct viommu *viommu;
	struct list node; /* smmu_viommu.nested */
};

/* A virtual SMMU. */
struct smmu_viommu {
	struct list nested;
};

/*
 * A guest's StreamIDs are those of its devices. What was attached without one, because it translates nothing, has none
 * to tell of.
 */
static void stream_event(void *ctx, const struct dma_dev *who, const struct smmu_record *r)
{
	const struct iommufd_device *dev = dma_dev_user(who);
	const struct nested *n = ctx;
	struct iommu_vevent_arm_smmuv3 event;

	if (!dev || !dev->vdev || dev->vdev->viommu != n->viommu)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(event.evt); i++)
		event.evt[i] = htole64(r->dw[i]);
	event.evt[0] |= htole64(dev->vdev->node.start << 32);
	viommu_report_event(n->viommu, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3, &event, sizeof(event));
}

/* An STE that is not valid aborts, whatever else it says. Only these fields are a guest's. */
static int ste_check(uint64_t ste[2])
{
	unsigned int config = (ste[0] & SMMU_STE_CONFIG) >> SMMU_STE_CONFIG_SHIFT;
	unsigned int eats = (ste[1] & SMMU_STE1_EATS) >> SMMU_STE1_EATS_SHIFT;

	if (!(ste[0] & SMMU_STE_V)) {
		ste[0] = ste[1] = 0;
		return 0;
	}
	if (ste[0] & ~(SMMU_STE_V | SMMU_STE_CONFIG | SMMU_STE_S1FMT | SMMU_STE_S1CONTEXTPTR | SMMU_STE_S1CDMAX) ||
	    ste[1] & ~(SMMU_STE1_S1DSS | SMMU_STE1_S1CIR | SMMU_STE1_S1COR | SMMU_STE1_S1CSH | SMMU_STE1_S1STALLD |
		       SMMU_STE1_EATS))
		return -EIO;
	if (config != SMMU_ABORT && config != SMMU_BYPASS && config != SMMU_S1)
		return -EIO;
	return eats > 1 ? -EIO : 0; /* ATS, or none */
}

static int smmu_nested_size(uint32_t type, uint32_t flags)
{
	if (flags)
		return -EOPNOTSUPP;
	return type == IOMMU_HWPT_DATA_ARM_SMMUV3 ? (int)sizeof(struct iommu_hwpt_arm_smmuv3) : -EINVAL;
}

static void smmu_nested_free(void *state)
{
	struct nested *n = state;

	if (!n)
		return;
	list_del(&n->node);
	smmu_stream_free(n->stream);
	free(n);
}

static int smmu_nested(struct viommu *v, uint32_t type, const void *data, struct domain **d, void **state)
{
	const struct iommu_hwpt_arm_smmuv3 *user = data;
	uint64_t ste[2] = {le64toh(user->ste[0]), le64toh(user->ste[1])};
	struct smmu_viommu *s = v->state;
	struct nested *n;
	int err;

	err = ste_check(ste);
	if (err)
		return err;
	n = mem_calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	list_init(&n->node);
	n->viommu = v;
	n->stream = smmu_stream_new(ste[0], ste[1], stream_event, n);
	if (n->stream)
		*d = domain_new_nested(v->hwpt->d, NULL);
	if (!n->stream || !*d) {
		smmu_nested_free(n);
		return -ENOMEM;
	}
	smmu_stream_serve(n->stream, *d);
	list_add_tail(&s->nested, &n->node);
	*state = n;
	return 0;
}

/* The nested page table that the device works behind, as far as it is one of v's. */
static struct nested *nested_of(const struct viommu *v, const struct iommufd_device *dev)
{
	const struct hwpt *h = dev->group->hwpt;

	return dev->attached && h->viommu == v ? h->state : NULL;
}

/* What translates by a guest's tables must have a name there. */
static int smmu_attach(const struct iommufd_device *dev, const struct hwpt *h)
{
	const struct nested *n = h->state;

	if (!n || viommu_knows(dev, h) || smmu_stream_config(n->stream) != SMMU_S1)
		return 0;
	return -ENOENT;
}

/* ---- commands (chapter 4) ---- */

enum {
	CMD_CFGI_CD = 0x05,
	CMD_CFGI_CD_ALL = 0x06,
	CMD_TLBI_NH_ALL = 0x10,
	CMD_TLBI_NH_ASID = 0x11,
	CMD_TLBI_NH_VA = 0x12,
	CMD_TLBI_NH_VAA = 0x13,
	CMD_TLBI_NSNH_ALL = 0x30,
	CMD_ATC_INV = 0x40,
};
#define CMD_OP(w)   ((w)&0xff)
#define CMD_SSID(w) ((uint32_t)((w) >> 12 & 0xfffff))
#define CMD_SID(w)  ((uint32_t)((w) >> 32))
#define CMD_ASID(w) ((uint16_t)((w) >> 48))

static int command_of_stream(const struct viommu *v, uint64_t cmd)
{
	const struct vdevice *vdev = viommu_vdevice(v, CMD_SID(cmd));
	struct nested *n;

	if (!vdev)
		return -EIO;
	n = nested_of(v, vdev->dev);
	if (!n)
		return 0;
	if (CMD_OP(cmd) == CMD_CFGI_CD)
		smmu_stream_forget_cd(n->stream, CMD_SSID(cmd));
	else if (CMD_OP(cmd) == CMD_CFGI_CD_ALL)
		smmu_stream_forget_cds(n->stream);
	else
		smmu_stream_flush(n->stream); /* a device's cache is the same as the SMMU's */
	return 0;
}

/* An IOTLB knows neither which addresses of a guest's lead where nor global entries: more goes than has to. */
static int smmu_invalidate(struct viommu *v, uint32_t type, const void *entry)
{
	uint64_t cmd = le64toh(((const struct iommu_viommu_arm_smmuv3_invalidate *)entry)->cmd[0]);
	struct smmu_viommu *s = v->state;
	struct nested *n;

	switch (CMD_OP(cmd)) {
	case CMD_TLBI_NH_ALL:
	case CMD_TLBI_NH_VAA:
	case CMD_TLBI_NSNH_ALL:
		list_for_each (n, &s->nested, node)
			smmu_stream_flush(n->stream);
		return 0;
	case CMD_TLBI_NH_ASID:
	case CMD_TLBI_NH_VA:
		list_for_each (n, &s->nested, node)
			smmu_stream_flush_asid(n->stream, CMD_ASID(cmd));
		return 0;
	case CMD_CFGI_CD:
	case CMD_CFGI_CD_ALL:
	case CMD_ATC_INV:
		return command_of_stream(v, cmd);
	}
	return -EIO;
}

static int smmu_invalidate_size(uint32_t type)
{
	return type == IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 ? (int)sizeof(struct iommu_viommu_arm_smmuv3_invalidate)
							       : -EINVAL;
}

/* ---- virtual SMMUs ---- */

static int smmu_viommu_init(struct viommu *v, void *data)
{
	struct smmu_viommu *s = mem_alloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	list_init(&s->nested);
	v->state = s;
	return 0;
}

static void smmu_viommu_destroy(struct viommu *v)
{
	free(v->state);
}

static const struct iommufd_viommu_ops smmu_viommu_ops = {
    .init = smmu_viommu_init,
    .destroy = smmu_viommu_destroy,
    .nested_size = smmu_nested_size,
    .nested = smmu_nested,
    .invalidate_size = smmu_invalidate_size,
    .invalidate_some = true,
    .invalidate = smmu_invalidate,
};

static const struct iommufd_viommu_ops *smmu_viommu(const struct iommufd_device *dev, uint32_t type)
{
	return type == IOMMU_VIOMMU_TYPE_ARM_SMMUV3 ? &smmu_viommu_ops : NULL;
}

const struct iommufd_unit smmuv3_unit = {
    .name = "smmuv3",
    .text = "Arm SMMUv3: virtual IOMMUs with a guest's stream tables, commands and events",
    .hw_info_type = IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
    .cache_coherent = true,
    .follows = true,
    .hw_info = smmu_hw_info,
    .pri = smmu_pri,
    .pasid_bits = smmu_pasid_bits,
    .attach_pasid = smmu_attach_pasid,
    .paging = smmu_paging,
    .nested_free = smmu_nested_free,
    .reserved = smmu_reserved,
    .attach = smmu_attach,
    .viommu = smmu_viommu,
};
