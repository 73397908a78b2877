/* SPDX-License-Identifier: BSD-3-Clause */
/* 6: the NVM command set. */
#include <errno.h>
#include <string.h>

#include "devices/nvme/nvme.h"

#define SYNC_IOV     256
#define VERIFY_CHUNK NVME_BUF_SMALL
#define CDW12_FUA    BIT(30)
#define CDW12_DEAC   BIT(25)

static uint64_t cmd_slba(const struct nvme_cmd *cmd)
{
	return (uint64_t)cmd->cdw11 << 32 | cmd->cdw10;
}

/* NLB is 0's based. */
static uint64_t cmd_blocks(const struct nvme_cmd *cmd)
{
	return (cmd->cdw12 & 0xffff) + 1;
}

static uint64_t cmd_bytes(const struct nvme_req *r)
{
	return cmd_blocks(&r->cmd) << r->ns->shift;
}

static uint64_t cmd_offset(const struct nvme_req *r)
{
	return cmd_slba(&r->cmd) << r->ns->shift;
}

/* What went wrong with the file, as the host of a disk knows it (figures 127 and 130). */
static uint16_t disk_status(struct nvme *c, int error, bool write)
{
	switch (error) {
	case 0:
		return NVME_OK;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return NVME_CAPACITY_EXCEEDED;
	case -ENOMEM:
		return NVME_INTERNAL_ERROR;
	default:
		c->count.media_errors++;
		return write ? NVME_WRITE_FAULT : NVME_READ_ERROR;
	}
}

static int fail(struct nvme_req *r, uint16_t status)
{
	nvme_req_put(r);
	return status;
}

/* ---- read ---- */
static void count_read(struct nvme *c, uint64_t bytes)
{
	c->count.reads++;
	c->count.read_blocks += bytes / 512;
}

static void read_finish(struct nvme_req *r, int error)
{
	struct nvme *c = r->c;
	uint16_t status = disk_status(c, error, false);

	if (!status && r->blk.op == BLOCK_FLUSH) {
		nvme_req_submit(r, BLOCK_READ, cmd_offset(r), cmd_bytes(r));
		return;
	}
	if (!status)
		status = nvme_sg_write(c, &r->sg, r->buf, &r->cmd, r->sqid);
	if (!status)
		count_read(c, cmd_bytes(r));
	nvme_req_complete(r, status, 0);
}

static int cmd_read(struct nvme *c, struct nvme_req *r)
{
	uint64_t bytes = cmd_bytes(r);
	bool fua = r->cmd.cdw12 & CDW12_FUA;
	struct iovec iov[SYNC_IOV];
	unsigned int n = SYNC_IOV;
	uint16_t status;
	int rc;

	status = nvme_sg_map(c, &r->sg, &r->cmd, r->sqid, bytes, false);
	if (status)
		return fail(r, status);
	rc = nvme_sg_iov(c, &r->sg, true, iov, &n, &r->cmd, r->sqid);
	if (rc == -EFAULT)
		return fail(r, NVME_DATA_TRANSFER_ERROR);
	if (!rc && !fua && block_try_readv(r->ns->blk, iov, n, cmd_offset(r), bytes) == 0) {
		nvme_sg_done(c, &r->sg, true, &r->cmd, r->sqid);
		count_read(c, bytes);
		return fail(r, NVME_OK);
	}
	if (nvme_req_buf(r, bytes))
		return fail(r, NVME_INTERNAL_ERROR);
	r->finish = read_finish;
	/* 6.9: with FUA the data comes from the medium, so what the cache still holds goes there first. */
	if (fua)
		nvme_req_submit(r, BLOCK_FLUSH, 0, 0);
	else
		nvme_req_submit(r, BLOCK_READ, cmd_offset(r), bytes);
	return NVME_ASYNC;
}

/* ---- write ---- */
static void count_write(struct nvme *c, uint64_t bytes)
{
	c->count.writes++;
	c->count.written_blocks += bytes / 512;
}

static void write_finish(struct nvme_req *r, int error)
{
	if (!error)
		count_write(r->c, cmd_bytes(r));
	nvme_req_complete(r, disk_status(r->c, error, true), 0);
}

