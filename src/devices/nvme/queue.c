/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 4.1: queues in client memory.
 *
 * A doorbell starts a turn: entries are fetched in bulk, executed, and the completions of the turn are shown together,
 * with one interrupt for each completion queue. A turn ends after NVME_TURN_CMDS commands or NVME_TURN_BYTES; what is
 * left goes on from the loop, after others had theirs. No command is fetched whose completion would find no room.
 */
#include "devices/nvme/nvme.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

void nvme_queue_init(struct nvme *c)
{
	list_init(&c->pending);
	list_init(&c->dirty);
	list_init(&c->inflight);
	list_init(&c->late);
	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++) {
		c->sq[i].id = c->cq[i].id = (uint16_t)i;
		list_init(&c->sq[i].pending);
		list_init(&c->cq[i].waiting);
		list_init(&c->cq[i].dirty);
	}
}

void nvme_sq_start(struct nvme *c, unsigned int id, unsigned int cqid, uint64_t base, uint32_t size, unsigned int prio)
{
	struct nvme_sq *sq = &c->sq[id];

	sq->live = true;
	sq->cqid = (uint16_t)cqid;
	sq->base = base;
	sq->given = dma_dev_moves(c->f.dma);
	sq->size = size;
	sq->prio = (uint8_t)prio;
	sq->head = sq->tail = 0;
	sq->inflight = 0;
	sq->deleting = NULL;
	if (event_wanted(c->f.evs, EVENT_MISUSE) && !sq->cids)
		sq->cids = calloc(NVME_CIDS / 64, sizeof(*sq->cids)); /* without it there is one check less */
	c->cq[cqid].users++;
	nvme_live_queue_changed(c, 2 * id);
}

void nvme_cq_start(struct nvme *c, unsigned int id, uint64_t base, uint32_t size, bool ien, unsigned int vector)
{
	struct nvme_cq *cq = &c->cq[id];

	cq->live = true;
	cq->base = base;
	cq->given = dma_dev_moves(c->f.dma);
	cq->size = size;
	cq->ien = ien;
	cq->vector = (uint16_t)vector;
	cq->head = cq->tail = 0;
	cq->phase = true;
	cq->stalled = false;
	cq->looked_ns = 0;
	cq->batch_n = 0;
	cq->users = 0;
	nvme_live_queue_changed(c, 2 * id + 1);
}

static void cq_drop_waiting(struct nvme_cq *cq, int sqid)
{
	struct nvme_req *r, *tmp;

	list_for_each_safe (r, tmp, &cq->waiting, node)
		if (sqid < 0 || r->sqid == sqid)
			nvme_req_put(r);
}

/* 5.6: what the queue still held counts as aborted, and nothing of it is posted any more. */
void nvme_sq_stop(struct nvme *c, struct nvme_sq *sq)
{
	struct nvme_cq *cq = &c->cq[sq->cqid];

	if (!sq->live)
		return;
	sq->live = false;
	free(sq->cids);
	sq->cids = NULL;
	nvme_late_drop(c, sq->id);
	inject_reset(&c->f, sq->id);
	list_del(&sq->pending);
	cq->users--;
	cq_drop_waiting(cq, sq->id);
	if (sq->deleting)
		nvme_req_put(sq->deleting);
	sq->deleting = NULL;
}

void nvme_cq_stop(struct nvme *c, struct nvme_cq *cq)
{
	cq->live = false;
	list_del(&cq->dirty);
	cq->batch_n = 0;
	cq_drop_waiting(cq, -1);
	if (unlikely(c->f.intx_wanted))
		nvme_pin_update(c);
}

/* ---- completion queues ---- */
static uint32_t ring_used(uint32_t head, uint32_t tail, uint32_t size)
{
	return tail >= head ? tail - head : tail + size - head;
}

/* Entries that the host may see and has not taken. */
static uint32_t cq_shown(const struct nvme_cq *cq)
{
	return ring_used(cq->head, cq->tail, cq->size) - cq->batch_n;
}

