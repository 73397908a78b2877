/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that are bound to a context, and what they are attached to. Answers follow Linux 6.12
 * drivers/iommu/iommufd/device.c. */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

struct iommufd_device *device_find(struct iommufd_ctx *ctx, uint32_t id)
{
	struct iommufd_object *o = iommufd_object_find(ctx, id, OBJECT_DEVICE);

	return o ? container_of(o, struct iommufd_device, obj) : NULL;
}

/* ---- binding ---- */

static struct device_group *group_get(struct iommufd_ctx *ctx, const void *key)
{
	struct device_group *g;

	list_for_each (g, &ctx->groups, node)
		if (g->key == key) {
			g->refs++;
			return g;
		}
	g = mem_calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->key = key;
	g->refs = 1;
	list_init(&g->attached);
	list_init(&g->pasids);
	list_add_tail(&ctx->groups, &g->node);
	return g;
}

static void group_put(struct device_group *g)
{
	if (--g->refs)
		return;
	assert(!g->hwpt && list_empty(&g->attached) && list_empty(&g->pasids));
	list_del(&g->node);
	free(g);
}

int device_bind(struct iommufd_ctx *ctx, struct dma_dev *dma, const void *key, const struct iommufd_unit *u,
		bool hold_ctx, struct iommufd_device **out)
{
	struct iommufd_device *dev = mem_calloc(1, sizeof(*dev));
	int err = -ENOMEM;

	if (!dev)
		return -ENOMEM;
	list_init(&dev->node);
	dev->ctx = ctx;
	dev->dma = dma;
	dev->unit = u;
	dev->holds_ctx = hold_ctx;
	dev->group = group_get(ctx, key);
	if (dev->group)
		err = iommufd_object_add(ctx, &dev->obj, OBJECT_DEVICE);
	if (err) {
		if (dev->group)
			group_put(dev->group);
		free(dev);
		return err;
	}
	dev->obj.users = 1; /* whoever bound it */
	dma_dev_set_user(dma, dev);
	iommufd_object_ready(&dev->obj);
	if (hold_ctx)
		ufile_get(&ctx->file);
	*out = dev;
	return 0;
}

int iommufd_device_bind(struct iommufd_ctx *ctx, struct dma_dev *dma, const void *group, const struct iommufd_unit *u,
			struct iommufd_device **dev, uint32_t *id)
{
	int err = device_bind(ctx, dma, group, u, true, dev);

	if (!err)
		*id = (*dev)->obj.id;
	return err;
}

void iommufd_device_unbind(struct iommufd_device *dev)
{
	assert(!dev->attached && dev->obj.users == 1);
	dev->obj.users = 0;
	iommufd_object_remove_own(dev->ctx, &dev->obj);
}

void device_destroy(struct iommufd_object *o)
{
	struct iommufd_device *dev = container_of(o, struct iommufd_device, obj);
	struct iommufd_ctx *ctx = dev->holds_ctx ? dev->ctx : NULL;

	if (dev->vdev)
		iommufd_object_remove_tombstone(dev->ctx, &dev->vdev->obj);
	dma_dev_set_user(dev->dma, NULL);
	group_put(dev->group);
	free(dev);
	if (ctx)
		ufile_put(&ctx->file);
}

/* ---- reserved ranges ---- */

static void unreserve(struct iommufd_device *dev, struct ioas_object *o)
{
	ioas_unreserve(o->io, dev);
}

static int reserve(struct iommufd_device *dev, struct ioas_object *o)
{
	uint64_t first, last;
	int err = 0;

	for (unsigned int i = 0; !err && iommufd_unit_reserved(dev->unit, i, &first, &last); i++)
		err = ioas_reserve(o->io, first, last, dev);
	if (err)
		unreserve(dev, o);
	return err;
}

/* ---- attaching ---- */

/* The space whose ranges matter to who is attached to h; NULL: a nested one leaves that to its parent. */
static struct ioas_object *space_of(const struct hwpt *h)
{
	return h ? h->ioas : NULL;
}

