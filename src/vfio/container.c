/* SPDX-License-Identifier: BSD-3-Clause */
/* /dev/vfio/vfio. Answers follow Linux 6.12 drivers/vfio/container.c. */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "vfio/internal.h"

static inline struct container *to_container(struct ufile *f)
{
	return container_of(f, struct container, file);
}

static long container_get_api_version(struct ufile *f, struct ucall *c, uint64_t arg)
{
	return VFIO_API_VERSION;
}

static long container_check_extension(struct ufile *f, struct ucall *c, uint64_t arg)
{
	return type1_check_extension(to_container(f)->iommu, arg);
}

static void attach_functions(struct vfio_group *g, struct type1 *t)
{
	size_t i;

	for (i = 0; i < g->v->ndev; i++)
		if (g->v->dev[i]->group == g)
			type1_attach(t, g->v->dev[i]->f);
}

static void detach_functions(struct vfio_group *g)
{
	size_t i;

	for (i = 0; i < g->v->ndev; i++)
		if (g->v->dev[i]->group == g)
			dma_dev_detach(g->v->dev[i]->f->dma);
}

static long container_set_iommu(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct container *ct = to_container(f);
	struct vfio_group *g;
	struct type1 *t;
	int ret;

	if (list_empty(&ct->groups) || ct->iommu)
		return -EINVAL;
	/* The argument is an extension number: those nobody offers have no driver, those that are no IOMMU are wrong.
	 */
	if (type1_check_extension(NULL, arg) <= 0)
		return -ENODEV;
	ret = type1_new(ct->v, arg, &t);
	if (ret)
		return ret;
	list_for_each (g, &ct->groups, container_node)
		attach_functions(g, t);
	ct->iommu = t;
	return 0;
}

static const struct vfio_ioctl container_ioctls[] = {
    {VFIO_GET_API_VERSION, container_get_api_version},
    {VFIO_CHECK_EXTENSION, container_check_extension},
    {VFIO_SET_IOMMU, container_set_iommu},
};

static long container_ioctl(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	struct container *ct = to_container(f);
	long ret;

	ret = vfio_dispatch(container_ioctls, ARRAY_SIZE(container_ioctls), f, c, cmd, arg, -ENOTTY);
	if (ret != -ENOTTY)
		return ret;
	return ct->iommu ? type1_ioctl(ct->iommu, c, cmd, arg) : -EINVAL;
}

static void container_release(struct ufile *f)
{
	/* Groups hold references, so there are none, and with the last of them the IOMMU went. */
	free(to_container(f));
}

static const struct ufile_ops container_ops = {
    .name = "/dev/vfio/vfio",
    .ioctl = container_ioctl,
    .release = container_release,
};

bool container_is(const struct ufile *f)
{
	return f->ops == &container_ops;
}

int vfio_open_container(struct vfio *v, struct ufile **f)
{
	struct container *ct = mem_calloc(1, sizeof(*ct));

	if (!ct)
		return -ENOMEM;
	ufile_init(&ct->file, &container_ops);
	ct->v = v;
	list_init(&ct->groups);
	*f = &ct->file;
	return 0;
}

int container_attach(struct container *ct, struct vfio_group *g)
{
	/* A device may be bound still to the iommufd that was the group's container before. */
	if (binding_in_group(g, NULL))
		return -EPERM;
	if (ct->iommu)
		attach_functions(g, ct->iommu);
	ufile_get(&ct->file);
	g->container = ct;
	list_add_tail(&ct->groups, &g->container_node);
	return 0;
}

void container_detach(struct vfio_group *g)
{
	struct container *ct = g->container;

	detach_functions(g);
	list_del(&g->container_node);
	g->container = NULL;
	/* Without a group nobody vouches for the user any more: the IOMMU goes with the last one. */
	if (ct->iommu && list_empty(&ct->groups)) {
		type1_free(ct->iommu);
		ct->iommu = NULL;
	}
	ufile_put(&ct->file);
}
