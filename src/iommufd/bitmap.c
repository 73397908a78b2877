/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HWPT_GET_DIRTY_BITMAP: dirty pages as bits in the caller's memory. Answers follow Linux 6.12
 * drivers/iommu/iommufd/{io_pagetable,iova_bitmap}.c: bits are only set, bit 0 stands for the first page of the range
 * wherever the bitmap starts, a page of bitmap memory that cannot be reached is passed over, and what lies behind the
 * first hole of the range is not looked at.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommufd/internal.h"

/*
 * Bitmaps of this many bytes and more are reached as pages, which the broker sees as the caller does; what is smaller,
 * and what is no memory that can be had so, is copied in and out.
 */
#define BULK_MIN   (64u << 10)
#define BULK_BYTES (32u << 10) /* of a part: the cache holds it while it is worked on */

/* A part of the caller's bitmap: BULK_BYTES of pages, or of one page, or less at its end. */
struct chunk {
	uint64_t addr; /* of its first byte */
	uint64_t iova; /* of that byte's first bit */
	uint64_t bytes;
	unsigned int shift;  /* of the page that a bit stands for */
	bool any, bulk;	     /* something is dirty; the bytes are reached as pages */
	struct pages *pages; /* of the whole bitmap, or NULL */
	uint64_t bits[BULK_BYTES / 8], dirty[BULK_BYTES / 8];
};

static void note(void *ctx, uint64_t iova, uint64_t len)
{
	struct chunk *c = ctx;

	(void)iova;
	(void)len;
	c->any = true;
}

static void set_bits(void *ctx, uint64_t iova, uint64_t len)
{
	struct chunk *c = ctx;
	uint64_t end = c->bytes * 8, first = iova <= c->iova ? 0 : (iova - c->iova) >> c->shift;
	uint64_t last = (iova + (len - 1) - c->iova) >> c->shift;

	for (uint64_t i = first; i <= last && i < end; i++)
		((uint8_t *)c->bits)[i / 8] |= 1u << i % 8;
}

static int check_range(struct ioas *io, const struct iommu_hwpt_get_dirty_bitmap *cmd)
{
	uint64_t last, align = ioas_alignment(io);

	if (!cmd->length)
		return -EINVAL;
	if (add_overflows(cmd->iova, cmd->length - 1, &last))
		return -EOVERFLOW;
	if ((cmd->iova | (last + 1)) & (align - 1))
		return -EINVAL;
	if (!cmd->page_size || (cmd->iova | (last + 1)) & (cmd->page_size - 1))
		return -EINVAL;
	return 0;
}

/* How many bytes are mapped without a gap from iova on, len at most. */
static uint64_t mapped_run(struct ioas *io, uint64_t iova, uint64_t len)
{
	struct ioas_area_info a;
	uint64_t at = iova;

	while (at - iova < len && ioas_next(io, at, &a) && a.iova <= at) {
		if (a.iova + (a.len - 1) - iova >= len - 1)
			return len;
		at = a.iova + a.len;
	}
	return at - iova;
}

/* The IOVA bytes that so many bytes of bitmap stand for: the pages may be as large as the address space. */
static uint64_t span_of(uint64_t bytes, unsigned int shift)
{
	return bytes * 8 > UINT64_MAX >> shift ? UINT64_MAX : bytes * 8 << shift;
}

static bool chunk_is_bulk(const struct chunk *c, const struct domain *d, uint64_t len)
{
	uint64_t smallest = domain_config(d)->pgsizes & -domain_config(d)->pgsizes;

	return c->pages && IS_ALIGNED(c->iova | len, smallest) &&
	       pages_sound(c->pages, c->addr - pages_va(c->pages), c->bytes, true);
}

/* Cuts the next chunk off [iova, iova + len); returns the IOVA bytes that it stands for. */
static uint64_t chunk_cut(struct chunk *c, const struct domain *d, const struct iommu_hwpt_get_dirty_bitmap *cmd,
			  uint64_t iova, uint64_t len)
{
	uint64_t rest = DIV_ROUND_UP(DIV_ROUND_UP(len, 1ull << c->shift), 8), n;

	c->addr = cmd->data + ((iova - cmd->iova) >> c->shift) / 8;
	c->iova = iova;
	c->any = false;
	c->bytes = MIN(rest, (uint64_t)BULK_BYTES);
	n = MIN(len, span_of(c->bytes, c->shift));
	c->bulk = chunk_is_bulk(c, d, n);
	if (c->bulk)
		return n;
	c->bytes = MIN(rest, PF_PAGE_SIZE - c->addr % PF_PAGE_SIZE);
	return MIN(len, span_of(c->bytes, c->shift));
}

/* What is clean for the caller from now on. A leaf of the table that lies on both sides of a border stays dirty. */
static void clear(struct domain *d, uint64_t iova, uint64_t end)
{
	if (iova < end)
		domain_read_dirty(d, iova, end - iova, false, NULL, NULL);
}

