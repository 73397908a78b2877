/* SPDX-License-Identifier: BSD-3-Clause */
/* What the checker's files share. */
#ifndef PINFOLD_CHECK_PRIVATE_H
#define PINFOLD_CHECK_PRIVATE_H

#include <stddef.h>

#include "base/event.h"
#include "check/check.h"
#include "check/crash.h"
#include "check/finding.h"
#include "check/history.h"
#include "check/stack.h"

struct check {
	struct check_options opt;
	struct events *evs;
	struct event_listener listener;
	uint32_t always;       /* events that are listened to whatever happens */
	struct worker *worker; /* prints, and looks up what it prints */
	struct worker *reader; /* reads from /proc, which somebody may wait for: never behind a printer */
	struct modules *modules;
	struct stacks *stacks;
	struct symbols *symbols; /* the worker's */
	struct threads *threads;
	struct history *history;
	struct findings *findings;
	struct suppressions *suppressions; /* NULL: none */
	_Atomic bool stopped;		   /* a program has been, at its first finding */
	uint64_t began_ns, ended_ns;
	struct trace *trace;	   /* NULL: none */
	struct timeline *timeline; /* NULL: nobody wants to see it */
	struct refusals *refusals;
	struct left *left;
	struct limits *limits;
	struct kin *kin;
	uint32_t dma_wanted; /* enum dma_reason */
	struct devices *devices;
	struct unsafes *unsafes;
	struct wheres *wheres;
	uint64_t pinned, pinned_peak; /* pages */
	struct {
		uint64_t ns, events[EVENT_TYPES];
	} cost;
	struct crashes crashes;
	uint32_t program; /* 0: there is none that all of it is about, or it goes on */
	int status;	  /* of waitpid */
	unsigned int printed[CLASS_COUNT];
	bool fresh; /* of one event: the stack of its origin has been taken */
	uint32_t stack;
};

static inline bool check_wants(const struct check *c, enum check_class class)
{
	return c->opt.classes >> class & 1;
}
/* The stack of the event that is being told; taken once. */
uint32_t check_stack(struct check *c);
/* "2.5 ms earlier", for a moment before now. */
const char *check_ago(uint64_t then, uint64_t now, char *buf, size_t size);

void check_bdf(uint32_t who, char buf[16]); /* "0000:01:00.0" */
/* A finding about the event that is being told, its origin's. */
struct finding check_finding(struct check *c, enum check_class class);
/* Why DMA that succeeds is looked at. While there is no reason, nobody listens to it. */
enum dma_reason { DMA_REFUSED = 1, DMA_LOST = 2, DMA_FORKED = 4, DMA_UNSAFE = 8, DMA_MOVED = 16 };
void check_want_dma(struct check *c, enum dma_reason why, bool on);

/* dma.c: what devices do */
void check_dma_fault(struct check *c, const struct event *ev);
void check_mapping_text(const struct mapping_note *n, char *buf, size_t size); /* "(va 0x7f12, heap)" */
void check_moved_dma(struct check *c, const struct event *ev); /* while a device has been given another space */
void check_say_where(struct finding *f, const struct mapping_note *n, uint64_t addr);
void check_say_mapped(struct finding *f, const struct mapping_note *n, const char *word);

/* memory.c: memory that is mapped, and that the program does not have any more */
void check_memory(struct check *c, const struct event *ev);
void check_memory_watch(struct check *c); /* mappings have gone */
void check_memory_ended(struct check *c, uint64_t session);
void check_memory_dma(struct check *c, const struct event *ev);
void check_memory_fault(struct check *c, const struct event *ev); /* the page was found to be gone */

/* left.c: what was forgotten */
void check_leaks(struct check *c); /* at the end */

/* limit.c: how near programs come to what they may pin */
void check_pinned(struct check *c, const struct event *ev);
void check_pin_refused(struct check *c, const struct event *ev);
void check_limit_refused(struct check *c, const struct event *ev); /* a map */
void check_limit_map(struct check *c, const struct event *ev);
void check_limit_ended(struct check *c, uint32_t pid);

/* map.c: what programs ask for in vain, and go on from */
struct refusals *refusals_new(void);
void refusals_free(struct refusals *r);
void check_map_refused(struct check *c, const struct event *ev);
void check_map_made(struct check *c, const struct event *ev);
void check_unmap_asked(struct check *c, const struct event *ev);
void check_dma_done(struct check *c, const struct event *ev); /* while there are refusals */

/* unsafe.c: the addresses of BARs, mapped as memory */
struct unsafes *unsafes_new(void);
void unsafes_free(struct unsafes *u);
void check_taint(struct check *c, const struct event *ev);
bool check_unsafe_is_next(const struct check *c, const struct event *ev); /* a BAR's address is about to be noted */
void check_unsafe_mapped(struct check *c, const struct event *ev);
void check_unsafe_unmapped(struct check *c, const struct event *ev);
void check_unsafe_dma(struct check *c, const struct event *ev); /* while there are some */

/* misuse.c: what programs do to devices */
void check_misuse(struct check *c, const struct event *ev);
void check_irq(struct check *c, const struct event *ev);
void check_untaken(struct check *c, const struct event *ev);
void check_storm(struct check *c, const struct event *ev);

/* end.c */
uint64_t cost_begin(struct check *c, unsigned int type); /* an event of this type is dealt with */
void cost_end(struct check *c, unsigned int type, uint64_t began);
void check_say_end(const struct check *c); /* the worker does */
uint64_t check_total(const struct check *c);

#endif
