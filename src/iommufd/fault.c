/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault queues: page requests of devices for the user to answer. Answers follow Linux 6.12
 * drivers/iommu/iommufd/fault.c.
 *
 * The descriptor carries bytes: requests go into it as soon as there is room, responses come out of it. So, other than
 * in Linux, read() of an empty queue is EAGAIN and not 0, it may end inside a group of requests, a write() that is
 * wrong is not told so (what it says is passed over), and a request that is on its way when its device is detached is
 * still read.
 *
 * A request is waiting (not sent, or a part of it), then sent: it has a cookie, and is answered once, by the user or,
 * when its device changes its page table, with INVALID.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommufd/eventq.h"

#define REQUESTS_MAX 65536u /* not answered yet, in one queue; more are answered with INVALID at once */

struct request {
	struct eventq_entry entry; /* in q.waiting, then in unanswered */
	struct iommufd_device *dev;
	uint32_t pasid; /* that the page table is attached to */
	struct iommu_hwpt_pgfault record;
	struct dma_request *asker; /* NULL: nobody waits for the answer */
};

struct fault_queue {
	struct eventq q;
	struct list unanswered;
	unsigned int nrequests;
	uint32_t last_cookie;
	uint8_t response[sizeof(struct iommu_hwpt_page_response)]; /* as much of one as has come */
	size_t have;
};

static struct fault_queue *queue_of(struct eventq *q)
{
	return container_of(q, struct fault_queue, q);
}

static struct request *request_of(struct eventq_entry *e)
{
	return container_of(e, struct request, entry);
}

/* ---- requests ---- */

static void request_end(struct fault_queue *q, struct request *r, bool ok)
{
	struct dma_request *asker = r->asker;

	list_del(&r->entry.node);
	q->nrequests--;
	if (asker)
		dma_request_answer(asker, ok);
	free(r);
}

static struct request *request_find(struct fault_queue *q, uint32_t cookie)
{
	struct request *r;

	list_for_each (r, &q->unanswered, entry.node)
		if (r->record.cookie == cookie)
			return r;
	return NULL;
}

/* The lowest that is free, from 1, as far as that is cheap to know. */
static uint32_t cookie_new(struct fault_queue *q)
{
	if (list_empty(&q->unanswered))
		q->last_cookie = 0;
	do
		q->last_cookie++;
	while (!q->last_cookie || request_find(q, q->last_cookie));
	return q->last_cookie;
}

static void request_begin(struct eventq *q, struct eventq_entry *e)
{
	request_of(e)->record.cookie = cookie_new(queue_of(q));
}

static void request_sent(struct eventq *q, struct eventq_entry *e)
{
	list_add_tail(&queue_of(q)->unanswered, &e->node);
}

int fault_queue_report(struct fault_queue *q, struct iommufd_device *dev, uint32_t pasid,
		       const struct iommu_hwpt_pgfault *record, struct dma_request *asker)
{
	struct request *r = q->nrequests < REQUESTS_MAX ? mem_calloc(1, sizeof(*r)) : NULL;

	if (!r)
		return -ENOMEM;
	r->dev = dev;
	r->pasid = pasid;
	r->record = *record;
	r->asker = asker;
	if (asker)
		asker->holder = &r->asker;
	r->entry.bytes = &r->record;
	r->entry.len = sizeof(r->record);
	q->nrequests++;
	eventq_add(&q->q, &r->entry);
	return 0;
}

int hwpt_take_request(void *ctx, struct dma_request *r)
{
	struct hwpt *h = ctx;
	struct iommufd_device *dev = dma_dev_user(r->d);
	uint32_t pasid = dma_dev_pasid_number(r->d);
	struct iommu_hwpt_pgfault record = {
	    .flags = IOMMU_PGFAULT_FLAGS_LAST_PAGE | (pasid ? IOMMU_PGFAULT_FLAGS_PASID_VALID : 0),
	    .dev_id = dev->obj.id,
	    .pasid = pasid,
	    .perm = (r->prot & IOMMU_READ ? IOMMU_PGFAULT_PERM_READ : 0) |
		    (r->prot & IOMMU_WRITE ? IOMMU_PGFAULT_PERM_WRITE : 0),
	    .addr = r->iova.a,
	};

	return fault_queue_report(h->fault, dev, pasid, &record, r);
}