int device_compatible(const struct iommufd_device *dev, const struct hwpt *h)
{
	int err;

	if (h->unit != dev->unit)
		return -EINVAL;
	if (h->fault && (err = dev->unit->pri(dev)))
		return err;
	if (dev->unit->attach && (err = dev->unit->attach(dev, h)))
		return err;
	/* Rule B2: what it would reach of other devices' memory. */
	return domain_admits(h->d, dev->dma);
}

/* For the device itself; the PASIDs of its group go on. */
static int compatible(const struct iommufd_device *dev, const struct hwpt *h)
{
	if (!h->pasid && !list_empty(&dev->group->pasids))
		return -EINVAL;
	return device_compatible(dev, h);
}

static int attach(struct iommufd_device *dev, struct hwpt *h)
{
	struct device_group *g = dev->group;
	int err;

	if (g->hwpt && g->hwpt != h)
		return -EINVAL;
	if (dev->attached)
		return -EBUSY;
	if (h->ioas) {
		err = reserve(dev, h->ioas);
		if (err)
			return err;
	}
	err = compatible(dev, h);
	if (err) {
		if (h->ioas)
			unreserve(dev, h->ioas);
		return err;
	}
	dma_dev_attach(dev->dma, h->d);
	g->hwpt = h;
	h->obj.users++;
	list_add_tail(&g->attached, &dev->node);
	dev->attached = true;
	dev->obj.users++;
	return 0;
}

/* Returns what it was attached to, which may be without a device now. */
static struct hwpt *detach(struct iommufd_device *dev)
{
	struct device_group *g = dev->group;
	struct hwpt *h = g->hwpt;

	dma_dev_detach(dev->dma);
	list_del(&dev->node);
	dev->attached = false;
	dev->obj.users--;
	if (list_empty(&g->attached))
		g->hwpt = NULL;
	if (h->fault)
		fault_queue_flush(h->fault, dev, 0);
	if (h->ioas)
		unreserve(dev, h->ioas);
	h->obj.users--;
	return h;
}

static void unreserve_first(struct device_group *g, struct ioas_object *o, const struct iommufd_device *end)
{
	struct iommufd_device *cur;

	list_for_each (cur, &g->attached, node) {
		if (cur == end)
			break;
		unreserve(cur, o);
	}
}

/* The whole group moves. Returns the old one in *old. */
static int replace(struct iommufd_device *dev, struct hwpt *h, struct hwpt **old)
{
	struct device_group *g = dev->group;
	struct ioas_object *to = space_of(h), *from = space_of(g->hwpt);
	struct iommufd_device *cur;
	int err = 0;

	*old = NULL;
	if (!g->hwpt || !dev->attached)
		return -EINVAL;
	if (h == g->hwpt)
		return 0;
	list_for_each (cur, &g->attached, node) {
		if (to && to != from)
			err = reserve(cur, to);
		if (!err) {
			err = compatible(cur, h);
			if (err && to && to != from)
				unreserve(cur, to);
		}
		if (err) {
			if (to && to != from)
				unreserve_first(g, to, cur);
			return err;
		}
	}
	*old = g->hwpt;
	list_for_each (cur, &g->attached, node) {
		dma_dev_attach(cur->dma, h->d);
		if ((*old)->fault)
			fault_queue_flush((*old)->fault, cur, 0);
		if (from && from != to)
			unreserve(cur, from);
		(*old)->obj.users--;
		h->obj.users++;
	}
	g->hwpt = h;
	return 0;
}

enum change { CHANGE_ATTACH, CHANGE_REPLACE };

static int change_to(struct iommufd_device *dev, struct hwpt *h, enum change how, struct hwpt **old)
{
	if (how == CHANGE_REPLACE)
		return replace(dev, h, old);
	*old = NULL;
	return attach(dev, h);
}

