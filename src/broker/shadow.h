/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shadow tree: a private directory whose sys/ and dev/ hold what clients shall see under /sys/bus/pci,
 * /sys/devices/pciDDDD:BB, /sys/kernel/iommu_groups, /sys/class/vfio, /sys/class/vfio-dev, /dev/vfio and /dev/iommu
 * (and with shadow_add_faults, /sys/kernel/debug and some of /proc).
 * Real files and links, so that listing, stat, xattr and readlink need no emulation; the boundary redirects paths into
 * it (boundary/path.h).
 *
 * Modes, contents and links are those of Linux 6.12. A function sits in the directory of the bridge above it; one that
 * has none sits directly below a host bridge of its bus's number, /sys/devices/pciDDDD:BB/DDDD:BB:DD.F. Regular files
 * stand for the device nodes; the boundary makes stat() say otherwise.
 *
 * A tree lives as long as its broker holds a lock in it. Any number of brokers may have trees at once.
 */
#ifndef PINFOLD_BROKER_SHADOW_H
#define PINFOLD_BROKER_SHADOW_H

#include <stdbool.h>
#include <stddef.h>

struct iommufd_unit;
struct pci_func;
struct shadow;

/* A new tree in a fresh directory (mode 0700) under $XDG_RUNTIME_DIR, /dev/shm or /tmp, the first that works. 0 or
 * -errno. Sweeps trees of this user's whose broker died without removing them. host_devices: links to the machine's own
 * PCI functions, drivers and IOMMU groups appear beside ours. */
int shadow_new(bool host_devices, struct shadow **s);
/* The kind of IOMMU that groups are behind, where it is not the default one: before the first function. */
void shadow_set_unit(struct shadow *s, const struct iommufd_unit *u);
void shadow_free(struct shadow *s); /* removes the tree */
const char *shadow_root(const struct shadow *s);
struct shadow_place {
	const struct pci_func *parent; /* the bridge above, shown already; NULL: none */
	const char *driver;	       /* that it is bound to; NULL: none */
	int vfio;		       /* N of /dev/vfio/devices/vfioN; -1: VFIO does not have it */
};
/* Shows f, whose place and capabilities are final, its group, and its own device. 0, -EEXIST (address taken), or
 * -errno. f has to live until shadow_free. */
int shadow_add_at(struct shadow *s, struct pci_func *f, const struct shadow_place *place);
/* The same for one without a bridge above it that is bound to vfio-pci, numbered in order. */
int shadow_add(struct shadow *s, struct pci_func *f);
/* Takes its driver away, and with it the nodes of its own and, after the last of them, of its group. */
void shadow_unbind(struct shadow *s, struct pci_func *f);
int shadow_bind(struct shadow *s, struct pci_func *f); /* and gives it back. 0 or -errno */
/* The link from a physical function to its virtual one of that number. 0 or -errno */
int shadow_set_vf(struct shadow *s, struct pci_func *pf, unsigned int i, bool there);
void shadow_remove(struct shadow *s, struct pci_func *f); /* as if it had never been there */

/*
 * For programs that make allocations fail, as they find it on a kernel that can: /sys/kernel/debug/fail*, whose values
 * are kept and mean nothing, and a /proc that has the file fail-nth of the threads for which it was asked for. To be
 * called before there are clients. 0 or -errno.
 */
int shadow_add_faults(struct shadow *s);
/* Makes the file of thread tid, with the text "0\n". Returns a descriptor, or -errno. */
int shadow_add_task(struct shadow *s, unsigned int tid);
/* Shows it as one of process pid's as well. 0 or -errno. */
int shadow_link_task(struct shadow *s, unsigned int pid, unsigned int tid);
void shadow_remove_task(struct shadow *s, unsigned int tid);

/*
 * A client opens the logical path ("/sys/bus/pci/devices/0000:01:00.0/config", already canonical or through any link of
 * the tree) with open flags. Files whose content changes are brought up to date first. 0: open the file in the tree;
 * -errno: the open fails (EPERM for resourceN, whose memory only VFIO gives out; EACCES for writing what nobody here
 * may write, for reading what cannot be read, and for creating; EXDEV for a link that leads out of the tree).
 */
int shadow_open(struct shadow *s, const char *path, int flags);
/* Whose attribute that is, and which (a part of path); NULL: nobody's. */
struct pci_func *shadow_attribute(struct shadow *s, const char *path, const char **name);

#endif
