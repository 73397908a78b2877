/* SPDX-License-Identifier: BSD-3-Clause */
/* The PASIDs of a function: requesters of their own, found by number; and one for all the others in turn. */
#include <errno.h>
#include <stdlib.h>
#include "iommu/private.h"

static struct dma_dev *pasid_of(struct itree_node *n)
{
	return n ? container_of(n, struct dma_dev, pasid_node) : NULL;
}

static struct dma_dev *pasid_find(const struct dma_dev *d, uint32_t pasid)
{
	return pasid_of(itree_find_disjoint(&d->pasids, pasid));
}

static struct dma_dev *pasid_new(struct dma_dev *d, uint32_t pasid)
{
	struct dma_dev *p = dma_dev_new(d->bdf, d->evs);

	if (!p)
		return NULL;
	p->function = d;
	p->pasid = pasid;
	p->pasid_node.start = p->pasid_node.last = pasid;
	p->master = d->master;
	p->pri = d->pri;
	return p;
}

static void count_one(struct dma_dev *d, struct dma_dev *p)
{
	struct dma_stats *s = &d->stats, *t = &p->stats;

	s->reads += t->reads;
	s->writes += t->writes;
	s->read_bytes += t->read_bytes;
	s->write_bytes += t->write_bytes;
	s->faults += t->faults;
	s->iotlb_hits += t->iotlb_hits;
	s->iotlb_misses += t->iotlb_misses;
	*t = (struct dma_stats){0};
}

void pasids_count(struct dma_dev *d)
{
	struct itree_node *n;

	for (n = itree_first(&d->pasids, 0, UINT32_MAX); n; n = itree_next(n, 0, UINT32_MAX))
		count_one(d, pasid_of(n));
	if (d->stray)
		count_one(d, d->stray);
}

void pasids_set_master(struct dma_dev *d, bool on)
{
	struct itree_node *n;

	for (n = itree_first(&d->pasids, 0, UINT32_MAX); n; n = itree_next(n, 0, UINT32_MAX))
		dma_dev_set_master(pasid_of(n), on);
	if (d->stray)
		d->stray->master = on;
}

/* Nobody hears of it: what is attached to the function serves it. */
static void stray_attach(struct dma_dev *p, struct domain *dom)
{
	list_del(&p->node);
	p->dom = dom;
	p->faulted = false;
	iotlb_flush(p);
	if (dom)
		list_add_tail(&dom->devs, &p->node);
}

void pasids_attached(struct dma_dev *d)
{
	if (d->stray)
		stray_attach(d->stray, d->dom && d->dom->stage1 && d->dom->stage1->pasids ? d->dom : NULL);
}

static void pasid_free(struct dma_dev *d, struct dma_dev *p)
{
	count_one(d, p);
	itree_remove(&d->pasids, &p->pasid_node);
	dma_dev_free(p);
}

void pasids_free(struct dma_dev *d)
{
	struct itree_node *n;

	while ((n = itree_first(&d->pasids, 0, UINT32_MAX)))
		pasid_free(d, pasid_of(n));
	if (!d->stray)
		return;
	stray_attach(d->stray, NULL);
	dma_dev_free(d->stray);
	d->stray = NULL;
}

int dma_dev_set_pasid_bits(struct dma_dev *d, unsigned int bits)
{
	if (bits && !d->stray) {
		d->stray = pasid_new(d, 0);
		if (!d->stray)
			return -ENOMEM;
		pasids_attached(d);
	}
	d->pasid_bits = bits;
	return 0;
}

unsigned int dma_dev_pasid_bits(const struct dma_dev *d)
{
	return d->pasid_bits;
}

uint32_t dma_dev_pasid_number(const struct dma_dev *d)
{
	return d->pasid;
}

struct dma_dev *dma_dev_pasid(struct dma_dev *d, uint32_t pasid)
{
	struct dma_dev *p = pasid ? pasid_find(d, pasid) : d;

	if (p)
		return p;
	p = d->stray;
	if (p->pasid != pasid) {
		p->pasid = pasid;
		stray_attach(p, p->dom);
	}
	return p;
}

int dma_pasid_attach(struct dma_dev *d, uint32_t pasid, struct domain *dom)
{
	struct dma_dev *p = pasid_find(d, pasid);

	if (!p) {
		p = pasid_new(d, pasid);
		if (!p)
			return -ENOMEM;
		itree_insert(&d->pasids, &p->pasid_node);
	}
	dma_dev_attach(p, dom);
	return 0;
}

void dma_pasid_detach(struct dma_dev *d, uint32_t pasid)
{
	struct dma_dev *p = pasid_find(d, pasid);

	if (p)
		pasid_free(d, p);
}
