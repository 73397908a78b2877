/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Becoming quiet, the card's state as records (pci/state.h), and going on. Nothing is under way between two calls but
 * what is in the caches: what is done there is written back before, and what is not is read again on the other side.
 * The cable is the other side's own.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/igb/igb.h"
#include "pci/state.h"

#define VERSION	 1
#define R_CARD	 "igb.card"
#define R_REGS	 "igb.registers"
#define R_STATS	 "igb.statistics"
#define R_QUEUES "igb.queues"
#define R_VF	 "igb.vf" /* of a virtual function */
#define R_CLOCK	 "igb.clock"
#define R_NVM	 "igb.eeprom"

#define STATS ((IGB_STATS_END - IGB_STATS) / 4)

int igb_quiesce(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	/* What a card and its virtual functions have to do with each other is in no record. */
	if (d->nvf || igb_governed(d))
		return -EOPNOTSUPP;
	igb_live_close(d, true);
	if (d->live.page.open || d->live.have_found)
		return -EAGAIN;
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		igb_ring_calm(&d->txq[i].r);
		igb_ring_calm(&d->rxq[i].r);
		igb_ring_flush(&d->txq[i].r);
		igb_ring_flush(&d->rxq[i].r);
	}
	igb_rx_received(&d->card);
	return 0;
}

void igb_run(struct pci_func *f)
{
	struct igb *d = container_of(f, struct igb, f);

	if (f->physfn)
		igb_vf_link_update(d);
	else
		igb_link_update(d);
	igb_intr_update(d);
	igb_tx_start_all(d);
	if (!d->rx_full)
		return;
	d->rx_full = false;
	if (!f->physfn)
		net_readable(d->net);
}

/* ---- saving ---- */
static void put_card(struct state_out *o, const struct igb *d)
{
	state_put(o, d->mac, sizeof(d->mac));
	for (unsigned int i = 0; i < ARRAY_SIZE(d->phy); i++)
		state_put_u16(o, d->phy[i]);
	state_put_u16(o, d->phy_page);
	state_put_u8(o, d->phy_link_lost);
	state_put_u8(o, d->link);
	state_put_u32(o, d->icr);
	state_put_u32(o, d->ims);
	state_put_u32(o, d->eicr);
	state_put_u32(o, d->eims);
	state_put_u32(o, d->asserted);
}

static void put_ring(struct state_out *o, const struct igb_ring *r)
{
	state_put_u64(o, r->base);
	state_put_u32(o, r->len);
	state_put_u32(o, r->head);
	state_put_u32(o, r->tail);
	state_put_u32(o, r->dctl);
	state_put_u32(o, r->dca);
	state_put_u32(o, r->unread);
	state_put_u8(o, r->broken);
}

static void put_queues(struct state_out *o, const struct igb *d, unsigned int i)
{
	const struct igb_txq *t = &d->txq[i];
	const struct igb_rxq *r = &d->rxq[i];

	put_ring(o, &t->r);
	state_put_u64(o, t->head_wb);
	state_put(o, t->context, sizeof(t->context));
	state_put_u32(o, t->segment);
	state_put_u8(o, t->skip);
	put_ring(o, &r->r);
	state_put_u32(o, r->srrctl);
	state_put_u32(o, r->dropped);
}

static void put_spi(struct state_out *o, const struct igb_spi *s)
{
	state_put_u8(o, s->state);
	state_put_u8(o, s->op);
	state_put_u8(o, s->bits);
	state_put_u8(o, s->enabled);
	state_put_u16(o, s->shift);
	state_put_u16(o, s->addr);
	state_put_u32(o, s->filled);
	state_put(o, s->page, sizeof(s->page));
}

