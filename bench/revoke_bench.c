/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking a BAR's memory away from 1, 4 and 64 processes that map it, and giving it back (pci/barmem.h): 16 KiB, and 256
 * MiB of which some pages or all have been touched. Beside it the bare ftruncate() of a file that is mapped and touched
 * alike, which loses the content. Held up is for how long the caller cannot do anything else. And an interrupt: from a
 * write to an eventfd to the end of the poll() that waits for it, in another thread.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/util.h"
#include "pci/barmem.h"
#include "vfio/eventfd.h"

enum { PROCESSES_MAX = 64, RUNS = 9, SIGNALS = 2000 };

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned int n)
{
	qsort(v, n, sizeof(v[0]), by_value);
	return v[n / 2];
}

/* ---- processes that map it, and touch it again before each run ---- */

struct crowd {
	unsigned int n;
	pid_t pid[PROCESSES_MAX];
	int go[2], done[2]; /* a byte for each process and run */
};

static void touch(uint8_t *p, uint64_t size, uint64_t step)
{
	for (uint64_t off = 0; off < size; off += step)
		__atomic_store_n(p + off, 1, __ATOMIC_RELAXED);
}

static void crowd_member(struct crowd *c, int fd, uint64_t size, uint64_t step)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char b;

	must(p != MAP_FAILED, "mmap");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(c->go[0], &b, 1) == 1) {
		touch(p, size, step);
		must(write(c->done[1], &b, 1) == 1, "write");
	}
	_exit(0);
}

static void crowd_start(struct crowd *c, unsigned int n, int fd, uint64_t size, uint64_t step)
{
	c->n = n;
	must(!pipe(c->go) && !pipe(c->done), "pipe");
	for (unsigned int i = 0; i < n; i++) {
		c->pid[i] = fork();
		must(c->pid[i] >= 0, "fork");
		if (!c->pid[i]) {
			close(c->go[1]);
			crowd_member(c, fd, size, step);
		}
	}
	close(c->go[0]);
}

static void crowd_touch(struct crowd *c)
{
	char b = 0;

	for (unsigned int i = 0; i < c->n; i++)
		must(write(c->go[1], &b, 1) == 1, "write");
	for (unsigned int i = 0; i < c->n; i++)
		must(read(c->done[0], &b, 1) == 1, "read");
}

static void crowd_end(struct crowd *c)
{
	close(c->go[1]);
	for (unsigned int i = 0; i < c->n; i++)
		waitpid(c->pid[i], NULL, 0);
	close(c->done[0]);
	close(c->done[1]);
}

/* ---- revocation ---- */

static double bare(unsigned int n, uint64_t size, uint64_t step)
{
	int fd = memfd_create("bare", MFD_CLOEXEC);
	double us[RUNS];
	struct crowd c;

	must(fd >= 0 && !ftruncate(fd, size), "memfd");
	crowd_start(&c, n, fd, size, step);
	for (unsigned int i = 0; i < RUNS; i++) {
		double began;

		crowd_touch(&c);
		began = now_us();
		must(!ftruncate(fd, 0), "ftruncate");
		us[i] = now_us() - began;
		must(!ftruncate(fd, size), "ftruncate");
	}
	crowd_end(&c);
	close(fd);
	return median(us, RUNS);
}

/* Until it moves no more, looking as the broker does; adds what the looking takes to *held. */
static void wait_moved(struct barmem *m, double *held)
{
	bool moving;

	do {
		double began = now_us();

		moving = barmem_moving(m);
		*held += now_us() - began;
		if (moving)
			usleep(1000);
	} while (moving);
}

static void bench_revoke(const char *what, unsigned int n, uint64_t size, uint64_t step)
{
	double off[RUNS], on[RUNS], cpu[RUNS], held[RUNS], unused = 0;
	struct barmem *m;
	struct crowd c;

	must(!barmem_new(size, &m), "barmem_new");
	barmem_restore(m);
	crowd_start(&c, n, barmem_file(m), size, step);
	for (unsigned int i = 0; i < RUNS; i++) {
		double began;

		crowd_touch(&c);
		cpu[i] = cpu_us();
		began = now_us();
		barmem_revoke(m);
		held[i] = now_us() - began;
		wait_moved(m, &held[i]);
		off[i] = now_us() - began;
		cpu[i] = cpu_us() - cpu[i];
		began = now_us();
		barmem_restore(m);
		wait_moved(m, &unused);
		on[i] = now_us() - began;
	}
	must(barmem_file(m) >= 0, "file");
	crowd_end(&c);
	barmem_free(m);
	printf("revoke %s, %u processes: %.0f us (held up %.0f us, CPU %.0f us) restore %.0f us bare %.0f us\n", what,
	       n, median(off, RUNS), median(held, RUNS), median(cpu, RUNS), median(on, RUNS), bare(n, size, step));
	fflush(stdout);
}

/* ---- interrupts ---- */

static int event;
static _Atomic bool ready;
static double woken[SIGNALS];
static _Atomic unsigned int nwoken;

static void *waiter(void *arg)
{
	struct pollfd p = {.fd = event, .events = POLLIN};
	uint64_t v;

	while (nwoken < SIGNALS) {
		atomic_store(&ready, true);
		if (poll(&p, 1, -1) != 1)
			continue;
		woken[nwoken] = now_us();
		must(read(event, &v, sizeof(v)) == sizeof(v), "read");
		atomic_fetch_add(&nwoken, 1);
	}
	return NULL;
}

static void interrupts(bool bare_write)
{
	struct eventfd_ringer r;
	static double us[SIGNALS];
	pthread_t t;

	event = eventfd(0, EFD_CLOEXEC);
	must(event >= 0, "eventfd");
	eventfd_ringer_init(&r);
	nwoken = 0;
	must(!pthread_create(&t, NULL, waiter, NULL), "thread");
	for (unsigned int i = 0; i < SIGNALS; i++) {
		double began;

		while (!atomic_exchange(&ready, false))
			;
		usleep(50); /* it sleeps by then */
		began = now_us();
		if (bare_write)
			eventfd_write(event, 1);
		else
			eventfd_ring(&r, event);
		while (nwoken == i)
			;
		us[i] = woken[i] - began;
	}
	pthread_join(t, NULL);
	printf("interrupt%s: %.2f us\n", bare_write ? " bare" : "", median(us, SIGNALS));
	eventfd_ringer_fini(&r);
	close(event);
}

int main(void)
{
	static const unsigned int crowds[] = {1, 4, 64};

	must(!guard_install(), "guard");
	for (unsigned int i = 0; i < ARRAY_SIZE(crowds); i++) {
		bench_revoke("16 KiB", crowds[i], 16 << 10, PF_PAGE_SIZE);
		bench_revoke("256 MiB, a page in each MiB touched", crowds[i], 256 << 20, 1 << 20);
		if (crowds[i] < PROCESSES_MAX) /* the touching would take minutes */
			bench_revoke("256 MiB, all touched", crowds[i], 256 << 20, PF_PAGE_SIZE);
	}
	interrupts(false);
	interrupts(true);
	return 0;
}
