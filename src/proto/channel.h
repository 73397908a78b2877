/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The channel between one client process and the broker: a memfd of the broker's, sealed against shrinking, that both
 * map.
 *
 *   header   who sleeps, whether the channel is dead
 *   ring     posted writes: register writes on their way to a device, in program order. One producer at a time
 * (ring_lock), one consumer. slots    calls: a thread claims one, fills in a request, waits for the reply.
 *
 * Order (PCI Express): the broker drains the ring before it serves a slot, so a read pushes every write that its thread
 * posted. Trust: the broker reads each shared word once and believes none; the client trusts the broker.
 *
 * Bells. The broker sets header.broker_sleeps before it blocks, looks at everything once more, and is woken by any byte
 * on the session socket. A client that has spun long enough sets SLOT_WAITING in the slot's state and sleeps on that
 * word (a shared futex).
 */
#ifndef PINFOLD_PROTO_CHANNEL_H
#define PINFOLD_PROTO_CHANNEL_H

#include <stdatomic.h>
#include <stdint.h>

#define CHANNEL_MAGIC	0x50464348u /* "PFCH" */
#define CHANNEL_VERSION 6u

#define CHANNEL_SLOTS 32u
#define SLOT_PAYLOAD  (64u * 1024u)
#define SLOT_STACK    (16u * 1024u)
#define RING_ENTRIES  4096u

/* File offsets of device regions that we hand out carry this in their upper bits (the seccomp filter looks for it). The
 * kernel's own form, index << 40, is understood too. */
#define REGION_OFFSET_MAGIC	 0x5046000000000000ull
#define REGION_OFFSET_MAGIC_MASK 0x7fff000000000000ull
#define REGION_INDEX_SHIFT	 40

enum slot_state {
	SLOT_FREE = 0,
	SLOT_CLAIMED = 1,
	SLOT_REQUEST = 2,
	SLOT_REPLY = 3,
	SLOT_STATE_MASK = 0xff,
	SLOT_WAITING = 0x100, /* or-ed to SLOT_REQUEST: the client sleeps on the word */
};

/* Calls from the boundary to the broker. RPC(name, what a0..a3 and the payload carry). One table: the broker's dispatch
 * is built from it. */
#define RPC_TABLE(RPC)                                                                                                 \
	RPC(NOP, "nothing; measures a round trip")                                                                     \
	RPC(OPEN, "a0 = open flags; payload = logical path. Reply: has_fd, or ret = 0: use the shadow tree")           \
	RPC(IOCTL, "object; a0 = cmd, a1 = arg, a2 = 1: goes on after RPC_NEED; payload = struct ucall_part records")  \
	RPC(PREAD, "object; a0 = offset, a1 = length. Reply payload = bytes")                                          \
	RPC(PWRITE, "object; a0 = offset, a1 = length; payload = bytes")                                               \
	RPC(MMAP, "object; a0 = offset, a1 = length, a2 = prot | shared << 32. Reply a0 = enum rpc_mmap; with a "      \
		  "descriptor, a1 "                                                                                    \
		  "= where to map in it, or for RPC_MMAP_TRAP which page of the mapping its first one replaces; "      \
		  "a2 = generation, or for how many bytes")                                                            \
	RPC(MUNMAP, "object; a0 = offset, a1 = length: a mapping that MMAP allowed is gone")                           \
	RPC(MMIO_TEST, "object; a0 = offset, a1 = the mapping's generation. Reply ret = -EIO: nothing answers there "  \
		       "now, an access is SIGBUS")                                                                     \
	RPC(MMIO_READ, "object; a0 = offset, a1 = size. Reply a0 = value")                                             \
	RPC(DECODE, "payload = up to 15 bytes of code. Reply payload = struct insn")                                   \
	RPC(NAME, "object. Reply payload = what it is, as /proc/PID/fd would show it")                                 \
	RPC(HOLD, "a0 = dev, a1 = ino; one descriptor: keep this file known while the session lasts, or until DROP")   \
	RPC(DROP, "a0 = dev, a1 = ino")                                                                                \
	RPC(FORGET, "a0 = start, a1 = last: the caller is about to change what its addresses stand for there")         \
	RPC(CHANGED, "with HELLO_STACKS: a0 = enum memory_change, of memory that was described for DMA; a1 = ranges, " \
		     "a2, a3: see there; payload = struct memory_range[a1]; of FREED, uint64_t[] of return "           \
		     "addresses follow, innermost first. Reply a0 = the session's number")                             \
	RPC(TICKET, "Reply a0, a1 = a number, good once, for a child that is about to be forked; ret = -ENOENT: "      \
		    "there is nothing that it could inherit")                                                          \
	RPC(EMPTY, "object: a read() of it found nothing. Reply ret = the read's answer, -EAGAIN: look again")         \
	RPC(WRITE,                                                                                                     \
	    "object; payload = the first bytes of a write() to it. Reply ret = the write's answer, -EAGAIN: it "       \
	    "waits, ask again; a0 = 1: the call itself is the answer")                                                 \
	RPC(INHERIT, "a0, a1 = such a number: the files that its session knew are known to this one")                  \
	RPC(CRASH, "a0 = signal, a1 = address: the caller is about to die of it; with HELLO_STACKS")

