/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of a BAR: taken away from who maps it, and given back, with what it holds (pci/barmem.h). */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/util.h"
#include "lib/file_lock.h"
#include "pci/barmem.h"

#define SIZE (3UL << 20) /* more than one pipe full, and not a multiple of it */

#define LARGE (16UL << 20) /* it moves while others have their turn */

static struct barmem *m;

static int setup(void **state)
{
	assert_int_equal(barmem_new(SIZE, &m), 0);
	return 0;
}

static int teardown(void **state)
{
	barmem_free(m);
	return 0;
}

/* As a client's call waits that is the cause of a move. */
static void wait_still(void)
{
	while (barmem_moving(m))
		usleep(100);
}

/* As a client has it; it stays mapped when the file is gone. */
static uint8_t *client_map(void)
{
	int fd = barmem_file(m);
	void *p;

	guard_install(); /* cmocka takes the handlers for each test */
	assert_true(fd >= 0);
	wait_still(); /* being filled, the file has no pages to touch */
	p = mmap(NULL, barmem_size(m), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static int setup_large(void **state)
{
	assert_int_equal(barmem_new(LARGE, &m), 0);
	barmem_restore(m);
	return 0;
}

static bool there(const uint8_t *p)
{
	uint8_t b;

	return guard_copy(&b, p, 1) == 0;
}

static void content_survives(void **state)
{
	static const uint64_t places[] = {0, 4095, 4096, 1 << 20, (2 << 20) - 8, SIZE - 1};
	uint8_t *c, b;

	barmem_restore(m);
	c = client_map();
	for (unsigned int round = 1; round < 4; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
			c[places[i]] = round + i;
		barmem_revoke(m);
		assert_false(barmem_open(m));
		for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
			assert_false(there(c + places[i]));
			assert_int_equal(barmem_read(m, places[i], &b, 1), 0);
			assert_int_equal(b, round + i);
		}
		/* The device goes on meanwhile. */
		b = 0xd0 + round;
		assert_int_equal(barmem_write(m, 8192, &b, 1), 0);
		barmem_restore(m);
		for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
			assert_int_equal(c[places[i]], round + i);
		assert_int_equal(c[8192], 0xd0 + round);
		assert_int_equal(c[12288], 0);
		c[8192] = 1;
		assert_int_equal(barmem_base(m)[8192], 1);
		/* Nothing comes back that has been overwritten. */
		memset(c, 0, SIZE);
	}
	munmap(c, SIZE);
}

static void clear_is_zero(void **state)
{
	uint8_t *c, b = 7;

	guard_install();
	assert_int_equal(barmem_write(m, 4096, &b, 1), 0);
	barmem_restore(m);
	c = client_map();
	assert_int_equal(c[4096], 7);
	c[0] = 1;
	barmem_revoke(m);
	barmem_clear(m);
	barmem_restore(m);
	assert_int_equal(c[0] | c[4096], 0);
	munmap(c, SIZE);
}

static void mapped_while_revoked(void **state)
{
	uint8_t *c = client_map(), b = 9;

	assert_false(there(c));
	barmem_write(m, 0, &b, 1);
	assert_false(there(c));
	barmem_restore(m);
	assert_int_equal(c[0], 9);
	munmap(c, SIZE);
}

/* Rule A5. */
static void next_owner_is_out_of_reach(void **state)
{
	uint64_t generation = barmem_generation(m);
	uint8_t *old, *new;
	int fd;

	barmem_restore(m);
	old = client_map();
	fd = fcntl(barmem_file(m), F_DUPFD_CLOEXEC, 0);
	old[0] = 1;
	barmem_revoke(m);
	barmem_renew(m);
	assert_int_not_equal(barmem_generation(m), generation);
	barmem_restore(m);
	new = client_map();
	assert_int_equal(new[0], 1); /* who wants otherwise clears it */
	new[0] = 2;
	assert_int_equal(ftruncate(fd, SIZE), 0);
	assert_int_equal(old[0], 0);
	old[0] = 3;
	assert_int_equal(new[0], 2);
	munmap(old, SIZE);
	munmap(new, SIZE);
	close(fd);
}

/* A client that writes to the file while it is revoked, or cuts it, changes nothing that anybody sees later. */
static void file_in_hostile_hands(void **state)
{
	uint8_t *c, b;
	int fd;

	barmem_restore(m);
	c = client_map();
	fd = barmem_file(m);
	c[0] = 1;
	barmem_revoke(m);
	assert_int_equal(ftruncate(fd, 2 * SIZE), 0);
	c[0] = c[4096] = 2;
	assert_int_equal(barmem_read(m, 0, &b, 1), 0);
	assert_int_equal(b, 1);
	barmem_restore(m);
	assert_int_equal(c[0], 1);
	assert_int_equal(c[4096], 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(barmem_read(m, 4096, &b, 1), -EIO);
	barmem_revoke(m);
	assert_int_equal(barmem_read(m, 0, &b, 1), 0);
	assert_int_equal(b, 1);
	assert_int_equal(barmem_read(m, 4096, &b, 1), 0);
	munmap(c, SIZE);
}

/* ---- stores that race with the revocation ---- */

static struct racer {
	pthread_t t;
	uint8_t *c;
	_Atomic bool stop;
	uint64_t last; /* that did not fault */
	unsigned int page;
} racers[2];

/* A counter per page, stored again and again: the last store that succeeded is the content afterwards. */
static void *racer_run(void *arg)
{
	struct racer *r = arg;
	uint64_t n = 0;

	while (!atomic_load(&r->stop)) {
		uint64_t next = n + 1;

		if (!guard_copy(r->c + r->page * PF_PAGE_SIZE, &next, sizeof(next)))
			n = next;
	}
	r->last = n;
	return NULL;
}

static void no_store_is_lost(void **state)
{
	uint8_t *c;

	barmem_restore(m);
	c = client_map();
	for (unsigned int round = 0; round < 100; round++) {
		uint64_t zero = 0, seen;

		for (unsigned int i = 0; i < ARRAY_SIZE(racers); i++) {
			struct racer *r = &racers[i];

			/* A page that nobody has touched yet. */
			*r = (struct racer){.c = c, .page = round * 7 + i * 3};
			assert_int_equal(pthread_create(&r->t, NULL, racer_run, r), 0);
		}
		if (round & 1)
			sched_yield();
		barmem_revoke(m);
		for (unsigned int i = 0; i < ARRAY_SIZE(racers); i++)
			atomic_store(&racers[i].stop, true);
		for (unsigned int i = 0; i < ARRAY_SIZE(racers); i++) {
			pthread_join(racers[i].t, NULL);
			barmem_read(m, racers[i].page * PF_PAGE_SIZE, &seen, sizeof(seen));
			/* A copy stores twice, and may say no to the second. */
			assert_in_range(seen, racers[i].last, racers[i].last + 1);
			barmem_write(m, racers[i].page * PF_PAGE_SIZE, &zero, sizeof(zero));
		}
		barmem_restore(m);
	}
	munmap(c, SIZE);
}

/* ---- rule C1: a client that holds the file's lock ---- */

/* What the owner had is nobody's then, and the content is where he cannot reach it. */
static void rule_never_wait_revoking(void **state)
{
	uint8_t *c, b;

	barmem_restore(m);
	c = client_map();
	c[4096] = 1;
	c[SIZE - 1] = 2;
	if (!file_lock_hold(barmem_file(m)))
		return;
	barmem_revoke(m);
	assert_int_equal(barmem_file(m), -1);
	c[4096] = 9;
	assert_int_equal(barmem_read(m, 4096, &b, 1), 0);
	assert_int_equal(b, 1);
	barmem_restore(m);
	b = 3;
	assert_int_equal(barmem_write(m, 0, &b, 1), 0);
	assert_int_equal(c[0], 0);
	assert_int_equal(barmem_read(m, SIZE - 1, &b, 1), 0);
	assert_int_equal(b, 2);
	/* The next owner has one of his own. */
	barmem_revoke(m);
	barmem_renew(m);
	barmem_restore(m);
	assert_true(barmem_file(m) >= 0);
	assert_int_equal(c[0], 0);
	file_lock_release();
	while (there(c))
		usleep(10);
	assert_int_equal(barmem_read(m, 4096, &b, 1), 0);
	assert_int_equal(b, 1);
	munmap(c, SIZE);
}

static void rule_never_wait_restoring(void **state)
{
	uint8_t *c, b = 5;

	barmem_restore(m);
	c = client_map();
	barmem_revoke(m);
	barmem_write(m, 4096, &b, 1);
	if (!file_lock_hold(barmem_file(m)))
		return;
	barmem_restore(m);
	assert_int_equal(barmem_file(m), -1);
	assert_int_equal(barmem_read(m, 4096, &b, 1), 0);
	assert_int_equal(b, 5);
	file_lock_release();
	munmap(c, SIZE);
}

/* ---- large memory ---- */

static void fill(uint8_t *c, uint8_t with)
{
	for (uint64_t off = 0; off < LARGE; off += PF_PAGE_SIZE)
		c[off] = with + off / PF_PAGE_SIZE;
}

static void check_content(uint8_t with)
{
	for (uint64_t off = 0; off < LARGE; off += PF_PAGE_SIZE) {
		uint8_t b;

		assert_int_equal(barmem_read(m, off, &b, 1), 0);
		assert_int_equal(b, (uint8_t)(with ? with + off / PF_PAGE_SIZE : 0));
	}
}

static void large_content_survives(void **state)
{
	uint8_t *c = client_map();

	for (unsigned int round = 1; round < 5; round++) {
		fill(c, round);
		barmem_revoke(m);
		if (round & 1)
			wait_still();
		else
			barmem_settle(m);
		for (uint64_t off = 0; off < LARGE; off += 1 << 20)
			assert_false(there(c + off));
		check_content(round);
		barmem_restore(m);
		if (round & 2)
			wait_still();
		check_content(round);
		wait_still();
		if (barmem_file(m) < 0)
			break; /* a busy machine: accesses are trapped from here on */
		for (uint64_t off = 0; off < LARGE; off += PF_PAGE_SIZE)
			assert_int_equal(c[off], (uint8_t)(round + off / PF_PAGE_SIZE));
	}
	munmap(c, LARGE);
}

/* Turned round on its way, again and again: it comes to rest where it was sent last. */
static void large_turns_round(void **state)
{
	uint8_t *c = client_map();
	bool open = true;

	fill(c, 1);
	for (unsigned int i = 0; i < 60; i++) {
		open = !open;
		if (open)
			barmem_restore(m);
		else
			barmem_revoke(m);
		if (i % 7 == 6) {
			wait_still();
			assert_int_equal(there(c), open);
			assert_int_equal(there(c + LARGE - 1), open);
		}
		if (i % 11 == 10) {
			wait_still();
			check_content(1);
		}
	}
	wait_still();
	check_content(1);
	munmap(c, LARGE);
}

/* What is of no use is not kept; all of it is zero, whatever it was about when it was said. */
static void large_forgotten(void **state)
{
	uint8_t *c = client_map(), b = 1;

	for (unsigned int round = 0; round < 4; round++) {
		fill(c, 7);
		if (round == 0)
			barmem_forget(m);
		barmem_revoke(m);
		if (round == 1)
			barmem_clear(m);
		if (round == 2) {
			/* On its way to the file, and back. */
			wait_still();
			barmem_restore(m);
			barmem_revoke(m);
			barmem_clear(m);
		}
		if (round == 3) {
			barmem_clear(m);
			barmem_restore(m);
			wait_still();
			check_content(0);
			assert_int_equal(c[0] | c[LARGE - PF_PAGE_SIZE], 0);
			continue;
		}
		wait_still();
		check_content(0);
		assert_int_equal(barmem_write(m, 4096, &b, 1), 0);
		barmem_restore(m);
		wait_still();
		assert_int_equal(c[4096], 1);
		assert_int_equal(c[0] | c[8192], 0);
	}
	barmem_revoke(m);
	barmem_clear(m);
	barmem_renew(m);
	barmem_restore(m);
	check_content(0);
	munmap(c, LARGE);
}

/* Somebody holds the file: it goes on to be on its way, and the caller goes on with what he has to do. */
static void large_is_held(void **state)
{
	uint8_t *c = client_map();

	fill(c, 3);
	if (!file_lock_hold(barmem_file(m)))
		return;
	barmem_revoke(m);
	assert_true(barmem_moving(m));
	wait_still();
	assert_int_equal(barmem_file(m), -1);
	check_content(3);
	file_lock_release();
	munmap(c, LARGE);
}

static unsigned int entries(const char *path)
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
	unsigned int fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
	struct barmem *n;

	for (unsigned int i = 0; i < 10; i++) {
		assert_int_equal(barmem_new(SIZE, &n), 0);
		barmem_restore(n);
		assert_true(barmem_file(n) >= 0);
		if (i & 1) {
			barmem_revoke(n);
			barmem_renew(n);
		}
		barmem_free(n);
	}
	while (entries("/proc/self/fd") > fds || entries("/proc/self/task") > threads)
		usleep(100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(content_survives, setup, teardown),
	    cmocka_unit_test_setup_teardown(clear_is_zero, setup, teardown),
	    cmocka_unit_test_setup_teardown(mapped_while_revoked, setup, teardown),
	    cmocka_unit_test_setup_teardown(next_owner_is_out_of_reach, setup, teardown),
	    cmocka_unit_test_setup_teardown(file_in_hostile_hands, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_store_is_lost, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_never_wait_revoking, setup, teardown),
	    cmocka_unit_test_setup_teardown(rule_never_wait_restoring, setup, teardown),
	    cmocka_unit_test_setup_teardown(large_content_survives, setup_large, teardown),
	    cmocka_unit_test_setup_teardown(large_turns_round, setup_large, teardown),
	    cmocka_unit_test_setup_teardown(large_forgotten, setup_large, teardown),
	    cmocka_unit_test_setup_teardown(large_is_held, setup_large, teardown),
	    cmocka_unit_test(nothing_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
