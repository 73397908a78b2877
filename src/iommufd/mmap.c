/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of units that the user maps from the context's descriptor: registers of a queue that a guest drives by itself.
 * Answers follow Linux 6.17 drivers/iommu/iommufd/main.c, but that what is mapped does not keep its owner: the pages of
 * an owner that is gone are nobody's.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "iommufd/internal.h"
#include "proto/channel.h"

struct iommufd_mmap {
	struct list node; /* ctx->mmaps */
	uint64_t off, len;
	void *host;
	int fd;
};

/* Memory that a client cannot cut: what is mapped here is there. */
static int sealed_memory(uint64_t len, void **host)
{
	int fd = memfd_create("iommufd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err = fd < 0 ? -errno : 0;

	if (err)
		return err == -ENFILE ? -EMFILE : err;
	if (ftruncate(fd, len) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto fail;
	*host = mem_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*host == MAP_FAILED)
		goto fail;
	return fd;
fail:
	close(fd);
	return -ENOMEM;
}

int iommufd_mmap_new(struct iommufd_ctx *ctx, uint64_t len, struct iommufd_mmap **out, void **host, uint64_t *off)
{
	struct iommufd_mmap *m = mem_alloc(sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->fd = sealed_memory(len, &m->host);
	if (m->fd < 0) {
		int err = m->fd;

		free(m);
		return err;
	}
	m->len = len;
	m->off = REGION_OFFSET_MAGIC + ctx->mmap_next; /* by which a client's mmap is known to be one of ours */
	ctx->mmap_next += len;
	list_add_tail(&ctx->mmaps, &m->node);
	*out = m;
	*host = m->host;
	*off = m->off;
	return 0;
}

void iommufd_mmap_free(struct iommufd_mmap *m)
{
	list_del(&m->node);
	munmap(m->host, m->len);
	close(m->fd);
	free(m);
}

int iommufd_mmap_map(struct iommufd_ctx *ctx, uint64_t off, uint64_t len, int prot, bool shared, struct umap *map)
{
	struct iommufd_mmap *m;

	if (!shared)
		return -EINVAL;
	if (prot & PROT_EXEC)
		return -EPERM;
	list_for_each (m, &ctx->mmaps, node)
		if (m->off == off && m->len == len) {
			*map = (struct umap){.kind = UMAP_FILE, .fd = m->fd};
			return 0;
		}
	return -ENXIO;
}
