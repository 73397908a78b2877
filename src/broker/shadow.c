/* SPDX-License-Identifier: BSD-3-Clause */
#include "broker/shadow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/util.h"
#include "pci/pci.h"

/* What is there without any device: `data` NULL is a directory. Modes and contents as in Linux 6.12. */
static const struct fixed {
	const char *path;
	mode_t mode;
	const char *data;
} fixed[] = {
    {"sys/bus/pci/devices", 0755, NULL},
    {"sys/bus/pci/slots", 0755, NULL},
    {"sys/bus/pci/drivers_autoprobe", 0644, "1\n"},
    {"sys/bus/pci/drivers_probe", 0200, ""},
    {"sys/bus/pci/rescan", 0200, ""},
    {"sys/bus/pci/resource_alignment", 0644, ""},
    {"sys/bus/pci/uevent", 0200, ""},
    {"sys/bus/pci/drivers/vfio-pci/bind", 0200, ""},
    {"sys/bus/pci/drivers/vfio-pci/unbind", 0200, ""},
    {"sys/bus/pci/drivers/vfio-pci/new_id", 0200, ""},
    {"sys/bus/pci/drivers/vfio-pci/remove_id", 0200, ""},
    {"sys/bus/pci/drivers/vfio-pci/uevent", 0200, ""},
    {"sys/kernel/iommu_groups", 0755, NULL},
    {"sys/class/vfio", 0755, NULL},
    {"sys/class/vfio-dev", 0755, NULL},
    {"sys/devices/virtual/vfio", 0755, NULL},
    {"sys/devices/virtual/iommu/" SHADOW_IOMMU "/devices", 0755, NULL},
    {"sys/devices/virtual/iommu/" SHADOW_IOMMU "/uevent", 0644, ""},
    {"sys/module/vfio/parameters/enable_unsafe_noiommu_mode", 0644, "N\n"},
    {"sys/module/vfio_pci/parameters/disable_denylist", 0444, "N\n"},
    {"sys/module/vfio_pci/parameters/disable_idle_d3", 0644, "Y\n"},
    {"sys/module/vfio_pci/parameters/enable_sriov", 0644, "N\n"},
    {"sys/module/vfio_pci/parameters/nointxmask", 0644, "N\n"},
    {"sys/module/vfio_pci_core", 0755, NULL},
    {"sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", 0644, "N\n"},
    {"sys/module/vfio_iommu_type1/parameters/disable_hugepages", 0644, "N\n"},
    {"sys/module/vfio_iommu_type1/parameters/dma_entry_limit", 0644, "65535\n"},
    {"dev/vfio/devices", 0755, NULL},
};

static const struct {
	const char *path, *target;
} fixed_links[] = {
    {"sys/bus/pci/drivers/vfio-pci/module", "../../../../module/vfio_pci"},
    {"sys/module/vfio_pci/drivers/pci:vfio-pci", "../../../bus/pci/drivers/vfio-pci"},
    {"sys/class/iommu/" SHADOW_IOMMU, "../../devices/virtual/iommu/" SHADOW_IOMMU},
    {"sys/devices/virtual/iommu/" SHADOW_IOMMU "/subsystem", "../../../../class/iommu"},
};

/* A device node is a file as long as its number is big: the boundary knows what to make of it. */
static int node_add(int root_fd, const char *path, mode_t mode, unsigned int major, unsigned int minor)
{
	int ret = tree_file(root_fd, path, mode, "", 0);

	return ret ? ret : tree_resize(root_fd, path, makedev(major, minor));
}

static int fixed_add(int root_fd)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(fixed); i++) {
		const struct fixed *x = &fixed[i];

		ret = x->data ? tree_file(root_fd, x->path, x->mode, x->data, strlen(x->data))
			      : tree_dir(root_fd, x->path);
	}
	for (size_t i = 0; !ret && i < ARRAY_SIZE(fixed_links); i++)
		ret = tree_link(root_fd, fixed_links[i].path, fixed_links[i].target);
	if (!ret)
		ret = node_add(root_fd, "dev/vfio/vfio", 0666, MISC_MAJOR, 196); /* linux/miscdevice.h */
	return ret ? ret : node_add(root_fd, "dev/iommu", 0660, MISC_MAJOR, SHADOW_MINOR_IOMMU);
}

