/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/log.h"
#include "base/util.h"
#include "check/worker.h"

#define CHUNK	     (256u << 10)
#define CHUNKS_MAX   64 /* on their way to a file that does not keep up; what comes then is counted */
#define LINE_MAX_LEN 512
#define DEVICES	     0 /* the process id that stands for them */

struct trace {
	struct worker *worker;
	const char *path;
	_Atomic unsigned int flying;
	struct chunk *chunk;
	uint64_t dropped;
	/* the worker's */
	FILE *out;
	int error;
};

struct chunk {
	struct job job;
	struct trace *t;
	bool last;
	size_t len;
	char text[CHUNK];
};

uint32_t trace_events(void)
{
	return BIT(EVENT_MAP) | BIT(EVENT_UNMAP) | BIT(EVENT_MAP_REFUSED) | BIT(EVENT_DMA) | BIT(EVENT_FAULT) |
	       BIT(EVENT_MMIO) | BIT(EVENT_IRQ) | BIT(EVENT_OPEN) | BIT(EVENT_MISUSE) | BIT(EVENT_REVOKE) |
	       BIT(EVENT_CLIENT) | BIT(EVENT_CRASH);
}

static void chunk_write(struct job *j)
{
	struct chunk *c = container_of(j, struct chunk, job);
	struct trace *t = c->t;

	if (!t->out && !t->error) {
		t->out = fopen(t->path, "we");
		t->error = t->out ? 0 : errno;
	}
	if (!t->error && fwrite(c->text, 1, c->len, t->out) != c->len)
		t->error = errno;
	if (c->last && t->out) {
		if (fclose(t->out) && !t->error)
			t->error = errno;
		t->out = NULL;
	}
	if (c->last && t->error)
		log_error("trace %s: %s", t->path, strerror(t->error));
	atomic_fetch_sub(&t->flying, 1);
	free(c);
}

static void chunk_submit(struct trace *t, bool last)
{
	struct chunk *c = t->chunk;

	t->chunk = NULL;
	c->last = last;
	worker_submit(t->worker, &c->job);
}

static struct chunk *chunk_get(struct trace *t)
{
	if (t->chunk && t->chunk->len <= CHUNK - LINE_MAX_LEN)
		return t->chunk;
	if (t->chunk)
		chunk_submit(t, false);
	if (atomic_load(&t->flying) >= CHUNKS_MAX)
		return NULL;
	t->chunk = malloc(sizeof(*t->chunk));
	if (!t->chunk)
		return NULL;
	atomic_fetch_add(&t->flying, 1);
	t->chunk->job.run = chunk_write;
	t->chunk->t = t;
	t->chunk->len = 0;
	return t->chunk;
}

static void __attribute__((format(printf, 2, 3))) put(struct trace *t, const char *fmt, ...)
{
	struct chunk *c = chunk_get(t);
	va_list ap;
	int n;

	if (!c) {
		t->dropped++;
		return;
	}
	va_start(ap, fmt);
	n = vsnprintf(c->text + c->len, LINE_MAX_LEN, fmt, ap);
	va_end(ap);
	if (n < LINE_MAX_LEN)
		c->len += n;
	else
		t->dropped++;
}

struct trace *trace_new(const char *path, struct worker *w)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->worker = w;
	t->path = path;
	put(t, "[{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"devices\"}}", DEVICES);
	return t;
}

static void put_device(struct trace *t, double us, const struct event *ev, const char *name)
{
	uint32_t bdf = ev->who & 0xffff;

	put(t,
	    ",\n{\"name\":\"%s\",\"ph\":\"i\",\"s\":\"t\",\"ts\":%.3f,\"pid\":%d,\"tid\":\"%02x:%02x.%x\",\"args\":{"
	    "\"addr\":\"0x%" PRIx64 "\",\"len\":%" PRIu64 ",\"value\":\"0x%" PRIx64 "\",\"ioas\":%" PRIu64 "}}",
	    name, us, DEVICES, bdf >> 8, bdf >> 3 & 0x1f, bdf & 7, ev->addr, ev->len, ev->value, ev->ioas);
}

static void put_client(struct trace *t, double us, const struct event *ev, const struct event_origin *from,
		       const char *name)
{
	put(t,
	    ",\n{\"name\":\"%s\",\"ph\":\"i\",\"s\":\"t\",\"ts\":%.3f,\"pid\":%" PRIu32 ",\"tid\":%" PRIu32
	    ",\"args\":{\"iova\":\"0x%" PRIx64 "\",\"len\":%" PRIu64 ",\"va\":\"0x%" PRIx64 "\",\"ioas\":%" PRIu64 "}}",
	    name, us, from ? from->pid : ev->who, from ? from->tid : ev->who, ev->addr, ev->len, ev->value, ev->ioas);
}

void trace_note(struct trace *t, uint64_t ns, const struct event *ev, const struct event_origin *from)
{
	static const char *const names[EVENT_TYPES] = {
	    [EVENT_MAP] = "map",       [EVENT_UNMAP] = "unmap",	  [EVENT_MAP_REFUSED] = "map refused",
	    [EVENT_REVOKE] = "revoke", [EVENT_IRQ] = "interrupt", [EVENT_FAULT] = "DMA fault",
	    [EVENT_MISUSE] = "misuse", [EVENT_CRASH] = "crash",
	};
	bool write = ev->flags & EVENT_WRITE;
	double us = ns / 1e3;

	switch (ev->type) {
	case EVENT_DMA:
		put_device(t, us, ev, write ? "DMA write" : "DMA read");
		break;
	case EVENT_MMIO:
		put_device(t, us, ev, write ? "register write" : "register read");
		break;
	case EVENT_IRQ:
	case EVENT_FAULT:
	case EVENT_MISUSE:
		put_device(t, us, ev, names[ev->type]);
		break;
	case EVENT_OPEN: /* a name of ours, without anything to escape */
		put_client(t, us, ev, from, ev->name);
		break;
	case EVENT_CLIENT:
		put_client(t, us, ev, from, ev->flags & EVENT_START ? "comes" : "goes");
		break;
	default:
		put_client(t, us, ev, from, names[ev->type]);
	}
}

void trace_end(struct trace *t)
{
	if (t->dropped)
		log_warn("trace %s: %" PRIu64 " events are missing: the file did not keep up", t->path, t->dropped);
	t->dropped = 0;
	while (!chunk_get(t))
		if (!worker_wait(t->worker, 1000))
			return;
	put(t, "]\n");
	chunk_submit(t, true);
}

void trace_free(struct trace *t)
{
	if (t)
		free(t->chunk);
	free(t);
}