static uint32_t cq_room(const struct nvme_cq *cq)
{
	return cq->size - 1 - ring_used(cq->head, cq->tail, cq->size);
}

bool nvme_cq_has_room(const struct nvme_cq *cq)
{
	return cq_room(cq) > 0;
}

static bool cq_write(struct nvme *c, struct nvme_cq *cq, uint32_t at, const void *src, size_t len)
{
	struct dma_tag tag = {.queue_kind = "CQ",
			      .queue = cq->id,
			      .part = "CQE",
			      .given = cq->given,
			      .old = unlikely(c->acq_old) && !cq->id};

	if (nvme_mem_write(c, cq->base + at, src, len, &tag) == 0)
		return true;
	nvme_fatal(c, "a completion queue is not reachable");
	return false;
}

static void cids_shown(struct nvme *c, const struct nvme_cq *cq, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint64_t *cids = c->sq[cq->batch[i].sqid].cids;

		if (cids)
			cids[cq->batch[i].cid / 64] &= ~BIT64(cq->batch[i].cid % 64);
	}
}

/*
 * A client polls the phase bit of the entry it expects next. So the first entry of the batch is written with the old
 * phase, all others as they are, and then that one byte is set: whoever sees it sees all of the batch.
 */
static void cq_show(struct nvme *c, struct nvme_cq *cq)
{
	unsigned int n = cq->batch_n;
	uint32_t first = (cq->tail + cq->size - n) % cq->size;
	unsigned int upto_end = MIN(n, cq->size - first);
	const size_t phase_at = offsetof(struct nvme_cqe, status);
	uint8_t phase_byte = (uint8_t)cq->batch[0].status;

	list_del(&cq->dirty);
	cq->batch_n = 0;
	if (!n)
		return;
	cq->batch[0].status ^= 1;
	if (n > upto_end && !cq_write(c, cq, 0, cq->batch + upto_end, (n - upto_end) * sizeof(struct nvme_cqe)))
		return;
	if (!cq_write(c, cq, first * sizeof(struct nvme_cqe), cq->batch, upto_end * sizeof(struct nvme_cqe)))
		return;
	cids_shown(c, cq, n);
	if (unlikely(event_wanted(c->f.evs, EVENT_UNTAKEN)) && cq_shown(cq) == n)
		cq->looked_ns = loop_now();
	atomic_thread_fence(memory_order_release);
	if (!cq_write(c, cq, (uint32_t)(first * sizeof(struct nvme_cqe) + phase_at), &phase_byte, 1))
		return;
	if (!cq->ien)
		return;
	if (likely(pci_msix_enabled(&c->f)))
		pci_msix_raise(&c->f, cq->vector);
	else
		nvme_pin_update(c);
}

void nvme_cq_post(struct nvme *c, struct nvme_cq *cq, uint16_t sqid, uint16_t cid, uint16_t status, uint32_t dw0)
{
	if (unlikely(c->f.inject) && nvme_late(c, sqid, &cid, &status, &dw0))
		return;
	cq->batch[cq->batch_n++] = (struct nvme_cqe){.dw0 = dw0,
						     .sqhd = (uint16_t)c->sq[sqid].head,
						     .sqid = sqid,
						     .cid = cid,
						     .status = (uint16_t)(status << 1 | cq->phase)};
	if (++cq->tail == cq->size) {
		cq->tail = 0;
		cq->phase = !cq->phase;
	}
	if (list_empty(&cq->dirty))
		list_add_tail(&c->dirty, &cq->dirty);
	if (cq->batch_n == NVME_BATCH)
		cq_show(c, cq);
	if (!c->in_turn)
		nvme_turn_later(c);
}

