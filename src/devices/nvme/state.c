/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A controller's state as records (pci/state.h): registers, features and counters; its queues; completions that wait
 * for room; asynchronous event requests; the error log. There is no command at the disk when it is saved, and nothing
 * in it points into client memory but the addresses that the client gave.
 *
 * Whoever loads it gets a controller of the same shape (namespaces, queues, transfer size) over the same data. Each
 * field is held against what this controller itself could have come to, as its registers and commands check it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "devices/nvme/ctrl.h"
#include "pci/state.h"

#define VERSION 1

#define R_SHAPE	   "nvme.shape"
#define R_REGS	   "nvme.registers"
#define R_FEATURES "nvme.features"
#define R_COUNTERS "nvme.counters"
#define R_SQ	   "nvme.sq"
#define R_CQ	   "nvme.cq"
#define R_WAITING  "nvme.waiting"
#define R_EVENTS   "nvme.events"
#define R_ERRORS   "nvme.errors"
#define R_MEMORY   "nvme.memory"

#define THREE_BITS 7U

/* ---- saving ---- */

static void put_shape(struct state_out *o, const struct nvme *c)
{
	state_put_u32(o, c->queues);
	state_put_u32(o, c->mdts);
	state_put_u32(o, c->nns);
	for (unsigned int i = 0; i < c->nns; i++) {
		state_put_u32(o, c->ns[i].shift);
		state_put_u32(o, c->ns[i].readonly);
		state_put_u64(o, c->ns[i].nlb);
	}
}

static void put_registers(struct state_out *o, const struct nvme *c)
{
	state_put_u64(o, c->asq);
	state_put_u64(o, c->acq);
	state_put_u32(o, c->cc);
	state_put_u32(o, c->csts);
	state_put_u32(o, c->aqa);
	state_put_u32(o, c->intm);
	state_put_u32(o, c->io_created);
	state_put_u32(o, nvme_shutdown_pending(c));
	state_put(o, c->serial, sizeof(c->serial) - 1);
	state_put(o, c->model, sizeof(c->model) - 1);
}

/* Clocks differ between two machines; how long ago it was does not. */
static void put_features(struct state_out *o, const struct nvme *c)
{
	const struct nvme_features *f = &c->feat;

	state_put_u32(o, f->arbitration);
	state_put_u32(o, f->power);
	state_put_u32(o, f->temp_over);
	state_put_u32(o, f->temp_under);
	state_put_u32(o, f->wce);
	state_put_u32(o, f->coalescing);
	state_put_u32(o, f->atomicity);
	state_put_u32(o, f->async_config);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->error_recovery); i++)
		state_put_u32(o, f->error_recovery[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->no_coalescing); i++)
		state_put_u16(o, f->no_coalescing[i]);
	state_put_u64(o, f->timestamp_base);
	state_put_u64(o, f->timestamp_origin ? loop_now() - f->timestamp_set_at : 0);
	state_put_u8(o, f->timestamp_origin);
}

static void put_counters(struct state_out *o, const struct nvme *c)
{
	state_put_u64(o, c->count.read_blocks);
	state_put_u64(o, c->count.written_blocks);
	state_put_u64(o, c->count.reads);
	state_put_u64(o, c->count.writes);
	state_put_u64(o, c->count.media_errors);
	state_put_u64(o, c->count.power_cycles);
	state_put_u64(o, c->count.unsafe_shutdowns);
	state_put_u64(o, loop_now() - c->born);
}

static void put_sqs(struct state_out *o, const struct nvme *c)
{
	for (unsigned int i = 0; i <= c->queues; i++) {
		const struct nvme_sq *sq = &c->sq[i];

		if (!sq->live)
			continue;
		state_put_u16(o, sq->id);
		state_put_u16(o, sq->cqid);
		state_put_u32(o, sq->prio);
		state_put_u32(o, sq->size);
		state_put_u32(o, sq->head);
		state_put_u32(o, sq->tail);
		state_put_u64(o, sq->base);
	}
}

static void put_cqs(struct state_out *o, const struct nvme *c)
{
	for (unsigned int i = 0; i <= c->queues; i++) {
		const struct nvme_cq *cq = &c->cq[i];

		if (!cq->live)
			continue;
		state_put_u16(o, cq->id);
		state_put_u16(o, cq->vector);
		state_put_u16(o, cq->ien);
		state_put_u16(o, cq->phase);
		state_put_u32(o, cq->size);
		state_put_u32(o, cq->head);
		state_put_u32(o, cq->tail);
		state_put_u64(o, cq->base);
	}
}

