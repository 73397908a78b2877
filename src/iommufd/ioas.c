/* SPDX-License-Identifier: BSD-3-Clause */
/* IOAS objects. Answers and the order of the checks follow Linux 6.12 drivers/iommu/iommufd/ioas.c, and 6.13 and 6.14
 * for files. */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommufd/dmabuf.h"
#include "iommufd/internal.h"

#define MAP_FLAGS   (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)
#define ALLOWED_MAX (1u << 20) /* more ranges than this are taken for a mistake: ENOMEM */

int ioas_object_new(struct iommufd_ctx *ctx, struct ioas_object **out)
{
	struct ioas_object *o = mem_calloc(1, sizeof(*o));
	int err = -ENOMEM;

	if (!o)
		return -ENOMEM;
	o->ctx = ctx;
	list_init(&o->hwpts);
	list_init(&o->follower);
	o->io = ioas_new(ctx->m->evs);
	if (o->io)
		err = iommufd_object_add(ctx, &o->obj, OBJECT_IOAS);
	if (err) {
		ioas_free(o->io);
		free(o);
		return err;
	}
	*out = o;
	return 0;
}

void ioas_object_destroy(struct iommufd_object *obj)
{
	struct ioas_object *o = container_of(obj, struct ioas_object, obj);

	assert(list_empty(&o->hwpts));
	list_del(&o->follower);
	ioas_free(o->io);
	free(o);
}

static void ioas_object_abort(struct ioas_object *o)
{
	iommufd_object_abort(o->ctx, &o->obj);
	ioas_object_destroy(&o->obj);
}

long ioctl_ioas_alloc(struct ioctl_call *k)
{
	struct iommu_ioas_alloc *cmd = k->cmd;
	struct ioas_object *o;
	int err;

	if (cmd->flags)
		return -EOPNOTSUPP;
	err = ioas_object_new(k->ctx, &o);
	if (err)
		return err;
	cmd->out_ioas_id = o->obj.id;
	err = ioctl_respond(k, sizeof(*cmd));
	if (err)
		ioas_object_abort(o);
	else
		iommufd_object_ready(&o->obj);
	return err;
}

/* ---- ranges ---- */

struct range_list {
	struct iommu_iova_range *r; /* NULL: count only */
	uint32_t n, room;
};

static void add_range(void *ctx, uint64_t first, uint64_t last)
{
	struct range_list *l = ctx;

	if (l->n < l->room)
		l->r[l->n] = (struct iommu_iova_range){first, last};
	l->n++;
}

long ioctl_ioas_iova_ranges(struct ioctl_call *k)
{
	struct iommu_ioas_iova_ranges *cmd = k->cmd;
	struct range_list l = {0};
	struct ioas_object *o;
	uint32_t room, n;
	int err = 0;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	o = ioas_object_find(k->ctx, cmd->ioas_id);
	if (!o)
		return -ENOENT;
	ioas_ranges(o->io, add_range, &l);
	room = cmd->num_iovas;
	n = MIN(l.n, room);
	if (n) {
		l = (struct range_list){.r = mem_calloc(n, sizeof(*l.r)), .room = n};
		if (!l.r)
			return -ENOMEM;
		ioas_ranges(o->io, add_range, &l);
		err = ucall_copy_out(k->c, cmd->allowed_iovas, l.r, n * sizeof(*l.r));
		free(l.r);
	}
	cmd->num_iovas = l.n;
	cmd->out_iova_alignment = ioas_alignment(o->io);
	if (!err)
		err = ioctl_respond(k, sizeof(*cmd));
	return err ? err : l.n > room ? -EMSGSIZE : 0;
}

