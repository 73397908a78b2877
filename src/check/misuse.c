/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs do to devices that no driver does: the device says so, and here it is said whose doing it was. */
#include <inttypes.h>
#include <stdio.h>

#include "base/util.h"
#include "check/private.h"

static const enum check_class class_of[] = {
    [MISUSE_MEMORY_OFF] = CLASS_MMIO_DISABLED,
    [MISUSE_WIDTH] = CLASS_MMIO_WIDTH,
    [MISUSE_READ_ONLY] = CLASS_MMIO_READ_ONLY_WRITE,
    [MISUSE_PROTOCOL] = CLASS_DEVICE_PROTOCOL,
};

void check_misuse(struct check *c, const struct event *ev)
{
	const struct event_origin *from = c->evs->origin;
	uint64_t off = ev->addr & (BIT64(40) - 1);
	struct finding f;
	char bdf[16];

	if (ev->value >= ARRAY_SIZE(class_of) || !check_wants(c, class_of[ev->value]))
		return;
	f = check_finding(c, class_of[ev->value]);
	f.has_device = true;
	f.bdf = ev->who;
	f.write = ev->flags & EVENT_WRITE;
	check_bdf(ev->who, bdf);
	finding_part(&f, ROLE_NOTE, 0, 0, "%s BAR %u offset 0x%" PRIx64 ", %s of %" PRIu64 " bytes: %s", bdf,
		     (unsigned int)(ev->addr >> 40), off, f.write ? "write" : "read", ev->len, ev->name);
	if (from && from->ip)
		finding_part(&f, ROLE_CALL, from->tid, check_stack(c), "by thread %" PRIu32 " here:", from->tid);
	else
		finding_part(&f, ROLE_NOTE, 0, 0,
			     "stored to a page of doorbells that traps nothing just then: where is not known");
	f.blame = f.nparts - 1;
	findings_add(c->findings, &f, ev->addr);
}

/* With nobody listening to a vector, work that is done stays unseen until somebody looks. */
void check_irq(struct check *c, const struct event *ev)
{
	struct finding f;
	char bdf[16];

	if (!ev->error || !check_wants(c, CLASS_IRQ_LOST))
		return;
	f = check_finding(c, CLASS_IRQ_LOST);
	f.has_device = true;
	f.bdf = ev->who;
	check_bdf(ev->who, bdf);
	finding_part(&f, ROLE_NOTE, 0, 0,
		     "%s raised vector %" PRIu64 ", and nobody had set that up: no eventfd, or MSI-X is off", bdf,
		     ev->value);
	findings_add(c->findings, &f, ev->value);
}

void check_taint(struct check *c, const struct event *ev)
{
	const struct event_origin *from = c->evs->origin;
	struct finding f;
	char bdf[16];

	if (!check_wants(c, CLASS_UNSAFE_MAP))
		return;
	f = check_finding(c, CLASS_UNSAFE_MAP);
	f.has_device = true;
	f.bdf = ev->who;
	check_bdf(ev->who, bdf);
	finding_part(&f, ROLE_CALL, from ? from->tid : 0, check_stack(c), "%s: %s; by thread %" PRIu32 " here:", bdf,
		     ev->name, from ? from->tid : 0);
	findings_add(c->findings, &f, 0);
}