static void put_waiting(struct state_out *o, const struct nvme *c)
{
	for (unsigned int i = 0; i <= c->queues; i++) {
		const struct nvme_req *r;

		if (!c->cq[i].live)
			continue;
		list_for_each (r, &c->cq[i].waiting, node) {
			state_put_u16(o, r->sqid);
			state_put_u16(o, r->cmd.cid);
			state_put_u16(o, r->cqe.status);
			state_put_u16(o, 0);
			state_put_u32(o, r->cqe.dw0);
		}
	}
}

static void put_events(struct state_out *o, const struct nvme *c)
{
	const struct nvme_aer *a = &c->aer;

	state_put_u32(o, a->n);
	state_put_u32(o, a->naborted);
	for (unsigned int i = 0; i < NVME_AERL; i++) {
		state_put_u16(o, i < a->n ? a->cid[i] : 0);
		state_put_u16(o, i < a->naborted ? a->aborted[i] : 0);
	}
	for (unsigned int t = 0; t < NVME_AER_TYPES; t++) {
		state_put_u8(o, a->masked[t]);
		state_put_u8(o, a->wanted[t]);
		state_put_u8(o, a->info[t]);
		state_put_u8(o, a->page[t]);
	}
}

static void put_errors(struct state_out *o, const struct nvme *c)
{
	state_put_u64(o, c->error_count);
	state_put(o, c->errors, sizeof(c->errors));
}

/* What the buffer holds is the function's own; a persistent region's file is as shared as the disks are. */
static void put_memory(struct state_out *o, const struct nvme *c)
{
	state_put_u64(o, c->cmb.size);
	state_put_u64(o, c->pmr.size);
	state_put_u64(o, c->cmb.msc);
	state_put_u64(o, c->pmr.msc);
	state_put_u32(o, c->pmr_on);
}

static const struct {
	const char *name;
	void (*put)(struct state_out *o, const struct nvme *c);
} parts[] = {
    {R_SHAPE, put_shape},   {R_REGS, put_registers}, {R_FEATURES, put_features}, {R_COUNTERS, put_counters},
    {R_SQ, put_sqs},	    {R_CQ, put_cqs},	     {R_WAITING, put_waiting},	 {R_EVENTS, put_events},
    {R_ERRORS, put_errors}, {R_MEMORY, put_memory},
};

void nvme_save(struct pci_func *f, struct state_out *o)
{
	const struct nvme *c = container_of(f, struct nvme, f);

	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		state_begin(o, parts[i].name, VERSION, 0);
		parts[i].put(o, c);
		state_end(o);
	}
}

/* ---- loading ---- */

/* All of it, checked, before any of it is the controller's. */
struct staged {
	uint64_t asq, acq;
	uint32_t cc, csts, aqa, intm;
	unsigned int page_shift;
	bool io_created, shutdown;
	uint64_t cmbmsc, pmrmsc;
	bool pmr_on;
	char serial[21], model[41];
	struct nvme_features feat;
	struct nvme_counters count;
	uint64_t age;
	struct nvme_aer aer;
	uint64_t error_count;
	struct nvme_error_entry errors[NVME_ERRORS];
	struct sq {
		bool live;
		uint16_t cqid;
		uint32_t prio, size, head, tail;
		uint64_t base;
	} sq[NVME_QUEUES_MAX + 1];
	struct cq {
		bool live, ien, phase;
		uint16_t vector;
		uint32_t size, head, tail;
		uint64_t base;
	} cq[NVME_QUEUES_MAX + 1];
	struct list waiting; /* nvme_req.node */
};

static bool get_flag(struct state_in *in, bool *flag)
{
	uint32_t v = state_get_u32(in);

	*flag = v;
	return v <= 1;
}

static bool get_shape(struct state_in *in, const struct nvme *c, struct staged *s)
{
	if (state_get_u32(in) != c->queues || state_get_u32(in) != c->mdts || state_get_u32(in) != c->nns)
		return false;
	for (unsigned int i = 0; i < c->nns; i++)
		if (state_get_u32(in) != c->ns[i].shift || state_get_u32(in) != c->ns[i].readonly ||
		    state_get_u64(in) != c->ns[i].nlb)
			return false;
	return true;
}

