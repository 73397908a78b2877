/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "devices/nvme/nvme.h"

#define KEEP_REQS 512 /* idle contexts and buffers kept for the next burst */
#define KEEP_BUFS 64

struct nvme_pool *nvme_pool_new(struct nvme *c)
{
	struct nvme_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->c = c;
	list_init(&p->free);
	list_init(&p->bufs);
	return p;
}

static void pool_free(struct nvme_pool *p)
{
	while (!list_empty(&p->free)) {
		struct nvme_req *r = list_first(&p->free, struct nvme_req, node);

		list_del(&r->node);
		free(r);
	}
	while (!list_empty(&p->bufs)) {
		struct list *b = p->bufs.next;

		list_del(b);
		free(b);
	}
	free(p);
}

void nvme_pool_detach(struct nvme_pool *p)
{
	p->c = NULL;
	if (!p->nused)
		pool_free(p);
}

bool nvme_pool_full(const struct nvme_pool *p)
{
	return p->bytes >= NVME_POOL_BYTES || p->nused >= NVME_POOL_REQS;
}

struct nvme_req *nvme_req_get(struct nvme *c, struct nvme_sq *sq, const struct nvme_cmd *cmd)
{
	struct nvme_pool *p = c->pool;
	struct nvme_req *r;

	if (!list_empty(&p->free)) {
		r = list_first(&p->free, struct nvme_req, node);
		list_del(&r->node);
		p->nfree--;
	} else {
		r = malloc(sizeof(*r));
		if (!r)
			return NULL;
		r->pool = p;
		r->buf = NULL;
		r->buf_len = 0;
		list_init(&r->node);
		r->sg.v = r->sg.inl;
	}
	p->nused++;
	r->c = c;
	r->ns = NULL;
	r->sqid = sq->id;
	r->cmd = *cmd;
	r->step = 0;
	nvme_sg_init(&r->sg);
	return r;
}

static void pool_wake(struct nvme_pool *p, bool was_full)
{
	if (p->c && was_full && !nvme_pool_full(p))
		nvme_turn_later(p->c);
}

static void buf_put(struct nvme_req *r)
{
	struct nvme_pool *p = r->pool;
	struct list *node = r->buf;

	if (!r->buf)
		return;
	p->bytes -= r->buf_len;
	if (r->buf_len == NVME_BUF_SMALL && p->nbufs < KEEP_BUFS) {
		list_add(&p->bufs, node);
		p->nbufs++;
	} else {
		free(r->buf);
	}
	r->buf = NULL;
	r->buf_len = 0;
}

void nvme_req_put(struct nvme_req *r)
{
	struct nvme_pool *p = r->pool;
	bool was_full = nvme_pool_full(p);

	list_del(&r->node);
	nvme_sg_fini(&r->sg);
	buf_put(r);
	p->nused--;
	if (p->nfree < KEEP_REQS) {
		list_add(&p->free, &r->node);
		p->nfree++;
	} else {
		free(r);
	}
	if (!p->c && !p->nused)
		pool_free(p);
	else
		pool_wake(p, was_full);
}

int nvme_req_buf(struct nvme_req *r, size_t len)
{
	struct nvme_pool *p = r->pool;

	if (r->buf_len >= len)
		return 0;
	buf_put(r);
	if (len <= NVME_BUF_SMALL && !list_empty(&p->bufs)) {
		r->buf = p->bufs.next;
		list_del(p->bufs.next);
		p->nbufs--;
		len = NVME_BUF_SMALL;
	} else {
		len = ALIGN_UP(MAX(len, (size_t)NVME_BUF_SMALL), 4096);
		r->buf = aligned_alloc(4096, len);
		if (!r->buf)
			return -ENOMEM;
	}
	r->buf_len = len;
	p->bytes += len;
	return 0;
}

static void req_done(struct block_req *b)
{
	struct nvme_req *r = container_of(b, struct nvme_req, blk);

	if (r->c)
		r->finish(r, b->error);
	else
		nvme_req_put(r);
}

void nvme_req_submit(struct nvme_req *r, enum block_op op, uint64_t off, uint64_t len)
{
	if (list_empty(&r->node)) {
		list_add_tail(&r->c->inflight, &r->node);
		r->c->sq[r->sqid].inflight++;
	}
	r->blk.op = op;
	r->blk.buf = r->buf;
	r->blk.off = off;
	r->blk.len = len;
	r->blk.done = req_done;
	block_submit(r->ns->blk, &r->blk);
}

void nvme_req_complete(struct nvme_req *r, uint16_t status, uint32_t dw0)
{
	struct nvme *c = r->c;
	struct nvme_sq *sq = &c->sq[r->sqid];
	struct nvme_cq *cq = &c->cq[sq->cqid];
	bool was_full;

	if (!list_empty(&r->node)) {
		list_del(&r->node);
		sq->inflight--;
	}
	if (status)
		status = nvme_error(c, &r->cmd, r->sqid, status);
	if (nvme_cq_has_room(cq)) {
		nvme_cq_post(c, cq, r->sqid, r->cmd.cid, status, dw0);
		nvme_req_put(r);
	} else {
		r->cqe = (struct nvme_cqe){.dw0 = dw0, .status = status};
		list_add_tail(&cq->waiting, &r->node);
		/* Nobody knows how long, so the buffer does not wait too. */
		was_full = nvme_pool_full(r->pool);
		nvme_sg_fini(&r->sg);
		buf_put(r);
		pool_wake(r->pool, was_full);
	}
	if (sq->deleting && !sq->inflight) {
		r = sq->deleting;
		sq->deleting = NULL;
		nvme_sq_stop(c, sq);
		nvme_req_complete(r, NVME_OK, 0);
	}
}

void nvme_req_orphan_all(struct nvme *c)
{
	while (!list_empty(&c->inflight)) {
		struct nvme_req *r = list_first(&c->inflight, struct nvme_req, node);

		list_del(&r->node);
		r->c = NULL;
	}
}
