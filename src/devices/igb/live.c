/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registers of the first four queues as plain memory (pci/live.h). A trapped tail costs a client some two
 * microseconds, and a driver writes two for each burst. So while there is traffic the pages of these registers, those
 * for receiving and behind them those for sending, are open, and the card looks at the tails in every round of the
 * loop. They are closed before the loop sleeps: what comes then is a trap, which wakes it.
 *
 * No register in them changes by being read, but for RQDPC: it shows nothing while the pages are open, and what is to
 * be counted is shown when they are closed. Heads are brought up to date now and then.
 *
 * Order. The pages open with tails that none has, so that the first store to each shows. A tail that was trapped before
 * the pages opened may be in a ring still while the client's next one is in the page: what is found is therefore acted
 * upon one round later, when the rings have been emptied. A tail that comes the long way is compared with what the page
 * holds: it is the later one if it lies beyond that, and contained in it if it does not. When that is over, tails that
 * have not been stored to are put in their places, for who reads them.
 *
 * Whatever else is stored (a queue is set up, or stopped) closes the pages: what they hold then is complete, and is
 * carried out in the order in which drivers do it. A driver that sets a register to two values in a row, a few hundred
 * nanoseconds apart, may be seen to have set it to the second alone.
 */
#include <errno.h>

#include "devices/igb/igb.h"

#define OPEN_AFTER   64u      /* tails that were trapped, */
#define OPEN_WITHIN  4000000u /* ns; */
#define OPEN_BACKOFF 7	      /* twice as many, up to this power of two, after the pages were open in vain */
#define PAID_OFF     1024u    /* tails in the pages, after which they open again at the first that is trapped */
#define ROUNDS_TAILS 3	      /* rounds until no tail is under way that was trapped before the pages opened */
#define ROUNDS_HEADS 16
#define ROUNDS_ALL   256 /* all registers are looked at, and not those of queues alone */
#define RETRY_NS     1000000

#define QUEUES	    4
#define BLOCKS	    (2 * QUEUES)
#define BLOCK_WORDS 16
#define FILL	    0xffffffffu /* a tail that none has */

_Static_assert(IGB_TXQ_OLD == IGB_RXQ_OLD + LIVE_PAGE_SIZE, "one page behind the other");
_Static_assert(IGB_TDWBAH / 4 < BLOCK_WORDS, "a queue's registers");

/* A block is a queue's registers: first those for receiving. */
static unsigned int block_word(unsigned int b)
{
	return ((b < QUEUES ? IGB_RXQ_OLD : IGB_TXQ_OLD) - IGB_LIVE + 0x100 * (b % QUEUES)) / 4;
}

static struct igb_ring *block_ring(struct igb *d, unsigned int b)
{
	return b < QUEUES ? &d->rxq[b].r : &d->txq[b - QUEUES].r;
}

/* Which block's tail it is, or -1. */
static int tail_block(unsigned int word)
{
	for (unsigned int b = 0; b < BLOCKS; b++)
		if (word == block_word(b) + IGB_RDT / 4)
			return (int)b;
	return -1;
}

/* ---- acting ---- */
/* Bases before heads, and what enables behind them; a tail is last, and what disables is first. */
static void block_act(struct igb *d, unsigned int b)
{
	static const uint8_t order[] = {IGB_RDBAL,  IGB_RDBAH,	IGB_RDLEN, IGB_SRRCTL, IGB_RXCTL,
					IGB_TDWBAL, IGB_TDWBAH, IGB_RDH,   IGB_RXDCTL, IGB_RDT};
	uint32_t *seen = d->live.seen + block_word(b), now[BLOCK_WORDS];
	struct igb_ring *r = block_ring(d, b);

	memcpy(now, d->live.now + block_word(b), sizeof(now));
	if (!(now[IGB_RXDCTL / 4] & IGB_DCTL_ENABLE) && now[IGB_RXDCTL / 4] != seen[IGB_RXDCTL / 4])
		igb_ring_write(r, IGB_RXDCTL, seen[IGB_RXDCTL / 4] = now[IGB_RXDCTL / 4]);
	for (unsigned int i = 0; i < ARRAY_SIZE(order); i++) {
		unsigned int w = order[i] / 4;

		if (now[w] != seen[w])
			igb_ring_write(r, order[i], seen[w] = now[w]);
	}
	memcpy(seen, now, sizeof(now));
}

static void act(struct igb *d)
{
	struct igb_live *l = &d->live;

	l->have_found = l->ripe = false;
	for (unsigned int b = 0; b < BLOCKS; b++)
		block_act(d, b);
	for (unsigned int w = 0; w < IGB_LIVE_WORDS; w++)
		if (unlikely(l->now[w] != l->seen[w]))
			igb_reg_write(d, IGB_LIVE + 4 * w, l->seen[w] = l->now[w]);
}

