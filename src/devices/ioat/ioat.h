/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A copy engine, register compatible with Intel I/OAT 3.2 and later: copies and fills. One noun per file:
 *
 *   regs.c	BAR 0
 *   chan.c	a channel's states: commands, chains, doorbell, completion, halt
 *   engine.c	turns: who runs, and for how long
 *   op.c	what a descriptor says, and its bytes
 *   intr.c	interrupts
 *   state.c	migration
 *   type.c	the device type
 *
 * Invariants. On the list of those that run are ACTIVE channels alone; one that is not on it waits for its timer, or
 * is stuck on purpose. No DMA outlives a call: a channel that was reset, suspended or halted touches nothing any more
 * when that call returns. A turn moves a bounded number of bytes. A descriptor is read once, checked, and then acted
 * upon from the copy.
 */
#ifndef PINFOLD_DEVICES_IOAT_IOAT_H
#define PINFOLD_DEVICES_IOAT_IOAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/event.h"
#include "base/list.h"
#include "base/loop.h"
#include "devices/ioat/spec.h"
#include "pci/inject.h"
#include "pci/pci.h"

#define IOAT_TURN_COST	 (1U << 20) /* bytes in one turn */
#define IOAT_CHAN_COST	 (1U << 17) /* bytes of one channel before the next one's turn */
#define IOAT_DESC_COST	 1024	    /* what a descriptor counts for, beside its bytes */
#define IOAT_SLICE	 (64U << 10)
#define IOAT_RECOVERY_NS 10000000
#define IOAT_SLICE_IOVS	 20

struct ioat;

struct ioat_chan {
	struct ioat *dev;
	unsigned int index;
	struct list node; /* in dev->running */
	struct loop_timer timer;
	bool failed; /* since it ran last: it recovers first */
	bool late;   /* the descriptor in progress is done, and is to be reported when the timer expires */
	struct inject_fate fate;

	/* registers */
	enum ioat_state state;
	uint16_t ctrl;
	uint16_t count; /* DMACOUNT */
	uint16_t done;	/* descriptors completed since CHAINADDR was written; equal to count: no more to do */
	uint32_t err, errmask;
	uint64_t chain, cmp;
	uint32_t cmp_given; /* dma_dev_moves() when it was written */
	bool cmp_old;	    /* not written since the last reset, which it survives */
	bool unreported;    /* report is to go to cmp, before this turn is over or an interrupt goes out */
	uint64_t report;
	uint64_t completed; /* the last one's address; 0: none since CHAINADDR was written */

	uint64_t cur, next; /* IOVA of the descriptor in progress, or the last one, and of the one after it */
	bool first;	    /* next is CHAINADDR itself */
	bool busy;	    /* desc is in progress */
	uint32_t moved;	    /* bytes of it */
	struct ioat_desc desc;
};

struct ioat {
	struct pci_func f; /* first */
	struct loop *loop;
	struct loop_work work; /* the next turn */
	struct list running;
	bool in_turn;

	uint8_t version;
	unsigned int xfercap;
	uint8_t genctrl, intrctrl; /* INTRCTRL: what is stored, MASTER and MSIX */
	uint16_t intrdelay;
	uint32_t attn;

	uint64_t pattern; /* fill is full of it */
	uint8_t fill[4096] __attribute__((aligned(64)));
	uint8_t bounce[4096] __attribute__((aligned(64)));
	unsigned int nchans;
	struct ioat_chan chan[IOAT_CHANS_MAX];
};

/* What a DMA was for, in the fault line. */
static inline struct dma_tag ioat_tag(const struct ioat_chan *c, const char *part)
{
	return (struct dma_tag){
	    .queue_kind = "CH", .queue = c->index, .id_kind = "DESC", .id = c->done, .at = c->cur, .part = part};
}

/* ---- regs.c ---- */
uint64_t ioat_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size);
void ioat_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val);

/* ---- chan.c ---- */
void ioat_chan_init(struct ioat_chan *c, struct ioat *d, unsigned int index);
void ioat_chan_power_on(struct ioat_chan *c);
void ioat_chan_load(struct ioat_chan *c, const struct ioat_chan *from); /* registers and progress, already checked */
uint64_t ioat_chan_status(const struct ioat_chan *c);			/* CHANSTS */
void ioat_chan_set_chain(struct ioat_chan *c, uint64_t addr);
void ioat_chan_command(struct ioat_chan *c, uint8_t cmd);
/* Tells the checker; reg: of the channel. */
void ioat_chan_misuse(struct ioat_chan *c, enum event_misuse kind, unsigned int reg, const char *text);
void ioat_chan_append(struct ioat_chan *c, uint16_t count);
/* The descriptor in progress is done. */
void ioat_chan_complete(struct ioat_chan *c);
/* Writes to CHANCMP what is due: once for a run of descriptors, each of which would overwrite what the last one wrote.
 */
void ioat_chan_report(struct ioat_chan *c);
void ioat_chan_halt(struct ioat_chan *c, uint32_t err);
void ioat_chan_fail(struct ioat_chan *c, uint32_t err); /* likewise, over the descriptor in progress */

/* ---- engine.c ---- */
void ioat_turn_run(struct loop_work *w);
void ioat_turn_now(struct ioat *d); /* unless one is due from the loop, or under way */
void ioat_resume(struct pci_func *f);

/* ---- op.c: 0 or CHANERR bits ---- */
uint32_t ioat_op_error(const struct ioat_desc *d, unsigned int xfercap); /* what is malformed in it */
uint32_t ioat_op_fetch(struct ioat_chan *c);
/* Moves up to IOAT_SLICE of the bytes that are left; *n: how many. */
uint32_t ioat_op_slice(struct ioat_chan *c, uint32_t *n);
static inline bool ioat_op_finished(const struct ioat_chan *c)
{
	return c->moved == c->desc.size;
}

/* ---- intr.c ---- */
void ioat_interrupt(struct ioat_chan *c);
void ioat_line_update(struct ioat *d); /* after a change of ATTNSTATUS, INTRCTRL or MSI-X */

/* ---- state.c ---- */
int ioat_quiesce(struct pci_func *f);
void ioat_run(struct pci_func *f);
void ioat_save(struct pci_func *f, struct state_out *o);
int ioat_load(struct pci_func *f, struct state *s);

#endif
