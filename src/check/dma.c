/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA that went nowhere: what was there before, or beside it, and whose doing that was. */
#include <inttypes.h>
#include <stdio.h>

#include "base/util.h"
#include "check/device.h"
#include "check/kin.h"
#include "check/private.h"
#include "iommu/iommu.h"

/* How far from a mapping a stray access is called one past its end. */
#define NEAR 4096

void check_mapping_text(const struct mapping_note *n, char *buf, size_t size)
{
	snprintf(buf, size, "(va 0x%" PRIx64 "%s%s)", n->va, n->where ? ", " : "", n->where ?: "");
}

static void range_text(const struct mapping_note *n, char *buf, size_t size)
{
	char va[96];

	check_mapping_text(n, va, sizeof(va));
	snprintf(buf, size, "%" PRIu64 "-byte mapping [0x%" PRIx64 ",0x%" PRIx64 "] of ioas %" PRIu64 " %s",
		 n->node.last - n->node.start + 1, n->node.start, n->node.last, n->ioas, va);
}

void check_say_mapped(struct finding *f, const struct mapping_note *n, const char *word)
{
	finding_part(f, ROLE_MAPPED, n->tid, n->mapped_stack, "%s by thread %" PRIu32 " here:", word, n->tid);
}

void check_say_where(struct finding *f, const struct mapping_note *n, uint64_t addr)
{
	char range[208];

	range_text(n, range, sizeof(range));
	f->memory = n->where;
	if (addr < n->node.start)
		finding_part(f, ROLE_NOTE, 0, 0, "0x%" PRIx64 " is %" PRIu64 " bytes before the %s", addr,
			     n->node.start - addr, range);
	else if (addr > n->node.last)
		finding_part(f, ROLE_NOTE, 0, 0, "0x%" PRIx64 " is %" PRIu64 " bytes after the %s", addr,
			     addr - n->node.last - 1, range);
	else
		finding_part(f, ROLE_NOTE, 0, 0, "0x%" PRIx64 " is %" PRIu64 " bytes inside the %s", addr,
			     addr - n->node.start, range);
}

/* A child of fork has its parent's descriptors, and what it unmaps its parent has mapped no more. */
static bool unmapped_by_child(const struct check *c, const struct mapping_note *gone)
{
	return gone->session && gone->gone_session && gone->session != gone->gone_session &&
	       kin_descends(c->kin, gone->gone_session, gone->session);
}

static void say_unmapped(struct finding *f, const struct mapping_note *gone)
{
	char ago[48];

	check_ago(gone->gone_ns, f->first_ns, ago, sizeof(ago));
	if (f->class == CLASS_FORK_HAZARD)
		finding_part(f, ROLE_UNMAPPED, gone->gone_tid, gone->gone_stack,
			     "unmapped %s by process %" PRIu32 ", its child by fork, in thread %" PRIu32 " here:", ago,
			     gone->gone_pid, gone->gone_tid);
	else if (gone->gone_tid || gone->gone_stack)
		finding_part(f, ROLE_UNMAPPED, gone->gone_tid, gone->gone_stack,
			     "unmapped %s by thread %" PRIu32 " here:", ago, gone->gone_tid);
	else
		finding_part(f, ROLE_UNMAPPED, 0, 0, "unmapped %s, when a descriptor was closed", ago);
	f->blame = f->nparts - 1;
}

static void use_after_unmap(struct check *c, struct finding *f, const struct mapping_note *gone)
{
	f->class = unmapped_by_child(c, gone) ? CLASS_FORK_HAZARD : CLASS_DMA_USE_AFTER_UNMAP;
	f->pid = gone->pid;
	check_say_where(f, gone, f->addr);
	say_unmapped(f, gone);
	check_say_mapped(f, gone, "mapped");
}

static void never_mapped(struct check *c, struct finding *f, const struct mapping_note *near)
{
	f->class = near ? CLASS_DMA_OUT_OF_BOUNDS : CLASS_DMA_UNMAPPED;
	if (!near) {
		finding_part(f, ROLE_NOTE, 0, 0, "0x%" PRIx64 " of ioas %" PRIu64 " was never mapped", f->addr,
			     f->ioas);
		return;
	}
	f->pid = near->pid;
	check_say_where(f, near, f->addr);
	check_say_mapped(f, near, "mapped");
	f->blame = f->nparts - 1;
}

static void without_permission(struct check *c, struct finding *f, const struct mapping_note *live)
{
	f->class = CLASS_DMA_PERMISSION;
	if (!live)
		return;
	f->pid = live->pid;
	check_say_where(f, live, f->addr);
	check_say_mapped(f, live, f->write ? "mapped without write permission" : "mapped without read permission");
	f->blame = f->nparts - 1;
}

static void without_master(struct finding *f, const struct device_note *dev)
{
	f->class = CLASS_DMA_BUS_MASTER_OFF;
	if (dev && dev->master_off.ns)
		deed_say(f, &dev->master_off, "bus mastering was switched off");
	else
		finding_part(f, ROLE_NOTE, 0, 0, "bus mastering has not been switched on");
}

/* Of what lived through a reset because the specification says so. */
static void after_reset(struct check *c, struct finding *f, const struct device_note *dev)
{
	const struct mapping_note *gone = history_gone(c->history, f->ioas, f->addr);

	f->class = CLASS_DMA_AFTER_RESET;
	finding_part(f, ROLE_NOTE, 0, 0, "0x%" PRIx64 " is from before a reset, and has not been set since", f->addr);
	if (gone) {
		f->pid = gone->pid;
		say_unmapped(f, gone);
	}
	if (dev && dev->reset.ns)
		deed_say(f, &dev->reset, "%s was reset", dev->reset_what);
}

