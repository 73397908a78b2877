/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The event stream as a file in the Trace Event Format, which Perfetto and chrome://tracing show: devices are the
 * threads of one process, "devices"; what clients do are their own. A file that is not ended properly can still be
 * read.
 */
#ifndef PINFOLD_CHECK_TRACE_H
#define PINFOLD_CHECK_TRACE_H

#include <stdint.h>

struct event;
struct event_origin;
struct trace;
struct worker;

/* The events that it wants to hear of. */
uint32_t trace_events(void);
/* Opens path, on the worker. NULL: out of memory. */
struct trace *trace_new(const char *path, struct worker *w);
void trace_note(struct trace *t, uint64_t ns, const struct event *ev, const struct event_origin *from);
/* Has the rest written: done when the worker is. Errors are printed. */
void trace_end(struct trace *t);
void trace_free(struct trace *t);

#endif