long ioctl_ioas_allow_iovas(struct ioctl_call *k)
{
	struct iommu_ioas_allow_iovas *cmd = k->cmd;
	struct iova_range *r = NULL;
	struct ioas_object *o;
	int err = 0;

	_Static_assert(sizeof(struct iova_range) == sizeof(struct iommu_iova_range), "the same two words");
	if (cmd->__reserved)
		return -EOPNOTSUPP;
	o = ioas_object_find(k->ctx, cmd->ioas_id);
	if (!o)
		return -ENOENT;
	if (cmd->num_iovas) {
		r = cmd->num_iovas <= ALLOWED_MAX ? mem_calloc(cmd->num_iovas, sizeof(*r)) : NULL;
		if (!r)
			return -ENOMEM;
		err = ucall_copy_in(k->c, cmd->allowed_iovas, r, cmd->num_iovas * sizeof(*r));
	}
	if (!err)
		err = ioas_allow(o->io, r, cmd->num_iovas);
	free(r);
	return err;
}

/* ---- mapping ---- */

static int prot_of(uint32_t flags)
{
	return (flags & IOMMU_IOAS_MAP_READABLE ? IOMMU_READ : 0) |
	       (flags & IOMMU_IOAS_MAP_WRITEABLE ? IOMMU_WRITE : 0);
}

/* In a space that follows an address space, what is mapped is what is there: all of it, and at its own address. */
static int follow_pages(struct ioctl_call *k, struct ioas_object *o, struct iommu_ioas_map *cmd, uint64_t first,
			uint64_t span)
{
	struct pages *p;
	int err;

	if (cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA && cmd->iova != cmd->user_va)
		return -EINVAL;
	err = ioas_check_free(o->io, IOVA(cmd->user_va), cmd->length);
	if (!err)
		err = ucall_get_pages_followed(k->c, first, span, &p);
	if (err)
		return err;
	pages_configure(p, cmd->flags & IOMMU_IOAS_MAP_WRITEABLE, k->ctx->account, false);
	err = ioas_follow_map(o->io, cmd->length, p, cmd->user_va - first, prot_of(cmd->flags));
	pages_put(p);
	cmd->iova = cmd->user_va;
	return err ? err : ioctl_respond(k, sizeof(*cmd));
}

static int map_pages(struct ioas_object *o, uint32_t flags, __u64 *iova, uint64_t len, struct pages *p, uint64_t off)
{
	iova_t at = IOVA(*iova);
	int err;

	if (flags & IOMMU_IOAS_MAP_FIXED_IOVA)
		return ioas_map(o->io, at, len, p, off, prot_of(flags));
	err = ioas_map_auto(o->io, &at, len, p, off, prot_of(flags));
	*iova = at.a;
	return err;
}

/* Shared by MAP and MAP_FILE: what does not depend on where the memory comes from. */
static int map_check(struct ioctl_call *k, uint32_t flags, uint32_t id, uint64_t iova, uint64_t len,
		     struct ioas_object **o)
{
	if (flags & ~MAP_FLAGS)
		return -EOPNOTSUPP;
	if (iova == UINT64_MAX || len == UINT64_MAX)
		return -EOVERFLOW;
	if (!prot_of(flags))
		return -EINVAL;
	*o = ioas_object_find(k->ctx, id);
	return *o ? 0 : -ENOENT;
}

int ioas_page_span(uint64_t start, uint64_t len, uint64_t *first, uint64_t *span)
{
	uint64_t end;

	if (!len || len > UINT64_MAX - PF_PAGE_SIZE)
		return -EINVAL;
	if (add_overflows(start, len, &end))
		return -EOVERFLOW;
	*first = ALIGN_DOWN(start, PF_PAGE_SIZE);
	*span = ALIGN_UP(end, PF_PAGE_SIZE) - *first;
	return 0;
}

/* Only who names an address can go on as if something were there. */
static int map_answer(struct ioas_object *o, uint32_t flags, uint64_t iova, uint64_t len, uint64_t va, int err)
{
	return err && err != UCALL_AGAIN && o && flags & IOMMU_IOAS_MAP_FIXED_IOVA
		   ? ioas_refused(o->io, IOVA(iova), len, va, err)
		   : err;
}

