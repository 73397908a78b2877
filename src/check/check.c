/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/check.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/util.h"
#include "check/device.h"
#include "check/kin.h"
#include "check/left.h"
#include "check/limit.h"
#include "check/module.h"
#include "check/output.h"
#include "check/private.h"
#include "check/report.h"
#include "check/suppress.h"
#include "check/symbol.h"
#include "check/text.h"
#include "check/threads.h"
#include "check/timeline.h"
#include "check/trace.h"
#include "check/where.h"
#include "check/worker.h"

#define DEPTH	    16
#define PRINTED_MAX 32	  /* of a class */
#define PATIENCE_MS 10000 /* for what is still to be printed at the end */

uint32_t check_stack(struct check *c)
{
	if (!c->fresh) {
		c->stack = stacks_take(c->stacks, c->evs->origin);
		c->fresh = true;
		if (c->evs->origin)
			threads_note(c->threads, c->evs->origin);
	}
	return c->stack;
}

void check_walk(struct check *c)
{
	stacks_take(c->stacks, c->evs->origin);
}

const char *check_ago(uint64_t then, uint64_t now, char *buf, size_t size)
{
	double us = (now - then) / 1e3;

	if (us < 1000)
		snprintf(buf, size, "%.0f us earlier", us);
	else if (us < 1e6)
		snprintf(buf, size, "%.1f ms earlier", us / 1e3);
	else
		snprintf(buf, size, "%.1f s earlier", us / 1e6);
	return buf;
}

static void on_map(struct check *c, const struct event *ev)
{
	struct mapping_note n = {
	    .va = ev->value,
	    .mapped_ns = loop_now(),
	    .pid = ev->who,
	    .tid = c->evs->origin ? c->evs->origin->tid : 0,
	    .mapped_stack = check_stack(c),
	    .writable = ev->flags & EVENT_WRITE,
	};

	/* Whose addresses these are, if it is the process that asks. */
	if (!(ev->flags & EVENT_FILE) && c->evs->origin && c->evs->origin->pid == ev->who)
		n.session = c->evs->origin->session;
	n.bar = check_unsafe_is_next(c, ev);
	if (c->evs->origin)
		n.where = wheres_find(c->wheres, c->evs->origin->session, n.va);
	n.others = left_unmapped(c->left, n.mapped_stack, n.pid);
	history_map(c->history, ev->ioas, ev->addr, ev->len, &n);
	kin_mapped(c->kin, n.session);
}

void check_bdf(uint32_t who, char buf[16])
{
	snprintf(buf, 16, "%04x:%02x:%02x.%x", who >> 16, who >> 8 & 0xff, who >> 3 & 0x1f, who & 7);
}

struct finding check_finding(struct check *c, enum check_class class)
{
	return (struct finding){
	    .class = class, .first_ns = loop_now(), .pid = c->evs->origin ? c->evs->origin->pid : 0};
}

void check_want_dma(struct check *c, enum dma_reason why, bool on)
{
	uint32_t mask = c->listener.mask & ~(BIT(EVENT_DMA) & ~c->always);

	c->dma_wanted = on ? c->dma_wanted | why : c->dma_wanted & ~why;
	if (c->dma_wanted)
		mask |= BIT(EVENT_DMA);
	if (mask != c->listener.mask) {
		c->listener.mask = mask;
		events_changed(c->evs);
	}
}

static void on_gone(void *ctx, const struct mapping_note *n)
{
	struct check *c = ctx;

	left_note(c->left, n, c->evs->origin);
}

static void on_unmap(struct check *c, const struct event *ev)
{
	const struct event_origin *from = c->evs->origin;
	struct mapping_note by = {.gone_ns = loop_now(), .gone_stack = check_stack(c)};

	if (from) {
		by.gone_session = from->session;
		by.gone_pid = from->pid;
		by.gone_tid = from->tid;
	}
	history_unmap(c->history, ev->ioas, ev->addr, ev->len, &by, on_gone, c);
	check_memory_watch(c);
	if (c->dma_wanted & DMA_UNSAFE)
		check_unsafe_unmapped(c, ev);
}

