/* SPDX-License-Identifier: BSD-3-Clause */
/* The resolver against a table of cases on a small model file system: one host function, one of ours. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "boundary/path.h"

#define S   "/dev/shm/pinfold-1"
#define BDF "0000:01:00.0"
#define DEV "/sys/devices/pci0000:01/" BDF

static const struct node {
	const char *path;
	const char *link; /* NULL: a directory; "": a regular file */
} nodes[] = {
    {"/", NULL},
    {"/home", NULL},
    {"/home/u", NULL},
    {"/home/u/sub", NULL},
    {"/home/u/file", ""},
    {"/home/u/mine", "/sys/bus/pci/devices"},
    {"/bin", "usr/bin"},
    {"/usr", NULL},
    {"/usr/bin", NULL},
    {"/usr/sys", NULL},
    {"/dev", NULL},
    {"/dev/shm", NULL},
    {"/dev/null", ""},
    {"/dev/fd", "/proc/self/fd"},
    {"/proc", NULL},
    {"/proc/self", "77"},
    {"/proc/thread-self", "77/task/77"},
    {"/proc/77", NULL},
    {"/proc/77/cwd", S DEV},
    {"/proc/77/root", "/"},
    {"/proc/77/exe", "/usr/bin/prog"},
    {"/proc/77/fd", NULL},
    {"/proc/77/fd/3", S "/sys/bus/pci/devices"},
    {"/proc/77/fd/4", "socket:[4711]"},
    {"/proc/77/fd/5", "/home/u/file"},
    {"/proc/77/fd/6", S DEV "/config"},
    {"/proc/77/task", NULL},
    {"/proc/77/task/77", NULL},
    {"/proc/77/task/77/cwd", S DEV},
    {"/sys", NULL},
    {"/sys/bus", NULL},
    {"/sys/bus/pci", NULL},
    {"/sys/bus/pci/devices", NULL},
    {"/sys/bus/pci/devices/0000:00:03.0", "../../../devices/pci0000:00/0000:00:03.0"},
    {"/sys/bus/pci/drivers", NULL},
    {"/sys/bus/pci/drivers/virtio-pci", NULL},
    {"/sys/bus/pci/drivers/virtio-pci/bind", ""},
    {"/sys/bus/pci/drivers/virtio-pci/0000:00:03.0", "../../../../devices/pci0000:00/0000:00:03.0"},
    {"/sys/class", NULL},
    {"/sys/class/net", NULL},
    {"/sys/class/net/eth0", "../../devices/pci0000:00/0000:00:03.0/net/eth0"},
    {"/sys/devices", NULL},
    {"/sys/devices/pci0000:00", NULL},
    {"/sys/devices/pci0000:00/0000:00:03.0", NULL},
    {"/sys/devices/pci0000:00/0000:00:03.0/vendor", ""},
    {"/sys/devices/pci0000:00/0000:00:03.0/net", NULL},
    {"/sys/devices/pci0000:00/0000:00:03.0/net/eth0", NULL},
    {"/sys/devices/pci0000:00/0000:00:03.0/net/eth0/device", "../../../0000:00:03.0"},
    {"/sys/devices/pci0000:00/0000:00:03.0/subsystem", "../../../bus/pci"},
    {"/sys/devices/pci0000:00/0000:00:03.0/driver", "../../../bus/pci/drivers/virtio-pci"},
    /* a host function at our function's address: it must be hidden altogether */
    {DEV, NULL},
    {DEV "/sriov_numvfs", ""},
    {"/sys/kernel", NULL},
    {"/sys/kernel/mm", NULL},

    {S, NULL},
    {S "/proc", NULL}, /* --iommufd-test */
    {S "/sys/kernel/debug", NULL},
    {S "/sys/kernel/debug/failslab", NULL},
    {S "/sys/kernel/debug/failslab/verbose", ""},
    {S "/dev", NULL},
    {S "/dev/vfio", NULL},
    {S "/dev/vfio/vfio", ""},
    {S "/dev/vfio/1", ""},
    {S "/dev/vfio/devices", NULL},
    {S "/sys", NULL},
    {S "/sys/bus", NULL},
    {S "/sys/bus/pci", NULL},
    {S "/sys/bus/pci/devices", NULL},
    {S "/sys/bus/pci/devices/" BDF, "../../../devices/pci0000:01/" BDF},
    {S "/sys/bus/pci/devices/0000:00:03.0", "/sys/devices/pci0000:00/0000:00:03.0"}, /* --host-devices */
    {S "/sys/bus/pci/drivers", NULL},
    {S "/sys/bus/pci/drivers/vfio-pci", NULL},
    {S "/sys/bus/pci/drivers/vfio-pci/" BDF, "../../../../devices/pci0000:01/" BDF},
    {S "/sys/bus/pci/drivers/virtio-pci", "/proc/self/root/sys/bus/pci/drivers/virtio-pci"},
    {S "/sys/bus/pci/loop", "loop"},
    {S "/sys/bus/pci/a", "b/"},
    {S "/sys/bus/pci/b", "../pci/./devices//"},
    {S "/sys/class", NULL},
    {S "/sys/class/vfio", NULL},
    {S "/sys/class/vfio/1", "../../devices/virtual/vfio/1"},
    {S "/sys/devices", NULL},
    {S "/sys/devices/pci0000:01", NULL},
    {S DEV, NULL},
    {S DEV "/vendor", ""},
    {S DEV "/config", ""},
    {S DEV "/power", NULL},
    {S DEV "/driver", "../../../bus/pci/drivers/vfio-pci"},
    {S DEV "/iommu_group", "../../../kernel/iommu_groups/1"},
    {S DEV "/subsystem", "../../../bus/pci"},
    {S "/sys/devices/virtual", NULL},
    {S "/sys/devices/virtual/vfio", NULL},
    {S "/sys/devices/virtual/vfio/1", NULL},
    {S "/sys/kernel", NULL},
    {S "/sys/kernel/iommu_groups", NULL},
    {S "/sys/kernel/iommu_groups/1", NULL},
    {S "/sys/kernel/iommu_groups/1/devices", NULL},
    {S "/sys/kernel/iommu_groups/1/devices/" BDF, "../../../../devices/pci0000:01/" BDF},
};