/* What the device still has from the time when it used another space: there it is mapped, or was until it left. */
static const struct mapping_note *in_old_space(struct check *c, const struct finding *f, const struct device_note *dev)
{
	const struct mapping_note *n;

	if (!dev || !dev->before || dev->before == f->ioas || history_gone(c->history, f->ioas, f->addr))
		return NULL;
	n = history_live(c->history, dev->before, f->addr);
	if (n)
		return n;
	n = history_gone(c->history, dev->before, f->addr);
	return n && n->gone_ns >= dev->attached.ns ? n : NULL;
}

static void after_owner_change(struct finding *f, const struct mapping_note *n, const struct device_note *dev)
{
	f->class = CLASS_DMA_AFTER_OWNER_CHANGE;
	f->pid = n->pid;
	check_say_where(f, n, f->addr);
	check_say_mapped(f, n, "mapped");
	if (dev->ioas)
		deed_say(f, &dev->attached, "the device was given ioas %" PRIu64 " instead", dev->ioas);
	else
		deed_say(f, &dev->attached, "the device was detached from it");
}

static bool same_memory(const struct mapping_note *a, const struct mapping_note *b, uint64_t addr)
{
	return a->session == b->session && a->va + (addr - a->node.start) == b->va + (addr - b->node.start);
}

/*
 * The address is from the time before, meant other memory there, and is mapped here as well: nothing fails. Where the
 * same memory is in both spaces the device was given another one while it worked, as it should be done.
 */
void check_moved_dma(struct check *c, const struct event *ev)
{
	const struct device_note *dev = ev->flags & EVENT_MOVED ? devices_find(c->devices, ev->who, 0) : NULL;
	const struct mapping_note *here, *meant;
	char access[FINDING_TEXT];
	struct finding f;

	if (!dev || !dev->before || dev->ioas != ev->ioas || dev->before == ev->ioas ||
	    !check_wants(c, CLASS_DMA_AFTER_OWNER_CHANGE))
		return;
	here = history_live(c->history, ev->ioas, ev->addr);
	meant = history_live(c->history, dev->before, ev->addr) ?: history_gone(c->history, dev->before, ev->addr);
	if (!here || !meant || same_memory(here, meant, ev->addr))
		return;
	f = check_finding(c, CLASS_DMA_AFTER_OWNER_CHANGE);
	finding_of_dma(&f, ev);
	dma_access_format(ev, access, sizeof(access));
	finding_part(&f, ROLE_CALL, 0, 0, "%.140s: meant for ioas %" PRIu64 ", went to what is there in ioas %" PRIu64,
		     access, dev->before, ev->ioas);
	after_owner_change(&f, meant, dev);
	check_say_where(&f, here, ev->addr);
	check_say_mapped(&f, here, "mapped");
	findings_add(c->findings, &f, f.write | 2);
}

/* What its table says is the client's, or its guest's, and changes without a word. */
static void through_nested(struct finding *f, int reason)
{
	f->class = reason == DMA_FAULT_PERMISSION ? CLASS_DMA_PERMISSION : CLASS_DMA_UNMAPPED;
	finding_part(f, ROLE_NOTE, 0, 0, "0x%" PRIx64 " is an address of a nested page table above ioas %" PRIu64,
		     f->addr, f->ioas);
}

static void explain(struct check *c, struct finding *f, const struct event *ev)
{
	const struct device_note *dev = devices_find(c->devices, ev->who, ev->pasid);
	const struct mapping_note *gone, *near, *old;

	if (ev->error == DMA_FAULT_MASTER) {
		without_master(f, devices_find(c->devices, ev->who, 0));
		return;
	}
	if (ev->tag && ev->tag->old) {
		after_reset(c, f, devices_find(c->devices, ev->who, 0));
		return;
	}
	if (ev->flags & EVENT_NESTED) {
		through_nested(f, ev->error);
		return;
	}
	old = ev->error == DMA_FAULT_UNMAPPED || ev->error == DMA_FAULT_DETACHED ? in_old_space(c, f, dev) : NULL;
	if (old) {
		after_owner_change(f, old, dev);
		return;
	}
	switch (ev->error) {
	case DMA_FAULT_PERMISSION:
		without_permission(c, f, history_live(c->history, f->ioas, f->addr));
		return;
	default:
		gone = history_gone(c->history, f->ioas, f->addr);
		near = history_near(c->history, f->ioas, f->addr, NEAR);
		/* Where something was mapped once, and beside it something is: past the end is the likelier mistake
		 * only if the access began within what is still there. */
		if (gone)
			use_after_unmap(c, f, gone);
		else
			never_mapped(c, f, near);
	}
}

void check_dma_fault(struct check *c, const struct event *ev)
{
	const struct event_origin *from = c->evs->origin;
	struct finding f = check_finding(c, CLASS_DMA_UNMAPPED);
	char line[FINDING_TEXT];

	if (ev->error == DMA_FAULT_GONE) {
		check_memory_fault(c, ev);
		return;
	}
	finding_of_dma(&f, ev);
	dma_fault_format(ev, line, sizeof(line));
	finding_part(&f, ROLE_CALL, 0, 0, "%s", line);
	explain(c, &f, ev);
	if (!f.part[f.blame].stack && from && from->ip) {
		finding_part(&f, ROLE_CALL, from->tid, check_stack(c),
			     "the device was doing what it had been told by thread %" PRIu32 " here:", from->tid);
		f.blame = f.nparts - 1;
	}
	if (check_wants(c, f.class))
		findings_add(c->findings, &f, f.write);
}
