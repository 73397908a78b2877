/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DMA_LOGGING_START, STOP and REPORT: which pages the device has written to. Answers follow Linux 6.12
 * drivers/vfio/vfio_main.c and, where drivers decide, drivers/vfio/pci/mlx5; of the bitmap, iova_bitmap.c: bits are
 * only set, and a page of it that cannot be reached is passed over (here what it would have said stays in the log).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommu/log.h"
#include "pci/migrate.h"
#include "vfio/internal.h"

#define RANGES_MAX   256
#define PAGE_MAX     (1ull << 30)   /* that is taken over from the caller; the log itself has pages of 4 KiB */
#define PIECE_BYTES  PF_PAGE_SIZE   /* of the bitmap */
#define PIECES_BYTES (512ull << 10) /* with something in them, in one part of the answer */

/* ---- START, STOP ---- */

static bool is_power_of_2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* All at once, or one after another up to the first that is not there. */
static int get_ranges(struct ucall *c, uint64_t addr, struct vfio_device_feature_dma_logging_range *r, unsigned int n,
		      unsigned int *good)
{
	int ret = ucall_copy_in(c, addr, r, n * sizeof(*r));

	*good = n;
	if (ret != -EFAULT)
		return ret;
	for (*good = 0; *good < n; ++*good) {
		ret = ucall_copy_in(c, addr + *good * sizeof(*r), &r[*good], sizeof(*r));
		if (ret)
			return ret == -EFAULT ? 0 : ret;
	}
	return 0;
}

static int check_range(const struct vfio_device_feature_dma_logging_range *r, uint64_t page_size,
		       struct iova_range *out)
{
	uint64_t end;

	if ((r->iova | r->length) & (page_size - 1) || !r->length)
		return -EINVAL;
	if (add_overflows(r->iova, r->length, &end))
		return -EOVERFLOW;
	*out = (struct iova_range){r->iova, end - 1};
	return 0;
}

static int check_ranges(const struct vfio_device_feature_dma_logging_range *r, unsigned int n, uint64_t page_size,
			struct iova_range *out)
{
	int err;

	for (unsigned int i = 0; i < n; i++) {
		err = check_range(&r[i], page_size, &out[i]);
		if (err)
			return err;
		for (unsigned int k = 0; k < i; k++)
			if (out[k].first <= out[i].last && out[i].first <= out[k].last)
				return -EINVAL;
	}
	return 0;
}

bool logging_offered(const struct vfio_dev *d)
{
	return pci_can_migrate(d->f);
}

long logging_start(struct vfio_dev *d, struct feature_call *fc)
{
	struct vfio_device_feature_dma_logging_range range[RANGES_MAX];
	struct vfio_device_feature_dma_logging_control ctl;
	struct iova_range checked[RANGES_MAX];
	unsigned int good = 0;
	int ret;

	ret = ucall_copy_in(fc->c, fc->data, &ctl, sizeof(ctl));
	if (ret)
		return ret;
	if (!ctl.num_ranges)
		return -EINVAL;
	if (ctl.num_ranges > RANGES_MAX)
		return -E2BIG;
	ret = get_ranges(fc->c, ctl.ranges, range, ctl.num_ranges, &good);
	if (!ret)
		ret = check_ranges(range, good, ctl.page_size, checked);
	if (!ret && good < ctl.num_ranges)
		ret = -EFAULT;
	if (!ret)
		ret = ucall_expect_write(fc->c, fc->data, sizeof(ctl));
	if (!ret)
		ret = dma_log_start(d->f->dma, checked, ctl.num_ranges);
	if (ret)
		return ret;
	if (!is_power_of_2(ctl.page_size) || ctl.page_size < PF_PAGE_SIZE || ctl.page_size > PAGE_MAX)
		ctl.page_size = PF_PAGE_SIZE;
	ret = ucall_copy_out(fc->c, fc->data, &ctl, sizeof(ctl));
	if (ret)
		dma_log_stop(d->f->dma);
	return ret;
}

long logging_stop(struct vfio_dev *d, struct feature_call *fc)
{
	dma_log_stop(d->f->dma);
	return 0;
}

/* ---- REPORT ---- */

