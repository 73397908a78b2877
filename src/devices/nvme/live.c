/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The doorbell page as plain memory (pci/live.h). A trapped doorbell costs a client some two microseconds, and a client
 * with enough to do is spared them: while it keeps the controller busy the page is open, and the controller looks at it
 * in every round of the loop. A client that waits for each command, though, is better off with a trap, in which it
 * waits for the answer and not in its sleep (proto/channel.h, "Hold").
 *
 * Which of the two a client is shows in nothing but the result. So the time per command is measured with the page
 * closed, now and then it is opened for a few commands, and what was faster goes on.
 *
 * Order. The page opens filled with a value that no doorbell takes, so that the first store to each shows. A doorbell
 * that was trapped before the page opened may be in a ring still while the client's next one is in the page: what is
 * found in the page is therefore acted upon one round later, when the rings have been emptied. A doorbell that comes
 * the long way (trapped before the opening or after the closing, or by pwrite) is compared with what the page holds: it
 * is the later one if it lies beyond that, and contained in it if it does not.
 *
 * What the page cannot show is the same value twice, which is an error anyway (5.2), and a first store of the fill.
 * Stores behind the last doorbell are not looked at; trapped, they would be errors.
 */
#include <errno.h>
#include <string.h>

#include "base/event.h"
#include "devices/nvme/ctrl.h"

#define TRIAL_AFTER   512 /* commands with the page closed; doubled with each trial in vain, */
#define TRIAL_BACKOFF 7	  /* up to this power of two */
#define REOPEN_AFTER  16  /* commands, after a pause, for a client that was better off with it */
#define TRIAL	      32  /* commands; given up when they take twice as long as before */
#define JUDGE_AFTER   256 /* commands with the page open */

#define FILL	 0xffffffffU
#define RETRY_NS 1000000

_Static_assert((FILL & 0xff) == LIVE_PAGE_FILL, "what a doorbell holds that has not been stored to");

/* A doorbell may create or delete queues, and change what is found for theirs. */
static void act_on_found(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	l->have_found = l->ripe = false;
	for (unsigned int i = 0; i < NVME_DOORBELLS; i++) {
		if (l->found[i] == l->seen[i])
			continue;
		l->seen[i] = l->found[i];
		nvme_doorbell(c, i, l->found[i]);
	}
}

static void look(struct nvme *c)
{
	struct nvme_live *l = &c->live;
	uint32_t now[NVME_DOORBELLS];
	int err = live_page_read(&l->page, 0, now, sizeof(now));

	if (err == -EIO)
		nvme_live_close(c, false);
	if (err)
		return;
	memcpy(l->found, now, sizeof(now));
	l->have_found = memcmp(l->found, l->seen, sizeof(l->found)) != 0;
}

static void live_open(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	/* Who listens to register accesses wants to see them all. */
	if (l->have_found || !nvme_takes_commands(c) || !pci_mem_enabled(&c->f) || event_wanted(c->f.evs, EVENT_MMIO))
		return;
	if (!live_page_open(&l->page, NULL))
		memset(l->seen, LIVE_PAGE_FILL, sizeof(l->seen));
}

static void period_begin(struct nvme_live *l, uint64_t now)
{
	l->since = now;
	l->cmds = 0;
}

static void judge_closed(struct nvme *c, uint64_t now)
{
	struct nvme_live *l = &c->live;

	if (l->cmds >= TRIAL_AFTER)
		l->closed_ns = (now - l->since) / l->cmds;
	l->trial = !l->prefers_open;
	live_open(c);
	period_begin(l, now);
}

static void judge_open(struct nvme *c, uint64_t now)
{
	struct nvme_live *l = &c->live;
	uint64_t ns = (now - l->since) / l->cmds;

	if (l->cmds < (l->trial ? TRIAL : JUDGE_AFTER) && now - l->since < 2 * TRIAL * l->closed_ns)
		return;
	if (ns < l->closed_ns - l->closed_ns / 10) {
		l->prefers_open = true;
		l->trial = false;
		l->backoff = 0;
	} else {
		l->backoff = l->trial ? MIN(l->backoff + 1, TRIAL_BACKOFF) : 0;
		l->prefers_open = false;
		nvme_live_close(c, true);
	}
	period_begin(l, now);
}

static void judge(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	l->noted = false;
	if (!l->since)
		period_begin(l, loop_now());
	else if (l->page.open && !live_page_ready(&l->page))
		period_begin(l, loop_now());
	else if (l->page.open)
		judge_open(c, loop_now());
	else if (l->cmds >= (l->prefers_open ? REOPEN_AFTER : TRIAL_AFTER << l->backoff))
		judge_closed(c, loop_now());
}