int shadow_new(bool host_devices, struct shadow **out)
{
	struct shadow *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	root_sweep();
	ret = root_create(s->root, &s->root_fd, &s->lock_fd);
	if (ret) {
		free(s);
		return ret;
	}
	ret = fixed_add(s->root_fd);
	if (!ret && host_devices)
		ret = host_add(s);
	if (ret) {
		shadow_free(s);
		return ret;
	}
	*out = s;
	return 0;
}

void shadow_free(struct shadow *s)
{
	root_remove(s->root, s->root_fd, s->lock_fd);
	free(s->funcs);
	free(s);
}

const char *shadow_root(const struct shadow *s)
{
	return s->root;
}

/* ---- groups ---- */

/* The group, its character device and the latter's class entry. */
static int group_add(struct shadow *s, unsigned int group)
{
	char path[128], text[128];
	int fd = s->root_fd, ret;
	struct stat st;

	snprintf(path, sizeof(path), "dev/vfio/%u", group);
	if (!fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	ret = node_add(fd, path, 0600, SHADOW_MAJOR, s->minors);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%u/type", group);
	ret = tree_printf(fd, path, 0644, "DMA\n");
	if (ret)
		return ret;
	/* The window of x86's message-signalled interrupts, as VFIO leaves it out of the usable ranges. */
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%u/reserved_regions", group);
	ret = tree_printf(fd, path, 0444, "0x%016x 0x%016x msi\n", 0xfee00000, 0xfeefffff);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/devices/virtual/vfio/%u/dev", group);
	ret = tree_printf(fd, path, 0444, "%u:%u\n", SHADOW_MAJOR, s->minors);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/devices/virtual/vfio/%u/uevent", group);
	ret = tree_printf(fd, path, 0644, "MAJOR=%u\nMINOR=%u\nDEVNAME=vfio/%u\n", SHADOW_MAJOR, s->minors, group);
	if (ret)
		return ret;
	s->minors++;
	snprintf(path, sizeof(path), "sys/devices/virtual/vfio/%u/subsystem", group);
	ret = tree_link(fd, path, "../../../../class/vfio");
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/class/vfio/%u", group);
	snprintf(text, sizeof(text), "../../devices/virtual/vfio/%u", group);
	return tree_link(fd, path, text);
}

/* ---- functions ---- */

/* Every place that lists functions; prefix is what leads from there to sys/devices. */
static int listings_add(struct shadow *s, const struct shadow_func *sf)
{
	static const struct {
		const char *dir, *prefix;
	} where[] = {
	    {"sys/bus/pci/devices", "../../../devices"},
	    {"sys/bus/pci/drivers/vfio-pci", "../../../../devices"},
	    {"sys/devices/virtual/iommu/" SHADOW_IOMMU "/devices", "../../../.."},
	};
	const char *below = sf->dir + strlen("sys/devices");
	char path[160], target[160];
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(where); i++) {
		snprintf(path, sizeof(path), "%s/%s", where[i].dir, sf->bdf);
		snprintf(target, sizeof(target), "%s%s", where[i].prefix, below);
		ret = tree_link(s->root_fd, path, target);
	}
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%u/devices/%s", sf->f->group, sf->bdf);
	snprintf(target, sizeof(target), "../../../../devices%s", below);
	return tree_link(s->root_fd, path, target);
}

/* The function's own device, /dev/vfio/devices/vfioN: the N-th function that was added. */
static int cdev_add(struct shadow *s, const struct shadow_func *sf)
{
	unsigned int minor = s->nfuncs;
	char path[128], target[160];
	int fd = s->root_fd, ret;

	snprintf(path, sizeof(path), "dev/vfio/devices/vfio%u", minor);
	ret = node_add(fd, path, 0600, SHADOW_MAJOR_CDEV, minor);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%u/dev", sf->dir, minor);
	ret = tree_printf(fd, path, 0444, "%u:%u\n", SHADOW_MAJOR_CDEV, minor);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%u/uevent", sf->dir, minor);
	ret = tree_printf(fd, path, 0644, "MAJOR=%u\nMINOR=%u\nDEVNAME=vfio/devices/vfio%u\n", SHADOW_MAJOR_CDEV, minor,
			  minor);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%u/device", sf->dir, minor);
	snprintf(target, sizeof(target), "../../../%s", sf->bdf);
	ret = tree_link(fd, path, target);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/vfio-dev/vfio%u/subsystem", sf->dir, minor);
	ret = tree_link(fd, path, "../../../../../class/vfio-dev");
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "sys/class/vfio-dev/vfio%u", minor);
	snprintf(target, sizeof(target), "../../devices%s/vfio-dev/vfio%u", sf->dir + strlen("sys/devices"), minor);
	return tree_link(fd, path, target);
}

