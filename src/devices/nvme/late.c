/* SPDX-License-Identifier: BSD-3-Clause */
/* Completions that a fault on purpose (pci/inject.h) spoils or holds back. */
#include <stdlib.h>

#include "devices/nvme/nvme.h"

#define RETRY_NS 1000000 /* while the completion queue is full */

struct late {
	struct list node;
	struct nvme *c;
	struct loop_timer timer;
	uint16_t sqid, cid, status;
	uint32_t dw0;
};

static void late_free(struct late *l)
{
	loop_timer_cancel(l->c->loop, &l->timer);
	list_del(&l->node);
	free(l);
}

static void late_due(struct loop_timer *t)
{
	struct late *l = container_of(t, struct late, timer), own = *l;
	struct nvme *c = l->c;
	struct nvme_cq *cq = &c->cq[c->sq[l->sqid].cqid];

	if (!nvme_cq_has_room(cq)) {
		loop_timer_arm(c->loop, t, RETRY_NS);
		return;
	}
	late_free(l);
	nvme_cq_post(c, cq, own.sqid, own.cid, own.status, own.dw0);
}

static void spoil(const struct inject_fate *fate, uint16_t *cid, uint16_t *status, uint32_t *dw0)
{
	switch (fate->field) {
	case INJECT_FIELD_STATUS: /* status code and its type: 11 bits that are not all 0 */
		*status = (uint16_t)(1 + fate->noise % 0x7ff);
		break;
	case INJECT_FIELD_ID:
		*cid ^= (uint16_t)(1 + fate->noise % 0xffff);
		break;
	default:
		*dw0 ^= (uint32_t)fate->noise | 1;
	}
}

bool nvme_late(struct nvme *c, uint16_t sqid, uint16_t *cid, uint16_t *status, uint32_t *dw0)
{
	struct inject_fate fate;
	struct late *l;

	if (!inject_completion(&c->f, sqid, *cid, &fate))
		return false;
	if (fate.corrupt)
		spoil(&fate, cid, status, dw0);
	l = fate.delay ? malloc(sizeof(*l)) : NULL;
	if (!l)
		return false;
	*l = (struct late){.c = c, .sqid = sqid, .cid = *cid, .status = *status, .dw0 = *dw0};
	list_add_tail(&c->late, &l->node);
	loop_timer_init(&l->timer, late_due);
	loop_timer_arm(c->loop, &l->timer, fate.delay);
	return true;
}

void nvme_late_drop(struct nvme *c, uint16_t sqid)
{
	struct late *l, *tmp;

	list_for_each_safe (l, tmp, &c->late, node)
		if (l->sqid == sqid)
			late_free(l);
}