/* Printable, and zeros from its end on. */
static bool get_text(struct state_in *in, char *text, size_t len)
{
	bool over = false;

	state_get(in, text, len);
	text[len] = 0;
	for (size_t i = 0; i < len; i++) {
		over |= !text[i];
		if (over ? text[i] != 0 : text[i] < 0x20 || text[i] > 0x7e)
			return false;
	}
	return text[0];
}

/* As enable() and the resets leave them: ready means enabled, with a configuration that CAP offers. */
static bool registers_sound(const struct staged *s)
{
	bool enabled = s->cc & NVME_CC_EN, ready = s->csts & NVME_CSTS_RDY;
	uint32_t shst = s->csts & NVME_CSTS_SHST;

	if (s->cc & ~NVME_CC_MASK || s->aqa & ~0x0fff0fffU || (s->asq | s->acq) & 0xfff)
		return false;
	if (s->csts & ~(NVME_CSTS_RDY | NVME_CSTS_CFS | NVME_CSTS_SHST | NVME_CSTS_NSSRO) || shst == NVME_CSTS_SHST)
		return false;
	if (ready && (!enabled || NVME_CC_CSS(s->cc) || NVME_CC_AMS(s->cc) || NVME_CC_MPS(s->cc) > NVME_MPSMAX))
		return false;
	if (enabled && !ready && !(s->csts & NVME_CSTS_CFS))
		return false;
	return !(shst == NVME_CSTS_SHST_BUSY && !s->shutdown) && !(s->io_created && !ready);
}

static bool get_registers(struct state_in *in, const struct nvme *c, struct staged *s)
{
	bool ok;

	s->asq = state_get_u64(in);
	s->acq = state_get_u64(in);
	s->cc = state_get_u32(in);
	s->csts = state_get_u32(in);
	s->aqa = state_get_u32(in);
	s->intm = state_get_u32(in);
	ok = get_flag(in, &s->io_created);
	ok &= get_flag(in, &s->shutdown);
	ok &= get_text(in, s->serial, sizeof(s->serial) - 1);
	ok &= get_text(in, s->model, sizeof(s->model) - 1);
	s->page_shift = 12 + NVME_CC_MPS(s->cc);
	return ok && registers_sound(s);
}

/* What Set Features (features.c) lets through. */
static bool features_sound(const struct nvme_features *f)
{
	bool ok = !(f->arbitration & 0xf8) && !(f->power & 31) && f->power <= 0xff && f->temp_over <= 0xffff &&
		  f->temp_under <= 0xffff && f->wce <= 1 && f->coalescing <= 0xffff && f->atomicity <= 1 &&
		  f->async_config <= 0xff && f->timestamp_base >> 48 == 0 && f->timestamp_origin <= 1;

	for (unsigned int i = 0; i < ARRAY_SIZE(f->error_recovery); i++)
		ok &= f->error_recovery[i] <= 0xffff;
	for (unsigned int i = 0; i < ARRAY_SIZE(f->no_coalescing); i++)
		ok &= f->no_coalescing[i] <= 1;
	return ok;
}

static bool get_features(struct state_in *in, const struct nvme *c, struct staged *s)
{
	struct nvme_features *f = &s->feat;

	f->arbitration = state_get_u32(in);
	f->power = state_get_u32(in);
	f->temp_over = state_get_u32(in);
	f->temp_under = state_get_u32(in);
	f->wce = state_get_u32(in);
	f->coalescing = state_get_u32(in);
	f->atomicity = state_get_u32(in);
	f->async_config = state_get_u32(in);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->error_recovery); i++)
		f->error_recovery[i] = state_get_u32(in);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->no_coalescing); i++)
		f->no_coalescing[i] = state_get_u16(in);
	f->timestamp_base = state_get_u64(in);
	f->timestamp_set_at = loop_now() - state_get_u64(in);
	f->timestamp_origin = state_get_u8(in);
	return features_sound(f);
}

static bool get_counters(struct state_in *in, const struct nvme *c, struct staged *s)
{
	s->count.read_blocks = state_get_u64(in);
	s->count.written_blocks = state_get_u64(in);
	s->count.reads = state_get_u64(in);
	s->count.writes = state_get_u64(in);
	s->count.media_errors = state_get_u64(in);
	s->count.power_cycles = state_get_u64(in);
	s->count.unsafe_shutdowns = state_get_u64(in);
	s->age = state_get_u64(in);
	return true;
}

static bool ring_sound(const struct staged *s, uint32_t size, uint32_t head, uint32_t tail, uint64_t base)
{
	return size >= 2 && size <= NVME_QSIZE_MAX && head < size && tail < size &&
	       !(base & ((1ULL << s->page_shift) - 1));
}

