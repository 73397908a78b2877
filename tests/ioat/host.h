/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host for the copy engine under test: as much of a driver as the tests need.
 *
 * Memory is one file, seen at IOVAs in four ways:
 *
 *   PLAIN	in one piece, its file offsets from 0
 *   (a hole)
 *   READONLY	what follows in the file
 *   SCATTERED	the rest of the file's pages, the last one first
 */
#ifndef PINFOLD_TESTS_IOAT_HOST_H
#define PINFOLD_TESTS_IOAT_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/ioat/spec.h"
#include "lib/machine.h"

#define PLAIN	      0x10000000ULL
#define PLAIN_LEN     (4UL << 20)
#define READONLY      0x20000000ULL
#define READONLY_LEN  (64UL << 10)
#define SCATTERED     0x30000000ULL
#define SCATTERED_LEN (512UL << 10)
#define HOST_MEM      (PLAIN_LEN + READONLY_LEN + SCATTERED_LEN)

struct host {
	struct machine m;
	uint64_t next; /* IOVA of the first free byte of PLAIN */
};

void host_open(struct host *h, const char *options); /* "ioat,OPTIONS"; MSI-X is on, every vector unmasked */
void host_close(struct host *h);

uint64_t host_alloc(struct host *h, uint64_t len, uint64_t align); /* IOVAs in PLAIN that are not given back */
uint8_t *host_ptr(struct host *h, uint64_t iova);
/* The file offset behind an IOVA, or -1 where there is nothing, or nothing that may be written. */
int64_t host_offset(uint64_t iova, bool write);

uint64_t host_read(struct host *h, uint64_t off, unsigned int size);
void host_write(struct host *h, uint64_t off, unsigned int size, uint64_t val);
static inline uint64_t chan_reg(unsigned int chan, unsigned int reg)
{
	return IOAT_CHAN_SIZE * (chan + 1ULL) + reg;
}

/* ---- a channel as a driver keeps it ---- */
struct ring {
	struct host *h;
	unsigned int chan, size; /* descriptors, each linked to the next, the last one to the first */
	uint64_t base, status;	 /* IOVAs; where the completion is written */
	unsigned int head;	 /* descriptors put since CHAINADDR was written */
};

/* Memory for it; the channel is reset, and armed with CHAINADDR. */
void ring_open(struct ring *r, struct host *h, unsigned int chan, unsigned int size);
void ring_arm(struct ring *r);	 /* clears CHANERR, resets, and starts the chain at the first descriptor anew */
void ring_hurry(struct ring *r); /* the next descriptor after an error starts at once */
uint64_t ring_iova(const struct ring *r, unsigned int n); /* of the n-th descriptor ever put */
struct ioat_desc *ring_desc(struct ring *r, unsigned int n);
void ring_put(struct ring *r, uint32_t ctl, uint64_t src, uint64_t dst, uint32_t size);
void ring_ring(struct ring *r); /* DMACOUNT */
enum ioat_state ring_state(struct ring *r);
uint32_t ring_error(struct ring *r);
uint64_t ring_written(struct ring *r); /* what the device wrote to status */
/* Runs the loop until the channel is not ACTIVE; the state. */
enum ioat_state ring_wait(struct ring *r);
/* put, ring, wait. */
enum ioat_state ring_run(struct ring *r, uint32_t ctl, uint64_t src, uint64_t dst, uint32_t size);

#define CTL_COPY (IOAT_OP_COPY << 24 | IOAT_CTL_COMPLETE)
#define CTL_FILL (IOAT_OP_FILL << 24 | IOAT_CTL_COMPLETE)

#endif