static unsigned int calls;

static const struct node *node_find(const char *path, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		if (strlen(nodes[i].path) == len && !memcmp(nodes[i].path, path, len))
			return &nodes[i];
	return NULL;
}

/* Paths with links in the middle never come here: the resolver must have taken them out. */
static long model_readlink(const char *path, char *buf, size_t size)
{
	size_t len = strlen(path);
	bool dot = len > 2 && !strcmp(path + len - 2, "/.");
	const struct node *n;

	calls++;
	if (dot)
		len -= 2;
	n = node_find(path, len);
	if (n && n->link && *n->link) {
		assert_false(dot);
		len = strlen(n->link);
		len = len < size ? len : size;
		memcpy(buf, n->link, len);
		return len;
	}
	if (n)
		return n->link && dot ? -ENOTDIR : -EINVAL;
	while (len && path[--len] != '/')
		;
	for (; len; len--) {
		if (path[len] != '/')
			continue;
		n = node_find(path, len);
		if (!n)
			continue;
		assert_true(!n->link || !*n->link);
		return n->link ? -ENOTDIR : -ENOENT;
	}
	return -ENOENT;
}

static const struct path_env env = {.shadow = S, .readlink = model_readlink};
static const struct path_env env_host = {.shadow = S, .host_devices = true, .readlink = model_readlink};

#define NATIVE	  PATH_NATIVE, NULL, NULL
#define SHADOW(l) PATH_SHADOW, l, S l
#define REAL(l)	  PATH_REAL, l, l
#define DEVICE(l) PATH_DEVICE, l, S l

