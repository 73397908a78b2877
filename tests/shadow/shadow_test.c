/* SPDX-License-Identifier: BSD-3-Clause */
/* The shadow tree of one hand-made function: contents, modes, what opens answer, who removes it and who does not. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include <cmocka.h>

#include "base/util.h"
#include "broker/shadow.h"
#include "pci/pci.h"
#include "func.h"

#define DIR1 "/sys/devices/pci0000:01/0000:01:00.0"

static char home[64]; /* stands for XDG_RUNTIME_DIR, so that nobody else's trees are met */

static size_t slurp(const struct shadow *s, const char *path, char *buf, size_t len)
{
	char full[512];
	ssize_t n;
	int fd;

	snprintf(full, sizeof(full), "%s%s", shadow_root(s), path);
	fd = open(full, O_RDONLY);
	if (fd < 0)
		fail_msg("%s: %s", full, strerror(errno));
	n = read(fd, buf, len - 1);
	close(fd);
	assert_true(n >= 0);
	buf[n] = 0;
	return n;
}

static mode_t mode_of(const struct shadow *s, const char *path)
{
	char full[512];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", shadow_root(s), path);
	return lstat(full, &st) ? 0 : st.st_mode;
}

static void expect_text(const struct shadow *s, const char *path, const char *want)
{
	char buf[2048];

	slurp(s, path, buf, sizeof(buf));
	if (strcmp(buf, want))
		fail_msg("%s: \"%s\" is not \"%s\"", path, buf, want);
}

static void expect_link(const struct shadow *s, const char *path, const char *want)
{
	char full[512], buf[256] = "";
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", shadow_root(s), path);
	if (readlink(full, buf, sizeof(buf) - 1) < 0)
		fail_msg("%s: %s", full, strerror(errno));
	if (strcmp(buf, want) || stat(full, &st))
		fail_msg("%s -> %s, not %s, or it dangles", path, buf, want);
}

/* ---- fixture: a fresh home, one tree, one function ---- */

