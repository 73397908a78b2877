/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommufd/dmabuf.h"

#include <stddef.h>

#include "base/util.h"

static void dmabuf_release(struct ufile *f)
{
	struct dmabuf *b = container_of(f, struct dmabuf, file);

	b->ops->release(b);
}

static const struct ufile_ops dmabuf_file_ops = {.name = "/dmabuf:", .release = dmabuf_release};

void dmabuf_init(struct dmabuf *b, const struct dmabuf_ops *ops, uint64_t size)
{
	ufile_init(&b->file, &dmabuf_file_ops);
	b->ops = ops;
	b->size = size;
}

struct dmabuf *dmabuf_of(struct ufile *f)
{
	return f->ops == &dmabuf_file_ops ? container_of(f, struct dmabuf, file) : NULL;
}
