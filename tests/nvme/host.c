/* SPDX-License-Identifier: BSD-3-Clause */
#include "host.h"

#include <dirent.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"

void host_open_path(struct host *h, const char *path, const char *options)
{
	char spec[256];

	memset(h, 0, sizeof(*h));
	h->disk = -1;
	h->next = HOST_IOVA;
	machine_open(&h->m, HOST_MEM, (1ULL << 48) - 1);
	machine_map(&h->m, HOST_IOVA, 0, HOST_MEM, IOMMU_READ | IOMMU_WRITE);
	snprintf(spec, sizeof(spec), "nvme,path=%s%s%s", path, *options ? "," : "", options);
	machine_plug(&h->m, spec);
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
	machine_unplug(&h->m);
	if (h->live)
		munmap(h->live, MACHINE_PAGE);
	/* Orphans come back, as late as the disk likes. */
	for (unsigned int i = 0; i < 300000 && open_disks(h) > (h->disk >= 0); i++)
		if (!loop_step(h->m.loop, false))
			usleep(100);
	machine_close(&h->m);
	if (h->disk >= 0) {
		close(h->disk);
		unlink(h->path);
	}
}

uint32_t host_reg(struct host *h, unsigned int off)
{
	uint64_t v;

	CHECK(pci_bar_read(h->m.f, 0, off, 4, &v) == 0);
	return (uint32_t)v;
}

void host_set_reg(struct host *h, unsigned int off, uint32_t val)
{
	CHECK(pci_bar_write(h->m.f, 0, off, 4, val) == 0);
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
	return h->m.mem + (iova - HOST_IOVA);
}

static void queue_memory(struct host *h, unsigned int qid, uint32_t sq, uint32_t cq, unsigned int mps)
{
	struct host_queue *q = &h->q[qid];
	uint64_t align = MACHINE_PAGE << mps;

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
	CHECK(pci_bar_write(h->m.f, 0, NVME_REG_ASQ, 8, q->sq) == 0);
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
		loop_step(h->m.loop, true);
}

void host_run(struct host *h, unsigned int rounds)
{
	while (rounds--)
		loop_step(h->m.loop, false);
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
	struct nvme_cmd cmd = rw_cmd(op, slba, blocks, buf, buf + MACHINE_PAGE);

	return host_cmd(h, qid, &cmd, NULL);
}
