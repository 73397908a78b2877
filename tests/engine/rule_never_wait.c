/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * C1: no call waits for a client's future action. The client here is stopped, and holds whatever can be held on a file.
 * A call that waits makes this test run into the harness's time limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fixture.h"

enum hold { HOLD_NOTHING, HOLD_FLOCK, HOLD_POSIX, HOLD_WRITE_LEASE, HOLDS };

static int take_hold(int fd, enum hold hold)
{
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	switch (hold) {
	case HOLD_FLOCK:
		return flock(fd, LOCK_EX);
	case HOLD_POSIX:
		return fcntl(fd, F_SETLK, &all);
	case HOLD_WRITE_LEASE:
		signal(SIGIO, SIG_IGN);
		return fcntl(fd, F_SETLEASE, F_WRLCK);
	default:
		return 0;
	}
}

/* A memfd takes no write lease, a file of a mounted tmpfs does. */
static int file_for(enum hold hold)
{
	char path[] = "/dev/shm/pinfold-test-XXXXXX";
	int fd;

	if (hold != HOLD_WRITE_LEASE)
		return memfd_pages(2);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, 2 * PG), 0);
	return fd;
}

static void test_stopped_client(void **state)
{
	for (enum hold hold = 0; hold < HOLDS; hold++) {
		int fd = file_for(hold), status;
		struct fixture f;
		struct pages *p;
		char c = 'w';
		pid_t pid;

		fixture_open(&f);
		pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			if (take_hold(fd, hold))
				_exit(1);
			raise(SIGSTOP);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		assert_true(WIFSTOPPED(status));
		p = pages_memfd(&f, fd, 2, true);
		assert_int_equal(ioas_map(f.ioas, IOVA(0), 2 * PG, p, 0, IOMMU_READ | IOMMU_WRITE), 0);
		pages_put(p);
		assert_int_equal(dma_write(f.dev, IOVA(PG), &c, 1, NULL), 0);
		assert_int_equal(dma_read(f.dev, IOVA(PG), &c, 1, NULL), 0);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		close(fd);
		fixture_close(&f);
	}
}

/* Nor do we make the client wait: a lock that it held ends with its last descriptor although we have the file. */
static void test_locks_are_not_inherited(void **state)
{
	int fd = memfd_pages(1), other;
	struct fixture f;
	struct pages *p;
	char path[64];

	fixture_open(&f);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDWR | O_CLOEXEC);
	assert_true(other >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
	p = pages_memfd(&f, fd, 1, true);
	close(fd);
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
	pages_put(p);
	close(other);
	fixture_close(&f);
}

/* A named pipe on tmpfs, with nobody at the other end. */
static void test_fifo(void **state)
{
	char path[] = "/dev/shm/pinfold-test-XXXXXX";
	struct fixture f;
	struct backing *b;
	int fd;

	fixture_open(&f);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_NONBLOCK);
	unlink(path);
	assert_true(fd >= 0);
	assert_int_equal(backing_get_fd(f.cache, fd, &b), -EFAULT);
	close(fd);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stopped_client),
	    cmocka_unit_test(test_locks_are_not_inherited),
	    cmocka_unit_test(test_fifo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
