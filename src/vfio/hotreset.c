/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reset of a whole bus (VFIO_DEVICE_PCI_HOT_RESET): it hits every function on the bus, so the caller has to show that
 * it owns all of them: their groups, or, with a device that came through its own node, the iommufd that they are bound
 * to. Bus 0 is the root complex's own and cannot be reset.
 */
#include <errno.h>

#include "vfio/internal.h"

#define FUNCTIONS_MAX 256 /* on one bus */

static inline struct vfio_dev *to_dev(struct ufile *f)
{
	return container_of(f, struct device_file, file)->dev;
}

static bool bus_resettable(const struct pci_func *f)
{
	return f->bdf >> 8;
}

static bool same_bus(const struct pci_func *a, const struct pci_func *b)
{
	return a->domain == b->domain && a->bdf >> 8 == b->bdf >> 8;
}

/* Functions that VFIO does not have may be on the bus too: a reset would hit them, and nobody here can allow it. */
static bool in_set(const struct vfio_dev *d)
{
	return d->state != DEVICE_UNBOUND;
}

static bool bus_is_ours(const struct vfio_dev *d)
{
	const struct vfio *v = d->v;

	for (size_t i = 0; i < v->ndev; i++)
		if (same_bus(v->dev[i]->f, d->f) && !in_set(v->dev[i]) && !v->dev[i]->f->pulled)
			return false;
	for (size_t i = 0; i < v->nothers; i++)
		if (same_bus(v->others[i], d->f))
			return false;
	return true;
}

/* d's id in that iommufd; VFIO_PCI_DEVID_OWNED: it has none, but its group is owned. */
static int devid_of(const struct vfio_dev *d, const struct ufile *iommufd)
{
	if (d->iommufd == iommufd)
		return d->devid;
	return binding_in_group(d->group, iommufd) ? VFIO_PCI_DEVID_OWNED : VFIO_PCI_DEVID_NOT_OWNED;
}

/* Who has to be asked about the function: the id of its group, or with a device's own node its own. */
static int who_of(const struct vfio_dev *caller, const struct vfio_dev *d, const struct pci_func *f)
{
	if (!caller->by_cdev)
		return f->group;
	return d && in_set(d) ? devid_of(d, caller->iommufd) : VFIO_PCI_DEVID_NOT_OWNED;
}

static void fill_one(struct vfio_dev *d, const struct vfio_dev *of, const struct pci_func *f,
		     struct vfio_pci_dependent_device *dep, unsigned int *n, uint32_t *flags)
{
	int who = who_of(d, of, f);

	if (!same_bus(f, d->f) || f->pulled || *n == FUNCTIONS_MAX)
		return;
	if (d->by_cdev && who == VFIO_PCI_DEVID_NOT_OWNED)
		*flags &= ~(uint32_t)VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
	dep[(*n)++] = (struct vfio_pci_dependent_device){
	    .group_id = who,
	    .segment = f->domain,
	    .bus = f->bdf >> 8,
	    .devfn = f->bdf & 0xff,
	};
}

static unsigned int fill(struct vfio_dev *d, struct vfio_pci_dependent_device *dep, uint32_t *flags)
{
	struct vfio *v = d->v;
	unsigned int n = 0;

	*flags = d->by_cdev ? VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED : 0;
	for (size_t i = 0; i < v->ndev; i++)
		fill_one(d, v->dev[i], v->dev[i]->f, dep, &n, flags);
	for (size_t i = 0; i < v->nothers; i++)
		fill_one(d, NULL, v->others[i], dep, &n, flags);
	return n;
}

long hotreset_get_info(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_pci_dependent_device dep[FUNCTIONS_MAX];
	struct vfio_pci_hot_reset_info h;
	struct vfio_dev *d = to_dev(f);
	int ret, answer = 0;

	ret = ucall_copy_in(c, arg, &h, sizeof(h));
	if (ret)
		return ret;
	if (h.argsz < sizeof(h))
		return -EINVAL;
	if (!bus_resettable(d->f))
		return -ENODEV;
	h.count = fill(d, dep, &h.flags);
	if (h.count > (h.argsz - sizeof(h)) / sizeof(dep[0])) {
		answer = -ENOSPC; /* the count still reaches the caller */
		h.flags = 0;
	} else {
		ret = ucall_copy_out(c, arg + sizeof(h), dep, h.count * sizeof(dep[0]));
	}
	if (!ret)
		ret = ucall_copy_out(c, arg, &h, sizeof(h));
	return ret ? ret : answer;
}

static bool listed(const struct vfio_group *g, struct ufile *const *files, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (files[i] == &g->file)
			return true;
	return false;
}

static bool owned(const struct vfio_dev *d, const struct vfio_dev *caller, struct ufile *const *files, unsigned int n)
{
	if (caller->by_cdev)
		return devid_of(d, caller->iommufd) != VFIO_PCI_DEVID_NOT_OWNED;
	return listed(d->group, files, n);
}

bool hotreset_together(const struct vfio_dev *a, const struct vfio_dev *b)
{
	return same_bus(a->f, b->f);
}

static void reset_one(struct vfio_dev *d)
{
	device_call_begin(d);
	device_reset(d);
	device_call_end(d);
}

static long reset_bus(struct vfio_dev *d, struct ufile *const *files, unsigned int n)
{
	struct vfio *v = d->v;
	size_t i;

	if (!bus_is_ours(d))
		return -EINVAL;
	for (i = 0; i < v->ndev; i++)
		if (same_bus(v->dev[i]->f, d->f) && in_set(v->dev[i]) && !owned(v->dev[i], d, files, n))
			return -EINVAL;
	if (d->f->away)
		return -ENOTTY; /* as from pci_reset_bus(), which waits for the functions in vain */
	for (i = 0; i < v->ndev; i++)
		if (same_bus(v->dev[i]->f, d->f) && in_set(v->dev[i]) && !v->dev[i]->f->away)
			reset_one(v->dev[i]);
	return 0;
}

long hotreset_do(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_pci_dependent_device dep[FUNCTIONS_MAX];
	struct ufile *files[FUNCTIONS_MAX];
	struct vfio_pci_hot_reset h;
	struct vfio_dev *d = to_dev(f);
	int32_t fds[FUNCTIONS_MAX];
	bool again = false;
	unsigned int i;
	uint32_t flags;
	int ret;

	ret = ucall_copy_in(c, arg, &h, sizeof(h));
	if (ret)
		return ret;
	/* An empty list is for devices that were opened without a group. */
	if (h.argsz < sizeof(h) || h.flags || !h.count != d->by_cdev)
		return -EINVAL;
	if (!bus_resettable(d->f))
		return -ENODEV;
	if (h.count > fill(d, dep, &flags))
		return -EINVAL;
	ret = ucall_copy_in(c, arg + sizeof(h), fds, h.count * sizeof(fds[0]));
	if (ret)
		return ret;
	for (i = 0; i < h.count; i++) {
		ret = ucall_get_file(c, fds[i], &files[i]);
		again |= ret == UCALL_AGAIN;
		if (ret == UCALL_AGAIN)
			continue;
		if (ret)
			return ret;
		if (!group_is(files[i]))
			return -EINVAL;
	}
	if (again)
		return UCALL_AGAIN;
	return reset_bus(d, files, h.count);
}
