/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event stream: everything that a report, a summary or a checker wants to know about, as it happens.
 * While nobody listens to a type, emitting it costs one load and one branch.
 */
#ifndef PINFOLD_BASE_EVENT_H
#define PINFOLD_BASE_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

enum event_type {
	EVENT_MAP,	   /* ioas, addr = IOVA, len, value = client VA */
	EVENT_UNMAP,	   /* ioas, addr = IOVA, len */
	EVENT_MAP_REFUSED, /* ioas, addr = IOVA, len, value = client VA, error: what a client asked for in vain */
	EVENT_UNMAP_ASKED, /* ioas, addr = IOVA, len, value = bytes that went, error: what it got */
	EVENT_PIN,	   /* value = pages pinned by this step; who = client pid; addr and len as of PIN_REFUSED */
	EVENT_UNPIN,	   /* value = pages released */
	EVENT_DMA,	   /* who = BDF, addr = IOVA, len, flags = EVENT_WRITE */
	EVENT_FAULT,	   /* who = BDF, pasid, addr = IOVA, len, flags, error = errno, tag */
	EVENT_MMIO,	   /* who = BDF, addr = region index << 40 | offset, len = size, value, flags */
	EVENT_IRQ,	   /* who = BDF, value = vector */
	EVENT_MISUSE,  /* who = domain and BDF, value = enum event_misuse, addr and flags as of MMIO, len = size, name;
			* tag, or NULL */
	EVENT_OPEN,    /* who = client pid, name = what was opened */
	EVENT_RELEASE, /* name */
	EVENT_REVOKE,  /* ioas, addr = IOVA, len: the device whose memory was mapped there has taken it back */
	EVENT_REFUSE,  /* ioas, addr = IOVA, len; who = BDF that may not reach it, value = BDF whose memory it is */
	EVENT_TAINT,   /* who = BDF, value = client VA, name = what was done that keeps the rules from holding */
	EVENT_MASTER,  /* who = BDF, flags = EVENT_START or EVENT_END: it may master the bus from now on, or no more */
	EVENT_ATTACH,  /* who = BDF, pasid, ioas: whose translations it uses from now on; 0: nobody's */
	EVENT_RESET,   /* who = BDF, name = what was reset */
	EVENT_IRQS,  /* who = BDF, value = VFIO's index, flags: START: set up, END: the owner has gone; 0: other changes
		      */
	EVENT_STORM, /* who = BDF, value = vector, len = interrupts in a row that nobody took notice of, name */
	EVENT_UNTAKEN, /* who = domain and BDF, value = vector, addr = its interrupts that nobody has read, len =
			* answers that wait behind them, name = where: of a device that is reset or closed */
	EVENT_CLIENT, /* who = pid, addr = session, flags = EVENT_START or EVENT_END, value = descriptors given (END) */
	EVENT_MEMORY, /* memory */
	EVENT_PIN_REFUSED, /* who = client pid, value = pages asked for, addr = pages held, len = bytes allowed */
	EVENT_DESCRIBED,   /* addr = client VA, len, name = what a person calls that memory: of the call that is being
			      carried out */
	EVENT_CRASH,	   /* who = pid, value = signal, addr = what it could not reach: it is about to die of it */
	EVENT_TYPES
};

/* What a program did to a device that no driver does; name says more. */
enum event_misuse {
	MISUSE_MEMORY_OFF, /* an access to a BAR that does not decode */
	MISUSE_WIDTH,	   /* a size or an alignment that the register does not have */
	MISUSE_READ_ONLY,  /* a write to a register that does not take one */
	MISUSE_PROTOCOL,   /* a value that the device's specification forbids at this moment */
	MISUSE_RANGE,	   /* where no register is, or beyond the end of a region */
	MISUSE_CONFIG,	   /* a write to configuration space that no driver makes; addr as of MMIO */
	MISUSE_MSIX_WRITE, /* likewise: MSI-X was enabled there, which is lost, unless SET_IRQS does it too */
};

