/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults on purpose (pci/inject.h), as a network card has them. A command is a packet that is taken from a queue for
 * sending, or a frame that is put into one for receiving; its completion is what is written back of it. Receive queues
 * are numbers 0 to 15, those for sending follow; of a virtual function, 0 and 1, 16 and 17.
 *
 * Descriptors are written back in order, so a queue whose completion is late stands still until then, behind what came
 * before.
 */
#include "devices/igb/igb.h"

unsigned int igb_ring_number(const struct igb_ring *r)
{
	unsigned int queue = r->d->pf ? r->index / 8u : r->index;

	return r->tx ? IGB_QUEUES + queue : queue;
}

void igb_ring_calm(struct igb_ring *r)
{
	r->taken = r->astray = r->held = r->spoiling = false;
	r->head_noise = 0;
	loop_timer_cancel(r->d->loop, &r->late);
}

/* ---- a packet is taken ---- */
bool igb_ring_take_slow(struct igb_ring *r)
{
	unsigned int queue = igb_ring_number(r);
	struct pci_func *f = &r->d->f;
	uint64_t right;

	if (r->taken)
		return true;
	if (inject_stuck(f, queue))
		return false;
	/* What cannot be read is found out about by who needs it. */
	if (r->pos == r->cached && !igb_ring_fetch(r, r->tx ? IGB_CHAIN : IGB_FETCH, IGB_FETCH))
		return true;
	if (!inject_command(f, queue, igb_ring_at(r, r->pos)))
		return false;
	r->taken = true;
	right = r->cache[r->pos].q[0];
	r->wrong_addr = right;
	inject_dma(f, queue, &r->wrong_addr);
	r->astray = r->wrong_addr != right;
	r->astray_at = igb_ring_at(r, r->pos);
	return true;
}

bool igb_frame_lost_slow(struct igb_ring *r)
{
	struct inject_fate fate;

	if (!inject_frame(&r->d->f, igb_ring_number(r)))
		return false;
	/* One that comes leaves no trace. */
	if (!r->tx && r->taken) {
		inject_completion(&r->d->f, igb_ring_number(r), igb_ring_at(r, r->pos), &fate);
		r->taken = r->astray = false;
	}
	return true;
}

/* ---- it is done ---- */

/* What says that cache[i] is done says it of another descriptor. */
static void misplace(struct igb_ring *r, unsigned int i, uint64_t noise)
{
	uint32_t at = (igb_ring_at(r, i) + 1 + (uint32_t)(noise % (r->size - 1))) % r->size;
	const struct dma_tag *tag = igb_tag(r, at, "write-back");
	union igb_desc *t = &r->cache[i];

	pci_dma_write(&r->d->f, r->base + at * sizeof(*t), t, sizeof(*t), tag);
	if (r->tx)
		t->d[3] &= ~IGB_TXD_DD;
	else
		*(container_of(r, struct igb_rxq, r)->srrctl & IGB_SRRCTL_TYPES ? &t->d[2] : &t->d[3]) &= ~IGB_RXD_DD;
}

/* DD is in the same bit of both forms; without it a packet never seems to be sent. */
static void spoil_tx(union igb_desc *t, const struct inject_fate *fate)
{
	if (fate->field == INJECT_FIELD_STATUS)
		t->d[3] &= ~IGB_TXD_DD;
	else
		t->q[0] ^= fate->noise;
}

/* Checksums that are right are found wrong, or a length is. */
static void spoil_rx(union igb_desc *t, bool legacy, const struct inject_fate *fate)
{
	uint32_t errors = 1 + (uint32_t)(fate->noise % 3), length = 1 + (uint32_t)(fate->noise % 0xffff);

	if (fate->field != INJECT_FIELD_STATUS) {
		t->d[legacy ? 2 : 3] ^= length;
	} else if (legacy) {
		t->d[3] |= IGB_RXD_IPCS | IGB_RXD_L4CS;
		t->d[3] ^= errors << 13;
	} else {
		t->d[2] |= IGB_RXD_IPCS | IGB_RXD_L4CS;
		t->d[2] ^= errors << 29;
	}
}

static void spoil(struct igb_ring *r, unsigned int i)
{
	bool legacy = !r->tx && !(container_of(r, struct igb_rxq, r)->srrctl & IGB_SRRCTL_TYPES);

	r->spoiling = false;
	if (r->tx && container_of(r, struct igb_txq, r)->head_wb & IGB_TDWBAL_HEAD)
		r->head_noise = r->fate.noise;
	else if (r->fate.field == INJECT_FIELD_ID && r->size > 1)
		misplace(r, i, r->fate.noise);
	else if (r->tx)
		spoil_tx(&r->cache[i], &r->fate);
	else
		spoil_rx(&r->cache[i], legacy, &r->fate);
}

/* The last of [first, pos) that is written back; pos: none is. */
static unsigned int reported(const struct igb_ring *r, unsigned int first)
{
	for (unsigned int i = r->pos; i > first; i--)
		if (!r->tx || r->cache[i - 1].d[2] & IGB_TXD_RS)
			return i - 1;
	return r->pos;
}

void igb_ring_taken_slow(struct igb_ring *r, unsigned int first)
{
	struct inject_fate fate = {0};
	unsigned int i;

	r->taken = r->astray = false;
	if (inject_completion(&r->d->f, igb_ring_number(r), r->astray_at, &fate) && fate.corrupt) {
		r->fate = fate;
		r->spoiling = true;
	}
	i = r->spoiling ? reported(r, first) : r->pos;
	if (i != r->pos)
		spoil(r, i);
	if (!fate.delay)
		return;
	igb_ring_flush_upto(r, first);
	r->held = true;
	loop_timer_arm(r->d->loop, &r->late, fate.delay);
}

static void go_on(struct igb_ring *r)
{
	if (r->tx)
		igb_tx_start(container_of(r, struct igb_txq, r));
	else
		igb_rx_room(r->d, container_of(r, struct igb_rxq, r));
}

static void late_expired(struct loop_timer *t)
{
	struct igb_ring *r = container_of(t, struct igb_ring, late);

	r->held = false;
	igb_ring_flush(r);
	igb_intr_update(r->d);
	go_on(r);
}

void igb_trouble_init(struct igb_ring *r)
{
	loop_timer_init(&r->late, late_expired);
}

void igb_resume(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		go_on(&d->txq[i].r);
		go_on(&d->rxq[i].r);
	}
}

/* ---- the cable ---- */
void igb_set_link(struct pci_func *f, bool up)
{
	struct igb *d = container_of(f, struct igb, f);

	if (f->physfn)
		d = d->pf;
	if (!d)
		return;
	d->unplugged = !up;
	igb_link_update(d);
}