void nvme_cq_post_waiting(struct nvme *c, struct nvme_cq *cq)
{
	while (!list_empty(&cq->waiting) && nvme_cq_has_room(cq)) {
		struct nvme_req *r = list_first(&cq->waiting, struct nvme_req, node);

		nvme_cq_post(c, cq, r->sqid, r->cmd.cid, r->cqe.status, r->cqe.dw0);
		nvme_req_put(r);
	}
}

/* ---- interrupts ---- */
/*
 * 7.5.1: without MSI-X the pin is asserted while a completion queue holds entries that the host has not taken, unless
 * INTMS has masked its vector. Masks are for 32 vectors.
 */
void nvme_pin_update(struct nvme *c)
{
	bool wanted = false;

	for (unsigned int i = 0; i <= NVME_QUEUES_MAX && !wanted; i++) {
		const struct nvme_cq *cq = &c->cq[i];

		wanted = cq->live && cq->ien && cq_shown(cq) && !(cq->vector < 32 && c->intm & BIT(cq->vector));
	}
	pci_intx_set(&c->f, wanted);
}

/*
 * What is nobody's mistake: a driver that goes while commands are under way, one that finds its answers by looking, one
 * that tells of them later. So an interrupt counts as lost if it has not been read in all that time, and the answers
 * behind it have not been taken either. Events in the admin queue are not waited for by every driver.
 */
#define UNTAKEN_NS 1000000000ull

static bool cq_left(const struct nvme_cq *cq)
{
	return cq->live && cq->looked_ns && cq_shown(cq) && loop_now() - cq->looked_ns >= UNTAKEN_NS;
}

static void cq_untaken_tell(struct nvme *c, const struct nvme_cq *cq)
{
	uint64_t unread = 0;
	char where[32];

	if (cq->ien && pci_msix_enabled(&c->f) && c->f.sink && c->f.sink->unread)
		unread = c->f.sink->unread(c->f.sink, cq->vector);
	if (!unread)
		return;
	snprintf(where, sizeof(where), "completion queue %u", cq->id);
	event_emit(c->f.evs, EVENT_UNTAKEN, .who = (uint32_t)c->f.domain << 16 | c->f.bdf, .value = cq->vector,
		   .addr = unread, .len = cq_shown(cq), .name = where);
}

void nvme_untaken_tell(struct nvme *c)
{
	if (likely(!event_wanted(c->f.evs, EVENT_UNTAKEN)))
		return;
	for (unsigned int i = 1; i <= NVME_QUEUES_MAX; i++)
		if (cq_left(&c->cq[i]))
			cq_untaken_tell(c, &c->cq[i]);
}

bool nvme_sq_left(const struct nvme *c, const struct nvme_sq *sq)
{
	const struct nvme_cq *cq = &c->cq[sq->cqid];

	return sq->live && cq->stalled && sq->head != sq->tail && cq_left(cq);
}

/* ---- submission queues ---- */
static bool sq_fetch(struct nvme *c, struct nvme_sq *sq, unsigned int n)
{
	unsigned int upto_end = MIN(n, sq->size - sq->head);
	struct dma_tag tag = nvme_tag(NULL, sq->id, "SQE");

	tag.old = unlikely(c->asq_old) && !sq->id;
	tag.given = sq->given;
	if (nvme_mem_read(c, sq->base + sq->head * sizeof(c->sqe[0]), c->sqe, upto_end * sizeof(c->sqe[0]), &tag) ||
	    (n > upto_end && nvme_mem_read(c, sq->base, c->sqe + upto_end, (n - upto_end) * sizeof(c->sqe[0]), &tag))) {
		nvme_fatal(c, "a submission queue is not reachable");
		return false;
	}
	return true;
}

