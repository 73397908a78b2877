/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's tie to an iommufd. Answers follow Linux 6.12 drivers/vfio/iommufd.c. */
#include <errno.h>

#include "iommufd/iommufd.h"
#include "vfio/internal.h"

bool binding_in_group(const struct vfio_group *g, const struct ufile *iommufd)
{
	for (size_t i = 0; i < g->v->ndev; i++) {
		const struct vfio_dev *d = g->v->dev[i];

		if (d->group == g && d->iommufd && (!iommufd || d->iommufd == iommufd))
			return true;
	}
	return false;
}

int binding_bind(struct vfio_dev *d, struct ufile *iommufd)
{
	struct iommufd_ctx *ctx = iommufd_ctx(iommufd);
	int err;

	/* The devices of a group reach each other's memory: they have one owner (iommu_device_claim_dma_owner). */
	if (binding_in_group(d->group, NULL) && !binding_in_group(d->group, iommufd))
		return -EPERM;
	if (d->group->host_use)
		return -EBUSY;
	err = iommufd_device_bind(ctx, d->f->dma, d->group, iommufd_pci_unit(ctx), &d->bound, &d->devid);
	if (err)
		return err;
	d->iommufd = iommufd;
	d->attached[BINDING_DEVICE] = d->attached[BINDING_PASID_0] = false;
	return 0;
}

int binding_attach(struct vfio_dev *d, enum binding_name name, uint32_t *pt_id)
{
	int err = d->attached[name] ? iommufd_device_replace(d->bound, pt_id) : iommufd_device_attach(d->bound, pt_id);

	if (!err)
		d->attached[name] = true;
	return err;
}

void binding_detach(struct vfio_dev *d, enum binding_name name)
{
	if (!d->attached[name])
		return;
	iommufd_device_detach(d->bound);
	d->attached[name] = false;
}

void binding_unbind(struct vfio_dev *d)
{
	struct iommufd_device *bound = d->bound;

	if (!bound)
		return;
	iommufd_device_pasid_detach_all(bound);
	binding_detach(d, BINDING_PASID_0);
	binding_detach(d, BINDING_DEVICE);
	/* With the device goes its hold on the context, and perhaps the context. */
	d->bound = NULL;
	d->iommufd = NULL;
	iommufd_device_unbind(bound);
}