long ioctl_ioas_map(struct ioctl_call *k)
{
	struct iommu_ioas_map *cmd = k->cmd;
	struct ioas_object *o = NULL;
	uint64_t first, span;
	struct pages *p;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	err = map_check(k, cmd->flags, cmd->ioas_id, cmd->iova, cmd->length, &o);
	if (!err)
		err = ioas_page_span(cmd->user_va, cmd->length, &first, &span);
	if (!err && ioas_follows(o->io))
		return follow_pages(k, o, cmd, first, span);
	/* Client memory is not touched for nothing. */
	if (!err && cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA)
		err = ioas_check_free(o->io, IOVA(cmd->iova), cmd->length);
	if (!err)
		err = ucall_get_pages_lazy(k->c, first, span, &p);
	if (err)
		return map_answer(o, cmd->flags, cmd->iova, cmd->length, cmd->user_va, err);
	pages_configure(p, cmd->flags & IOMMU_IOAS_MAP_WRITEABLE, k->ctx->account, false);
	err = map_pages(o, cmd->flags, &cmd->iova, cmd->length, p, cmd->user_va - first);
	pages_put(p);
	err = map_answer(o, cmd->flags, cmd->iova, cmd->length, cmd->user_va, err);
	return err ? err : ioctl_respond(k, sizeof(*cmd));
}

/* [first, first + span) of what stands behind the descriptor: a device's memory, or a file. */
static int file_pages(struct ioctl_call *k, int fd, uint64_t first, uint64_t span, struct pages **p, bool *file)
{
	struct ufile *f;
	struct dmabuf *b;
	int err;

	err = ucall_get_file(k->c, fd, &f);
	if (err && err != -EINVAL)
		return err;
	b = err ? NULL : dmabuf_of(f);
	*file = !b;
	if (!b)
		return ucall_get_file_pages(k->c, fd, first, span, p);
	if (first > b->size || span > b->size - first)
		return -EINVAL;
	return b->ops->pages(b, first, span, k->c->owner, p);
}

long ioctl_ioas_map_file(struct ioctl_call *k)
{
	struct iommu_ioas_map_file *cmd = k->cmd;
	uint64_t first, span;
	struct ioas_object *o;
	struct pages *p;
	bool file;
	int err;

	err = map_check(k, cmd->flags, cmd->ioas_id, cmd->iova, cmd->length, &o);
	if (!err)
		err = ioas_page_span(cmd->start, cmd->length, &first, &span);
	if (!err)
		err = file_pages(k, cmd->fd, first, span, &p, &file);
	if (err)
		return err;
	pages_configure(p, cmd->flags & IOMMU_IOAS_MAP_WRITEABLE, k->ctx->account, file);
	err = map_pages(o, cmd->flags, &cmd->iova, cmd->length, p, cmd->start - first);
	pages_put(p);
	return err ? err : ioctl_respond(k, sizeof(*cmd));
}

/* What is wrong with the source of a copy is said before what is wrong with its destination. */
static int ioas_copy_check(struct ioas *io, uint64_t iova, uint64_t len)
{
	struct ioas_area_info a;
	uint64_t last;

	if (!len)
		return -EINVAL;
	if (add_overflows(iova, len - 1, &last))
		return -EOVERFLOW;
	while (ioas_next(io, iova, &a) && a.iova <= iova) {
		if (last - a.iova <= a.len - 1)
			return 0;
		iova = a.iova + a.len;
	}
	return -ENOENT;
}

long ioctl_ioas_copy(struct ioctl_call *k)
{
	struct iommu_ioas_copy *cmd = k->cmd;
	struct ioas_object *src, *dst;
	iova_t at = IOVA(cmd->dst_iova);
	int err;

	if (cmd->flags & ~MAP_FLAGS)
		return -EOPNOTSUPP;
	if (cmd->length == UINT64_MAX || cmd->src_iova == UINT64_MAX || cmd->dst_iova == UINT64_MAX)
		return -EOVERFLOW;
	if (!prot_of(cmd->flags))
		return -EINVAL;
	src = ioas_object_find(k->ctx, cmd->src_ioas_id);
	if (!src)
		return -ENOENT;
	dst = ioas_object_find(k->ctx, cmd->dst_ioas_id);
	if (!dst) {
		err = ioas_copy_check(src->io, cmd->src_iova, cmd->length);
		return err ? err : -ENOENT;
	}
	err = ioas_copy(dst->io, &at, !(cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA), src->io, IOVA(cmd->src_iova),
			cmd->length, prot_of(cmd->flags));
	if (err)
		return err;
	cmd->dst_iova = at.a;
	return ioctl_respond(k, sizeof(*cmd));
}

