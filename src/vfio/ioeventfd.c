/* SPDX-License-Identifier: BSD-3-Clause */
/* VFIO_DEVICE_IOEVENTFD: an eventfd whose signal becomes a register write. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "vfio/internal.h"

#define IOEVENTFD_MAX 1000 /* per function, as in the kernel */

struct ioeventfd {
	struct list node;
	struct vfio_dev *dev;
	struct eventfd_listener listener;
	unsigned int bar, size;
	uint64_t off, data;
};

static void ioeventfd_fired(struct eventfd_listener *l)
{
	struct ioeventfd *io = container_of(l, struct ioeventfd, listener);

	/* With memory decoding off the write is lost, as on a bus. */
	pci_bar_write(io->dev->f, io->bar, io->off, io->size, io->data);
}

static void ioeventfd_free(struct ioeventfd *io)
{
	eventfd_unlisten(&io->listener);
	list_del(&io->node);
	io->dev->nioeventfds--;
	free(io);
}

void ioeventfd_clear(struct vfio_dev *d)
{
	struct ioeventfd *io, *tmp;

	list_for_each_safe (io, tmp, &d->ioeventfds, node)
		ioeventfd_free(io);
}

void ioeventfd_settle(struct vfio_dev *d)
{
	struct ioeventfd *io;

	list_for_each (io, &d->ioeventfds, node)
		eventfd_listener_look(&io->listener);
}

static struct ioeventfd *ioeventfd_find(struct vfio_dev *d, const struct ioeventfd *key)
{
	struct ioeventfd *io;

	list_for_each (io, &d->ioeventfds, node)
		if (io->bar == key->bar && io->off == key->off && io->data == key->data && io->size == key->size)
			return io;
	return NULL;
}

/* Takes over fd. */
static int ioeventfd_add(struct vfio_dev *d, const struct ioeventfd *key, int fd)
{
	struct ioeventfd *io = mem_alloc(sizeof(*io));
	int ret = -ENOMEM;

	if (io) {
		*io = *key;
		io->dev = d;
		ret = eventfd_listen(&io->listener, d->v->loop, fd, ioeventfd_fired);
	}
	if (ret) {
		close(fd);
		free(io);
		return ret;
	}
	list_add_tail(&d->ioeventfds, &io->node);
	d->nioeventfds++;
	return 0;
}

/* Where to, checked: inside a BAR and clear of the MSI-X table. 0 or -EINVAL. */
static int parse(const struct vfio_dev *d, const struct vfio_device_ioeventfd *req, struct ioeventfd *key)
{
	uint64_t end;

	key->size = req->flags & VFIO_DEVICE_IOEVENTFD_SIZE_MASK;
	key->data = req->data;
	if (req->flags & ~VFIO_DEVICE_IOEVENTFD_SIZE_MASK || __builtin_popcount(key->size) != 1 || req->fd < -1)
		return -EINVAL;
	if (!region_locate(req->offset, &key->bar, &key->off) || key->bar > VFIO_PCI_BAR5_REGION_INDEX)
		return -EINVAL;
	if (add_overflows(key->off, key->size, &end) || end > d->f->bar[key->bar].size ||
	    region_hits_msix_table(d->f, key->bar, key->off, key->size))
		return -EINVAL;
	return 0;
}

long ioeventfd_set(struct ufile *f, struct ucall *c, uint64_t arg)
{
	const size_t minsz = OFFSETOFEND(struct vfio_device_ioeventfd, fd);
	struct vfio_dev *d = container_of(f, struct device_file, file)->dev;
	struct vfio_device_ioeventfd req;
	struct ioeventfd key, *old;
	int ret, fd;

	ret = ucall_copy_in(c, arg, &req, minsz);
	if (ret)
		return ret;
	if (req.argsz < minsz)
		return -EINVAL;
	ret = parse(d, &req, &key);
	if (ret)
		return ret;
	old = ioeventfd_find(d, &key);
	if (req.fd == -1) {
		if (!old)
			return -ENODEV;
		ioeventfd_free(old);
		return 0;
	}
	if (old)
		return -EEXIST;
	if (!d->v->loop)
		return -ENODEV;
	if (d->nioeventfds >= IOEVENTFD_MAX)
		return -ENOSPC;
	ret = ucall_get_fd(c, req.fd, &fd);
	return ret ? ret : ioeventfd_add(d, &key, fd);
}
