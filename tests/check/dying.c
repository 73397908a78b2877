/* SPDX-License-Identifier: BSD-3-Clause */
/* dying WAY: a driver that ends before its time, with memory mapped. end_test.py says what is to be said of it. */
#include "golden/golden.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOWHERE 0x1230

static void null_write(void)
{
	*(volatile int *)NOWHERE = 1; /* here */
}

static void handler(int sig)
{
	_exit(7);
}

static void *thread_main(void *arg)
{
	null_write();
	return NULL;
}

static void in_thread(void)
{
	pthread_t t;

	expect_eq(pthread_create(&t, NULL, thread_main, NULL), 0);
	pthread_join(t, NULL);
}

static void in_child(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		config_read(0, 2); /* who has nothing to do with devices is nobody's business */
		null_write();
	}
	expect_eq(waitpid(pid, &status, 0), pid);
	expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	printf("%d\n", pid);
}

static void handled(void)
{
	signal(SIGSEGV, handler);
	null_write();
}

static void wait_for_a_signal(void)
{
	printf("%d\n", getpid());
	fflush(stdout);
	pause();
}

static void killed(void)
{
	kill(getpid(), SIGKILL);
}

static void nothing(void)
{
}

static const struct {
	const char *name;
	void (*die)(void);
} ways[] = {
    {"fault", null_write},	 {"abort", abort},    {"kill", killed},
    {"thread", in_thread},	 {"child", in_child}, {"handled", handled},
    {"wait", wait_for_a_signal}, {"not", nothing},
};

int main(int argc, char **argv)
{
	alarm(240);
	for (size_t i = 0; i < COUNT(ways) && argc > 1; i++) {
		if (strcmp(argv[1], ways[i].name))
			continue;
		driver_start();
		expect_eq(dma_map(pages_alloc(16 * PAGE), DATA_IOVA, 16 * PAGE, MAP_RW), 0);
		if (argc > 2)
			nvme_rw(false, 0, PAGE, 16 * DATA_IOVA); /* a finding */
		ways[i].die();
		return 0;
	}
	return 2;
}