void igb_save(struct pci_func *f, struct state_out *o)
{
	struct igb *d = container_of(f, struct igb, f);

	igb_stats_fold(d);
	state_begin(o, R_CARD, VERSION, 0);
	put_card(o, d);
	state_end(o);
	/* Those that are not zero. */
	state_begin(o, R_REGS, VERSION, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(d->reg); i++) {
		if (!d->map[i] || !d->reg[i])
			continue;
		state_put_u32(o, i);
		state_put_u32(o, d->reg[i]);
	}
	state_end(o);
	state_begin(o, R_STATS, VERSION, 0);
	for (unsigned int i = 0; i < STATS; i++)
		state_put_u64(o, d->stat[i]);
	state_end(o);
	state_begin(o, R_QUEUES, VERSION, 0);
	for (unsigned int i = 0; i < IGB_QUEUES; i++)
		put_queues(o, d, i);
	state_end(o);
	/* It stands still on the way, as everything does. */
	state_begin(o, R_CLOCK, VERSION, 0);
	state_put_u64(o, igb_clock_now(d));
	state_end(o);
	state_begin(o, R_NVM, VERSION, 0);
	for (unsigned int i = 0; i < IGB_NVM_WORDS; i++)
		state_put_u16(o, d->nvm[i]);
	put_spi(o, &d->spi);
	state_end(o);
	if (!f->physfn)
		return;
	state_begin(o, R_VF, VERSION, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(d->mailbox); i++)
		state_put_u32(o, d->mailbox[i]);
	state_put_u32(o, d->v2p);
	state_put_u8(o, d->cts);
	state_end(o);
}

/* ---- loading: what this card itself could have come to ---- */
static bool get_bool(struct state_in *in, bool *v)
{
	uint8_t b = state_get_u8(in);

	*v = b;
	return b <= 1;
}

static bool get_card(struct state_in *in, struct igb *st)
{
	bool sound;

	state_get(in, st->mac, sizeof(st->mac));
	for (unsigned int i = 0; i < ARRAY_SIZE(st->phy); i++)
		st->phy[i] = state_get_u16(in);
	st->phy_page = state_get_u16(in);
	sound = get_bool(in, &st->phy_link_lost) && get_bool(in, &st->link);
	st->icr = state_get_u32(in);
	st->ims = state_get_u32(in);
	st->eicr = state_get_u32(in);
	st->eims = state_get_u32(in);
	st->asserted = state_get_u32(in);
	return sound && !(st->mac[0] & 1) && !(st->ims & IGB_ICR_INTA) && !(st->asserted & ~IGB_EICR_MSIX) &&
	       state_good(in);
}

static bool get_regs(const struct igb *d, struct state_in *in, struct igb *st)
{
	while (in->left && !in->bad) {
		uint32_t i = state_get_u32(in), val = state_get_u32(in);

		if (i >= ARRAY_SIZE(st->reg) || !d->map[i])
			return false;
		st->reg[i] = val;
	}
	return state_good(in);
}

static bool get_ring(struct state_in *in, struct igb_ring *r)
{
	bool flag;

	r->base = state_get_u64(in);
	r->len = state_get_u32(in);
	r->head = state_get_u32(in);
	r->tail = state_get_u32(in);
	r->dctl = state_get_u32(in);
	r->dca = state_get_u32(in);
	r->unread = state_get_u32(in);
	flag = get_bool(in, &r->broken);
	r->size = r->dctl & IGB_DCTL_ENABLE ? r->len / sizeof(union igb_desc) : 0;
	if (!flag || r->base % IGB_RING_ALIGN || r->len % IGB_RING_ALIGN || r->len >= 2 * IGB_RING_BYTES)
		return false;
	if (!r->size)
		return r->head <= 0xffff && r->tail <= 0xffff;
	return r->head < r->size && r->tail < r->size && r->unread < r->size;
}

static bool get_queues(struct state_in *in, struct igb_txq *t, struct igb_rxq *r)
{
	bool sound = get_ring(in, &t->r);

	t->head_wb = state_get_u64(in);
	state_get(in, t->context, sizeof(t->context));
	t->segment = state_get_u32(in);
	sound = get_bool(in, &t->skip) && sound;
	sound = get_ring(in, &r->r) && sound;
	r->srrctl = state_get_u32(in);
	r->dropped = state_get_u32(in);
	return sound;
}

static bool get_vf(struct state_in *in, struct igb *st)
{
	bool sound;

	for (unsigned int i = 0; i < ARRAY_SIZE(st->mailbox); i++)
		st->mailbox[i] = state_get_u32(in);
	st->v2p = state_get_u32(in) & (IGB_MBX_VFU | IGB_MBX_PFSTS | IGB_MBX_PFACK | IGB_MBX_RSTD);
	sound = get_bool(in, &st->cts);
	return sound && state_good(in);
}

