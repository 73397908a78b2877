/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual IOMMUs and the devices in them. Answers follow Linux 6.17 drivers/iommu/iommufd/viommu.c. */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

#define USER_DATA_MAX 256

struct viommu *viommu_find(struct iommufd_ctx *ctx, uint32_t id)
{
	struct iommufd_object *o = iommufd_object_find(ctx, id, OBJECT_VIOMMU);

	return o ? container_of(o, struct viommu, obj) : NULL;
}

/* ---- virtual IOMMUs ---- */

static void viommu_free(struct viommu *v)
{
	v->hwpt->obj.users--;
	free(v);
}

void viommu_destroy(struct iommufd_object *o)
{
	struct viommu *v = container_of(o, struct viommu, obj);

	assert(itree_empty(&v->vdevices) && list_empty(&v->veventqs) && list_empty(&v->hw_queues));
	if (v->ops->destroy)
		v->ops->destroy(v);
	viommu_free(v);
}

static int viommu_new(struct iommufd_ctx *ctx, const struct iommufd_device *dev, struct hwpt *h,
		      const struct iommufd_viommu_ops *ops, void *data, struct viommu **out)
{
	struct viommu *v = mem_calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	err = iommufd_object_add(ctx, &v->obj, OBJECT_VIOMMU);
	if (err) {
		free(v);
		return err;
	}
	v->ctx = ctx;
	v->unit = dev->unit;
	v->ops = ops;
	v->hwpt = h;
	h->obj.users++;
	itree_init(&v->vdevices);
	list_init(&v->veventqs);
	list_init(&v->hw_queues);
	err = ops->init ? ops->init(v, data) : 0;
	if (err) {
		iommufd_object_abort(ctx, &v->obj);
		viommu_free(v);
		return err;
	}
	*out = v;
	return 0;
}

static int find_parent(struct ioctl_call *k, uint32_t id, const struct iommufd_device *dev, struct hwpt **h)
{
	struct iommufd_object *o = iommufd_object_find(k->ctx, id, OBJECT_HWPT_PAGING);

	if (!o)
		return -ENOENT;
	*h = container_of(o, struct hwpt, obj);
	return (*h)->nest_parent && (*h)->unit == dev->unit ? 0 : -EINVAL;
}

long ioctl_viommu_alloc(struct ioctl_call *k)
{
	struct iommu_viommu_alloc *cmd = k->cmd;
	const struct iommufd_viommu_ops *ops;
	uint64_t data[USER_DATA_MAX / sizeof(uint64_t)];
	struct iommufd_device *dev;
	struct viommu *v;
	struct hwpt *h;
	bool given;
	int err;

	if (cmd->flags || cmd->type == IOMMU_VIOMMU_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	dev = device_find(k->ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	ops = dev->unit->viommu ? dev->unit->viommu(dev, cmd->type) : NULL;
	if (!ops)
		return -EOPNOTSUPP;
	assert(ops->data_size <= sizeof(data));
	given = cmd->data_len && ops->data_size;
	err = find_parent(k, cmd->hwpt_id, dev, &h);
	if (!err && given)
		err = ioctl_user_data(k, cmd->data_uptr, cmd->data_len, data, ops->data_min, ops->data_size);
	if (!err)
		err = viommu_new(k->ctx, dev, h, ops, given ? data : NULL, &v);
	if (err)
		return err;
	cmd->out_viommu_id = v->obj.id;
	if (given)
		err = ucall_copy_out(k->c, cmd->data_uptr, data, cmd->data_len);
	if (!err)
		err = ioctl_respond(k, sizeof(*cmd));
	if (err) {
		iommufd_object_abort(k->ctx, &v->obj);
		viommu_destroy(&v->obj);
		return err;
	}
	iommufd_object_ready(&v->obj);
	return 0;
}

/* ---- devices in them ---- */

struct vdevice *viommu_vdevice(const struct viommu *v, uint64_t virt_id)
{
	struct itree_node *n = itree_find_disjoint(&v->vdevices, virt_id);

	return n ? container_of(n, struct vdevice, node) : NULL;
}

bool viommu_knows(const struct iommufd_device *dev, const struct hwpt *h)
{
	return dev->vdev && dev->vdev->viommu == h->viommu;
}

void vdevice_destroy(struct iommufd_object *o)
{
	struct vdevice *vdev = container_of(o, struct vdevice, obj);

	itree_remove(&vdev->viommu->vdevices, &vdev->node);
	vdev->viommu->obj.users--;
	vdev->dev->vdev = NULL;
	free(vdev);
}

static int vdevice_new(struct viommu *v, struct iommufd_device *dev, uint64_t virt_id, struct vdevice **out)
{
	struct vdevice *vdev = mem_calloc(1, sizeof(*vdev));
	int err;

	if (!vdev)
		return -ENOMEM;
	err = iommufd_object_add(v->ctx, &vdev->obj, OBJECT_VDEVICE);
	if (err) {
		free(vdev);
		return err;
	}
	vdev->viommu = v;
	v->obj.users++;
	vdev->dev = dev;
	dev->vdev = vdev;
	vdev->node.start = vdev->node.last = virt_id;
	itree_insert(&v->vdevices, &vdev->node);
	*out = vdev;
	return 0;
}

long ioctl_vdevice_alloc(struct ioctl_call *k)
{
	struct iommu_vdevice_alloc *cmd = k->cmd;
	struct iommufd_device *dev;
	struct vdevice *vdev;
	struct viommu *v;
	int err;

	v = viommu_find(k->ctx, cmd->viommu_id);
	if (!v)
		return -ENOENT;
	dev = device_find(k->ctx, cmd->dev_id);
	if (!dev)
		return -ENOENT;
	if (v->unit != dev->unit)
		return -EINVAL;
	if (dev->vdev || viommu_vdevice(v, cmd->virt_id))
		return -EEXIST;
	err = vdevice_new(v, dev, cmd->virt_id, &vdev);
	if (err)
		return err;
	cmd->out_vdevice_id = vdev->obj.id;
	err = ioctl_respond(k, sizeof(*cmd));
	if (err) {
		iommufd_object_abort(k->ctx, &vdev->obj);
		vdevice_destroy(&vdev->obj);
		return err;
	}
	iommufd_object_ready(&vdev->obj);
	return 0;
}
