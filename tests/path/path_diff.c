/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The resolver against the kernel: random names in a real directory tree, resolved by path_resolve and by stat(2),
 * lstat(2) and realpath(3).
 *
 * One real directory, `top`, plays both parts. The resolver sees it as the root of the real system and, for the places
 * that are ours, as the shadow tree: both lead to the same files, so whichever it chooses, the result must be the file
 * that the kernel finds, or its error. Names that leave `top` are left out, since the kernel would go on above it.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "base/util.h"
#include "boundary/path.h"

#define SHADOW "/run/tree"

static char top[PATH_MAX];
static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % n;
}

static const char *const dirs[] = {
    "/usr/lib",
    "/home/u/a/b",
    "/dev/vfio/devices",
    "/sys/class/vfio",
    "/sys/class/net",
    "/sys/bus/pci/devices",
    "/sys/bus/pci/drivers/vfio-pci",
    "/sys/bus/pci/drivers/virtio-pci",
    "/sys/kernel/iommu_groups/1/devices",
    "/sys/devices/virtual/vfio/1",
    "/sys/devices/pci0000:00/0000:00:03.0/net/eth0",
    "/sys/devices/pci0000:01/0000:01:00.0/power",
};

static const char *const files[] = {
    "/home/u/file",
    "/dev/null",
    "/dev/vfio/vfio",
    "/dev/vfio/1",
    "/sys/devices/pci0000:00/0000:00:03.0/vendor",
    "/sys/devices/pci0000:01/0000:01:00.0/vendor",
};

/* A leading '/' stands for the top. */
static const char *const links[][2] = {
    {"/bin", "usr/lib"},
    {"/dev/loop", "loop"},
    {"/dev/vfio/ping", "pong"},
    {"/dev/vfio/pong", "./ping"},
    {"/home/u/sys", "/sys"},
    {"/sys/class/vfio/1", "../../devices/virtual/vfio/1"},
    {"/sys/class/net/eth0", "../../devices/pci0000:00/0000:00:03.0/net/eth0"},
    {"/sys/bus/pci/devices/0000:00:03.0", "/sys/devices/pci0000:00/0000:00:03.0"},
    {"/sys/bus/pci/devices/0000:01:00.0", "../../../devices/pci0000:01/0000:01:00.0/"},
    {"/sys/bus/pci/drivers/vfio-pci/0000:01:00.0", "../../../../devices/pci0000:01/0000:01:00.0"},
    {"/sys/bus/pci/dangling", "../nothing/x"},
    {"/sys/bus/pci/chain", "chain2/./.."},
    {"/sys/bus/pci/chain2", "devices//0000:01:00.0/driver"},
    {"/sys/kernel/iommu_groups/1/devices/0000:01:00.0", "../../../../devices/pci0000:01/0000:01:00.0"},
    {"/sys/devices/pci0000:01/0000:01:00.0/driver", "../../../bus/pci/drivers/vfio-pci"},
    {"/sys/devices/pci0000:01/0000:01:00.0/iommu_group", "../../../kernel/iommu_groups/1"},
    {"/sys/devices/pci0000:01/0000:01:00.0/subsystem", "../../../bus/pci"},
    {"/sys/devices/pci0000:01/0000:01:00.0/file_link", "vendor"},
    {"/sys/devices/pci0000:00/0000:00:03.0/subsystem", "../../../bus/pci"},
    {"/sys/devices/pci0000:00/0000:00:03.0/net/eth0/device", "../../../0000:00:03.0"},
};

static const char *const words[] = {
    "..",
    "..",
    "..",
    "..",
    ".",
    "sys",
    "dev",
    "bus",
    "pci",
    "devices",
    "drivers",
    "vfio",
    "1",
    "class",
    "kernel",
    "vfio-pci",
    "virtio-pci",
    "0000:01:00.0",
    "0000:00:03.0",
    "pci0000:00",
    "virtual",
    "home",
    "vendor",
    "driver",
    "iommu_group",
    "subsystem",
    "iommu_groups",
    "power",
    "pci0000:01",
    "chain",
    "u",
    "missing",
    "dangling",
    "file_link",
    "eth0",
    "device",
    "ping",
    "loop",
    "bin",
    "net",
    "a",
    "null",
    "",
    "",
};

/* What the tree has of the places that the machine may have too. */
static bool tree_has(const char *path)
{
	return strncmp(path, "/sys/devices/pci0000:00", 23) != 0;
}

/* A path as the resolver speaks it, as a real one. */
static bool real_of(const char *path, char *real)
{
	size_t n = strlen(SHADOW);

	if (!strncmp(path, SHADOW "/", n + 1)) {
		path += n;
		if (!tree_has(path))
			return false;
	}
	return snprintf(real, PATH_MAX, "%s%s", top, path) < PATH_MAX;
}

