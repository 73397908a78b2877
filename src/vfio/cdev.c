/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * /dev/vfio/devices/vfioN: a device without its group. Until it is bound to an iommufd it answers nothing else; from
 * then on it is as one that came from a group. Answers follow Linux 6.12 drivers/vfio/device_cdev.c, those about
 * PASIDs 6.15.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommufd/iommufd.h"
#include "uapi/vfio_abi.h"
#include "vfio/internal.h"

static inline struct device_file *to_file(struct ufile *f)
{
	return container_of(f, struct device_file, file);
}

/* ---- BIND ---- */

static int bind_check(const struct device_file *df)
{
	if (df->dev->group->opened)
		return -EBUSY;
	return df->bound ? -EINVAL : 0;
}

static long cdev_bind(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct device_file *df = to_file(f);
	struct vfio_device_bind_iommufd bind;
	struct vfio_dev *d = df->dev;
	struct ufile *iommufd;
	int err, found;

	err = ucall_copy_in(c, arg, &bind, sizeof(bind));
	if (err)
		return err;
	if (bind.argsz < sizeof(bind) || bind.flags || bind.iommufd < 0)
		return -EINVAL;
	found = ucall_get_file(c, bind.iommufd, &iommufd);
	if (found == UCALL_AGAIN)
		return found;
	err = bind_check(df);
	if (err)
		return err;
	if (found && found != -EINVAL)
		return found;
	if (found || !iommufd_ctx(iommufd))
		return -EBADFD;
	/* Who shares a device shares its group's descriptor; its own node has one user. */
	if (d->open_count)
		return -EINVAL;
	err = device_enter(d, iommufd);
	if (err)
		return err;
	err =
	    ucall_copy_out(c, arg + offsetof(struct vfio_device_bind_iommufd, out_devid), &d->devid, sizeof(d->devid));
	if (err) {
		device_leave(d);
		return err;
	}
	d->group->cdevs++;
	d->by_cdev = true;
	df->bound = true;
	return 0;
}

/* ---- ATTACH, DETACH ---- */

static long device_attach(struct vfio_dev *d, enum binding_name name, struct ucall *c, uint64_t arg, uint32_t pt_id)
{
	int err = binding_attach(d, name, &pt_id);

	if (err)
		return err;
	err = ucall_copy_out(c, arg + offsetof(struct vfio_device_attach_iommufd_pt, pt_id), &pt_id, sizeof(pt_id));
	if (err)
		binding_detach(d, name);
	return err;
}

/* PASID 0 stands for requests without one: to iommufd it is the device. */
static long pasid_attach(struct vfio_dev *d, struct ucall *c, uint64_t arg)
{
	struct vfio_device_attach_iommufd_pt attach;
	int err = ucall_copy_in(c, arg, &attach, sizeof(attach));

	if (err)
		return err;
	if (!attach.pasid)
		return device_attach(d, BINDING_PASID_0, c, arg, attach.pt_id);
	return iommufd_device_pasid_attach(d->bound, attach.pasid, attach.pt_id);
}

static long pasid_detach(struct vfio_dev *d, struct ucall *c, uint64_t arg)
{
	struct vfio_device_detach_iommufd_pt detach;
	int err = ucall_copy_in(c, arg, &detach, sizeof(detach));

	if (err)
		return err;
	if (detach.pasid)
		iommufd_device_pasid_detach(d->bound, detach.pasid);
	else
		binding_detach(d, BINDING_PASID_0);
	return 0;
}

static long cdev_attach(struct ufile *f, struct ucall *c, uint64_t arg)
{
	const size_t minsz = OFFSETOFEND(struct vfio_device_attach_iommufd_pt, pt_id);
	struct vfio_device_attach_iommufd_pt attach;
	struct vfio_dev *d = to_file(f)->dev;
	int err;

	err = ucall_copy_in(c, arg, &attach, minsz);
	if (err)
		return err;
	if (attach.argsz < minsz || attach.flags & ~(uint32_t)VFIO_DEVICE_ATTACH_PASID)
		return -EINVAL;
	if (attach.flags)
		return attach.argsz < sizeof(attach) ? -EINVAL : pasid_attach(d, c, arg);
	return device_attach(d, BINDING_DEVICE, c, arg, attach.pt_id);
}

