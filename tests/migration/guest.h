/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest: the driver of an NVMe disk that never stops working, and the machine that it runs on. All that it knows is
 * in its memory, a file, at the same IOVA wherever it runs. Page p of the disk holds a pattern of p and of how often it
 * has been written; each read is held against it.
 */
#ifndef PINFOLD_TESTS_GUEST_H
#define PINFOLD_TESTS_GUEST_H

#include "tests/client/client.h"

#define MEM_IOVA   0x40000000ull
#define DISK_PAGES 256u
#define SLOTS	   32u
#define ENTRIES	   64u

struct sqe {
	uint8_t opcode, flags;
	uint16_t cid;
	uint32_t nsid;
	uint64_t reserved, metadata, prp1, prp2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
struct cqe {
	uint32_t dw0, dw1;
	uint16_t sq_head, sq_id, cid, status;
};

struct ring {
	uint32_t tail, head, phase;
};

/* The guest's memory. */
struct guest {
	struct sqe admin_sq[ENTRIES];
	struct sqe io_sq[ENTRIES];
	struct cqe admin_cq[PAGE / sizeof(struct cqe)];
	struct cqe io_cq[PAGE / sizeof(struct cqe)];
	uint8_t buffer[SLOTS][PAGE];
	struct state {
		struct ring ring[2];
		uint32_t version[DISK_PAGES];
		struct slot {
			uint8_t busy, write;
			uint16_t page;
		} slot[SLOTS];
		uint32_t busy, rnd;
		uint64_t done, interrupts;
	} s __attribute__((aligned(4096)));
	uint8_t end[] __attribute__((aligned(4096)));
};
#define MEM_SIZE       sizeof(struct guest)
#define IOVA_OF(field) (MEM_IOVA + offsetof(struct guest, field))
_Static_assert(sizeof(struct sqe) == 64 && sizeof(struct cqe) == 16, "sections 4.2 and 4.6");
_Static_assert(offsetof(struct guest, buffer) == 4 * PAGE && MEM_SIZE % PAGE == 0, "whole pages");

extern struct guest *g;

/* ---- the machine ---- */
extern int mem_fd, irq;
void machine_map(void);	 /* the guest's memory, mem_fd, into this process */
void machine_make(void); /* new memory, and the device with it mapped */
void registers_map(void);
void irq_set_up(void);

/* ---- the guest ---- */
void boot(void);
void work(unsigned int commands);
bool submit(unsigned int limit); /* one more command, if there is room for it; not rung */
void ring(unsigned int q);
bool complete_one(void);
void drain(void); /* until nothing is outstanding */
void verify_disk(void);

#endif
