/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults on purpose. A function that has none to suffer has no struct pci_inject, and pays one branch where it would
 * ask. Devices ask at a few points: before they take a command, when they know where its data is, when they report its
 * end; the core asks for interrupts.
 *
 * Each fault counts the occasions of its kind: commands taken, transfers of their data, interrupts raised. Whether it
 * strikes at the n-th depends on its specification and its seed alone, so the same commands meet the same faults again.
 *
 * What a fault does to a command's completion is settled when the command is taken, because the order of completions is
 * the disk's.
 */
#ifndef PINFOLD_PCI_INJECT_H
#define PINFOLD_PCI_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "pci/pci.h"

struct inject_host;
struct loop;

enum inject_kind {
	INJECT_REMOVE,	  /* pulled out of its slot */
	INJECT_RESET,	  /* by the host, behind its owner's back */
	INJECT_LINK_DOWN, /* and up again, if it is for a time */
	INJECT_LINK_UP,
	INJECT_LOST_IRQ,    /* an interrupt that is never sent */
	INJECT_STUCK_QUEUE, /* no command is taken from it any more */
	INJECT_DELAY,	    /* of a completion */
	INJECT_WRONG_DMA,   /* data that goes to, or comes from, another address */
	INJECT_CORRUPT,	    /* a completion with wrong contents */
	INJECT_LOST_FRAME,  /* of a network card: gone on its way, in or out */
	INJECT_KINDS
};

enum inject_field { INJECT_FIELD_STATUS, INJECT_FIELD_ID, INJECT_FIELD_RESULT, INJECT_FIELDS };

#define INJECT_ANY    (-1)
#define INJECT_ALWAYS UINT64_MAX /* of chance and times */

struct inject_spec {
	enum inject_kind kind;
	int domain, bdf; /* bdf INJECT_ANY: each function */
	uint64_t at;	 /* ns until it begins to count */
	uint64_t after;	 /* occasions that it lets pass then */
	uint64_t chance; /* of each later one, in 2^-64; INJECT_ALWAYS: certain */
	uint64_t times;	 /* how often it strikes */
	uint64_t seed;
	uint64_t lasting;  /* ns: a link down, a queue stuck (0: for good); what a completion is delayed by */
	int queue, vector; /* or INJECT_ANY */
	enum inject_field field;
	bool has_addr;
	uint64_t addr;	  /* the wrong one; else one bit of the right one is turned over */
	bool on_occasion; /* remove, reset, link: not at a time, but with a command */
};

/* What a fault makes of a completion. */
struct inject_fate {
	uint64_t delay; /* ns; 0: none */
	bool corrupt;
	enum inject_field field;
	uint64_t noise; /* for the field; never 0 */
};

/* Carries out what is beyond the function itself. Called from the loop, never from within the device. */
struct inject_host {
	void (*act)(struct inject_host *h, struct pci_func *f, enum inject_kind kind);
};

extern const char *const inject_kind_names[INJECT_KINDS];
extern const char *const inject_field_names[INJECT_FIELDS];

/* ---- setting up (the broker) ---- */
/* One fault more for f, known by id. 0 or -ENOMEM. */
int inject_add(struct pci_func *f, const struct inject_spec *s, unsigned int id, struct loop *loop,
	       struct inject_host *host);
/* Takes the fault back, and lets go on what it held up. False: f has none of that id. id 0: all of f's; true. */
bool inject_drop(struct pci_func *f, unsigned int id);

struct inject_status {
	unsigned int id;
	struct inject_spec spec;
	uint64_t seen, struck;
	bool waiting; /* for its time */
};
/* The i-th fault of f. False: there are fewer. */
bool inject_status(const struct pci_func *f, size_t i, struct inject_status *st);

/* ---- behind the inline functions ---- */
bool inject_command_slow(struct pci_func *f, unsigned int queue, unsigned int id);
bool inject_stuck_slow(const struct pci_func *f, unsigned int queue);
bool inject_completion_slow(struct pci_func *f, unsigned int queue, unsigned int id, struct inject_fate *fate);
void inject_dma_slow(struct pci_func *f, unsigned int queue, uint64_t *iova);
bool inject_irq_slow(struct pci_func *f, unsigned int vector);
bool inject_frame_slow(struct pci_func *f, unsigned int queue);
void inject_reset_slow(struct pci_func *f, int queue);

/* ---- asking (devices) ---- */
/* Whether the queue stands still. When it goes on, ops->resume is called. */
static inline bool inject_stuck(const struct pci_func *f, unsigned int queue)
{
	return unlikely(f->inject) && inject_stuck_slow(f, queue);
}
/* The device is about to take the command. False: the queue got stuck before it. id: until it has completed, its own in
 * the queue. */
static inline bool inject_command(struct pci_func *f, unsigned int queue, unsigned int id)
{
	return likely(!f->inject) || inject_command_slow(f, queue, id);
}
/* The command's completion is due. True: with this fate. To be asked once. */
static inline bool inject_completion(struct pci_func *f, unsigned int queue, unsigned int id, struct inject_fate *fate)
{
	return unlikely(f->inject) && inject_completion_slow(f, queue, id, fate);
}
/* Where a command's data is: once for each that has any. */
static inline void inject_dma(struct pci_func *f, unsigned int queue, uint64_t *iova)
{
	if (unlikely(f->inject))
		inject_dma_slow(f, queue, iova);
}
/* The interrupt is not to be sent (the core asks). */
static inline bool inject_irq(struct pci_func *f, unsigned int vector)
{
	return unlikely(f->inject) && inject_irq_slow(f, vector);
}
/* The frame that goes, or comes, by the queue is lost. */
static inline bool inject_frame(struct pci_func *f, unsigned int queue)
{
	return unlikely(f->inject) && inject_frame_slow(f, queue);
}
/* The device, or that queue of it, starts anew: its commands are gone, and it is not stuck. */
static inline void inject_reset(struct pci_func *f, int queue)
{
	if (unlikely(f->inject))
		inject_reset_slow(f, queue);
}

#endif
