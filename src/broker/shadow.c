/* SPDX-License-Identifier: BSD-3-Clause */
#include "broker/shadow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "iommufd/iommufd.h"

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
    {"sys/bus/pci/drivers/pcieport/bind", 0200, ""},
    {"sys/bus/pci/drivers/pcieport/unbind", 0200, ""},
    {"sys/bus/pci/drivers/pcieport/new_id", 0200, ""},
    {"sys/bus/pci/drivers/pcieport/remove_id", 0200, ""},
    {"sys/bus/pci/drivers/pcieport/uevent", 0200, ""},
    {"sys/kernel/iommu_groups", 0755, NULL},
    {"sys/class/vfio", 0755, NULL},
    {"sys/class/vfio-dev", 0755, NULL},
    {"sys/devices/virtual/vfio", 0755, NULL},
    {"sys/devices/virtual/iommu/" SHADOW_IOMMU "/devices", 0755, NULL},
    {"sys/devices/virtual/iommu/" SHADOW_IOMMU "/uevent", 0644, ""},
    {"sys/module/vfio/parameters/enable_unsafe_noiommu_mode", 0644, "N\n"},
    {"sys/module/vfio_pci/parameters/disable_denylist", 0444, "N\n"},
    {"sys/module/vfio_pci/parameters/disable_idle_d3", 0644, "Y\n"},
    {"sys/module/vfio_pci/parameters/enable_sriov", 0644, "Y\n"},
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
		ret = tree_node(root_fd, "dev/vfio/vfio", 0666, MISC_MAJOR, 196); /* linux/miscdevice.h */
	return ret ? ret : tree_node(root_fd, "dev/iommu", 0660, MISC_MAJOR, SHADOW_MINOR_IOMMU);
}

int shadow_new(bool host_devices, struct shadow **out)
{
	struct shadow *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	s->unit = iommufd_unit(0);
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

void shadow_set_unit(struct shadow *s, const struct iommufd_unit *u)
{
	s->unit = u;
}

void shadow_free(struct shadow *s)
{
	root_remove(s->root, s->root_fd, s->lock_fd);
	free(s->funcs);
	free(s->minor_group);
	free(s);
}

const char *shadow_root(const struct shadow *s)
{
	return s->root;
}

/* ---- opens ---- */

/* Attributes that may be written because nothing would follow from it in Linux either, the device being bound to
 * vfio-pci already. Writing any other would have an effect that the tree cannot have. */
static bool write_is_harmless(const char *name)
{
	static const char *const harmless[] = {"driver_override", "new_id", "remove_id", "drivers_probe",
					       "drivers_autoprobe", "uevent",
					       /* These act (sriov.c). */
					       "sriov_numvfs", "sriov_drivers_autoprobe"};

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

/* Whose attribute it is: of a function's directory, not of what lies below. */
static const struct shadow_func *func_of(const struct shadow *s, const char *rel)
{
	const char *slash = strrchr(rel, '/');
	size_t len = slash ? slash - rel : 0;

	for (size_t i = 0; i < s->nfuncs; i++)
		if (strlen(s->funcs[i].dir) == len && !strncmp(rel, s->funcs[i].dir, len))
			return &s->funcs[i];
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
	return sf ? attr_refresh(s, sf, name) : 0;
}

struct pci_func *shadow_attribute(struct shadow *s, const char *path, const char **name)
{
	char full[PATH_MAX], real[PATH_MAX];
	const struct shadow_func *sf;
	size_t n = strlen(s->root);

	if (snprintf(full, sizeof(full), "%s%s", s->root, path) >= (int)sizeof(full) || !realpath(full, real) ||
	    strncmp(real, s->root, n) || real[n] != '/')
		return NULL;
	sf = func_of(s, real + n + 1);
	*name = strrchr(path, '/') + 1;
	return sf ? sf->f : NULL;
}
