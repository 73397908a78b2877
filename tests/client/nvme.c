/* SPDX-License-Identifier: BSD-3-Clause */
/* The least of an NVMe driver (NVM Express 1.4): an admin and one I/O queue pair, one command at a time. */
#include "client.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { REG_CAP = 0x00, REG_CC = 0x14, REG_CSTS = 0x1c, REG_AQA = 0x24, REG_ASQ = 0x28, REG_ACQ = 0x30 };
enum { ADMIN_CREATE_SQ = 1, ADMIN_CREATE_CQ = 5, ADMIN_IDENTIFY = 6, NVM_WRITE = 1, NVM_READ = 2 };

#define ENTRIES	   16u
#define RINGS	   5
#define DEADLINE_S 30 /* for a controller that runs in a slow emulator */

struct sqe {
	uint8_t opcode, flags;
	uint16_t cid;
	uint32_t nsid;
	uint64_t reserved, metadata, prp1, prp2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct sqe) == 64, "section 4.2");

struct cqe {
	uint32_t dw0, dw1;
	uint16_t sq_head, sq_id, cid;
	uint16_t status; /* bit 0 is the phase tag */
};
_Static_assert(sizeof(struct cqe) == 16, "section 4.6");

static struct queue {
	struct sqe *sq;
	volatile struct cqe *cq;
	unsigned int tail, head, phase;
} queue[2]; /* admin, I/O */

static volatile uint8_t *bar;
static size_t bar_size;
static uint8_t *rings;	    /* admin SQ, admin CQ, I/O SQ, I/O CQ, what identify said: a page each */
static unsigned int stride; /* of doorbells */
static unsigned int block_size;
static int irq[2] = {-1, -1};
static unsigned int irqs;

static uint32_t reg_read(unsigned int off)
{
	return *(volatile uint32_t *)(bar + off);
}

static void reg_write(unsigned int off, uint32_t v)
{
	*(volatile uint32_t *)(bar + off) = v;
}

uint64_t nvme_cap(void)
{
	return *(volatile uint64_t *)(bar + REG_CAP);
}

volatile void *nvme_bar(void)
{
	return bar;
}

unsigned int nvme_interrupts(void)
{
	return irqs;
}

static void doorbell(unsigned int index, uint32_t v)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	reg_write(0x1000 + index * stride, v);
}

static void ready_wait(unsigned int want)
{
	time_t end = time(NULL) + DEADLINE_S;

	while ((reg_read(REG_CSTS) & 1) != want) {
		if (reg_read(REG_CSTS) & 2)
			fail("controller fatal status, CSTS %#x", reg_read(REG_CSTS));
		if (time(NULL) > end)
			fail("CSTS.RDY does not become %u", want);
		usleep(100);
	}
}

