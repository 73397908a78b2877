/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/report.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/wait.h>

#include "base/util.h"
#include "check/left.h"
#include "check/private.h"
#include "check/symbol.h"
#include "check/threads.h"
#include "check/timeline.h"

#define VERSION 1

static const char *const roles[] = {
    [ROLE_NOTE] = "note",	  [ROLE_CALL] = "call",	  [ROLE_MAPPED] = "mapped",
    [ROLE_UNMAPPED] = "unmapped", [ROLE_FREED] = "freed", [ROLE_ALLOCATED] = "allocated",
};

/* Numbers beyond 2^53 do not survive every reader: addresses are text. */
static struct json_object *hex(uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, v);
	return json_object_new_string(text);
}

static void add_frame(void *ctx, const struct symbol *s)
{
	struct json_object *f = json_object_new_object();

	if (*s->function)
		json_object_object_add(f, "function", json_object_new_string(s->function));
	if (*s->file) {
		json_object_object_add(f, "file", json_object_new_string(s->file));
		json_object_object_add(f, "line", json_object_new_int(s->line));
	}
	if (s->inlined)
		json_object_object_add(f, "inlined", json_object_new_boolean(true));
	json_object_object_add(f, "module", json_object_new_string(s->module));
	json_object_object_add(f, "offset", hex(s->offset));
	json_object_array_add(ctx, f);
}

static struct json_object *stack_json(const struct check *c, uint32_t id)
{
	const struct stack *st = stacks_get(c->stacks, id);
	struct json_object *frames = json_object_new_array();

	for (uint32_t i = 0; st && i < st->n; i++)
		symbols_each(c->symbols, &st->frame[i], add_frame, frames);
	return frames;
}

static struct json_object *part_json(const struct check *c, const struct finding_part *p)
{
	struct json_object *o = json_object_new_object();
	char text[FINDING_TEXT + 32], name[NAME_LEN];

	json_object_object_add(o, "role", json_object_new_string(roles[p->role]));
	threads_label(c->threads, p->tid, p->text, text, sizeof(text));
	json_object_object_add(o, "text", json_object_new_string(text));
	if (p->tid)
		json_object_object_add(o, "thread", json_object_new_int64(p->tid));
	if (threads_name(c->threads, p->tid, name))
		json_object_object_add(o, "thread_name", json_object_new_string(name));
	if (p->stack)
		json_object_object_add(o, "stack", stack_json(c, p->stack));
	return o;
}

static double seconds(const struct check *c, uint64_t ns)
{
	return (ns - c->began_ns) / 1e9;
}

static struct json_object *finding_json(const struct check *c, const struct finding *f)
{
	struct json_object *o = json_object_new_object(), *parts = json_object_new_array();
	char bdf[16];

	json_object_object_add(o, "class", json_object_new_string(class_name(f->class)));
	json_object_object_add(o, "count", json_object_new_int64(f->count));
	json_object_object_add(o, "first", json_object_new_double(seconds(c, f->first_ns)));
	json_object_object_add(o, "last", json_object_new_double(seconds(c, f->last_ns)));
	json_object_object_add(o, "process", json_object_new_int64(f->pid));
	if (f->has_device) {
		check_bdf(f->bdf, bdf);
		json_object_object_add(o, "device", json_object_new_string(bdf));
		json_object_object_add(o, "access", json_object_new_string(f->write ? "write" : "read"));
	}
	if (f->has_range) {
		json_object_object_add(o, "ioas", json_object_new_int64(f->ioas));
		json_object_object_add(o, "iova", hex(f->addr));
		json_object_object_add(o, "length", hex(f->len));
	}
	if (f->memory)
		json_object_object_add(o, "memory", json_object_new_string(f->memory));
	for (unsigned int i = 0; i < f->nparts; i++)
		json_object_array_add(parts, part_json(c, &f->part[i]));
	json_object_object_add(o, "blame", json_object_new_int(f->blame));
	json_object_object_add(o, "parts", parts);
	return o;
}

