/* SPDX-License-Identifier: BSD-3-Clause */
/* 5: the admin command set. */
#include <string.h>

#include "devices/nvme/nvme.h"

/* 5.3 to 5.6 */
#define CREATE_QID(cmd)	  ((cmd)->cdw10 & 0xffff)
#define CREATE_QSIZE(cmd) (((cmd)->cdw10 >> 16) + 1)
#define CREATE_PC(cmd)	  ((cmd)->cdw11 & BIT(0))
#define CREATE_IEN(cmd)	  ((cmd)->cdw11 & BIT(1))
#define CREATE_IV(cmd)	  ((cmd)->cdw11 >> 16)
#define CREATE_CQID(cmd)  ((cmd)->cdw11 >> 16)
#define CREATE_QPRIO(cmd) (((cmd)->cdw11 >> 1) & 3)

/* 4.3: PRPs alone; the data of an admin command is never described by an SGL on PCI Express. */
static uint16_t admin_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, uint64_t len)
{
	uint16_t status;

	nvme_sg_init(sg);
	if (NVME_PSDT(cmd->flags))
		return NVME_INVALID_FIELD;
	if (len > c->max_bytes)
		return NVME_INVALID_FIELD;
	status = nvme_prp_map(c, sg, cmd, 0, len);
	if (!status && sg->n)
		inject_dma(&c->f, 0, &sg->v[0].iova);
	return status;
}

uint16_t nvme_admin_to_host(struct nvme *c, const struct nvme_cmd *cmd, uint64_t len, const void *data, size_t n)
{
	struct nvme_sg sg;
	uint16_t status = admin_map(c, &sg, cmd, len);

	for (unsigned int i = 0; !status && i < sg.n && n; i++) {
		size_t k = MIN(n, (size_t)sg.v[i].len);
		struct dma_tag tag = nvme_tag(cmd, 0, sg.v[i].part);

		if (nvme_mem_write(c, sg.v[i].iova, data, k, &tag))
			status = NVME_DATA_TRANSFER_ERROR;
		data = (const char *)data + k;
		n -= k;
	}
	nvme_sg_fini(&sg);
	return status;
}

uint16_t nvme_admin_from_host(struct nvme *c, const struct nvme_cmd *cmd, uint64_t len, void *data)
{
	struct nvme_sg sg;
	uint16_t status = admin_map(c, &sg, cmd, len);

	if (!status)
		status = nvme_sg_read(c, &sg, data, cmd, 0);
	nvme_sg_fini(&sg);
	return status;
}

/* ---- queues ---- */
static bool qid_offered(const struct nvme *c, unsigned int qid)
{
	return qid >= 1 && qid <= c->queues;
}

/* What both kinds have in common, in the order in which 5.3.1 and 5.4.1 list the errors. */
static uint16_t check_create(const struct nvme *c, const struct nvme_cmd *cmd, unsigned int entry_shift,
			     unsigned int need_shift)
{
	if (CREATE_QSIZE(cmd) < 2 || CREATE_QSIZE(cmd) > NVME_QSIZE_MAX)
		return NVME_QSIZE_INVALID;
	/* CAP.CQR: physically contiguous or not at all; then PRP1 is the base and its page offset is 0. */
	if (!CREATE_PC(cmd))
		return NVME_INVALID_FIELD;
	if (cmd->dptr[0] & ((1ULL << c->page_shift) - 1))
		return NVME_PRP_OFFSET;
	/* 3.1.5: the host says how large entries are before it makes the first I/O queue. */
	return entry_shift == need_shift ? NVME_OK : NVME_INVALID_FIELD;
}

static uint16_t create_cq(struct nvme *c, const struct nvme_cmd *cmd)
{
	unsigned int qid = CREATE_QID(cmd);
	uint16_t status;

	if (!qid_offered(c, qid) || c->cq[qid].live)
		return NVME_QID_INVALID;
	status = check_create(c, cmd, NVME_CC_IOCQES(c->cc), 4);
	if (status)
		return status;
	if (CREATE_IEN(cmd) && CREATE_IV(cmd) >= c->f.msix_n)
		return NVME_INVALID_VECTOR;
	nvme_cq_start(c, qid, cmd->dptr[0], CREATE_QSIZE(cmd), CREATE_IEN(cmd), CREATE_IV(cmd));
	c->io_created = true;
	return NVME_OK;
}

