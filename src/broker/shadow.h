/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shadow tree: a private directory whose sys/ and dev/ hold what clients shall see under /sys/bus/pci,
 * /sys/devices/pciDDDD:BB, /sys/kernel/iommu_groups, /sys/class/vfio, /dev/vfio and /dev/iommu. Real files and links,
 * so that listing, stat, xattr and readlink need no emulation; the boundary redirects paths into it (boundary/path.h).
 */
#ifndef PINFOLD_BROKER_SHADOW_H
#define PINFOLD_BROKER_SHADOW_H

#include <stdbool.h>
#include <stddef.h>

struct pci_func;
struct shadow;

/* A new tree in a fresh directory (mode 0700) under $XDG_RUNTIME_DIR, /dev/shm or /tmp, the first that works. 0 or
 * -errno. Sweeps trees whose broker died without removing them. host_devices: links to the machine's own PCI devices
 * appear beside ours. */
int shadow_new(bool host_devices, struct shadow **s);
void shadow_free(struct shadow *s); /* removes the tree */
const char *shadow_root(const struct shadow *s);
int shadow_add(struct shadow *s, struct pci_func *f); /* 0 or -errno */

/*
 * A client opens the logical path ("/sys/bus/pci/devices/0000:01:00.0/config", already canonical or through any link of
 * the tree) with open flags. Files whose content changes are brought up to date first. 0: open the file in the tree;
 * -errno: the open fails (EPERM for resourceN, whose memory only VFIO gives out; EACCES for writing what nobody here
 * may write).
 */
int shadow_open(struct shadow *s, const char *path, int flags);

#endif
