/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs do to devices that no driver does: the device says so, and here it is said whose doing it was. */
#include <inttypes.h>
#include <stdio.h>
#include <linux/vfio.h>

#include "base/util.h"
#include "check/device.h"
#include "check/private.h"
#include "iommu/iommu.h"

static const enum check_class class_of[] = {
    [MISUSE_MEMORY_OFF] = CLASS_MMIO_DISABLED,	     [MISUSE_WIDTH] = CLASS_MMIO_WIDTH,
    [MISUSE_READ_ONLY] = CLASS_MMIO_READ_ONLY_WRITE, [MISUSE_PROTOCOL] = CLASS_DEVICE_PROTOCOL,
    [MISUSE_RANGE] = CLASS_MMIO_OUT_OF_RANGE,	     [MISUSE_CONFIG] = CLASS_CONFIG_INVALID,
    [MISUSE_MSIX_WRITE] = CLASS_CONFIG_INVALID,
};

/* Different mistakes at one register are different findings. */
static uint64_t text_hash(const char *s)
{
	uint64_t h = 0;

	while (*s)
		h = (h ^ (unsigned char)*s++) * 0x100000001b3ull;
	return h;
}

static const char *region_name(unsigned int index, char *buf, size_t size)
{
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		return "configuration space";
	snprintf(buf, size, "BAR %u", index);
	return buf;
}

void check_misuse(struct check *c, const struct event *ev)
{
	const struct event_origin *from = c->evs->origin;
	uint64_t off = ev->addr & (BIT64(40) - 1);
	struct finding f;
	char bdf[16], region[24], tag[192] = "";

	if (ev->value >= ARRAY_SIZE(class_of) || !check_wants(c, class_of[ev->value]))
		return;
	f = check_finding(c, class_of[ev->value]);
	f.has_device = true;
	f.bdf = ev->who;
	f.write = ev->flags & EVENT_WRITE;
	check_bdf(ev->who, bdf);
	if (ev->tag)
		dma_tag_format(ev->tag, tag, sizeof(tag));
	finding_part(&f, ROLE_NOTE, 0, 0, "%s %s offset 0x%" PRIx64 ", %s of %" PRIu64 " bytes%s%s: %s", bdf,
		     region_name(ev->addr >> 40, region, sizeof(region)), off, f.write ? "write" : "read", ev->len,
		     tag[0] ? "," : "", tag, ev->name);
	if (from && from->ip)
		finding_part(&f, ROLE_CALL, from->tid, check_stack(c), "by thread %" PRIu32 " here:", from->tid);
	else
		finding_part(&f, ROLE_NOTE, 0, 0,
			     "found while nothing of the program's was trapped: where is not known");
	f.blame = f.nparts - 1;
	if (ev->value == MISUSE_MSIX_WRITE)
		check_msix_write(c, ev, &f);
	else
		findings_add(c->findings, &f, ev->addr ^ text_hash(ev->name));
}

static void say_irqs(struct check *c, struct finding *f, uint32_t who)
{
	const struct device_note *dev = devices_find(c->devices, who, 0);

	if (dev && dev->irqs.ns)
		deed_say(f, &dev->irqs, "the device's interrupts were last set up");
}

void check_storm(struct check *c, const struct event *ev)
{
	struct finding f = check_finding(c, CLASS_IRQ_STORM);
	char bdf[16];

	f.has_device = true;
	f.bdf = ev->who;
	check_bdf(ev->who, bdf);
	finding_part(&f, ROLE_NOTE, 0, 0, "%s interrupted %" PRIu64 " times with vector %" PRIu64 ", %s", bdf, ev->len,
		     ev->value, ev->name);
	say_irqs(c, &f, ev->who);
	findings_add(c->findings, &f, ev->value);
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
	say_irqs(c, &f, ev->who);
	findings_add(c->findings, &f, ev->value);
}

/* Somebody had set it up, and has not listened. */
void check_untaken(struct check *c, const struct event *ev)
{
	struct finding f = check_finding(c, CLASS_IRQ_LOST);
	char bdf[16];

	f.has_device = true;
	f.bdf = ev->who;
	check_bdf(ev->who, bdf);
	finding_part(&f, ROLE_NOTE, 0, 0,
		     "%s raised vector %" PRIu64 ", and nobody has read its eventfd, nor taken the %" PRIu64
		     " answer%s that it told of (%s)",
		     bdf, ev->value, ev->len, ev->len == 1 ? "" : "s", ev->name);
	say_irqs(c, &f, ev->who);
	findings_add(c->findings, &f, ev->value | 1ull << 32);
}
