/* SPDX-License-Identifier: BSD-3-Clause */
/* The registry: which functions there are, and the groups that they form. */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommufd/iommufd.h"
#include "vfio/internal.h"

struct vfio *vfio_new(struct events *evs)
{
	struct vfio *v = mem_calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->evs = evs;
	v->unit = iommufd_unit(0);
	list_init(&v->groups);
	eventfd_ringer_init(&v->ringer);
	return v;
}

void vfio_set_loop(struct vfio *v, struct loop *loop)
{
	v->loop = loop;
}

void vfio_set_unit(struct vfio *v, const struct iommufd_unit *u)
{
	v->unit = u;
}

void vfio_set_strict(struct vfio *v, bool strict)
{
	v->strict = strict;
}

bool vfio_tainted(const struct vfio *v)
{
	return v->tainted;
}

void vfio_free(struct vfio *v)
{
	struct vfio_group *g, *tmp;
	size_t i;

	if (!v)
		return;
	for (i = 0; i < v->ndev; i++) {
		struct pci_func *f = v->dev[i]->f;

		device_free(v->dev[i]);
		f->ops->destroy(f);
	}
	list_for_each_safe (g, tmp, &v->groups, node)
		free(g);
	eventfd_ringer_fini(&v->ringer);
	free(v->dev);
	free(v->others);
	free(v);
}

static struct vfio_group *group_find(struct vfio *v, unsigned int number)
{
	struct vfio_group *g;

	list_for_each (g, &v->groups, node)
		if (g->number == number)
			return g;
	return NULL;
}

static bool address_taken(struct vfio *v, const struct pci_func *f)
{
	size_t i;

	for (i = 0; i < v->ndev; i++)
		if (v->dev[i]->f->domain == f->domain && v->dev[i]->f->bdf == f->bdf)
			return true;
	return false;
}

int vfio_add(struct vfio *v, struct pci_func *f)
{
	struct vfio_group *g = group_find(v, f->group);
	struct vfio_dev **dev, *d;
	bool fresh = !g;

	if (address_taken(v, f))
		return -EEXIST;
	dev = mem_reallocarray(v->dev, v->ndev + 1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	v->dev = dev;
	if (fresh)
		g = group_new(v, f->group);
	if (!g)
		return -ENOMEM;
	d = device_new(v, g, f);
	if (!d) {
		if (fresh)
			free(g);
		return -ENOMEM;
	}
	if (fresh)
		list_add_tail(&v->groups, &g->node);
	f->loop = v->loop;
	/* A function that joins a group in use shares its translations from the start. */
	if (g->container && g->container->iommu)
		type1_attach(g->container->iommu, f);
	token_init(d);
	cdev_init(d, v->ndev);
	v->dev[v->ndev++] = d;
	return 0;
}

int vfio_add_other(struct vfio *v, const struct pci_func *f)
{
	const struct pci_func **others = mem_reallocarray(v->others, v->nothers + 1, sizeof(*others));

	if (!others)
		return -ENOMEM;
	v->others = others;
	v->others[v->nothers++] = f;
	return 0;
}

struct pci_func *vfio_func(struct vfio *v, size_t i)
{
	return i < v->ndev ? v->dev[i]->f : NULL;
}

bool vfio_memory_off(const struct vfio *v)
{
	for (size_t i = 0; i < v->ndev; i++)
		if (v->dev[i]->open_count && !device_memory_on(v->dev[i]))
			return true;
	return false;
}

void vfio_settle(struct vfio *v)
{
	for (size_t i = 0; i < v->ndev; i++) {
		struct pci_func *f = v->dev[i]->f;

		if (f->ops->settle)
			f->ops->settle(f);
	}
}

uint64_t vfio_interrupts(const struct vfio *v)
{
	return v->ringer.rung;
}

void vfio_batch_begin(struct vfio *v)
{
	eventfd_batch_begin(&v->ringer);
}

void vfio_batch_end(struct vfio *v)
{
	eventfd_batch_end(&v->ringer);
}
