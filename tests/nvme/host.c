/* SPDX-License-Identifier: BSD-3-Clause */
#include "host.h"

#include <dirent.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "devices/device.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "mm/mm.h"

static void notify(struct event_listener *l, const struct event *ev)
{
	struct host *h = container_of(l, struct host, listener);

	h->faults++;
	dma_fault_format(ev, h->fault_line, sizeof(h->fault_line));
}

static void msix(struct pci_irq_sink *s, unsigned int vector)
{
	struct host *h = container_of(s, struct host, sink);

	CHECK(vector < HOST_QUEUES);
	h->irqs[vector]++;
}

static uint64_t no_limit(void *ctx)
{
	return UINT64_MAX;
}

static void open_memory(struct host *h)
{
	static const struct mm_owner_ops ops = {.limit = no_limit};
	const struct domain_config config = {.last = (1ULL << 48) - 1, .pgsizes = HOST_PAGE};
	struct page_slice slice = {.len = HOST_MEM, .writable = true};
	struct pages *p;

	h->memfd = memfd_create("host", MFD_CLOEXEC);
	CHECK(h->memfd >= 0 && ftruncate(h->memfd, HOST_MEM) == 0);
	h->mem = mmap(NULL, HOST_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, h->memfd, 0);
	CHECK(h->mem != MAP_FAILED);
	h->next = HOST_IOVA;
	h->cache = backing_cache_new(0, 0);
	h->owner = mm_owner_new(&ops, h, NULL, 1, &h->evs);
	h->ioas = ioas_new(&h->evs);
	h->domain = domain_new(&config, &h->evs);
	CHECK(h->cache && h->owner && h->ioas && h->domain && ioas_add_domain(h->ioas, h->domain) == 0);
	CHECK(backing_get_fd(h->cache, h->memfd, &slice.backing) == 0);
	CHECK(pages_new((uintptr_t)h->mem, &slice, 1, h->owner, &p) == 0);
	backing_put(slice.backing);
	pages_configure(p, true, MM_ACCOUNT_USER, false);
	CHECK(ioas_map(h->ioas, IOVA(HOST_IOVA), HOST_MEM, p, 0, IOMMU_READ | IOMMU_WRITE) == 0);
	pages_put(p);
}