static bool get_cqs(struct state_in *in, const struct nvme *c, struct staged *s)
{
	while (in->left && !in->bad) {
		unsigned int id = state_get_u16(in), vector = state_get_u16(in), ien = state_get_u16(in);
		unsigned int phase = state_get_u16(in);
		struct cq *cq = &s->cq[MIN(id, (unsigned int)NVME_QUEUES_MAX)];

		if (id > c->queues || cq->live || ien > 1 || phase > 1 || (ien && vector >= c->f.msix_n))
			return false;
		*cq = (struct cq){.live = true, .ien = ien, .phase = phase, .vector = (uint16_t)vector};
		cq->size = state_get_u32(in);
		cq->head = state_get_u32(in);
		cq->tail = state_get_u32(in);
		cq->base = state_get_u64(in);
		if (!ring_sound(s, cq->size, cq->head, cq->tail, cq->base))
			return false;
	}
	return s->cq[0].live == !!(s->csts & NVME_CSTS_RDY) && (!s->cq[0].live || (s->cq[0].ien && !s->cq[0].vector));
}

static bool get_sqs(struct state_in *in, const struct nvme *c, struct staged *s)
{
	while (in->left && !in->bad) {
		unsigned int id = state_get_u16(in), cqid = state_get_u16(in);
		struct sq *sq = &s->sq[MIN(id, (unsigned int)NVME_QUEUES_MAX)];

		if (id > c->queues || sq->live || cqid > c->queues || !s->cq[cqid].live || !id != !cqid)
			return false;
		*sq = (struct sq){.live = true, .cqid = (uint16_t)cqid};
		sq->prio = state_get_u32(in);
		sq->size = state_get_u32(in);
		sq->head = state_get_u32(in);
		sq->tail = state_get_u32(in);
		sq->base = state_get_u64(in);
		if (sq->prio > 3 || !ring_sound(s, sq->size, sq->head, sq->tail, sq->base))
			return false;
	}
	return s->sq[0].live == s->cq[0].live;
}

/* No queue but of a controller that is ready, which has an admin queue; and what is made by a command says so. */
static bool queues_sound(const struct staged *s)
{
	for (unsigned int i = 1; i <= NVME_QUEUES_MAX; i++)
		if (s->cq[i].live && (!s->cq[0].live || !s->io_created))
			return false;
	return true;
}

static bool get_events(struct state_in *in, const struct nvme *c, struct staged *s)
{
	struct nvme_aer *a = &s->aer;

	a->n = state_get_u32(in);
	a->naborted = state_get_u32(in);
	for (unsigned int i = 0; i < NVME_AERL; i++) {
		a->cid[i] = state_get_u16(in);
		a->aborted[i] = state_get_u16(in);
	}
	for (unsigned int t = 0; t < NVME_AER_TYPES; t++) {
		uint8_t masked = state_get_u8(in), wanted = state_get_u8(in);

		a->masked[t] = masked;
		a->wanted[t] = wanted;
		a->info[t] = state_get_u8(in) & THREE_BITS;
		a->page[t] = state_get_u8(in);
		if (masked > 1 || wanted > 1)
			return false;
	}
	if (!s->cq[0].live && (a->n || a->naborted))
		return false;
	return a->n <= NVME_AERL && a->naborted <= NVME_AERL;
}

static bool get_errors(struct state_in *in, const struct nvme *c, struct staged *s)
{
	s->error_count = state_get_u64(in);
	state_get(in, s->errors, sizeof(s->errors));
	return true;
}

static bool get_memory(struct state_in *in, const struct nvme *c, struct staged *s)
{
	bool ok = state_get_u64(in) == c->cmb.size && state_get_u64(in) == c->pmr.size;

	s->cmbmsc = state_get_u64(in);
	s->pmrmsc = state_get_u64(in);
	ok &= get_flag(in, &s->pmr_on);
	return ok && !(s->cmbmsc & 0xffc) && !(s->pmrmsc & 0xffd) && (c->cmb.size || !s->cmbmsc) &&
	       (c->pmr.size || (!s->pmrmsc && !s->pmr_on));
}