enum {
	EVENT_WRITE = 1,
	EVENT_START = 2,
	EVENT_END = 4,
	/* MAP: of memory that was given as a file, or of a device's: value is no address of a program's. */
	EVENT_FILE = 8,
	/* DMA, FAULT: addr is translated by a table of the client's, and is none of the space's. */
	EVENT_NESTED = 16,
	/* DMA, FAULT: addr was given to the device while it was attached to something else (dma_tag.given). */
	EVENT_MOVED = 32,
};

/* What a device was doing when it issued a DMA: "SQ1 CID 7 PRP1". Lives on the issuer's stack. */
struct dma_tag {
	const char *queue_kind; /* "SQ", "CQ", "RXQ", NULL if none */
	uint32_t queue;
	const char *id_kind; /* "CID", NULL if none */
	uint32_t id;
	const char *part; /* "PRP1", "PRP list", "SQE", NULL if none */
	uint64_t at;	  /* where what id counts lies, an IOVA; 0: not worth saying */
	uint32_t given;	  /* dma_dev_moves() when the address was; 0: not known */
	bool old;	  /* the address is from before the last reset, and nobody has set it since */
};

/* What a program does to its memory: see RPC_CHANGED. Of a program's words; kind alone is known to be valid. */
struct event_memory {
	unsigned int kind; /* enum memory_change */
	uint64_t arg;	   /* a2 */
	const struct memory_range *range;
	unsigned int nranges;
	const uint64_t *trace; /* where it was allocated: return addresses */
	unsigned int ntrace;
};

struct event {
	enum event_type type;
	uint32_t flags;
	uint32_t who;	/* BDF (bus << 8 | dev << 3 | fn) of a device, or pid of a client */
	uint32_t pasid; /* 0: none */
	int error;
	uint64_t ioas;
	uint64_t addr;
	uint64_t len;
	uint64_t value;
	const char *name; /* valid during the callback alone */
	const struct dma_tag *tag;
	const struct event_memory *memory;
};

/*
 * Which program's doing an event is, while the broker carries out one of its calls or posted writes. Content is the
 * program's word and nothing more. What a listener wants to keep of it, it copies.
 */
struct event_origin {
	uint32_t pid, tid;
	uint64_t session;     /* which life of that process: never used twice */
	uint64_t ip;	      /* of the instruction that called or wrote; 0: not known */
	uint64_t sp, bp;      /* with stack_len */
	const void *stack;    /* the program's memory from sp up, as it shares it: to be read once */
	uint32_t stack_len;   /* bytes; 0: ip is all there is */
	uint32_t stack_max;   /* so many could be asked for; */
	uint32_t *stack_need; /* and so many of those were looked at, or would have been. NULL: nobody wants to know */
};

struct event_listener {
	struct list node;
	uint32_t mask; /* BIT(enum event_type) */
	void (*notify)(struct event_listener *l, const struct event *ev);
};

struct events {
	uint32_t mask; /* the union of the listeners' masks */
	struct list listeners;
	const struct event_origin *origin; /* NULL: nobody's: a device did something by itself, or a client died */
};

void events_init(struct events *evs);
void events_listen(struct events *evs, struct event_listener *l);
void events_unlisten(struct events *evs, struct event_listener *l);
void events_changed(struct events *evs); /* a listener's mask has */
void events_deliver(struct events *evs, const struct event *ev);

static inline bool event_wanted(const struct events *evs, enum event_type t)
{
	return unlikely(evs->mask & BIT(t));
}

/* event_emit(evs, EVENT_MAP, .addr = iova, .len = len); evs may not be NULL. */
#define event_emit(evs, t, ...)                                                                                        \
	do {                                                                                                           \
		if (event_wanted(evs, t))                                                                              \
			events_deliver(evs, &(struct event){.type = (t), ##__VA_ARGS__});                              \
	} while (0)

#endif