/* Tails alone: so it is while there is traffic. */
static void act_on_tails(struct igb *d)
{
	struct igb_live *l = &d->live;

	l->have_found = l->ripe = false;
	for (unsigned int b = 0; b < BLOCKS; b++) {
		unsigned int w = block_word(b) + IGB_RDT / 4;

		if (l->now[w] == l->seen[w])
			continue;
		l->stored++;
		l->seen[w] = l->now[w];
		igb_ring_write(block_ring(d, b), IGB_RDT, l->now[w]);
	}
}

/* ---- looking ---- */
enum { NOTHING, TAILS, MORE };

static int block_compare(const struct igb_live *l, unsigned int b)
{
	const uint32_t *seen = l->seen + block_word(b), *now = l->now + block_word(b);
	bool tail = now[IGB_RDT / 4] != seen[IGB_RDT / 4];

	if (likely(!memcmp(seen, now, BLOCK_WORDS * sizeof(*now))))
		return NOTHING;
	for (unsigned int w = 0; w < BLOCK_WORDS; w++)
		if (now[w] != seen[w] && w != IGB_RDT / 4)
			return MORE;
	return tail ? TAILS : NOTHING;
}

/* What has been stored to. */
static int look(struct igb *d, bool all)
{
	struct igb_live *l = &d->live;
	int err = 0, what = NOTHING;

	if (all)
		err = live_page_read(&l->page, 0, l->now, sizeof(l->now));
	for (unsigned int b = 0; b < BLOCKS && !err; b++) {
		unsigned int w = block_word(b);

		if (!all)
			err = live_page_read(&l->page, 4 * w, l->now + w, BLOCK_WORDS * sizeof(l->now[0]));
		if (!err)
			what = MAX(what, block_compare(l, b));
	}
	if (err == -EIO)
		igb_live_close(d, false);
	if (err)
		return NOTHING;
	if (all && what != MORE && what == NOTHING && memcmp(l->now, l->seen, sizeof(l->now)) != 0)
		what = MORE;
	l->have_found = what != NOTHING;
	return what;
}

/* For who reads the pages. */
static void show_tails(struct igb *d)
{
	struct igb_live *l = &d->live;

	for (unsigned int b = 0; b < BLOCKS; b++) {
		unsigned int w = block_word(b) + IGB_RDT / 4;
		uint32_t tail = block_ring(d, b)->tail;

		if (l->seen[w] == FILL && live_page_replace(&l->page, 4 * w, FILL, tail))
			l->seen[w] = l->now[w] = tail;
	}
}

static void show_heads(struct igb *d)
{
	struct igb_live *l = &d->live;

	for (unsigned int b = 0; b < BLOCKS; b++) {
		unsigned int w = block_word(b) + IGB_RDH / 4;
		struct igb_ring *r = block_ring(d, b);

		if (!r->size || r->head == l->seen[w] || r->flushed != r->pos)
			continue;
		if (!live_page_replace(&l->page, 4 * w, l->seen[w], r->head))
			continue;
		l->seen[w] = l->now[w] = r->head;
		r->unread = r->head;
	}
}

/* ---- opening and closing ---- */
/* RQDPC: to read it would be to clear it. */
static bool counts(unsigned int word)
{
	for (unsigned int b = 0; b < QUEUES; b++)
		if (word == block_word(b) + IGB_RQDPC / 4)
			return true;
	return false;
}

static void live_open(struct igb *d)
{
	struct igb_live *l = &d->live;

	/* Who listens to register accesses wants to see them all. */
	if (l->have_found || !pci_mem_enabled(&d->f) || event_wanted(d->f.evs, EVENT_MMIO))
		return;
	for (unsigned int w = 0; w < IGB_LIVE_WORDS; w++)
		l->seen[w] = counts(w) ? 0 : igb_reg_read(d, IGB_LIVE + 4 * w);
	for (unsigned int b = 0; b < BLOCKS; b++)
		l->seen[block_word(b) + IGB_RDT / 4] = FILL;
	l->rounds = l->stored = l->trapped = 0;
	if (live_page_open(&l->page, l->seen))
		return;
	memcpy(l->now, l->seen, sizeof(l->now));
}

static void judge(struct igb *d)
{
	struct igb_live *l = &d->live;
	uint64_t now;

	if (l->page.open || !l->trapped)
		return;
	/* A driver that has lost its CPU for a moment, and let us sleep, goes on as it did. */
	if (l->stored >= PAID_OFF) {
		live_open(d);
		return;
	}
	if (l->trapped < OPEN_AFTER << l->backoff)
		return;
	now = loop_now();
	if (l->since && now - l->since < (uint64_t)OPEN_WITHIN << l->backoff)
		live_open(d);
	l->trapped = 0;
	l->since = now;
}

static void forget(struct igb *d)
{
	struct igb_live *l = &d->live;

	l->have_found = l->ripe = l->closing = false;
	live_page_drop(&l->page);
	if (l->page.fd < 0)
		d->f.bar[0].live = NULL;
}

