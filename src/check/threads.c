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

#define THREADS 1024 /* by number; another one takes the place of the one before */

struct thread {
	uint64_t session;
	uint32_t tid;
	char name[NAME_LEN];
};

struct threads {
	struct lock lock; /* of names: who prints is another thread */
	struct thread thread[THREADS];
};

struct threads *threads_new(void)
{
	struct threads *t = calloc(1, sizeof(*t));

	if (t)
		lock_init(&t->lock, LOCK_THREADS);
	return t;
}

void threads_free(struct threads *t)
{
	if (t)
		lock_fini(&t->lock);
	free(t);
}

/* Of a thread that waits for us, in a file that no client can make slow. */
static void name_read(const struct event_origin *from, char name[NAME_LEN])
{
	char path[64];
	ssize_t len = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/task/%" PRIu32 "/comm", from->pid, from->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = MAX(read(fd, name, NAME_LEN - 1), (ssize_t)0);
		close(fd);
	}
	name[len] = 0;
	name[strcspn(name, "\n")] = 0;
	/* A program's own words, among ours on a terminal. */
	for (char *p = name; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

void threads_note(struct threads *t, const struct event_origin *from)
{
	struct thread *th = &t->thread[from->tid % THREADS];
	char name[NAME_LEN] = "main";

	if (!from->tid || (th->tid == from->tid && th->session == from->session))
		return;
	/* Few give their first thread a name of its own; what it has is the program's. */
	if (from->pid != from->tid)
		name_read(from, name);
	lock_take(&t->lock);
	strcpy(th->name, name);
	th->tid = from->tid;
	th->session = from->session;
	lock_drop(&t->lock);
}

bool threads_name(struct threads *t, uint32_t tid, char name[NAME_LEN])
{
	const struct thread *th = &t->thread[tid % THREADS];

	lock_take(&t->lock);
	strcpy(name, tid && th->tid == tid ? th->name : "");
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
