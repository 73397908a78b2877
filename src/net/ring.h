/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames on their way between the loop and one other thread: one side puts, the other takes, neither waits for a lock.
 * Who finds no room, or nothing, says that he sleeps, looks once more, and then waits for his bell.
 */
#ifndef PINFOLD_NET_RING_H
#define PINFOLD_NET_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring_frame {
	uint32_t len, wire_len; /* of data; and of the frame before a capture cut it short */
	uint64_t ns;		/* since 1970 */
	uint8_t data[];
};

struct ring_side {
	_Alignas(64) _Atomic(uint64_t) at; /* bytes put or taken since ever */
	atomic_bool sleeps;
	int bell; /* eventfd */
};

struct ring {
	uint8_t *buf;
	uint64_t size; /* a power of two */
	struct ring_side put, take;
	_Alignas(64) uint64_t reserved; /* by ring_reserve, until ring_commit */
};

/* 0 or -ENOMEM. Of its bell, one side waits with read: it blocks. */
int ring_init(struct ring *r, uint64_t size, bool put_blocks, bool take_blocks);
void ring_fini(struct ring *r);

/* Who puts. NULL: no room. len is at most a quarter of the ring. */
struct ring_frame *ring_reserve(struct ring *r, uint32_t len);
void ring_commit(struct ring *r);
/* Who takes. NULL: there is nothing. */
struct ring_frame *ring_front(struct ring *r);
void ring_pop(struct ring *r);

/* True: wait for the bell; false: look again. */
bool ring_put_sleep(struct ring *r, uint32_t len);
bool ring_take_sleep(struct ring *r);
/* For whoever sleeps; harmless otherwise. */
void ring_bell(struct ring_side *s);
void ring_bell_clear(struct ring_side *s); /* waits for it, if it blocks */

#endif
