/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host for the controller under test: a disk image, and as much of a driver as the tests need.
 */
#ifndef PINFOLD_TESTS_NVME_HOST_H
#define PINFOLD_TESTS_NVME_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/nvme/spec.h"
#include "lib/machine.h"

#define HOST_IOVA   0x10000000ULL /* where memory begins; nothing lies before or after it */
#define HOST_MEM    (16UL << 20)
#define HOST_QUEUES MACHINE_VECTORS
#define DISK_SIZE   (8UL << 20)

struct host_queue {
	uint32_t sq_size, cq_size, sq_tail, cq_head;
	bool phase;
	uint64_t sq, cq;
};

struct host {
	struct machine m;
	uint64_t next; /* IOVA of the first free byte */
	int disk;
	char path[64];
	uint16_t cid;
	uint8_t *live; /* the doorbell page as a client maps it; doorbells go there while it is open */
	struct host_queue q[HOST_QUEUES];
};

/* A disk of DISK_SIZE bytes, byte i of it disk_byte(i), behind "nvme,path=...,OPTIONS"; not enabled yet. */
void host_open(struct host *h, const char *options);
/* The same on a file that is there already, in dir. */
void host_open_path(struct host *h, const char *path, const char *options);
void host_close(struct host *h);
uint8_t disk_byte(uint64_t i);

uint32_t host_reg(struct host *h, unsigned int off);
void host_set_reg(struct host *h, unsigned int off, uint32_t val);
void host_doorbell(struct host *h, unsigned int qid, bool cq, uint32_t val);
void host_trap_doorbell(struct host *h, unsigned int qid, bool cq, uint32_t val);

/* Memory: IOVAs that are not given back. */
uint64_t host_alloc(struct host *h, uint64_t len, uint64_t align);
void *host_ptr(struct host *h, uint64_t iova);

void host_enable(struct host *h, unsigned int asize, unsigned int mps); /* admin queues of asize entries */
void host_disable(struct host *h);
uint16_t host_create_cq(struct host *h, unsigned int qid, uint32_t size, int vector); /* vector -1: polled */
uint16_t host_create_sq(struct host *h, unsigned int qid, uint32_t size, unsigned int cqid);
void host_io_queue(struct host *h, unsigned int qid, uint32_t size);

/* Puts cmd (with a fresh CID, unless keep_cid) into the queue; rings or not. Returns the CID. */
uint16_t host_put(struct host *h, unsigned int qid, struct nvme_cmd *cmd);
void host_ring(struct host *h, unsigned int qid);
/* The next completion of cq if there is one; consumes it and rings. */
bool host_poll(struct host *h, unsigned int cqid, struct nvme_cqe *cqe);
/* Runs the loop until there is one. */
void host_wait(struct host *h, unsigned int cqid, struct nvme_cqe *cqe);
void host_run(struct host *h, unsigned int rounds); /* without sleeping */
/* put, ring, wait. Returns the status without More and DNR. */
uint16_t host_cmd(struct host *h, unsigned int qid, struct nvme_cmd *cmd, uint32_t *dw0);

/* Commands with a contiguous buffer. */
uint16_t host_identify(struct host *h, unsigned int cns, uint32_t nsid, uint64_t buf);
uint16_t host_rw(struct host *h, unsigned int qid, unsigned int op, uint64_t slba, unsigned int blocks, uint64_t buf);
struct nvme_cmd rw_cmd(unsigned int op, uint64_t slba, unsigned int blocks, uint64_t prp1, uint64_t prp2);

#endif
