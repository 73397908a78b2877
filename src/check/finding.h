/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Findings: what went wrong, said once for each place in a program that it goes wrong at, and counted. A finding is a
 * few paragraphs, each of them a line of text and perhaps a stack; who prints gives them their form.
 */
#ifndef PINFOLD_CHECK_FINDING_H
#define PINFOLD_CHECK_FINDING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "check/class.h"

#define FINDING_PARTS 6
#define FINDING_TEXT  288

enum finding_role { ROLE_NOTE, ROLE_CALL, ROLE_MAPPED, ROLE_UNMAPPED, ROLE_FREED, ROLE_ALLOCATED };

struct finding_part {
	enum finding_role role;
	uint32_t tid;	/* whose stack it is */
	uint32_t stack; /* 0: none */
	char text[FINDING_TEXT];
};

struct finding {
	struct list node;
	enum check_class class;
	uint64_t count;
	uint64_t first_ns, last_ns;
	_Atomic bool suppressed; /* by the worker, while the run goes on */
	uint32_t pid;		 /* whose mistake it is, as far as is known */
	/* What it happened to; whichever of them apply. */
	bool has_device, has_range, write;
	uint32_t bdf; /* domain << 16 | bdf */
	uint64_t ioas, addr, len;
	const char *memory; /* what is, or was, mapped there; NULL: not known */
	uint32_t blame;	    /* which part's stack is to be named in one line */
	unsigned int nparts;
	struct finding_part part[FINDING_PARTS];
};

struct event;
struct findings;

/* shown: called once for each new finding. It stays as it is, count and last_ns apart, until findings_free. */
struct findings *findings_new(void (*shown)(void *ctx, struct finding *f), void *ctx);
void findings_free(struct findings *s);
/*
 * f is the caller's, and copied. key tells findings of a class apart, beside their stacks: 0 where the stacks do.
 */
void findings_add(struct findings *s, const struct finding *f, uint64_t key);
/* It is about this DMA: of which device, where, how much, which way. */
void finding_of_dma(struct finding *f, const struct event *ev);
/* Adds a part. */
void finding_part(struct finding *f, enum finding_role role, uint32_t tid, uint32_t stack, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
const struct list *findings_list(const struct findings *s); /* of struct finding, oldest first */
uint64_t findings_total(const struct findings *s);	    /* each counted as often as it happened */
uint64_t findings_unsaid(const struct findings *s);	    /* that there was no room for */
uint64_t findings_bytes(const struct findings *s);	    /* what they keep in memory */

#endif
