/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/worker.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "base/thread.h"
#include "base/util.h"

struct worker {
	pthread_mutex_t lock;
	pthread_cond_t more, done;
	struct list jobs;
	uint64_t submitted, finished;
	bool leave;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct job *j;

		while (list_empty(&w->jobs) && !w->leave)
			pthread_cond_wait(&w->more, &w->lock);
		if (list_empty(&w->jobs))
			break;
		j = list_first(&w->jobs, struct job, node);
		list_del(&j->node);
		pthread_mutex_unlock(&w->lock);
		j->run(j);
		pthread_mutex_lock(&w->lock);
		w->finished++;
		pthread_cond_broadcast(&w->done);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct worker *worker_new(void)
{
	struct worker *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;

	if (!w)
		return NULL;
	list_init(&w->jobs);
	pthread_mutex_init(&w->lock, NULL);
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
	pthread_mutex_lock(&w->lock);
	list_add_tail(&w->jobs, &j->node);
	w->submitted++;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
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
	pthread_mutex_lock(&w->lock);
	all = w->submitted;
	while (w->finished < all && !pthread_cond_timedwait(&w->done, &w->lock, &until))
		;
	done = w->finished >= all;
	pthread_mutex_unlock(&w->lock);
	return done;
}

bool worker_free(struct worker *w, unsigned int patience_ms)
{
	bool done;

	if (!w)
		return true;
	done = worker_wait(w, patience_ms);
	pthread_mutex_lock(&w->lock);
	w->leave = true;
	pthread_cond_signal(&w->more);
	pthread_mutex_unlock(&w->lock);
	if (!done) {
		pthread_detach(w->thread);
		return false;
	}
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->done);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return true;
}