/* 4.2: of the commands of a queue that are under way, no two have the same identifier. */
static void cid_taken(struct nvme *c, struct nvme_sq *sq, uint16_t cid)
{
	uint64_t *word = &sq->cids[cid / 64];

	/* A fault on purpose may have answered with another one's. */
	if (unlikely(*word & BIT64(cid % 64)) && !c->f.inject)
		pci_misuse(&c->f, MISUSE_PROTOCOL, 0, NVME_REG_DOORBELLS + 8ull * sq->id, 4, true,
			   "a command has the identifier of one that is still under way");
	*word |= BIT64(cid % 64);
}

static void sq_execute(struct nvme *c, struct nvme_sq *sq, const struct nvme_cmd *cmd)
{
	uint32_t dw0 = 0;
	int rc;

	if (sq->cids)
		cid_taken(c, sq, cmd->cid);
	rc = sq->id ? nvme_io(c, sq, cmd) : nvme_admin(c, sq, cmd, &dw0);
	if (rc == NVME_ASYNC)
		return;
	if (rc)
		rc = nvme_error(c, cmd, sq->id, (uint16_t)rc);
	nvme_cq_post(c, &c->cq[sq->cqid], sq->id, cmd->cid, (uint16_t)rc, dw0);
}

static bool turn_goes_on(const struct nvme *c)
{
	return c->turn_cmds && c->turn_bytes < NVME_TURN_BYTES && nvme_takes_commands(c);
}

/* While the pool is full I/O waits, but the admin queue does not: deleting queues may be what makes room. */
static bool sq_may_fetch(const struct nvme *c, const struct nvme_sq *sq)
{
	return sq->id == 0 || !nvme_pool_full(c->pool);
}

static struct nvme_sq *pending_next(struct nvme *c)
{
	struct nvme_sq *first;

	if (list_empty(&c->pending))
		return NULL;
	first = list_first(&c->pending, struct nvme_sq, pending);
	if (sq_may_fetch(c, first))
		return first;
	return list_empty(&c->sq[0].pending) ? NULL : &c->sq[0];
}

/* True: there is more to fetch, and room for it. */
static bool sq_run(struct nvme *c, struct nvme_sq *sq)
{
	struct nvme_cq *cq = &c->cq[sq->cqid];
	uint32_t avail = ring_used(sq->head, sq->tail, sq->size), room = cq_room(cq);
	unsigned int n = MIN(avail, room);

	if (!avail || sq->deleting || inject_stuck(&c->f, sq->id))
		return false;
	if (!room) {
		cq->stalled = true;
		return false;
	}
	n = MIN(n, c->turn_cmds);
	n = MIN(n, (unsigned int)NVME_BATCH);
	if (!sq_fetch(c, sq, n))
		return false;
	for (unsigned int i = 0; i < n && turn_goes_on(c) && sq_may_fetch(c, sq); i++) {
		if (!inject_command(&c->f, sq->id, c->sqe[i].cid))
			return false;
		sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
		c->turn_cmds--;
		sq_execute(c, sq, &c->sqe[i]);
	}
	return sq->head != sq->tail;
}

void nvme_turn_end(struct nvme *c)
{
	struct nvme_cq *cq, *tmp;

	nvme_aer_flush(c);
	list_for_each_safe (cq, tmp, &c->dirty, dirty)
		cq_show(c, cq);
}

static void turn(struct nvme *c)
{
	struct nvme_sq *sq;

	if (!nvme_takes_commands(c))
		return;
	c->in_turn = true;
	c->turn_cmds = NVME_TURN_CMDS;
	c->turn_bytes = 0;
	while (turn_goes_on(c) && (sq = pending_next(c))) {
		list_del(&sq->pending);
		if (sq_run(c, sq))
			list_add_tail(&c->pending, &sq->pending);
	}
	nvme_turn_end(c);
	c->in_turn = false;
	/* A full pool wakes us itself when it has room again. */
	if (nvme_takes_commands(c) && pending_next(c))
		nvme_turn_later(c);
}