/* Nobody got the bits. */
static void chunk_take_back(const struct chunk *c, struct domain *d)
{
	for (uint64_t i = 0; i < c->bytes * 8; i++)
		if (c->dirty[i / 64] >> i % 64 & 1)
			domain_mark_dirty(d, c->iova + (i << c->shift), 1ull << c->shift);
}

/* Hands the bits of [iova, iova + n) over. The caller's memory stays untouched where nothing is dirty. */
static int chunk_bulk(struct chunk *c, struct domain *d, uint64_t n, bool keep)
{
	uint64_t off = c->addr - pages_va(c->pages), words = DIV_ROUND_UP(c->bytes, 8);
	int err;

	memset(c->dirty, 0, words * 8);
	if (!domain_read_dirty_bitmap(d, c->iova, n, keep, c->shift, c->dirty))
		return 0;
	err = pages_read(c->pages, off, c->bits, c->bytes);
	for (uint64_t i = 0; i < words; i++)
		c->bits[i] |= c->dirty[i];
	if (!err)
		err = pages_write(c->pages, off, c->bits, c->bytes);
	if (err && !keep)
		chunk_take_back(c, d);
	return err;
}

static int chunk_copy(struct ioctl_call *k, struct chunk *c, struct domain *d, uint64_t n, bool commit)
{
	int err;

	domain_read_dirty(d, c->iova, n, true, note, c);
	if (!c->any)
		return 0;
	err = ucall_copy_in(k->c, c->addr, c->bits, c->bytes);
	if (err || !commit)
		return err;
	domain_read_dirty(d, c->iova, n, true, set_bits, c);
	return ucall_copy_out(k->c, c->addr, c->bits, c->bytes);
}

/*
 * First every byte that may change is asked for, which may start the call anew; with commit, bits are handed over and
 * cleared. Chunks whose bits reach the caller are cleared together.
 */
static int walk(struct ioctl_call *k, struct domain *d, const struct iommu_hwpt_get_dirty_bitmap *cmd, uint64_t len,
		struct chunk *c, bool commit)
{
	bool keep = cmd->flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
	uint64_t handed = cmd->iova, n;
	int ret = 0, err;

	for (uint64_t done = 0; done < len; done += n) {
		n = chunk_cut(c, d, cmd, cmd->iova + done, len - done);
		if (c->bulk)
			err = commit ? chunk_bulk(c, d, n, keep) : 0;
		else
			err = chunk_copy(k, c, d, n, commit);
		/* A page that is not there is passed over. */
		if (err && err != -EFAULT)
			ret = err;
		if (commit && err) {
			if (!keep)
				clear(d, handed, c->iova);
			handed = c->iova + n;
		}
	}
	if (commit && !keep)
		clear(d, handed, cmd->iova + len);
	return ret;
}

/* The memory of a large bitmap, if there is anything to write to it. 0, -ENOMEM or UCALL_AGAIN. */
static int chunk_pages(struct ioctl_call *k, struct chunk *c, struct domain *d,
		       const struct iommu_hwpt_get_dirty_bitmap *cmd, uint64_t len)
{
	uint64_t bytes = DIV_ROUND_UP(DIV_ROUND_UP(len, 1ull << c->shift), 8), first, span;
	int err;

	if (bytes < BULK_MIN || ioas_page_span(cmd->data, bytes, &first, &span))
		return 0;
	for (uint64_t done = 0, n; done < len && !c->any; done += n) {
		c->iova = cmd->iova + done;
		n = MIN(len - done, span_of(BULK_BYTES, c->shift));
		domain_read_dirty(d, c->iova, n, true, note, c);
	}
	if (!c->any)
		return 0;
	err = ucall_get_pages_lazy(k->c, first, span, &c->pages);
	return err == -EFAULT ? 0 : err;
}

long ioctl_hwpt_get_dirty_bitmap(struct ioctl_call *k)
{
	struct iommu_hwpt_get_dirty_bitmap *cmd = k->cmd;
	struct chunk *c;
	struct iommufd_object *o;
	struct hwpt *h;
	uint64_t len;
	int err;

	if (cmd->flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR || cmd->__reserved)
		return -EOPNOTSUPP;
	o = iommufd_object_find(k->ctx, cmd->hwpt_id, OBJECT_HWPT_PAGING);
	if (!o)
		return -ENOENT;
	h = container_of(o, struct hwpt, obj);
	err = check_range(h->ioas->io, cmd);
	if (err)
		return err;
	if (!domain_config(h->d)->dirty)
		return -EOPNOTSUPP;
	if (!domain_dirty_tracking(h->d))
		return 0; /* units refuse to look, and nobody hears of that */
	c = mem_alloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->shift = __builtin_ctzll(cmd->page_size);
	c->any = false;
	c->pages = NULL;
	len = mapped_run(h->ioas->io, cmd->iova, cmd->length);
	err = chunk_pages(k, c, h->d, cmd, len);
	if (!err)
		err = walk(k, h->d, cmd, len, c, false);
	if (!err)
		err = walk(k, h->d, cmd, len, c, true);
	pages_put(c->pages);
	free(c);
	return err;
}