static const struct matrix_case {
	const char *base, *path;
	bool nofollow;
	enum path_route route;
	const char *logical, *out;
} matrix[] = {
    /* absolute, far away */
    {"/home/u", "/usr/lib/x86_64-linux-gnu/libc.so.6", 0, NATIVE},
    {"/home/u", "/", 0, NATIVE},
    {"/home/u", "", 0, NATIVE},
    {"/home/u", "/sysfs", 0, NATIVE},
    {"/home/u", "/usr/sys/bus/pci", 0, NATIVE},
    {"/home/u", "/devel/vfio", 0, NATIVE},
    {"/home/u", "/dev/null", 0, NATIVE},
    {"/home/u", "/dev/vfiox", 0, NATIVE},
    {"/home/u", "/dev", 0, NATIVE},
    {"/home/u", "/dev/shm/x", 0, NATIVE},
    {"/home/u", "/sys", 0, NATIVE},
    {"/home/u", "/sys/", 0, NATIVE},
    {"/home/u", "/sys/bus", 0, NATIVE},
    {"/home/u", "/sys/bus/pci_express/devices", 0, NATIVE},
    {"/home/u", "/sys/kernel/mm/transparent_hugepage/enabled", 0, NATIVE},
    {"/home/u", "/sys/class/net/eth0", 0, NATIVE},
    {"/home/u", "/sys/class/net/eth0/device/vendor", 0, NATIVE},
    {"/home/u", "/sys/class/net/../net/eth0", 0, NATIVE},
    {"/home/u", "/proc/meminfo", 0, NATIVE},
    {"/home/u", "/proc/self/maps", 0, NATIVE},
    {"/home/u", "/proc/self/exe", 0, NATIVE},
    {"/home/u", "/proc/self/fd", 0, NATIVE},
    {"/home/u", "/proc/self/fd/4", 0, NATIVE},
    {"/home/u", "/proc/self/fd/5", 0, NATIVE},
    {"/home/u", "/proc/self/root/home/u/file", 0, NATIVE},
    {"/home/u", "/proc/78/cwd/x", 0, NATIVE},
    {"/home/u", "/dev/fd/5", 0, NATIVE},
    {"/home/u", "/bin/../sys/bus/pci", 0, NATIVE}, /* /bin is a link: this is /usr/sys/bus/pci */
    {"/home/u", "/home/nothing/../../sys/bus/pci", 0, NATIVE},
    {"/home/u", "/home/u/file/../../../sys/bus/pci", 0, NATIVE},

    /* absolute, ours */
    {"/home/u", "/sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {NULL, "/sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "//sys///bus/./pci/devices", 0, SHADOW("/sys/bus/pci/devices")},
    {"/home/u", "/sys/bus/pci/devices/", 0, PATH_SHADOW, "/sys/bus/pci/devices", S "/sys/bus/pci/devices/"},
    {"/home/u", "/../../sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "/./sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "/usr/../sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "/bin/../../sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "/sys/bus/../bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "/sys/bus/pci/nothing", 0, SHADOW("/sys/bus/pci/nothing")},
    {"/home/u", "/sys/bus/pci/nothing/below", 0, SHADOW("/sys/bus/pci/nothing/below")},
    {"/home/u", "/sys/kernel/iommu_groups", 0, SHADOW("/sys/kernel/iommu_groups")},
    {"/home/u", "/sys/class/vfio", 0, SHADOW("/sys/class/vfio")},
    {"/home/u", "/sys/class/vfio-dev", 0, SHADOW("/sys/class/vfio-dev")},
    {"/home/u", "/sys/class/iommu", 0, SHADOW("/sys/class/iommu")},
    {"/home/u", "/sys/class/vfio/1/dev", 0, SHADOW("/sys/devices/virtual/vfio/1/dev")},
    {"/home/u", "/sys/module/vfio", 0, SHADOW("/sys/module/vfio")},
    {"/home/u", "/sys/module/vfio_pci/parameters", 0, SHADOW("/sys/module/vfio_pci/parameters")},
    {"/home/u", "/sys/module/nvme", 0, NATIVE},
    {"/home/u", "/dev/vfio", 0, SHADOW("/dev/vfio")},
    {"/home/u", "/dev/vfio/", 0, PATH_SHADOW, "/dev/vfio", S "/dev/vfio/"},
    {"/home/u", "/dev/vfio/vfio", 0, DEVICE("/dev/vfio/vfio")},
    {"/home/u", "/dev/vfio/1", 0, DEVICE("/dev/vfio/1")},
    {"/home/u", "/dev/vfio/99", 0, DEVICE("/dev/vfio/99")},
    {"/home/u", "/dev/vfio/devices/vfio0", 0, DEVICE("/dev/vfio/devices/vfio0")},
    {"/home/u", "/dev/iommu", 0, DEVICE("/dev/iommu")},
    {"/home/u", "/dev/../dev/./vfio//vfio", 0, DEVICE("/dev/vfio/vfio")},
    {"/home/u", "/dev/vfio/vfio/", 0, PATH_SHADOW, "/dev/vfio/vfio", S "/dev/vfio/vfio/"}, /* ENOTDIR */
    {"/home/u", "/dev/vfio/vfio/.", 0, PATH_SHADOW, "/dev/vfio/vfio/.", S "/dev/vfio/vfio/."},
    {"/home/u", "/dev/vfio/no/../vfio", 0, PATH_SHADOW, "/dev/vfio/no/../vfio", S "/dev/vfio/no/../vfio"},

    /* where allocations are made to fail */
    {"/home/u", "/sys/kernel/debug", 0, SHADOW("/sys/kernel/debug")},
    {"/home/u", "/sys/kernel/debug/failslab/verbose", 0, SHADOW("/sys/kernel/debug/failslab/verbose")},
    {"/home/u", "/sys/kernel/debug/nothing", 0, SHADOW("/sys/kernel/debug/nothing")},
    {"/home/u", "/sys/kernel/debugger", 0, NATIVE},
    {"/home/u", "/proc/self/fail-nth", 0, SHADOW("/proc/77/fail-nth")},
    {"/home/u", "/proc/thread-self/fail-nth", 0, SHADOW("/proc/77/task/77/fail-nth")},
    {"/home/u", "/proc/self/task/78/fail-nth", 0, NATIVE}, /* no such thread */
    {"/home/u", "/proc/77/task/77/fail-nth", 0, SHADOW("/proc/77/task/77/fail-nth")},
    {"/proc/77/task", "77/fail-nth", 0, SHADOW("/proc/77/task/77/fail-nth")},
    {"/home/u", "/proc/fail-nth", 0, NATIVE},
    {"/home/u", "/proc/self/task/fail-nth", 0, NATIVE},
    {"/home/u", "/proc/self/fail-nth/x", 0, SHADOW("/proc/77/fail-nth/x")},
    {"/home/u", "/proc/self/fail-nthx", 0, NATIVE},

    /* links */
    {"/home/u", "/sys/bus/pci/devices/" BDF, 0, SHADOW(DEV)},
    {"/home/u", "/sys/bus/pci/devices/" BDF, 1, SHADOW("/sys/bus/pci/devices/" BDF)},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/", 1, PATH_SHADOW, DEV, S DEV "/"},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/vendor", 1, SHADOW(DEV "/vendor")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/driver", 1, SHADOW(DEV "/driver")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/driver", 0, SHADOW("/sys/bus/pci/drivers/vfio-pci")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/iommu_group", 0, SHADOW("/sys/kernel/iommu_groups/1")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/iommu_group/devices/" BDF "/vendor", 0, SHADOW(DEV "/vendor")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/..", 0, PATH_SHADOW, "/sys/devices/pci0000:01",
     S "/sys/devices/pci0000:01/"},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/../../pci0000:00", 0, REAL("/sys/devices/pci0000:00")},
    {"/home/u", "/sys/bus/pci/a", 0, PATH_SHADOW, "/sys/bus/pci/devices", S "/sys/bus/pci/devices/"},
    {"/home/u", "/sys/bus/pci/vendor/../devices", 0, SHADOW("/sys/bus/pci/vendor/../devices")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/vendor/..", 0, SHADOW(DEV "/vendor/..")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/vendor/x", 0, SHADOW(DEV "/vendor/x")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/vendor/", 0, PATH_SHADOW, DEV "/vendor", S DEV "/vendor/"},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/power/../vendor", 0, SHADOW(DEV "/vendor")},
    {"/home/u", "/sys/bus/pci/devices/" BDF "/sriov_numvfs", 0, SHADOW(DEV "/sriov_numvfs")},
    {"/home/u", "/sys/bus/pci/loop", 1, SHADOW("/sys/bus/pci/loop")},
    {"/home/u", "/sys/devices/pci0000:01", 0, SHADOW("/sys/devices/pci0000:01")},
    {"/home/u", "/sys/devices/pci0000:00/0000:00:03.0", 0, NATIVE},
    {"/home/u", "/sys/devices/pci0000:00/0000:00:03.0/subsystem", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "/sys/devices/pci0000:00/0000:00:03.0/subsystem", 1, NATIVE},
    {"/home/u", "/sys/class/net/eth0/device/subsystem/devices/" BDF, 0, SHADOW(DEV)},
    {"/home/u", "/sys/class/net/eth0/device/../../pci0000:01/" BDF "/vendor", 0, SHADOW(DEV "/vendor")},

    /* the real system's links in the tree */
    {"/home/u", "/sys/bus/pci/devices/0000:00:03.0", 0, REAL("/sys/devices/pci0000:00/0000:00:03.0")},
    {"/home/u", "/sys/bus/pci/devices/0000:00:03.0/vendor", 0, REAL("/sys/devices/pci0000:00/0000:00:03.0/vendor")},
    {"/home/u", "/sys/bus/pci/devices/0000:00:03.0/vendor/x", 0, REAL("/sys/devices/pci0000:00/0000:00:03.0/vendor/x")},
    {"/home/u", "/sys/bus/pci/devices/0000:00:03.0/subsystem/devices/" BDF, 0, SHADOW(DEV)},
    {"/home/u", "/sys/bus/pci/drivers/virtio-pci", 0, REAL("/sys/bus/pci/drivers/virtio-pci")},
    {"/home/u", "/sys/bus/pci/drivers/virtio-pci", 1, SHADOW("/sys/bus/pci/drivers/virtio-pci")},
    {"/home/u", "/sys/bus/pci/drivers/virtio-pci/bind", 0, REAL("/sys/bus/pci/drivers/virtio-pci/bind")},
    {"/home/u", "/sys/bus/pci/drivers/virtio-pci/../vfio-pci/" BDF, 0, SHADOW(DEV)},
    {"/home/u", "/sys/bus/pci/drivers/virtio-pci/../vfio-pci", 0, SHADOW("/sys/bus/pci/drivers/vfio-pci")},
    {"/home/u", "/sys/bus/pci/drivers/virtio-pci/0000:00:03.0/vendor", 0,
     REAL("/sys/devices/pci0000:00/0000:00:03.0/vendor")},

    /* relative to the tree */
    {S "/sys/bus/pci", "devices", 0, SHADOW("/sys/bus/pci/devices")},
    {S "/sys/bus/pci", ".", 0, PATH_SHADOW, "/sys/bus/pci", S "/sys/bus/pci/"},
    {S "/sys/bus/pci", "..", 0, PATH_REAL, "/sys/bus", "/sys/bus/"},
    {S "/sys/bus/pci", "../../class/net", 0, REAL("/sys/class/net")},
    {S "/sys/bus/pci", "../../../../../../etc/passwd", 0, REAL("/etc/passwd")},
    {S "/sys/bus/pci", "../../..", 0, PATH_REAL, "/", "/"},
    {S "/sys/bus/pci", "../pci/drivers", 0, SHADOW("/sys/bus/pci/drivers")},
    {S "/sys/bus/pci/devices", BDF "/config", 0, SHADOW(DEV "/config")},
    {S "/sys/bus/pci/devices", BDF, 1, SHADOW("/sys/bus/pci/devices/" BDF)},
    {S "/sys/bus/pci/devices", "/etc/passwd", 0, NATIVE},
    {S "/sys/bus/pci/devices", "", 0, NATIVE},
    {S DEV, "driver/../../devices", 0, SHADOW("/sys/bus/pci/devices")},
    {S DEV, "../../pci0000:00/0000:00:03.0/vendor", 0, REAL("/sys/devices/pci0000:00/0000:00:03.0/vendor")},
    {S DEV, "sriov_numvfs", 0, SHADOW(DEV "/sriov_numvfs")},
    {S "/dev/vfio", "vfio", 0, DEVICE("/dev/vfio/vfio")},
    {S "/dev/vfio", "../null", 0, REAL("/dev/null")},

    /* relative to the real system */
    {"/", "sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/", "./dev/vfio/vfio", 0, DEVICE("/dev/vfio/vfio")},
    {"/", "home/u", 0, NATIVE},
    {"/", "..", 0, NATIVE},
    {"/sys", "bus/pci/devices", 0, SHADOW("/sys/bus/pci/devices")},
    {"/sys/bus", "pci", 0, SHADOW("/sys/bus/pci")},
    {"/sys/bus/pci/devices", BDF, 0, SHADOW(DEV)}, /* entered before the program was ours */
    {"/sys/class/net", "../../bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/sys/class/net", "eth0", 0, NATIVE},
    {"/sys/class/net", "eth0/device/subsystem/slots", 0, SHADOW("/sys/bus/pci/slots")},
    {"/dev", "vfio/vfio", 0, DEVICE("/dev/vfio/vfio")},
    {"/dev", "null", 0, NATIVE},
    {"/dev/shm", "../vfio/vfio", 0, DEVICE("/dev/vfio/vfio")},
    {"/dev/shm", "x", 0, NATIVE},
    {"/home/u", "sys/bus/pci", 0, NATIVE},
    {"/home/u", "../sys/bus/pci", 0, NATIVE},
    {"/home/u", "../../sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "../../../../sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "sub/../../../sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "file/../../../sys/bus/pci", 0, NATIVE},
    {NULL, "sys/bus/pci", 0, NATIVE},
    {"(unreachable)/x", "sys/bus/pci", 0, NATIVE},

    /* magic links */
    {"/home/u", "/proc/self/cwd/vendor", 0, SHADOW(DEV "/vendor")},
    {"/home/u", "/proc/self/cwd", 0, SHADOW(DEV)},
    {"/home/u", "/proc/self/cwd", 1, NATIVE},
    {"/home/u", "/proc/77/cwd/..", 0, PATH_SHADOW, "/sys/devices/pci0000:01", S "/sys/devices/pci0000:01/"},
    {"/home/u", "/proc/self/cwd/../../../kernel", 0, REAL("/sys/kernel")},
    {"/home/u", "/proc/thread-self/cwd/vendor", 0, SHADOW(DEV "/vendor")},
    {"/home/u", "/proc/self/task/77/cwd/vendor", 0, SHADOW(DEV "/vendor")},
    {"/home/u", "/proc/self/root/sys/bus/pci", 0, SHADOW("/sys/bus/pci")},
    {"/home/u", "/proc/self/root/dev/vfio/1", 0, DEVICE("/dev/vfio/1")},
    {"/home/u", "/proc/self/fd/3/" BDF "/vendor", 0, SHADOW(DEV "/vendor")},
    {"/home/u", "/dev/fd/3/" BDF "/vendor", 0, SHADOW(DEV "/vendor")},
    {"/home/u", "/proc/self/fd/6", 0, SHADOW(DEV "/config")},
    {"/proc/77", "cwd/vendor", 0, SHADOW(DEV "/vendor")},
    {"/proc", "self/cwd/vendor", 0, SHADOW(DEV "/vendor")},

    /* the tree by its own name; its upper directories are what they are */
    {"/home/u", S "/sys/bus/pci/devices", 0, SHADOW("/sys/bus/pci/devices")},
    {"/home/u", S "/sys/bus/pci/../../class", 0, REAL("/sys/class")},
    {"/home/u", S, 0, NATIVE},
    {"/home/u", S "/sys/bus", 0, NATIVE},
    {S, "sys/bus", 0, NATIVE},
    {S "/sys/bus", "..", 0, NATIVE},

    /* the user's own links are not looked at */
    {"/home/u", "mine/" BDF, 0, NATIVE},
};

static void case_check(const struct path_env *e, const struct matrix_case *c)
{
	struct path_result r;
	int ret;

	memset(&r, 0xaa, sizeof(r));
	ret = path_resolve(e, c->base, c->path, !c->nofollow, &r);
	if (ret || r.route != c->route || (c->logical && (strcmp(r.logical, c->logical) || strcmp(r.out, c->out))))
		fail_msg("base %s path %s %s: ret %d route %d logical %s out %s", c->base, c->path,
			 c->nofollow ? "nofollow" : "follow", ret, r.route, r.route ? r.logical : "-",
			 r.route ? r.out : "-");
}

static void matrix_all(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(matrix); i++) {
		case_check(&env, &matrix[i]);
		case_check(&env_host, &matrix[i]);
	}
}

