/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/timeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/util.h"

#define LANES	       64
#define SLICE_NS_FIRST 1000000 /* half a second in all */

struct timeline {
	uint64_t began_ns, slice_ns;
	unsigned int nlanes;
	struct lane *lane[LANES];
};

struct timeline *timeline_new(uint64_t began_ns)
{
	struct timeline *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->began_ns = began_ns;
	t->slice_ns = SLICE_NS_FIRST;
	return t;
}

void timeline_free(struct timeline *t)
{
	if (!t)
		return;
	for (unsigned int i = 0; i < t->nlanes; i++)
		free(t->lane[i]);
	free(t);
}

static struct lane *lane_of(struct timeline *t, uint32_t bdf)
{
	struct lane *l;

	for (unsigned int i = 0; i < t->nlanes; i++)
		if (t->lane[i]->bdf == bdf)
			return t->lane[i];
	l = t->nlanes < LANES ? calloc(1, sizeof(*l)) : NULL;
	if (!l)
		return NULL;
	l->bdf = bdf;
	t->lane[t->nlanes++] = l;
	return l;
}

static void slice_add(struct slice *to, const struct slice *s)
{
	to->reads += s->reads;
	to->writes += s->writes;
	to->faults += s->faults;
	to->irqs += s->irqs;
	to->bytes += s->bytes;
}

static void lane_halve(struct lane *l)
{
	for (unsigned int i = 0; i < TIMELINE_SLICES / 2; i++) {
		struct slice both = l->slice[2 * i];

		slice_add(&both, &l->slice[2 * i + 1]);
		l->slice[i] = both;
	}
	memset(l->slice + TIMELINE_SLICES / 2, 0, sizeof(l->slice) / 2);
}

void timeline_note(struct timeline *t, uint64_t now, const struct event *ev)
{
	struct lane *l = lane_of(t, ev->who & 0xffff);
	struct slice *s;

	if (!l)
		return;
	while ((now - t->began_ns) / t->slice_ns >= TIMELINE_SLICES) {
		for (unsigned int i = 0; i < t->nlanes; i++)
			lane_halve(t->lane[i]);
		t->slice_ns *= 2;
	}
	s = &l->slice[(now - t->began_ns) / t->slice_ns];
	switch (ev->type) {
	case EVENT_DMA:
		s->reads += !(ev->flags & EVENT_WRITE);
		s->writes += !!(ev->flags & EVENT_WRITE);
		s->bytes += ev->len;
		break;
	case EVENT_FAULT:
		s->faults++;
		break;
	case EVENT_IRQ:
		s->irqs++;
		break;
	default:
		break;
	}
}

uint64_t timeline_slice_ns(const struct timeline *t)
{
	return t->slice_ns;
}

const struct lane *timeline_lane(const struct timeline *t, unsigned int n)
{
	return n < t->nlanes ? t->lane[n] : NULL;
}
