/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptor rings (7.1.8, 7.2.2.4): a base, a length, a head that is the card's and a tail that is the driver's.
 * Descriptors go in and out in bulk, and what is done is shown to the driver in the ring's order.
 */
#include "devices/igb/igb.h"

#define WRITE_MAX 64u /* descriptors: so few are copied in order, byte after byte (base/guard.h) */

void igb_ring_init(struct igb_ring *r, struct igb *d, unsigned int index, bool tx, union igb_desc *cache)
{
	r->d = d;
	r->index = (uint8_t)index;
	r->tx = tx;
	r->cache = cache;
	r->tag =
	    (struct dma_tag){.queue_kind = tx ? "TX queue " : "RX queue ", .queue = index, .id_kind = "descriptor"};
	igb_trouble_init(r);
}

void igb_ring_drop(struct igb_ring *r)
{
	r->cached = r->pos = r->flushed = 0;
	r->first = r->head;
	r->rs = false;
	igb_ring_calm(r);
	inject_reset(&r->d->f, (int)igb_ring_number(r));
	if (r->tx)
		igb_tx_forget(container_of(r, struct igb_txq, r));
}

void igb_ring_reset(struct igb_ring *r)
{
	r->old = r->base;
	r->len = r->head = r->tail = r->dctl = r->dca = 0;
	r->size = r->unread = 0;
	r->broken = false;
	igb_ring_drop(r);
}

void igb_rings_forget(struct igb *d)
{
	for (unsigned int i = 0; i < IGB_QUEUES; i++) {
		d->txq[i].r.base = d->rxq[i].r.base = 0;
		d->txq[i].r.old = d->rxq[i].r.old = false;
	}
}

void igb_ring_misuse(const struct igb_ring *r, unsigned int field, uint32_t desc, const char *text)
{
	struct dma_tag tag = r->tag;

	tag.id = desc;
	tag.part = NULL;
	tag.old = r->old;
	pci_misuse_of(&r->d->f, 0, (r->tx ? IGB_TXQ : IGB_RXQ) + 0x40ull * r->index + field, &tag, text);
}

/* ---- descriptors ---- */
static void make_room(struct igb_ring *r, unsigned int cap)
{
	if (r->pos != r->cached && r->cached != cap)
		return;
	igb_ring_flush(r);
	memmove(r->cache, r->cache + r->pos, (r->cached - r->pos) * sizeof(r->cache[0]));
	r->cached -= r->pos;
	r->pos = r->flushed = 0;
	r->first = r->head;
}

static bool ring_read(struct igb_ring *r, uint32_t at, unsigned int n)
{
	const struct dma_tag *tag = igb_ring_tag(r, at, "fetch");

	if (likely(!pci_dma_read(&r->d->f, r->base + at * sizeof(r->cache[0]), r->cache + r->cached,
				 n * sizeof(r->cache[0]), tag))) {
		r->cached += n;
		return true;
	}
	r->broken = true;
	return false;
}

bool igb_ring_fetch(struct igb_ring *r, unsigned int cap, unsigned int max)
{
	unsigned int n, upto_end;
	uint32_t at;

	if (unlikely(!r->size || r->broken))
		return false;
	make_room(r, cap);
	at = igb_ring_at(r, r->cached);
	n = igb_ring_used(at, r->tail, r->size);
	n = MIN(n, max);
	n = MIN(n, cap - r->cached);
	if (!n)
		return false;
	upto_end = MIN(n, r->size - at);
	return ring_read(r, at, upto_end) && (n == upto_end || ring_read(r, 0, n - upto_end));
}

static void ring_write(struct igb_ring *r, unsigned int from, unsigned int n)
{
	uint32_t at = igb_ring_at(r, from);
	const struct dma_tag *tag = igb_ring_tag(r, at, "write-back");

	if (pci_dma_write(&r->d->f, r->base + at * sizeof(r->cache[0]), r->cache + from, n * sizeof(r->cache[0]), tag))
		r->broken = true;
}

/* Was the i-th of the cache otherwise when it was read? */
static bool has_changed(const struct igb_ring *r, unsigned int i, const union igb_desc *now)
{
	if (!r->tx)
		return now->q[0] != container_of(r, const struct igb_rxq, r)->addr[i];
	return now->q[0] != r->cache[i].q[0] || now->d[2] != r->cache[i].d[2];
}