/* The usual paths cost no system call. */
static void fast_path_asks_nothing(void **state)
{
	static const char *const far[][2] = {
	    {NULL, "/usr/lib/x86_64-linux-gnu/libc.so.6"},
	    {NULL, "/usr/lib/gcc/x86_64-linux-gnu/12/../../../../include/stdio.h"},
	    {NULL, "/dev/null"},
	    {NULL, "/dev/shm/a/b/c"},
	    {NULL, "/proc/self/maps"},
	    {NULL, "/proc/cpuinfo"},
	    {NULL, "/sys/fs/cgroup/memory.max"},
	    {NULL, "/sys/kernel/mm/transparent_hugepage/enabled"},
	    {"/home/u", "a/b/c"},
	    {"/home/u", "../v/a"},
	    {"/home/u", "../sys/bus/pci"},
	    {"/dev/shm/work", "a/b"},
	};
	struct path_result r;

	calls = 0;
	for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
		assert_true(path_is_foreign(&env, far[i][0], far[i][1]));
		assert_int_equal(path_resolve(&env, far[i][0], far[i][1], true, &r), 0);
		assert_int_equal(r.route, PATH_NATIVE);
	}
	assert_int_equal(calls, 0);
}

/* For an absolute path the base is not looked at, so that the caller need not find it out. */
static void foreign_ignores_base_of_absolute(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(matrix); i++)
		if (matrix[i].path[0] == '/' && path_is_foreign(&env, NULL, matrix[i].path))
			assert_int_equal(matrix[i].route, PATH_NATIVE);
}

