/* SPDX-License-Identifier: BSD-3-Clause */
/* The type1 IOMMU, v1 and v2: an IOVA space driven through a container. Answers and the order of the checks follow
 * Linux 6.12 drivers/vfio/vfio_iommu_type1.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "iommufd/iommufd.h"
#include "mm/mm.h"
#include "vfio/internal.h"

#define DMA_ENTRIES_MAX 65535u /* the module's default dma_entry_limit */
#define IOVA_LAST	((1ull << 48) - 1)
#define PAGE_SIZES	(BIT64(12) | BIT64(21) | BIT64(30)) /* as VT-d reports: 4K, 2M, 1G */
#define RANGES_MAX	8

int type1_check_extension(const struct type1 *t, uint64_t ext)
{
	switch (ext) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_TYPE1_NESTING_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return t != NULL; /* every DMA of ours is coherent */
	default:
		return 0;
	}
}

/* What the IOMMU before the functions never translates. */
static int type1_reserve(struct type1 *t)
{
	uint64_t first, last;
	int err = 0;

	for (unsigned int i = 0; !err && iommufd_unit_reserved(t->v->unit, i, &first, &last); i++)
		err = ioas_reserve(t->io, first, last, t);
	return err;
}

int type1_new(struct vfio *v, uint64_t kind, struct type1 **out)
{
	static const struct domain_config aperture = {.last = IOVA_LAST, .pgsizes = PAGE_SIZES};
	struct type1 *t;

	/* Nesting is announced, and refused when a group with a VT-d behind it attaches, as by the kernel. */
	if (kind != VFIO_TYPE1_IOMMU && kind != VFIO_TYPE1v2_IOMMU)
		return -EINVAL;
	t = mem_calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->v = v;
	t->v2 = kind == VFIO_TYPE1v2_IOMMU;
	t->io = ioas_new(v->evs);
	t->domain = domain_new(&aperture, v->evs);
	if (!t->io || !t->domain || type1_reserve(t) || ioas_add_domain(t->io, t->domain)) {
		type1_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void type1_free(struct type1 *t)
{
	if (t->domain && domain_ioas(t->domain))
		ioas_remove_domain(t->io, t->domain);
	domain_free(t->domain);
	ioas_free(t->io);
	free(t);
}

void type1_attach(struct type1 *t, struct pci_func *f)
{
	dma_dev_attach(f->dma, t->domain);
}

static unsigned int dma_avail(const struct type1 *t)
{
	unsigned int used = ioas_area_count(t->io);

	return used < DMA_ENTRIES_MAX ? DMA_ENTRIES_MAX - used : 0;
}

/* ---- GET_INFO ---- */

struct range_list {
	unsigned int n;
	struct vfio_iova_range r[RANGES_MAX];
};

static void add_range(void *ctx, uint64_t first, uint64_t last)
{
	struct range_list *l = ctx;

	if (l->n < RANGES_MAX)
		l->r[l->n++] = (struct vfio_iova_range){first, last};
}

static bool iova_usable(struct type1 *t, uint64_t first, uint64_t last)
{
	struct range_list l = {0};
	unsigned int i;

	ioas_ranges(t->io, add_range, &l);
	for (i = 0; i < l.n; i++)
		if (first >= l.r[i].start && last <= l.r[i].end)
			return true;
	return false;
}

struct info_caps {
	struct vfio_iommu_type1_info_cap_migration migration;
	struct vfio_iommu_type1_info_dma_avail avail;
	uint32_t pad; /* capabilities are 8-byte aligned */
	struct {      /* vfio_iommu_type1_info_cap_iova_range up to its array */
		struct vfio_info_cap_header header;
		uint32_t nr_iovas, reserved;
	} iova;
	struct vfio_iova_range range[RANGES_MAX];
};
_Static_assert(offsetof(struct info_caps, avail) == 32, "capability chain");
_Static_assert(offsetof(struct info_caps, iova) == 48, "capability chain");
_Static_assert(offsetof(struct info_caps, range) == 64, "ranges follow the header at once");

/* Fills in the chain as it lies at offset base behind arg; returns its length. */
static size_t build_caps(struct type1 *t, struct info_caps *caps, uint32_t base)
{
	struct range_list l = {0};

	memset(caps, 0, sizeof(*caps));
	caps->migration.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION;
	caps->migration.header.version = 1;
	caps->migration.header.next = base + offsetof(struct info_caps, avail);
	caps->migration.pgsize_bitmap = PF_PAGE_SIZE;
	caps->migration.max_dirty_bitmap_size = 1ull << 28; /* (2^31 - 1) pages, rounded up to a word */
	caps->avail.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL;
	caps->avail.header.version = 1;
	caps->avail.header.next = base + offsetof(struct info_caps, iova);
	caps->avail.avail = dma_avail(t);
	ioas_ranges(t->io, add_range, &l);
	caps->iova.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	caps->iova.header.version = 1;
	caps->iova.nr_iovas = l.n;
	memcpy(caps->range, l.r, l.n * sizeof(l.r[0]));
	return offsetof(struct info_caps, range) + l.n * sizeof(l.r[0]);
}

/* Today's struct vfio_iommu_type1_info; older headers lack the trailing pad. */
struct type1_info {
	uint32_t argsz, flags;
	uint64_t iova_pgsizes;
	uint32_t cap_offset, pad;
};
_Static_assert(sizeof(struct type1_info) == 24, "struct vfio_iommu_type1_info");

static long type1_get_info(struct type1 *t, struct ucall *c, uint64_t arg)
{
	const size_t minsz = OFFSETOFEND(struct type1_info, iova_pgsizes);
	struct type1_info info = {0};
	struct info_caps caps;
	uint32_t argsz;
	size_t len;
	int ret;

	ret = ucall_copy_in(c, arg, &info, minsz);
	if (ret)
		return ret;
	argsz = info.argsz;
	if (argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = PAGE_SIZES;
	len = build_caps(t, &caps, sizeof(info));
	if (argsz < sizeof(info) + len) {
		info.argsz = sizeof(info) + len;
	} else {
		info.cap_offset = sizeof(info);
		ret = ucall_copy_out(c, arg + sizeof(info), &caps, len);
		if (ret)
			return ret;
	}
	return ucall_copy_out(c, arg, &info, MIN((size_t)argsz, sizeof(info)));
}

/* ---- MAP_DMA ---- */

/* Not memory: the address of a mapped BAR, perhaps, which this interface has always taken (rule B3). */
static int bar_pages(struct type1 *t, struct ucall *c, const struct vfio_iommu_type1_dma_map *map, struct pages **p)
{
	struct ufile *f;
	uint64_t off;
	int err = ucall_get_mapped(c, map->vaddr, map->size, &f, &off);

	return err ? err : dmabuf_legacy_pages(t->v, f, off, map->size, map->vaddr, c->owner, p);
}

static long type1_map_dma(struct type1 *t, struct ucall *c, uint64_t arg)
{
	struct vfio_iommu_type1_dma_map map;
	uint64_t last_iova, last_va;
	struct pages *pages;
	int prot, ret;

	/* FLAG_VADDR is not offered (VFIO_UPDATE_VADDR is 0), so it is a flag like any unknown one. */
	ret = iommufd_map_args(c, arg, &map, &prot);
	if (ret)
		return ret;
	if (!prot || !map.size || !IS_ALIGNED(map.size | map.iova | map.vaddr, PF_PAGE_SIZE))
		return -EINVAL;
	if (add_overflows(map.iova, map.size - 1, &last_iova) || add_overflows(map.vaddr, map.size - 1, &last_va))
		return -EINVAL;
	if (ioas_overlaps(t->io, map.iova, last_iova))
		return ioas_refused(t->io, IOVA(map.iova), map.size, map.vaddr, -EEXIST);
	if (!dma_avail(t))
		return -ENOSPC;
	if (!iova_usable(t, map.iova, last_iova))
		return -EINVAL;
	ret = ucall_get_pages(c, map.vaddr, map.size, &pages);
	if (ret == -EFAULT)
		ret = bar_pages(t, c, &map, &pages);
	if (ret == UCALL_AGAIN)
		return ret;
	if (ret)
		return ioas_refused(t->io, IOVA(map.iova), map.size, map.vaddr, ret);
	/* The process's own locked memory is what type1 counts; memory that may not be written is found out by the pin.
	 */
	pages_configure(pages, prot & IOMMU_WRITE, MM_ACCOUNT_PROCESS, false);
	ret = ioas_map(t->io, IOVA(map.iova), map.size, pages, 0, prot);
	pages_put(pages);
	return ret ? ioas_refused(t->io, IOVA(map.iova), map.size, map.vaddr, ret) : 0;
}

/* ---- UNMAP_DMA ---- */

static uint64_t area_last(const struct ioas_area_info *a)
{
	return a->iova + (a->len - 1);
}

int type1_check_borders(struct type1 *t, uint64_t first, uint64_t last)
{
	struct ioas_area_info a;

	if (ioas_next(t->io, first, &a) && a.iova < first)
		return -EINVAL;
	if (ioas_next(t->io, last, &a) && a.iova <= last && area_last(&a) != last)
		return -EINVAL;
	return 0;
}

/* What a request will remove: areas in [first, last], whole ones. */
struct unmap_plan {
	uint64_t first, last, bytes;
};

static int plan_all(struct type1 *t, const struct vfio_iommu_type1_dma_unmap *un, struct unmap_plan *plan)
{
	if (un->iova || un->size)
		return -EINVAL;
	plan->first = 0;
	plan->last = UINT64_MAX;
	return 0;
}

static int plan_range(struct type1 *t, const struct vfio_iommu_type1_dma_unmap *un, struct unmap_plan *plan)
{
	if (!un->size || !IS_ALIGNED(un->iova | un->size, PF_PAGE_SIZE) ||
	    add_overflows(un->iova, un->size - 1, &plan->last))
		return -EINVAL;
	plan->first = un->iova;
	return t->v2 ? type1_check_borders(t, plan->first, plan->last) : 0;
}

/*
 * Counts the bytes, and lets last grow to the end of the last area. v1 promises only that a request which covers the
 * first byte of a mapping removes all of it, and that one which starts inside a mapping succeeds and removes nothing.
 */
static void plan_finish(struct type1 *t, struct unmap_plan *plan)
{
	uint64_t at = plan->first, stop = plan->last;
	struct ioas_area_info a;

	plan->bytes = 0;
	while (ioas_next(t->io, at, &a) && a.iova >= plan->first && a.iova <= stop) {
		plan->bytes += a.len;
		plan->last = MAX(plan->last, area_last(&a));
		if (add_overflows(a.iova, a.len, &at))
			break;
	}
}

static int check_unmap_bitmap(struct type1 *t, struct ucall *c, uint64_t arg,
			      const struct vfio_iommu_type1_dma_unmap *un, struct vfio_bitmap *bm)
{
	int ret;

	if (un->flags & VFIO_DMA_UNMAP_FLAG_ALL || un->argsz < sizeof(*un) + sizeof(*bm))
		return -EINVAL;
	ret = ucall_copy_in(c, arg + sizeof(*un), bm, sizeof(*bm));
	if (ret)
		return ret;
	ret = dirty_check_bitmap(bm, un->size);
	if (ret)
		return ret;
	return t->dirty_tracking ? 0 : -EINVAL;
}

static long type1_unmap_dma(struct type1 *t, struct ucall *c, uint64_t arg)
{
	const uint32_t known = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL;
	struct vfio_iommu_type1_dma_unmap un;
	struct unmap_plan plan;
	struct vfio_bitmap bm;
	uint64_t unmapped;
	bool dirty;
	int ret;

	ret = ucall_copy_in(c, arg, &un, sizeof(un));
	if (ret)
		return ret;
	if (un.argsz < sizeof(un) || un.flags & ~known)
		return -EINVAL;
	dirty = un.flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	if (dirty)
		ret = check_unmap_bitmap(t, c, arg, &un, &bm);
	if (!ret)
		ret = un.flags & VFIO_DMA_UNMAP_FLAG_ALL ? plan_all(t, &un, &plan) : plan_range(t, &un, &plan);
	if (!ret && dirty)
		ret = dirty_report(t, c, &bm, plan.first, plan.last);
	if (ret == UCALL_AGAIN)
		return ret;
	if (!ret)
		plan_finish(t, &plan);
	if (!(un.flags & VFIO_DMA_UNMAP_FLAG_ALL))
		ioas_unmap_asked(t->io, un.iova, un.size, ret ? 0 : plan.bytes, ret);
	if (ret)
		return ret;
	un.size = plan.bytes;
	ret = ucall_copy_out(c, arg, &un, sizeof(un));
	if (!ret && plan.bytes)
		ioas_unmap(t->io, plan.first, plan.last, &unmapped);
	return ret;
}

static const struct {
	unsigned int cmd;
	long (*handler)(struct type1 *t, struct ucall *c, uint64_t arg);
} type1_ioctls[] = {
    {VFIO_IOMMU_GET_INFO, type1_get_info},
    {VFIO_IOMMU_MAP_DMA, type1_map_dma},
    {VFIO_IOMMU_UNMAP_DMA, type1_unmap_dma},
    {VFIO_IOMMU_DIRTY_PAGES, dirty_pages},
};

long type1_ioctl(struct type1 *t, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(type1_ioctls); i++)
		if (type1_ioctls[i].cmd == cmd)
			return type1_ioctls[i].handler(t, c, arg);
	return -ENOTTY;
}
