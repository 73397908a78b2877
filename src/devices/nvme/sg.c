/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/nvme/nvme.h"

void nvme_sg_init(struct nvme_sg *sg)
{
	sg->v = sg->inl;
	sg->cap = NVME_SEGS_INLINE;
	sg->n = 0;
	sg->len = 0;
	sg->bucket = false;
}

void nvme_sg_fini(struct nvme_sg *sg)
{
	if (sg->v != sg->inl)
		free(sg->v);
	nvme_sg_init(sg);
}

static bool sg_grow(struct nvme_sg *sg)
{
	unsigned int cap = sg->cap * 4;
	struct nvme_seg *v;

	v = sg->v == sg->inl ? malloc(cap * sizeof(*v)) : realloc(sg->v, cap * sizeof(*v));
	if (!v)
		return false;
	if (sg->v == sg->inl)
		memcpy(v, sg->inl, sizeof(sg->inl));
	sg->v = v;
	sg->cap = cap;
	return true;
}

/* len is at most 4 GiB - 1. Neighbours are merged: most buffers are contiguous, and each piece costs a translation. */
uint16_t nvme_sg_add(struct nvme_sg *sg, uint64_t iova, uint64_t len, bool bucket, const char *part)
{
	struct nvme_seg *last = sg->n ? &sg->v[sg->n - 1] : NULL;

	if (!len)
		return NVME_OK;
	sg->len += len;
	if (last && !bucket && !last->bucket && last->iova + last->len == iova && last->iova + last->len != 0 &&
	    (uint64_t)last->len + len <= UINT32_MAX) {
		last->len += (uint32_t)len;
		return NVME_OK;
	}
	if (sg->n == NVME_SEGS_MAX)
		return NVME_INVALID_SGL_COUNT;
	if (sg->n == sg->cap && !sg_grow(sg))
		return NVME_INTERNAL_ERROR;
	sg->v[sg->n++] = (struct nvme_seg){.iova = iova, .len = (uint32_t)len, .bucket = bucket, .part = part};
	sg->bucket |= bucket;
	return NVME_OK;
}

static uint16_t data_pointer_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid,
				 uint64_t len, bool host_to_dev)
{
	switch (NVME_PSDT(cmd->flags)) {
	case 0:
		return nvme_prp_map(c, sg, cmd, sqid, len);
	case 1: /* metadata, which there is none of, in a buffer or in an SGL */
	case 2:
		return nvme_sgl_map(c, sg, cmd, sqid, len, host_to_dev);
	default:
		return NVME_INVALID_FIELD;
	}
}

uint16_t nvme_sg_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid, uint64_t len,
		     bool host_to_dev)
{
	uint16_t status = data_pointer_map(c, sg, cmd, sqid, len, host_to_dev);

	sg->given = dma_dev_moves(c->f.dma);
	if (!status && sg->n)
		inject_dma(&c->f, sqid, &sg->v[0].iova);
	return status;
}

static struct dma_tag sg_tag(const struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid, const char *part)
{
	struct dma_tag tag = nvme_tag(cmd, sqid, part);

	tag.given = sg->given;
	return tag;
}

uint16_t nvme_sg_read(struct nvme *c, const struct nvme_sg *sg, void *dst, const struct nvme_cmd *cmd,
		      unsigned int sqid)
{
	for (unsigned int i = 0; i < sg->n; i++) {
		const struct nvme_seg *s = &sg->v[i];
		struct dma_tag tag = sg_tag(sg, cmd, sqid, s->part);

		if (nvme_mem_read(c, s->iova, dst, s->len, &tag))
			return NVME_DATA_TRANSFER_ERROR;
		dst = (char *)dst + s->len;
	}
	return NVME_OK;
}

uint16_t nvme_sg_write(struct nvme *c, const struct nvme_sg *sg, const void *src, const struct nvme_cmd *cmd,
		       unsigned int sqid)
{
	for (unsigned int i = 0; i < sg->n; i++) {
		const struct nvme_seg *s = &sg->v[i];
		struct dma_tag tag = sg_tag(sg, cmd, sqid, s->part);

		if (!s->bucket && nvme_mem_write(c, s->iova, src, s->len, &tag))
			return NVME_DATA_TRANSFER_ERROR;
		src = (const char *)src + s->len;
	}
	return NVME_OK;
}

int nvme_sg_iov(struct nvme *c, const struct nvme_sg *sg, bool write, struct iovec *iov, unsigned int *n,
		const struct nvme_cmd *cmd, unsigned int sqid)
{
	unsigned int max = *n, used = 0;

	if (sg->bucket || sg->n > max)
		return -E2BIG;
	for (unsigned int i = 0; i < sg->n; i++) {
		const struct nvme_seg *s = &sg->v[i];
		struct dma_tag tag = sg_tag(sg, cmd, sqid, s->part);
		unsigned int k = max - used;
		int rc = k ? nvme_mem_iov(c, s->iova, s->len, write, iov + used, &k, &tag) : -E2BIG;

		if (rc)
			return rc;
		used += k;
	}
	*n = used;
	return 0;
}

void nvme_sg_done(struct nvme *c, const struct nvme_sg *sg, bool write, const struct nvme_cmd *cmd, unsigned int sqid)
{
	for (unsigned int i = 0; i < sg->n; i++) {
		struct dma_tag tag = sg_tag(sg, cmd, sqid, sg->v[i].part);

		nvme_mem_iov_done(c, sg->v[i].iova, sg->v[i].len, write, &tag);
	}
}
