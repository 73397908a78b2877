/* SPDX-License-Identifier: BSD-3-Clause */
/* Turns. A doorbell begins one at once; what is left over goes on from the loop, after everybody else has been heard.
 */
#include "devices/ioat/ioat.h"

/*
 * DMA may reach registers, this device's own among them, if somebody mapped them so. Hence after each transfer: is the
 * descriptor still in progress?
 */
static uint32_t chan_step(struct ioat_chan *c)
{
	uint32_t n = 0, err = 0, cost = 0;

	if (!c->busy) {
		if (!inject_command(&c->dev->f, c->index, c->done))
			return 0;
		cost = IOAT_DESC_COST;
		c->busy = true;
		err = ioat_op_fetch(c);
	} else if (!ioat_op_finished(c)) {
		err = ioat_op_slice(c, &n);
		c->moved += n;
		cost = n;
	}
	if (!c->busy)
		return cost;
	if (err)
		ioat_chan_fail(c, err);
	else if (ioat_op_finished(c))
		ioat_chan_complete(c);
	return cost;
}

/* Until the channel has nothing to do, has to wait, or others are due. */
static uint32_t chan_run(struct ioat_chan *c, uint32_t max)
{
	uint32_t used = 0;

	while (c->state == IOAT_ACTIVE && !list_empty(&c->node) && used < max) {
		if (inject_stuck(&c->dev->f, c->index))
			list_del(&c->node);
		else
			used += chan_step(c);
	}
	ioat_chan_report(c);
	return used;
}

static void turn(struct ioat *d)
{
	uint32_t left = IOAT_TURN_COST, used;

	if (d->f.run != PCI_RUNNING)
		return;
	d->in_turn = true;
	while (left && !list_empty(&d->running)) {
		struct ioat_chan *c = list_first(&d->running, struct ioat_chan, node);

		list_del(&c->node);
		list_add_tail(&d->running, &c->node);
		used = chan_run(c, MIN(left, IOAT_CHAN_COST));
		left -= MIN(left, used);
	}
	d->in_turn = false;
	if (!list_empty(&d->running))
		loop_work_queue(d->loop, &d->work);
}

void ioat_turn_run(struct loop_work *w)
{
	turn(container_of(w, struct ioat, work));
}

void ioat_turn_now(struct ioat *d)
{
	if (!d->in_turn && list_empty(&d->work.node))
		turn(d);
}

void ioat_resume(struct pci_func *f)
{
	struct ioat *d = container_of(f, struct ioat, f);

	for (unsigned int i = 0; i < d->nchans; i++) {
		struct ioat_chan *c = &d->chan[i];

		if (c->state == IOAT_ACTIVE && list_empty(&c->node) && !c->timer.deadline)
			list_add_tail(&d->running, &c->node);
	}
	if (!list_empty(&d->running))
		loop_work_queue(d->loop, &d->work);
}
