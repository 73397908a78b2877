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
	struct itree_node node;	 /* IOVA */
	struct itree_node by_va; /* in the program, while it is there; of what has a session */
	struct list order;	 /* by when it was mapped, or when it went */
	uint64_t ioas;
	uint64_t va;
	const char *where;		/* what a person calls that memory; NULL: not known */
	uint64_t mapped_ns, gone_ns;	/* gone_ns 0: it is there */
	uint64_t session, gone_session; /* whose memory it is, 0: no process's; who unmapped */
	uint32_t pid, tid;		/* who mapped */
	uint32_t gone_pid, gone_tid;
	uint32_t mapped_stack, gone_stack;
	bool writable;
	bool bar;	 /* the address of one: nothing is pinned */
	uint64_t others; /* of the same stack that had been unmapped before it was mapped */
	/* Private memory that a fork left with its parent: when, and where. */
	uint64_t forked_ns, ended_ns; /* 0: it has not been; the process whose memory it is has not ended */
	uint32_t fork_tid, fork_stack;
};

/* A part of a mapping whose page the program does not see any more. */
struct lost_note {
	struct itree_node node; /* IOVA */
	struct list order;
	uint64_t ioas, ns;
	unsigned int kind; /* enum memory_change */
	uint32_t pid, tid, stack;
	uint32_t alloc_stack; /* 0: not known */
	uint64_t alloc_tid;   /* a number of the allocator's */
};

struct history *history_new(void);
void history_free(struct history *h);
/* note: all but node, order, ioas and the gone_*. */
void history_map(struct history *h, uint64_t ioas, uint64_t iova, uint64_t len, const struct mapping_note *note);
/* by: its gone_*. gone: called for each mapping, or part of one, that goes. */
void history_unmap(struct history *h, uint64_t ioas, uint64_t iova, uint64_t len, const struct mapping_note *by,
		   void (*gone)(void *ctx, const struct mapping_note *n), void *ctx);
/*
 * What a process, by its session, does to memory at its addresses [first, last].
 *
 * lose: as from says (all but node, order and ioas); what was lost before stays as it was. regain: what was lost in
 * that way was not. move: it is at `to` now. forked: a child has copies of it (of from: the forked_ns and fork_*).
 */
bool history_has_va(struct history *h, uint64_t session, uint64_t first, uint64_t last); /* is any of it mapped? */
void history_lose(struct history *h, uint64_t session, uint64_t first, uint64_t last, const struct lost_note *from);
void history_regain(struct history *h, uint64_t session, uint64_t first, uint64_t last, unsigned int kind);
void history_move(struct history *h, uint64_t session, uint64_t first, uint64_t last, uint64_t to);
void history_forked(struct history *h, uint64_t session, uint64_t first, uint64_t last,
		    const struct mapping_note *from);
void history_ended(struct history *h, uint64_t session, uint64_t now); /* the process: what is left of it */
/* What is lost of [first, last]: the first part; NULL: nothing. */
const struct lost_note *history_lost(struct history *h, uint64_t ioas, uint64_t first, uint64_t last);
bool history_has_lost(const struct history *h);
/* The mapping that holds iova; NULL if there is none. */
const struct mapping_note *history_live(struct history *h, uint64_t ioas, uint64_t iova);
/* The first one that meets [first, last]. */
const struct mapping_note *history_overlap(struct history *h, uint64_t ioas, uint64_t first, uint64_t last);
/* The newest one of that length, as far as it is sought. */
const struct mapping_note *history_of_length(struct history *h, uint64_t ioas, uint64_t len);
/* The last one that held iova and is gone. */
const struct mapping_note *history_gone(struct history *h, uint64_t ioas, uint64_t iova);
/* The nearest mapping that is there and ends, or begins, less than `within` bytes from iova. */
const struct mapping_note *history_near(struct history *h, uint64_t ioas, uint64_t iova, uint64_t within);
/* The mappings that are there, oldest first: NULL for the first; NULL after the last. */
const struct mapping_note *history_next(struct history *h, const struct mapping_note *after);
/* Likewise, of those that are gone. */
const struct mapping_note *history_next_gone(struct history *h, const struct mapping_note *after);
uint64_t history_bytes(const struct history *h); /* what it keeps in memory */

#endif
