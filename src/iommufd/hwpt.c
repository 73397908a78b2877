/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables. Answers follow Linux 6.12 drivers/iommu/iommufd/hw_pagetable.c. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

#define USER_DATA_MAX	     256
#define INVALIDATE_MAX	     (1u << 19)	 /* entries in one call */
#define INVALIDATE_PIECE     (64u << 10) /* at least one entry */
#define INVALIDATE_ENTRY_MAX PF_PAGE_SIZE
#define INVALIDATE_BYTES_MAX (16u << 20) /* more at once is ENOMEM */

struct hwpt *hwpt_of(struct iommufd_object *o)
{
	if (!o || (o->type != OBJECT_HWPT_PAGING && o->type != OBJECT_HWPT_NESTED))
		return NULL;
	return container_of(o, struct hwpt, obj);
}

struct hwpt *hwpt_find(struct iommufd_ctx *ctx, uint32_t id)
{
	return hwpt_of(iommufd_object_find(ctx, id, OBJECT_ANY));
}

static struct hwpt *hwpt_find_type(struct iommufd_ctx *ctx, uint32_t id, enum object_type type)
{
	struct iommufd_object *o = iommufd_object_find(ctx, id, type);

	return o ? container_of(o, struct hwpt, obj) : NULL;
}

/* ---- life ---- */

void hwpt_destroy(struct iommufd_object *o)
{
	struct hwpt *h = container_of(o, struct hwpt, obj);

	if (!list_empty(&h->node)) {
		list_del(&h->node);
		ioas_remove_domain(h->ioas->io, h->d);
	}
	domain_free(h->d); /* NULL: it was never made */
	if (h->unit->nested_free)
		h->unit->nested_free(h->state);
	if (h->fault)
		fault_queue_put(h->fault);
	if (h->ioas)
		h->ioas->obj.users--;
	if (h->viommu)
		h->viommu->obj.users--;
	else if (h->parent)
		h->parent->obj.users--;
	free(h);
}

void hwpt_abort(struct hwpt *h)
{
	iommufd_object_abort(h->ctx, &h->obj);
	hwpt_destroy(&h->obj);
}

void hwpt_released(struct hwpt *h)
{
	if (h->automatic && !h->obj.users)
		iommufd_object_remove_own(h->ctx, &h->obj);
}

static int hwpt_new(struct iommufd_device *dev, enum object_type type, struct hwpt **out)
{
	struct hwpt *h = mem_calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	list_init(&h->node);
	h->ctx = dev->ctx;
	h->unit = dev->unit;
	err = iommufd_object_add(dev->ctx, &h->obj, type);
	if (err)
		free(h);
	else
		*out = h;
	return err;
}

static int new_paging(struct ioas_object *o, struct iommufd_device *dev, uint32_t flags, bool follows,
		      struct hwpt **out)
{
	struct domain_config cfg = {0};
	struct hwpt *h;
	int err;