static void on_client_end(struct check *c, const struct event *ev)
{
	modules_forget(c->modules, ev->addr);
	check_memory_ended(c, ev->addr);
	check_limit_ended(c, ev->who);
}

static void take_event(struct check *c, const struct event *ev)
{
	c->fresh = false;
	if (c->trace && BIT(ev->type) & trace_events())
		trace_note(c->trace, loop_now() - c->began_ns, ev, c->evs->origin);
	if (c->timeline && BIT(ev->type) & (BIT(EVENT_DMA) | BIT(EVENT_FAULT) | BIT(EVENT_IRQ)))
		timeline_note(c->timeline, loop_now(), ev);
	switch (ev->type) {
	case EVENT_MAP:
		on_map(c, ev);
		check_map_made(c, ev);
		check_unsafe_mapped(c, ev);
		check_limit_map(c, ev);
		break;
	case EVENT_MAP_REFUSED:
		check_map_refused(c, ev);
		check_limit_refused(c, ev);
		break;
	case EVENT_UNMAP_ASKED:
		if (check_wants(c, CLASS_UNMAP_MISMATCH))
			check_unmap_asked(c, ev);
		break;
	case EVENT_PIN:
		c->pinned += ev->value;
		c->pinned_peak = MAX(c->pinned_peak, c->pinned);
		check_pinned(c, ev);
		break;
	case EVENT_PIN_REFUSED:
		check_pin_refused(c, ev);
		break;
	case EVENT_MEMORY:
		check_memory(c, ev);
		break;
	case EVENT_UNPIN:
		c->pinned -= MIN(c->pinned, ev->value);
		break;
	case EVENT_DMA:
		if (!(ev->flags & EVENT_NESTED)) {
			check_dma_done(c, ev);
			check_memory_dma(c, ev);
			check_moved_dma(c, ev);
		}
		if (c->dma_wanted & DMA_UNSAFE)
			check_unsafe_dma(c, ev);
		break;
	case EVENT_MISUSE:
		check_misuse(c, ev);
		break;
	case EVENT_IRQ:
		check_irq(c, ev);
		break;
	case EVENT_TAINT:
		check_taint(c, ev);
		break;
	case EVENT_ATTACH:
		check_attach(c, ev);
		break;
	case EVENT_MASTER:
		check_master(c, ev);
		break;
	case EVENT_RESET:
		check_reset(c, ev);
		break;
	case EVENT_IRQS:
		check_irqs(c, ev);
		break;
	case EVENT_UNTAKEN:
		check_untaken(c, ev);
		break;
	case EVENT_STORM:
		check_storm(c, ev);
		break;
	case EVENT_UNMAP:
		on_unmap(c, ev);
		break;
	case EVENT_FAULT:
		check_dma_fault(c, ev);
		break;
	case EVENT_CLIENT:
		if (ev->flags & EVENT_END)
			on_client_end(c, ev);
		break;
	case EVENT_DESCRIBED:
		if (c->evs->origin)
			wheres_note(c->wheres, c->evs->origin->session, ev->addr, ev->len, ev->name);
		break;
	case EVENT_CRASH:
		check_crash(c, ev);
		break;
	default:
		break;
	}
}

static void on_event(struct event_listener *l, const struct event *ev)
{
	struct check *c = container_of(l, struct check, listener);
	uint64_t began = cost_begin(c, ev->type);

	take_event(c, ev);
	cost_end(c, ev->type, began);
}

/* ---- printing ---- */

struct printing {
	struct job job;
	struct check *c;
	struct finding *f;
	int stop; /* the signal by which a program waits for somebody to look at it; 0: it does not */
};

static bool is_traced(uint32_t pid)
{
	char path[64], line[128];
	unsigned int tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu32 "/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "TracerPid: %u", &tracer);
	if (f)
		fclose(f);
	return tracer;
}

/* Before the device says that it is done, and the program goes on. A debugger takes over; or somebody can attach one.
 */
