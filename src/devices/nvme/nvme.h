/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NVM Express 1.4 controller. One noun per file:
 *
 *   ctrl.c      registers, enable, shutdown, reset; the device type
 *   queue.c     submission and completion queues: fetching, posting, doorbells, turns
 *   late.c      completions that a fault on purpose spoils or holds back
 *   req.c       command contexts and their buffers
 *   sg.c        a data pointer as a list of IOVA ranges; prp.c and sgl.c make one
 *   cmb.c       memory of the controller's own: CMB and PMR; every access to an address passes there
 *   io.c        the NVM command set
 *   migrate.c   becoming quiet; state.c: what is saved of a controller, and loaded into another
 *   admin.c     the admin command set; identify.c, features.c, log.c, aer.c its larger parts
 *
 * Invariants. Client memory is reached with IOVAs only, and no host address of it survives a call: what must wait for
 * the disk waits in a buffer of the request's own. A request whose controller was reset is an orphan (c == NULL): it
 * ends without touching anything but its pool. Work per turn is bounded, so that no client starves another.
 */
#ifndef PINFOLD_DEVICES_NVME_NVME_H
#define PINFOLD_DEVICES_NVME_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/event.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/util.h"
#include "devices/block.h"
#include "devices/nvme/spec.h"
#include "pci/inject.h"
#include "pci/live.h"
#include "pci/pci.h"

#define NVME_QUEUES_MAX	   64	/* I/O queue pairs */
#define NVME_QSIZE_MAX	   4096 /* entries; CAP.MQES + 1 */
#define NVME_MPSMAX	   4	/* 64 KiB memory pages */
#define NVME_NS_MAX	   16
#define NVME_AERL	   4 /* asynchronous event requests that wait at a time */
#define NVME_ERRORS	   64
#define NVME_ACL	   4
#define NVME_BATCH	   64
#define NVME_CIDS	   65536
#define NVME_TURN_CMDS	   256
#define NVME_TURN_BYTES	   (2U << 20)
#define NVME_SEGS_INLINE   36	/* 128 KiB in 4 KiB pages at any offset */
#define NVME_SEGS_MAX	   8192 /* what an SGL may be cut into */
#define NVME_BUF_SMALL	   (128U << 10)
#define NVME_FIRMWARE	   "1.0"
#define NVME_TEMPERATURE   310 /* Kelvin */
#define NVME_WARNING_TEMP  343
#define NVME_CRITICAL_TEMP 353
#define NVME_POOL_BYTES	   (64U << 20) /* in flight to the disk; beyond it no command is fetched */
#define NVME_POOL_REQS	   4096

/* Not a status: the command completes later. */
#define NVME_ASYNC (-1)

/* ---- data pointers (sg.c, prp.c, sgl.c) ---- */
struct nvme_seg {
	uint64_t iova;
	uint32_t len;
	bool bucket;	  /* 4.4: data for it is dropped */
	const char *part; /* for the fault line: "PRP1" */
};

struct nvme_sg {
	struct nvme_seg *v; /* inl, or allocated */
	unsigned int n, cap;
	uint64_t len;
	uint32_t given; /* dma_dev_moves() then */
	bool bucket;	/* any segment is one */
	struct nvme_seg inl[NVME_SEGS_INLINE];
};

/* ---- command contexts (req.c) ---- */
struct nvme;
struct nvme_ns;
struct nvme_shutdown;

/* Survives its controller until the last request is back from the disk. */
struct nvme_pool {
	struct nvme *c; /* NULL once it is gone */
	struct list free;
	unsigned int nfree, nused;
	struct list bufs; /* free small buffers, the list node in the buffer itself */
	unsigned int nbufs;
	uint64_t bytes; /* of buffers in use */
};

