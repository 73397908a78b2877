/* SPDX-License-Identifier: BSD-3-Clause */
/* Event records of a first stage: IHI 0070, 7.3 "Event records". Transactions are those of a PCIe function: data, not
 * privileged. */
#include "base/util.h"
#include "iommu/smmu.h"
#include "iommu/stage1.h"

#define EVENT_SSV	   BIT64(11)
#define EVENT_SSID(n)	   ((uint64_t)(n) << 12)
#define EVENT1_RNW	   BIT64(35)
#define EVENT1_CLASS_INPUT (2ull << 40) /* the fault is the input address's, not a table's or a CD's */

/* 7.3.13-7.3.16. 0: of the second stage. An entry that never stands still is as good as none. */
static int walk_event(enum walk_fault kind)
{
	switch (kind) {
	case WALK_PERMISSION:
		return SMMU_F_PERMISSION;
	case WALK_ADDRESS_SIZE:
		return SMMU_F_ADDR_SIZE;
	case WALK_ACCESS_FLAG:
		return SMMU_F_ACCESS;
	case WALK_TABLE:
		return 0;
	default:
		return SMMU_F_TRANSLATION;
	}
}

bool smmu_record_of(const struct stage1_fault *f, uint32_t ssid, struct smmu_record *r)
{
	int event = f->code ? f->code : walk_event(f->walk.kind);

	if (event <= 0)
		return false;
	*r = (struct smmu_record){.dw = {(uint64_t)event}};
	/* 7.3.7: a disabled stream is one without a SubstreamID. */
	if (ssid)
		r->dw[0] |= EVENT_SSV | EVENT_SSID(ssid);
	if (event >= SMMU_F_TRANSLATION) {
		r->dw[1] = EVENT1_CLASS_INPUT | (f->write ? 0 : EVENT1_RNW);
		r->dw[2] = f->iova;
	}
	return true;
}