static int cmd_write(struct nvme *c, struct nvme_req *r)
{
	uint64_t bytes = cmd_bytes(r);
	bool fua = (r->cmd.cdw12 & CDW12_FUA) || !c->feat.wce;
	struct iovec iov[SYNC_IOV];
	unsigned int n = SYNC_IOV;
	uint16_t status;
	int rc;

	if (r->ns->readonly)
		return fail(r, NVME_WRITE_PROTECTED);
	status = nvme_sg_map(c, &r->sg, &r->cmd, r->sqid, bytes, true);
	if (status)
		return fail(r, status);
	if (!fua) {
		rc = nvme_sg_iov(c, &r->sg, false, iov, &n, &r->cmd, r->sqid);
		if (rc == -EFAULT)
			return fail(r, NVME_DATA_TRANSFER_ERROR);
		if (!rc)
			rc = block_try_writev(r->ns->blk, iov, n, cmd_offset(r), bytes);
		if (!rc) {
			nvme_sg_done(c, &r->sg, false, &r->cmd, r->sqid);
			count_write(c, bytes);
			return fail(r, NVME_OK);
		}
		if (rc != -EAGAIN && rc != -E2BIG && rc != -EFAULT)
			return fail(r, disk_status(c, rc, true));
	}
	if (nvme_req_buf(r, bytes))
		return fail(r, NVME_INTERNAL_ERROR);
	status = nvme_sg_read(c, &r->sg, r->buf, &r->cmd, r->sqid);
	if (status)
		return fail(r, status);
	r->finish = write_finish;
	r->blk.fua = fua;
	nvme_req_submit(r, BLOCK_WRITE, cmd_offset(r), bytes);
	return NVME_ASYNC;
}

/* ---- compare ---- */
static uint16_t compare_data(struct nvme_req *r)
{
	char host[4096];
	const char *disk = r->buf;

	for (unsigned int i = 0; i < r->sg.n; i++) {
		const struct nvme_seg *s = &r->sg.v[i];
		struct dma_tag tag = nvme_tag(&r->cmd, r->sqid, s->part);

		tag.given = r->sg.given;
		for (uint32_t at = 0; at < s->len;) {
			uint32_t n = MIN(s->len - at, (uint32_t)sizeof(host));

			if (nvme_mem_read(r->c, s->iova + at, host, n, &tag))
				return NVME_DATA_TRANSFER_ERROR;
			if (memcmp(host, disk, n))
				return NVME_COMPARE_FAILURE;
			disk += n;
			at += n;
		}
	}
	return NVME_OK;
}

static void compare_finish(struct nvme_req *r, int error)
{
	uint16_t status = disk_status(r->c, error, false);

	if (!status)
		status = compare_data(r);
	nvme_req_complete(r, status, 0);
}

static int cmd_compare(struct nvme *c, struct nvme_req *r)
{
	uint64_t bytes = cmd_bytes(r);
	uint16_t status = nvme_sg_map(c, &r->sg, &r->cmd, r->sqid, bytes, true);
	struct iovec iov;

	if (status)
		return fail(r, status);
	if (nvme_req_buf(r, bytes))
		return fail(r, NVME_INTERNAL_ERROR);
	iov = (struct iovec){r->buf, bytes};
	if (block_try_readv(r->ns->blk, &iov, 1, cmd_offset(r), bytes) == 0)
		return fail(r, compare_data(r));
	r->finish = compare_finish;
	nvme_req_submit(r, BLOCK_READ, cmd_offset(r), bytes);
	return NVME_ASYNC;
}

/* ---- verify: reads and drops, a piece at a time because MDTS does not apply ---- */
static void verify_next(struct nvme_req *r)
{
	uint64_t at = (uint64_t)r->step * VERIFY_CHUNK;

	r->step++;
	nvme_req_submit(r, BLOCK_READ, cmd_offset(r) + at, MIN(cmd_bytes(r) - at, (uint64_t)VERIFY_CHUNK));
}

static void verify_finish(struct nvme_req *r, int error)
{
	if (!error && (uint64_t)r->step * VERIFY_CHUNK < cmd_bytes(r))
		verify_next(r);
	else
		nvme_req_complete(r, disk_status(r->c, error, false), 0);
}

static int cmd_verify(struct nvme *c, struct nvme_req *r)
{
	if (nvme_req_buf(r, VERIFY_CHUNK))
		return fail(r, NVME_INTERNAL_ERROR);
	r->finish = verify_finish;
	verify_next(r);
	return NVME_ASYNC;
}

/* ---- write zeroes ---- */
static void simple_finish(struct nvme_req *r, int error)
{
	nvme_req_complete(r, disk_status(r->c, error, true), 0);
}

static int cmd_write_zeroes(struct nvme *c, struct nvme_req *r)
{
	if (r->ns->readonly)
		return fail(r, NVME_WRITE_PROTECTED);
	r->finish = simple_finish;
	r->blk.fua = (r->cmd.cdw12 & CDW12_FUA) || !c->feat.wce;
	r->blk.punch = r->cmd.cdw12 & CDW12_DEAC;
	nvme_req_submit(r, BLOCK_ZERO, cmd_offset(r), cmd_bytes(r));
	return NVME_ASYNC;
}

/* ---- flush: one namespace or, in turn, all of them ---- */
static void flush_finish(struct nvme_req *r, int error)
{
	struct nvme *c = r->c;

	if (!error && r->cmd.nsid == NVME_NSID_ALL && ++r->step < c->nns) {
		r->ns = &c->ns[r->step];
		nvme_req_submit(r, BLOCK_FLUSH, 0, 0);
		return;
	}
	nvme_req_complete(r, disk_status(c, error, true), 0);
}