struct left_list {
	const struct check *c;
	struct json_object *list;
};

static void add_left(void *ctx, const struct left_group *g)
{
	struct json_object *o = json_object_new_object();
	struct left_list *to = ctx;

	json_object_object_add(o, "mappings", json_object_new_int64(g->mappings));
	json_object_object_add(o, "bytes", json_object_new_int64(g->bytes));
	json_object_object_add(o, "process", json_object_new_int64(g->pid));
	json_object_object_add(o, "stack", stack_json(to->c, g->stack));
	json_object_array_add(to->list, o);
}

/* How the program ended, and who died of what. */
static void add_end(const struct check *c, struct json_object *o)
{
	struct json_object *list = json_object_new_array();
	char sig[24];

	for (unsigned int i = 0; i < c->crashes.n; i++) {
		const struct crash *k = &c->crashes.crash[i];
		struct json_object *one = json_object_new_object();

		crash_signal(k->signal, sig);
		json_object_object_add(one, "process", json_object_new_int64(k->pid));
		json_object_object_add(one, "signal", json_object_new_string(sig));
		json_object_object_add(one, "time", json_object_new_double(seconds(c, k->ns)));
		if (k->stack) {
			json_object_object_add(one, "thread", json_object_new_int64(k->tid));
			json_object_object_add(one, "address", hex(k->addr));
			json_object_object_add(one, "stack", stack_json(c, k->stack));
		}
		json_object_array_add(list, one);
	}
	json_object_object_add(o, "crashes", list);
	if (c->program && WIFEXITED(c->status))
		json_object_object_add(o, "exit_status", json_object_new_int(WEXITSTATUS(c->status)));
}

/* max: of findings; 0: all. */
static struct json_object *report_json(const struct check *c, size_t max)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct left_list left = {c, json_object_new_array()};
	const struct list *all = findings_list(c->findings);
	uint64_t left_out = findings_unsaid(c->findings);
	struct finding *f;

	json_object_object_add(o, "version", json_object_new_int(VERSION));
	list_for_each (f, all, node)
		if (f->suppressed)
			continue;
		else if (!max || json_object_array_length(list) < max)
			json_object_array_add(list, finding_json(c, f));
		else
			left_out += f->count;
	json_object_object_add(o, "findings", list);
	json_object_object_add(o, "findings_not_kept", json_object_new_int64(left_out));
	left_each(c->left, add_left, &left);
	json_object_object_add(o, "left_mapped", left.list);
	add_end(c, o);
	json_object_object_add(o, "pinned_peak", json_object_new_int64(c->pinned_peak * PF_PAGE_SIZE));
	return o;
}

/* ---- the page ---- */

/* A picture of more shows less, and a browser has to hold it. */
#define PAGE_MAPPINGS 10000 /* of those that are there, and of those that are gone */
#define PAGE_FINDINGS 500

extern const char page_html[]; /* page.html */

static struct json_object *lane_json(const struct lane *l, unsigned int n)
{
	static const char *const names[] = {"reads", "writes", "bytes", "irqs", "faults"};
	struct json_object *o = json_object_new_object(), *row[ARRAY_SIZE(names)];
	char bdf[16];

	check_bdf(l->bdf, bdf);
	json_object_object_add(o, "device", json_object_new_string(bdf));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		row[i] = json_object_new_array();
		json_object_object_add(o, names[i], row[i]);
	}
	for (unsigned int i = 0; i < n; i++) {
		const struct slice *s = &l->slice[i];
		const uint64_t v[] = {s->reads, s->writes, s->bytes, s->irqs, s->faults};

		for (size_t k = 0; k < ARRAY_SIZE(v); k++)
			json_object_array_add(row[k], json_object_new_int64(v[k]));
	}
	return o;
}

struct page {
	const struct check *c;
	struct json_object *maps, *stacks;
	uint64_t total;
};