/* In this order: what a part is held against comes before it. */
static const struct {
	const char *name;
	bool (*get)(struct state_in *in, const struct nvme *c, struct staged *s);
} loads[] = {
    {R_SHAPE, get_shape},	{R_REGS, get_registers}, {R_FEATURES, get_features},
    {R_COUNTERS, get_counters}, {R_CQ, get_cqs},	 {R_SQ, get_sqs},
    {R_EVENTS, get_events},	{R_ERRORS, get_errors},	 {R_MEMORY, get_memory},
};

static void drop_waiting(struct staged *s)
{
	while (!list_empty(&s->waiting))
		nvme_req_put(list_first(&s->waiting, struct nvme_req, node));
}

/* Completions that wait need a context each, and getting one may fail: so now, and not when nothing may fail. */
static int get_waiting(struct state_in *in, struct nvme *c, struct staged *s)
{
	while (in->left && !in->bad) {
		struct nvme_cmd cmd = {0};
		struct nvme_sq sq = {.id = state_get_u16(in)};
		uint16_t status;
		struct nvme_req *r;

		cmd.cid = state_get_u16(in);
		status = state_get_u16(in);
		if (state_get_u16(in) || status > 0x7fff || sq.id > c->queues || !s->sq[sq.id].live ||
		    nvme_pool_full(c->pool))
			return -EINVAL;
		r = nvme_req_get(c, &sq, &cmd);
		if (!r)
			return -ENOMEM;
		r->cqe = (struct nvme_cqe){.dw0 = state_get_u32(in), .status = status};
		list_add_tail(&s->waiting, &r->node);
	}
	return state_good(in) ? 0 : -EINVAL;
}

static int stage(struct nvme *c, struct state *s, struct staged *st)
{
	struct state_in in;
	int err;

	for (unsigned int i = 0; i < ARRAY_SIZE(loads); i++) {
		err = state_take(s, loads[i].name, VERSION, &in);
		if (err)
			return err;
		if (!loads[i].get(&in, c, st) || !state_good(&in))
			return -EINVAL;
	}
	if (!queues_sound(st))
		return -EINVAL;
	err = state_take(s, R_WAITING, VERSION, &in);
	if (!err)
		err = state_all_taken(s);
	return err ? err : get_waiting(&in, c, st);
}

static void commit_queues(struct nvme *c, struct staged *s)
{
	for (unsigned int i = 0; i <= c->queues; i++) {
		const struct cq *from = &s->cq[i];
		struct nvme_cq *cq = &c->cq[i];

		if (!from->live)
			continue;
		nvme_cq_start(c, i, from->base, from->size, from->ien, from->vector);
		cq->head = from->head;
		cq->tail = from->tail;
		cq->phase = from->phase;
	}
	for (unsigned int i = 0; i <= c->queues; i++) {
		const struct sq *from = &s->sq[i];
		struct nvme_sq *sq = &c->sq[i];

		if (!from->live)
			continue;
		nvme_sq_start(c, i, from->cqid, from->base, from->size, from->prio);
		sq->head = from->head;
		sq->tail = from->tail;
	}
	while (!list_empty(&s->waiting)) {
		struct nvme_req *r = list_first(&s->waiting, struct nvme_req, node);

		list_del(&r->node);
		list_add_tail(&c->cq[c->sq[r->sqid].cqid].waiting, &r->node);
	}
}

static void commit(struct nvme *c, struct staged *s)
{
	nvme_power_on(c);
	c->asq = s->asq;
	c->acq = s->acq;
	c->cc = s->cc;
	c->csts = s->csts;
	c->aqa = s->aqa;
	c->intm = s->intm;
	c->page_shift = s->page_shift;
	nvme_cmb_restore(c, s->cmbmsc, s->pmrmsc, s->pmr_on);
	memcpy(c->serial, s->serial, sizeof(c->serial));
	memcpy(c->model, s->model, sizeof(c->model));
	c->feat = s->feat;
	c->count = s->count;
	c->born = loop_now() - s->age;
	c->aer = s->aer;
	c->error_count = s->error_count;
	memcpy(c->errors, s->errors, sizeof(c->errors));
	commit_queues(c, s);
	c->io_created = s->io_created;
	if (s->shutdown)
		nvme_shutdown_go_on(c);
}

int nvme_load(struct pci_func *f, struct state *s)
{
	struct nvme *c = container_of(f, struct nvme, f);
	struct staged *st = mem_calloc(1, sizeof(*st));
	int err;

	if (!st)
		return -ENOMEM;
	list_init(&st->waiting);
	err = stage(c, s, st);
	if (!err)
		commit(c, st);
	drop_waiting(st);
	free(st);
	return err;
}
