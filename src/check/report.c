/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/report.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>

#include "base/util.h"
#include "check/left.h"
#include "check/private.h"
#include "check/symbol.h"

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

	json_object_object_add(o, "role", json_object_new_string(roles[p->role]));
	json_object_object_add(o, "text", json_object_new_string(p->text));
	if (p->tid)
		json_object_object_add(o, "thread", json_object_new_int64(p->tid));
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

static struct json_object *report_json(const struct check *c)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	struct left_list left = {c, json_object_new_array()};
	const struct list *all = findings_list(c->findings);
	struct finding *f;

	json_object_object_add(o, "version", json_object_new_int(VERSION));
	list_for_each (f, all, node)
		json_object_array_add(list, finding_json(c, f));
	json_object_object_add(o, "findings", list);
	json_object_object_add(o, "findings_not_kept", json_object_new_int64(findings_unsaid(c->findings)));
	left_each(c->left, add_left, &left);
	json_object_object_add(o, "left_mapped", left.list);
	json_object_object_add(o, "pinned_peak", json_object_new_int64(c->pinned_peak * PF_PAGE_SIZE));
	return o;
}

int report_write(const struct check *c, FILE *out)
{
	struct json_object *o = report_json(c);
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