long ioctl_ioas_unmap(struct ioctl_call *k)
{
	struct iommu_ioas_unmap *cmd = k->cmd;
	uint64_t last, unmapped = 0;
	struct ioas_object *o;
	int err;

	o = ioas_object_find(k->ctx, cmd->ioas_id);
	if (!o)
		return -ENOENT;
	if (cmd->iova == 0 && cmd->length == UINT64_MAX) {
		err = ioas_unmap(o->io, 0, UINT64_MAX, &unmapped);
	} else {
		if (cmd->iova == UINT64_MAX || cmd->length == UINT64_MAX)
			return -EOVERFLOW;
		if (!cmd->length)
			return -EINVAL;
		if (add_overflows(cmd->iova, cmd->length - 1, &last))
			return -EOVERFLOW;
		err = ioas_unmap(o->io, cmd->iova, last, &unmapped);
		if (!err && !unmapped)
			err = -ENOENT;
		ioas_unmap_asked(o->io, cmd->iova, cmd->length, unmapped, err);
	}
	if (err)
		return err;
	cmd->length = unmapped;
	return ioctl_respond(k, sizeof(*cmd));
}

/* ---- another process takes over ---- */

static bool all_files(struct ioas *io)
{
	struct ioas_area_info a;

	for (uint64_t at = 0; ioas_next(io, at, &a); at = a.iova + a.len) {
		if (!pages_is_file(a.pages))
			return false;
		if (add_overflows(a.iova, a.len, &at))
			break;
	}
	return true;
}

enum move { MOVE_PREPARE, MOVE_COMMIT, MOVE_ABORT };

/*
 * Takes one step for the areas of one IOAS, *n of them at most; *n counts down. Pages that several areas share are
 * charged by the first and left alone after: a prepare for pages that move already is nothing.
 */
static int move_areas(struct ioas *io, struct mm_owner *to, enum move step, uint64_t *n)
{
	struct ioas_area_info a;
	uint64_t at = 0;
	int err;

	while (*n && ioas_next(io, at, &a)) {
		if (step == MOVE_COMMIT)
			pages_move_commit(a.pages, to);
		else if (step == MOVE_ABORT)
			pages_move_abort(a.pages, to);
		else if ((err = pages_move_prepare(a.pages, to)))
			return err;
		--*n;
		if (add_overflows(a.iova, a.len, &at))
			break;
	}
	return 0;
}

static int move_all(struct iommufd_ctx *ctx, struct mm_owner *to, enum move step, uint64_t *n)
{
	int err = 0;

	for (uint32_t id = 1; !err && id <= ctx->nslots; id++) {
		struct iommufd_object *o = iommufd_object_peek(ctx, id, OBJECT_IOAS);

		if (o)
			err = move_areas(container_of(o, struct ioas_object, obj)->io, to, step, n);
	}
	return err;
}

long ioctl_ioas_change_process(struct ioctl_call *k)
{
	struct iommu_ioas_change_process *cmd = k->cmd;
	uint64_t left = UINT64_MAX, n;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	for (uint32_t id = 1; id <= k->ctx->nslots; id++) {
		struct iommufd_object *o = iommufd_object_peek(k->ctx, id, OBJECT_IOAS);

		if (o && !all_files(container_of(o, struct ioas_object, obj)->io))
			return -EINVAL;
	}
	err = move_all(k->ctx, k->c->owner, MOVE_PREPARE, &left);
	n = UINT64_MAX - left;
	move_all(k->ctx, k->c->owner, err ? MOVE_ABORT : MOVE_COMMIT, &n);
	return err;
}