static long diff_readlink(const char *path, char *buf, size_t size)
{
	char real[PATH_MAX], text[PATH_MAX];
	size_t skip = 0;
	ssize_t n;

	if (!real_of(path, real))
		return -ENOENT;
	n = readlink(real, text, sizeof(text));
	if (n < 0)
		return -errno;
	if (text[0] == '/')
		skip = strlen(top);
	n -= skip;
	n = MIN((size_t)n, size);
	memcpy(buf, text + skip, n);
	return n;
}

static void make_all(void)
{
	char path[PATH_MAX], target[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (snprintf(path, sizeof(path), "%s%s/", top, dirs[i]) >= (int)sizeof(path))
			abort();
		for (char *p = strchr(path + strlen(top) + 1, '/'); p; p = strchr(p + 1, '/')) {
			*p = 0;
			mkdir(path, 0700);
			*p = '/';
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s%s", top, files[i]);
		close(open(path, O_CREAT | O_WRONLY, 0600));
	}
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof(path), "%s%s", top, links[i][0]);
		snprintf(target, sizeof(target), "%s%s", links[i][1][0] == '/' ? top : "", links[i][1]);
		if (symlink(target, path))
			perror(path);
	}
}

/* /sys/bus/pci/cN takes N + 1 links to get to a directory. */
static void chain_make(unsigned int n)
{
	char path[2 * PATH_MAX], target[32];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/sys/bus/pci/c%u", top, i);
		snprintf(target, sizeof(target), i ? "c%u" : "devices", i - 1);
		if (symlink(target, path))
			perror(path);
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

/* Does any step of the walk leave the top? Then there is nothing to compare with. */
static bool leaves_top(const char *at, const char *path, unsigned int links_left)
{
	char cur[PATH_MAX], next[PATH_MAX], text[PATH_MAX];
	const char *p = path;
	size_t n;
	ssize_t k;

	strcpy(cur, at);
	while (*p) {
		while (*p == '/')
			p++;
		n = strcspn(p, "/");
		if (!n)
			break;
		if (n == 2 && !strncmp(p, "..", 2)) {
			if (!strcmp(cur, top))
				return true;
			*strrchr(cur, '/') = 0;
		} else if (!(n == 1 && *p == '.')) {
			if (snprintf(next, sizeof(next), "%s/%.*s", cur, (int)n, p) >= (int)sizeof(next))
				return true;
			k = readlink(next, text, sizeof(text) - 1);
			if (k < 0) {
				strcpy(cur, next);
			} else {
				if (!links_left)
					return false;
				text[k] = 0;
				snprintf(next, sizeof(next), "%s%s", text[0] == '/' ? text + strlen(top) : text, p + n);
				return leaves_top(text[0] == '/' ? top : cur, next, links_left - 1);
			}
		}
		p += n;
	}
	return false;
}

/* One of the names in the directory that cur leads to, or false. */
static bool child_pick(const char *cur, char name[256])
{
	DIR *dir = opendir(cur);
	struct dirent *d;
	unsigned int n = 0;

	if (!dir)
		return false;
	while ((d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, "..") && !rnd(++n))
			strcpy(name, d->d_name);
	closedir(dir);
	return n;
}

/* A walk that mostly goes where there is something, with all the ways to write it. */
static void path_make(char *path, size_t size, const char *base)
{
	static const char *const sep[] = {"/", "/", "/", "/", "//", "/./"};
	char cur[2 * PATH_MAX], name[256];
	unsigned int n = 1 + rnd(10);
	size_t len = 0;

	if (rnd(2)) {
		path[len++] = '/';
		base = "";
	}
	for (unsigned int k = 0; k < n; k++) {
		path[len] = 0;
		snprintf(cur, sizeof(cur), "%s%s/%s", top, base, path);
		if (rnd(10) < 2)
			strcpy(name, "..");
		else if (rnd(12) == 0 || !child_pick(cur, name))
			strcpy(name, words[rnd(ARRAY_SIZE(words))]);
		len += snprintf(path + len, size - len, "%s%s", name,
				k + 1 < n || !rnd(4) ? sep[rnd(ARRAY_SIZE(sep))] : "");
	}
}

/* What must not be left to the kernel, were there two trees. */
static bool is_ours(const char *path)
{
	static const char *const ours[] = {"/sys/bus/pci", "/sys/kernel/iommu_groups", "/sys/class/vfio", "/dev/vfio",
					   "/sys/devices/pci0000:01"};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (!strncmp(path, ours[i], strlen(ours[i])))
			return true;
	return false;
}

static unsigned int compared, routes[4];

static int compare(const struct path_env *env, const char *base, const char *path, bool follow, bool deep)
{
	char want_path[2 * PATH_MAX], got_path[PATH_MAX], want_real[PATH_MAX], base_real[PATH_MAX];
	static struct path_result r;
	struct stat want, got;
	int want_err, got_err, ret;

	snprintf(base_real, sizeof(base_real), "%s%s", top,
		 strncmp(base, SHADOW, strlen(SHADOW)) ? base : base + strlen(SHADOW));
	if (base_real[strlen(base_real) - 1] == '/')
		base_real[strlen(base_real) - 1] = 0;
	if (leaves_top(path[0] == '/' ? top : base_real, path, 50))
		return 0;
	snprintf(want_path, sizeof(want_path), "%s%s%s", path[0] == '/' ? top : base_real, path[0] == '/' ? "" : "/",
		 path);
	want_err = (follow ? stat : lstat)(want_path, &want) ? errno : 0;
	ret = (deep ? path_resolve_deep : path_resolve)(env, base, path, follow, &r);
	if (ret) {
		got_err = -ret;
	} else if (r.route == PATH_NATIVE) {
		got_err = want_err;
		got = want;
	} else if (!real_of(r.out, got_path)) {
		got_err = ENOENT;
	} else {
		got_err = lstat(got_path, &got) ? errno : 0;
		/* Nothing is left for the kernel to follow, unless it was told not to or it is not there. */
		if (!got_err && S_ISLNK(got.st_mode) && follow)
			got_err = 9999;
	}
	compared++;
	if (!ret)
		routes[r.route]++;
	if (want_err != got_err || (!want_err && (want.st_ino != got.st_ino || want.st_dev != got.st_dev)))
		goto differ;
	if (!ret && !want_err && follow) {
		if (!realpath(want_path, want_real))
			goto differ;
		/* The user's own links are followed in depth only. */
		if (r.route == PATH_NATIVE && is_ours(want_real + strlen(top)) && (deep || !strstr(want_path, "u")))
			goto differ;
		if (r.route != PATH_NATIVE && strcmp(r.logical, want_real[strlen(top)] ? want_real + strlen(top) : "/"))
			goto differ;
	}
	return 0;
differ:
	printf("# base %s path %s follow %d deep %d: kernel %d, resolver %d route %d logical %s out %s\n", base, path,
	       follow, deep, want_err, got_err, r.route, r.logical, r.out);
	return 1;
}

int main(int argc, char **argv)
{
	static const char *const bases[] = {
	    "/",
	    "/home/u",
	    "/sys",
	    "/dev",
	    "/sys/class/net",
	    "/sys/devices/pci0000:00/0000:00:03.0",
	    SHADOW "/sys/bus/pci",
	    SHADOW "/sys/bus/pci/devices",
	    SHADOW "/sys/devices/pci0000:01/0000:01:00.0",
	    SHADOW "/dev/vfio",
	    SHADOW "/sys/kernel/iommu_groups/1/devices",
	};
	struct path_env env = {.shadow = SHADOW, .readlink = diff_readlink};
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 0) : 30000;
	char dir[] = "/tmp/path-diff-XXXXXX", path[4096];
	int bad = 0;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	if (!mkdtemp(dir) || !realpath(dir, top))
		return 99;
	make_all();
	chain_make(45);
	for (unsigned int i = 35; i < 45; i++) { /* around the kernel's limit */
		snprintf(path, sizeof(path), "/sys/bus/pci/c%u", i);
		bad += compare(&env, "/", path, true, false) + compare(&env, "/", path, false, false);
		strcat(path, "/");
		bad += compare(&env, "/", path, false, false);
	}
	for (unsigned long i = 0; i < rounds && bad < 10; i++) {
		const char *base = bases[rnd(ARRAY_SIZE(bases))];

		path_make(path, sizeof(path), strncmp(base, SHADOW, strlen(SHADOW)) ? base : base + strlen(SHADOW));
		if (!path[0])
			continue;
		env.host_devices = rnd(2);
		bad += compare(&env, base, path, rnd(3), rnd(2));
	}
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("# %u names compared: %u native, %u in the tree, %u devices, %u real\n", compared, routes[PATH_NATIVE],
	       routes[PATH_SHADOW], routes[PATH_DEVICE], routes[PATH_REAL]);
	printf("1..1\n%sok 1 - the resolver agrees with the kernel\n", bad ? "not " : "");
	return bad ? 1 : 0;
}
