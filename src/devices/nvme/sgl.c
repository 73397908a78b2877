/* SPDX-License-Identifier: BSD-3-Clause */
/* 4.4: Scatter Gather Lists. Addresses and lengths have byte granularity (SGLS of Identify Controller). */
#include "devices/nvme/nvme.h"

#define READ_CHUNK 64 /* descriptors */

struct sgl_walk {
	struct nvme *c;
	struct nvme_sg *sg;
	const struct nvme_cmd *cmd;
	unsigned int sqid;
	uint64_t left; /* bytes not described yet */
	bool host_to_dev;
	unsigned int seen; /* descriptors */
};

static unsigned int sgl_type(const struct nvme_sgl *d)
{
	return d->id >> 4;
}

static bool is_segment(const struct nvme_sgl *d)
{
	return sgl_type(d) == NVME_SGL_SEGMENT || sgl_type(d) == NVME_SGL_LAST_SEGMENT;
}

/* A data block or a bit bucket. SGLS says that a list longer than the data is an error (figure 247). */
static uint16_t sgl_add(struct sgl_walk *w, const struct nvme_sgl *d)
{
	bool bucket = sgl_type(d) == NVME_SGL_BIT_BUCKET;

	if (d->id & 15)
		return NVME_SGL_TYPE; /* subtype: address only; offsets are for fabrics */
	if (!bucket && sgl_type(d) != NVME_SGL_DATA)
		return NVME_SGL_TYPE;
	/* 4.4: on the way to the controller a bit bucket counts for nothing. */
	if (bucket && w->host_to_dev)
		return NVME_OK;
	if (d->len > w->left)
		return NVME_SGL_DATA_LENGTH;
	w->left -= d->len;
	return nvme_sg_add(w->sg, bucket ? 0 : d->addr, d->len, bucket, "SGL data block");
}

static uint16_t sgl_read(struct sgl_walk *w, uint64_t at, struct nvme_sgl *d, unsigned int n)
{
	struct dma_tag tag = nvme_tag(w->cmd, w->sqid, "SGL segment");

	return nvme_mem_read(w->c, at, d, n * sizeof(*d), &tag) ? NVME_DATA_TRANSFER_ERROR : NVME_OK;
}

/* One segment; *seg is replaced by the next, or its type becomes that of a data block when there is none. */
static uint16_t sgl_segment(struct sgl_walk *w, struct nvme_sgl *seg)
{
	struct nvme_sgl d[READ_CHUNK];
	unsigned int n = seg->len / sizeof(d[0]), k;
	uint64_t at = seg->addr;
	bool last = sgl_type(seg) == NVME_SGL_LAST_SEGMENT;

	if (!n || seg->len % sizeof(d[0]) || (seg->id & 15))
		return NVME_INVALID_SGL_SEGMENT;
	seg->id = NVME_SGL_DATA << 4;
	for (; n; n -= k, at += k * sizeof(d[0])) {
		uint16_t rc;

		k = MIN(n, (unsigned int)READ_CHUNK);
		w->seen += k;
		if (w->seen > NVME_SEGS_MAX)
			return NVME_INVALID_SGL_COUNT;
		rc = sgl_read(w, at, d, k);
		for (unsigned int i = 0; !rc && i < k; i++) {
			if (!is_segment(&d[i])) {
				rc = sgl_add(w, &d[i]);
			} else if (i + 1 != k || n != k) {
				rc = NVME_INVALID_SGL_COUNT;
			} else if (last) {
				rc = NVME_INVALID_SGL_SEGMENT;
			} else {
				*seg = d[i];
			}
		}
		if (rc)
			return rc;
	}
	/* 4.4: a segment that is not the last ends with a pointer to the next one. */
	return last || is_segment(seg) ? NVME_OK : NVME_INVALID_SGL_SEGMENT;
}

uint16_t nvme_sgl_map(struct nvme *c, struct nvme_sg *sg, const struct nvme_cmd *cmd, unsigned int sqid, uint64_t len,
		      bool host_to_dev)
{
	struct sgl_walk w = {.c = c, .sg = sg, .cmd = cmd, .sqid = sqid, .left = len, .host_to_dev = host_to_dev};
	struct nvme_sgl d;
	uint16_t rc = NVME_OK;

	_Static_assert(sizeof(d) == sizeof(cmd->dptr), "SGL1 lies where PRP1 and PRP2 do");
	__builtin_memcpy(&d, cmd->dptr, sizeof(d));
	if (!is_segment(&d))
		rc = sgl_add(&w, &d);
	while (!rc && is_segment(&d))
		rc = sgl_segment(&w, &d);
	if (!rc && w.left)
		rc = NVME_SGL_DATA_LENGTH;
	return rc;
}
