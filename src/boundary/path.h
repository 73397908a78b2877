/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which paths are ours. Freestanding code for use inside a trapped system call: no libc, no allocation, no errno.
 *
 * A *logical* path is what the program believes ("/sys/bus/pci/devices"); the *shadow* path is where the same thing
 * lies in the broker's tree (SHADOW "/sys/bus/pci/devices"). The program's working directory and directory descriptors
 * may lie inside the tree.
 */
#ifndef PINFOLD_BOUNDARY_PATH_H
#define PINFOLD_BOUNDARY_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum path_route {
	PATH_NATIVE, /* nothing of ours: let the system call through unchanged */
	PATH_SHADOW, /* use `out`, an absolute path inside the tree */
	PATH_DEVICE, /* `logical` is /dev/iommu or below /dev/vfio: an open goes to the broker; `out` is its entry in
			the tree, for stat */
	PATH_REAL,   /* ours by its base (the tree), but it leads out of it: use `out`, an absolute path of the real
			system */
};

struct path_env {
	const char *shadow; /* root of the tree, no trailing slash */
	bool host_devices;
	/* readlink(2) on an absolute real path: length or -errno. For the tests to replace. */
	long (*readlink)(const char *path, char *buf, size_t size);
};

struct path_result {
	enum path_route route;
	char logical[4096]; /* canonical, no symlink left except a last one that was not to be followed; set unless
			       PATH_NATIVE */
	char out[4096];
};

/*
 * Resolves path as the kernel would: base is the real path of the directory it is relative to (what /proc/self/cwd or
 * /proc/self/fd/N point to); ignored for absolute paths. follow: resolve a symlink in the last component. Links are
 * followed inside /sys and the tree, so that ".." after a link is right; a path that cannot reach our places is
 * recognised early and cheaply (no system call). Returns 0, or -ENAMETOOLONG, -ELOOP.
 */
int path_resolve(const struct path_env *env, const char *base, const char *path, bool follow, struct path_result *r);

/* True when an absolute or relative path can be told to be native from its text and base alone (the fast path). */
bool path_is_foreign(const struct path_env *env, const char *base, const char *path);

/* For getcwd and readlink results: if real lies in the tree, moves the logical path to its start and returns the new
 * length (without NUL), else -1. */
long path_unshadow(const struct path_env *env, char *real, size_t len);

#endif