static long cdev_detach(struct ufile *f, struct ucall *c, uint64_t arg)
{
	const size_t minsz = OFFSETOFEND(struct vfio_device_detach_iommufd_pt, flags);
	struct vfio_device_detach_iommufd_pt detach;
	int err;

	err = ucall_copy_in(c, arg, &detach, minsz);
	if (err)
		return err;
	if (detach.argsz < minsz || detach.flags & ~(uint32_t)VFIO_DEVICE_DETACH_PASID)
		return -EINVAL;
	if (detach.flags)
		return detach.argsz < sizeof(detach) ? -EINVAL : pasid_detach(to_file(f)->dev, c, arg);
	binding_detach(to_file(f)->dev, BINDING_DEVICE);
	return 0;
}

/* ---- the file ---- */

static const struct vfio_ioctl cdev_ioctls[] = {
    {VFIO_DEVICE_ATTACH_IOMMUFD_PT, cdev_attach},
    {VFIO_DEVICE_DETACH_IOMMUFD_PT, cdev_detach},
};

static long cdev_ioctl(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	long ret;

	if (cmd == VFIO_DEVICE_BIND_IOMMUFD)
		return cdev_bind(f, c, arg);
	if (!to_file(f)->bound)
		return -EINVAL;
	device_call_begin(to_file(f)->dev);
	ret = vfio_dispatch(cdev_ioctls, ARRAY_SIZE(cdev_ioctls), f, c, cmd, arg, -ENOTTY);
	if (ret == -ENOTTY)
		return device_ioctl(f, c, cmd, arg);
	device_call_end(to_file(f)->dev);
	return ret;
}

static ssize_t cdev_pread(struct ufile *f, void *buf, size_t len, uint64_t off)
{
	return to_file(f)->bound ? region_pread(f, buf, len, off) : -EINVAL;
}

static ssize_t cdev_pwrite(struct ufile *f, const void *buf, size_t len, uint64_t off)
{
	return to_file(f)->bound ? region_pwrite(f, buf, len, off) : -EINVAL;
}

static int cdev_mmap(struct ufile *f, uint64_t off, uint64_t len, int prot, bool shared, struct umap *m)
{
	return to_file(f)->bound ? region_mmap(f, off, len, prot, shared, m) : -EINVAL;
}

static void cdev_release(struct ufile *f)
{
	struct device_file *df = to_file(f);

	if (df->bound) {
		df->dev->by_cdev = false;
		df->dev->group->cdevs--;
		device_leave(df->dev);
	}
	unbind_file_closed(df->dev);
	free(df);
}

bool cdev_is_bound(const struct ufile *f)
{
	return f->ops->release == cdev_release && container_of(f, struct device_file, file)->bound;
}

void cdev_init(struct vfio_dev *d, size_t index)
{
	snprintf(d->cdev_name, sizeof(d->cdev_name), "/dev/vfio/devices/vfio%zu", index);
	d->cdev_ops = (struct ufile_ops){
	    .name = d->cdev_name,
	    .ioctl = cdev_ioctl,
	    .pread = cdev_pread,
	    .pwrite = cdev_pwrite,
	    /* What is mapped is bound. */
	    .mmio_read = region_mmio_read,
	    .mmio_write = region_mmio_write,
	    .mmio_test = region_mmio_test,
	    .mmap = cdev_mmap,
	    .busy = device_busy,
	    .release = cdev_release,
	};
}

int vfio_open_cdev(struct vfio *v, uint64_t index, struct ufile **f)
{
	struct device_file *df;

	if (index >= v->ndev || v->dev[index]->state != DEVICE_BOUND)
		return -ENOENT;
	df = mem_calloc(1, sizeof(*df));
	if (!df)
		return -ENOMEM;
	df->dev = v->dev[index];
	ufile_init(&df->file, &df->dev->cdev_ops);
	unbind_file_opened(df->dev);
	*f = &df->file;
	return 0;
}