static uint16_t create_sq(struct nvme *c, const struct nvme_cmd *cmd)
{
	unsigned int qid = CREATE_QID(cmd), cqid = CREATE_CQID(cmd);
	uint16_t status;

	if (!qid_offered(c, qid) || c->sq[qid].live)
		return NVME_QID_INVALID;
	/* 5.4.1: a CQID of 0 or out of range is an invalid identifier, one in range without a queue an invalid queue.
	 */
	if (!qid_offered(c, cqid))
		return NVME_QID_INVALID;
	if (!c->cq[cqid].live)
		return NVME_CQ_INVALID;
	status = check_create(c, cmd, NVME_CC_IOSQES(c->cc), 6);
	if (status)
		return status;
	nvme_sq_start(c, qid, cqid, cmd->dptr[0], CREATE_QSIZE(cmd), CREATE_QPRIO(cmd));
	c->io_created = true;
	return NVME_OK;
}

static uint16_t delete_cq(struct nvme *c, const struct nvme_cmd *cmd)
{
	unsigned int qid = CREATE_QID(cmd);

	if (!qid_offered(c, qid) || !c->cq[qid].live)
		return NVME_QID_INVALID;
	if (c->cq[qid].users)
		return NVME_INVALID_QUEUE_DELETION;
	nvme_cq_stop(c, &c->cq[qid]);
	return NVME_OK;
}

/* 5.6: completes when nothing of the queue is in flight any more; entries not fetched by then never are. */
static int delete_sq(struct nvme *c, struct nvme_sq *admin, const struct nvme_cmd *cmd)
{
	unsigned int qid = CREATE_QID(cmd);
	struct nvme_sq *sq;

	if (!qid_offered(c, qid))
		return NVME_QID_INVALID;
	sq = &c->sq[qid];
	if (!sq->live || sq->deleting)
		return NVME_QID_INVALID;
	if (!sq->inflight) {
		nvme_sq_stop(c, sq);
		return NVME_OK;
	}
	sq->deleting = nvme_req_get(c, admin, cmd);
	if (!sq->deleting)
		return NVME_INTERNAL_ERROR;
	list_del(&sq->pending);
	return NVME_ASYNC;
}

/* 5.1: commands at the disk are not called back; bit 0 of the result says so. */
static uint16_t abort_cmd(struct nvme *c, const struct nvme_cmd *cmd, uint32_t *dw0)
{
	*dw0 = (cmd->cdw10 & 0xffff) == 0 && nvme_aer_abort(c, (uint16_t)(cmd->cdw10 >> 16)) ? 0 : 1;
	return NVME_OK;
}

int nvme_admin(struct nvme *c, struct nvme_sq *sq, const struct nvme_cmd *cmd, uint32_t *dw0)
{
	if (NVME_FUSE(cmd->flags))
		return NVME_INVALID_FIELD;
	switch (cmd->opcode) {
	case NVME_ADM_DELETE_SQ:
		return delete_sq(c, sq, cmd);
	case NVME_ADM_CREATE_SQ:
		return create_sq(c, cmd);
	case NVME_ADM_GET_LOG:
		return nvme_get_log(c, cmd);
	case NVME_ADM_DELETE_CQ:
		return delete_cq(c, cmd);
	case NVME_ADM_CREATE_CQ:
		return create_cq(c, cmd);
	case NVME_ADM_IDENTIFY:
		return nvme_identify(c, cmd);
	case NVME_ADM_ABORT:
		return abort_cmd(c, cmd, dw0);
	case NVME_ADM_SET_FEATURES:
		return nvme_set_features(c, cmd, dw0);
	case NVME_ADM_GET_FEATURES:
		return nvme_get_features(c, cmd, dw0);
	case NVME_ADM_AER:
		return nvme_aer_request(c, cmd);
	default:
		/* Keep Alive among them: KAS of Identify Controller is 0. */
		return NVME_INVALID_OPCODE;
	}
}
