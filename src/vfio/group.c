/* SPDX-License-Identifier: BSD-3-Clause */
/* /dev/vfio/N. Answers follow Linux 6.12 drivers/vfio/group.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommufd/iommufd.h"
#include "vfio/internal.h"

#define NAME_MAX_BYTES PF_PAGE_SIZE /* what the kernel copies of a device's name */
#define NAME_PIECE     64UL	    /* more than any name in use */

static inline struct vfio_group *to_group(struct ufile *f)
{
	return container_of(f, struct vfio_group, file);
}

static bool group_has_iommu(const struct vfio_group *g)
{
	return g->container || g->iommufd;
}

static long group_get_status(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_group *g = to_group(f);
	struct vfio_group_status st;
	int ret;

	ret = ucall_copy_in(c, arg, &st, sizeof(st));
	if (ret)
		return ret;
	if (st.argsz < sizeof(st))
		return -EINVAL;
	if (unbind_group_gone(g))
		return -ENODEV;
	st.flags = 0;
	if (group_has_iommu(g))
		st.flags = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
	/* A device may be in use of an iommufd that the group has left. */
	else if (!g->host_use && !binding_in_group(g, NULL))
		st.flags = VFIO_GROUP_FLAGS_VIABLE;
	return ucall_copy_out(c, arg, &st, sizeof(st));
}

static long group_set_container(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_group *g = to_group(f);
	struct ufile *cf;
	int32_t fd;
	int ret;

	ret = ucall_copy_in(c, arg, &fd, sizeof(fd));
	if (ret)
		return ret;
	ret = ucall_get_file(c, fd, &cf);
	if (ret && ret != -EINVAL)
		return ret;
	if (group_has_iommu(g))
		return -EINVAL;
	if (unbind_group_gone(g))
		return -ENODEV;
	if (ret)
		return -EBADFD;
	if (container_is(cf) && g->host_use)
		return -EBUSY; /* iommu_group_claim_dma_owner() */
	if (container_is(cf))
		return container_attach(container_of(cf, struct container, file), g);
	if (!iommufd_ctx(cf))
		return -EBADFD;
	ret = iommufd_compat_make(iommufd_ctx(cf));
	if (!ret)
		g->iommufd = ufile_get(cf);
	return ret;
}

static void group_put_iommufd(struct vfio_group *g)
{
	struct ufile *f = g->iommufd;

	g->iommufd = NULL;
	if (f)
		ufile_put(f);
}

void group_lose_iommu(struct vfio_group *g)
{
	if (g->container)
		container_detach(g);
	group_put_iommufd(g);
}

static long group_unset_container(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_group *g = to_group(f);

	if (!group_has_iommu(g))
		return -EINVAL;
	/* Devices that are bound to an iommufd stay there: they need the group no more. */
	if (g->container && g->users)
		return -EBUSY;
	group_lose_iommu(g);
	return 0;
}

/* A string of at most cap - 1 bytes; read page by page, because what follows its end may not be readable. */
static int copy_in_string(struct ucall *c, uint64_t addr, char *buf, size_t cap)
{
	size_t done = 0;

	while (done < cap) {
		uint64_t at = addr + done, page_end = (at | (PF_PAGE_SIZE - 1)) + 1;
		size_t n = MIN(page_end - at, NAME_PIECE);
		int ret;

		n = MIN(n, cap - done);
		ret = ucall_copy_in(c, at, buf + done, n);
		if (ret)
			return ret;
		if (memchr(buf + done, 0, n))
			return 0;
		done += n;
	}
	return -EINVAL;
}

/* "0000:01:00.0", and perhaps " vf_token=UUID". 1, 0, -EINVAL, -EACCES. */
static int device_matches(struct vfio_dev *d, const char *name)
{
	size_t n = strlen(d->name);
	int ret;

	if (strncmp(name, d->name, n))
		return 0;
	name += n;
	if (*name && *name != ' ')
		return 0;
	ret = token_match(d, name);
	return ret ? ret : 1;
}

static int find_device(struct vfio_group *g, const char *name, struct vfio_dev **dev)
{
	size_t i;

	for (i = 0; i < g->v->ndev; i++) {
		struct vfio_dev *d = g->v->dev[i];
		int ret = d->group == g && d->state == DEVICE_BOUND ? device_matches(d, name) : 0;

		if (ret < 0)
			return ret;
		if (ret) {
			*dev = d;
			return 0;
		}
	}
	return -ENODEV;
}

static long group_get_device_fd(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_group *g = to_group(f);
	char name[NAME_MAX_BYTES];
	struct vfio_dev *d;
	struct ufile *df;
	int ret;

	ret = copy_in_string(c, arg, name, sizeof(name));
	if (ret)
		return ret;
	ret = find_device(g, name, &d);
	if (ret)
		return ret;
	if (!g->iommufd && (!g->container || !g->container->iommu))
		return -EINVAL;
	ret = device_open(d, &df);
	if (ret)
		return ret;
	ret = ucall_install(c, df);
	if (ret)
		ufile_put(df);
	return ret;
}

static const struct vfio_ioctl group_ioctls[] = {
    {VFIO_GROUP_GET_STATUS, group_get_status},
    {VFIO_GROUP_SET_CONTAINER, group_set_container},
    {VFIO_GROUP_UNSET_CONTAINER, group_unset_container},
    {VFIO_GROUP_GET_DEVICE_FD, group_get_device_fd},
};

static long group_ioctl(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	return vfio_dispatch(group_ioctls, ARRAY_SIZE(group_ioctls), f, c, cmd, arg, -ENOTTY);
}

static void group_release(struct ufile *f)
{
	struct vfio_group *g = to_group(f);

	group_lose_iommu(g);
	g->opened = false;
}

bool group_is(const struct ufile *f)
{
	return f->ops->release == group_release;
}

struct vfio_group *group_new(struct vfio *v, unsigned int number)
{
	struct vfio_group *g = mem_calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->v = v;
	g->number = number;
	snprintf(g->name, sizeof(g->name), "/dev/vfio/%u", number);
	g->ops = (struct ufile_ops){.name = g->name, .ioctl = group_ioctl, .release = group_release};
	list_init(&g->node);
	list_init(&g->container_node);
	return g;
}

int vfio_open_group(struct vfio *v, unsigned int group, struct ufile **f)
{
	struct vfio_group *g;

	list_for_each (g, &v->groups, node) {
		if (g->number != group || unbind_group_gone(g))
			continue;
		if (g->opened || g->cdevs)
			return -EBUSY;
		ufile_init(&g->file, &g->ops);
		g->opened = true;
		*f = &g->file;
		return 0;
	}
	return -ENOENT;
}
