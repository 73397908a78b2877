/* SPDX-License-Identifier: BSD-3-Clause */
/* Images that a controller can be made of, and what it says about others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/device.h"
#include "devices/nvme/nvme.h"

static struct loop *loop;
static struct events evs;
static char dir[] = "/tmp/pinfold-open-XXXXXX";
static char err[256];

static int setup(void **state)
{
	events_init(&evs);
	loop = loop_new();
	return loop && mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(loop);
	return chdir("/") || rmdir(dir);
}

static int create(const char *options, struct pci_func **f)
{
	struct device_env env = {.loop = loop, .evs = &evs};
	struct device_place place;
	char spec[256];

	err[0] = '\0';
	snprintf(spec, sizeof(spec), "nvme,%s", options);
	return device_create(&env, spec, f, &place, err, sizeof(err));
}

static void assert_refused(const char *options, int rc, const char *why)
{
	struct pci_func *f;

	assert_int_equal(create(options, &f), rc);
	assert_non_null(strstr(err, why));
	assert_null(strchr(err, '\n'));
}

static uint64_t blocks_of(const char *options, unsigned int nsid)
{
	struct pci_func *f;
	uint64_t n;

	if (create(options, &f)) {
		fprintf(stderr, "%s\n", err);
		return 0;
	}
	n = container_of(f, struct nvme, f)->ns[nsid - 1].nlb;
	f->ops->destroy(f);
	return n;
}

static void make_file(const char *name, off_t size)
{
	int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void files_that_will_not_do(void **state)
{
	assert_refused("path=none.img", -ENOENT, "none.img: cannot open (give size= to create it): No such file");
	assert_refused("path=.", -EISDIR, "Is a directory");
	assert_refused("path=.,readonly=on", -EINVAL, "neither a regular file nor a block device");
	assert_refused("path=/dev/null", -EINVAL, "neither a regular file nor a block device");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_refused("path=fifo", -EINVAL, "neither a regular file nor a block device");
	unlink("fifo");
	make_file("small", 511);
	assert_refused("path=small", -EINVAL, "smaller than one block");
	unlink("small");
}

static void options_that_will_not_do(void **state)
{
	make_file("a", 4096);
	assert_refused("path=a,blocksize=1024", -EINVAL, "blocksize is 512 or 4096");
	assert_refused("path=a,cache=maybe", -EINVAL, "cache is");
	assert_refused("path=a,aio=native", -EINVAL, "aio is");
	assert_refused("path=a,serial=123456789012345678901", -EINVAL, "serial is");
	assert_refused("path=a,queues=65", -EINVAL, "queues");
	assert_refused("path=a,mdts=0", -EINVAL, "mdts");
	assert_refused("path=a:b", -ENOENT, "b: cannot open");
	assert_refused("path=a:a:a:a:a:a:a:a:a:a:a:a:a:a:a:a:a", -EINVAL, "more than 16");
	unlink("a");
}

static void sizes(void **state)
{
	struct stat st;

	make_file("a", 5 * 4096 + 700);
	assert_int_equal(blocks_of("path=a", 1), 41);
	assert_int_equal(blocks_of("path=a,blocksize=4096", 1), 5);
	assert_int_equal(blocks_of("path=a,size=4K", 1), 41);
	assert_int_equal(blocks_of("path=a,size=1M,readonly=on", 1), 41);
	assert_int_equal(blocks_of("path=a,size=1M", 1), 2048);
	assert_int_equal(blocks_of("path=a:b,size=3M", 2), 6144);
	assert_int_equal(stat("b", &st), 0);
	assert_int_equal(st.st_size, 3 << 20);
	assert_int_equal(st.st_blocks, 0);
	unlink("a");
	unlink("b");
}

static void name_with_a_colon(void **state)
{
	make_file("pci-0000:01", 8192);
	assert_int_equal(blocks_of("path=pci-0000:01", 1), 16);
	unlink("pci-0000:01");
}

/* Two disks are told apart, and one is the same from run to run. */
static void serial_numbers(void **state)
{
	struct pci_func *a, *b, *again;

	make_file("a", 4096);
	make_file("b", 4096);
	assert_int_equal(create("path=a", &a), 0);
	assert_int_equal(create("path=b", &b), 0);
	assert_int_equal(create("path=a", &again), 0);
	assert_string_not_equal(container_of(a, struct nvme, f)->serial, container_of(b, struct nvme, f)->serial);
	assert_string_equal(container_of(a, struct nvme, f)->serial, container_of(again, struct nvme, f)->serial);
	a->ops->destroy(a);
	b->ops->destroy(b);
	again->ops->destroy(again);
	unlink("a");
	unlink("b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_that_will_not_do),
	    cmocka_unit_test(options_that_will_not_do),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(name_with_a_colon),
	    cmocka_unit_test(serial_numbers),
	};

	return cmocka_run_group_tests_name("nvme-open", tests, setup, teardown);
}
