/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 5.2: asynchronous events. A type that was reported is masked until its log page is read. Completions are posted at
 * the end of a turn, when the admin completion queue has room.
 */
#include <string.h>

#include "devices/nvme/nvme.h"

int nvme_aer_request(struct nvme *c, const struct nvme_cmd *cmd)
{
	if (c->aer.n == NVME_AERL)
		return NVME_AER_LIMIT;
	c->aer.cid[c->aer.n++] = cmd->cid;
	return NVME_ASYNC;
}

void nvme_aer_event(struct nvme *c, unsigned int type, uint8_t info, uint8_t page)
{
	struct nvme_aer *a = &c->aer;

	if (a->masked[type] || a->wanted[type])
		return;
	a->wanted[type] = true;
	a->info[type] = info;
	a->page[type] = page;
	if (!c->in_turn)
		nvme_turn_later(c);
}

void nvme_aer_unmask(struct nvme *c, unsigned int type)
{
	c->aer.masked[type] = false;
	c->aer.wanted[type] = false;
}

static uint16_t aer_take(struct nvme_aer *a, unsigned int i)
{
	uint16_t cid = a->cid[i];

	memmove(a->cid + i, a->cid + i + 1, (a->n - i - 1) * sizeof(a->cid[0]));
	a->n--;
	return cid;
}

void nvme_aer_flush(struct nvme *c)
{
	struct nvme_aer *a = &c->aer;

	while (unlikely(a->naborted) && nvme_cq_has_room(&c->cq[0]))
		nvme_cq_post(c, &c->cq[0], 0, a->aborted[--a->naborted], NVME_ABORT_REQUESTED, 0);
	for (unsigned int t = 0; t < NVME_AER_TYPES; t++) {
		if (likely(!a->wanted[t]) || !a->n || !nvme_cq_has_room(&c->cq[0]))
			continue;
		a->wanted[t] = false;
		a->masked[t] = true;
		nvme_cq_post(c, &c->cq[0], 0, aer_take(a, 0), NVME_OK,
			     t | (uint32_t)a->info[t] << 8 | (uint32_t)a->page[t] << 16);
	}
}

bool nvme_aer_abort(struct nvme *c, uint16_t cid)
{
	struct nvme_aer *a = &c->aer;

	for (unsigned int i = 0; i < a->n && a->naborted < NVME_AERL; i++) {
		if (a->cid[i] != cid)
			continue;
		a->aborted[a->naborted++] = aer_take(a, i);
		return true;
	}
	return false;
}

void nvme_aer_reset(struct nvme *c)
{
	memset(&c->aer, 0, sizeof(c->aer));
}
