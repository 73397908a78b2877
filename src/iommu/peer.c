/* SPDX-License-Identifier: BSD-3-Clause */
/* Peer memory (mm/peer.h) in spaces: who may reach it, what happens when it goes, and DMA to what has no address. */
#include <errno.h>
#include "base/event.h"
#include "iommu/private.h"
#include "mm/peer.h"

/* ---- authority (rule B2) ---- */

/* A PASID is its function's. */
static struct dma_dev *function_of(struct dma_dev *d)
{
	return d->function ? d->function : d;
}

static bool area_admits(struct ioas *io, const struct area *a, struct dma_dev *dev)
{
	uint64_t off;
	const struct peer *peer = pages_peer(a->pages, a->off, &off);

	if (pages_admit(a->pages, function_of(dev)->owner))
		return true;
	event_emit(dev->evs, EVENT_REFUSE, .who = dev->bdf, .ioas = io->id, .addr = a->node.start, .len = area_len(a),
		   .value = peer->id);
	return false;
}

static int area_admits_devs(struct ioas *io, const struct area *a, const struct list *devs)
{
	struct dma_dev *dev;

	list_for_each (dev, devs, node)
		if (!area_admits(io, a, dev))
			return -EREMOTEIO;
	return 0;
}

int area_admits_domain(struct ioas *io, const struct area *a, const struct domain *d)
{
	const struct domain *child;
	int err;

	if (!pages_is_peer(a->pages))
		return 0;
	err = area_admits_devs(io, a, &d->devs);
	if (err)
		return err;
	list_for_each (child, &d->children, sibling) {
		err = area_admits_devs(io, a, &child->devs);
		if (err)
			return err;
	}
	return 0;
}

int domain_admits(const struct domain *d, struct dma_dev *dev)
{
	struct ioas *io = domain_ioas(d);
	struct itree_node *n;

	if (!io || !io->npeers)
		return 0;
	for (n = itree_first(&io->areas, 0, UINT64_MAX); n; n = itree_next(n, 0, UINT64_MAX))
		if (pages_is_peer(area_of(n)->pages) && !area_admits(io, area_of(n), dev))
			return -EREMOTEIO;
	return 0;
}

/* ---- revocation (rule A4) ---- */

void area_revoked(struct page_pin *pin)
{
	struct area *a = container_of(pin, struct area, pin);
	struct domain *d;

	list_for_each (d, &a->io->domains, node)
		domain_unmap(d, a->node.start, area_len(a));
	event_emit(a->io->evs, EVENT_REVOKE, .ioas = a->io->id, .addr = a->node.start, .len = area_len(a));
}

/* ---- DMA ---- */

/*
 * The area that iova leads to, and where in the space that is. A nested domain's table is walked anew, which is as good
 * as an IOTLB at any time (rule E2).
 */
static struct area *resolve(const struct dma_dev *who, uint64_t iova, unsigned int need, uint64_t *addr,
			    uint64_t *reach)
{
	struct domain *d = who->dom;
	struct iotlb_entry e;
	struct ioas *io;

	if (!d)
		return NULL;
	io = domain_ioas(d);
	*addr = iova;
	*reach = UINT64_MAX;
	if (!io || !io->npeers || (d->parent && nested_resolve(who, iova, need, addr, reach)))
		return NULL;
	if (domain_translate(d->parent ? d->parent : d, *addr, need, &e))
		return NULL;
	return ioas_area(io, *addr);
}

size_t dma_peer(struct dma_dev *d, uint64_t iova, char *buf, size_t len, bool write)
{
	uint64_t addr, reach, off;
	struct area *a = resolve(d, iova, write ? IOMMU_WRITE : IOMMU_READ, &addr, &reach);
	struct peer *peer = a ? pages_peer(a->pages, area_off(a, addr), &off) : NULL;
	int err;

	if (!peer)
		return 0;
	/* A page at a time: what has to wait somewhere needs room for that much only. */
	reach = MIN(reach, a->node.last - addr + 1);
	reach = MIN(reach, PF_PAGE_SIZE);
	len = MIN(len, reach);
	d = function_of(d);
	d->in_peer++;
	err = write ? peer->ops->write(peer, off, buf, len) : peer->ops->read(peer, off, buf, len);
	d->in_peer--;
	return err ? 0 : len;
}

int dma_fault_reason(const struct dma_dev *d, uint64_t iova, int reason)
{
	const struct ioas *io = d->dom ? domain_ioas(d->dom) : NULL;
	uint64_t addr = iova, reach;
	const struct area *a;

	if (reason != DMA_FAULT_UNMAPPED || !io || !io->npeers ||
	    (d->dom->parent && nested_resolve(d, iova, 0, &addr, &reach)))
		return reason;
	a = ioas_area(io, addr);
	return a && pages_revoked(a->pages) ? DMA_FAULT_REVOKED : reason;
}
