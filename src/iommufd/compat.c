/* SPDX-License-Identifier: BSD-3-Clause */
/* VFIO's container ioctls on an iommufd, and IOMMU_VFIO_IOAS, which says what they work on. Answers follow Linux 6.12
 * drivers/iommu/iommufd/vfio_compat.c. */
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

long ioctl_vfio_ioas(struct ioctl_call *k)
{
	struct iommu_vfio_ioas *cmd = k->cmd;
	struct ioas_object *o;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_VFIO_IOAS_GET:
		if (!k->ctx->compat)
			return -ENODEV;
		cmd->ioas_id = k->ctx->compat->obj.id;
		return ioctl_respond(k, sizeof(*cmd));
	case IOMMU_VFIO_IOAS_SET:
		o = ioas_object_find(k->ctx, cmd->ioas_id);
		if (!o)
			return -ENOENT;
		k->ctx->compat = o;
		return 0;
	case IOMMU_VFIO_IOAS_CLEAR:
		k->ctx->compat = NULL;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int iommufd_compat_ioas(struct iommufd_ctx *ctx, uint32_t *id)
{
	if (!ctx->compat)
		return -ENODEV;
	*id = ctx->compat->obj.id;
	return 0;
}

int iommufd_compat_make(struct iommufd_ctx *ctx)
{
	struct ioas_object *o;
	int err;

	if (ctx->compat)
		return 0;
	err = ioas_object_new(ctx, &o);
	if (err)
		return err;
	iommufd_object_ready(&o->obj);
	ctx->compat = o;
	return 0;
}

/* Does every unit enforce it that stands before what the container maps for? */
static long check_cache_coherency(const struct iommufd_ctx *ctx)
{
	const struct hwpt *h;

	if (!ctx->compat)
		return -ENODEV;
	list_for_each (h, &ctx->compat->hwpts, node)
		if (!h->unit->cache_coherent)
			return 0;
	return 1;
}

static long check_extension(struct iommufd_ctx *ctx, struct ucall *c, uint64_t arg)
{
	switch (arg) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return check_cache_coherency(ctx);
	default:
		return 0;
	}
}

static long get_api_version(struct iommufd_ctx *ctx, struct ucall *c, uint64_t arg)
{
	return VFIO_API_VERSION;
}

static long set_iommu(struct iommufd_ctx *ctx, struct ucall *c, uint64_t arg)
{
	if (arg != VFIO_TYPE1_IOMMU && arg != VFIO_TYPE1v2_IOMMU)
		return -EINVAL;
	if (!ctx->compat)
		return -ENODEV;
	/* The first type1 may unmap parts of what it mapped: no leaf may be larger than such a part. */
	return arg == VFIO_TYPE1_IOMMU ? ioas_set_large_pages(ctx->compat->io, false) : 0;
}

/* ---- GET_INFO ---- */

struct info {
	uint32_t argsz, flags;
	uint64_t iova_pgsizes;
	uint32_t cap_offset, pad;
};
_Static_assert(sizeof(struct info) == 24, "struct vfio_iommu_type1_info");

struct range_cap {
	struct vfio_info_cap_header header;
	uint32_t nr_iovas, reserved;
};

struct ranges {
	struct vfio_iova_range *r;
	uint32_t n, room;
};

static void add_range(void *ctx, uint64_t first, uint64_t last)
{
	struct ranges *l = ctx;

	if (l->n < l->room)
		l->r[l->n] = (struct vfio_iova_range){first, last};
	l->n++;
}

static uint64_t pgsizes(const struct ioas_object *o)
{
	uint64_t sizes = UINT64_MAX;
	const struct hwpt *h;

	list_for_each (h, &o->hwpts, node)
		sizes &= domain_config(h->d)->pgsizes;
	if (sizes & (PF_PAGE_SIZE - 1))
		sizes = ALIGN_DOWN(sizes, PF_PAGE_SIZE) | PF_PAGE_SIZE;
	return MAX(sizes, ioas_alignment(o->io));
}

/* Both capabilities as they follow the structure; a capability that has no room is left out, and so is the link to it.
 */
static int put_caps(struct ucall *c, uint64_t arg, uint32_t argsz, const struct ioas_object *o, uint32_t *total)
{
	struct vfio_iommu_type1_info_dma_avail avail = {.header = {.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .version = 1},
							.avail = UINT32_MAX};
	const uint32_t first = sizeof(struct info), second = first + ALIGN_UP(sizeof(avail), 8);
	struct range_cap cap = {.header = {.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1}};
	struct ranges l = {0};
	int err = 0;

	ioas_ranges(o->io, add_range, &l);
	cap.nr_iovas = l.n;
	*total = second + sizeof(cap) + l.n * sizeof(*l.r);
	if (argsz >= first + sizeof(avail)) {
		if (argsz >= second)
			avail.header.next = second;
		err = ucall_copy_out(c, arg + first, &avail, sizeof(avail));
	}
	if (err || argsz < *total)
		return err;
	l = (struct ranges){.r = mem_calloc(l.n, sizeof(*l.r)), .room = l.n};
	if (!l.r)
		return -ENOMEM;
	ioas_ranges(o->io, add_range, &l);
	err = ucall_copy_out(c, arg + second, &cap, sizeof(cap));
	if (!err)
		err = ucall_copy_out(c, arg + second + sizeof(cap), l.r, l.n * sizeof(*l.r));
	free(l.r);
	return err;
}