	err = dev->unit->paging(dev, flags & ~IOMMU_HWPT_FAULT_ID_VALID, &cfg);
	if (!err)
		err = hwpt_new(dev, OBJECT_HWPT_PAGING, &h);
	if (err)
		return err;
	if (follows) {
		cfg.follows = true;
		cfg.pgsizes = PF_PAGE_SIZE;
	}
	h->ioas = o;
	o->obj.users++;
	h->nest_parent = flags & IOMMU_HWPT_ALLOC_NEST_PARENT;
	h->pasid = flags & IOMMU_HWPT_ALLOC_PASID;
	h->d = domain_new(&cfg, o->ctx->m->evs);
	if (!h->d) {
		hwpt_abort(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

/* 6.12 knows no page requests of paging ones, 6.13 and later do. */
int hwpt_new_paging(struct ioas_object *o, struct iommufd_device *dev, uint32_t flags, struct hwpt **out)
{
	uint32_t known = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_ALLOC_PASID;

	if (dev->unit->follows && !(flags & IOMMU_HWPT_ALLOC_NEST_PARENT))
		known |= IOMMU_HWPT_FAULT_ID_VALID;
	return flags & ~known ? -EOPNOTSUPP : new_paging(o, dev, flags, false, out);
}

static int hwpt_new_following(struct ioctl_call *k, struct ioas_object *o, struct iommufd_device *dev,
			      const struct iommu_hwpt_alloc *cmd, struct hwpt **out)
{
	struct iommu_hwpt_pinfold_follow data;
	int err;

	if (!dev->unit->follows || cmd->flags & ~(IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID))
		return -EOPNOTSUPP;
	err = ioctl_user_data(k, cmd->data_uptr, cmd->data_len, &data, sizeof(data), sizeof(data));
	if (err)
		return err;
	return data.flags || data.__reserved ? -EOPNOTSUPP : new_paging(o, dev, cmd->flags, true, out);
}

int hwpt_fill(struct hwpt *h)
{
	struct ioas_object *o = h->ioas;
	int err = ioas_add_domain(o->io, h->d);

	if (err)
		return err;
	list_add_tail(&o->hwpts, &h->node);
	if (ioas_follows(o->io) && list_empty(&o->follower))
		list_add_tail(&o->ctx->m->followers, &o->follower);
	return 0;
}

/* Below parent: for a device, or for a virtual IOMMU, which has its own notion of the user's data. */
static int hwpt_new_nested(struct ioctl_call *k, struct hwpt *parent, struct viommu *v, struct iommufd_device *dev,
			   const struct iommu_hwpt_alloc *cmd, struct hwpt **out)
{
	int (*size_of)(uint32_t type, uint32_t flags) = v ? v->ops->nested_size : dev->unit->nested_size;
	uint64_t data[USER_DATA_MAX / sizeof(uint64_t)];
	struct hwpt *h;
	int size, err;

	if (cmd->flags & ~(IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID) || !cmd->data_len || !size_of)
		return -EOPNOTSUPP;
	if (parent->automatic || !parent->nest_parent || parent->unit != dev->unit)
		return -EINVAL;
	size = size_of(cmd->data_type, cmd->flags & ~IOMMU_HWPT_FAULT_ID_VALID);
	if (size < 0)
		return size;
	assert((size_t)size <= sizeof(data));
	err = ioctl_user_data(k, cmd->data_uptr, cmd->data_len, data, size, size);
	if (!err)
		err = hwpt_new(dev, OBJECT_HWPT_NESTED, &h);
	if (err)
		return err;
	h->pasid = cmd->flags & IOMMU_HWPT_ALLOC_PASID;
	h->parent = parent;
	h->viommu = v;
	if (v)
		v->obj.users++;
	else
		parent->obj.users++;
	if (v)
		err = v->ops->nested(v, cmd->data_type, data, &h->d, &h->state);
	else
		err = dev->unit->nested(dev, parent->d, cmd->data_type, data, &h->d, &h->state);
	if (err)
		hwpt_abort(h);
	else
		*out = h;
	return err;
}

/* ---- HWPT_ALLOC ---- */

static int alloc_any(struct iommufd_device *dev, struct ioctl_call *k, const struct iommu_hwpt_alloc *cmd,
		     struct hwpt **h)
{
	struct iommufd_object *o = iommufd_object_find(dev->ctx, cmd->pt_id, OBJECT_ANY);
	struct viommu *v;
	int err;

	if (!o)
		return -EINVAL;
	if (o->type == OBJECT_IOAS) {
		/* No unit of ours takes other data for a page table of the kernel's own. */
		if (cmd->data_type == IOMMU_HWPT_DATA_PINFOLD_FOLLOW)
			err = hwpt_new_following(k, container_of(o, struct ioas_object, obj), dev, cmd, h);
		else if (cmd->data_len)
			err = -EOPNOTSUPP;
		else
			err = hwpt_new_paging(container_of(o, struct ioas_object, obj), dev, cmd->flags, h);
		if (!err) {
			err = hwpt_fill(*h);
			if (err)
				hwpt_abort(*h);
		}
		return err;
	}
	if (o->type == OBJECT_HWPT_PAGING)
		return hwpt_new_nested(k, container_of(o, struct hwpt, obj), NULL, dev, cmd, h);
	if (o->type != OBJECT_VIOMMU)
		return -EINVAL;
	v = container_of(o, struct viommu, obj);
	return v->unit == dev->unit ? hwpt_new_nested(k, v->hwpt, v, dev, cmd, h) : -EINVAL;
}

long ioctl_hwpt_alloc(struct ioctl_call *k)
{
	struct iommu_hwpt_alloc *cmd = k->cmd;
	struct iommufd_device *dev;
	struct hwpt *h;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if ((cmd->data_type == IOMMU_HWPT_DATA_NONE) != !cmd->data_len)
		return -EINVAL;
	dev = device_find(k->ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	err = alloc_any(dev, k, cmd, &h);
	if (err)
		return err;
	if (cmd->flags & IOMMU_HWPT_FAULT_ID_VALID) {
		h->fault = fault_queue_get(k->ctx, cmd->fault_id);
		if (h->fault)
			domain_set_requests(h->d, hwpt_take_request, h);
		else
			err = -ENOENT;
	}
	cmd->out_hwpt_id = h->obj.id;
	if (!err)
		err = ioctl_respond(k, sizeof(*cmd));
	if (err)
		hwpt_abort(h);
	else
		iommufd_object_ready(&h->obj);
	return err;
}

/* ---- HWPT_INVALIDATE ---- */

/* Whose cache it is: a nested page table's, or that of a virtual IOMMU. */
struct cache {
	struct hwpt *h;
	struct viommu *v; /* NULL: h */
	size_t size;	  /* of an entry as it is known here */
};

static int cache_find(struct ioctl_call *k, const struct iommu_hwpt_invalidate *cmd, struct cache *c)
{
	struct iommufd_object *o = iommufd_object_find(k->ctx, cmd->hwpt_id, OBJECT_ANY);
	int (*size_of)(uint32_t type), size;

	c->v = o && o->type == OBJECT_VIOMMU ? container_of(o, struct viommu, obj) : NULL;
	c->h = o && o->type == OBJECT_HWPT_NESTED ? container_of(o, struct hwpt, obj) : NULL;
	if (!c->v && !c->h)
		return -ENOENT;
	size_of = c->v ? c->v->ops->invalidate_size : c->h->unit->invalidate_size;
	if (!size_of)
		return -EOPNOTSUPP;
	size = size_of(cmd->data_type);
	if (size < 0)
		return size;
	assert(size <= USER_DATA_MAX);
	c->size = size;
	return !cmd->entry_num && c->v && c->v->ops->invalidate_some ? -EINVAL : 0;
}

/* A virtual IOMMU takes shorter entries, and longer ones whose tail is zero; all of them, or none is carried out. */
static int check_entries(const struct cache *c, size_t len, const uint8_t *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = c->size; j < len; j++)
			if (entries[i * len + j])
				return -E2BIG;
	return 0;
}

static int invalidate_one(const struct cache *c, const struct iommu_hwpt_invalidate *cmd, const uint8_t *entry)
{
	uint64_t known[USER_DATA_MAX / sizeof(uint64_t)] = {0};

	memcpy(known, entry, MIN(c->size, (size_t)cmd->entry_len));
	return c->v ? c->v->ops->invalidate(c->v, cmd->data_type, known)
		    : c->h->unit->invalidate(c->h->d, c->h->state, cmd->data_type, known);
}

/* Entries [*done, *done + n), which are the next. */
static int invalidate_some(struct ioctl_call *k, const struct iommu_hwpt_invalidate *cmd, const struct cache *c,
			   uint8_t *entries, uint32_t n, uint32_t *done)
{
	int err;

	err =
	    ucall_copy_in(k->c, cmd->data_uptr + (uint64_t)*done * cmd->entry_len, entries, (size_t)n * cmd->entry_len);
	if (!err)
		err = check_entries(c, cmd->entry_len, entries, n);
	for (uint32_t i = 0; !err && i < n; i++) {
		err = invalidate_one(c, cmd, entries + (size_t)i * cmd->entry_len);
		if (!err)
			++*done;
	}
	return err;
}

/* In pieces, because nothing behind a wrong entry is read. A piece that has to be waited for starts the call anew: what
 * was invalidated is so again. */
static int invalidate_all(struct ioctl_call *k, const struct iommu_hwpt_invalidate *cmd, uint32_t *done)
{
	uint32_t piece = cmd->entry_num;
	struct cache c;
	uint8_t *entries;
	int err;

	err = cache_find(k, cmd, &c);
	if (err || !cmd->entry_num)
		return err;
	if (!c.v && cmd->entry_len != c.size)
		return -EINVAL;
	if (!c.v)
		piece = MIN(piece, INVALIDATE_PIECE / cmd->entry_len);
	entries =
	    (size_t)piece * cmd->entry_len <= INVALIDATE_BYTES_MAX ? mem_alloc((size_t)piece * cmd->entry_len) : NULL;
	if (!entries)
		return -ENOMEM;
	while (!err && *done < cmd->entry_num)
		err = invalidate_some(k, cmd, &c, entries, MIN(piece, cmd->entry_num - *done), done);
	free(entries);
	return err;
}

long ioctl_hwpt_invalidate(struct ioctl_call *k)
{
	struct iommu_hwpt_invalidate *cmd = k->cmd;
	uint32_t done = 0;
	int err, out;

	if (cmd->__reserved) {
		err = -EOPNOTSUPP;
	} else if (cmd->entry_num && (!cmd->data_uptr || !cmd->entry_len || cmd->entry_len > INVALIDATE_ENTRY_MAX ||
				      cmd->entry_num > INVALIDATE_MAX)) {
		err = -EINVAL;
	} else {
		err = invalidate_all(k, cmd, &done);
	}
	if (err == UCALL_AGAIN)
		return err;
	cmd->entry_num = done;
	out = ioctl_respond(k, sizeof(*cmd));
	return out ? out : err;
}

/* ---- dirty tracking ---- */

long ioctl_hwpt_set_dirty_tracking(struct ioctl_call *k)
{
	struct iommu_hwpt_set_dirty_tracking *cmd = k->cmd;
	struct hwpt *h;

	if (cmd->flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE)
		return -EOPNOTSUPP;
	h = hwpt_find_type(k->ctx, cmd->hwpt_id, OBJECT_HWPT_PAGING);
	if (!h)
		return -ENOENT;
	return domain_set_dirty_tracking(h->d, cmd->flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE);
}
