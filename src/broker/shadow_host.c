/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The machine's own functions, drivers and IOMMU groups beside ours. Their directories under /sys/devices stay real:
 * what the tree gets are the entries of the listings. A link's text is the real one where the real one leads to
 * /sys/devices; where the listing holds directories it leads through /proc/self/root, which the boundary understands
 * as the real system (boundary/path.h). Ours go first if names clash.
 */
#include "broker/shadow_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

static int host_entry(struct shadow *s, const char *dir, int dir_fd, const char *name)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t n;

	if (name[0] == '.')
		return 0;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	n = readlinkat(dir_fd, name, target, sizeof(target) - 1);
	if (n >= 0)
		target[n] = 0;
	else
		snprintf(target, sizeof(target), "/proc/self/root/%s/%s", dir, name);
	return tree_link(s->root_fd, path, target);
}

int host_add(struct shadow *s)
{
	static const char *const listing[] = {"sys/bus/pci/devices", "sys/bus/pci/drivers", "sys/bus/pci/slots",
					      "sys/kernel/iommu_groups", "sys/class/iommu"};
	char path[64];
	struct dirent *d;
	DIR *dir;
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(listing); i++) {
		snprintf(path, sizeof(path), "/%s", listing[i]);
		dir = opendir(path);
		if (!dir)
			continue; /* a machine without PCI or IOMMU */
		while (!ret && (d = readdir(dir)))
			ret = host_entry(s, listing[i], dirfd(dir), d->d_name);
		closedir(dir);
	}
	return ret;
}