/* Is what was read of the descriptors still there? Not counted: who only looks on changes nothing. */
static void compare(struct igb_ring *r, unsigned int from, unsigned int n)
{
	uint64_t iova = r->base + igb_ring_at(r, from) * sizeof(r->cache[0]);
	union igb_desc now[WRITE_MAX];
	struct iovec iov;
	unsigned int one = 1;
	iova_t at;

	if (dma_probe(r->d->f.dma, IOVA(iova), n * sizeof(now[0]), false, &at) ||
	    dma_iov(r->d->f.dma, IOVA(iova), n * sizeof(now[0]), false, &iov, &one, NULL) ||
	    guard_copy(now, iov.iov_base, n * sizeof(now[0])))
		return;
	for (unsigned int i = 0; i < n; i++) {
		if (!has_changed(r, from + i, &now[i]))
			continue;
		igb_ring_misuse(r, IGB_RDT, igb_ring_at(r, from + i),
				"a descriptor was changed before it had been written back");
		return;
	}
}

/* [flushed, upto) in pieces that lie together. */
static void each_piece(struct igb_ring *r, unsigned int upto,
		       void (*does)(struct igb_ring *r, unsigned int from, unsigned int n))
{
	for (unsigned int i = r->flushed, n; i < upto && !r->broken; i += n) {
		n = MIN(upto - i, WRITE_MAX);
		n = MIN(n, r->size - igb_ring_at(r, i));
		does(r, i, n);
	}
}

/* 7.2.3: the head instead of descriptors. */
static void head_write_back(struct igb_ring *r, uint64_t addr, uint32_t head)
{
	const struct dma_tag *tag = igb_tag(r, head, "head write-back");

	if (unlikely(r->head_noise))
		head = (head + 1 + r->head_noise % r->size) % r->size;
	r->head_noise = 0;
	if (pci_dma_write(&r->d->f, addr & ~3ull, &head, sizeof(head), tag))
		r->broken = true;
}

void igb_ring_flush_upto(struct igb_ring *r, unsigned int upto)
{
	uint64_t head_wb = r->tx ? container_of(r, struct igb_txq, r)->head_wb : 0;
	uint32_t head = upto == r->pos ? r->head : igb_ring_at(r, upto);
	bool shown = r->rs;

	if (r->flushed >= upto)
		return;
	/* Who spoils rings on purpose cannot say whose doing a change was. */
	if (event_wanted(r->d->f.evs, EVENT_MISUSE) && !r->d->f.inject)
		each_piece(r, upto, compare);
	if (shown && head_wb & IGB_TDWBAL_HEAD)
		head_write_back(r, head_wb, head);
	else if (shown)
		each_piece(r, upto, ring_write);
	r->flushed = (uint16_t)upto;
	r->rs = shown && upto != r->pos;
	if (!shown)
		return;
	r->unread = head;
	igb_intr_queue(r->d, r->tx, r->index);
}

void igb_ring_flush(struct igb_ring *r)
{
	if (likely(!r->held))
		igb_ring_flush_upto(r, r->pos);
}

/* ---- registers ---- */
static void ring_start(struct igb_ring *r)
{
	r->size = r->len / sizeof(r->cache[0]);
	r->broken = false;
	if (r->head >= r->size)
		r->head = 0;
	if (r->tail >= r->size)
		r->tail = r->head;
	r->unread = r->head;
	igb_ring_drop(r);
}

/* Where the ring is, or its head, has been set: what was read of it is not worth anything. */
static void ring_moved(struct igb_ring *r)
{
	if (r->dctl & IGB_DCTL_ENABLE)
		ring_start(r);
	else
		igb_ring_drop(r);
}

static void set_dctl(struct igb_ring *r, uint32_t val)
{
	uint32_t was = r->dctl;

	if (val & IGB_DCTL_FLUSH)
		igb_ring_flush(r);
	r->dctl = val & ~IGB_DCTL_FLUSH;
	if (val & ~was & IGB_DCTL_ENABLE) {
		ring_start(r);
	} else if (was & ~val & IGB_DCTL_ENABLE) {
		igb_ring_flush_upto(r, r->pos);
		igb_ring_drop(r);
		r->size = 0;
	}
}