/*
 * The function sits directly below a host bridge of its bus's number, "pciDDDD:BB": there is no root port. Its listing
 * comes last, so that whoever finds it there finds it whole.
 */
int shadow_add(struct shadow *s, struct pci_func *f)
{
	struct shadow_func sf = {.f = f}, *funcs;
	int ret;

	pci_bdf_format(f, sf.bdf);
	snprintf(sf.dir, sizeof(sf.dir), "sys/devices/pci%04x:%02x/%s", f->domain, f->bdf >> 8, sf.bdf);
	for (size_t i = 0; i < s->nfuncs; i++)
		if (!strcmp(s->funcs[i].bdf, sf.bdf))
			return -EEXIST;
	funcs = realloc(s->funcs, (s->nfuncs + 1) * sizeof(*funcs));
	if (!funcs)
		return -ENOMEM;
	s->funcs = funcs;
	ret = group_add(s, f->group);
	if (!ret)
		ret = attr_add_func(s, &sf);
	if (!ret)
		ret = cdev_add(s, &sf);
	if (!ret)
		ret = listings_add(s, &sf);
	if (ret)
		return ret;
	s->funcs[s->nfuncs++] = sf;
	return 0;
}

/* ---- opens ---- */

/* Attributes that may be written because nothing would follow from it in Linux either, the device being bound to
 * vfio-pci already. Writing any other would have an effect that the tree cannot have. */
static bool write_is_harmless(const char *name)
{
	static const char *const harmless[] = {"driver_override",   "new_id", "remove_id", "drivers_probe",
					       "drivers_autoprobe", "uevent"};

	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
		if (!strcmp(name, harmless[i]))
			return true;
	return false;
}

/* resource0 .. resource5, resource0_wc ..., rom: memory or I/O of the device itself. */
static bool is_bar_file(const char *name)
{
	return !strncmp(name, "resource", 8) && name[8] >= '0' && name[8] <= '9';
}

/* sysfs looks at the mode whoever asks, root too (fs/kernfs/file.c, kernfs_fop_open). */
static int open_allowed(const char *rel, const char *name, const struct stat *st, int flags)
{
	bool write = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
	bool read = (flags & O_ACCMODE) != O_WRONLY;

	if (S_ISDIR(st->st_mode) || flags & O_PATH)
		return 0;
	if (!strncmp(rel, "sys/kernel/debug/", 17))
		return 0; /* of the user's own accord: debugfs leaves that to the modes */
	if (strncmp(rel, "sys/", 4))
		return -EACCES; /* /dev/vfio/N is the VFIO layer's to open */
	if (is_bar_file(name))
		return -EPERM;
	if ((read && !(st->st_mode & 0444)) || (write && !(st->st_mode & 0222)))
		return -EACCES;
	return write && !write_is_harmless(name) ? -EACCES : 0;
}

static const struct shadow_func *func_of(const struct shadow *s, const char *rel)
{
	for (size_t i = 0; i < s->nfuncs; i++) {
		size_t n = strlen(s->funcs[i].dir);

		if (!strncmp(rel, s->funcs[i].dir, n) && rel[n] == '/')
			return &s->funcs[i];
	}
	return NULL;
}

int shadow_open(struct shadow *s, const char *path, int flags)
{
	char full[PATH_MAX], real[PATH_MAX];
	const struct shadow_func *sf;
	const char *rel, *name;
	size_t n = strlen(s->root);
	struct stat st;
	int ret;

	if (path[0] != '/')
		return -EINVAL;
	if (snprintf(full, sizeof(full), "%s%s", s->root, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	if (!realpath(full, real)) {
		/* Neither sysfs nor devtmpfs lets anyone create a file. */
		ret = -errno;
		return ret == -ENOENT && flags & O_CREAT ? -EACCES : ret;
	}
	if (strncmp(real, s->root, n) || real[n] != '/')
		return -EXDEV; /* the client should have followed this link itself */
	rel = real + n + 1;
	name = strrchr(real, '/') + 1;
	if (lstat(real, &st))
		return -errno;
	ret = open_allowed(rel, name, &st, flags);
	if (ret)
		return ret;
	sf = func_of(s, rel);
	return sf && !strcmp(rel + strlen(sf->dir) + 1, name) ? attr_refresh(s, sf, name) : 0;
}