struct nvme_req {
	struct block_req blk;
	struct list node; /* free list, the controller's in-flight list, or a completion queue's waiting list */
	struct nvme_pool *pool;
	struct nvme *c;
	struct nvme_ns *ns;
	uint16_t sqid;
	struct nvme_cmd cmd;
	struct nvme_sg sg;
	struct nvme_cqe cqe; /* while it waits for room */
	void *buf;
	size_t buf_len;
	void (*finish)(struct nvme_req *r,
		       int error); /* back from the disk; ends with nvme_req_complete or resubmits */
	unsigned int step;	   /* of a command made of several disk requests */
};

/* ---- queues (queue.c) ---- */
struct nvme_cq {
	bool live;
	uint16_t id, vector;
	bool ien;
	bool phase; /* of the entry at tail */
	uint32_t size, head, tail;
	uint64_t base;
	uint32_t given;	    /* dma_dev_moves() when base was */
	uint64_t looked_ns; /* since when the oldest entry has been waiting to be taken; 0: nobody wants to know */
	bool stalled;	    /* a submission queue stopped for want of room */
	unsigned int users; /* submission queues */
	struct list waiting;
	struct list dirty;
	unsigned int batch_n; /* entries up to tail that the client does not see yet */
	struct nvme_cqe batch[NVME_BATCH];
};

struct nvme_sq {
	bool live;
	uint16_t id, cqid;
	uint8_t prio;
	uint32_t size, head, tail;
	uint64_t base;
	uint32_t given; /* dma_dev_moves() when base was */
	unsigned int inflight;
	uint64_t *cids;		   /* bit per identifier: of a command that is under way; NULL: nobody wants to know */
	struct nvme_req *deleting; /* the Delete I/O Submission Queue that waits for inflight to become 0 */
	struct list pending;
};

struct nvme_ns {
	uint32_t id;
	struct block *blk;
	unsigned int shift; /* log2 of the block size */
	uint64_t nlb;
	bool readonly;
};

/* ---- features (features.c) ---- */
struct nvme_features {
	uint32_t arbitration, power, temp_over, temp_under, error_recovery[NVME_NS_MAX + 1];
	uint32_t wce, coalescing, atomicity, async_config;
	uint16_t no_coalescing[NVME_QUEUES_MAX + 1]; /* per vector */
	uint64_t timestamp_base, timestamp_set_at;   /* ms; ns of loop_now */
	uint8_t timestamp_origin;
};

struct nvme_counters {
	uint64_t read_blocks, written_blocks; /* of 512 bytes */
	uint64_t reads, writes, media_errors, power_cycles, unsafe_shutdowns;
};

/* ---- asynchronous events (aer.c) ---- */
enum { NVME_AER_ERROR, NVME_AER_SMART, NVME_AER_NOTICE, NVME_AER_TYPES };

struct nvme_aer {
	uint16_t cid[NVME_AERL];
	unsigned int n;
	uint16_t aborted[NVME_AERL]; /* to be posted as such */
	unsigned int naborted;
	bool masked[NVME_AER_TYPES]; /* reported; until the log page is read */
	bool wanted[NVME_AER_TYPES]; /* happened, not reported yet */
	uint8_t info[NVME_AER_TYPES], page[NVME_AER_TYPES];
};

/* ---- the doorbells as plain memory (live.c) ---- */
#define NVME_DOORBELLS (2 * (NVME_QUEUES_MAX + 1))

struct nvme_live {
	struct live_page page;
	struct loop_poll poll;
	struct loop_timer retry;
	uint64_t since;	    /* when the present period of measurement began; 0: with the next command */
	uint64_t closed_ns; /* per command, with the page closed, when that was last measured */
	unsigned int cmds;  /* in this period */
	unsigned int backoff;
	bool noted, trial, prefers_open;
	bool closing;			/* begun, and not done yet */
	bool have_found;		/* found differs from seen */
	bool ripe;			/* and others have had their turn since it was found */
	uint32_t seen[NVME_DOORBELLS];	/* what has been acted upon */
	uint32_t found[NVME_DOORBELLS]; /* what the page held when it was last looked at */
};

