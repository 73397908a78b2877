/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happened when, for a picture: rates per device in slices of time. The slices double in width when the run
 * outgrows them, so that memory is bounded however long it goes on.
 */
#ifndef PINFOLD_CHECK_TIMELINE_H
#define PINFOLD_CHECK_TIMELINE_H

#include <stdint.h>

#define TIMELINE_SLICES 512

struct event;
struct timeline;

struct slice {
	uint32_t reads, writes, faults, irqs;
	uint64_t bytes;
};

struct lane {
	uint32_t bdf; /* without the domain, as events of DMA have it */
	struct slice slice[TIMELINE_SLICES];
};

struct timeline *timeline_new(uint64_t began_ns);
void timeline_free(struct timeline *t);
void timeline_note(struct timeline *t, uint64_t now, const struct event *ev);
uint64_t timeline_slice_ns(const struct timeline *t);
const struct lane *timeline_lane(const struct timeline *t, unsigned int n); /* NULL: there are no more */

#endif
