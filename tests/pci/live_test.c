/* SPDX-License-Identifier: BSD-3-Clause */
/* The live page by itself: open, close, what is kept, what a client can do to the file, and who must not wait for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/util.h"
#include "lib/file_lock.h"
#include "pci/live.h"

static struct live_page page;
static uint8_t *map; /* a client's */

/* cmocka puts its own handlers around each test: the guard goes in first thing in each. */
static int setup(void **state)
{
	assert_int_equal(live_page_init(&page, 1), 0);
	map = mmap(NULL, LIVE_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page.fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	return 0;
}

static int teardown(void **state)
{
	live_page_fini(&page);
	munmap(map, LIVE_PAGE_SIZE);
	return 0;
}

static bool reachable(void)
{
	uint8_t byte;

	return guard_copy(&byte, map, 1) == 0;
}

static void open_page(void)
{
	uint8_t byte;
	int err;

	assert_int_equal(live_page_open(&page, NULL), 0);
	while ((err = live_page_read(&page, 0, &byte, 1)) == -EAGAIN)
		usleep(10);
	assert_int_equal(err, 0);
}

static int close_page(uint8_t *content)
{
	int err;

	while ((err = live_page_close(&page, content)) == -EAGAIN)
		usleep(10);
	return err;
}

static void closed_is_a_trap_and_open_is_memory(void **state)
{
	uint8_t content[LIVE_PAGE_SIZE], fill[LIVE_PAGE_SIZE];

	guard_install();
	memset(fill, LIVE_PAGE_FILL, sizeof(fill));
	assert_false(reachable());
	for (unsigned int i = 0; i < 50; i++) {
		open_page();
		assert_true(reachable());
		assert_memory_equal(map, fill, sizeof(fill));
		map[i] = (uint8_t)i;
		assert_int_equal(live_page_read(&page, 0, content, 64), 0);
		assert_int_equal(content[i], i);
		map[LIVE_PAGE_SIZE - 1] = 7;
		assert_int_equal(close_page(content), 0);
		assert_int_equal(content[i], i);
		assert_int_equal(content[LIVE_PAGE_SIZE - 1], 7);
		assert_false(reachable());
	}
}

static void dropped_is_gone_when_the_call_returns(void **state)
{
	guard_install();
	for (unsigned int i = 0; i < 50; i++) {
		if (i % 2)
			assert_int_equal(live_page_open(&page, NULL), 0);
		else
			open_page();
		live_page_drop(&page);
		assert_false(page.open);
		assert_false(reachable());
	}
	live_page_drop(&page);
}

static void refilled_shows_the_next_store(void **state)
{
	uint32_t words[4];

	guard_install();
	assert_false(live_page_refill(&page, 0, 4));
	open_page();
	memset(map, 0, 16);
	assert_true(live_page_refill(&page, 4, 4));
	assert_int_equal(live_page_read(&page, 0, words, sizeof(words)), 0);
	assert_int_equal(words[0], 0);
	assert_int_equal(words[1], 0xffffffff);
	assert_int_equal(words[2], 0);
}

static atomic_bool stop_storing;
static _Atomic uint32_t stored; /* the last store that has been made */

/*
 * Counts up in the page, and says so afterwards. The one that faults has not been made: it is one instruction, unlike
 * guard_copy(), which may store twice.
 */
static void *store(void *arg)
{
	uint64_t was;

	memset(&was, LIVE_PAGE_FILL, sizeof(was));
	for (uint32_t i = 1; !atomic_load(&stop_storing); i++) {
		if (guard_cas((uint64_t *)map, was, i) != GUARD_CAS_DONE)
			break;
		was = i;
		atomic_store(&stored, i);
	}
	return NULL;
}

/* Whatever is stored while the page is being closed is in the content, or faults. */
static void no_store_is_lost(void **state)
{
	guard_install();
	for (unsigned int round = 0; round < 300; round++) {
		uint32_t content[LIVE_PAGE_SIZE / 4];
		pthread_t t;

		open_page();
		atomic_store(&stored, 0);
		assert_int_equal(pthread_create(&t, NULL, store, NULL), 0);
		while (!atomic_load(&stored))
			;
		assert_int_equal(close_page((uint8_t *)content), 0);
		pthread_join(t, NULL);
		assert_int_equal(content[0], atomic_load(&stored));
	}
}

static void file_cut_by_the_client(void **state)
{
	uint8_t content[LIVE_PAGE_SIZE];

	guard_install();
	for (unsigned int size = 0; size < LIVE_PAGE_SIZE; size += 511) {
		open_page();
		assert_int_equal(ftruncate(page.fd, size), 0);
		if (!size)
			assert_int_equal(live_page_read(&page, 0, content, 1), -EIO);
		assert_int_equal(close_page(content), -EIO);
		assert_false(page.open);
		assert_false(reachable());
		/* Nothing of that is left to come out of the pipe later. */
		open_page();
		map[0] = 1;
		assert_int_equal(close_page(content), 0);
		assert_int_equal(content[0], 1);
		assert_int_equal(content[1], LIVE_PAGE_FILL);
	}
}

static void file_extended_by_the_client(void **state)
{
	uint8_t content[LIVE_PAGE_SIZE];
	struct stat st;

	guard_install();
	assert_int_equal(ftruncate(page.fd, 1 << 20), 0);
	map[0] = 5; /* leads nowhere */
	open_page();
	assert_int_equal(map[0], LIVE_PAGE_FILL);
	assert_int_equal(fallocate(page.fd, 0, 0, 1 << 22), 0);
	assert_int_equal(close_page(content), 0);
	assert_int_equal(fstat(page.fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_false(reachable());
}

static void client_cannot_seal(void **state)
{
	guard_install();
	assert_int_equal(fcntl(page.fd, F_ADD_SEALS, F_SEAL_SHRINK), -1);
	assert_int_equal(errno, EPERM);
}

/* ---- a client that holds the file's lock ---- */
static void rule_never_wait_closing(void **state)
{
	uint8_t content[LIVE_PAGE_SIZE], byte;

	guard_install();
	open_page();
	if (!file_lock_hold(page.fd))
		return;
	map[100] = 1;
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(live_page_close(&page, content), -EAGAIN);
	/* Still open: it is looked at, and nothing is lost. */
	map[101] = 2;
	assert_int_equal(live_page_read(&page, 0, content, 128), 0);
	assert_int_equal(content[101], 2);
	map[102] = 3;
	file_lock_release();
	assert_int_equal(close_page(content), 0);
	assert_int_equal(content[100], 1);
	assert_int_equal(content[102], 3);
	assert_int_equal(live_page_open(&page, NULL), 0);
	while ((live_page_read(&page, 0, &byte, 1)) == -EAGAIN)
		usleep(10);
	assert_true(reachable());
}

/* Between the cut and the moment when that is known, it is looked at, too. */
static void cut_is_read(void **state)
{
	uint8_t content[LIVE_PAGE_SIZE], byte;

	guard_install();
	for (unsigned int i = 1; i < 20; i++) {
		open_page();
		if (!file_lock_hold(page.fd))
			return;
		assert_int_equal(live_page_close(&page, content), -EAGAIN);
		map[4000] = (uint8_t)i;
		file_lock_release();
		while (reachable())
			usleep(10);
		for (unsigned int again = 0; again < 20; again++) {
			assert_int_equal(live_page_read(&page, 4000, &byte, 1), 0);
			assert_int_equal(byte, i);
		}
		assert_int_equal(close_page(content), 0);
		assert_int_equal(content[4000], i);
	}
}

static void rule_never_wait_opening(void **state)
{
	uint8_t content[LIVE_PAGE_SIZE];

	guard_install();
	if (!file_lock_hold(page.fd))
		return;
	assert_int_equal(live_page_open(&page, NULL), 0);
	assert_int_equal(live_page_read(&page, 0, content, 1), -EAGAIN);
	assert_false(live_page_refill(&page, 0, 4));
	assert_int_equal(live_page_close(&page, content), -EAGAIN);
	file_lock_release();
	assert_int_equal(close_page(content), 0);
	assert_int_equal(content[0], LIVE_PAGE_FILL);
	assert_false(reachable());
}

/* The page is nobody's at once, and is taken out of the client's mapping when that can be. */
static void rule_never_wait_dropping(void **state)
{
	guard_install();
	open_page();
	if (!file_lock_hold(page.fd))
		return;
	live_page_drop(&page);
	assert_int_equal(page.fd, -1);
	assert_false(page.open);
	assert_int_equal(live_page_open(&page, NULL), -ENODEV);
	file_lock_release();
	while (reachable())
		usleep(10);
}

static unsigned int count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void nothing_is_left(void **state)
{
	unsigned int fds, threads;

	guard_install();
	live_page_fini(&page);
	fds = count_entries("/proc/self/fd");
	threads = count_entries("/proc/self/task");
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(live_page_init(&page, 1), 0);
		if (i % 2)
			assert_int_equal(live_page_open(&page, NULL), 0);
		live_page_fini(&page);
		live_page_fini(&page);
	}
	for (unsigned int i = 0; count_entries("/proc/self/fd") > fds || count_entries("/proc/self/task") > threads;
	     i++) {
		assert_true(i < 10000);
		usleep(1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(closed_is_a_trap_and_open_is_memory, setup, teardown),
	    cmocka_unit_test_setup_teardown(cut_is_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(dropped_is_gone_when_the_call_returns, setup, teardown),
	    cmocka_unit_test_setup_teardown(refilled_shows_the_next_store, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_store_is_lost, setup, teardown),
	    cmocka_unit_test_setup_teardown(file_cut_by_the_client, setup, teardown),
	    cmocka_unit_test_setup_teardown(file_extended_by_the_client, setup, teardown),
	    cmocka_unit_test_setup_teardown(client_cannot_seal, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_never_wait_closing, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_never_wait_opening, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_never_wait_dropping, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_is_left, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
