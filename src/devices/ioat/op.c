/* SPDX-License-Identifier: BSD-3-Clause */
/* One descriptor: reading it, checking it, moving its bytes. */
#include "base/guard.h"
#include "devices/ioat/ioat.h"

/* ---- reading and checking ---- */
static bool wraps(uint64_t addr, uint32_t size)
{
	return size - 1 > UINT64_MAX - addr;
}

uint32_t ioat_op_error(const struct ioat_desc *d, unsigned int xfercap)
{
	uint32_t op = IOAT_CTL_OP(d->ctl), flags = d->ctl & 0xffffff;

	if (op > IOAT_OP_FILL || (flags & ~(op == IOAT_OP_COPY ? IOAT_CTL_COPY_MASK : IOAT_CTL_FILL_MASK)))
		return IOAT_ERR_CONTROL;
	if (!d->size || d->size > 1ULL << xfercap)
		return IOAT_ERR_LENGTH;
	if (flags & IOAT_CTL_NULL)
		return 0;
	if (op == IOAT_OP_COPY && wraps(d->src, d->size))
		return IOAT_ERR_SRC_ADDR;
	return wraps(d->dst, d->size) ? IOAT_ERR_DST_ADDR : 0;
}

static void wrap_emit(struct ioat_chan *c, uint32_t err)
{
	bool write = err == IOAT_ERR_DST_ADDR;
	struct dma_tag tag = ioat_tag(c, write ? "destination" : "source");

	dma_fault_emit(c->dev->f.dma, IOVA(write ? c->desc.dst : c->desc.src), c->desc.size, write, DMA_FAULT_WRAP,
		       &tag);
}

uint32_t ioat_op_fetch(struct ioat_chan *c)
{
	struct dma_tag tag;
	uint32_t err;

	c->cur = c->next;
	if (c->cur & (IOAT_DESC_ALIGN - 1))
		return c->first ? IOAT_ERR_CHAINADDR : IOAT_ERR_NEXT_ADDR;
	tag = ioat_tag(c, "fetch");
	if (pci_dma_read(&c->dev->f, c->cur, &c->desc, sizeof(c->desc), &tag))
		return IOAT_ERR_DESC;
	c->first = false;
	c->next = c->desc.next;
	c->moved = 0;
	err = ioat_op_error(&c->desc, c->dev->xfercap);
	if (err & (IOAT_ERR_SRC_ADDR | IOAT_ERR_DST_ADDR))
		wrap_emit(c, err);
	else if (c->desc.ctl & IOAT_CTL_NULL)
		c->moved = c->desc.size;
	else if (!err)
		inject_dma(&c->dev->f, c->index, &c->desc.dst);
	return err;
}

/* ---- moving ---- */
/* Through a buffer: what cannot be reached as host memory, and what has to be found out about a page that is gone. */
static uint32_t copy_bounced(struct ioat_chan *c, uint64_t src, uint64_t dst, uint32_t len)
{
	struct dma_tag from = ioat_tag(c, "source"), to = ioat_tag(c, "destination");
	struct ioat *d = c->dev;

	while (len) {
		uint32_t n = MIN(len, (uint32_t)sizeof(d->bounce));

		if (pci_dma_read(&d->f, src, d->bounce, n, &from))
			return IOAT_ERR_READ_DATA;
		if (pci_dma_write(&d->f, dst, d->bounce, n, &to))
			return IOAT_ERR_WRITE_DATA;
		src += n;
		dst += n;
		len -= n;
	}
	return 0;
}

/* From host memory to host memory; what is in both lists has the same length. True: all of it. */
static bool copy_iovs(const struct iovec *s, const struct iovec *t, uint32_t len)
{
	size_t so = 0, to = 0;

	while (len) {
		size_t n = MIN(s->iov_len - so, t->iov_len - to);

		if (guard_copy((char *)t->iov_base + to, (char *)s->iov_base + so, n))
			return false;
		len -= n;
		so += n;
		to += n;
		if (so == s->iov_len)
			s++, so = 0;
		if (to == t->iov_len)
			t++, to = 0;
	}
	return true;
}

static uint32_t copy_slice(struct ioat_chan *c, uint32_t len)
{
	struct dma_tag from = ioat_tag(c, "source"), to = ioat_tag(c, "destination");
	uint64_t src = c->desc.src + c->moved, dst = c->desc.dst + c->moved;
	unsigned int ns = IOAT_SLICE_IOVS, nt = IOAT_SLICE_IOVS;
	struct iovec s[IOAT_SLICE_IOVS], t[IOAT_SLICE_IOVS];
	struct dma_dev *dma = c->dev->f.dma;
	int rc;

	rc = dma_iov(dma, IOVA(src), len, false, s, &ns, &from);
	if (rc == -EFAULT)
		return IOAT_ERR_READ_DATA;
	if (!rc)
		rc = dma_iov(dma, IOVA(dst), len, true, t, &nt, &to);
	if (rc == -EFAULT)
		return IOAT_ERR_WRITE_DATA;
	if (rc || !copy_iovs(s, t, len))
		return copy_bounced(c, src, dst, len);
	dma_iov_done(dma, IOVA(src), len, false, &from);
	dma_iov_done(dma, IOVA(dst), len, true, &to);
	return 0;
}

/* The pattern begins with the destination, wherever that lies. A slice and the buffer are multiples of its length. */
static uint32_t fill_slice(struct ioat_chan *c, uint32_t len)
{
	struct dma_tag to = ioat_tag(c, "destination");
	uint64_t dst = c->desc.dst + c->moved;
	struct ioat *d = c->dev;

	if (d->pattern != c->desc.src) {
		d->pattern = c->desc.src;
		for (size_t i = 0; i < sizeof(d->fill); i += sizeof(d->pattern))
			__builtin_memcpy(d->fill + i, &d->pattern, sizeof(d->pattern));
	}
	while (len) {
		uint32_t n = MIN(len, (uint32_t)sizeof(d->fill));

		if (pci_dma_write(&d->f, dst, d->fill, n, &to))
			return IOAT_ERR_WRITE_DATA;
		dst += n;
		len -= n;
	}
	return 0;
}

uint32_t ioat_op_slice(struct ioat_chan *c, uint32_t *n)
{
	uint32_t len = MIN(c->desc.size - c->moved, IOAT_SLICE);
	uint32_t err;

	err = IOAT_CTL_OP(c->desc.ctl) == IOAT_OP_COPY ? copy_slice(c, len) : fill_slice(c, len);
	if (err)
		return err;
	*n = len;
	return 0;
}
