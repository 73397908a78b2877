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

int nested_resolve(struct domain *d, uint64_t iova, unsigned int need, uint64_t *addr, uint64_t *reach)
{
	const struct walk_mem mem = {.ctx = d->parent, .load = nested_load, .update = nested_update};
	struct walk_fault_info fault;
	struct walk_result res;

	if (!d->walks || walk(&d->walk, &mem, iova, need, &res, &fault))
		return -EFAULT;
	*addr = res.addr;
	*reach = res.size - (iova & (res.size - 1));
	return 0;
}

int nested_translate(struct domain *d, uint64_t iova, unsigned int need, struct iotlb_entry *e)
{
	const struct walk_mem mem = {.ctx = d->parent, .load = nested_load, .update = nested_update};
	struct walk_fault_info fault;
	struct walk_result res;
	struct iotlb_entry pe;
	uint64_t before, after;
	int reason;

	if (!d->walks)
		return DMA_FAULT_UNMAPPED;
	if (walk(&d->walk, &mem, iova, need, &res, &fault))
		return fault.kind == WALK_PERMISSION ? DMA_FAULT_PERMISSION : DMA_FAULT_UNMAPPED;
	reason = domain_translate(d->parent, res.addr, need, &pe);
	if (reason)
		return reason;
	/* As far around iova as both leaves reach. */
	before = MIN(iova & (res.size - 1), res.addr - pe.first);
	after = MIN(res.size - (iova & (res.size - 1)), pe.size - (res.addr - pe.first));
	*e = (struct iotlb_entry){
	    .first = iova - before,
	    .size = before + after,
	    .host = pe.host + (res.addr - pe.first) - before,
	    .prot = res.prot & pe.prot,
	};
	return 0;
}
