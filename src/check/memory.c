/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that is mapped for DMA and that the program does not have any more: freed, replaced, or left behind by a fork.
 * To let go of it is no mistake yet, as long as no device touches it. So while nothing of the kind has happened, DMA is
 * not looked at.
 *
 * A program says what it does before it does it, and is answered when it has been taken note of: a transfer that comes
 * after that found the memory gone, and one that came before is not suspected.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/loop.h"
#include "base/util.h"
#include "check/kin.h"
#include "check/private.h"
#include "iommu/iommu.h"
#include "proto/channel.h"

/* A process that ends closes its descriptors, but not all in one moment. */
#define ENDING_NS 1000000000ull

static const struct {
	enum check_class class;
	enum finding_role role;
	const char *text; /* ... 2 ms earlier by thread 812 here: */
} ways[] = {
    [CHANGE_FREED] = {CLASS_DMA_TO_FREED_MEMORY, ROLE_FREED, "the program freed it"},
    [CHANGE_UNMAPPED] = {CLASS_DMA_TO_FREED_MEMORY, ROLE_FREED, "the program gave it back to the system"},
    [CHANGE_DISCARDED] = {CLASS_DMA_STALE_PAGE, ROLE_CALL, "the program had its content discarded"},
    [CHANGE_REPLACED] = {CLASS_DMA_STALE_PAGE, ROLE_CALL, "the program put other memory in its place"},
    [CHANGE_CUT] = {CLASS_DMA_STALE_PAGE, ROLE_CALL, "the file behind it lost this page"},
};

/* ---- what programs do ---- */

static void lose(struct check *c, const struct event *ev)
{
	const struct event_memory *m = ev->memory;
	const struct event_origin *from = c->evs->origin;
	bool told = false;
	struct lost_note n = {
	    .ns = loop_now(), .kind = m->kind, .pid = from->pid, .tid = from->tid, .alloc_tid = m->arg};

	if (!check_wants(c, ways[m->kind].class))
		return;
	for (unsigned int i = 0; i < m->nranges; i++) {
		if (!history_has_va(c->history, from->session, m->range[i].first, m->range[i].last))
			continue;
		if (!told) {
			n.stack = check_stack(c);
			n.alloc_stack = stacks_take_trace(c->stacks, from, m->trace, m->ntrace);
			told = true;
		}
		history_lose(c->history, from->session, m->range[i].first, m->range[i].last, &n);
	}
}

static void move(struct check *c, const struct event_memory *m)
{
	const struct memory_range *r = m->range;
	uint64_t to = m->arg;

	if (m->nranges != 1 || to > UINT64_MAX - (r->last - r->first) ||
	    (to <= r->last && to + (r->last - r->first) >= r->first))
		return;
	history_move(c->history, c->evs->origin->session, r->first, r->last, to);
}

static void fork_note(struct check *c, const struct event_memory *m)
{
	const struct event_origin *from = c->evs->origin;
	struct mapping_note n = {.forked_ns = loop_now(), .fork_tid = from->tid};

	if (!check_wants(c, CLASS_FORK_HAZARD))
		return;
	for (unsigned int i = 0; i < m->nranges; i++) {
		if (!history_has_va(c->history, from->session, m->range[i].first, m->range[i].last))
			continue;
		n.fork_stack = check_stack(c);
		history_forked(c->history, from->session, m->range[i].first, m->range[i].last, &n);
	}
}

void check_memory(struct check *c, const struct event *ev)
{
	const struct event_memory *m = ev->memory;
	const struct event_origin *from = c->evs->origin;

	if (!from)
		return;
	switch ((enum memory_change)m->kind) {
	case CHANGE_FREED:
	case CHANGE_UNMAPPED:
	case CHANGE_DISCARDED:
	case CHANGE_REPLACED:
	case CHANGE_CUT:
		lose(c, ev);
		break;
	case CHANGE_UNDONE:
		for (unsigned int i = 0; i < m->nranges && m->arg < ARRAY_SIZE(ways); i++)
			history_regain(c->history, from->session, m->range[i].first, m->range[i].last, m->arg);
		break;
	case CHANGE_MOVED:
		move(c, m);
		break;
	case CHANGE_FORKED:
		fork_note(c, m);
		break;
	case CHANGE_CHILD:
		kin_born(c->kin, from->session, m->arg, from->pid);
		break;
	case CHANGE_KINDS:
		break;
	}
	check_memory_watch(c);
}

void check_memory_watch(struct check *c)
{
	check_want_dma(c, DMA_LOST, history_has_lost(c->history));
	check_want_dma(c, DMA_FORKED, check_wants(c, CLASS_FORK_HAZARD) && kin_any(c->kin));
}

void check_memory_ended(struct check *c, uint64_t session)
{
	history_ended(c->history, session, loop_now());
	kin_ended(c->kin, session);
	check_memory_watch(c);
}

/* ---- what devices do ---- */

static struct finding finding_of(struct check *c, enum check_class class, const struct event *ev, const char *what)
{
	struct finding f = check_finding(c, class);
	char access[FINDING_TEXT];

	finding_of_dma(&f, ev);
	dma_access_format(ev, access, sizeof(access));
	finding_part(&f, ROLE_CALL, 0, 0, "%.140s: %s", access, what);
	return f;
}