/* To an automatic page table of the space: one that is there and fits, or a new one. */
static int change_to_space(struct iommufd_device *dev, struct ioas_object *o, enum change how, struct hwpt **old,
			   uint32_t *id)
{
	struct hwpt *h;
	int err;

	list_for_each (h, &o->hwpts, node) {
		if (!h->automatic)
			continue;
		err = change_to(dev, h, how, old);
		if (err == -EINVAL)
			continue;
		*id = h->obj.id;
		return err;
	}
	err = hwpt_new_paging(o, dev, 0, &h);
	if (err)
		return err;
	if (how == CHANGE_ATTACH) {
		/* The device's own ranges are reserved before what is mapped is looked at. */
		err = attach(dev, h);
		if (!err) {
			err = hwpt_fill(h);
			if (err)
				detach(dev);
		}
	} else {
		err = hwpt_fill(h);
		if (!err)
			err = replace(dev, h, old);
	}
	if (err) {
		hwpt_abort(h);
		return err;
	}
	h->automatic = true;
	iommufd_object_ready(&h->obj);
	*id = h->obj.id;
	return 0;
}

static int change(struct iommufd_device *dev, uint32_t *pt_id, enum change how)
{
	struct iommufd_object *o = iommufd_object_find(dev->ctx, *pt_id, OBJECT_ANY);
	struct hwpt *h, *old = NULL;
	int err;

	if (!o)
		return -ENOENT;
	h = hwpt_of(o);
	if (h)
		err = change_to(dev, h, how, &old);
	else if (o->type == OBJECT_IOAS)
		err = change_to_space(dev, container_of(o, struct ioas_object, obj), how, &old, pt_id);
	else
		err = -EINVAL;
	if (!err && old)
		hwpt_released(old);
	return err;
}

int iommufd_device_attach(struct iommufd_device *dev, uint32_t *pt_id)
{
	return change(dev, pt_id, CHANGE_ATTACH);
}

int iommufd_device_replace(struct iommufd_device *dev, uint32_t *pt_id)
{
	return change(dev, pt_id, CHANGE_REPLACE);
}

void iommufd_device_detach(struct iommufd_device *dev)
{
	hwpt_released(detach(dev));
}

/* ---- GET_HW_INFO ---- */

#define HW_INFO_MAX 64
#define ZEROS_MAX   (1u << 20) /* at most as much of the caller's buffer is cleared as any kernel's info could take */

static int clear_user(struct ioctl_call *k, uint64_t addr, uint64_t len)
{
	static const uint8_t zeros[4096];
	int err = 0;

	len = MIN(len, (uint64_t)ZEROS_MAX);
	for (uint64_t n; !err && len; addr += n, len -= n) {
		n = MIN(len, (uint64_t)sizeof(zeros));
		err = ucall_copy_out(k->c, addr, zeros, n);
	}
	return err;
}

long ioctl_hw_info(struct ioctl_call *k)
{
	struct iommu_hw_info *cmd = k->cmd;
	struct iommufd_device *dev;
	struct domain_config cfg;
	uint8_t info[HW_INFO_MAX];
	uint32_t len, n;
	int err = 0;

	if (cmd->flags & ~IOMMU_HW_INFO_FLAG_INPUT_TYPE || cmd->__reserved[0] || cmd->__reserved[1] ||
	    cmd->__reserved[2])
		return -EOPNOTSUPP;
	dev = device_find(k->ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	if (cmd->flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE && cmd->out_data_type != IOMMU_HW_INFO_TYPE_NONE &&
	    cmd->out_data_type != dev->unit->hw_info_type)
		return -EOPNOTSUPP;
	len = dev->unit->hw_info ? dev->unit->hw_info(dev, info, sizeof(info)) : 0;
	assert(len <= sizeof(info));
	n = MIN(len, cmd->data_len);
	if (n)
		err = ucall_copy_out(k->c, cmd->data_uptr, info, n);
	if (!err)
		err = clear_user(k, cmd->data_uptr + n, cmd->data_len - n);
	if (err)
		return err;
	cmd->out_data_type = dev->unit->hw_info_type;
	cmd->data_len = len;
	cmd->out_max_pasid_log2 = dev->unit->pasid_bits ? dev->unit->pasid_bits(dev) : 0;
	cmd->out_capabilities =
	    dev->unit->paging(dev, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &cfg) ? 0 : IOMMU_HW_CAP_DIRTY_TRACKING;
	return ioctl_respond(k, sizeof(*cmd));
}