enum rpc_op {
#define RPC(name, doc) RPC_##name,
	RPC_TABLE(RPC)
#undef RPC
	    RPC_COUNT
};

/*
 * What becomes of memory that devices may reach, told before it is done: for whoever wants to know whether a device
 * touches it afterwards. Only what no other address of the process leads to is told.
 */
enum memory_change {
	CHANGE_FREED, /* given back to an allocator that can say so (sanitizers'); a2 = its number of who allocated */
	CHANGE_UNMAPPED,  /* nothing is there any more, or nothing that can be touched */
	CHANGE_DISCARDED, /* other pages will be there: madvise */
	CHANGE_REPLACED,  /* something else will be there: mmap, mremap */
	CHANGE_CUT,	  /* the file's pages go: ftruncate, fallocate, madvise */
	CHANGE_UNDONE,	  /* a2 = which of those was not so after all, or is no longer so */
	CHANGE_MOVED,	  /* the same pages are at a2 from now on; one range */
	CHANGE_FORKED,	  /* a child will have copies of these private pages; maybe no range at all */
	CHANGE_CHILD,	  /* the caller is a child of fork of session a2; no range */
	CHANGE_KINDS
};
struct memory_range {
	uint64_t first, last;
};
#define CHANGE_RANGES 32 /* at most, in one call */
#define CHANGE_TRACE  32 /* return addresses, likewise */

enum rpc_mmap { RPC_MMAP_TRAP, RPC_MMAP_FILE };

/*
 * Flags, in a reply. HAS_FD: a descriptor waits on the session socket, tagged with the slot's number; of an IOCTL, a0 =
 * where its number goes, 0: it is the result. ASKS: with it, EMPTY has answers for it. WRITES: WRITE has.
 */
enum { SLOT_HAS_FD = 1, SLOT_FD_ASKS = 2, SLOT_FD_WRITES = 4 };
#define WRITE_MAX 64 /* bytes that WRITE takes */

struct slot {
	_Atomic uint32_t state;
	uint32_t op;	 /* enum rpc_op */
	uint64_t object; /* which descriptor of ours, by its number */
	uint64_t a[4];
	int64_t ret; /* reply: >= 0, -errno, or RPC_NEED */
	uint32_t flags;
	uint32_t nfds;	      /* request: descriptors sent over the socket, tagged with the slot's number */
	uint32_t payload_len; /* bytes in the slot's payload, either way */
	uint32_t task;	      /* request: the thread that calls, with HELLO_TASKS or HELLO_STACKS */
	uint32_t stack_len;   /* request: bytes in the slot's stack, from sp up; 0 without HELLO_STACKS */
	uint64_t ip;	      /* request: of the instruction that calls; 0 without HELLO_STACKS */
	uint64_t sp, bp;      /* request: with stack_len */
	uint32_t pad[6];
};
_Static_assert(sizeof(struct slot) == 128, "one slot fills two cache lines");

struct ring_entry {
	uint64_t object;
	uint64_t offset;
	uint64_t value;
	uint32_t size; /* 1, 2, 4, 8 */
	uint32_t task; /* these two with HELLO_STACKS: who wrote, and where */
	uint64_t ip;
};
_Static_assert(sizeof(struct ring_entry) == 40, "ring_entry is part of the protocol");

struct channel {
	uint32_t magic, version;
	_Atomic uint32_t dead;		/* set by the broker: the session is over */
	_Atomic uint32_t broker_sleeps; /* ring a bell after posting */
	uint32_t spin_ns;		/* how long a client should spin for a reply before it sleeps */
	_Atomic uint32_t pending;	/* bit n: slot n holds a request */
	_Atomic uint32_t hold_ns;	/* set by the broker; 0: do not wait for posted writes */
	_Atomic uint32_t memory_off;	/* set by the broker: some mapping may be of memory that is switched off */
	_Atomic uint32_t cpu;		/* set by clients: where the last posted write came from; 0xfff: not known */
	_Atomic uint32_t stack_copy; /* set by the broker: bytes of a stack that a call brings along; 0: all it can */
	uint8_t pad0[24];
	_Atomic uint32_t ring_lock; /* clients: 0 free, 1 held */
	uint8_t pad1[60];
	_Atomic uint32_t ring_head; /* next entry to be produced; free-running */
	uint8_t pad2[60];
	_Atomic uint32_t ring_tail; /* next entry to be consumed; free-running */
	uint8_t pad3[60];
	struct slot slot[CHANNEL_SLOTS];
	struct ring_entry ring[RING_ENTRIES];
};

