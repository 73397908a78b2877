/* SPDX-License-Identifier: BSD-3-Clause */
/* The order of locks is asserted: each wrong way ends the process, the right ones do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"

static struct lock modules, worker, stacks;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

/* How run ends in a process of its own, and what it says. */
static int status_of(void (*run)(void), char *said, size_t size)
{
	struct rlimit none = {0, 0};
	int p[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		dup2(p[1], 2);
		run();
		_exit(0);
	}
	close(p[1]);
	while (len < size - 1 && (n = read(p[0], said + len, size - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = 0;
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_refused(void (*run)(void), const char *first, const char *second)
{
	char said[512];
	int status = status_of(run, said, sizeof(said));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(said, first));
	assert_non_null(strstr(said, second));
}

static void assert_allowed(void (*run)(void))
{
	char said[512];

	assert_int_equal(status_of(run, said, sizeof(said)), 0);
}

static void in_order(void)
{
	lock_take(&modules);
	lock_take(&worker);
	lock_take(&stacks);
	lock_drop(&worker);
	lock_drop(&modules);
	lock_drop(&stacks);
	lock_assert_none();
	lock_take(&worker);
	lock_drop(&worker);
	lock_take(&modules);
	lock_drop(&modules);
}

static void reversed(void)
{
	lock_take(&stacks);
	lock_take(&modules);
}

/* The way back is not checked against the last one taken alone. */
static void reversed_behind(void)
{
	lock_take(&worker);
	lock_take(&stacks);
	lock_drop(&stacks);
	lock_take(&modules);
}

static void twice(void)
{
	struct lock other;

	lock_init(&other, LOCK_WORKER);
	lock_take(&worker);
	lock_take(&other);
}

static void not_held(void)
{
	lock_drop(&worker);
}

static void waits_with_one(void)
{
	lock_take(&worker);
	lock_assert_none();
}

static void sleeps_with_another(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	lock_take(&modules);
	lock_take(&worker);
	lock_wait(&worker, &cond, &now);
}

static void sleeps(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	lock_take(&worker);
	if (lock_wait(&worker, &cond, &now) != ETIMEDOUT)
		_exit(1);
	lock_take(&stacks); /* held again */
	lock_drop(&stacks);
	lock_drop(&worker);
	lock_assert_none();
}

static void *take_modules(void *arg)
{
	lock_take(&modules);
	lock_drop(&modules);
	return arg;
}

/* What one thread holds says nothing about another. */
static void threads_apart(void)
{
	pthread_t t;

	lock_take(&stacks);
	if (pthread_create(&t, NULL, take_modules, NULL) || pthread_join(t, NULL))
		_exit(1);
	lock_drop(&stacks);
}

static void test_right(void **state)
{
	assert_allowed(in_order);
	assert_allowed(sleeps);
	assert_allowed(threads_apart);
}

static void test_wrong(void **state)
{
#ifdef NDEBUG
	skip();
#endif
	assert_refused(reversed, "\"modules\"", "\"stacks\"");
	assert_refused(reversed_behind, "\"modules\"", "\"worker\"");
	assert_refused(twice, "\"worker\"", "\"worker\"");
	assert_refused(not_held, "\"worker\"", "\"nothing\"");
	assert_refused(waits_with_one, "waits", "\"worker\"");
	assert_refused(sleeps_with_another, "waits", "\"modules\"");
}

static void test_names(void **state)
{
	for (unsigned int a = 0; a < LOCK_CLASSES; a++)
		for (unsigned int b = 0; b < LOCK_CLASSES; b++)
			assert_int_equal(a == b, !strcmp(lock_class_name(a), lock_class_name(b)));
	assert_true(lock_order_allows(0, LOCK_FOLLOW));
	assert_int_equal(lock_innermost(1u << LOCK_FOLLOW | 1u << LOCK_RING), LOCK_RING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_right),
	    cmocka_unit_test(test_wrong),
	    cmocka_unit_test(test_names),
	};

	lock_init(&modules, LOCK_MODULES);
	lock_init(&worker, LOCK_WORKER);
	lock_init(&stacks, LOCK_STACKS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