static void deep_follows_the_users_links(void **state)
{
	struct path_result r;

	assert_int_equal(path_resolve_deep(&env, "/home/u", "mine/" BDF "/vendor", true, &r), 0);
	assert_int_equal(r.route, PATH_SHADOW);
	assert_string_equal(r.out, S DEV "/vendor");
	assert_int_equal(path_resolve_deep(&env, "/", "/home/u/mine", false, &r), 0);
	assert_int_equal(r.route, PATH_NATIVE);
	assert_int_equal(path_resolve_deep(&env, "/home/u", "file", true, &r), 0);
	assert_int_equal(r.route, PATH_NATIVE);
}

/* A working directory in the real system that hides behind a link of the tree. */
static void escape_survives_chdir(void **state)
{
	static const struct matrix_case c[] = {
	    {"/sys/bus/pci/drivers/virtio-pci", "bind", 0, REAL("/sys/bus/pci/drivers/virtio-pci/bind")},
	    {"/sys/bus/pci/drivers/virtio-pci", "../vfio-pci", 0, SHADOW("/sys/bus/pci/drivers/vfio-pci")},
	    {"/sys/bus/pci/drivers/virtio-pci", ".", 0, PATH_REAL, "/sys/bus/pci/drivers/virtio-pci",
	     "/sys/bus/pci/drivers/virtio-pci/"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		case_check(&env_host, &c[i]);
}

static void too_many_links(void **state)
{
	struct path_result r;

	assert_int_equal(path_resolve(&env, "/", "/sys/bus/pci/loop", true, &r), -ELOOP);
	assert_int_equal(path_resolve(&env, "/", "/sys/bus/pci/loop/x", false, &r), -ELOOP);
	assert_int_equal(path_resolve(&env, "/", "/sys/bus/pci/loop/", false, &r), -ELOOP);
}

/* Every length around the limit, with and without a link that makes it longer; nothing is written past an end. */
static void long_paths(void **state)
{
	static const char *const prefix[] = {"/sys/bus/pci/", "/sys/bus/pci/devices/" BDF "/", "/proc/self/cwd/",
					     "/sys/bus/pci/devices/" BDF "/driver/"};
	struct {
		struct path_result r;
		char guard[64];
	} g;
	char path[5000], base[5000];
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(prefix); i++) {
		for (size_t len = 3900; len < 4200; len++) {
			size_t n = strlen(prefix[i]);

			memset(path, 'x', len);
			memcpy(path, prefix[i], n);
			for (size_t k = n + 200; k < len; k += 200)
				path[k] = '/';
			path[len] = 0;
			memset(g.guard, 0x5a, sizeof(g.guard));
			ret = path_resolve(&env, "/", path, true, &g.r);
			assert_true(ret == 0 || ret == -ENAMETOOLONG);
			if (len >= 4096)
				assert_int_equal(ret, -ENAMETOOLONG);
			if (!ret)
				assert_true(strlen(g.r.out) < 4096 && strlen(g.r.logical) < 4096);
			for (size_t k = 0; k < sizeof(g.guard); k++)
				assert_int_equal(g.guard[k], 0x5a);
		}
	}
	memset(base, 'x', sizeof(base));
	memcpy(base, S "/sys/bus/pci/", strlen(S "/sys/bus/pci/"));
	base[4095] = 0;
	assert_int_equal(path_resolve(&env, base, "a", true, &g.r), -ENAMETOOLONG);
	assert_int_equal(path_resolve(&env_host, base, path, true, &g.r), -ENAMETOOLONG);
	base[4999] = 0;
	assert_int_equal(path_resolve(&env, base, "a", true, &g.r), -ENAMETOOLONG);
}

static void unshadow(void **state)
{
	static const struct {
		const char *real, *logical;
	} t[] = {
	    {S "/sys/bus/pci", "/sys/bus/pci"},
	    {S "/sys/bus/pci/devices", "/sys/bus/pci/devices"},
	    {S DEV, DEV},
	    {S DEV " (deleted)", DEV " (deleted)"},
	    {S "/dev/vfio", "/dev/vfio"},
	    {S "/dev/iommu", "/dev/iommu"},
	    {S "/sys/bus/pcix", NULL},
	    {S "/sys/bus", NULL},
	    {S "/sys", NULL},
	    {S, NULL},
	    {S "x/sys/bus/pci", NULL},
	    {"/sys/bus/pci", NULL},
	    {"/", NULL},
	    {"", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		char buf[256];
		size_t len = strlen(t[i].real);
		long n;

		memset(buf, 'Z', sizeof(buf)); /* no NUL: as readlink leaves it */
		memcpy(buf, t[i].real, len);
		n = path_unshadow(&env, buf, len);
		if (!t[i].logical) {
			assert_int_equal(n, -1);
			assert_memory_equal(buf, t[i].real, len);
			continue;
		}
		assert_int_equal(n, strlen(t[i].logical));
		assert_memory_equal(buf, t[i].logical, n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(matrix_all),
	    cmocka_unit_test(fast_path_asks_nothing),
	    cmocka_unit_test(foreign_ignores_base_of_absolute),
	    cmocka_unit_test(deep_follows_the_users_links),
	    cmocka_unit_test(escape_survives_chdir),
	    cmocka_unit_test(too_many_links),
	    cmocka_unit_test(long_paths),
	    cmocka_unit_test(unshadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
