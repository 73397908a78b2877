/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page requests: a requester that can wait asks for a page, whoever takes requests for its domain sees to it that it is
 * there, and the requester tries again. Nobody here waits: the requester goes on when it is told (rule C1).
 */
#include <errno.h>
#include "iommu/private.h"

void dma_dev_set_pri(struct dma_dev *d, bool on)
{
	struct itree_node *n;

	d->pri = on;
	for (n = itree_first(&d->pasids, 0, UINT32_MAX); n; n = itree_next(n, 0, UINT32_MAX))
		container_of(n, struct dma_dev, pasid_node)->pri = on;
}

bool dma_dev_pri(const struct dma_dev *d)
{
	return d->pri;
}

void domain_set_requests(struct domain *d, domain_take_fn *take, void *ctx)
{
	d->take = take;
	d->take_ctx = ctx;
}

int dma_request_page(struct dma_dev *d, iova_t iova, int prot, struct dma_request *r)
{
	if (!d->master || !d->pri || !d->dom || !d->dom->take)
		return -ENODEV;
	r->d = d;
	r->iova = IOVA(ALIGN_DOWN(iova.a, PF_PAGE_SIZE));
	r->prot = prot;
	r->holder = NULL;
	return d->dom->take(d->dom->take_ctx, r) ? -ENODEV : 0;
}

static void let_go(struct dma_request *r)
{
	*r->holder = NULL;
	r->holder = NULL;
	r->d = NULL; /* of a PASID that may be detached any time */
}

void dma_request_cancel(struct dma_request *r)
{
	if (r->holder)
		let_go(r);
}

void dma_request_answer(struct dma_request *r, bool ok)
{
	let_go(r);
	r->done(r, ok);
}
