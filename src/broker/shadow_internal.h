/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared between the files that make the shadow tree. Paths here are relative to its root, without a leading slash. */
#ifndef PINFOLD_BROKER_SHADOW_INTERNAL_H
#define PINFOLD_BROKER_SHADOW_INTERNAL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "broker/shadow.h"

#define SHADOW_ROOT_MAX 200	   /* the client is told the root in a message of fixed size */
#define SHADOW_IOMMU	"pinfold0" /* the IOMMU's name below /sys/class/iommu */
/* Dynamic numbers in Linux; these are what a typical machine gives. */
#define SHADOW_MAJOR	   249 /* of /dev/vfio/N */
#define SHADOW_MAJOR_CDEV  248 /* of /dev/vfio/devices/vfioN */
#define SHADOW_MINOR_IOMMU 257 /* of /dev/iommu, a miscellaneous device */

#define SHADOW_DIR_MAX	144
#define SHADOW_PATH_MAX (SHADOW_DIR_MAX + 80)

struct shadow_func {
	struct pci_func *f;
	char bdf[16];
	char dir[SHADOW_DIR_MAX]; /* "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0" */
	char up[40];		  /* from there to sys: "../../../../" */
	char driver[32];	  /* "": none */
	int vfio;		  /* -1: not VFIO's */
	bool bound;		  /* to vfio-pci, with everything that shows it */
};

struct shadow {
	char root[SHADOW_ROOT_MAX];
	int root_fd;
	int lock_fd; /* flock: as long as it is held the tree has an owner */
	const struct iommufd_unit *unit;
	struct shadow_func *funcs;
	size_t nfuncs;
	int *minor_group; /* whose /dev/vfio/N has the minor number that is the index; -1: nobody's */
	unsigned int minors;
	unsigned int cdevs; /* /dev/vfio/devices/vfioN that were numbered in order */
};

/* ---- shadow_root.c: the directory itself ---- */
int root_create(char root[SHADOW_ROOT_MAX], int *root_fd, int *lock_fd);
void root_remove(const char *root, int root_fd, int lock_fd); /* closes both */
/* Removes everything in dir_fd but the lock; true if it is empty then. Never follows a link, never leaves its file
 * system, never allocates. */
bool root_empty(int dir_fd);
/* Removes what path, relative to the tree's root, leads to; follows no link on the way. */
void root_remove_path(int root_fd, const char *path);
void root_sweep(void); /* trees of ours whose broker is gone, wherever root_create might have put them */

/* ---- shadow_tree.c: what stands in it ---- */
/* Each makes missing directories on the way (0755). 0, or -errno; an entry that is there already is left alone. */
int tree_dir(int root_fd, const char *path);
int tree_link(int root_fd, const char *path, const char *target);
int tree_file(int root_fd, const char *path, mode_t mode, const void *data, size_t len);
int tree_printf(int root_fd, const char *path, mode_t mode, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A device node's stand-in: a file as long as its number is big. */
int tree_node(int root_fd, const char *path, mode_t mode, unsigned int major, unsigned int minor);
/* A file's length, for one whose content is not here. 0 or -errno. */
int tree_resize(int root_fd, const char *path, off_t size);
/* Replaces a file's content in place, so that open descriptors see it too. 0 or -errno. */
int tree_update(int root_fd, const char *path, const void *data, size_t len);

/* ---- shadow_attr.c: one function ---- */
int attr_add_func(struct shadow *s, const struct shadow_func *sf);
/* What says which driver it has: the one in sf. */
int attr_set_driver(struct shadow *s, const struct shadow_func *sf);
/* Its link to its virtual function i. */
int attr_set_vf(struct shadow *s, const struct shadow_func *sf, unsigned int i, bool there);
/* Brings attribute name of sf up to date, if it is one whose content changes. */
int attr_refresh(struct shadow *s, const struct shadow_func *sf, const char *name);

/* ---- shadow_host.c: the machine's own ---- */
int host_add(struct shadow *s);

#endif