static void add_mapping(struct page *p, const struct mapping_note *n)
{
	struct json_object *o = json_object_new_object();
	char key[16];

	snprintf(key, sizeof(key), "%" PRIu32, n->mapped_stack);
	if (n->mapped_stack && !json_object_object_get_ex(p->stacks, key, NULL))
		json_object_object_add(p->stacks, key, stack_json(p->c, n->mapped_stack));
	json_object_object_add(o, "ioas", json_object_new_int64(n->ioas));
	json_object_object_add(o, "first", hex(n->node.start));
	json_object_object_add(o, "last", hex(n->node.last));
	json_object_object_add(o, "va", hex(n->va));
	if (n->where)
		json_object_object_add(o, "where", json_object_new_string(n->where));
	json_object_object_add(o, "thread", json_object_new_int64(n->tid));
	json_object_object_add(o, "writable", json_object_new_boolean(n->writable));
	json_object_object_add(o, "mapped", json_object_new_double(seconds(p->c, n->mapped_ns)));
	if (n->gone_ns)
		json_object_object_add(o, "gone", json_object_new_double(seconds(p->c, n->gone_ns)));
	json_object_object_add(o, "stack", json_object_new_string(key));
	json_object_array_add(p->maps, o);
}

/* All of them, or every so manyth: they are in the order of time. */
static void add_mappings(struct page *p,
			 const struct mapping_note *(*next)(struct history *h, const struct mapping_note *after))
{
	const struct mapping_note *note;
	uint64_t n = 0, every, at = 0;

	for (note = NULL; (note = next(p->c->history, note));)
		n++;
	p->total += n;
	every = n / PAGE_MAPPINGS + 1;
	for (note = NULL; (note = next(p->c->history, note));)
		if (!(at++ % every))
			add_mapping(p, note);
}

static void add_picture(const struct check *c, struct json_object *o)
{
	struct json_object *devices = json_object_new_array();
	struct page p = {.c = c, .maps = json_object_new_array(), .stacks = json_object_new_object()};
	uint64_t slice = timeline_slice_ns(c->timeline), n = (c->ended_ns - c->began_ns) / slice + 1;
	const struct lane *l;

	add_mappings(&p, history_next);
	add_mappings(&p, history_next_gone);
	for (unsigned int i = 0; (l = timeline_lane(c->timeline, i)); i++)
		json_object_array_add(devices, lane_json(l, MIN(n, (uint64_t)TIMELINE_SLICES)));
	json_object_object_add(o, "duration", json_object_new_double(seconds(c, c->ended_ns)));
	json_object_object_add(o, "slice", json_object_new_double(slice / 1e9));
	json_object_object_add(o, "devices", devices);
	json_object_object_add(o, "maps", p.maps);
	json_object_object_add(o, "maps_total", json_object_new_int64(p.total));
	json_object_object_add(o, "stacks", p.stacks);
}

/* Nothing in it may end the element that it stands in. */
static int put_data(const char *text, FILE *out)
{
	for (; *text; text++)
		if ((*text == '<' ? fputs("\\u003c", out) : fputc(*text, out)) < 0)
			return -errno;
	return 0;
}

int report_write_page(const struct check *c, FILE *out)
{
	static const char mark[] = "@DATA@";
	const char *at = strstr(page_html, mark), *text;
	struct json_object *o = report_json(c, PAGE_FINDINGS);
	int err;

	add_picture(c, o);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	err = text ? 0 : -ENOMEM;
	if (!err && fwrite(page_html, 1, at - page_html, out) != (size_t)(at - page_html))
		err = -errno;
	if (!err)
		err = put_data(text, out);
	if (!err && (fputs(at + strlen(mark), out) < 0 || fflush(out)))
		err = -errno;
	json_object_put(o);
	return err;
}

int report_write(const struct check *c, FILE *out)
{
	struct json_object *o = report_json(c, 0);
	const char *text =
	    o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
	int err = 0;

	if (!text)
		err = -ENOMEM;
	else if (fputs(text, out) < 0 || fputc('\n', out) < 0 || fflush(out))
		err = -errno;
	json_object_put(o);
	return err;
}
