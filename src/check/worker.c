/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/worker.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "base/lock.h"
#include "base/thread.h"
#include "base/util.h"

struct worker {
	struct lock lock;
	pthread_cond_t more, done;
	struct list jobs;
	uint64_t submitted, finished;
	bool leave;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	lock_take(&w->lock);
	for (;;) {
		struct job *j;

		while (list_empty(&w->jobs) && !w->leave)
			lock_wait(&w->lock, &w->more, NULL);
		if (list_empty(&w->jobs))
			break;
		j = list_first(&w->jobs, struct job, node);
		list_del(&j->node);
		lock_drop(&w->lock);
		lock_assert_none();
		j->run(j);
		lock_take(&w->lock);
		w->finished++;
		pthread_cond_broadcast(&w->done);
	}
	lock_drop(&w->lock);
	return NULL;
}

struct worker *worker_new(void)
{
	struct worker *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	list_init(&w->jobs);
	lock_init(&w->lock, LOCK_WORKER);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->more, NULL);
	pthread_cond_init(&w->done, &attr);
	pthread_condattr_destroy(&attr);
	if (thread_start(&w->thread, work, w)) {
		free(w);
		return NULL;
	}
	return w;
}

void worker_submit(struct worker *w, struct job *j)
{
	lock_take(&w->lock);
	list_add_tail(&w->jobs, &j->node);
	w->submitted++;
	pthread_cond_signal(&w->more);
	lock_drop(&w->lock);
}

bool worker_wait(struct worker *w, unsigned int patience_ms)
{
	struct timespec until;
	uint64_t all;
	bool done;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += patience_ms / 1000;
	until.tv_nsec += patience_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	lock_take(&w->lock);
	all = w->submitted;
	while (w->finished < all && !lock_wait(&w->lock, &w->done, &until))
		;
	done = w->finished >= all;
	lock_drop(&w->lock);
	return done;
}

bool worker_free(struct worker *w, unsigned int patience_ms)
{
	bool done;

	if (!w)
		return true;
	done = worker_wait(w, patience_ms);
	lock_take(&w->lock);
	w->leave = true;
	pthread_cond_signal(&w->more);
	lock_drop(&w->lock);
	if (!done) {
		pthread_detach(w->thread);
		return false;
	}
	lock_assert_none();
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->done);
	lock_fini(&w->lock);
	free(w);
	return true;
}

uint64_t worker_cpu_ns(const struct worker *w)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(w->thread, &clock) || clock_gettime(clock, &ts))
		return 0;
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}