static void open_function(struct host *h, const char *path, const char *options)
{
	struct device_env env = {.loop = h->loop, .evs = &h->evs};
	struct device_place place;
	char spec[256], err[256];

	snprintf(spec, sizeof(spec), "nvme,path=%s%s%s", path, *options ? "," : "", options);
	if (device_create(&env, spec, &h->f, &place, err, sizeof(err))) {
		fprintf(stderr, "%s: %s\n", spec, err);
		abort();
	}
	pci_func_place(h->f, 0, 0x100, 1);
	dma_dev_attach(h->f->dma, h->domain);
	pci_cfg_write(h->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	h->sink.msix = msix;
	h->f->sink = &h->sink;
	pci_msix_enable(h->f, true);
	for (unsigned int v = 0; v < h->f->msix_n; v++)
		pci_msix_set_entry_masked(h->f, v, false);
}

void host_open_path(struct host *h, const char *path, const char *options)
{
	memset(h, 0, sizeof(*h));
	CHECK(guard_install() == 0);
	events_init(&h->evs);
	h->listener.mask = BIT(EVENT_FAULT);
	h->listener.notify = notify;
	events_listen(&h->evs, &h->listener);
	h->loop = loop_new();
	CHECK(h->loop);
	h->disk = -1;
	open_memory(h);
	open_function(h, path, options);
}

uint8_t disk_byte(uint64_t i)
{
	return (uint8_t)(i ^ i >> 8 ^ i >> 16 ^ 0x5a);
}

void host_open(struct host *h, const char *options)
{
	static uint8_t image[DISK_SIZE];
	char path[] = "/tmp/pinfold-nvme-XXXXXX";
	int fd = mkstemp(path);

	CHECK(fd >= 0);
	for (uint64_t i = 0; i < DISK_SIZE; i++)
		image[i] = disk_byte(i);
	CHECK(pwrite(fd, image, DISK_SIZE, 0) == (ssize_t)DISK_SIZE);
	host_open_path(h, path, options);
	strcpy(h->path, path);
	h->disk = fd;
}

/* A disk is closed with the last request that was in flight. */
static unsigned int open_disks(const struct host *h)
{
	DIR *dir = opendir("/proc/self/fd");
	char link[sizeof(h->path) + 1];
	unsigned int n = 0;
	struct dirent *e;
	ssize_t len;

	CHECK(dir);
	while ((e = readdir(dir))) {
		len = readlinkat(dirfd(dir), e->d_name, link, sizeof(link));
		n += len == (ssize_t)strlen(h->path) && !memcmp(link, h->path, len);
	}
	closedir(dir);
	return n;
}

void host_close(struct host *h)
{
	h->f->ops->destroy(h->f);
	if (h->live)
		munmap(h->live, HOST_PAGE);
	/* Orphans come back, as late as the disk likes. */
	for (unsigned int i = 0; i < 300000 && open_disks(h) > (h->disk >= 0); i++)
		if (!loop_step(h->loop, false))
			usleep(100);
	ioas_remove_domain(h->ioas, h->domain);
	domain_free(h->domain);
	ioas_free(h->ioas);
	CHECK(mm_charged(h->owner) == 0);
	mm_owner_put(h->owner);
	backing_cache_free(h->cache);
	munmap(h->mem, HOST_MEM);
	close(h->memfd);
	if (h->disk >= 0) {
		close(h->disk);
		unlink(h->path);
	}
	loop_free(h->loop);
}

uint32_t host_reg(struct host *h, unsigned int off)
{
	uint64_t v;

	CHECK(pci_bar_read(h->f, 0, off, 4, &v) == 0);
	return (uint32_t)v;
}

void host_set_reg(struct host *h, unsigned int off, uint32_t val)
{
	CHECK(pci_bar_write(h->f, 0, off, 4, val) == 0);
}

void host_trap_doorbell(struct host *h, unsigned int qid, bool cq, uint32_t val)
{
	host_set_reg(h, NVME_REG_DOORBELLS + 8 * qid + 4 * cq, val);
}

void host_doorbell(struct host *h, unsigned int qid, bool cq, uint32_t val)
{
	if (!h->live || guard_copy(h->live + 8 * qid + 4 * cq, &val, sizeof(val)))
		host_trap_doorbell(h, qid, cq, val);
}

uint64_t host_alloc(struct host *h, uint64_t len, uint64_t align)
{
	uint64_t at = ALIGN_UP(h->next, align);

	CHECK(at + len <= HOST_IOVA + HOST_MEM);
	h->next = at + len;
	return at;
}

void *host_ptr(struct host *h, uint64_t iova)
{
	CHECK(iova >= HOST_IOVA && iova < HOST_IOVA + HOST_MEM);
	return h->mem + (iova - HOST_IOVA);
}

static void queue_memory(struct host *h, unsigned int qid, uint32_t sq, uint32_t cq, unsigned int mps)
{
	struct host_queue *q = &h->q[qid];
	uint64_t align = HOST_PAGE << mps;

	if (sq) {
		q->sq = host_alloc(h, sq * 64ULL, align);
		q->sq_size = sq;
		q->sq_tail = 0;
	}
	if (cq) {
		q->cq = host_alloc(h, cq * 16ULL, align);
		memset(host_ptr(h, q->cq), 0, cq * 16ULL);
		q->cq_size = cq;
		q->cq_head = 0;
		q->phase = true;
	}
}

void host_enable(struct host *h, unsigned int asize, unsigned int mps)
{
	struct host_queue *q = &h->q[0];

	queue_memory(h, 0, asize, asize, mps);
	host_set_reg(h, NVME_REG_AQA, (asize - 1) << 16 | (asize - 1));
	CHECK(pci_bar_write(h->f, 0, NVME_REG_ASQ, 8, q->sq) == 0);
	host_set_reg(h, NVME_REG_ACQ, (uint32_t)q->cq);
	host_set_reg(h, NVME_REG_ACQ + 4, (uint32_t)(q->cq >> 32));
	host_set_reg(h, NVME_REG_CC, 4 << 20 | 6 << 16 | mps << 7 | NVME_CC_EN);
	CHECK(host_reg(h, NVME_REG_CSTS) == NVME_CSTS_RDY);
}

void host_disable(struct host *h)
{
	host_set_reg(h, NVME_REG_CC, 0);
	CHECK(!(host_reg(h, NVME_REG_CSTS) & NVME_CSTS_RDY));
}

uint16_t host_create_cq(struct host *h, unsigned int qid, uint32_t size, int vector)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_CREATE_CQ};

	queue_memory(h, qid, 0, size, 0);
	cmd.dptr[0] = h->q[qid].cq;
	cmd.cdw10 = (size - 1) << 16 | qid;
	cmd.cdw11 = vector < 0 ? 1 : (uint32_t)vector << 16 | 3;
	return host_cmd(h, 0, &cmd, NULL);
}

