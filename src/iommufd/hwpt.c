/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables. Answers follow Linux 6.12 drivers/iommu/iommufd/hw_pagetable.c. */
#include <assert.h>
#include <stdlib.h>

#include "iommu/domain.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

#define USER_DATA_MAX	     64		/* the largest that a unit knows */
#define INVALIDATE_MAX	     (1u << 19) /* entries in one call */
#define INVALIDATE_ENTRY_MAX PF_PAGE_SIZE
#define INVALIDATE_BYTES_MAX (16u << 20) /* more at once is ENOMEM */

struct hwpt *hwpt_find(struct iommufd_ctx *ctx, uint32_t id)
{
	struct iommufd_object *o = iommufd_object_find(ctx, id, OBJECT_ANY);

	if (!o || (o->type != OBJECT_HWPT_PAGING && o->type != OBJECT_HWPT_NESTED))
		return NULL;
	return container_of(o, struct hwpt, obj);
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
	if (h->parent)
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
	struct hwpt *h = calloc(1, sizeof(*h));
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

int hwpt_new_paging(struct ioas_object *o, struct iommufd_device *dev, uint32_t flags, struct hwpt **out)
{
	struct domain_config cfg = {0};
	struct hwpt *h;
	int err;

	if (flags & ~(IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING))
		return -EOPNOTSUPP;
	err = dev->unit->paging(dev, flags, &cfg);
	if (!err)
		err = hwpt_new(dev, OBJECT_HWPT_PAGING, &h);
	if (err)
		return err;
	h->ioas = o;
	o->obj.users++;
	h->nest_parent = flags & IOMMU_HWPT_ALLOC_NEST_PARENT;
	h->d = domain_new(&cfg, o->ctx->m->evs);
	if (!h->d) {
		hwpt_abort(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

int hwpt_fill(struct hwpt *h)
{
	int err = ioas_add_domain(h->ioas->io, h->d);

	if (!err)
		list_add_tail(&h->ioas->hwpts, &h->node);
	return err;
}

static int hwpt_new_nested(struct ioctl_call *k, struct hwpt *parent, struct iommufd_device *dev,
			   const struct iommu_hwpt_alloc *cmd, struct hwpt **out)
{
	const struct iommufd_unit *u = dev->unit;
	uint8_t data[USER_DATA_MAX];
	struct hwpt *h;
	size_t known;
	int err;

	if (cmd->flags & ~IOMMU_HWPT_FAULT_ID_VALID || !cmd->data_len || !u->nested_size)
		return -EOPNOTSUPP;
	if (parent->automatic || !parent->nest_parent || parent->unit != u)
		return -EINVAL;
	known = u->nested_size(cmd->data_type);
	if (!known)
		return -EOPNOTSUPP;
	if (cmd->data_len != known)
		return -EINVAL;
	assert(known <= sizeof(data));
	err = ucall_copy_in(k->c, cmd->data_uptr, data, known);
	if (!err)
		err = hwpt_new(dev, OBJECT_HWPT_NESTED, &h);
	if (err)
		return err;
	h->parent = parent;
	parent->obj.users++;
	err = u->nested(dev, parent->d, cmd->data_type, data, &h->d, &h->state);
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
	int err;

	if (!o)
		return -EINVAL;
	if (o->type == OBJECT_IOAS) {
		/* No unit of ours takes data for a page table of the kernel's own. */
		if (cmd->data_len)
			return -EOPNOTSUPP;
		err = hwpt_new_paging(container_of(o, struct ioas_object, obj), dev, cmd->flags, h);
		if (!err) {
			err = hwpt_fill(*h);
			if (err)
				hwpt_abort(*h);
		}
		return err;
	}
	if (o->type != OBJECT_HWPT_PAGING)
		return -EINVAL;
	return hwpt_new_nested(k, container_of(o, struct hwpt, obj), dev, cmd, h);
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
		if (!h->fault)
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

static int invalidate_all(struct ioctl_call *k, struct hwpt *h, const struct iommu_hwpt_invalidate *cmd, uint32_t *done)
{
	size_t len = (size_t)cmd->entry_num * cmd->entry_len, known;
	uint8_t *entries;
	int err;

	known = h->unit->invalidate_size(cmd->data_type);
	if (!known)
		return -EINVAL;
	if (!cmd->entry_num)
		return 0;
	if (cmd->entry_len != known)
		return -EINVAL;
	entries = len <= INVALIDATE_BYTES_MAX ? malloc(len) : NULL;
	if (!entries)
		return -ENOMEM;
	err = ucall_copy_in(k->c, cmd->data_uptr, entries, len);
	while (!err && *done < cmd->entry_num) {
		err = h->unit->invalidate(h->d, h->state, cmd->data_type, entries + (size_t)*done * known);
		if (!err)
			++*done;
	}
	free(entries);
	return err;
}

long ioctl_hwpt_invalidate(struct ioctl_call *k)
{
	struct iommu_hwpt_invalidate *cmd = k->cmd;
	uint32_t done = 0;
	struct hwpt *h;
	int err, out;

	if (cmd->__reserved) {
		err = -EOPNOTSUPP;
	} else if (cmd->entry_num && (!cmd->data_uptr || !cmd->entry_len || cmd->entry_len > INVALIDATE_ENTRY_MAX ||
				      cmd->entry_num > INVALIDATE_MAX)) {
		err = -EINVAL;
	} else {
		h = hwpt_find_type(k->ctx, cmd->hwpt_id, OBJECT_HWPT_NESTED);
		err = h ? invalidate_all(k, h, cmd, &done) : -ENOENT;
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