/* A piece of the caller's bitmap, within one page of his memory. */
struct piece {
	uint64_t addr, bytes;
	uint64_t first, last; /* IOVA that its bits stand for */
	unsigned int shift;
	uint8_t bits[PIECE_BYTES];
};

static void set_bits(void *ctx, uint64_t first, uint64_t last)
{
	struct piece *p = ctx;
	uint64_t from = first <= p->first ? 0 : (first - p->first) >> p->shift;
	uint64_t to = (MIN(last, p->last) - p->first) >> p->shift;

	for (uint64_t i = from; i <= to; i++)
		p->bits[i / 8] |= 1u << i % 8;
}

static void forget(void *ctx, uint64_t first, uint64_t last)
{
}

/* From the byte on that has the bit of iova, to the end of a page of the caller's or of what he asked for. */
static void piece_cut(struct piece *p, const struct vfio_device_feature_dma_logging_report *r, uint64_t iova)
{
	uint64_t byte = ((iova - r->iova) >> p->shift) / 8, last = r->iova + (r->length - 1), bits, span;

	p->addr = r->bitmap + byte;
	p->first = r->iova + (byte * 8 << p->shift);
	bits = ((last - p->first) >> p->shift) + 1;
	p->bytes = MIN((bits + 7) / 8, PF_PAGE_SIZE - p->addr % PF_PAGE_SIZE);
	span = p->bytes * 8 > UINT64_MAX >> p->shift ? UINT64_MAX : (p->bytes * 8 << p->shift) - 1;
	p->last = last - p->first <= span ? last : p->first + span;
}

static int piece_report(struct vfio_dev *d, struct ucall *c, struct piece *p, bool commit)
{
	int err = ucall_copy_in(c, p->addr, p->bits, p->bytes);

	if (!err && !commit)
		err = ucall_expect_write(c, p->addr, p->bytes);
	if (err || !commit)
		return err;
	dma_log_read(d->f->dma, p->first, p->last, false, set_bits, p);
	err = ucall_copy_out(c, p->addr, p->bits, p->bytes);
	if (!err)
		dma_log_read(d->f->dma, p->first, p->last, true, forget, NULL);
	return err;
}

/*
 * Piece by piece, from one that has something in it to the next, from *next on: first everything is asked for, which
 * may start the call anew; with commit, bits are handed over and forgotten. UCALL_MORE: a part of the answer is full,
 * and *next where the rest begins.
 */
static int report(struct vfio_dev *d, struct ucall *c, const struct vfio_device_feature_dma_logging_report *r,
		  struct piece *p, uint64_t *next, bool commit)
{
	uint64_t at = *next, last = r->iova + (r->length - 1), moved = 0;
	int ret = 0, err;

	while (dma_log_next(d->f->dma, at, last, &at)) {
		piece_cut(p, r, at);
		moved += p->bytes;
		if (moved > PIECES_BYTES) {
			*next = at;
			return ret ? ret : UCALL_MORE;
		}
		err = piece_report(d, c, p, commit);
		/* All that is missing is asked for before the call starts anew. */
		if (err == UCALL_AGAIN)
			ret = err;
		else if (err && err != -EFAULT)
			return err;
		if (p->last == last)
			break;
		at = p->last + 1;
	}
	return ret;
}

long logging_report(struct vfio_dev *d, struct feature_call *fc)
{
	struct vfio_device_feature_dma_logging_report r;
	uint64_t end, next;
	struct piece *p;
	int ret;

	ret = ucall_copy_in(fc->c, fc->data, &r, sizeof(r));
	if (ret)
		return ret;
	if (r.page_size < PF_PAGE_SIZE || !is_power_of_2(r.page_size))
		return -EINVAL;
	if (add_overflows(r.iova, r.length, &end))
		return -EOVERFLOW;
	if (!r.length || !dma_log_active(d->f->dma))
		return -EINVAL;
	if (fc->c->at >= r.length)
		return 0; /* he has changed his mind about the rest */
	p = mem_alloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->shift = __builtin_ctzll(r.page_size);
	next = r.iova + fc->c->at;
	ret = report(d, fc->c, &r, p, &next, false);
	next = r.iova + fc->c->at;
	if (!ret || ret == UCALL_MORE)
		ret = report(d, fc->c, &r, p, &next, true);
	free(p);
	if (ret == UCALL_MORE)
		fc->c->at = next - r.iova;
	return ret;
}
