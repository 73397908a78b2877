/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/inject.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/event.h"
#include "base/list.h"
#include "base/log.h"
#include "base/loop.h"

#define DOOMED_MAX  4096 /* commands under way whose completion is spoiled */
#define QUEUES_MAX  1024 /* a queue of a higher number does not get stuck */
#define PRINTED_MAX 8	 /* lines about one fault */

const char *const inject_kind_names[INJECT_KINDS] = {
    [INJECT_REMOVE] = "remove",		[INJECT_RESET] = "reset",	  [INJECT_LINK_DOWN] = "link-down",
    [INJECT_LINK_UP] = "link-up",	[INJECT_LOST_IRQ] = "lost-irq",	  [INJECT_STUCK_QUEUE] = "stuck-queue",
    [INJECT_DELAY] = "delay",		[INJECT_WRONG_DMA] = "wrong-dma", [INJECT_CORRUPT] = "corrupt",
    [INJECT_LOST_FRAME] = "lost-frame",
};

const char *const inject_field_names[INJECT_FIELDS] = {"status", "id", "result"};

struct inject_fault {
	struct list node;
	struct pci_inject *inj;
	struct inject_spec spec;
	unsigned int id;
	struct loop_timer begin; /* armed until its time has come */
	struct loop_timer end;	 /* of what lasts */
	struct loop_work work;	 /* what the host has to do */
	uint64_t seen, struck;
};

struct doomed {
	struct list node;
	unsigned int queue, id;
	struct inject_fate fate;
};

