/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/threads.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/event.h"
#include "base/lock.h"
#include "base/util.h"
#include "check/worker.h"

#define THREADS 1024 /* by number; another one takes the place of the one before */

struct thread {
	/* the caller's */
	uint64_t session;
	uint32_t tid;
	/* the worker's */
	uint32_t named;
	char name[NAME_LEN];
};

struct threads {
	struct worker *worker;
	struct lock lock; /* of what the worker has read: who prints is another thread */
	struct thread thread[THREADS];
};

struct naming {
	struct job job;
	struct threads *threads;
	struct thread *thread;
	uint32_t pid, tid;
};

struct threads *threads_new(struct worker *w)
{
	struct threads *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->worker = w;
	lock_init(&t->lock, LOCK_THREADS);
	return t;
}

void threads_free(struct threads *t)
{
	if (t)
		lock_fini(&t->lock);
	free(t);
}

static void naming_run(struct job *j)
{
	struct naming *n = container_of(j, struct naming, job);
	char path[64], name[NAME_LEN] = "";
	ssize_t len = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/task/%" PRIu32 "/comm", n->pid, n->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = MAX(read(fd, name, sizeof(name) - 1), (ssize_t)0);
		close(fd);
	}
	name[len] = 0;
	name[strcspn(name, "\n")] = 0;
	/* A program's own words, among ours on a terminal. */
	for (char *p = name; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	/* Few give their first thread a name of its own; what it has is the program's. */
	lock_take(&n->threads->lock);
	strcpy(n->thread->name, n->pid == n->tid ? "main" : name);
	n->thread->named = n->tid;
	lock_drop(&n->threads->lock);
	free(n);
}

void threads_note(struct threads *t, const struct event_origin *from)
{
	struct thread *th = &t->thread[from->tid % THREADS];
	struct naming *n;

	if (!from->tid || (th->tid == from->tid && th->session == from->session))
		return;
	n = malloc(sizeof(*n));
	if (!n)
		return;
	*n = (struct naming){.job.run = naming_run, .threads = t, .thread = th, .pid = from->pid, .tid = from->tid};
	th->tid = from->tid;
	th->session = from->session;
	worker_submit(t->worker, &n->job);
}

bool threads_name(struct threads *t, uint32_t tid, char name[NAME_LEN])
{
	const struct thread *th = &t->thread[tid % THREADS];

	lock_take(&t->lock);
	strcpy(name, tid && th->named == tid ? th->name : "");
	lock_drop(&t->lock);
	return *name;
}

void threads_label(struct threads *t, uint32_t tid, const char *text, char *buf, size_t size)
{
	char word[32], name[NAME_LEN];
	const char *at;

	snprintf(word, sizeof(word), "thread %" PRIu32 " ", tid);
	at = threads_name(t, tid, name) ? strstr(text, word) : NULL;
	if (at) {
		at += strlen(word) - 1;
		snprintf(buf, size, "%.*s (%s)%s", (int)(at - text), text, name, at);
	} else {
		snprintf(buf, size, "%s", text);
	}
}
