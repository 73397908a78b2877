/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which paths are ours. Freestanding code for use inside a trapped system call: no libc, no allocation, no errno.
 *
 * A *logical* path is what the program believes ("/sys/bus/pci/devices"); the *shadow* path is where the same thing
 * lies in the broker's tree (SHADOW "/sys/bus/pci/devices"). The program's working directory and directory descriptors
 * may lie inside the tree.
 *
 * Ours are, with all that lies below them: /sys/bus/pci, /sys/kernel/iommu_groups, /sys/class/{iommu,vfio,vfio-dev},
 * /sys/module/{vfio,vfio_iommu_type1,vfio_pci,vfio_pci_core}, /dev/vfio and /dev/iommu, whether or not the tree has
 * them; and what the tree has of /sys/devices/pciDDDD:BB and /sys/devices/virtual/{iommu,vfio}: that directory itself,
 * and each device below it. A device's directory is ours or the machine's as a whole, never a mixture. So is
 * /sys/kernel/debug. If the tree has a /proc, the files fail-nth of processes and their threads are ours, there or not.
 *
 * The tree may lead back to the real system: a link to /sys/devices/... that the tree does not have, or a link to
 * /proc/self/root/PATH, which means the real PATH even if that is one of our places.
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
	const char *shadow; /* root of the tree, no trailing slash, no symbolic link in it */
	bool host_devices;
	/* readlink(2) on an absolute real path: length or -errno. For the tests to replace. */
	long (*readlink)(const char *path, char *buf, size_t size);
};

struct path_result {
	enum path_route route;
	char logical[4096]; /* canonical, no symlink left except a last one that was not to be followed; set unless
			       PATH_NATIVE. What cannot be resolved (a component is missing) is left as it was given. */
	char out[4096];	    /* keeps a trailing slash, so that the kernel insists on a directory */
	char scratch[8192]; /* of the resolver: what is still to be walked */
};

/*
 * Resolves path as the kernel would: base is the real path of the directory it is relative to (what /proc/self/cwd or
 * /proc/self/fd/N point to); ignored for absolute paths. follow: resolve a symlink in the last component. Links are
 * followed inside /sys, /proc, /dev and the tree, so that ".." after a link is right, and so are /proc/self/cwd,
 * /proc/self/root and /proc/self/fd/N; a path that cannot reach our places is recognised early and cheaply (no system
 * call). Returns 0, or -ENAMETOOLONG, -ELOOP. A path with a missing or unsearchable component is no error: the system
 * call on `out` fails as it should.
 *
 * Not seen: a link of the user's own, outside those places, that leads to ours (/tmp/x -> /sys/bus/pci/devices); for
 * that there is path_resolve_deep.
 */
int path_resolve(const struct path_env *env, const char *base, const char *path, bool follow, struct path_result *r);

/*
 * The same without the early way out: every component is asked for its link. For use after the native call has failed
 * with ENOENT, or has found something on the file system that holds /sys.
 */
int path_resolve_deep(const struct path_env *env, const char *base, const char *path, bool follow,
		      struct path_result *r);

/* True when an absolute or relative path can be told to be native from its text and base alone (the fast path). */
bool path_is_foreign(const struct path_env *env, const char *base, const char *path);

/* Is one of its components ".."? */
bool path_has_up(const char *path);

/* For getcwd and readlink results: if real lies in the tree, moves the logical path to its start and returns the new
 * length (without NUL), else -1. */
long path_unshadow(const struct path_env *env, char *real, size_t len);

#endif
