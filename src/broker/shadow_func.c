/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions, their drivers and groups: what appears with them in the tree, and goes with them. */
#include "broker/shadow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "iommufd/iommufd.h"
#include "pci/pci.h"

#define VFIO_DRIVER "vfio-pci"

static void forget(struct shadow *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void forget(struct shadow *s, const char *fmt, ...)
{
	char path[SHADOW_PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	root_remove_path(s->root_fd, path);
}

static bool there(struct shadow *s, const char *path)
{
	struct stat st;

	return !fstatat(s->root_fd, path, &st, AT_SYMLINK_NOFOLLOW);
}

static struct shadow_func *find(struct shadow *s, const struct pci_func *f)
{
	for (size_t i = 0; i < s->nfuncs; i++)
		if (s->funcs[i].f == f)
			return &s->funcs[i];
	return NULL;
}

/* ---- groups ---- */

static int group_add(struct shadow *s, unsigned int group)
{
	char path[128], ranges[256] = "";
	uint64_t first, last;
	int ret, n = 0;

	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%u/type", group);
	ret = tree_printf(s->root_fd, path, 0644, "DMA\n");
	if (ret)
		return ret;
	/* Where message-signalled interrupts go, as VFIO leaves it out of the usable ranges. */
	for (unsigned int i = 0; iommufd_unit_reserved(s->unit, i, &first, &last); i++)
		n += snprintf(ranges + n, sizeof(ranges) - n, "0x%016" PRIx64 " 0x%016" PRIx64 " msi\n", first, last);
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%u/reserved_regions", group);
	return tree_printf(s->root_fd, path, 0444, "%s", ranges);
}

/* The lowest number that is free, as Linux gives them out. -ENOMEM */
static int minor_take(struct shadow *s, unsigned int group)
{
	unsigned int n = 0;
	int *more;

	while (n < s->minors && s->minor_group[n] >= 0)
		n++;
	if (n == s->minors) {
		more = realloc(s->minor_group, (n + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->minor_group = more;
		s->minors++;
	}
	s->minor_group[n] = (int)group;
	return (int)n;
}

static void minor_give_back(struct shadow *s, unsigned int group)
{
	for (unsigned int n = 0; n < s->minors; n++)
		if (s->minor_group[n] == (int)group)
			s->minor_group[n] = -1;
}

/* Its character device and the latter's class entry. */
static int group_node_add(struct shadow *s, unsigned int group)
{
	char path[128], text[128];
	int fd = s->root_fd, ret, minor;

	snprintf(path, sizeof(path), "dev/vfio/%u", group);
	if (there(s, path))
		return 0;
	minor = minor_take(s, group);
	if (minor < 0)
		return minor;
	ret = tree_node(fd, path, 0600, SHADOW_MAJOR, minor);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/devices/virtual/vfio/%u/dev", group);
	ret = tree_printf(fd, path, 0444, "%u:%d\n", SHADOW_MAJOR, minor);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/devices/virtual/vfio/%u/uevent", group);
	ret = tree_printf(fd, path, 0644, "MAJOR=%u\nMINOR=%d\nDEVNAME=vfio/%u\n", SHADOW_MAJOR, minor, group);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/devices/virtual/vfio/%u/subsystem", group);
	ret = tree_link(fd, path, "../../../../class/vfio");
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/class/vfio/%u", group);
	snprintf(text, sizeof(text), "../../devices/virtual/vfio/%u", group);
	return tree_link(fd, path, text);
}

static void group_node_remove(struct shadow *s, unsigned int group)
{
	for (size_t i = 0; i < s->nfuncs; i++)
		if (s->funcs[i].bound && s->funcs[i].f->group == group)
			return;
	minor_give_back(s, group);
	forget(s, "dev/vfio/%u", group);
	forget(s, "sys/class/vfio/%u", group);
	forget(s, "sys/devices/virtual/vfio/%u", group);
}

static void group_remove(struct shadow *s, unsigned int group)
{
	for (size_t i = 0; i < s->nfuncs; i++)
		if (s->funcs[i].f->group == group)
			return;
	forget(s, "sys/kernel/iommu_groups/%u", group);
}

/* ---- the driver ---- */

static int driver_listing_add(struct shadow *s, const struct shadow_func *sf)
{
	char path[SHADOW_PATH_MAX], target[SHADOW_PATH_MAX];

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s/%s", sf->driver, sf->bdf);
	snprintf(target, sizeof(target), "../../../../devices%s", sf->dir + strlen("sys/devices"));
	return tree_link(s->root_fd, path, target);
}

/* The function's own device, /dev/vfio/devices/vfioN. */
static int cdev_add(struct shadow *s, const struct shadow_func *sf)
{
	char path[SHADOW_PATH_MAX], target[SHADOW_PATH_MAX];
	int fd = s->root_fd, n = sf->vfio, ret;

	snprintf(path, sizeof(path), "dev/vfio/devices/vfio%d", n);
	ret = tree_node(fd, path, 0600, SHADOW_MAJOR_CDEV, n);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%d/dev", sf->dir, n);
	ret = tree_printf(fd, path, 0444, "%u:%u\n", SHADOW_MAJOR_CDEV, n);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%d/uevent", sf->dir, n);
	ret = tree_printf(fd, path, 0644, "MAJOR=%u\nMINOR=%u\nDEVNAME=vfio/devices/vfio%d\n", SHADOW_MAJOR_CDEV, n, n);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%d/device", sf->dir, n);
	snprintf(target, sizeof(target), "../../../%s", sf->bdf);
	ret = tree_link(fd, path, target);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%d/subsystem", sf->dir, n);
	snprintf(target, sizeof(target), "../../%sclass/vfio-dev", sf->up);
	ret = tree_link(fd, path, target);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/class/vfio-dev/vfio%d", n);
	snprintf(target, sizeof(target), "../../devices%s/vfio-dev/vfio%d", sf->dir + strlen("sys/devices"), n);
	return tree_link(fd, path, target);
}

static int vfio_add(struct shadow *s, struct shadow_func *sf)
{
	int ret = group_node_add(s, sf->f->group);

	if (!ret)
		ret = cdev_add(s, sf);
	if (!ret)
		sf->bound = true;
	return ret;
}

void shadow_unbind(struct shadow *s, struct pci_func *f)
{
	struct shadow_func *sf = find(s, f);

	if (!sf || !sf->bound)
		return;
	sf->bound = false;
	forget(s, "sys/bus/pci/drivers/" VFIO_DRIVER "/%s", sf->bdf);
	sf->driver[0] = 0;
	attr_set_driver(s, sf);
	forget(s, "dev/vfio/devices/vfio%d", sf->vfio);
	forget(s, "sys/class/vfio-dev/vfio%d", sf->vfio);
	forget(s, "%s/vfio-dev", sf->dir);
	group_node_remove(s, f->group);
}

int shadow_bind(struct shadow *s, struct pci_func *f)
{
	struct shadow_func *sf = find(s, f);
	int ret;

	if (!sf || sf->vfio < 0)
		return -ENODEV;
	if (sf->bound)
		return 0;
	ret = vfio_add(s, sf);
	strcpy(sf->driver, VFIO_DRIVER);
	if (!ret)
		ret = attr_set_driver(s, sf);
	return ret ? ret : driver_listing_add(s, sf);
}

int shadow_set_vf(struct shadow *s, struct pci_func *pf, unsigned int i, bool there)
{
	struct shadow_func *sf = find(s, pf);

	return sf ? attr_set_vf(s, sf, i, there) : -ENODEV;
}

/* ---- functions ---- */

/* Every other place that lists functions; prefix is what leads from there to sys/devices. */
static int listings_add(struct shadow *s, const struct shadow_func *sf)
{
	static const struct {
		const char *dir, *prefix;
	} where[] = {
	    {"sys/bus/pci/devices", "../../../devices"},
	    {"sys/devices/virtual/iommu/" SHADOW_IOMMU "/devices", "../../../.."},
	};
	const char *below = sf->dir + strlen("sys/devices");
	char path[SHADOW_PATH_MAX], target[SHADOW_PATH_MAX];
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(where); i++) {
		snprintf(path, sizeof(path), "%s/%s", where[i].dir, sf->bdf);
		snprintf(target, sizeof(target), "%s%s", where[i].prefix, below);
		ret = tree_link(s->root_fd, path, target);
	}
	if (!ret && *sf->driver)
		ret = driver_listing_add(s, sf);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%u/devices/%s", sf->f->group, sf->bdf);
	snprintf(target, sizeof(target), "../../../../devices%s", below);
	return tree_link(s->root_fd, path, target);
}

static int place(struct shadow *s, struct shadow_func *sf, const struct shadow_place *at)
{
	const struct shadow_func *above = at->parent ? find(s, at->parent) : NULL;
	int n;

	if (at->parent && !above)
		return -ENOENT;
	if (above) {
		n = snprintf(sf->dir, sizeof(sf->dir), "%s/%s", above->dir, sf->bdf);
		if (snprintf(sf->up, sizeof(sf->up), "../%s", above->up) >= (int)sizeof(sf->up))
			return -ENAMETOOLONG;
	} else {
		n = snprintf(sf->dir, sizeof(sf->dir), "sys/devices/pci%04x:%02x/%s", sf->f->domain, sf->f->bdf >> 8,
			     sf->bdf);
		strcpy(sf->up, "../../../");
	}
	return n >= (int)sizeof(sf->dir) ? -ENAMETOOLONG : 0;
}

/* Its listing comes last, so that whoever finds it there finds it whole. */
int shadow_add_at(struct shadow *s, struct pci_func *f, const struct shadow_place *at)
{
	struct shadow_func sf = {.f = f, .vfio = at->vfio}, *funcs;
	int ret;

	pci_bdf_format(f, sf.bdf);
	snprintf(sf.driver, sizeof(sf.driver), "%s", at->driver ?: "");
	for (size_t i = 0; i < s->nfuncs; i++)
		if (!strcmp(s->funcs[i].bdf, sf.bdf))
			return -EEXIST;
	ret = place(s, &sf, at);
	if (ret)
		return ret;
	funcs = realloc(s->funcs, (s->nfuncs + 1) * sizeof(*funcs));
	if (!funcs)
		return -ENOMEM;
	s->funcs = funcs;
	ret = group_add(s, f->group);
	if (!ret)
		ret = attr_add_func(s, &sf);
	if (!ret && sf.vfio >= 0 && !strcmp(sf.driver, VFIO_DRIVER))
		ret = vfio_add(s, &sf);
	if (!ret)
		ret = listings_add(s, &sf);
	if (ret)
		return ret;
	s->funcs[s->nfuncs++] = sf;
	return 0;
}

int shadow_add(struct shadow *s, struct pci_func *f)
{
	const struct shadow_place at = {.driver = VFIO_DRIVER, .vfio = s->cdevs};
	int ret = shadow_add_at(s, f, &at);

	if (!ret)
		s->cdevs++;
	return ret;
}

void shadow_remove(struct shadow *s, struct pci_func *f)
{
	struct shadow_func *sf = find(s, f);

	if (!sf)
		return;
	forget(s, "sys/bus/pci/devices/%s", sf->bdf);
	shadow_unbind(s, f);
	if (*sf->driver)
		forget(s, "sys/bus/pci/drivers/%s/%s", sf->driver, sf->bdf);
	forget(s, "sys/devices/virtual/iommu/" SHADOW_IOMMU "/devices/%s", sf->bdf);
	forget(s, "sys/kernel/iommu_groups/%u/devices/%s", f->group, sf->bdf);
	forget(s, "%s", sf->dir);
	*sf = s->funcs[--s->nfuncs];
	group_remove(s, f->group);
}