#define CHANNEL_PAYLOAD_OFFSET ((sizeof(struct channel) + 4095) & ~4095ull)
#define CHANNEL_STACK_OFFSET   (CHANNEL_PAYLOAD_OFFSET + (uint64_t)CHANNEL_SLOTS * SLOT_PAYLOAD)
#define CHANNEL_SIZE	       (CHANNEL_STACK_OFFSET + (uint64_t)CHANNEL_SLOTS * SLOT_STACK)

static inline uint8_t *channel_payload(struct channel *c, unsigned int slot)
{
	return (uint8_t *)c + CHANNEL_PAYLOAD_OFFSET + (uint64_t)slot * SLOT_PAYLOAD;
}

static inline uint8_t *channel_stack(struct channel *c, unsigned int slot)
{
	return (uint8_t *)c + CHANNEL_STACK_OFFSET + (uint64_t)slot * SLOT_STACK;
}

/*
 * An IOCTL request's payload is a sequence of parts: what the broker has been given of the caller. It starts with what
 * every ioctl is likely to need (the first bytes behind arg) and grows as the broker asks. Each part is followed by its
 * data, padded to 8.
 */
enum part_kind {
	PART_BYTES,   /* addr, len; data = bytes, of which got were readable */
	PART_FD,      /* addr = the caller's descriptor number; error = 0 and a descriptor on the socket, or EBADF */
	PART_PAGES,   /* addr, len; data = struct page_desc[]; error = EFAULT where memory cannot be had */
	PART_BACKING, /* addr = dev, len = ino: descriptor on the socket */
	PART_WRITE,   /* addr, len: can that be written? error = 0 or EFAULT */
	/* replies: what to do before the ioctl returns */
	PART_COPY_OUT, /* addr, len; data = bytes to write there */
};

struct ucall_part {
	uint32_t kind;	/* enum part_kind */
	uint32_t error; /* errno of the boundary's attempt */
	uint64_t addr, len;
	uint64_t got; /* bytes of data that follow (before padding) */
};

/* got, where the broker asks for PART_PAGES. */
enum {
	PAGES_FRESH = 1,    /* what was adopted before is to be adopted anew */
	PAGES_FOLLOWED = 2, /* from now on, FORGET comes before it changes; and until the ioctl is over, nothing does */
};

/*
 * A stretch of the caller's memory, in PART_PAGES: bytes [offset, offset + len) of the file (dev, ino). PAGE_WINDOW: it
 * is a mapping of one of our descriptors, ino is its OBJECT, offset what it was mapped at. where, with HELLO_STACKS:
 * what a person calls such memory, "heap" or "memfd:NAME"; for people alone.
 */
enum page_kind { PAGE_FILE, PAGE_WINDOW };
#define PAGE_WHERE 40
struct page_desc {
	uint64_t dev, ino, offset, len;
	uint32_t writable;
	uint32_t kind; /* enum page_kind */
	char where[PAGE_WHERE];
};

/* ret of a reply whose payload is a list of ucall_parts without data: supply them and call again. */
#define RPC_NEED (-4091)

/* Messages on the session socket (SOCK_SEQPACKET). */
struct hello { /* broker to client, with the channel's memfd */
	uint32_t magic, version;
	uint64_t channel_size;
	uint64_t broker_id; /* in the abstract names of our descriptors */
	uint64_t flags;	    /* HELLO_* */
	char shadow[224];   /* root of the tree that stands for /sys and /dev */
};
#define HELLO_HOST_DEVICES 1u /* the machine's own PCI devices are shown too */
#define HELLO_TASKS	   2u /* calls shall say which thread makes them: they may be made to fail (fail-nth) */
#define HELLO_STACKS	   4u /* calls shall say where they are made: somebody will want to read it */
struct fd_note {	      /* either way, with one or more descriptors */
	uint32_t slot;
	uint32_t nfds;
};

/*
 * A descriptor of ours is a socket whose own (abstract) name is "\0pinfold/BROKER/OBJECT", both 16 hex digits. OBJECT
 * is random: it is what a call names, so that dup, fork, exec and SCM_RIGHTS need no bookkeeping, and it cannot be
 * guessed.
 */
#define OBJECT_NAME_PREFIX "pinfold/"
#define OBJECT_NAME_LEN	   (1 + 8 + 16 + 1 + 16)

/* Environment of every process of a run. */
#define ENV_SOCKET "PINFOLD_SOCKET" /* "@name" = abstract, else a path */
#define ENV_SHADOW "PINFOLD_SHADOW" /* the shadow tree's root, once a process knows it */

#endif