static int stop_program(struct check *c, uint32_t pid)
{
	int sig;

	if (!c->opt.first || c->stopped || !pid)
		return 0;
	c->stopped = true;
	sig = is_traced(pid) ? SIGTRAP : SIGSTOP;
	return kill(pid, sig) ? 0 : sig;
}

/* In one write, whatever else writes to the same place. */
static void print_run(struct job *j)
{
	struct printing *p = container_of(j, struct printing, job);
	struct check *c = p->c;
	char *text = NULL;
	size_t len = 0;
	FILE *out;

	if (suppressed(c->suppressions, p->f, c->stacks, c->symbols)) {
		p->f->suppressed = true;
		c->stopped &= !p->stop;
		if (p->stop == SIGSTOP)
			kill(p->f->pid, SIGCONT);
		free(p);
		return;
	}
	out = open_memstream(&text, &len);
	if (out) {
		text_finding(out, p->f, c->stacks, c->symbols, c->threads);
		if (!fclose(out))
			fwrite(text, 1, len, stderr);
	}
	if (p->stop == SIGSTOP)
		fprintf(stderr,
			"pinfold: process %" PRIu32 " is stopped: gdb -p %" PRIu32 ", or kill -CONT %" PRIu32 "\n",
			p->f->pid, p->f->pid, p->f->pid);
	free(text);
	free(p);
}

static void print_finding(void *ctx, struct finding *f)
{
	struct check *c = ctx;
	struct printing *p;

	/* A device that runs wild has something new to say a thousand times. */
	if (c->printed[f->class] > PRINTED_MAX)
		return;
	if (c->printed[f->class]++ == PRINTED_MAX) {
		log_warn("more of %s follow and are only counted", class_name(f->class));
		return;
	}
	p = malloc(sizeof(*p));
	if (!p)
		return;
	*p = (struct printing){.job.run = print_run, .c = c, .f = f, .stop = stop_program(c, f->pid)};
	worker_submit(c->worker, &p->job);
}

static bool is_page(const char *path)
{
	size_t n = path ? strlen(path) : 0;

	return n > 5 && !strcmp(path + n - 5, ".html");
}

static int read_suppressions(struct check *c, char *err, size_t errlen)
{
	char why[160];
	int ret;

	if (!c->opt.suppressions)
		return 0;
	ret = suppressions_read(c->opt.suppressions, &c->suppressions, why, sizeof(why));
	if (ret)
		snprintf(err, errlen, "--suppressions %s: %s", c->opt.suppressions, why);
	return ret;
}

/* What cannot be written in the end is better known before the program has run. */
static int check_outputs(const struct check_options *o, char *err, size_t errlen)
{
	const struct {
		const char *option, *path;
	} outputs[] = {{"report", o->report}, {"trace", o->trace}};

	for (size_t i = 0; i < ARRAY_SIZE(outputs); i++) {
		int ret = outputs[i].path ? output_check(outputs[i].path) : 0;

		if (!ret)
			continue;
		snprintf(err, errlen, "--%s %s: %s", outputs[i].option, outputs[i].path, strerror(-ret));
		return -EINVAL;
	}
	return 0;
}

