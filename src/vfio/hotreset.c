/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reset of a whole bus (VFIO_DEVICE_PCI_HOT_RESET): it hits every function on the bus, so the caller has to show that
 * it owns the groups of all of them. Bus 0 is the root complex's own and cannot be reset.
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

static unsigned int fill(struct vfio_dev *d, struct vfio_pci_dependent_device *dep)
{
	struct vfio *v = d->v;
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < v->ndev && n < FUNCTIONS_MAX; i++) {
		const struct pci_func *f = v->dev[i]->f;

		if (same_bus(f, d->f))
			dep[n++] = (struct vfio_pci_dependent_device){
			    .group_id = f->group,
			    .segment = f->domain,
			    .bus = f->bdf >> 8,
			    .devfn = f->bdf & 0xff,
			};
	}
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
	h.flags = 0;
	h.count = fill(d, dep);
	if (h.count > (h.argsz - sizeof(h)) / sizeof(dep[0]))
		answer = -ENOSPC; /* the count still reaches the caller */
	else
		ret = ucall_copy_out(c, arg + sizeof(h), dep, h.count * sizeof(dep[0]));
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

static long reset_bus(struct vfio_dev *d, struct ufile *const *files, unsigned int n)
{
	struct vfio *v = d->v;
	size_t i;

	for (i = 0; i < v->ndev; i++)
		if (same_bus(v->dev[i]->f, d->f) && !listed(v->dev[i]->group, files, n))
			return -EINVAL;
	for (i = 0; i < v->ndev; i++)
		if (same_bus(v->dev[i]->f, d->f))
			device_reset(v->dev[i]);
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
	int ret;

	ret = ucall_copy_in(c, arg, &h, sizeof(h));
	if (ret)
		return ret;
	/* An empty list is for devices that were opened without a group. */
	if (h.argsz < sizeof(h) || h.flags || !h.count)
		return -EINVAL;
	if (!bus_resettable(d->f))
		return -ENODEV;
	if (h.count > fill(d, dep))
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
