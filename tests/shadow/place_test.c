/* SPDX-License-Identifier: BSD-3-Clause */
/* Functions below bridges, functions that lose their driver and get it back, functions that go: what the tree shows. */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/shadow.h"
#include "func.h"
#include "pci/pci.h"

#define DEEP "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0"

static char home[64];

struct fixture {
	struct shadow *s;
	struct pci_func port, mid, end;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	strcpy(home, "/tmp/shadow-place-XXXXXX");
	assert_non_null(mkdtemp(home));
	setenv("XDG_RUNTIME_DIR", home, 1);
	assert_int_equal(shadow_new(false, &x->s), 0);
	func_make(&x->port, 0x0008, 1);
	func_make(&x->mid, 0x0100, 2);
	func_make(&x->end, 0x0200, 2);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	shadow_free(x->s);
	pci_func_fini(&x->port);
	pci_func_fini(&x->mid);
	pci_func_fini(&x->end);
	free(x);
	return rmdir(home);
}

static void add(struct fixture *x, struct pci_func *f, const struct pci_func *parent, const char *driver, int vfio)
{
	const struct shadow_place at = {.parent = parent, .driver = driver, .vfio = vfio};

	assert_int_equal(shadow_add_at(x->s, f, &at), 0);
}

static void add_all(struct fixture *x)
{
	add(x, &x->port, NULL, "pcieport", -1);
	add(x, &x->mid, &x->port, "pcieport", -1);
	add(x, &x->end, &x->mid, "vfio-pci", 0);
}

static bool exists(const struct fixture *x, const char *path)
{
	char full[512];
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", shadow_root(x->s), path);
	return !lstat(full, &st);
}

static const char *target_of(const struct fixture *x, const char *path)
{
	static char real[512];
	char full[512], resolved[PATH_MAX];
	size_t n = strlen(shadow_root(x->s));

	snprintf(full, sizeof(full), "%s%s", shadow_root(x->s), path);
	if (!realpath(full, resolved) || strncmp(resolved, shadow_root(x->s), n))
		return "nowhere";
	snprintf(real, sizeof(real), "%s", resolved + n);
	return real;
}

/* ---- all that is in the tree, as one number: names, kinds, sizes, where links lead ---- */

static uint64_t sum;
static unsigned int entries, dangling;
static size_t root_len;

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const char *rel = path + root_len;
	uint64_t h = 14695981039346656037ull;
	struct stat to;

	/* A host bridge stays when what was below it has gone. */
	if (strstr(rel, "/sys/devices/pci") && !strchr(rel + 13, '/'))
		return 0;
	for (const char *p = rel; *p; p++)
		h = (h ^ (uint8_t)*p) * 1099511628211ull;
	sum += h ^ (uint64_t)(st->st_mode & S_IFMT) ^ (S_ISREG(st->st_mode) ? (uint64_t)st->st_size << 20 : 0);
	entries++;
	if (S_ISLNK(st->st_mode))
		dangling += stat(path, &to) != 0;
	return 0;
}

static uint64_t snapshot(const struct fixture *x)
{
	char root[256];

	snprintf(root, sizeof(root), "%s", shadow_root(x->s));
	root_len = strlen(root);
	sum = entries = dangling = 0;
	assert_int_equal(nftw(root, visit, 32, FTW_PHYS), 0);
	assert_int_equal(dangling, 0);
	return sum;
}

static void paths_lead_down_the_tree(void **state)
{
	struct fixture *x = *state;
	const struct shadow_place lost = {.parent = &x->end, .vfio = -1};

	assert_int_equal(shadow_add_at(x->s, &x->mid, &lost), -ENOENT);
	add_all(x);
	snapshot(x);
	assert_string_equal(target_of(x, "/sys/bus/pci/devices/0000:02:00.0"), DEEP);
	assert_string_equal(target_of(x, "/sys/bus/pci/drivers/vfio-pci/0000:02:00.0"), DEEP);
	assert_string_equal(target_of(x, "/sys/bus/pci/drivers/pcieport/0000:01:00.0/0000:02:00.0"), DEEP);
	assert_string_equal(target_of(x, "/sys/kernel/iommu_groups/2/devices/0000:02:00.0"), DEEP);
	assert_string_equal(target_of(x, DEEP "/subsystem"), "/sys/bus/pci");
	assert_string_equal(target_of(x, DEEP "/driver"), "/sys/bus/pci/drivers/vfio-pci");
	assert_string_equal(target_of(x, DEEP "/iommu_group"), "/sys/kernel/iommu_groups/2");
	assert_string_equal(target_of(x, DEEP "/iommu"), "/sys/devices/virtual/iommu/pinfold0");
	assert_string_equal(target_of(x, DEEP "/vfio-dev/vfio0/device"), DEEP);
	assert_string_equal(target_of(x, DEEP "/vfio-dev/vfio0/subsystem"), "/sys/class/vfio-dev");
	assert_string_equal(target_of(x, "/sys/class/vfio-dev/vfio0"), DEEP "/vfio-dev/vfio0");
	assert_string_equal(target_of(x, "/sys/bus/pci/devices/0000:01:00.0/driver"), "/sys/bus/pci/drivers/pcieport");
	/* A group of bridges alone is nobody's to open; one with a function that VFIO has, is. */
	assert_true(exists(x, "/sys/kernel/iommu_groups/1"));
	assert_false(exists(x, "/dev/vfio/1"));
	assert_true(exists(x, "/dev/vfio/2"));
	assert_int_equal(shadow_open(x->s, DEEP "/config", 0), 0);
}