void nvme_resume(struct pci_func *f)
{
	struct nvme *c = container_of(f, struct nvme, f);

	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++) {
		struct nvme_sq *sq = &c->sq[i];

		if (sq->live && sq->head != sq->tail && list_empty(&sq->pending))
			list_add_tail(&c->pending, &sq->pending);
	}
	nvme_turn_later(c);
}

void nvme_turn_run(struct loop_work *w)
{
	turn(container_of(w, struct nvme, work));
}

void nvme_turn_later(struct nvme *c)
{
	loop_work_queue(c->loop, &c->work);
}

/* While a turn is due from the loop, others go first. */
static void turn_now(struct nvme *c)
{
	if (list_empty(&c->work.node))
		turn(c);
}

/* ---- doorbells ---- */
enum { DOORBELL_BAD_REGISTER = 0, DOORBELL_BAD_VALUE = 1 }; /* figure 147 */

static void doorbell_misuse(struct nvme *c, unsigned int index, const char *text)
{
	pci_misuse(&c->f, MISUSE_PROTOCOL, 0, NVME_REG_DOORBELLS + 4ull * index, 4, true, text);
}

static void doorbell_refused(struct nvme *c, unsigned int error, unsigned int index, const char *text)
{
	doorbell_misuse(c, index, text);
	nvme_aer_error(c, error);
}

/* 5.2 and 3.1.24: the same value again, a value outside the queue, more entries than the queue has room for. */
static void sq_doorbell(struct nvme *c, struct nvme_sq *sq, uint32_t val)
{
	uint32_t used = ring_used(sq->head, sq->tail, sq->size);

	if (val >= sq->size || val == sq->tail || used + ring_used(sq->tail, val, sq->size) >= sq->size) {
		doorbell_refused(c, DOORBELL_BAD_VALUE, 2 * sq->id,
				 "a submission queue's tail went outside the queue, or past its head");
		return;
	}
	if (sq->id)
		nvme_live_note(c, ring_used(sq->tail, val, sq->size));
	sq->tail = val;
	if (sq->deleting)
		return;
	if (list_empty(&sq->pending))
		list_add_tail(&c->pending, &sq->pending);
	turn_now(c);
}

static void cq_doorbell(struct nvme *c, struct nvme_cq *cq, uint32_t val)
{
	if (val >= cq->size || val == cq->head || ring_used(cq->head, val, cq->size) > cq_shown(cq)) {
		doorbell_refused(c, DOORBELL_BAD_VALUE, 2 * cq->id + 1,
				 "a completion queue's head went past what was completed");
		return;
	}
	cq->head = val;
	if (cq->looked_ns)
		cq->looked_ns = loop_now();
	if (unlikely(c->f.intx_wanted))
		nvme_pin_update(c);
	if (likely(!cq->stalled && list_empty(&cq->waiting) && cq->id) || c->f.run != PCI_RUNNING)
		return;
	cq->stalled = false;
	nvme_cq_post_waiting(c, cq);
	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++) {
		struct nvme_sq *sq = &c->sq[i];

		if (sq->live && sq->cqid == cq->id && sq->head != sq->tail && list_empty(&sq->pending))
			list_add_tail(&c->pending, &sq->pending);
	}
	turn_now(c);
}

void nvme_doorbell(struct nvme *c, unsigned int index, uint32_t val)
{
	unsigned int q = index / 2;
	bool is_cq = index & 1;

	c->f.accesses++;
	if (!nvme_running(c)) {
		if (!(c->csts & NVME_CSTS_CFS) && !c->f.behind)
			doorbell_misuse(c, index, "a doorbell of a controller that is not enabled");
		return;
	}
	if (q > NVME_QUEUES_MAX || !(is_cq ? c->cq[q].live : c->sq[q].live))
		doorbell_refused(c, DOORBELL_BAD_REGISTER, index, "a doorbell of a queue that does not exist");
	else if (is_cq)
		cq_doorbell(c, &c->cq[q], val & 0xffff);
	else
		sq_doorbell(c, &c->sq[q], val & 0xffff);
}