static int cmd_flush(struct nvme *c, struct nvme_req *r)
{
	r->finish = flush_finish;
	nvme_req_submit(r, BLOCK_FLUSH, 0, 0);
	return NVME_ASYNC;
}

/* ---- dataset management: deallocates range after range ---- */
static unsigned int dsm_count(const struct nvme_req *r)
{
	return (r->cmd.cdw10 & 0xff) + 1;
}

static void dsm_finish(struct nvme_req *r, int error)
{
	const struct nvme_dsm_range *range = r->buf;

	while (!error && r->step < dsm_count(r) && !range[r->step].nlb)
		r->step++;
	if (error || r->step == dsm_count(r)) {
		nvme_req_complete(r, disk_status(r->c, error, true), 0);
		return;
	}
	range += r->step++;
	nvme_req_submit(r, BLOCK_DISCARD, range->slba << r->ns->shift, (uint64_t)range->nlb << r->ns->shift);
}

static int cmd_dsm(struct nvme *c, struct nvme_req *r)
{
	size_t bytes = dsm_count(r) * sizeof(struct nvme_dsm_range);
	const struct nvme_dsm_range *range;
	bool any = false;
	uint16_t status;

	status = nvme_sg_map(c, &r->sg, &r->cmd, r->sqid, bytes, true);
	if (status)
		return fail(r, status);
	if (nvme_req_buf(r, bytes))
		return fail(r, NVME_INTERNAL_ERROR);
	status = nvme_sg_read(c, &r->sg, r->buf, &r->cmd, r->sqid);
	if (status)
		return fail(r, status);
	range = r->buf;
	for (unsigned int i = 0; i < dsm_count(r); i++) {
		if (range[i].slba > r->ns->nlb || range[i].nlb > r->ns->nlb - range[i].slba)
			return fail(r, NVME_LBA_RANGE);
		any |= range[i].nlb != 0;
	}
	/* 6.7: only the Deallocate attribute does anything; the others are hints. */
	if (!(r->cmd.cdw11 & BIT(2)) || !any)
		return fail(r, NVME_OK);
	if (r->ns->readonly)
		return fail(r, NVME_WRITE_PROTECTED);
	r->finish = dsm_finish;
	/* Ends in finish too, so the first step is as the others. Something is submitted: not every range is empty. */
	dsm_finish(r, 0);
	return NVME_ASYNC;
}

/* ---- the table ---- */
struct io_op {
	int (*run)(struct nvme *c, struct nvme_req *r); /* ends or submits r */
	bool lba;					/* CDW10-12 give a range of blocks */
	bool data;					/* as many bytes pass the data pointer: MDTS */
	bool all;					/* NSID may be FFFFFFFFh */
};

static const struct io_op io_ops[256] = {
    [NVME_IO_FLUSH] = {.run = cmd_flush, .all = true},
    [NVME_IO_WRITE] = {.run = cmd_write, .lba = true, .data = true},
    [NVME_IO_READ] = {.run = cmd_read, .lba = true, .data = true},
    [NVME_IO_COMPARE] = {.run = cmd_compare, .lba = true, .data = true},
    [NVME_IO_WRITE_ZEROES] = {.run = cmd_write_zeroes, .lba = true},
    [NVME_IO_DSM] = {.run = cmd_dsm},
    [NVME_IO_VERIFY] = {.run = cmd_verify, .lba = true},
};

int nvme_io(struct nvme *c, struct nvme_sq *sq, const struct nvme_cmd *cmd)
{
	const struct io_op *op = &io_ops[cmd->opcode];
	struct nvme_ns *ns = nvme_ns_find(c, cmd->nsid);
	struct nvme_req *r;
	uint64_t bytes;

	if (!op->run)
		return NVME_INVALID_OPCODE;
	if (NVME_FUSE(cmd->flags))
		return NVME_INVALID_FIELD;
	if (!ns && op->all && cmd->nsid == NVME_NSID_ALL)
		ns = &c->ns[0];
	if (!ns)
		return NVME_INVALID_NAMESPACE;
	if (op->lba && (cmd_slba(cmd) >= ns->nlb || cmd_blocks(cmd) > ns->nlb - cmd_slba(cmd)))
		return NVME_LBA_RANGE;
	bytes = cmd_blocks(cmd) << ns->shift;
	if (op->data && bytes > c->max_bytes)
		return NVME_INVALID_FIELD;
	if (op->data)
		c->turn_bytes += bytes;
	r = nvme_req_get(c, sq, cmd);
	if (!r)
		return NVME_INTERNAL_ERROR;
	r->ns = ns;
	r->blk.fua = r->blk.punch = false;
	return op->run(c, r);
}
