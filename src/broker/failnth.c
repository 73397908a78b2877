/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * /proc/PID/task/TID/fail-nth, and /proc/PID/fail-nth for PID's first thread: files of the tree, which their users read
 * and write without us. A number N in one makes the N-th attempt of what its thread asks us for fail; it counts down as
 * they are made, and says 0 when it has happened. Linux has them with CONFIG_FAULT_INJECTION
 * (Documentation/fault-injection/fault-injection.rst).
 *
 * The file's old end stays behind a shorter number that is written over it. That can be told for a 0, because no number
 * that we write starts with one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "broker/private.h"
#include "broker/shadow.h"

#define TASKS_MAX 256 /* the one that was opened longest ago is forgotten */

struct task {
	struct list node;
	unsigned int tid;
	int fd;	  /* of the file */
	int proc; /* the system's directory of the thread, -1: not seen from here */
};

struct failnth {
	struct shadow *shadow;
	struct list tasks; /* opened least recently first */
	unsigned int count;
	uint64_t injected;
	struct task *now; /* whose call is carried out */
	uint64_t before;
};

struct failnth *failnth_new(struct shadow *s)
{
	struct failnth *f = calloc(1, sizeof(*f));

	if (f) {
		f->shadow = s;
		list_init(&f->tasks);
	}
	return f;
}

static void task_free(struct failnth *f, struct task *t)
{
	list_del(&t->node);
	f->count--;
	shadow_remove_task(f->shadow, t->tid);
	if (t->proc >= 0)
		close(t->proc);
	close(t->fd);
	free(t);
}

void failnth_free(struct failnth *f)
{
	if (!f)
		return;
	while (!list_empty(&f->tasks))
		task_free(f, list_first(&f->tasks, struct task, node));
	free(f);
}

uint64_t failnth_injected(const struct failnth *f)
{
	return f->injected;
}

/* Numbers are given out again: has the thread died that this one belonged to? */
static bool task_dead(const struct task *t)
{
	return t->proc >= 0 && faccessat(t->proc, "stat", F_OK, 0);
}

static struct task *task_find(struct failnth *f, unsigned int tid)
{
	struct task *t;

	list_for_each (t, &f->tasks, node)
		if (t->tid == tid)
			return t;
	return NULL;
}

static int task_new(struct failnth *f, unsigned int tid)
{
	struct task *t = malloc(sizeof(*t));
	char path[32];
	int fd;

	if (!t)
		return -ENOMEM;
	if (f->count == TASKS_MAX)
		task_free(f, list_first(&f->tasks, struct task, node));
	fd = shadow_add_task(f->shadow, tid);
	if (fd < 0) {
		free(t);
		return fd;
	}
	snprintf(path, sizeof(path), "/proc/%u", tid);
	*t = (struct task){.tid = tid, .fd = fd, .proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)};
	list_add_tail(&f->tasks, &t->node);
	f->count++;
	return 0;
}

int failnth_open(struct failnth *f, const char *path)
{
	unsigned int pid, tid;
	struct task *t;
	int n = 0, err;

	if (sscanf(path, "/proc/%u/task/%u/fail-nth%n", &pid, &tid, &n) != 2 || !n || path[n]) {
		if (sscanf(path, "/proc/%u/fail-nth%n", &pid, &n) != 1 || !n || path[n])
			return -ENOENT;
		tid = pid;
	}
	t = task_find(f, tid);
	if (t && task_dead(t)) {
		task_free(f, t);
		t = NULL;
	}
	if (!t) {
		err = task_new(f, tid);
		if (err)
			return err;
	} else {
		list_del(&t->node);
		list_add_tail(&f->tasks, &t->node);
	}
	return shadow_link_task(f->shadow, pid, tid);
}

static uint64_t task_read(const struct task *t)
{
	char text[24];
	ssize_t n = pread(t->fd, text, sizeof(text) - 1, 0);

	if (n <= 0 || text[0] < '1' || text[0] > '9')
		return 0;
	text[n] = 0;
	return strtoul(text, NULL, 10);
}

static void task_write(const struct task *t, uint64_t left)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%lu\n", (unsigned long)left);

	/* Nothing follows from a failure but that the user reads what was there before. */
	if (pwrite(t->fd, text, n, 0) != n || ftruncate(t->fd, n))
		return;
}

void failnth_begin(struct failnth *f, unsigned int tid)
{
	struct task *t = task_find(f, tid);
	uint64_t n = t ? task_read(t) : 0;

	f->now = n && !task_dead(t) ? t : NULL;
	if (!f->now)
		return;
	f->before = n;
	mem_fail_nth(n);
}

void failnth_end(struct failnth *f)
{
	uint64_t left = mem_fail_left();

	if (!f->now)
		return;
	mem_fail_nth(0);
	f->injected += !left;
	if (left != f->before)
		task_write(f->now, left);
	f->now = NULL;
}