struct pci_inject {
	struct pci_func *f;
	struct loop *loop;
	struct inject_host *host;
	struct list faults;
	struct list doomed;
	unsigned int ndoomed;
	uint64_t stuck[QUEUES_MAX / 64];
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* The number that belongs to the occasion; `which` tells several of them apart. */
static uint64_t dice(const struct inject_fault *t, unsigned int which)
{
	return mix(mix(t->spec.seed * INJECT_KINDS + t->spec.kind) ^ mix(t->seen * 4 + which));
}

static void report(const struct inject_fault *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void report(const struct inject_fault *t, const char *fmt, ...)
{
	char bdf[16], what[80];
	va_list ap;

	if (t->struck > PRINTED_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	pci_bdf_format(t->inj->f, bdf);
	log_warn("fault injected: %s %s%s%s%s", bdf, inject_kind_names[t->spec.kind], *what ? ", " : "", what,
		 t->struck == PRINTED_MAX ? " (more follow and are only counted)" : "");
}

static bool exhausted(const struct inject_fault *t)
{
	return t->struck >= t->spec.times;
}

static bool waiting(const struct inject_fault *t)
{
	return t->begin.deadline;
}

/* Counts an occasion. True: the fault strikes. */
static bool strikes(struct inject_fault *t)
{
	if (waiting(t) || exhausted(t))
		return false;
	if (++t->seen <= t->spec.after)
		return false;
	if (t->spec.chance != INJECT_ALWAYS && dice(t, 0) >= t->spec.chance)
		return false;
	t->struck++;
	return true;
}

static bool queue_meant(const struct inject_fault *t, unsigned int queue)
{
	if (t->spec.queue != INJECT_ANY)
		return (unsigned int)t->spec.queue == queue;
	return queue >= t->inj->f->admin_queues;
}

/* ---- what the host does ---- */

static bool is_act(enum inject_kind kind)
{
	return kind <= INJECT_LINK_UP;
}

static void act(struct loop_work *w)
{
	struct inject_fault *t = container_of(w, struct inject_fault, work);
	struct pci_inject *inj = t->inj;

	report(t, "%s", "");
	if (t->spec.kind == INJECT_LINK_DOWN && t->spec.lasting)
		loop_timer_arm(inj->loop, &t->end, t->spec.lasting);
	inj->host->act(inj->host, inj->f, t->spec.kind);
}

static void act_soon(struct inject_fault *t)
{
	loop_work_queue(t->inj->loop, &t->work);
}

static void begin_expired(struct loop_timer *timer)
{
	struct inject_fault *t = container_of(timer, struct inject_fault, begin);

	if (!is_act(t->spec.kind) || t->spec.on_occasion || exhausted(t))
		return;
	t->struck++;
	act_soon(t);
}

/* ---- queues that are stuck ---- */

static bool stuck_get(const struct pci_inject *inj, unsigned int queue)
{
	return queue < QUEUES_MAX && inj->stuck[queue / 64] & BIT64(queue % 64);
}

static void stuck_clear(struct pci_inject *inj, int queue)
{
	if (queue == INJECT_ANY)
		for (size_t i = 0; i < ARRAY_SIZE(inj->stuck); i++)
			inj->stuck[i] = 0;
	else if (queue < QUEUES_MAX)
		inj->stuck[queue / 64] &= ~BIT64(queue % 64);
}

static void resume(struct pci_inject *inj)
{
	stuck_clear(inj, INJECT_ANY);
	if (inj->f->ops->resume)
		inj->f->ops->resume(inj->f);
}

static void end_expired(struct loop_timer *timer)
{
	struct inject_fault *t = container_of(timer, struct inject_fault, end);

	if (t->spec.kind == INJECT_LINK_DOWN)
		t->inj->host->act(t->inj->host, t->inj->f, INJECT_LINK_UP);
	else
		resume(t->inj);
}

static bool gets_stuck(struct inject_fault *t, unsigned int queue)
{
	if (queue >= QUEUES_MAX || !strikes(t))
		return false;
	t->inj->stuck[queue / 64] |= BIT64(queue % 64);
	if (t->spec.lasting)
		loop_timer_arm(t->inj->loop, &t->end, t->spec.lasting);
	report(t, "queue %u", queue);
	return true;
}

bool inject_stuck_slow(const struct pci_func *f, unsigned int queue)
{
	return stuck_get(f->inject, queue);
}

/* ---- commands and their completions ---- */

static void doom(struct pci_inject *inj, unsigned int queue, unsigned int id, const struct inject_fate *fate)
{
	struct doomed *d = inj->ndoomed < DOOMED_MAX ? malloc(sizeof(*d)) : NULL;

	if (!d)
		return;
	*d = (struct doomed){.queue = queue, .id = id, .fate = *fate};
	list_add_tail(&inj->doomed, &d->node);
	inj->ndoomed++;
}

static void doomed_free(struct pci_inject *inj, struct doomed *d)
{
	list_del(&d->node);
	inj->ndoomed--;
	free(d);
}

static void command_strikes(struct inject_fault *t, unsigned int queue, unsigned int id, struct inject_fate *fate)
{
	if (t->spec.kind == INJECT_DELAY) {
		fate->delay += t->spec.lasting;
		report(t, "queue %u command %u by %" PRIu64 " us", queue, id, t->spec.lasting / 1000);
	} else if (t->spec.kind == INJECT_CORRUPT) {
		fate->corrupt = true;
		fate->field = t->spec.field;
		fate->noise = dice(t, 1) | 1;
		report(t, "queue %u command %u: %s", queue, id, inject_field_names[t->spec.field]);
	} else {
		act_soon(t);
	}
}

static bool about_commands(const struct inject_fault *t)
{
	return t->spec.kind == INJECT_DELAY || t->spec.kind == INJECT_CORRUPT ||
	       (is_act(t->spec.kind) && t->spec.on_occasion);
}

bool inject_command_slow(struct pci_func *f, unsigned int queue, unsigned int id)
{
	struct pci_inject *inj = f->inject;
	struct inject_fate fate = {0};
	struct inject_fault *t;

	list_for_each (t, &inj->faults, node)
		if (t->spec.kind == INJECT_STUCK_QUEUE && queue_meant(t, queue) && gets_stuck(t, queue))
			return false;
	list_for_each (t, &inj->faults, node)
		if (about_commands(t) && queue_meant(t, queue) && strikes(t))
			command_strikes(t, queue, id, &fate);
	if (fate.delay || fate.corrupt)
		doom(inj, queue, id, &fate);
	return true;
}

bool inject_completion_slow(struct pci_func *f, unsigned int queue, unsigned int id, struct inject_fate *fate)
{
	struct doomed *d;

	list_for_each (d, &f->inject->doomed, node) {
		if (d->queue != queue || d->id != id)
			continue;
		*fate = d->fate;
		doomed_free(f->inject, d);
		return true;
	}
	return false;
}

void inject_dma_slow(struct pci_func *f, unsigned int queue, uint64_t *iova)
{
	struct inject_fault *t;

	list_for_each (t, &f->inject->faults, node) {
		uint64_t right = *iova;

		if (t->spec.kind != INJECT_WRONG_DMA || !queue_meant(t, queue) || !strikes(t))
			continue;
		*iova = t->spec.has_addr ? t->spec.addr : right ^ BIT64(12 + dice(t, 1) % 36);
		report(t, "queue %u: 0x%" PRIx64 " in place of 0x%" PRIx64, queue, *iova, right);
	}
}

bool inject_irq_slow(struct pci_func *f, unsigned int vector)
{
	struct inject_fault *t;
	bool lost = false;

	list_for_each (t, &f->inject->faults, node) {
		if (t->spec.kind != INJECT_LOST_IRQ || (t->spec.vector >= 0 && (unsigned int)t->spec.vector != vector))
			continue;
		if (!strikes(t))
			continue;
		report(t, "vector %u", vector);
		lost = true;
	}
	if (lost)
		event_emit(f->evs, EVENT_IRQ, .who = f->bdf, .value = vector, .error = ECANCELED);
	return lost;
}

bool inject_frame_slow(struct pci_func *f, unsigned int queue)
{
	struct inject_fault *t;
	bool lost = false;

	list_for_each (t, &f->inject->faults, node) {
		if (t->spec.kind != INJECT_LOST_FRAME || !queue_meant(t, queue) || !strikes(t))
			continue;
		report(t, "queue %u", queue);
		lost = true;
	}
	return lost;
}

void inject_reset_slow(struct pci_func *f, int queue)
{
	struct doomed *d, *tmp;

	list_for_each_safe (d, tmp, &f->inject->doomed, node)
		if (queue == INJECT_ANY || d->queue == (unsigned int)queue)
			doomed_free(f->inject, d);
	stuck_clear(f->inject, queue);
}

/* ---- setting up ---- */

static void inject_free(struct pci_func *f)
{
	inject_reset_slow(f, INJECT_ANY);
	free(f->inject);
	f->inject = NULL;
}

int inject_add(struct pci_func *f, const struct inject_spec *s, unsigned int id, struct loop *loop,
	       struct inject_host *host)
{
	struct inject_fault *t = calloc(1, sizeof(*t));

	if (t && !f->inject) {
		f->inject = calloc(1, sizeof(*f->inject));
		if (f->inject) {
			*f->inject = (struct pci_inject){.f = f, .loop = loop, .host = host};
			list_init(&f->inject->faults);
			list_init(&f->inject->doomed);
		}
	}
	if (!t || !f->inject) {
		free(t);
		return -ENOMEM;
	}
	t->inj = f->inject;
	t->spec = *s;
	t->id = id;
	t->work.run = act;
	list_init(&t->work.node);
	loop_timer_init(&t->begin, begin_expired);
	loop_timer_init(&t->end, end_expired);
	list_add_tail(&f->inject->faults, &t->node);
	if (s->at)
		loop_timer_arm(loop, &t->begin, s->at);
	else
		begin_expired(&t->begin);
	return 0;
}

/* What the fault holds up. */
static void let_go(struct inject_fault *t)
{
	if (t->spec.kind == INJECT_STUCK_QUEUE && t->struck)
		resume(t->inj);
	if (t->spec.kind == INJECT_LINK_DOWN && t->end.deadline)
		t->inj->host->act(t->inj->host, t->inj->f, INJECT_LINK_UP);
}

static void fault_free(struct inject_fault *t)
{
	struct loop *loop = t->inj->loop;

	loop_timer_cancel(loop, &t->begin);
	loop_timer_cancel(loop, &t->end);
	loop_work_cancel(loop, &t->work);
	list_del(&t->node);
	free(t);
}

bool inject_drop(struct pci_func *f, unsigned int id)
{
	struct pci_inject *inj = f->inject;
	struct inject_fault *t, *tmp;
	bool found = !id;

	if (!inj)
		return found;
	list_for_each_safe (t, tmp, &inj->faults, node) {
		if (id && t->id != id)
			continue;
		found = true;
		let_go(t);
		fault_free(t);
	}
	if (list_empty(&inj->faults))
		inject_free(f);
	return found;
}

bool inject_status(const struct pci_func *f, size_t i, struct inject_status *st)
{
	const struct inject_fault *t;

	if (!f->inject)
		return false;
	list_for_each (t, &f->inject->faults, node) {
		if (i--)
			continue;
		*st = (struct inject_status){t->id, t->spec, t->seen, t->struck, waiting(t)};
		return true;
	}
	return false;
}