/* ---- memory of its own (cmb.c) ---- */
struct nvme_own {
	char *view;    /* touched with guard_copy */
	uint64_t size; /* 0: there is none */
	uint64_t msc;  /* CMBMSC, PMRMSC */
	uint64_t base; /* while on: [base, base + size) is it, and nothing else */
	bool on, invalid;
};

struct nvme {
	struct pci_func f; /* first */
	struct loop *loop;
	struct loop_work work; /* the next turn */
	unsigned int queues;   /* offered */
	unsigned int mdts;     /* log2 of minimum pages; 0 = no limit of the controller's */
	uint64_t max_bytes;
	bool cache;
	unsigned int nns;
	struct nvme_ns ns[NVME_NS_MAX]; /* nsid - 1 */
	char serial[21], model[41];

	/* registers */
	uint64_t asq, acq;
	uint32_t cc, csts, aqa, intm;
	bool asq_old, acq_old; /* not written since the last reset, which they survive */
	unsigned int page_shift;
	struct nvme_own cmb, pmr;
	bool pmr_on; /* PMRCTL.EN */
	bool owns;   /* one of the two is on */

	struct nvme_sq sq[NVME_QUEUES_MAX + 1];
	struct nvme_cq cq[NVME_QUEUES_MAX + 1];
	struct list pending; /* submission queues with entries to fetch */
	struct list dirty;   /* completion queues with entries to show */
	struct list inflight;
	struct nvme_pool *pool;
	bool io_created; /* an I/O queue was created since enable */
	bool in_turn;
	unsigned int turn_cmds; /* left */
	uint64_t turn_bytes;	/* moved */
	struct nvme_shutdown *shutdown;
	bool stable; /* quiet, and what was written is being made stable, or is */
	struct nvme_live live;
	struct list late; /* completions that are held back */

	struct nvme_features feat;
	struct nvme_aer aer;
	struct nvme_counters count;
	uint64_t error_count;
	struct nvme_error_entry errors[NVME_ERRORS]; /* ring; the newest at error_count - 1 */
	uint64_t born;				     /* loop_now */
	uint8_t page[4096] __attribute__((aligned(16)));
	struct nvme_cmd sqe[NVME_BATCH];
};

/* ---- ctrl.c ---- */
void nvme_fatal(struct nvme *c, const char *why); /* CSTS.CFS (9.5) */
static inline bool nvme_running(const struct nvme *c)
{
	return (c->csts & (NVME_CSTS_RDY | NVME_CSTS_CFS)) == NVME_CSTS_RDY;
}

static inline bool nvme_takes_commands(const struct nvme *c) /* and may reach memory */
{
	return nvme_running(c) && c->f.run == PCI_RUNNING;
}

/* ---- migrate.c, state.c: pci_func_ops ---- */
int nvme_quiesce(struct pci_func *f);
void nvme_run(struct pci_func *f);
void nvme_save(struct pci_func *f, struct state_out *o);
int nvme_load(struct pci_func *f, struct state *s);

/* ---- cmb.c: memory at an address, the client's or the controller's own. As pci_dma_*, dma_iov and dma_iov_done ----
 */
int nvme_mem_read(struct nvme *c, uint64_t addr, void *dst, size_t len, const struct dma_tag *tag);
int nvme_mem_write(struct nvme *c, uint64_t addr, const void *src, size_t len, const struct dma_tag *tag);
int nvme_mem_iov(struct nvme *c, uint64_t addr, size_t len, bool write, struct iovec *iov, unsigned int *n,
		 const struct dma_tag *tag);
void nvme_mem_iov_done(struct nvme *c, uint64_t addr, size_t len, bool write, const struct dma_tag *tag);

