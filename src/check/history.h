/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was mapped where, when, and by whom: the mappings that are there, and the last ones that are gone. Memory is
 * bounded: the oldest of the gone are forgotten, and beyond a number of live ones no more are taken note of.
 */
#ifndef PINFOLD_CHECK_HISTORY_H
#define PINFOLD_CHECK_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/itree.h"
#include "base/list.h"

struct history;

struct mapping_note {
	struct itree_node node; /* IOVA */
	struct list order;	/* by when it was mapped, or when it went */
	uint64_t ioas;
	uint64_t va;
	uint64_t mapped_ns, gone_ns; /* gone_ns 0: it is there */
	uint32_t pid, tid;	     /* who mapped */
	uint32_t gone_tid;
	uint32_t mapped_stack, gone_stack;
	bool writable;
};

struct history *history_new(void);
void history_free(struct history *h);
/* note: all but node, order, ioas and the gone_*. */
void history_map(struct history *h, uint64_t ioas, uint64_t iova, uint64_t len, const struct mapping_note *note);
/* gone: called for each mapping, or part of one, that goes. */
void history_unmap(struct history *h, uint64_t ioas, uint64_t iova, uint64_t len, uint64_t now, uint32_t tid,
		   uint32_t stack, void (*gone)(void *ctx, const struct mapping_note *n), void *ctx);
/* The mapping that holds iova; NULL if there is none. */
const struct mapping_note *history_live(struct history *h, uint64_t ioas, uint64_t iova);
/* The first one that meets [first, last]. */
const struct mapping_note *history_overlap(struct history *h, uint64_t ioas, uint64_t first, uint64_t last);
/* The last one that held iova and is gone. */
const struct mapping_note *history_gone(struct history *h, uint64_t ioas, uint64_t iova);
/* The nearest mapping that is there and ends, or begins, less than `within` bytes from iova. */
const struct mapping_note *history_near(struct history *h, uint64_t ioas, uint64_t iova, uint64_t within);
/* The mappings that are there, oldest first: NULL for the first; NULL after the last. */
const struct mapping_note *history_next(struct history *h, const struct mapping_note *after);
/* Likewise, of those that are gone. */
const struct mapping_note *history_next_gone(struct history *h, const struct mapping_note *after);

#endif