static bool came_that_way(const struct request *r, const struct iommufd_device *dev, uint32_t pasid)
{
	return r->dev == dev && r->pasid == pasid;
}

static void flush_list(struct fault_queue *q, struct list *l, const struct iommufd_device *dev, uint32_t pasid)
{
	struct request *r, *next;

	for (r = list_first(l, struct request, entry.node); &r->entry.node != l; r = next) {
		next = container_of(r->entry.node.next, struct request, entry.node);
		if (!came_that_way(r, dev, pasid))
			continue;
		/* One that is on the wire in part must be sent to its end. */
		if (!r->entry.done || r->entry.done == r->entry.len) {
			request_end(q, r, false);
			continue;
		}
		r->dev = NULL;
		if (r->asker)
			dma_request_answer(r->asker, false);
	}
}

void fault_queue_flush(struct fault_queue *q, struct iommufd_device *dev, uint32_t pasid)
{
	flush_list(q, &q->q.waiting, dev, pasid);
	flush_list(q, &q->unanswered, dev, pasid);
}

/* ---- the descriptor ---- */

static void queue_answered(struct fault_queue *q, const struct iommu_hwpt_page_response *resp)
{
	struct request *r = request_find(q, resp->cookie);

	if (r && (resp->code == IOMMUFD_PAGE_RESP_SUCCESS || resp->code == IOMMUFD_PAGE_RESP_INVALID))
		request_end(q, r, resp->code == IOMMUFD_PAGE_RESP_SUCCESS);
}

static void queue_written(struct ufile *f, const void *buf, size_t len)
{
	struct fault_queue *q = queue_of(eventq_of(f));
	struct iommu_hwpt_page_response resp;
	const uint8_t *at = buf;

	while (len) {
		size_t n = MIN(len, sizeof(q->response) - q->have);

		memcpy(q->response + q->have, at, n);
		q->have += n;
		at += n;
		len -= n;
		if (q->have == sizeof(q->response)) {
			memcpy(&resp, q->response, sizeof(resp));
			q->have = 0;
			queue_answered(q, &resp);
		}
	}
}

static const struct eventq_ops queue_ops = {
    .file = {.name = "anon_inode:[iommufd-pgfault]",
	     .written = queue_written,
	     .drained = eventq_drained,
	     .release = eventq_release},
    .begin = request_begin,
    .sent = request_sent,
};

/* ---- the object ---- */

void fault_destroy(struct iommufd_object *o)
{
	struct fault_queue *q = container_of(o, struct fault_queue, q.obj);

	assert(!q->q.open);
	while (!list_empty(&q->q.waiting))
		request_end(q, list_first(&q->q.waiting, struct request, entry.node), false);
	while (!list_empty(&q->unanswered))
		request_end(q, list_first(&q->unanswered, struct request, entry.node), false);
	free(q);
}

struct fault_queue *fault_queue_get(struct iommufd_ctx *ctx, uint32_t id)
{
	struct iommufd_object *o = iommufd_object_find(ctx, id, OBJECT_FAULT);

	if (!o)
		return NULL;
	o->users++;
	return container_of(o, struct fault_queue, q.obj);
}

void fault_queue_put(struct fault_queue *q)
{
	q->q.obj.users--;
}

long ioctl_fault_queue_alloc(struct ioctl_call *k)
{
	struct iommu_fault_alloc *cmd = k->cmd;
	struct fault_queue *q;
	int err;

	if (cmd->flags)
		return -EOPNOTSUPP;
	q = mem_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	list_init(&q->unanswered);
	err = eventq_init(&q->q, k->ctx, OBJECT_FAULT, &queue_ops);
	if (!err) {
		cmd->out_fault_id = q->q.obj.id;
		err = eventq_open(&q->q, k, sizeof(*cmd), offsetof(struct iommu_fault_alloc, out_fault_fd));
	}
	if (err)
		free(q);
	return err;
}
