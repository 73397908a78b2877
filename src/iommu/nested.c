/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nested domains (rules E1, E2): the client's table first, and then the parent's translation of whatever it says. Each
 * load of a table entry goes through the parent, too; so nothing is reached that the parent does not map.
 */
#include <errno.h>
#include "base/guard.h"
#include "iommu/private.h"
#include "iommu/walk.h"

/* The host address of 8 aligned bytes of the parent's; NULL: not mapped for this. A leaf is never smaller. */
static char *parent_word(struct domain *parent, uint64_t addr, unsigned int need)
{
	struct iotlb_entry e;

	if (domain_translate(parent, addr, need, &e))
		return NULL;
	return e.host + (addr - e.first);
}

static int nested_load(void *ctx, uint64_t addr, void *dst, size_t len)
{
	const char *host = parent_word(ctx, addr, IOMMU_READ);

	return host && !guard_copy(dst, host, len) ? 0 : -EFAULT;
}

static int nested_update(void *ctx, uint64_t addr, uint64_t old, uint64_t new)
{
	uint64_t *host = (uint64_t *)parent_word(ctx, addr, IOMMU_WRITE);

	if (!host)
		return -EFAULT;
	switch (guard_cas(host, old, new)) {
	case GUARD_CAS_DONE:
		return 0;
	case GUARD_CAS_DIFFERS:
		return -EAGAIN;
	default:
		return -EFAULT;
	}
}

/* The first stage alone. 0 and *res, whose address is the parent's; or why not (enum dma_fault), and *fault. */
static int stage1_translate(const struct dma_dev *who, uint64_t iova, unsigned int need, struct walk_result *res,
			    struct stage1_fault *fault)
{
	const struct domain *d = who->dom;
	const struct walk_mem mem = {.ctx = d->parent, .load = nested_load, .update = nested_update};
	struct stage1_way way = {0};
	int reason;

	*fault = (struct stage1_fault){.iova = iova, .write = need & IOMMU_WRITE};
	if (!d->stage1) {
		if (!d->walks)
			return DMA_FAULT_UNMAPPED;
		way.iova = iova;
		way.walk = d->walk;
	} else {
		reason = d->stage1->find(d->stage1_ctx, &mem, who, iova, &way, &fault->code);
		if (reason)
			return reason;
		if (way.bypass) {
			*res = (struct walk_result){.addr = iova, .size = 0, .prot = IOMMU_READ | IOMMU_WRITE};
			return 0;
		}
	}
	if (!walk(&way.walk, &mem, way.iova, need, res, &fault->walk))
		return 0;
	return fault->walk.kind == WALK_PERMISSION ? DMA_FAULT_PERMISSION : DMA_FAULT_UNMAPPED;
}

int nested_resolve(const struct dma_dev *who, uint64_t iova, unsigned int need, uint64_t *addr, uint64_t *reach)
{
	struct stage1_fault fault;
	struct walk_result res;

	if (stage1_translate(who, iova, need, &res, &fault))
		return -EFAULT;
	*addr = res.addr;
	*reach = res.size ? res.size - (iova & (res.size - 1)) : UINT64_MAX;
	return 0;
}

int nested_translate(struct dma_dev *who, uint64_t iova, unsigned int need, struct iotlb_entry *e)
{
	uint64_t before, after, in;
	struct walk_result res;
	struct iotlb_entry pe;
	int reason;

	reason = stage1_translate(who, iova, need, &res, &who->fault);
	who->faulted = reason && who->dom->stage1;
	if (!reason)
		reason = domain_translate(who->dom->parent, res.addr, need, &pe);
	if (reason)
		return reason;
	/* As far around iova as both leaves reach. A first stage that is bypassed is a leaf of everything. */
	before = res.addr - pe.first;
	after = pe.size - before;
	if (res.size) {
		in = iova & (res.size - 1);
		before = MIN(in, before);
		after = MIN(res.size - in, after);
	}
	*e = (struct iotlb_entry){
	    .first = iova - before,
	    .size = before + after,
	    .host = pe.host + (res.addr - pe.first) - before,
	    .prot = res.prot & pe.prot,
	};
	return 0;
}