/* The refreshing open finds its function among bridges whose directories contain it. */
static void each_has_its_own_attributes(void **state)
{
	struct fixture *x = *state;
	char full[512], got[16] = "";
	FILE *f;

	add_all(x);
	pci_func_set_away(&x->end, true);
	assert_int_equal(shadow_open(x->s, DEEP "/config", 0), 0);
	assert_int_equal(shadow_open(x->s, "/sys/bus/pci/devices/0000:01:00.0/config", 0), 0);
	for (int i = 0; i < 2; i++) {
		snprintf(full, sizeof(full), "%s/sys/bus/pci/devices/0000:0%d:00.0/config", shadow_root(x->s), 2 - i);
		f = fopen(full, "r");
		assert_non_null(f);
		assert_int_equal(fread(got, 1, 4, f), 4);
		fclose(f);
		assert_memory_equal(got, i ? "\x36\x1b\x10\x00" : "\xff\xff\xff\xff", 4);
	}
}

static void what_is_unbound_comes_back_as_it_was(void **state)
{
	struct fixture *x = *state;
	struct pci_func other;
	uint64_t before, without;

	add_all(x);
	func_make(&other, 0x0300, 2);
	add(x, &other, NULL, "vfio-pci", 1);
	before = snapshot(x);
	shadow_unbind(x->s, &x->end);
	without = snapshot(x);
	assert_true(without != before);
	assert_false(exists(x, DEEP "/driver"));
	assert_false(exists(x, DEEP "/vfio-dev"));
	assert_false(exists(x, "/dev/vfio/devices/vfio0"));
	assert_true(exists(x, DEEP "/vendor"));
	/* The other one needs the group's node. */
	assert_true(exists(x, "/dev/vfio/2"));
	shadow_unbind(x->s, &x->end);
	assert_true(snapshot(x) == without);
	shadow_unbind(x->s, &other);
	assert_false(exists(x, "/dev/vfio/2"));
	assert_true(exists(x, "/sys/kernel/iommu_groups/2"));
	assert_int_equal(shadow_bind(x->s, &other), 0);
	assert_int_equal(shadow_bind(x->s, &x->end), 0);
	assert_int_equal(shadow_bind(x->s, &x->end), 0);
	assert_true(snapshot(x) == before);
	assert_int_equal(shadow_bind(x->s, &x->port), -ENODEV);
	pci_func_fini(&other);
}

static void what_is_removed_leaves_nothing(void **state)
{
	struct fixture *x = *state;
	uint64_t empty = snapshot(x), bridges;

	add(x, &x->port, NULL, "pcieport", -1);
	add(x, &x->mid, &x->port, "pcieport", -1);
	bridges = snapshot(x);
	for (int i = 0; i < 3; i++) {
		add(x, &x->end, &x->mid, "vfio-pci", 0);
		assert_true(snapshot(x) != bridges);
		if (i == 1)
			shadow_unbind(x->s, &x->end);
		shadow_remove(x->s, &x->end);
		shadow_remove(x->s, &x->end);
		assert_true(snapshot(x) == bridges);
	}
	shadow_remove(x->s, &x->mid);
	shadow_remove(x->s, &x->port);
	assert_true(snapshot(x) == empty);
}

/* A client has put a link in a directory's place: nothing outside goes. */
static void removal_follows_no_link(void **state)
{
	struct fixture *x = *state;
	char outside[] = "/tmp/shadow-outside-XXXXXX", path[512], aside[512], keep[512];
	struct stat st;

	assert_non_null(mkdtemp(outside));
	snprintf(keep, sizeof(keep), "%s/0000:02:00.0", outside);
	assert_int_equal(mkdir(keep, 0700), 0);
	add_all(x);
	snprintf(path, sizeof(path), "%s/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0", shadow_root(x->s));
	snprintf(aside, sizeof(aside), "%s/aside", shadow_root(x->s));
	assert_int_equal(rename(path, aside), 0);
	assert_int_equal(symlink(outside, path), 0);
	shadow_remove(x->s, &x->end);
	assert_int_equal(lstat(keep, &st), 0);
	rmdir(keep);
	assert_int_equal(rmdir(outside), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(paths_lead_down_the_tree),       T(each_has_its_own_attributes), T(what_is_unbound_comes_back_as_it_was),
	    T(what_is_removed_leaves_nothing), T(removal_follows_no_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
