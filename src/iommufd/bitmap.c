/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HWPT_GET_DIRTY_BITMAP: dirty pages as bits in the caller's memory. Answers follow Linux 6.12
 * drivers/iommu/iommufd/{io_pagetable,iova_bitmap}.c: bits are only set, bit 0 stands for the first page of the range
 * wherever the bitmap starts, a page of bitmap memory that cannot be reached is passed over, and what lies behind the
 * first hole of the range is not looked at.
 */
#include <stdlib.h>

#include "iommu/domain.h"
#include "iommufd/internal.h"

/* One page of the caller's memory, or the part of it that the bitmap takes. */
struct chunk {
	uint64_t addr; /* of its first byte */
	uint64_t iova; /* of that byte's first bit */
	uint64_t bytes;
	uint8_t bits[PF_PAGE_SIZE];
	unsigned int shift; /* of the page that a bit stands for */
	bool any;
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
		c->bits[i / 8] |= 1u << i % 8;
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

/* Cuts the next chunk off [iova, iova + len); returns the IOVA bytes that it stands for. */
static uint64_t chunk_cut(struct chunk *c, const struct iommu_hwpt_get_dirty_bitmap *cmd, uint64_t iova, uint64_t len)
{
	uint64_t bit = (iova - cmd->iova) >> c->shift, room;

	c->addr = cmd->data + bit / 8;
	c->iova = iova;
	room = PF_PAGE_SIZE - c->addr % PF_PAGE_SIZE;
	c->bytes = MIN(room, DIV_ROUND_UP(DIV_ROUND_UP(len, 1ull << c->shift), 8));
	c->any = false;
	return MIN(len, c->bytes * 8 << c->shift);
}

static void ignore(void *ctx, uint64_t iova, uint64_t len)
{
	(void)ctx;
	(void)iova;
	(void)len;
}

/* What is clean for the caller from now on. A leaf of the table that lies on both sides of a border stays dirty. */
static void clear(struct domain *d, uint64_t iova, uint64_t end)
{
	if (iova < end)
		domain_read_dirty(d, iova, end - iova, false, ignore, NULL);
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
		n = chunk_cut(c, cmd, cmd->iova + done, len - done);
		domain_read_dirty(d, c->iova, n, true, note, c);
		if (!c->any)
			continue;
		err = ucall_copy_in(k->c, c->addr, c->bits, c->bytes);
		if (err == UCALL_AGAIN || err == -ENOMEM)
			ret = err;
		if (commit && !err) {
			domain_read_dirty(d, c->iova, n, true, set_bits, c);
			err = ucall_copy_out(k->c, c->addr, c->bits, c->bytes);
			if (err)
				ret = err;
		}
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
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->shift = __builtin_ctzll(cmd->page_size);
	len = mapped_run(h->ioas->io, cmd->iova, cmd->length);
	err = walk(k, h->d, cmd, len, c, false);
	if (!err)
		err = walk(k, h->d, cmd, len, c, true);
	free(c);
	return err;
}
