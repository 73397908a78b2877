/* SPDX-License-Identifier: BSD-3-Clause */
/* Page tables for PASIDs of devices. Answers follow Linux 6.15 drivers/iommu/iommufd/device.c. */
#include <stdlib.h>

#include "base/alloc.h"
#include "iommu/domain.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

/* One PASID of one device; those of a group's devices that are equal share their page table. */
struct pasid_attach {
	struct list node; /* group->pasids */
	struct iommufd_device *dev;
	struct hwpt *hwpt; /* held */
	uint32_t pasid;
};

static struct pasid_attach *attach_find(const struct iommufd_device *dev, uint32_t pasid)
{
	struct pasid_attach *a;

	list_for_each (a, &dev->group->pasids, node)
		if (a->dev == dev && a->pasid == pasid)
			return a;
	return NULL;
}

struct hwpt *device_pasid_hwpt(const struct iommufd_device *dev, uint32_t pasid)
{
	struct pasid_attach *a = attach_find(dev, pasid);

	return a ? a->hwpt : NULL;
}

/*
 * An IOAS stands for an automatic page table, which is never made for PASIDs: EINVAL, and so is what is attached to
 * the device itself if it was not made to have PASIDs beside it.
 */
static int find_hwpt(const struct iommufd_device *dev, uint32_t pt_id, struct hwpt **h)
{
	struct iommufd_object *o = iommufd_object_find(dev->ctx, pt_id, OBJECT_ANY);

	if (!o)
		return -ENOENT;
	*h = hwpt_of(o);
	return *h ? 0 : -EINVAL;
}

static int check(const struct iommufd_device *dev, uint32_t pasid, const struct hwpt *h)
{
	uint8_t bits = dev->unit->pasid_bits ? dev->unit->pasid_bits(dev) : 0;
	const struct hwpt *own = dev->group->hwpt;
	int err;

	if (!h->pasid || (own && !own->pasid))
		return -EINVAL;
	if (!dev->unit->attach_pasid)
		return -EOPNOTSUPP;
	if (!bits || pasid >> bits)
		return -EINVAL;
	err = device_compatible(dev, h);
	return err ? err : dev->unit->attach_pasid(dev, h->d, pasid);
}

int device_pasid_attach(struct iommufd_device *dev, uint32_t pasid, uint32_t pt_id)
{
	struct pasid_attach *a, *other;
	struct hwpt *h;
	int err;

	err = find_hwpt(dev, pt_id, &h);
	if (err)
		return err;
	list_for_each (other, &dev->group->pasids, node)
		if (other->pasid == pasid && other->hwpt != h)
			return -EINVAL;
	if (attach_find(dev, pasid))
		return -EBUSY;
	a = mem_alloc(sizeof(*a));
	if (!a)
		return -ENOMEM;
	err = check(dev, pasid, h);
	if (!err)
		err = dma_pasid_attach(dev->dma, pasid, h->d);
	if (err) {
		free(a);
		return err;
	}
	a->dev = dev;
	a->hwpt = h;
	a->pasid = pasid;
	h->obj.users++;
	dev->obj.users++;
	list_add_tail(&dev->group->pasids, &a->node);
	return 0;
}

/* What a held is let go of. */
static void attach_drop(struct pasid_attach *a)
{
	if (a->hwpt->fault)
		fault_queue_flush(a->hwpt->fault, a->dev, a->pasid);
	a->hwpt->obj.users--;
	hwpt_released(a->hwpt);
}

/* The whole group moves, or nobody: only the first check can fail, as they ask the same of all. */
int device_pasid_replace(struct iommufd_device *dev, uint32_t pasid, uint32_t pt_id)
{
	struct pasid_attach *a = attach_find(dev, pasid), *cur;
	struct hwpt *h;
	int err;

	err = find_hwpt(dev, pt_id, &h);
	if (err)
		return err;
	if (!a)
		return -EINVAL;
	if (a->hwpt == h)
		return 0;
	err = check(dev, pasid, h);
	if (err)
		return err;
	list_for_each (cur, &dev->group->pasids, node)
		if (cur->pasid == pasid) {
			/* It is attached: this only moves it. No DMA goes the old way any more when that is let go. */
			dma_pasid_attach(cur->dev->dma, pasid, h->d);
			attach_drop(cur);
			cur->hwpt = h;
			h->obj.users++;
		}
	return 0;
}

static void attach_end(struct pasid_attach *a)
{
	if (a->dev->unit->attach_pasid)
		a->dev->unit->attach_pasid(a->dev, NULL, a->pasid);
	dma_pasid_detach(a->dev->dma, a->pasid);
	attach_drop(a);
	a->dev->obj.users--;
	list_del(&a->node);
	free(a);
}

void device_pasid_detach(struct iommufd_device *dev, uint32_t pasid)
{
	struct pasid_attach *a = attach_find(dev, pasid);

	if (a)
		attach_end(a);
}

void device_pasid_detach_all(struct iommufd_device *dev)
{
	struct list *l = &dev->group->pasids, *next;

	for (struct list *n = l->next; n != l; n = next) {
		struct pasid_attach *a = container_of(n, struct pasid_attach, node);

		next = n->next;
		if (a->dev == dev)
			attach_end(a);
	}
}

/* ---- for vfio/ ---- */

int iommufd_device_pasid_attach(struct iommufd_device *dev, uint32_t pasid, uint32_t pt_id)
{
	return attach_find(dev, pasid) ? device_pasid_replace(dev, pasid, pt_id)
				       : device_pasid_attach(dev, pasid, pt_id);
}

void iommufd_device_pasid_detach(struct iommufd_device *dev, uint32_t pasid)
{
	device_pasid_detach(dev, pasid);
}

void iommufd_device_pasid_detach_all(struct iommufd_device *dev)
{
	device_pasid_detach_all(dev);
}
