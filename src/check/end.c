/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said when all is over, and what the checker has cost. Short where there is nothing to say. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/loop.h"
#include "base/util.h"
#include "check/left.h"
#include "check/module.h"
#include "check/private.h"
#include "check/symbol.h"
#include "check/text.h"
#include "check/where.h"
#include "check/worker.h"

#define PATIENCE_MS  10000
#define GROUPS_NAMED 64 /* of what was left, the biggest: a name costs time */
#define SITES_SAID   5
#define PLACE_LEN    256

static const char *human(uint64_t bytes, char buf[32])
{
	static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double v = bytes;
	unsigned int u = 0;

	for (; v >= 1024 && u + 1 < ARRAY_SIZE(unit); u++)
		v /= 1024;
	snprintf(buf, 32, u && v < 10 ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return buf;
}

/* ---- what was left ---- */

struct site {
	char place[PLACE_LEN];
	uint64_t mappings, bytes;
};

struct rest {
	uint64_t mappings, bytes;
	unsigned int n, ngroups, nsites;
	struct left_group biggest[GROUPS_NAMED]; /* in order */
	struct site site[GROUPS_NAMED];
};

static void rest_add(void *ctx, const struct left_group *g)
{
	struct rest *r = ctx;
	unsigned int at = r->n < GROUPS_NAMED ? r->n++ : GROUPS_NAMED;

	r->mappings += g->mappings;
	r->bytes += g->bytes;
	r->ngroups++;
	for (; at && r->biggest[at - 1].bytes < g->bytes; at--)
		if (at < GROUPS_NAMED)
			r->biggest[at] = r->biggest[at - 1];
	if (at < GROUPS_NAMED)
		r->biggest[at] = *g;
}

/* Many ways may lead to one place. */
static void site_add(struct rest *r, const char *place, const struct left_group *g)
{
	struct site *s = r->site;

	while (s < r->site + r->nsites && strcmp(s->place, place))
		s++;
	if (s == r->site + r->nsites)
		strcpy(r->site[r->nsites++].place, place);
	s->mappings += g->mappings;
	s->bytes += g->bytes;
}

/* A line for each place; a report has the stacks. */
static void say_left(const struct check *c, FILE *out)
{
	char size[32], place[PLACE_LEN];
	struct rest *r = calloc(1, sizeof(*r));

	if (!r)
		return;
	left_each(c->left, rest_add, r);
	for (unsigned int i = 0; i < r->n; i++) {
		text_place(place, sizeof(place), r->biggest[i].stack, c->stacks, c->symbols);
		site_add(r, *place ? place : "a place that is not known", &r->biggest[i]);
	}
	if (r->mappings)
		fprintf(out, "  left mapped until its descriptor was closed: %s\n", human(r->bytes, size));
	for (unsigned int i = 0; i < MIN(r->nsites, (unsigned int)SITES_SAID); i++)
		fprintf(out, "    %s in %" PRIu64 " mapping%s, made at %s\n", human(r->site[i].bytes, size),
			r->site[i].mappings, r->site[i].mappings == 1 ? "" : "s", r->site[i].place);
	if (r->nsites > SITES_SAID || r->ngroups > r->n)
		fprintf(out, "    and others, which --report has\n");
	free(r);
}

/* ---- the cost ---- */

/*
 * Reading the clock costs as much as many an event: of each type the first are timed, which have more to do than those
 * that follow, and then one in so many.
 */
#define TIMED_ALL 64
#define SAMPLE	  256

/* Of the processor: not what is waited for. */
static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t cost_begin(struct check *c, unsigned int type)
{
	uint64_t n = c->cost.events[type]++;

	return n < TIMED_ALL || !(n % SAMPLE) ? thread_ns() : 0;
}

void cost_end(struct check *c, unsigned int type, uint64_t began)
{
	if (began)
		c->cost.ns += (thread_ns() - began) * (c->cost.events[type] <= TIMED_ALL ? 1 : SAMPLE);
}

static uint64_t bytes_kept(const struct check *c)
{
	return history_bytes(c->history) + stacks_bytes(c->stacks) + modules_bytes(c->modules) +
	       findings_bytes(c->findings) + wheres_bytes(c->wheres);
}

static double ms_of(const struct timeval *tv)
{
	return tv->tv_sec * 1e3 + tv->tv_usec / 1e3;
}

static void say_cost(const struct check *c, FILE *out)
{
	struct rusage all;
	char size[32];
	double own = c->cost.ns / 1e6, beside = (worker_cpu_ns(c->worker) + worker_cpu_ns(c->reader)) / 1e6, ms;
	double names = symbols_cpu_ns(c->symbols) / 1e6;

	getrusage(RUSAGE_SELF, &all);
	ms = ms_of(&all.ru_utime) + ms_of(&all.ru_stime) - beside;
	fprintf(out, "  the checker took %.1f ms of the broker's %.1f ms, %.1f ms beside it, and %s\n", MIN(own, ms),
		ms, beside + names, human(bytes_kept(c), size));
}

/* ---- saying it ---- */

struct saying {
	struct job job;
	const struct check *c;
};

static void say_summary(struct job *j)
{
	const struct check *c = container_of(j, struct saying, job)->c;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	say_cost(c, out);
	say_left(c, out);
	if (!fclose(out))
		fwrite(text, 1, len, stderr);
	free(text);
}

void check_summary(const struct check *c)
{
	static struct saying saying = {.job.run = say_summary};

	saying.c = c;
	worker_submit(c->worker, &saying.job);
	worker_wait(c->worker, PATIENCE_MS);
}

static void say_findings(const struct check *c, FILE *out)
{
	uint64_t by_class[CLASS_COUNT] = {0}, total = findings_unsaid(c->findings), left_out = 0;
	const struct list *all = findings_list(c->findings);
	struct finding *f;

	list_for_each (f, all, node) {
		*(f->suppressed ? &left_out : &total) += f->count;
		by_class[f->class] += f->suppressed ? 0 : f->count;
	}
	if (!total)
		return;
	crashes_text(c, out);
	fprintf(out, "pinfold: %" PRIu64 " finding%s\n", total, total == 1 ? "" : "s");
	for (unsigned int i = 0; i < CLASS_COUNT; i++)
		if (by_class[i])
			fprintf(out, "  %s: %" PRIu64 "\n", class_name(i), by_class[i]);
	if (findings_unsaid(c->findings))
		fprintf(out, "  of kinds that there was no room to keep: %" PRIu64 "\n", findings_unsaid(c->findings));
	if (left_out)
		fprintf(out, "  left out, as --suppressions says: %" PRIu64 "\n", left_out);
}

static void say_end(struct job *j)
{
	const struct check *c = container_of(j, struct saying, job)->c;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	say_findings(c, out);
	if (!fclose(out))
		fwrite(text, 1, len, stderr);
	free(text);
}

void check_say_end(const struct check *c)
{
	static struct saying saying = {.job.run = say_end};

	saying.c = c;
	worker_submit(c->worker, &saying.job);
}

uint64_t check_total(const struct check *c)
{
	uint64_t total = findings_unsaid(c->findings);
	const struct list *all = findings_list(c->findings);
	struct finding *f;

	list_for_each (f, all, node)
		total += f->suppressed ? 0 : f->count;
	return total;
}
