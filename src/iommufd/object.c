/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommufd/internal.h"

iommufd_object_destroy_fn *const iommufd_object_destroy[OBJECT_TYPES] = {
    [OBJECT_IOAS] = ioas_object_destroy,  [OBJECT_HWPT_PAGING] = hwpt_destroy,	   [OBJECT_HWPT_NESTED] = hwpt_destroy,
    [OBJECT_DEVICE] = device_destroy,	  [OBJECT_ACCESS] = access_object_destroy, [OBJECT_FAULT] = fault_destroy,
    [OBJECT_SELFTEST] = selftest_destroy, [OBJECT_VIOMMU] = viommu_destroy,	   [OBJECT_VDEVICE] = vdevice_destroy,
    [OBJECT_VEVENTQ] = veventq_destroy,	  [OBJECT_HW_QUEUE] = hw_queue_destroy,
};

/* Stands in the slots of ids that are used up. */
static struct iommufd_object tombstone = {.users = 1};

static int table_grow(struct iommufd_ctx *ctx)
{
	uint32_t n = ctx->nslots ? 2 * ctx->nslots : 16;
	struct iommufd_object **t;

	if (n > INT32_MAX)
		return -ENOMEM;
	t = mem_reallocarray(ctx->object, n, sizeof(*t));
	if (!t)
		return -ENOMEM;
	for (uint32_t i = ctx->nslots; i < n; i++)
		t[i] = NULL;
	ctx->object = t;
	ctx->nslots = n;
	return 0;
}

int iommufd_object_add(struct iommufd_ctx *ctx, struct iommufd_object *o, enum object_type type)
{
	uint32_t i = ctx->first_free;
	int err;

	while (i < ctx->nslots && ctx->object[i])
		i++;
	if (i == ctx->nslots) {
		err = table_grow(ctx);
		if (err)
			return err;
	}
	*o = (struct iommufd_object){.id = i + 1, .type = type};
	ctx->object[i] = o;
	ctx->first_free = i + 1;
	ctx->nobjects++;
	return 0;
}

void iommufd_object_ready(struct iommufd_object *o)
{
	o->ready = true;
}

void iommufd_object_abort(struct iommufd_ctx *ctx, struct iommufd_object *o)
{
	uint32_t i = o->id - 1;

	assert(ctx->object[i] == o);
	ctx->object[i] = NULL;
	ctx->first_free = MIN(ctx->first_free, i);
	ctx->nobjects--;
}

struct iommufd_object *iommufd_object_peek(struct iommufd_ctx *ctx, uint32_t id, enum object_type type)
{
	struct iommufd_object *o = id && id <= ctx->nslots ? ctx->object[id - 1] : NULL;

	return o && o->ready && (type == OBJECT_ANY || o->type == type) ? o : NULL;
}

struct iommufd_object *iommufd_object_find(struct iommufd_ctx *ctx, uint32_t id, enum object_type type)
{
	return mem_fails() ? NULL : iommufd_object_peek(ctx, id, type);
}

void iommufd_object_remove_own(struct iommufd_ctx *ctx, struct iommufd_object *o)
{
	assert(!o->users);
	iommufd_object_abort(ctx, o);
	if (ctx->compat && o == &ctx->compat->obj)
		ctx->compat = NULL;
	iommufd_object_destroy[o->type](o);
}

void iommufd_object_remove_tombstone(struct iommufd_ctx *ctx, struct iommufd_object *o)
{
	uint32_t i = o->id - 1;

	iommufd_object_remove_own(ctx, o);
	ctx->object[i] = &tombstone;
	ctx->ntombstones++;
}

int iommufd_object_remove(struct iommufd_ctx *ctx, uint32_t id)
{
	struct iommufd_object *o = iommufd_object_peek(ctx, id, OBJECT_ANY);

	if (!o)
		return -ENOENT;
	if (o->users)
		return -EBUSY;
	iommufd_object_remove_own(ctx, o);
	return 0;
}

void iommufd_object_remove_all(struct iommufd_ctx *ctx)
{
	uint32_t before;

	while (ctx->nobjects) {
		before = ctx->nobjects;
		for (uint32_t i = 0; i < ctx->nslots; i++)
			if (ctx->object[i] && !ctx->object[i]->users)
				iommufd_object_remove_own(ctx, ctx->object[i]);
		assert(ctx->nobjects < before);
	}
	free(ctx->object);
	ctx->object = NULL;
	ctx->nslots = 0;
}

uint32_t iommufd_object_count(const struct iommufd_ctx *ctx)
{
	return ctx->nobjects + ctx->ntombstones;
}