static bool get_spi(struct state_in *in, struct igb_spi *s)
{
	bool sound;

	s->state = state_get_u8(in);
	s->op = state_get_u8(in);
	s->bits = state_get_u8(in);
	sound = get_bool(in, &s->enabled) && igb_spi_sound(s);
	s->shift = state_get_u16(in);
	s->addr = state_get_u16(in);
	s->filled = state_get_u32(in);
	state_get(in, s->page, sizeof(s->page));
	return state_good(in) && sound;
}

static int stage(const struct igb *d, struct state *s, struct igb *st)
{
	struct state_in in;

	if (state_take(s, R_CARD, VERSION, &in) || !get_card(&in, st))
		return -EINVAL;
	if (state_take(s, R_REGS, VERSION, &in) || !get_regs(d, &in, st))
		return -EINVAL;
	if (state_take(s, R_STATS, VERSION, &in))
		return -EINVAL;
	for (unsigned int i = 0; i < STATS; i++)
		st->stat[i] = state_get_u64(&in);
	if (!state_good(&in) || state_take(s, R_QUEUES, VERSION, &in))
		return -EINVAL;
	for (unsigned int i = 0; i < IGB_QUEUES; i++)
		if (!get_queues(&in, &st->txq[i], &st->rxq[i]))
			return -EINVAL;
	if (!state_good(&in) || state_take(s, R_CLOCK, VERSION, &in))
		return -EINVAL;
	st->clock.time = state_get_u64(&in);
	if (!state_good(&in) || state_take(s, R_NVM, VERSION, &in))
		return -EINVAL;
	for (unsigned int i = 0; i < IGB_NVM_WORDS; i++)
		st->nvm[i] = state_get_u16(&in);
	if (!get_spi(&in, &st->spi))
		return -EINVAL;
	if (d->f.physfn && (state_take(s, R_VF, VERSION, &in) || !get_vf(&in, st)))
		return -EINVAL;
	return state_all_taken(s);
}

static void ring_load(struct igb_ring *r, const struct igb_ring *from)
{
	r->base = from->base;
	r->old = false;
	r->len = from->len;
	r->head = from->head;
	r->tail = from->tail;
	r->dctl = from->dctl;
	r->dca = from->dca;
	r->unread = from->unread;
	r->broken = from->broken;
	r->size = from->size;
	igb_ring_drop(r);
}

static void queues_load(struct igb *d, const struct igb *st)
{
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		struct igb_txq *t = &d->txq[i];
		struct igb_rxq *r = &d->rxq[i];

		ring_load(&t->r, &st->txq[i].r);
		t->head_wb = st->txq[i].head_wb;
		memcpy(t->context, st->txq[i].context, sizeof(t->context));
		t->segment = st->txq[i].segment;
		t->skip = st->txq[i].skip;
		ring_load(&r->r, &st->rxq[i].r);
		r->srrctl = st->rxq[i].srrctl;
		r->dropped = st->rxq[i].dropped;
		r->starved = false;
	}
}

static void card_load(struct igb *d, const struct igb *st)
{
	memcpy(d->mac, st->mac, sizeof(d->mac));
	memcpy(d->phy, st->phy, sizeof(d->phy));
	d->phy_page = st->phy_page;
	d->phy_link_lost = st->phy_link_lost;
	d->link = st->link;
	memcpy(d->reg, st->reg, sizeof(d->reg));
	igb_stats_reset(d);
	memcpy(d->stat, st->stat, sizeof(d->stat));
	d->icr = st->icr;
	d->ims = st->ims;
	d->eicr = st->eicr;
	d->eims = st->eims;
	d->asserted = st->asserted;
	d->rss_stale = true;
	if (d->f.physfn)
		igb_vf_load(d, st);
	memcpy(d->nvm, st->nvm, sizeof(d->nvm));
	d->spi = st->spi;
	igb_filter_update(d);
	igb_flow_update(d);
	igb_clock_set(d, st->clock.time);
}

int igb_load(struct pci_func *f, struct state *s)
{
	struct igb *d = container_of(f, struct igb, f), *st;
	int err;

	if (d->nvf || igb_governed(d))
		return -EINVAL;
	st = calloc(1, sizeof(*st));
	err = st ? stage(d, s, st) : -ENOMEM;

	if (!err) {
		/* As from a reset, so that nothing of before is left: timers, lists, what waits. */
		igb_live_close(d, false);
		igb_tx_reset(d);
		igb_rx_reset(d);
		igb_intr_reset(d);
		card_load(d, st);
		queues_load(d, st);
		igb_rx_sizes(d);
	}
	free(st);
	return err;
}
