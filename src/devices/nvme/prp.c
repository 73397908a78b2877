/* SPDX-License-Identifier: BSD-3-Clause */
/* 4.3: Physical Region Page entries and lists. */
#include "devices/nvme/nvme.h"

#define LIST_CHUNK 512 /* entries read at a time: a list page of 4 KiB */

struct prp_walk {
	struct nvme *c;
	const struct nvme_cmd *cmd;
	unsigned int sqid;
	uint64_t page;
	uint64_t left; /* bytes not described yet */
};

/* Adds n list entries, each a whole page except the last of the transfer. */
static uint16_t prp_add_entries(struct prp_walk *w, struct nvme_sg *sg, const uint64_t *e, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t len = MIN(w->left, w->page);
		uint16_t rc;

		if (e[i] & (w->page - 1))
			return NVME_PRP_OFFSET;
		rc = nvme_sg_add(sg, e[i], len, false, "PRP list entry");
		if (rc)
			return rc;
		w->left -= len;
	}
	return NVME_OK;
}

static uint16_t prp_read(struct prp_walk *w, uint64_t at, uint64_t *e, uint64_t n)
{
	struct dma_tag tag = nvme_tag(w->cmd, w->sqid, "PRP list");

	return nvme_mem_read(w->c, at, e, n * 8, &tag) ? NVME_DATA_TRANSFER_ERROR : NVME_OK;
}

/*
 * A list begins anywhere in its page and ends with the page: if entries are left over, the page's last one points to
 * the next list page. Each page but the last describes at least one entry, so the walk ends.
 */
static uint16_t prp_add_list(struct prp_walk *w, struct nvme_sg *sg, uint64_t list)
{
	uint64_t e[LIST_CHUNK];

	while (w->left) {
		uint64_t slots = (w->page - (list & (w->page - 1))) / 8;
		uint64_t need = (w->left + w->page - 1) / w->page;
		bool chained = need > slots;
		uint64_t take = chained ? slots - 1 : need;
		uint16_t rc;

		while (take) {
			uint64_t n = MIN(take, (uint64_t)LIST_CHUNK);

			rc = prp_read(w, list, e, n);
			if (!rc)
				rc = prp_add_entries(w, sg, e, n);
			if (rc)
				return rc;
			list += n * 8;
			take -= n;
		}
		if (!chained)
			break;
		rc = prp_read(w, list, e, 1);
		if (rc)
			return rc;
		if (e[0] & (w->page - 1))
			return NVME_PRP_OFFSET;
		list = e[0];
	}
	return NVME_OK;
}

uint16_t nvme_prp_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid, uint64_t len)
{
	struct prp_walk w = {.c = c, .cmd = cmd, .sqid = sqid, .page = 1ULL << c->page_shift, .left = len};
	uint64_t prp1 = cmd->dptr[0], prp2 = cmd->dptr[1];
	uint64_t first = MIN(len, w.page - (prp1 & (w.page - 1)));
	uint16_t rc;

	if (prp1 & 3)
		return NVME_PRP_OFFSET;
	rc = nvme_sg_add(sg, prp1, first, false, "PRP1");
	if (rc)
		return rc;
	w.left -= first;
	if (!w.left)
		return NVME_OK;
	if (w.left > w.page) {
		if (prp2 & 7)
			return NVME_PRP_OFFSET;
		return prp_add_list(&w, sg, prp2);
	}
	if (prp2 & (w.page - 1))
		return NVME_PRP_OFFSET;
	return nvme_sg_add(sg, prp2, w.left, false, "PRP2");
}
