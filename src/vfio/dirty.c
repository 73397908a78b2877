/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dirty page tracking of type1 (VFIO_IOMMU_DIRTY_PAGES). As in Linux for functions whose pages are pinned when they are
 * mapped, every page that is mapped counts as dirty: the interface is there, the information is conservative.
 */
#include <errno.h>
#include <string.h>

#include "iommu/ioas.h"
#include "vfio/internal.h"

#define BITMAP_BYTES_MAX (1ull << 28)
#define USER_END	 0x7ffffffff000ull /* x86-64: where a process's addresses end */
#define CHUNK_WORDS	 512

int dirty_check_bitmap(const struct vfio_bitmap *bm, uint64_t size)
{
	uint64_t npages, end, addr = (uintptr_t)bm->data;

	if (add_overflows(addr, bm->size, &end) || end > USER_END)
		return -EINVAL;
	if (bm->pgsize != PF_PAGE_SIZE)
		return -EINVAL;
	npages = size >> PF_PAGE_SHIFT;
	if (!npages || !bm->size || bm->size > BITMAP_BYTES_MAX || bm->size < (npages + 63) / 64 * 8)
		return -EINVAL;
	return 0;
}

/* The last word that has been queued: the next area may begin in the same one. */
struct carry {
	bool valid;
	uint64_t index, word;
};

/*
 * Queues ones for [bit, bit + n) and zeroes up to the end of the last word. Where bit lies inside a word, all that the
 * caller has in that word stays.
 */
static int put_ones(struct ucall *c, uint64_t addr, uint64_t bit, uint64_t n, struct carry *carry)
{
	uint64_t word[CHUNK_WORDS], keep = 0, index = bit / 64, shift = bit % 64, left;
	size_t i, nwords;
	int ret;

	if (shift && carry->valid && carry->index == index) {
		keep = carry->word;
	} else if (shift) {
		ret = ucall_copy_in(c, addr + index * 8, &keep, sizeof(keep));
		if (ret)
			return ret;
	}
	for (left = shift + n; left; index += nwords) {
		for (nwords = 0; nwords < CHUNK_WORDS && left; nwords++) {
			word[nwords] = left >= 64 ? UINT64_MAX : BIT64(left) - 1;
			left -= MIN(left, (uint64_t)64);
		}
		if (index == bit / 64)
			word[0] = (word[0] & ~(BIT64(shift) - 1)) | keep;
		ret = ucall_copy_out(c, addr + index * 8, word, nwords * 8);
		if (ret)
			return ret;
		i = nwords - 1;
		*carry = (struct carry){true, index + i, word[i]};
	}
	return 0;
}

int dirty_report(struct type1 *t, struct ucall *c, const struct vfio_bitmap *bm, uint64_t first, uint64_t last)
{
	struct carry carry = {0};
	struct ioas_area_info a;
	uint64_t at = first;
	int ret;

	while (ioas_next(t->io, at, &a) && a.iova <= last) {
		ret =
		    put_ones(c, (uintptr_t)bm->data, (a.iova - first) >> PF_PAGE_SHIFT, a.len >> PF_PAGE_SHIFT, &carry);
		if (ret)
			return ret;
		if (add_overflows(a.iova, a.len, &at))
			break;
	}
	return 0;
}

static long dirty_get_bitmap(struct type1 *t, struct ucall *c, uint64_t arg,
			     const struct vfio_iommu_type1_dirty_bitmap *hdr)
{
	struct vfio_iommu_type1_dirty_bitmap_get range;
	uint64_t end;
	int ret;

	if (hdr->argsz - sizeof(*hdr) < sizeof(range))
		return -EINVAL;
	ret = ucall_copy_in(c, arg + sizeof(*hdr), &range, sizeof(range));
	if (ret)
		return ret;
	if (add_overflows(range.iova, range.size, &end))
		return -EINVAL;
	ret = dirty_check_bitmap(&range.bitmap, range.size);
	if (ret)
		return ret;
	if (!IS_ALIGNED(range.iova | range.size, PF_PAGE_SIZE) || !t->dirty_tracking)
		return -EINVAL;
	ret = type1_check_borders(t, range.iova, end - 1);
	if (ret)
		return ret;
	return dirty_report(t, c, &range.bitmap, range.iova, end - 1);
}

long dirty_pages(struct type1 *t, struct ucall *c, uint64_t arg)
{
	struct vfio_iommu_type1_dirty_bitmap hdr;
	int ret;

	if (!t->v2)
		return -EACCES;
	ret = ucall_copy_in(c, arg, &hdr, sizeof(hdr));
	if (ret)
		return ret;
	if (hdr.argsz < sizeof(hdr))
		return -EINVAL;
	switch (hdr.flags) {
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
		t->dirty_tracking = true;
		return 0;
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
		t->dirty_tracking = false;
		return 0;
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
		return dirty_get_bitmap(t, c, arg, &hdr);
	default: /* unknown, none, or several at once */
		return -EINVAL;
	}
}