struct check *check_new(const struct check_options *o, struct events *evs, char *err, size_t errlen)
{
	struct check *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return NULL;
	c->opt = *o;
	c->evs = evs;
	c->began_ns = loop_now();
	c->symbols = symbols_new();
	c->worker = worker_new();
	c->reader = worker_new();
	c->modules = c->reader ? modules_new(c->reader) : NULL;
	c->stacks = c->modules ? stacks_new(c->modules, o->depth ? o->depth : DEPTH) : NULL;
	if (c->symbols)
		symbols_use(c->symbols, c->modules);
	c->threads = threads_new();
	c->history = history_new();
	c->refusals = refusals_new();
	c->left = left_new();
	c->devices = devices_new();
	c->unsafes = unsafes_new();
	c->wheres = wheres_new();
	c->limits = limits_new();
	c->kin = kin_new();
	c->findings = findings_new(print_finding, c);
	c->listener = (struct event_listener){
	    .mask = BIT(EVENT_MAP) | BIT(EVENT_UNMAP) | BIT(EVENT_MAP_REFUSED) | BIT(EVENT_UNMAP_ASKED) |
		    BIT(EVENT_PIN) | BIT(EVENT_UNPIN) | BIT(EVENT_PIN_REFUSED) | BIT(EVENT_MEMORY) | BIT(EVENT_FAULT) |
		    BIT(EVENT_MISUSE) | BIT(EVENT_TAINT) | BIT(EVENT_ATTACH) | BIT(EVENT_MASTER) | BIT(EVENT_RESET) |
		    BIT(EVENT_IRQS) | BIT(EVENT_CLIENT) | BIT(EVENT_CRASH) | BIT(EVENT_DESCRIBED),
	    .notify = on_event};
	if (check_wants(c, CLASS_IRQ_LOST))
		c->listener.mask |= BIT(EVENT_IRQ) | BIT(EVENT_UNTAKEN);
	if (check_wants(c, CLASS_IRQ_STORM))
		c->listener.mask |= BIT(EVENT_STORM);
	if (is_page(o->report)) {
		c->timeline = timeline_new(c->began_ns);
		c->always |= BIT(EVENT_DMA) | BIT(EVENT_IRQ);
		c->listener.mask |= c->always;
	}
	if (o->trace && c->worker) {
		c->trace = trace_new(o->trace, c->worker);
		c->always |= trace_events();
		c->listener.mask |= c->always;
	}
	events_listen(evs, &c->listener);
	ret = read_suppressions(c, err, errlen);
	ret = ret ?: check_outputs(o, err, errlen);
	if (!ret && c->worker && c->reader && c->stacks && c->symbols && c->threads && c->history && c->refusals &&
	    c->left && c->devices && c->unsafes && c->wheres && c->limits && c->kin && c->findings &&
	    (!is_page(o->report) || c->timeline) && (!o->trace || c->trace))
		return c;
	check_free(c);
	errno = ret ? -ret : ENOMEM;
	return NULL;
}

/* ---- the end ---- */

struct writing {
	struct job job;
	const struct check *c;
};

static void write_report(struct job *j)
{
	const struct check *c = container_of(j, struct writing, job)->c;
	FILE *out = output_open(c->opt.report);
	int err = -errno;

	if (out)
		err = output_close(c->opt.report, out, c->timeline ? report_write_page(c, out) : report_write(c, out));
	if (err)
		log_error("report %s: %s", c->opt.report, strerror(-err));
}

uint64_t check_end(struct check *c)
{
	static struct writing writing = {.job.run = write_report};

	check_limit_ended(c, 0);
	check_leaks(c);
	writing.c = c;
	c->ended_ns = loop_now();
	if (c->trace)
		trace_end(c->trace);
	check_say_end(c);
	if (c->opt.report)
		worker_submit(c->worker, &writing.job);
	if (!worker_wait(c->worker, PATIENCE_MS))
		log_warn("the checker's last words hang: a file does not answer");
	return check_total(c);
}

/* What the worker hangs on it may still use: then it is left to the end of the process. */
void check_free(struct check *c)
{
	if (!c)
		return;
	events_unlisten(c->evs, &c->listener);
	if (!worker_free(c->worker, PATIENCE_MS) || !worker_free(c->reader, PATIENCE_MS))
		return;
	symbols_free(c->symbols);
	threads_free(c->threads);
	stacks_free(c->stacks);
	modules_free(c->modules);
	findings_free(c->findings);
	suppressions_free(c->suppressions);
	history_free(c->history);
	refusals_free(c->refusals);
	left_free(c->left);
	limits_free(c->limits);
	kin_free(c->kin);
	devices_free(c->devices);
	unsafes_free(c->unsafes);
	wheres_free(c->wheres);
	timeline_free(c->timeline);
	trace_free(c->trace);
	free(c);
}