static void explain_lost(struct check *c, struct finding *f, const struct lost_note *l)
{
	const struct mapping_note *live = history_live(c->history, l->ioas, MAX(l->node.start, f->addr));
	char ago[48];

	f->pid = l->pid;
	if (live)
		check_say_where(f, live, MAX(l->node.start, f->addr));
	check_ago(l->ns, f->first_ns, ago, sizeof(ago));
	finding_part(f, ways[l->kind].role, l->tid, l->stack, "%s %s, in thread %" PRIu32 " here:", ways[l->kind].text,
		     ago, l->tid);
	f->blame = f->nparts - 1;
	if (l->alloc_stack)
		finding_part(f, ROLE_ALLOCATED, 0, l->alloc_stack,
			     "allocated by thread T%" PRIu64 " here:", l->alloc_tid);
	if (live)
		check_say_mapped(f, live, "mapped for DMA");
}

static bool to_lost(struct check *c, const struct event *ev)
{
	const struct lost_note *l =
	    history_lost(c->history, ev->ioas, ev->addr, ev->addr + (ev->len ? ev->len - 1 : 0));
	struct finding f;

	if (!l || !check_wants(c, ways[l->kind].class))
		return false;
	f = finding_of(c, ways[l->kind].class, ev,
		       ways[l->kind].class == CLASS_DMA_STALE_PAGE ? "to a page that the program does not see"
								   : "to memory that is free");
	explain_lost(c, &f, l);
	findings_add(c->findings, &f, f.write);
	return true;
}

void check_memory_fault(struct check *c, const struct event *ev)
{
	bool nested = ev->flags & EVENT_NESTED;
	const struct mapping_note *live = nested ? NULL : history_live(c->history, ev->ioas, ev->addr);
	struct finding f;

	if ((!nested && to_lost(c, ev)) || !check_wants(c, CLASS_DMA_STALE_PAGE))
		return;
	f = finding_of(c, CLASS_DMA_STALE_PAGE, ev, "to a page that is gone");
	if (live) {
		f.pid = live->pid;
		check_say_where(&f, live, ev->addr);
		finding_part(&f, ROLE_NOTE, 0, 0, "the file behind it has been cut, by whom is not known");
		check_say_mapped(&f, live, "mapped for DMA");
		f.blame = f.nparts - 1;
	}
	findings_add(c->findings, &f, f.write | 2);
}

/* ---- fork ---- */

/* A child drives the device: of private memory it has copies, and the device has what its parent had. */
static bool drives(const struct check *c, const struct mapping_note *n, const struct event_origin *from)
{
	return from && from->session != n->session && kin_descends(c->kin, from->session, n->session) &&
	       !kin_has_mapped(c->kin, from->session);
}

static void explain_fork(struct check *c, struct finding *f, const struct mapping_note *n)
{
	char ago[48];

	check_say_where(f, n, f->addr);
	check_ago(n->forked_ns, f->first_ns, ago, sizeof(ago));
	finding_part(f, ROLE_CALL, n->fork_tid, n->fork_stack,
		     "process %" PRIu32 " forked %s, and its child got copies of its private memory, in thread %" PRIu32
		     " here:",
		     n->pid, ago, n->fork_tid);
	f->blame = f->nparts - 1;
	check_say_mapped(f, n, "mapped for DMA");
}

static void driven_by_child(struct check *c, const struct event *ev, const struct mapping_note *n)
{
	const struct event_origin *from = c->evs->origin;
	struct finding f = finding_of(c, CLASS_FORK_HAZARD, ev, "to memory of a process that has forked");

	finding_part(&f, ROLE_CALL, from->tid, check_stack(c),
		     "its child, process %" PRIu32 ", set it off, and does not see that memory, in thread %" PRIu32
		     " here:",
		     from->pid, from->tid);
	explain_fork(c, &f, n);
	findings_add(c->findings, &f, 0);
}

static void left_by_parent(struct check *c, const struct event *ev, const struct mapping_note *n)
{
	struct finding f = finding_of(c, CLASS_FORK_HAZARD, ev, "to memory of a process that has ended");

	f.pid = kin_alive(c->kin, n->session);
	finding_part(&f, ROLE_NOTE, 0, 0,
		     "its child, process %" PRIu32 ", goes on with the device, and does not see that memory", f.pid);
	explain_fork(c, &f, n);
	findings_add(c->findings, &f, 0);
}

static void to_forked(struct check *c, const struct event *ev)
{
	const struct event_origin *from = c->evs->origin;
	const struct mapping_note *n = history_live(c->history, ev->ioas, ev->addr);

	if (!n || !n->forked_ns)
		return;
	if (n->ended_ns) {
		if ((drives(c, n, from) || loop_now() - n->ended_ns > ENDING_NS) && kin_alive(c->kin, n->session))
			left_by_parent(c, ev, n);
	} else if (drives(c, n, from)) {
		driven_by_child(c, ev, n);
	}
}

void check_memory_dma(struct check *c, const struct event *ev)
{
	if (c->dma_wanted & DMA_LOST && to_lost(c, ev))
		return;
	if (c->dma_wanted & DMA_FORKED)
		to_forked(c, ev);
}
