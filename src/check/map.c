/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that failed, or did less than they were asked to, and a program that went on as if they had not. A refused map
 * alone is no mistake: whoever tries again elsewhere, or makes room and tries again, has seen it. DMA to the very range
 * that was refused says that nobody did.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/util.h"
#include "check/private.h"

#define REFUSALS_MAX 1024 /* the oldest is forgotten */

struct refusal {
	struct list node;
	uint64_t ioas, first, last, va, ns;
	int error;
	uint32_t pid, tid, stack;
};

struct refusals {
	struct list list;
	unsigned int n;
};

struct refusals *refusals_new(void)
{
	struct refusals *r = calloc(1, sizeof(*r));

	if (r)
		list_init(&r->list);
	return r;
}

static void refusal_forget(struct check *c, struct refusal *f)
{
	list_del(&f->node);
	free(f);
	check_want_dma(c, DMA_REFUSED, --c->refusals->n);
}

void refusals_free(struct refusals *r)
{
	if (!r)
		return;
	while (!list_empty(&r->list)) {
		struct refusal *f = list_first(&r->list, struct refusal, node);

		list_del(&f->node);
		free(f);
	}
	free(r);
}

void check_map_refused(struct check *c, const struct event *ev)
{
	struct refusal *f;

	if (!check_wants(c, CLASS_MAP_OVERLAP_IGNORED) || !ev->len || ev->len - 1 > UINT64_MAX - ev->addr)
		return;
	f = malloc(sizeof(*f));
	if (!f)
		return;
	*f = (struct refusal){.ioas = ev->ioas,
			      .first = ev->addr,
			      .last = ev->addr + ev->len - 1,
			      .va = ev->value,
			      .ns = loop_now(),
			      .error = ev->error,
			      .pid = c->evs->origin ? c->evs->origin->pid : 0,
			      .tid = c->evs->origin ? c->evs->origin->tid : 0,
			      .stack = check_stack(c)};
	list_add_tail(&c->refusals->list, &f->node);
	c->refusals->n++;
	check_want_dma(c, DMA_REFUSED, true);
	if (c->refusals->n > REFUSALS_MAX)
		refusal_forget(c, list_first(&c->refusals->list, struct refusal, node));
}

/* The same memory mapped somewhere else, or the same place mapped after all: it has been seen to. */
void check_map_made(struct check *c, const struct event *ev)
{
	struct refusal *f, *tmp;
	uint64_t last = ev->addr + ev->len - 1;

	list_for_each_safe (f, tmp, &c->refusals->list, node)
		if (f->ioas == ev->ioas && ((f->first <= last && f->last >= ev->addr) || f->va - ev->value < ev->len))
			refusal_forget(c, f);
}

static void explain_refusal(struct check *c, const struct refusal *r, const struct event *ev)
{
	const struct mapping_note *there = history_live(c->history, ev->ioas, ev->addr);
	struct finding f = check_finding(c, CLASS_MAP_OVERLAP_IGNORED);
	char ago[48], va[96];

	f.pid = r->pid;
	finding_of_dma(&f, ev);
	finding_part(&f, ROLE_NOTE, 0, 0,
		     "[DMA %s] of %" PRIu64 " bytes at 0x%" PRIx64 " went to other memory than the program thinks",
		     f.write ? "Write" : "Read", ev->len, ev->addr);
	check_ago(r->ns, f.first_ns, ago, sizeof(ago));
	finding_part(&f, ROLE_CALL, r->tid, r->stack,
		     "mapping [0x%" PRIx64 ",0x%" PRIx64 "] to va 0x%" PRIx64 " had failed (%s) %s, in thread %" PRIu32
		     " here:",
		     r->first, r->last, r->va, strerrorname_np(r->error), ago, r->tid);
	f.blame = f.nparts - 1;
	if (there) {
		check_mapping_text(there, va, sizeof(va));
		f.memory = there->where;
		finding_part(&f, ROLE_MAPPED, there->tid, there->mapped_stack,
			     "what is there is [0x%" PRIx64 ",0x%" PRIx64 "] %s, mapped by thread %" PRIu32 " here:",
			     there->node.start, there->node.last, va, there->tid);
	}
	findings_add(c->findings, &f, 0);
}

void check_dma_done(struct check *c, const struct event *ev)
{
	struct refusal *f, *tmp;
	uint64_t last = ev->addr + (ev->len ? ev->len - 1 : 0);

	list_for_each_safe (f, tmp, &c->refusals->list, node) {
		if (f->ioas != ev->ioas || f->first > last || f->last < ev->addr)
			continue;
		explain_refusal(c, f, ev);
		refusal_forget(c, f);
	}
}

void check_unmap_asked(struct check *c, const struct event *ev)
{
	struct finding f = check_finding(c, CLASS_UNMAP_MISMATCH);
	const struct mapping_note *there, *meant;
	uint64_t last = ev->addr + ev->len - 1;
	uint32_t tid = c->evs->origin ? c->evs->origin->tid : 0;
	char va[96];

	/* More than one mapping, or a hole among them, is nothing that anybody relies on. */
	if (!ev->len || last < ev->addr || ev->value)
		return;
	there = history_overlap(c->history, ev->ioas, ev->addr, last);
	meant = there ?: history_of_length(c->history, ev->ioas, ev->len);
	/* Who makes sure that a range is empty, as virtual machines do with whole address spaces, does not miss
	 * anything. */
	if (!meant)
		return;
	f.has_range = true;
	f.ioas = ev->ioas;
	f.addr = ev->addr;
	f.len = ev->len;
	finding_part(&f, ROLE_CALL, tid, check_stack(c),
		     "unmapping [0x%" PRIx64 ",0x%" PRIx64 "] of ioas %" PRIu64
		     " removed nothing (%s), in thread %" PRIu32 " here:",
		     ev->addr, last, ev->ioas, ev->error ? strerrorname_np(ev->error) : "but succeeded", tid);
	check_mapping_text(meant, va, sizeof(va));
	f.memory = meant->where;
	finding_part(&f, ROLE_MAPPED, meant->tid, meant->mapped_stack,
		     "%s is [0x%" PRIx64 ",0x%" PRIx64 "] %s, mapped by thread %" PRIu32 " here:",
		     there ? "what is there" : "a mapping of that length", meant->node.start, meant->node.last, va,
		     meant->tid);
	findings_add(c->findings, &f, 0);
}