struct fixture {
	struct shadow *s;
	struct pci_func f;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	strcpy(home, "/tmp/shadow-test-XXXXXX");
	assert_non_null(mkdtemp(home));
	setenv("XDG_RUNTIME_DIR", home, 1);
	func_make(&x->f, 0x0100, 7);
	assert_int_equal(shadow_new(false, &x->s), 0);
	assert_int_equal(shadow_add(x->s, &x->f), 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	if (x->s)
		shadow_free(x->s);
	pci_func_fini(&x->f);
	free(x);
	if (rmdir(home)) {
		print_error("%s is not empty\n", home);
		return -1;
	}
	return 0;
}

static void attributes_read_as_in_linux(void **state)
{
	static const struct {
		const char *name;
		mode_t mode;
		const char *text; /* NULL: not compared */
	} want[] = {
	    {"vendor", 0444, "0x1b36\n"},
	    {"device", 0444, "0x0010\n"},
	    {"subsystem_vendor", 0444, "0x1af4\n"},
	    {"subsystem_device", 0444, "0x1100\n"},
	    {"class", 0444, "0x010802\n"},
	    {"revision", 0444, "0x02\n"},
	    {"modalias", 0444, "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02\n"},
	    {"uevent", 0644,
	     "DRIVER=vfio-pci\nPCI_CLASS=10802\nPCI_ID=1B36:0010\nPCI_SUBSYS_ID=1AF4:1100\n"
	     "PCI_SLOT_NAME=0000:01:00.0\nMODALIAS=pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02\n"},
	    {"irq", 0444, NULL},
	    {"numa_node", 0644, "-1\n"},
	    {"local_cpus", 0444, NULL},
	    {"local_cpulist", 0444, NULL},
	    {"driver_override", 0644, "vfio-pci\n"},
	    {"enable", 0644, "0\n"},
	    {"power_state", 0444, "D0\n"},
	    {"ari_enabled", 0444, "0\n"},
	    {"broken_parity_status", 0644, "0\n"},
	    {"msi_bus", 0644, "1\n"},
	    {"d3cold_allowed", 0644, NULL},
	    {"dma_mask_bits", 0444, "64\n"},
	    {"consistent_dma_mask_bits", 0444, "64\n"},
	    {"current_link_speed", 0444, "8.0 GT/s PCIe\n"},
	    {"max_link_speed", 0444, "8.0 GT/s PCIe\n"},
	    {"current_link_width", 0444, "4\n"},
	    {"max_link_width", 0444, "4\n"},
	    {"reset_method", 0644, "flr\n"},
	    {"power/control", 0644, "on\n"},
	    {"power/runtime_status", 0444, "active\n"},
	    {"config", 0644, NULL},
	    {"resource", 0444, NULL},
	};
	struct fixture *x = *state;
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		snprintf(path, sizeof(path), DIR1 "/%s", want[i].name);
		if (mode_of(x->s, path) != (S_IFREG | want[i].mode))
			fail_msg("%s: mode %o", path, mode_of(x->s, path));
		if (want[i].text)
			expect_text(x->s, path, want[i].text);
	}
	assert_int_equal(mode_of(x->s, DIR1 "/reset"), S_IFREG | 0200);
	assert_int_equal(mode_of(x->s, DIR1 "/remove"), S_IFREG | 0220);
	assert_int_equal(mode_of(x->s, DIR1 "/rescan"), S_IFREG | 0200);
	assert_int_equal(mode_of(x->s, DIR1 "/msi_irqs"), S_IFDIR | 0755);
	assert_int_equal(mode_of(x->s, "/dev/vfio/vfio"), S_IFREG | 0666);
	assert_int_equal(mode_of(x->s, "/dev/vfio/7"), S_IFREG | 0600);
	assert_int_equal(mode_of(x->s, "/dev/vfio/devices"), S_IFDIR | 0755);
	assert_int_equal(mode_of(x->s, "/dev/vfio/devices/vfio0"), S_IFREG | 0600);
	assert_int_equal(mode_of(x->s, "/dev/vfio/devices/vfio1"), 0);
	assert_int_equal(mode_of(x->s, "/dev/iommu"), S_IFREG | 0660);
	expect_text(x->s, DIR1 "/vfio-dev/vfio0/dev", "248:0\n");
	expect_text(x->s, DIR1 "/vfio-dev/vfio0/uevent", "MAJOR=248\nMINOR=0\nDEVNAME=vfio/devices/vfio0\n");
	assert_int_equal(mode_of(x->s, "/sys/bus/pci/drivers/vfio-pci/bind"), S_IFREG | 0200);
	assert_int_equal(mode_of(x->s, "/sys/bus/pci/drivers_autoprobe"), S_IFREG | 0644);
	assert_int_equal(mode_of(x->s, ""), S_IFDIR | 0700);
	expect_text(x->s, "/sys/bus/pci/drivers_autoprobe", "1\n");
	expect_text(x->s, "/sys/kernel/iommu_groups/7/type", "DMA\n");
	expect_text(x->s, "/sys/kernel/iommu_groups/7/reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n");
	expect_text(x->s, "/sys/class/vfio/7/uevent", "MAJOR=249\nMINOR=0\nDEVNAME=vfio/7\n");
}