/* With MSI-X the thread sleeps until its queue's eventfd tells; the count must not be lost, nor come unasked. */
static void completion_wait(unsigned int q)
{
	volatile struct cqe *c = &queue[q].cq[queue[q].head];
	time_t end = time(NULL) + DEADLINE_S;
	uint64_t n;

	if (irq[q] >= 0) {
		struct pollfd p = {.fd = irq[q], .events = POLLIN};

		if (poll(&p, 1, DEADLINE_S * 1000) != 1)
			fail("no interrupt for queue %u", q);
		expect_eq(read(irq[q], &n, sizeof(n)), sizeof(n));
		irqs += n;
	}
	while ((c->status & 1) != queue[q].phase)
		if (time(NULL) > end)
			fail("no completion on queue %u", q);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void put(unsigned int q, struct sqe *e)
{
	struct queue *k = &queue[q];

	e->cid = 0x100 * q + k->tail;
	k->sq[k->tail] = *e;
	k->tail = (k->tail + 1) % ENTRIES;
}

/* The next completion; *cid gets the command's, which is where in the queue it was. */
static unsigned int complete(unsigned int q, uint16_t *cid)
{
	struct queue *k = &queue[q];
	unsigned int status;

	completion_wait(q);
	*cid = k->cq[k->head].cid;
	status = k->cq[k->head].status >> 1;
	k->head = (k->head + 1) % ENTRIES;
	if (!k->head)
		k->phase ^= 1;
	doorbell(2 * q + 1, k->head);
	return status;
}

static unsigned int command(unsigned int q, struct sqe *e)
{
	unsigned int status;
	uint16_t cid;

	put(q, e);
	doorbell(2 * q, queue[q].tail);
	status = complete(q, &cid);
	expect_eq(cid, e->cid);
	return status;
}

unsigned int nvme_identify(unsigned int cns, uint32_t nsid, uint64_t iova)
{
	return command(0, &(struct sqe){.opcode = ADMIN_IDENTIFY, .nsid = nsid, .prp1 = iova, .cdw10 = cns});
}

void nvme_put_read(unsigned int page, uint64_t iova)
{
	uint64_t lba = page * PAGE / block_size;

	put(1, &(struct sqe){.opcode = NVM_READ,
			     .nsid = 1,
			     .prp1 = iova,
			     .cdw10 = lba,
			     .cdw11 = lba >> 32,
			     .cdw12 = PAGE / block_size - 1});
}

void nvme_put_again(void)
{
	struct queue *k = &queue[1];

	k->sq[k->tail] = k->sq[(k->tail + ENTRIES - 1) % ENTRIES];
	k->tail = (k->tail + 1) % ENTRIES;
}

volatile uint32_t *nvme_doorbell_at(void)
{
	return (volatile uint32_t *)(bar + 0x1000 + 2 * stride);
}

unsigned int nvme_tail(void)
{
	return queue[1].tail;
}

void nvme_ring(void)
{
	doorbell(2, queue[1].tail);
}

unsigned int nvme_collect(void)
{
	uint16_t cid;

	return complete(1, &cid);
}

bool nvme_has_completion(void)
{
	return (queue[1].cq[queue[1].head].status & 1) == queue[1].phase;
}

/* Bytes at the start of the namespace's page-th 4 KiB; no more than those, and not across a page of memory. */
unsigned int nvme_rw(bool write, unsigned int page, unsigned int bytes, uint64_t iova)
{
	uint64_t lba = page * PAGE / block_size;
	struct sqe e = {.opcode = write ? NVM_WRITE : NVM_READ,
			.nsid = 1,
			.prp1 = iova,
			.cdw10 = lba,
			.cdw11 = lba >> 32,
			.cdw12 = bytes / block_size - 1};

	return command(1, &e);
}

static void msix_set_up(void)
{
	struct {
		struct vfio_irq_set h;
		int32_t fd[2];
	} s = {.h = {.argsz = sizeof(s),
		     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		     .index = VFIO_PCI_MSIX_IRQ_INDEX,
		     .count = 2}};

	for (int i = 0; i < 2; i++)
		s.fd[i] = irq[i] = eventfd(0, EFD_CLOEXEC);
	expect_eq(ioctl(device, VFIO_DEVICE_SET_IRQS, &s), 0);
}

static void queues_create(bool msix)
{
	struct sqe cq = {.opcode = ADMIN_CREATE_CQ,
			 .prp1 = NVME_IOVA + 3 * PAGE,
			 .cdw10 = (ENTRIES - 1) << 16 | 1,
			 .cdw11 = (msix ? 1u << 16 | 2 : 0) | 1};
	struct sqe sq = {.opcode = ADMIN_CREATE_SQ,
			 .prp1 = NVME_IOVA + 2 * PAGE,
			 .cdw10 = (ENTRIES - 1) << 16 | 1,
			 .cdw11 = 1u << 16 | 1};

	expect_eq(command(0, &cq), 0);
	expect_eq(command(0, &sq), 0);
}

void nvme_start(bool msix)
{
	struct vfio_region_info r = region_info(VFIO_PCI_BAR0_REGION_INDEX);

	if (!(r.flags & VFIO_REGION_INFO_FLAG_MMAP))
		skip_case("BAR0 cannot be mapped");
	bar_size = r.size;
	bar = mmap(NULL, bar_size, PROT_READ | PROT_WRITE, MAP_SHARED, device, r.offset);
	expect(bar != MAP_FAILED);
	stride = 4u << ((nvme_cap() >> 32) & 0xf);
	if (msix)
		msix_set_up();
	rings = pages_alloc(RINGS * PAGE);
	expect_eq(dma_map(rings, NVME_IOVA, RINGS * PAGE, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE), 0);
	for (int q = 0; q < 2; q++)
		queue[q] = (struct queue){
		    .sq = (void *)(rings + 2 * q * PAGE), .cq = (void *)(rings + (2 * q + 1) * PAGE), .phase = 1};
	reg_write(REG_CC, 0);
	ready_wait(0);
	reg_write(REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	*(volatile uint64_t *)(bar + REG_ASQ) = NVME_IOVA;
	*(volatile uint64_t *)(bar + REG_ACQ) = NVME_IOVA + PAGE;
	reg_write(REG_CC, 4 << 20 | 6 << 16 | 1); /* 16-byte CQEs, 64-byte SQEs, 4 KiB pages, enabled */
	ready_wait(1);
	queues_create(msix);
	expect_eq(nvme_identify(0, 1, NVME_IOVA + 4 * PAGE), 0);
	block_size = 1u << rings[4 * PAGE + 128 + 4 * (rings[4 * PAGE + 26] & 0xf) + 2]; /* section 5.15.2.1, LBAF */
	expect(block_size >= 512 && block_size <= PAGE);
}

void nvme_stop(void)
{
	reg_write(REG_CC, 0);
	ready_wait(0);
	expect_eq(dma_unmap(NVME_IOVA, RINGS * PAGE, 0, NULL), 0);
	nvme_forget();
}

void nvme_forget(void)
{
	munmap((void *)bar, bar_size);
	munmap(rings, RINGS * PAGE);
	for (int i = 0; i < 2; i++) {
		if (irq[i] >= 0)
			close(irq[i]);
		irq[i] = -1;
	}
	irqs = 0;
}