uint16_t host_create_sq(struct host *h, unsigned int qid, uint32_t size, unsigned int cqid)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_CREATE_SQ};

	queue_memory(h, qid, size, 0, 0);
	cmd.dptr[0] = h->q[qid].sq;
	cmd.cdw10 = (size - 1) << 16 | qid;
	cmd.cdw11 = cqid << 16 | 1;
	return host_cmd(h, 0, &cmd, NULL);
}

void host_io_queue(struct host *h, unsigned int qid, uint32_t size)
{
	CHECK(host_create_cq(h, qid, size, (int)qid) == NVME_OK);
	CHECK(host_create_sq(h, qid, size, qid) == NVME_OK);
}

uint16_t host_put(struct host *h, unsigned int qid, struct nvme_cmd *cmd)
{
	struct host_queue *q = &h->q[qid];

	cmd->cid = h->cid++;
	memcpy((char *)host_ptr(h, q->sq) + q->sq_tail * 64, cmd, 64);
	q->sq_tail = (q->sq_tail + 1) % q->sq_size;
	return cmd->cid;
}

void host_ring(struct host *h, unsigned int qid)
{
	host_doorbell(h, qid, false, h->q[qid].sq_tail);
}

bool host_poll(struct host *h, unsigned int cqid, struct nvme_cqe *cqe)
{
	struct host_queue *q = &h->q[cqid];

	memcpy(cqe, (char *)host_ptr(h, q->cq) + q->cq_head * 16, 16);
	if ((cqe->status & 1) != q->phase)
		return false;
	q->cq_head++;
	if (q->cq_head == q->cq_size) {
		q->cq_head = 0;
		q->phase = !q->phase;
	}
	host_doorbell(h, cqid, true, q->cq_head);
	return true;
}

void host_wait(struct host *h, unsigned int cqid, struct nvme_cqe *cqe)
{
	while (!host_poll(h, cqid, cqe))
		loop_step(h->loop, true);
}

void host_run(struct host *h, unsigned int rounds)
{
	while (rounds--)
		loop_step(h->loop, false);
}

uint16_t host_cmd(struct host *h, unsigned int qid, struct nvme_cmd *cmd, uint32_t *dw0)
{
	struct nvme_cqe cqe;
	uint16_t cid = host_put(h, qid, cmd);

	host_ring(h, qid);
	host_wait(h, qid, &cqe);
	CHECK(cqe.cid == cid && cqe.sqid == qid);
	CHECK(cqe.sqhd == h->q[qid].sq_tail);
	if (dw0)
		*dw0 = cqe.dw0;
	return (cqe.status >> 1) & NVME_SC_CODE;
}

uint16_t host_identify(struct host *h, unsigned int cns, uint32_t nsid, uint64_t buf)
{
	struct nvme_cmd cmd = {.opcode = NVME_ADM_IDENTIFY, .nsid = nsid, .dptr = {buf}, .cdw10 = cns};

	return host_cmd(h, 0, &cmd, NULL);
}

struct nvme_cmd rw_cmd(unsigned int op, uint64_t slba, unsigned int blocks, uint64_t prp1, uint64_t prp2)
{
	return (struct nvme_cmd){.opcode = (uint8_t)op,
				 .nsid = 1,
				 .dptr = {prp1, prp2},
				 .cdw10 = (uint32_t)slba,
				 .cdw11 = (uint32_t)(slba >> 32),
				 .cdw12 = blocks - 1};
}

/* buf is page aligned; at most two pages. */
uint16_t host_rw(struct host *h, unsigned int qid, unsigned int op, uint64_t slba, unsigned int blocks, uint64_t buf)
{
	struct nvme_cmd cmd = rw_cmd(op, slba, blocks, buf, buf + HOST_PAGE);

	return host_cmd(h, qid, &cmd, NULL);
}
