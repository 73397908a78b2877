/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dma-buf: a descriptor that stands for memory of a device, to be mapped with IOMMU_IOAS_MAP_FILE. What it maps is
 * peer memory (mm/peer.h): the exporter takes it back when it has to, and closing the descriptor takes nothing back.
 */
#ifndef PINFOLD_IOMMUFD_DMABUF_H
#define PINFOLD_IOMMUFD_DMABUF_H

#include <stdint.h>

#include "uapi/ucall.h"

struct dmabuf;
struct mm_owner;
struct pages;

struct dmabuf_ops {
	/*
	 * [start, start + len), page aligned and within the size, as pages whose client address is start. 0, -ENODEV
	 * (taken back, at present or for good), -EOPNOTSUPP (more than one range: a kernel cannot map that either),
	 * -ENOMEM.
	 */
	int (*pages)(struct dmabuf *b, uint64_t start, uint64_t len, struct mm_owner *who, struct pages **p);
	void (*release)(struct dmabuf *b); /* the last descriptor is closed: frees it */
};

struct dmabuf {
	struct ufile file;
	const struct dmabuf_ops *ops;
	uint64_t size; /* whole pages */
};

void dmabuf_init(struct dmabuf *b, const struct dmabuf_ops *ops, uint64_t size);
struct dmabuf *dmabuf_of(struct ufile *f); /* NULL: it is none */

#endif