static bool live_poll(struct loop_poll *p)
{
	struct nvme *c = container_of(p, struct nvme, live.poll);
	struct nvme_live *l = &c->live;
	bool did = l->have_found;

	if (l->ripe)
		act_on_found(c);
	if (l->noted)
		judge(c);
	if (l->page.open && (l->closing || event_wanted(c->f.evs, EVENT_MMIO)))
		nvme_live_close(c, true);
	if (l->page.open)
		look(c);
	/* Until the next time all others have their turn, and empty their rings. */
	l->ripe = l->have_found;
	return l->have_found || did;
}

/* Nobody looks while the loop sleeps: what comes then must be a trap, which wakes it. */
static bool live_prepare_sleep(struct loop_poll *p)
{
	struct nvme *c = container_of(p, struct nvme, live.poll);

	c->live.since = 0;
	if (c->live.page.open)
		nvme_live_close(c, true);
	/* A client can put the closing off, but not keep us awake meanwhile. */
	if (c->live.page.open)
		loop_timer_arm(c->loop, &c->live.retry, RETRY_NS);
	return !c->live.have_found;
}

/* It has woken the loop. */
static void retry_expired(struct loop_timer *t)
{
}

void nvme_live_init(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	l->poll = (struct loop_poll){.poll = live_poll, .prepare_sleep = live_prepare_sleep};
	loop_timer_init(&l->retry, retry_expired);
	loop_poll_add(c->loop, &l->poll);
	l->page.fd = -1;
	nvme_live_renew(c);
}

void nvme_live_fini(struct nvme *c)
{
	if (!c->live.poll.poll)
		return;
	loop_poll_del(c->loop, &c->live.poll);
	loop_timer_cancel(c->loop, &c->live.retry);
	live_page_fini(&c->live.page);
	c->f.bar[0].live = NULL;
}

void nvme_live_renew(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	if (!l->poll.poll)
		return;
	nvme_live_close(c, false);
	live_page_fini(&l->page);
	l->since = l->closed_ns = 0;
	l->cmds = l->backoff = 0;
	l->noted = l->trial = l->prefers_open = false;
	c->f.bar[0].live = live_page_init(&l->page, 1) ? NULL : &l->page;
	c->f.bar[0].live_off = NVME_REG_DOORBELLS;
}

static void forget(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	l->have_found = l->ripe = l->closing = false;
	live_page_drop(&l->page);
	if (l->page.fd < 0)
		c->f.bar[0].live = NULL;
}

void nvme_live_close(struct nvme *c, bool keep)
{
	struct nvme_live *l = &c->live;
	uint32_t last[LIVE_PAGE_SIZE / 4];
	int err;

	if (!keep) {
		forget(c);
		return;
	}
	if (!l->page.open)
		return;
	err = live_page_close(&l->page, last);
	l->closing = err == -EAGAIN;
	if (err == -EIO)
		forget(c);
	if (err)
		return;
	memcpy(l->found, last, sizeof(l->found));
	l->have_found = memcmp(l->found, l->seen, sizeof(l->found)) != 0;
	l->ripe = false;
}

void nvme_live_queue_changed(struct nvme *c, unsigned int index)
{
	struct nvme_live *l = &c->live;

	if (l->page.open && live_page_refill(&l->page, index * sizeof(uint32_t), sizeof(uint32_t)))
		l->seen[index] = FILL;
	l->found[index] = l->seen[index];
}

void nvme_live_note(struct nvme *c, unsigned int n)
{
	c->live.cmds += n;
	c->live.noted = c->live.page.fd >= 0;
}

/* How far ahead of the queue's present state the value is. */
static uint32_t ahead(const struct nvme *c, unsigned int index, uint32_t val)
{
	const struct nvme_sq *sq = &c->sq[index / 2];
	const struct nvme_cq *cq = &c->cq[index / 2];
	uint32_t now = index & 1 ? cq->head : sq->tail, size = index & 1 ? cq->size : sq->size;

	return val >= now ? val - now : val + size - now;
}

/* What was found or is in the page now. */
static uint32_t unseen(const struct nvme_live *l, unsigned int index)
{
	uint32_t now[NVME_DOORBELLS];

	if (l->page.open && !live_page_read(&l->page, 0, now, (index + 1) * sizeof(now[0])))
		return now[index];
	return l->have_found ? l->found[index] : l->seen[index];
}

bool nvme_live_trapped(struct nvme *c, unsigned int index, uint32_t val)
{
	struct nvme_live *l = &c->live;
	uint32_t now;

	if (likely(!l->page.open && !l->have_found) || index >= NVME_DOORBELLS)
		return true;
	now = unseen(l, index);
	if (now != l->seen[index]) {
		if (ahead(c, index, val) <= ahead(c, index, now))
			return false;
		l->seen[index] = l->found[index] = now;
		nvme_doorbell(c, index, now);
	}
	/* Who rings both ways may next store what the page holds since the last time. */
	if (l->page.open && l->seen[index] != FILL)
		nvme_live_close(c, true);
	return true;
}
