/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/device.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/vfio.h>

#include "base/loop.h"
#include "base/util.h"
#include "check/private.h"

#define NOTES_MAX 1024 /* a function may have a million PASIDs */

struct devices {
	struct list list;
	unsigned int n, nmoved;
};

struct devices *devices_new(void)
{
	struct devices *d = calloc(1, sizeof(*d));

	if (d)
		list_init(&d->list);
	return d;
}

void devices_free(struct devices *d)
{
	if (!d)
		return;
	while (!list_empty(&d->list)) {
		struct device_note *n = list_first(&d->list, struct device_note, node);

		list_del(&n->node);
		free(n->msix_write);
		free(n);
	}
	free(d);
}

/* Not every event has the domain. */
static struct device_note *find(const struct devices *d, uint32_t who, uint32_t pasid)
{
	struct device_note *n;

	list_for_each (n, &d->list, node)
		if (n->bdf == (who & 0xffff) && n->pasid == pasid)
			return n;
	return NULL;
}

const struct device_note *devices_find(const struct devices *d, uint32_t who, uint32_t pasid)
{
	return find(d, who, pasid);
}

static struct device_note *note(struct devices *d, uint32_t who, uint32_t pasid)
{
	struct device_note *n = find(d, who, pasid);

	if (n || d->n == NOTES_MAX)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->bdf = who & 0xffff;
	n->pasid = pasid;
	list_add_tail(&d->list, &n->node);
	d->n++;
	return n;
}

struct deed deed_now(struct check *c)
{
	const struct event_origin *from = c->evs->origin;

	return (struct deed){.ns = loop_now(),
			     .pid = from ? from->pid : 0,
			     .tid = from ? from->tid : 0,
			     .stack = from ? check_stack(c) : 0};
}

void deed_say(struct finding *f, const struct deed *d, const char *fmt, ...)
{
	char what[160], ago[48];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	check_ago(d->ns, f->first_ns, ago, sizeof(ago));
	if (!d->tid && !d->stack) {
		finding_part(f, ROLE_NOTE, 0, 0, "%s %s, by no call of the program's", what, ago);
		return;
	}
	finding_part(f, ROLE_CALL, d->tid, d->stack, "%s %s by thread %" PRIu32 " here:", what, ago, d->tid);
	f->blame = f->nparts - 1;
	if (!f->pid)
		f->pid = d->pid;
}

static void set_moved(struct check *c, struct device_note *n, bool moved)
{
	c->devices->nmoved += moved - n->moved;
	n->moved = moved;
	check_want_dma(c, DMA_MOVED, c->devices->nmoved && check_wants(c, CLASS_DMA_AFTER_OWNER_CHANGE));
}

void check_attach(struct check *c, const struct event *ev)
{
	struct device_note *n = note(c->devices, ev->who, ev->pasid);

	if (!n || n->ioas == ev->ioas)
		return;
	/* Detached for a moment: what counts is what it had. */
	if (n->ioas)
		n->before = n->ioas;
	n->ioas = ev->ioas;
	n->attached = deed_now(c);
	set_moved(c, n, n->moved || (n->before && n->ioas && n->before != n->ioas));
}

void check_master(struct check *c, const struct event *ev)
{
	struct device_note *n = note(c->devices, ev->who, 0);

	if (n)
		n->master_off = ev->flags & EVENT_END ? deed_now(c) : (struct deed){0};
}

void check_reset(struct check *c, const struct event *ev)
{
	struct device_note *n = note(c->devices, ev->who, 0);

	if (!n)
		return;
	n->reset = deed_now(c);
	snprintf(n->reset_what, sizeof(n->reset_what), "%s", ev->name);
}

static void owner_gone(struct check *c, struct device_note *n)
{
	if (n->msix_write)
		findings_add(c->findings, n->msix_write, 0);
	free(n->msix_write);
	n->msix_write = NULL;
	n->msix_set = false;
	n->master_off = n->reset = n->irqs = (struct deed){0};
	set_moved(c, n, false);
}

void check_irqs(struct check *c, const struct event *ev)
{
	struct device_note *n = note(c->devices, ev->who, 0);

	if (!n)
		return;
	if (ev->flags & EVENT_END) {
		owner_gone(c, n);
		return;
	}
	n->irqs = deed_now(c);
	if (ev->value != VFIO_PCI_MSIX_IRQ_INDEX || !(ev->flags & EVENT_START))
		return;
	n->msix_set = true;
	free(n->msix_write);
	n->msix_write = NULL;
}

void check_msix_write(struct check *c, const struct event *ev, const struct finding *f)
{
	struct device_note *n = note(c->devices, ev->who, 0);

	if (!n || n->msix_set || n->msix_write)
		return;
	n->msix_write = malloc(sizeof(*f));
	if (n->msix_write)
		memcpy(n->msix_write, f, sizeof(*f));
}