/* ---- queue.c ---- */
void nvme_queue_init(struct nvme *c);
void nvme_sq_start(struct nvme *c, unsigned int id, unsigned int cqid, uint64_t base, uint32_t size, unsigned int prio);
void nvme_cq_start(struct nvme *c, unsigned int id, uint64_t base, uint32_t size, bool ien, unsigned int vector);
void nvme_sq_stop(struct nvme *c, struct nvme_sq *sq);
void nvme_cq_stop(struct nvme *c, struct nvme_cq *cq);
bool nvme_sq_left(const struct nvme *c, const struct nvme_sq *sq); /* for want of room for their answers */
void nvme_closing(struct pci_func *f);
void nvme_untaken_tell(struct nvme *c); /* what the driver leaves behind, when it goes or stops the controller */
void nvme_pin_update(struct nvme *c);
void nvme_doorbell(struct nvme *c, unsigned int index, uint32_t val); /* index as in 3.1.24: 2 * queue + is CQ */
bool nvme_cq_has_room(const struct nvme_cq *cq);
/* Posts at once; the queue must have room. */
void nvme_cq_post(struct nvme *c, struct nvme_cq *cq, uint16_t sqid, uint16_t cid, uint16_t status, uint32_t dw0);
void nvme_turn_later(struct nvme *c);
void nvme_turn_end(struct nvme *c);			       /* shows what has been posted; fetches nothing */
void nvme_cq_post_waiting(struct nvme *c, struct nvme_cq *cq); /* as many as have room */
void nvme_turn_run(struct loop_work *w);

void nvme_resume(struct pci_func *f); /* stuck queues go on */

/* ---- late.c ---- */
/* What a fault on purpose does to a completion. True: it is posted later. */
bool nvme_late(struct nvme *c, uint16_t sqid, uint16_t *cid, uint16_t *status, uint32_t *dw0);
void nvme_late_drop(struct nvme *c, uint16_t sqid); /* of a queue that is gone */

/* ---- live.c ---- */
void nvme_live_init(struct nvme *c); /* after the BAR is there; without it every doorbell is a trap */
void nvme_live_fini(struct nvme *c);
void nvme_live_renew(struct nvme *c); /* for a new owner: what the last one still has mapped leads nowhere */
/*
 * Back to traps. What the page held is acted upon in a round soon (keep), or forgotten. Forgotten, nothing that is in
 * it or gets into it is looked at any more; kept, it may still be open and looked at, and is closed as soon as that can
 * be.
 */
void nvme_live_close(struct nvme *c, bool keep);
/* A queue is created or deleted: its doorbell starts anew. */
void nvme_live_queue_changed(struct nvme *c, unsigned int index);
/* A submission doorbell has been rung for n more commands. */
void nvme_live_note(struct nvme *c, unsigned int n);
/* A doorbell came the long way. False: what the page holds contains it, and it is not to be acted upon. */
bool nvme_live_trapped(struct nvme *c, unsigned int index, uint32_t val);

/* ---- req.c ---- */
struct nvme_pool *nvme_pool_new(struct nvme *c);
void nvme_pool_detach(struct nvme_pool *p); /* freed now or with its last request */
bool nvme_pool_full(const struct nvme_pool *p);
struct nvme_req *nvme_req_get(struct nvme *c, struct nvme_sq *sq, const struct nvme_cmd *cmd); /* NULL: no memory */
void nvme_req_put(struct nvme_req *r);
/* At least len bytes in r->buf, aligned to 4096. 0 or -ENOMEM. */
int nvme_req_buf(struct nvme_req *r, size_t len);
/* Hands r to the disk. finish is called unless the controller is reset before. */
void nvme_req_submit(struct nvme_req *r, enum block_op op, uint64_t off, uint64_t len);
/* Posts the completion, or keeps r until there is room. Ends r. */
void nvme_req_complete(struct nvme_req *r, uint16_t status, uint32_t dw0);
void nvme_req_orphan_all(struct nvme *c);

/* ---- sg.c, prp.c, sgl.c: 0 or a status ---- */
void nvme_sg_init(struct nvme_sg *sg);
void nvme_sg_fini(struct nvme_sg *sg);
uint16_t nvme_sg_add(struct nvme_sg *sg, uint64_t iova, uint64_t len, bool bucket, const char *part);
/* Describes len bytes of data from cmd's data pointer. host_to_dev: direction of the transfer. */
uint16_t nvme_sg_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid, uint64_t len,
		     bool host_to_dev);