static void links_lead_where_they_do_in_linux(void **state)
{
	struct fixture *x = *state;

	expect_link(x->s, "/sys/bus/pci/devices/0000:01:00.0", "../../../devices/pci0000:01/0000:01:00.0");
	expect_link(x->s, "/sys/bus/pci/drivers/vfio-pci/0000:01:00.0", "../../../../devices/pci0000:01/0000:01:00.0");
	expect_link(x->s, "/sys/kernel/iommu_groups/7/devices/0000:01:00.0",
		    "../../../../devices/pci0000:01/0000:01:00.0");
	expect_link(x->s, DIR1 "/driver", "../../../bus/pci/drivers/vfio-pci");
	expect_link(x->s, DIR1 "/subsystem", "../../../bus/pci");
	expect_link(x->s, DIR1 "/iommu_group", "../../../kernel/iommu_groups/7");
	expect_link(x->s, DIR1 "/iommu", "../../virtual/iommu/pinfold0");
	expect_link(x->s, "/sys/class/vfio-dev/vfio0", "../../devices/pci0000:01/0000:01:00.0/vfio-dev/vfio0");
	expect_link(x->s, DIR1 "/vfio-dev/vfio0/device", "../../../0000:01:00.0");
	expect_link(x->s, DIR1 "/vfio-dev/vfio0/subsystem", "../../../../../class/vfio-dev");
	expect_link(x->s, "/sys/class/vfio/7", "../../devices/virtual/vfio/7");
	expect_link(x->s, "/sys/class/vfio/7/subsystem", "../../../../class/vfio");
	expect_link(x->s, "/sys/class/iommu/pinfold0", "../../devices/virtual/iommu/pinfold0");
	expect_link(x->s, "/sys/class/iommu/pinfold0/subsystem", "../../../../class/iommu");
	expect_link(x->s, "/sys/class/iommu/pinfold0/devices/0000:01:00.0", "../../../../pci0000:01/0000:01:00.0");
	expect_link(x->s, "/sys/bus/pci/drivers/vfio-pci/module", "../../../../module/vfio_pci");
}

static int node_count;
static char node_root[256];

static int node_check(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char real[PATH_MAX];

	node_count++;
	if (type == FTW_SLN)
		fail_msg("%s dangles", path);
	if (type == FTW_DNR || type == FTW_NS)
		fail_msg("%s cannot be read", path);
	if (S_ISLNK(st->st_mode)) {
		assert_non_null(realpath(path, real));
		if (strncmp(real, node_root, strlen(node_root)))
			fail_msg("%s leads out of the tree", path);
	}
	return 0;
}

static void no_link_dangles_or_leads_out(void **state)
{
	struct fixture *x = *state;

	node_count = 0;
	strcpy(node_root, shadow_root(x->s));
	assert_int_equal(nftw(node_root, node_check, 16, FTW_PHYS), 0);
	assert_true(node_count > 80);
}

static void resources_match_the_bars(void **state)
{
	struct fixture *x = *state;
	unsigned long long start, last, flags;
	char buf[2048], full[512], *p = buf;
	struct stat st;
	int n, lines = 0;

	slurp(x->s, DIR1 "/resource", buf, sizeof(buf));
	for (; sscanf(p, "%llx %llx %llx\n%n", &start, &last, &flags, &n) == 3; p += n, lines++) {
		assert_int_equal(n, 57);
		if (lines == 0) {
			assert_int_equal(start, pci_bar_address(&x->f, 0));
			assert_int_equal(last - start + 1, 16384);
			assert_int_equal(flags, 0x140204);
		} else if (lines == 2) {
			assert_int_equal(start, pci_bar_address(&x->f, 2));
			assert_int_equal(last - start + 1, 4096);
			assert_int_equal(flags, 0x42208);
		} else {
			assert_int_equal(start | last | flags, 0);
		}
	}
	assert_int_equal(lines, 13);
	assert_int_equal(*p, 0);
	snprintf(full, sizeof(full), "%s" DIR1 "/resource0", shadow_root(x->s));
	assert_int_equal(stat(full, &st), 0);
	assert_int_equal(st.st_size, 16384);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(mode_of(x->s, DIR1 "/resource1"), 0);
	assert_int_equal(mode_of(x->s, DIR1 "/resource2"), S_IFREG | 0600);
}

