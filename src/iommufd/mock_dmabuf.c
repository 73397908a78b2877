/* SPDX-License-Identifier: BSD-3-Clause */
/* The test interface's dma-bufs: memory that is taken back when the test says so. As in Linux 6.19. */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "iommufd/dmabuf.h"
#include "iommufd/mock.h"
#include "mm/peer.h"

#define PAGES_MAX 512

/* What is mapped outlives the descriptor. So it goes when both have gone. */
struct mock_dmabuf {
	struct dmabuf buf;
	struct list node; /* m->mock_dmabufs */
	struct peer peer;
	char *memory;
	bool revoked, closed;
};

static struct mock_dmabuf *to_mock(struct dmabuf *b)
{
	return container_of(b, struct mock_dmabuf, buf);
}

static char *view(struct peer *p, uint64_t off, uint64_t *contig)
{
	return container_of(p, struct mock_dmabuf, peer)->memory + off;
}

static int no_registers(struct peer *p, uint64_t off, void *buf, uint64_t len)
{
	return -EIO;
}

static int no_registers_write(struct peer *p, uint64_t off, const void *buf, uint64_t len)
{
	return -EIO;
}

static bool everybody(struct peer *p, const void *initiator)
{
	return true;
}

static const struct peer_ops peer_ops = {
    .view = view, .read = no_registers, .write = no_registers_write, .admits = everybody};

static void mock_free(struct mock_dmabuf *d)
{
	list_del(&d->node);
	peer_fini(&d->peer);
	munmap(d->memory, d->peer.size);
	free(d);
}

static void reap(struct iommufd *m, bool all)
{
	struct mock_dmabuf *d, *tmp;

	list_for_each_safe (d, tmp, &m->mock_dmabufs, node)
		if (all || (d->closed && list_empty(&d->peer.pages)))
			mock_free(d);
}

void mock_dmabufs_fini(struct iommufd *m)
{
	reap(m, true);
}

static int mock_pages(struct dmabuf *b, uint64_t start, uint64_t len, struct mm_owner *who, struct pages **p)
{
	struct mock_dmabuf *d = to_mock(b);

	return d->revoked ? -ENODEV : pages_new_peer(&d->peer, start, len, start, false, who, p);
}

static void mock_release(struct dmabuf *b)
{
	struct mock_dmabuf *d = to_mock(b);

	d->closed = true;
	if (list_empty(&d->peer.pages))
		mock_free(d);
}

static const struct dmabuf_ops dmabuf_ops = {.pages = mock_pages, .release = mock_release};

long mock_dmabuf_get(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	uint64_t size = ALIGN_UP((uint64_t)cmd->dmabuf_get.length, PF_PAGE_SIZE);
	struct mock_dmabuf *d;
	int err;

	if (!size || size > PAGES_MAX * PF_PAGE_SIZE)
		return -EINVAL;
	reap(k->ctx->m, false);
	d = mem_calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->memory = mem_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (d->memory == MAP_FAILED) {
		free(d);
		return -ENOMEM;
	}
	dmabuf_init(&d->buf, &dmabuf_ops, size);
	peer_init(&d->peer, &peer_ops, size, MOCK_BDF);
	list_add_tail(&k->ctx->m->mock_dmabufs, &d->node);
	err = ucall_install(k->c, &d->buf.file);
	if (err)
		ufile_put(&d->buf.file);
	return err;
}

long mock_dmabuf_revoke(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct dmabuf *b;
	struct ufile *f;
	int err;

	err = ucall_get_file(k->c, cmd->dmabuf_revoke.dmabuf_fd, &f);
	if (err)
		return err;
	b = dmabuf_of(f);
	if (!b)
		return -EINVAL;
	if (b->ops != &dmabuf_ops)
		return -EOPNOTSUPP;
	to_mock(b)->revoked = cmd->dmabuf_revoke.revoked;
	/* Whatever the test says, what is mapped is gone (dma_buf_move_notify). */
	peer_revoke(&to_mock(b)->peer);
	return 0;
}