void igb_live_close(struct igb *d, bool keep)
{
	struct igb_live *l = &d->live;
	int err;

	if (!l->page.open)
		return;
	if (!keep) {
		forget(d);
		return;
	}
	err = live_page_close(&l->page, l->now);
	l->closing = err == -EAGAIN;
	if (err == -EIO)
		forget(d);
	if (err)
		return;
	l->have_found = memcmp(l->now, l->seen, sizeof(l->now)) != 0;
	l->ripe = false;
	l->backoff = l->stored < OPEN_AFTER ? MIN(l->backoff + 1, OPEN_BACKOFF) : 0;
}

static bool live_poll(struct loop_poll *p)
{
	struct igb *d = container_of(p, struct igb, live.poll);
	struct igb_live *l = &d->live;
	bool did = l->have_found;

	if (l->ripe && l->page.open)
		act_on_tails(d);
	else if (l->ripe)
		act(d);
	if (l->page.open && (l->closing || event_wanted(d->f.evs, EVENT_MMIO)))
		igb_live_close(d, true);
	if (l->page.open && live_page_ready(&l->page)) {
		l->rounds++;
		if (look(d, l->rounds % ROUNDS_ALL == 0) == MORE)
			igb_live_close(d, true);
		else if (l->rounds == ROUNDS_TAILS)
			show_tails(d);
		else if (l->rounds % ROUNDS_HEADS == 0)
			show_heads(d);
	}
	judge(d);
	/* Until the next time all others have their turn, and empty their rings. */
	l->ripe = l->have_found;
	return l->have_found || did;
}

/* Nobody looks while the loop sleeps: what comes then must be a trap, which wakes it. */
static bool live_prepare_sleep(struct loop_poll *p)
{
	struct igb *d = container_of(p, struct igb, live.poll);

	if (d->live.page.open)
		igb_live_close(d, true);
	/* A client can put the closing off, but not keep us awake meanwhile. */
	if (d->live.page.open)
		loop_timer_arm(d->loop, &d->live.retry, RETRY_NS);
	return !d->live.have_found;
}

/* It has woken the loop. */
static void retry_expired(struct loop_timer *t)
{
}

void igb_live_init(struct igb *d)
{
	struct igb_live *l = &d->live;

	l->poll = (struct loop_poll){.poll = live_poll, .prepare_sleep = live_prepare_sleep};
	loop_timer_init(&l->retry, retry_expired);
	loop_poll_add(d->loop, &l->poll);
	l->page.fd = -1;
	igb_live_renew(d);
}

void igb_live_fini(struct igb *d)
{
	if (!d->live.poll.poll)
		return;
	loop_poll_del(d->loop, &d->live.poll);
	loop_timer_cancel(d->loop, &d->live.retry);
	live_page_fini(&d->live.page);
	d->f.bar[0].live = NULL;
}

void igb_live_renew(struct igb *d)
{
	struct igb_live *l = &d->live;

	if (!l->poll.poll)
		return;
	igb_live_close(d, false);
	live_page_fini(&l->page);
	l->have_found = l->ripe = false;
	l->trapped = l->stored = l->backoff = 0;
	l->since = 0;
	d->f.bar[0].live = live_page_init(&l->page, IGB_LIVE_PAGES) ? NULL : &l->page;
	d->f.bar[0].live_off = IGB_LIVE;
}

/* ---- accesses the long way ---- */
void igb_live_before(struct igb *d)
{
	struct igb_live *l = &d->live;

	if (!l->page.open || look(d, true) != MORE)
		return;
	igb_live_close(d, true);
	if (l->have_found)
		act(d);
}

/* How far ahead of the ring's present state the tail is. */
static uint32_t ahead(const struct igb_ring *r, uint32_t tail)
{
	return tail >= r->tail ? tail - r->tail : tail + r->size - r->tail;
}

static bool tail_trapped(struct igb *d, unsigned int b, unsigned int w, uint32_t val)
{
	struct igb_ring *r = block_ring(d, b);
	struct igb_live *l = &d->live;

	if (l->page.open)
		live_page_read(&l->page, 4 * w, &l->now[w], sizeof(l->now[w]));
	if (l->now[w] != l->seen[w]) {
		if (ahead(r, val) <= ahead(r, l->now[w]))
			return false;
		l->seen[w] = l->now[w];
		igb_ring_write(r, IGB_RDT, l->now[w]);
	}
	/* Who rings both ways may next store what the page holds since the last time. */
	if (l->page.open && l->seen[w] != FILL && live_page_replace(&l->page, 4 * w, l->seen[w], val))
		l->seen[w] = l->now[w] = val;
	return true;
}

bool igb_live_trapped(struct igb *d, uint32_t off, uint32_t val)
{
	unsigned int w = (off - IGB_LIVE) / 4;
	struct igb_live *l = &d->live;
	int b = tail_block(w);

	if (b >= 0)
		l->trapped++;
	if (likely(!l->page.open && !l->have_found))
		return true;
	if (b >= 0)
		return tail_trapped(d, (unsigned int)b, w, val);
	igb_live_close(d, true);
	if (l->page.open)
		look(d, true);
	if (l->have_found)
		act(d);
	return true;
}