static long get_info(struct iommufd_ctx *ctx, struct ucall *c, uint64_t arg)
{
	const size_t minsz = OFFSETOFEND(struct info, iova_pgsizes);
	struct info info = {0};
	uint32_t argsz, total;
	int err;

	err = ucall_copy_in(c, arg, &info, minsz);
	if (err)
		return err;
	argsz = info.argsz;
	if (argsz < minsz)
		return -EINVAL;
	if (!ctx->compat)
		return -ENODEV;
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = pgsizes(ctx->compat);
	err = put_caps(c, arg, argsz, ctx->compat, &total);
	if (err)
		return err;
	info.argsz = total;
	info.cap_offset = argsz >= total ? sizeof(info) : 0;
	return ucall_copy_out(c, arg, &info, MIN((size_t)argsz, sizeof(info)));
}

/* ---- mapping ---- */

int iommufd_map_args(struct ucall *c, uint64_t arg, struct vfio_iommu_type1_dma_map *map, int *prot)
{
	const size_t minsz = OFFSETOFEND(struct vfio_iommu_type1_dma_map, size);
	int err = ucall_copy_in(c, arg, map, minsz);

	if (err)
		return err;
	if (map->argsz < minsz || map->flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
		return -EINVAL;
	*prot = (map->flags & VFIO_DMA_MAP_FLAG_READ ? IOMMU_READ : 0) |
		(map->flags & VFIO_DMA_MAP_FLAG_WRITE ? IOMMU_WRITE : 0);
	return 0;
}

static long map_dma(struct iommufd_ctx *ctx, struct ucall *c, uint64_t arg)
{
	struct vfio_iommu_type1_dma_map map;
	uint64_t first, span;
	struct pages *p;
	int prot, err;

	err = iommufd_map_args(c, arg, &map, &prot);
	if (err)
		return err;
	if (!ctx->compat)
		return -ENODEV;
	err = ioas_page_span(map.vaddr, map.size, &first, &span);
	if (!err)
		err = ioas_check_free(ctx->compat->io, IOVA(map.iova), map.size);
	if (!err)
		err = ucall_get_pages_lazy(c, first, span, &p);
	if (err == UCALL_AGAIN)
		return err;
	if (err)
		return ioas_refused(ctx->compat->io, IOVA(map.iova), map.size, map.vaddr, err);
	pages_configure(p, prot & IOMMU_WRITE, ctx->account, false);
	err = ioas_map(ctx->compat->io, IOVA(map.iova), map.size, p, map.vaddr - first, prot);
	pages_put(p);
	return err ? ioas_refused(ctx->compat->io, IOVA(map.iova), map.size, map.vaddr, err) : 0;
}

/* The first type1 unmaps parts of what it mapped: it is cut before, at the end first. */
static int cut_range(struct ioas *io, const struct vfio_iommu_type1_dma_unmap *un)
{
	const uint64_t cuts[] = {un->iova + un->size, un->iova};

	return ioas_large_pages(io) ? 0 : ioas_cut(io, cuts, un->iova ? 2 : 1);
}

static int unmap_range(struct ioas *io, const struct vfio_iommu_type1_dma_unmap *un, uint64_t *unmapped)
{
	uint64_t last;

	if (!un->size)
		return -EINVAL;
	if (add_overflows(un->iova, un->size - 1, &last))
		return -EOVERFLOW;
	return ioas_unmap(io, un->iova, last, unmapped);
}

static long unmap_dma(struct iommufd_ctx *ctx, struct ucall *c, uint64_t arg)
{
	const size_t minsz = OFFSETOFEND(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap un;
	uint64_t unmapped = 0;
	int err, out;

	err = ucall_copy_in(c, arg, &un, minsz);
	if (err)
		return err;
	if (un.argsz < minsz || un.flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (!ctx->compat)
		return -ENODEV;
	if (un.flags & VFIO_DMA_UNMAP_FLAG_ALL) {
		if (un.iova || un.size)
			return -EINVAL;
		err = ioas_unmap(ctx->compat->io, 0, UINT64_MAX, &unmapped);
	} else {
		err = cut_range(ctx->compat->io, &un);
		if (err)
			return err;
		err = unmap_range(ctx->compat->io, &un, &unmapped);
		ioas_unmap_asked(ctx->compat->io, un.iova, un.size, unmapped, err);
	}
	un.size = unmapped;
	out = ucall_copy_out(c, arg, &un, minsz);
	return out ? out : err;
}

static const struct {
	unsigned int cmd;
	long (*handler)(struct iommufd_ctx *ctx, struct ucall *c, uint64_t arg);
} compat_ioctls[] = {
    {VFIO_GET_API_VERSION, get_api_version}, {VFIO_CHECK_EXTENSION, check_extension}, {VFIO_SET_IOMMU, set_iommu},
    {VFIO_IOMMU_GET_INFO, get_info},	     {VFIO_IOMMU_MAP_DMA, map_dma},	      {VFIO_IOMMU_UNMAP_DMA, unmap_dma},
};

long compat_ioctl(struct iommufd_ctx *ctx, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(compat_ioctls); i++)
		if (compat_ioctls[i].cmd == cmd)
			return compat_ioctls[i].handler(ctx, c, arg);
	return -ENOTTY;
}