static void set_tail(struct igb_ring *r, uint32_t val)
{
	if (!r->size) {
		r->tail = val & 0xffff;
		return;
	}
	if (val >= r->size) {
		igb_ring_misuse(r, IGB_RDT, val, "a tail outside its ring");
		return;
	}
	if (igb_ring_used(r->unread, r->tail, r->size) + igb_ring_used(r->tail, val, r->size) >= r->size)
		igb_ring_misuse(r, IGB_RDT, r->unread, "the tail went past descriptors that had not been written back");
	r->tail = val;
	if (r->cached - r->pos > igb_ring_avail(r))
		r->cached = (uint16_t)(r->pos + igb_ring_avail(r));
}

uint32_t igb_ring_read(struct igb_ring *r, unsigned int field)
{
	struct igb_rxq *rx = container_of(r, struct igb_rxq, r);
	struct igb_txq *tx = container_of(r, struct igb_txq, r);
	uint32_t val;

	switch (field) {
	case IGB_RDBAL:
		return (uint32_t)r->base;
	case IGB_RDBAH:
		return r->base >> 32;
	case IGB_RDLEN:
		return r->len;
	case IGB_SRRCTL:
		return r->tx ? 0 : rx->srrctl;
	case IGB_RDH:
		/* Whoever knows the head may use again what is before it. */
		igb_ring_flush(r);
		igb_intr_update(r->d);
		r->unread = unlikely(r->held) ? igb_ring_at(r, r->flushed) : r->head;
		return r->unread;
	case IGB_RXCTL:
		return r->dca;
	case IGB_RDT:
		return r->tail;
	case IGB_RXDCTL:
		return r->dctl;
	case IGB_RQDPC:
		val = r->tx ? 0 : rx->dropped;
		if (!r->tx)
			rx->dropped = 0;
		return val;
	case IGB_TDWBAL:
		return r->tx ? (uint32_t)tx->head_wb : 0;
	case IGB_TDWBAH:
		return r->tx ? tx->head_wb >> 32 : 0;
	default:
		return 0;
	}
}

static void set_own(struct igb_ring *r, unsigned int field, uint32_t val)
{
	struct igb_rxq *rx = container_of(r, struct igb_rxq, r);
	struct igb_txq *tx = container_of(r, struct igb_txq, r);

	if (field == IGB_SRRCTL && !r->tx) {
		rx->srrctl = val;
		igb_rx_sizes(r->d);
	} else if (field == IGB_TDWBAL && r->tx) {
		tx->head_wb = (tx->head_wb & ~0xffffffffull) | (val & ~2u);
	} else if (field == IGB_TDWBAH && r->tx) {
		tx->head_wb = (uint32_t)tx->head_wb | (uint64_t)val << 32;
	}
}

static void ring_set(struct igb_ring *r, unsigned int field, uint32_t val)
{
	switch (field) {
	case IGB_RDBAL:
		r->base = (r->base & ~0xffffffffull) | (val & ~(IGB_RING_ALIGN - 1));
		r->old = false;
		r->given = dma_dev_moves(r->d->f.dma);
		ring_moved(r);
		break;
	case IGB_RDBAH:
		r->base = (uint32_t)r->base | (uint64_t)val << 32;
		r->old = false;
		r->given = dma_dev_moves(r->d->f.dma);
		ring_moved(r);
		break;
	case IGB_RDLEN:
		r->len = val & (2 * IGB_RING_BYTES - 1) & ~(IGB_RING_ALIGN - 1);
		ring_moved(r);
		break;
	case IGB_RDH:
		r->head = val & 0xffff;
		ring_moved(r);
		break;
	case IGB_RXCTL:
		r->dca = val;
		break;
	case IGB_RDT:
		set_tail(r, val);
		break;
	case IGB_RXDCTL:
		set_dctl(r, val);
		break;
	default:
		set_own(r, field, val);
	}
}

/* Whoever moves a ring while the card is in the midst of a packet has the packet dropped. */
void igb_ring_write(struct igb_ring *r, unsigned int field, uint32_t val)
{
	ring_set(r, field, val);
	if (field != IGB_RDT && field != IGB_RXDCTL)
		return;
	if (r->tx)
		igb_tx_start(container_of(r, struct igb_txq, r));
	else
		igb_rx_room(r->d, container_of(r, struct igb_rxq, r));
}
