/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual IOMMUs of the test interface's unit. Answers follow Linux 6.17 drivers/iommu/iommufd/selftest.c. */
#include <stdlib.h>

#include "iommufd/mock.h"

#define MOCK_VIOMMU_PAGES 2

/* ---- what the unit does ---- */

/* The user's number comes back in the data and stands in the page. */
static int viommu_init(struct viommu *v, void *data)
{
	struct mock_viommu_data *d = data;
	struct iommufd_mmap *m;
	uint64_t off;
	void *page;
	int err;

	if (!d)
		return 0;
	err = iommufd_mmap_new(v->ctx, MOCK_VIOMMU_PAGES * PF_PAGE_SIZE, &m, &page, &off);
	if (err)
		return err;
	*(uint32_t *)page = d->in_data;
	d->out_data = d->in_data;
	d->out_mmap_offset = off;
	d->out_mmap_length = MOCK_VIOMMU_PAGES * PF_PAGE_SIZE;
	v->state = m;
	return 0;
}

static void viommu_fini(struct viommu *v)
{
	if (v->state)
		iommufd_mmap_free(v->state);
}

static int viommu_nested(struct viommu *v, uint32_t type, const void *data, struct domain **d, void **state)
{
	return mock_nested_new(v->hwpt->d, data, d, state);
}

static int viommu_invalidate_size(uint32_t type)
{
	return type == MOCK_VIOMMU_INVALIDATE_DATA ? (int)sizeof(struct mock_viommu_invalidate) : -EINVAL;
}

static int viommu_invalidate(struct viommu *v, uint32_t type, const void *entry)
{
	const struct mock_viommu_invalidate *inv = entry;
	struct vdevice *vdev;
	struct mock_dev *m;

	if (inv->flags & ~(uint32_t)MOCK_INVALIDATE_ALL)
		return -EOPNOTSUPP;
	vdev = viommu_vdevice(v, inv->vdev_id);
	if (inv->cache_id >= MOCK_CACHE_NUM || !vdev)
		return -EINVAL;
	m = mock_of(vdev->dev);
	for (unsigned int i = 0; i < MOCK_CACHE_NUM; i++)
		if (inv->flags & MOCK_INVALIDATE_ALL || i == inv->cache_id)
			m->cache[i] = 0;
	return 0;
}

static bool viommu_hw_queue_type(uint32_t type)
{
	return type == MOCK_HW_QUEUE_TYPE;
}

/* Each queue needs the one before it. */
static int viommu_hw_queue_init(struct hw_queue *q)
{
	if (q->index >= MOCK_HW_QUEUE_MAX)
		return -EINVAL;
	if (viommu_hw_queue(q->viommu, q->type, q->index))
		return -EEXIST;
	if (q->index) {
		q->needs = viommu_hw_queue(q->viommu, q->type, q->index - 1);
		if (!q->needs)
			return -EIO;
	}
	return 0;
}

const struct iommufd_viommu_ops mock_viommu_ops = {
    .data_min = OFFSETOFEND(struct mock_viommu_data, out_data),
    .data_size = sizeof(struct mock_viommu_data),
    .init = viommu_init,
    .destroy = viommu_fini,
    .nested_size = mock_nested_size,
    .nested = viommu_nested,
    .invalidate_size = viommu_invalidate_size,
    .invalidate = viommu_invalidate,
    .hw_queue_type = viommu_hw_queue_type,
    .hw_queue_init = viommu_hw_queue_init,
};

/* ---- the test interface ---- */

static int find_dev(struct ioctl_call *k, uint32_t id, struct iommufd_device **dev)
{
	*dev = device_find(k->ctx, id);
	if (!*dev)
		return -ENOENT;
	return (*dev)->unit == &mock_unit ? 0 : -EINVAL;
}

long mock_dev_check_cache(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct iommufd_device *dev;
	uint32_t i = cmd->check_dev_cache.id;
	int err;

	err = find_dev(k, cmd->id, &dev);
	if (err)
		return err;
	return i < MOCK_CACHE_NUM && mock_of(dev)->cache[i] == cmd->check_dev_cache.cache ? 0 : -EINVAL;
}

/* The guest hears of a device that it has a name for (0 is none), by the virtual IOMMU that the device works behind. */
long mock_trigger_vevent(struct ioctl_call *k)
{
	const struct mock_cmd *cmd = k->cmd;
	struct iommufd_device *dev;
	struct mock_vevent event;
	const struct hwpt *h;
	int err;

	err = find_dev(k, cmd->vevent.dev_id, &dev);
	if (err)
		return err;
	h = dev->group->hwpt;
	if (!h || !h->viommu || !viommu_knows(dev, h) || !dev->vdev->node.start)
		return -ENOENT;
	event.virt_id = dev->vdev->node.start;
	return viommu_report_event(h->viommu, MOCK_VEVENTQ_TYPE, &event, sizeof(event));
}