static void open_refreshes_what_changes(void **state)
{
	struct fixture *x = *state;
	char buf[8192], full[512];
	int fd;

	snprintf(full, sizeof(full), "%s" DIR1 "/config", shadow_root(x->s));
	fd = open(full, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(slurp(x->s, DIR1 "/config", buf, sizeof(buf)), 4096);
	assert_int_equal(buf[PCI_COMMAND] & PCI_COMMAND_MEMORY, 0);
	pci_cfg_write(&x->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(shadow_open(x->s, "/sys/bus/pci/devices/0000:01:00.0/config", O_RDONLY), 0);
	slurp(x->s, DIR1 "/config", buf, sizeof(buf));
	assert_int_equal(buf[PCI_COMMAND] & PCI_COMMAND_MEMORY, PCI_COMMAND_MEMORY);
	for (unsigned int i = 0; i < 4096; i++)
		assert_int_equal((uint8_t)buf[i], pci_cfg_read(&x->f, i, 1));
	/* In place: a descriptor opened before sees it too. */
	assert_int_equal(pread(fd, buf, 1, PCI_COMMAND), 1);
	assert_int_equal(buf[0], PCI_COMMAND_MEMORY);
	close(fd);

	assert_int_equal(shadow_open(x->s, DIR1 "/enable", O_RDONLY), 0);
	expect_text(x->s, DIR1 "/enable", "1\n");
	pci_cfg_write(&x->f, x->f.pm_cap + PCI_PM_CTRL, 2, 3);
	expect_text(x->s, DIR1 "/power_state", "D0\n");
	assert_int_equal(
	    shadow_open(x->s, DIR1 "/driver/../../../../bus/pci/devices/0000:01:00.0/power_state", O_RDONLY), 0);
	expect_text(x->s, DIR1 "/power_state", "D3hot\n");
	assert_int_equal(mode_of(x->s, DIR1 "/power_state"), S_IFREG | 0444);
}

static void opens_are_refused_as_they_should_be(void **state)
{
	static const struct {
		const char *path;
		int flags, want;
	} t[] = {
	    {DIR1 "/vendor", O_RDONLY, 0},
	    {DIR1, O_RDONLY | O_DIRECTORY, 0},
	    {"/sys/bus/pci/devices/0000:01:00.0/vendor", O_RDONLY | O_NOFOLLOW, 0},
	    {DIR1 "/vendor", O_RDWR, -EACCES},
	    {DIR1 "/vendor", O_RDONLY | O_TRUNC, -EACCES},
	    {DIR1 "/vendor", O_PATH, 0},
	    {DIR1 "/config", O_RDONLY, 0},
	    {DIR1 "/config", O_RDWR, -EACCES},
	    {DIR1 "/config", O_WRONLY, -EACCES},
	    {DIR1 "/resource0", O_RDWR, -EPERM},
	    {DIR1 "/resource0", O_RDONLY, -EPERM},
	    {DIR1 "/resource2", O_RDONLY, -EPERM},
	    {DIR1 "/resource", O_RDONLY, 0},
	    {DIR1 "/reset", O_WRONLY, -EACCES},
	    {DIR1 "/reset", O_RDONLY, -EACCES},
	    {DIR1 "/remove", O_WRONLY, -EACCES},
	    {DIR1 "/driver_override", O_WRONLY | O_TRUNC, 0},
	    {DIR1 "/driver/unbind", O_WRONLY, -EACCES},
	    {DIR1 "/driver/new_id", O_WRONLY, 0},
	    {DIR1 "/driver/new_id", O_RDONLY, -EACCES},
	    {"/sys/bus/pci/drivers_probe", O_WRONLY, 0},
	    {"/sys/bus/pci/rescan", O_WRONLY, -EACCES},
	    {"/sys/bus/pci/nothing", O_RDONLY, -ENOENT},
	    {"/sys/bus/pci/nothing", O_RDWR | O_CREAT, -EACCES},
	    {DIR1 "/vendor/x", O_RDONLY, -ENOTDIR},
	    {"/dev/vfio", O_RDONLY, 0},
	    {"/dev/vfio/devices", O_RDONLY, 0},
	    {"/dev/vfio/9", O_RDWR, -ENOENT},
	    {"/dev/vfio/7", O_RDWR, -EACCES},
	    {"sys/bus/pci", O_RDONLY, -EINVAL},
	    {"/../../../etc/passwd", O_RDONLY, -EXDEV},
	    {"", O_RDONLY, -EINVAL},
	};
	struct fixture *x = *state;
	char *longpath = malloc(8193);
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		ret = shadow_open(x->s, t[i].path, t[i].flags);
		if (ret != t[i].want && !(t[i].want == -EXDEV && ret < 0))
			fail_msg("%s %#o: %d, not %d", t[i].path, t[i].flags, ret, t[i].want);
	}
	memset(longpath, '/', 8192);
	longpath[8192] = 0;
	assert_int_equal(shadow_open(x->s, longpath, O_RDONLY), -ENAMETOOLONG);
	free(longpath);
}

static void a_second_function_joins_its_group(void **state)
{
	struct fixture *x = *state;
	struct pci_func g, h;

	func_make(&g, 0x0201, 7);
	func_make(&h, 0x0300, 8);
	assert_int_equal(shadow_add(x->s, &g), 0);
	assert_int_equal(shadow_add(x->s, &h), 0);
	assert_int_equal(shadow_add(x->s, &h), -EEXIST);
	expect_link(x->s, "/sys/kernel/iommu_groups/7/devices/0000:02:00.1",
		    "../../../../devices/pci0000:02/0000:02:00.1");
	expect_link(x->s, "/sys/kernel/iommu_groups/7/devices/0000:01:00.0",
		    "../../../../devices/pci0000:01/0000:01:00.0");
	expect_text(x->s, "/sys/class/vfio/8/dev", "249:1\n");
	assert_int_equal(mode_of(x->s, "/dev/vfio/8"), S_IFREG | 0600);
	pci_func_fini(&g);
	pci_func_fini(&h);
}

/* A client may have put anything into the tree; nothing outside goes with it. */
static void removal_stays_inside(void **state)
{
	struct fixture *x = *state;
	char outside[] = "/tmp/shadow-outside-XXXXXX", path[512], keep[128];
	struct stat st;
	int fd;

	assert_non_null(mkdtemp(outside));
	snprintf(keep, sizeof(keep), "%s/keep", outside);
	fd = open(keep, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/sys/bus/pci/out", shadow_root(x->s));
	assert_int_equal(symlink(outside, path), 0);
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/deep", shadow_root(x->s));
	for (int i = 0; i < 8; i++) {
		assert_int_equal(mkdir(path, 0700), 0);
		strcat(path, "/x");
	}
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "%s/dev/vfio/many-%d", shadow_root(x->s), i);
		close(open(path, O_CREAT | O_WRONLY, 0));
	}
	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices", shadow_root(x->s));
	assert_int_equal(chmod(path, 0), 0);
	strcpy(path, shadow_root(x->s));
	shadow_free(x->s);
	x->s = NULL;
	assert_int_equal(lstat(path, &st), -1);
	assert_int_equal(stat(keep, &st), 0);
	unlink(keep);
	rmdir(outside);
}

