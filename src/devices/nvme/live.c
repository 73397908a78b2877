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
 * found in the page is therefore acted upon one round later, when the rings have been emptied. And one that was trapped
 * after the closing may be served before what the page held in the end is; that shows by its value: it lies beyond
 * what the page held, while an older one is contained in it.
 *
 * What the page cannot show is the same value twice, which is an error anyway (5.2).
 */
#include <string.h>

#include "base/event.h"
#include "devices/nvme/ctrl.h"

#define TRIAL_AFTER   512 /* commands with the page closed; doubled with each trial in vain, */
#define TRIAL_BACKOFF 7	  /* up to this power of two */
#define REOPEN_AFTER  16  /* commands, after a pause, for a client that was better off with it */
#define TRIAL	      32  /* commands; given up when they take twice as long as before */
#define JUDGE_AFTER   256 /* commands with the page open */

static void act_on_found(struct nvme *c)
{
	struct nvme_live *l = &c->live;
	uint32_t now[NVME_DOORBELLS];

	/* A doorbell may close the page, which finds anew. */
	memcpy(now, l->found, sizeof(now));
	l->have_found = false;
	for (unsigned int i = 0; i < NVME_DOORBELLS; i++) {
		if (now[i] == l->seen[i])
			continue;
		l->seen[i] = now[i];
		nvme_doorbell(c, i, now[i]);
	}
}

static bool look(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	if (!live_page_read(&l->page, l->found, sizeof(l->found))) {
		live_page_drop(&l->page);
		return false;
	}
	l->have_found = memcmp(l->found, l->seen, sizeof(l->found)) != 0;
	return l->have_found;
}

static void live_open(struct nvme *c)
{
	struct nvme_live *l = &c->live;
	uint32_t content[LIVE_PAGE_SIZE / 4];

	/* Who listens to register accesses wants to see them all. */
	if (l->have_found || !nvme_running(c) || !pci_mem_enabled(&c->f) || event_wanted(c->f.evs, EVENT_MMIO))
		return;
	memset(content, 0xff, sizeof(content));
	if (!live_page_open(&l->page, content))
		memcpy(l->seen, content, sizeof(l->seen));
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
	else if (l->page.open)
		judge_open(c, loop_now());
	else if (l->cmds >= (l->prefers_open ? REOPEN_AFTER : TRIAL_AFTER << l->backoff))
		judge_closed(c, loop_now());
}

static bool live_poll(struct loop_poll *p)
{
	struct nvme *c = container_of(p, struct nvme, live.poll);
	bool did = c->live.have_found;

	if (did)
		act_on_found(c);
	if (c->live.noted)
		judge(c);
	return (c->live.page.open && look(c)) || did;
}

/* Nobody looks while the loop sleeps: what comes then must be a trap, which wakes it. */
static bool live_prepare_sleep(struct loop_poll *p)
{
	struct nvme *c = container_of(p, struct nvme, live.poll);

	c->live.since = 0;
	if (c->live.page.open)
		nvme_live_close(c, true);
	return !c->live.page.open && !c->live.have_found;
}

void nvme_live_init(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	l->poll = (struct loop_poll){.poll = live_poll, .prepare_sleep = live_prepare_sleep};
	loop_poll_add(c->loop, &l->poll);
	nvme_live_renew(c);
}

void nvme_live_fini(struct nvme *c)
{
	if (!c->live.poll.poll)
		return;
	loop_poll_del(c->loop, &c->live.poll);
	live_page_fini(&c->live.page);
	c->f.bar[0].live = NULL;
}

void nvme_live_renew(struct nvme *c)
{
	struct nvme_live *l = &c->live;

	if (!l->poll.poll)
		return;
	l->have_found = false;
	if (l->page.view)
		live_page_fini(&l->page);
	c->f.bar[0].live = live_page_init(&l->page) ? NULL : &l->page;
	c->f.bar[0].live_off = NVME_REG_DOORBELLS;
}

void nvme_live_close(struct nvme *c, bool keep)
{
	struct nvme_live *l = &c->live;
	uint32_t last[LIVE_PAGE_SIZE / 4];

	if (!keep) {
		l->have_found = false;
		if (l->page.open)
			live_page_drop(&l->page);
		return;
	}
	if (!l->page.open)
		return;
	if (live_page_close(&l->page, last)) {
		uint32_t now;

		/* A client's own doing; or there was no memory, and then it is tried again. */
		if (!live_page_read(&l->page, &now, sizeof(now)))
			live_page_drop(&l->page);
		return;
	}
	memcpy(l->found, last, sizeof(l->found));
	l->have_found = memcmp(l->found, l->seen, sizeof(l->found)) != 0;
}

void nvme_live_queue_changed(struct nvme *c, unsigned int index)
{
	struct nvme_live *l = &c->live;

	nvme_live_close(c, true);
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

bool nvme_live_trapped(struct nvme *c, unsigned int index, uint32_t val)
{
	struct nvme_live *l = &c->live;

	if (likely(!l->have_found) || index >= NVME_DOORBELLS || l->found[index] == l->seen[index])
		return true;
	if (ahead(c, index, val) <= ahead(c, index, l->found[index]))
		return false;
	l->seen[index] = l->found[index];
	nvme_doorbell(c, index, l->found[index]);
	return true;
}