uint16_t nvme_prp_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid, uint64_t len);
uint16_t nvme_sgl_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid, uint64_t len,
		      bool host_to_dev);
uint16_t nvme_sg_read(struct nvme *c, const struct nvme_sg *sg, void *dst, const struct nvme_cmd *cmd,
		      unsigned int sqid);
uint16_t nvme_sg_write(struct nvme *c, const struct nvme_sg *sg, const void *src, const struct nvme_cmd *cmd,
		       unsigned int sqid);
/* 0, -EFAULT (reported), -E2BIG. nvme_sg_done counts the DMA once the data went through the entries. */
int nvme_sg_iov(struct nvme *c, const struct nvme_sg *sg, bool write, struct iovec *iov, unsigned int *n,
		const struct nvme_cmd *cmd, unsigned int sqid);
void nvme_sg_done(struct nvme *c, const struct nvme_sg *sg, bool write, const struct nvme_cmd *cmd, unsigned int sqid);
static inline struct dma_tag nvme_tag(const struct nvme_cmd *cmd, unsigned int sqid, const char *part)
{
	return (struct dma_tag){
	    .queue_kind = "SQ", .queue = sqid, .id_kind = cmd ? "CID" : NULL, .id = cmd ? cmd->cid : 0, .part = part};
}

/* ---- commands: a status, or NVME_ASYNC; *dw0 is 0 on entry ---- */
int nvme_io(struct nvme *c, struct nvme_sq *sq, const struct nvme_cmd *cmd);
int nvme_admin(struct nvme *c, struct nvme_sq *sq, const struct nvme_cmd *cmd, uint32_t *dw0);
uint16_t nvme_identify(struct nvme *c, const struct nvme_cmd *cmd);
uint16_t nvme_set_features(struct nvme *c, const struct nvme_cmd *cmd, uint32_t *dw0);
uint16_t nvme_get_features(struct nvme *c, const struct nvme_cmd *cmd, uint32_t *dw0);
uint16_t nvme_get_log(struct nvme *c, const struct nvme_cmd *cmd);
/* The data of an admin command, len bytes as the command says; the first n of them are moved. */
uint16_t nvme_admin_to_host(struct nvme *c, const struct nvme_cmd *cmd, uint64_t len, const void *data, size_t n);
uint16_t nvme_admin_from_host(struct nvme *c, const struct nvme_cmd *cmd, uint64_t len, void *data);

/* ---- features.c, log.c, aer.c ---- */
void nvme_features_reset(struct nvme *c);	 /* to the defaults: nothing is saveable */
uint16_t nvme_temperature(const struct nvme *c); /* Kelvin */
bool nvme_too_warm_or_cold(const struct nvme *c);
/* Enters a failed command into the error log. Returns the status as it is to be posted. */
extern const struct pci_region nvme_log_region;
uint16_t nvme_error(struct nvme *c, const struct nvme_cmd *cmd, uint16_t sqid, uint16_t status);
void nvme_aer_error(struct nvme *c, uint8_t info); /* an error that belongs to no command */
int nvme_aer_request(struct nvme *c, const struct nvme_cmd *cmd);
void nvme_aer_event(struct nvme *c, unsigned int type, uint8_t info, uint8_t page);
void nvme_aer_unmask(struct nvme *c, unsigned int type);
void nvme_aer_flush(struct nvme *c); /* posts what it can */
bool nvme_aer_abort(struct nvme *c, uint16_t cid);
void nvme_aer_reset(struct nvme *c);

static inline struct nvme_ns *nvme_ns_find(struct nvme *c, uint32_t nsid)
{
	return nsid >= 1 && nsid <= c->nns ? &c->ns[nsid - 1] : NULL;
}

#endif