/* Makes a tree in a process that dies without removing it; its path in root. */
static void orphan_make(char root[256])
{
	int p[2];
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (!pid) {
		struct shadow *s;
		int ret = shadow_new(false, &s);

		if (!ret)
			ret = write(p[1], shadow_root(s), strlen(shadow_root(s)) + 1) < 0;
		kill(getpid(), SIGKILL);
		_exit(ret);
	}
	assert_true(read(p[0], root, 256) > 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(p[0]);
	close(p[1]);
}

static void sweep_takes_the_dead_and_leaves_the_living(void **state)
{
	struct fixture *x = *state;
	char dead[256], foreign[128], half[128], empty[128];
	struct stat st;
	struct shadow *s;

	orphan_make(dead);
	assert_int_equal(stat(dead, &st), 0);
	/* Of the same name but without a lock: not empty, so nobody's business. */
	snprintf(half, sizeof(half), "%s/pinfold-tree-mine", home);
	assert_int_equal(mkdir(half, 0700), 0);
	snprintf(half, sizeof(half), "%s/pinfold-tree-mine/file", home);
	assert_int_equal(mkdir(half, 0700), 0);
	/* Died right after mkdir. */
	snprintf(empty, sizeof(empty), "%s/pinfold-tree-empty", home);
	assert_int_equal(mkdir(empty, 0700), 0);
	snprintf(foreign, sizeof(foreign), "%s/something-else", home);
	assert_int_equal(mkdir(foreign, 0700), 0);

	assert_int_equal(shadow_new(false, &s), 0);
	assert_int_equal(stat(dead, &st), -1);
	assert_int_equal(stat(empty, &st), -1);
	assert_int_equal(stat(half, &st), 0);
	assert_int_equal(stat(foreign, &st), 0);
	assert_string_not_equal(shadow_root(s), shadow_root(x->s));
	expect_text(x->s, DIR1 "/vendor", "0x1b36\n"); /* the other living one */
	shadow_free(s);
	expect_text(x->s, DIR1 "/vendor", "0x1b36\n");

	rmdir(foreign);
	rmdir(half);
	*strrchr(half, '/') = 0;
	rmdir(half);
}

/* A link in the place of a tree, to a directory that looks like a dead one. */
static void sweep_follows_no_link(void **state)
{
	char dead[256], moved[128], link[128];
	struct shadow *s;
	struct stat st;

	orphan_make(dead);
	snprintf(moved, sizeof(moved), "%s/moved", home);
	assert_int_equal(rename(dead, moved), 0);
	snprintf(link, sizeof(link), "%s/pinfold-tree-link", home);
	assert_int_equal(symlink(moved, link), 0);
	assert_int_equal(shadow_new(false, &s), 0);
	shadow_free(s);
	assert_int_equal(lstat(link, &st), 0);
	assert_int_equal(stat(moved, &st), 0);
	unlink(link);
	assert_int_equal(rename(moved, dead), 0);
	assert_int_equal(shadow_new(false, &s), 0); /* sweeps it now */
	shadow_free(s);
	assert_int_equal(stat(dead, &st), -1);
}

/* Many at once, each sweeping while others are being made: every one stays whole, and nothing is left. */
static void many_at_once(void **state)
{
	pid_t pid[6];
	int status;

	for (size_t i = 0; i < ARRAY_SIZE(pid); i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		for (int k = 0; k < 10; k++) {
			struct pci_func f;
			struct shadow *s;
			char path[512];

			func_make(&f, 0x0100, 1);
			if (shadow_new(false, &s) || shadow_add(s, &f))
				_exit(1);
			snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/0000:01:00.0/vendor", shadow_root(s));
			if (access(path, R_OK))
				_exit(2);
			shadow_free(s);
			if (!access(path, F_OK))
				_exit(3);
			pci_func_fini(&f);
		}
		_exit(0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pid); i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
}

/* The umask is its user's own affair. */
static void modes_do_not_depend_on_the_umask(void **state)
{
	mode_t old = umask(0777);
	struct shadow *s;
	int ret = shadow_new(false, &s);

	umask(old);
	assert_int_equal(ret, 0);
	assert_int_equal(mode_of(s, "/sys/bus/pci/devices"), S_IFDIR | 0755);
	assert_int_equal(mode_of(s, "/sys/bus/pci/drivers_autoprobe"), S_IFREG | 0644);
	assert_int_equal(mode_of(s, ""), S_IFDIR | 0700);
	shadow_free(s);
}

static void falls_back_where_it_cannot_write(void **state)
{
	struct shadow *s;

	setenv("XDG_RUNTIME_DIR", "/nonexistent/run", 1);
	assert_int_equal(shadow_new(false, &s), 0);
	assert_true(!strncmp(shadow_root(s), "/dev/shm/", 9) || !strncmp(shadow_root(s), "/tmp/", 5));
	shadow_free(s);
	setenv("XDG_RUNTIME_DIR", home, 1);
}

static void host_devices_stand_beside_ours(void **state)
{
	char path[512], real[PATH_MAX];
	struct shadow *s;
	struct stat st;
	FILE *ls;

	assert_int_equal(shadow_new(true, &s), 0);
	ls = popen("ls /sys/bus/pci/devices 2>/dev/null", "r");
	assert_non_null(ls);
	while (fscanf(ls, "%300s", path) == 1) {
		char want[512], got[512], full[PATH_MAX];
		ssize_t n, m;

		snprintf(full, sizeof(full), "/sys/bus/pci/devices/%s", path);
		n = readlink(full, want, sizeof(want));
		snprintf(full, sizeof(full), "%s/sys/bus/pci/devices/%s", shadow_root(s), path);
		m = readlink(full, got, sizeof(got));
		assert_true(n > 0 && n == m);
		assert_memory_equal(want, got, n);
	}
	pclose(ls);
	ls = popen("ls /sys/bus/pci/drivers 2>/dev/null", "r");
	assert_non_null(ls);
	while (fscanf(ls, "%300s", path) == 1) {
		char full[PATH_MAX];

		snprintf(full, sizeof(full), "%s/sys/bus/pci/drivers/%s", shadow_root(s), path);
		assert_int_equal(stat(full, &st), 0);
		assert_non_null(realpath(full, real));
		if (strcmp(path, "vfio-pci"))
			assert_true(!strncmp(real, "/sys/", 5));
	}
	pclose(ls);
	shadow_free(s);
}

static void faults_have_their_files(void **state)
{
	static const char debug[] = "/sys/kernel/debug/failslab/verbose", task[] = "/proc/12/task/34/fail-nth";
	struct shadow *s;
	char full[PATH_MAX], text[8];
	int fd, own;

	assert_int_equal(shadow_new(false, &s), 0);
	assert_int_equal(shadow_open(s, debug, O_WRONLY), -ENOENT);
	assert_int_equal(shadow_add_faults(s), 0);
	assert_int_equal(shadow_open(s, debug, O_WRONLY), 0);
	assert_int_equal(shadow_open(s, "/sys/kernel/debug/failslab/new", O_WRONLY | O_CREAT), -EACCES);

	own = shadow_add_task(s, 34);
	assert_true(own >= 0);
	assert_int_equal(shadow_link_task(s, 12, 34), 0);
	assert_int_equal(shadow_link_task(s, 12, 34), 0);
	snprintf(full, sizeof(full), "%s%s", shadow_root(s), task);
	fd = open(full, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 2);
	assert_memory_equal(text, "0\n", 2);
	assert_int_equal(pwrite(fd, "7", 1, 0), 1);
	assert_int_equal(pread(own, text, sizeof(text), 0), 2);
	assert_memory_equal(text, "7\n", 2);
	close(own);
	/* The number is another thread's now. */
	shadow_remove_task(s, 34);
	own = shadow_add_task(s, 34);
	assert_true(own >= 0);
	assert_int_equal(shadow_link_task(s, 12, 34), 0);
	close(fd);
	fd = open(full, O_RDONLY);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 2);
	assert_memory_equal(text, "0\n", 2);
	close(fd);
	close(own);
	shadow_free(s);
}

/* --user: root gives up being root first, since it would be let through where a user is not. */
int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--user") && !geteuid() &&
	    (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return 99;
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(attributes_read_as_in_linux),
	    T(links_lead_where_they_do_in_linux),
	    T(no_link_dangles_or_leads_out),
	    T(resources_match_the_bars),
	    T(open_refreshes_what_changes),
	    T(opens_are_refused_as_they_should_be),
	    T(a_second_function_joins_its_group),
	    T(removal_stays_inside),
	    T(sweep_takes_the_dead_and_leaves_the_living),
	    T(sweep_follows_no_link),
	    T(many_at_once),
	    T(modes_do_not_depend_on_the_umask),
	    T(falls_back_where_it_cannot_write),
	    T(host_devices_stand_beside_ours),
	    T(faults_have_their_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
