/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/text.h"

#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "check/finding.h"
#include "check/stack.h"
#include "check/symbol.h"
#include "check/threads.h"

/* The bytes of one character of UTF-8 that can be shown; 0: they are none. */
static unsigned int character(const unsigned char *p)
{
	unsigned int n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : 4;

	if (p[0] < ' ' || p[0] == 0x7f || (p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4 ||
	    (p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	for (unsigned int i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void text_make_readable(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p;) {
		unsigned int n = character(p);

		if (!n)
			*p = '?';
		p += MAX(n, 1u);
	}
}

struct printer {
	FILE *out;
	unsigned int n;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void print_frame(void *ctx, const struct symbol *s)
{
	struct printer *p = ctx;

	fprintf(p->out, "        #%u ", p->n++);
	if (s->marker) {
		fprintf(p->out, "%s\n", s->function);
		return;
	}
	if (*s->function)
		fprintf(p->out, "%s ", s->function);
	if (*s->file)
		fprintf(p->out, "%s:%d%s\n", base_name(s->file), s->line, s->inlined ? " (inlined)" : "");
	else
		fprintf(p->out, "(%s+0x%" PRIx64 ")\n", *s->module ? s->module : "generated code", s->offset);
}

void text_stack(FILE *out, uint32_t stack, struct stacks *stacks, struct symbols *symbols)
{
	const struct stack *st = stacks_get(stacks, stack);
	struct printer p = {out, 0};

	for (uint32_t i = 0; st && i < st->n; i++)
		symbols_each(symbols, &st->frame[i], print_frame, &p);
}

/* ---- the one line that is for grep ---- */

struct blame {
	bool found; /* with a name: a place without one does until then */
	char text[512];
};

static bool begins(const char *name, const char *const *with, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strncmp(name, with[i], strlen(with[i])))
			return true;
	return false;
}

/* The C library, or a sanitizer's runtime in front of it: they do as they are told. */
static bool is_libc_module(const char *module)
{
	static const char *const modules[] = {"libc.",	  "libc-",    "ld-",	   "libpthread",  "libasan.",
					      "liblsan.", "libtsan.", "libubsan.", "libclang_rt."};

	return begins(base_name(module), modules, ARRAY_SIZE(modules));
}

/* The runtime may be part of the program. */
static bool is_libc(const struct symbol *s)
{
	static const char *const functions[] = {"__interceptor_", "__asan", "__sanitizer"};

	return is_libc_module(s->module) || begins(s->function, functions, ARRAY_SIZE(functions));
}

static void blame_frame(void *ctx, const struct symbol *s)
{
	struct blame *b = ctx;

	if (b->found || (b->text[0] && (is_libc(s) || !*s->function)))
		return;
	if (*s->file)
		snprintf(b->text, sizeof(b->text), "%s:%d in %s", base_name(s->file), s->line, s->function);
	else
		snprintf(b->text, sizeof(b->text), "(%s+0x%" PRIx64 ")%s%s", base_name(s->module), s->offset,
			 *s->function ? " in " : "", s->function);
	b->found = *s->function && !is_libc(s);
}

/* By the file's name alone: what is in the C library need not be looked up. */
static bool may_be_blamed(const struct place *p, struct symbols *symbols)
{
	return p->module && !is_libc_module(symbols_module(symbols, p));
}

void text_place(char *buf, size_t size, uint32_t stack, struct stacks *stacks, struct symbols *symbols)
{
	const struct stack *st = stacks_get(stacks, stack);
	struct blame b = {0};

	for (uint32_t i = 0; st && i < st->n && !b.found; i++)
		if (may_be_blamed(&st->frame[i], symbols))
			symbols_each(symbols, &st->frame[i], blame_frame, &b);
	if (!b.text[0] && st && st->n)
		symbols_each(symbols, &st->frame[0], blame_frame, &b);
	snprintf(buf, size, "%s", b.text);
}

static void print_summary(FILE *out, const struct finding *f, struct stacks *stacks, struct symbols *symbols)
{
	char place[512] = "";

	if (f->nparts)
		text_place(place, sizeof(place), f->part[f->blame].stack, stacks, symbols);
	fprintf(out, "SUMMARY: %s%s%s\n", class_name(f->class), *place ? " " : "", place);
}

void text_finding(FILE *out, const struct finding *f, struct stacks *stacks, struct symbols *symbols,
		  struct threads *threads)
{
	char text[FINDING_TEXT + 32];

	for (unsigned int i = 0; i < f->nparts; i++) {
		threads_label(threads, f->part[i].tid, f->part[i].text, text, sizeof(text));
		if (i)
			fprintf(out, "    %s\n", text);
		else
			fprintf(out, "==%" PRIu32 "== pinfold: %s: %s\n", f->pid, class_name(f->class), text);
		text_stack(out, f->part[i].stack, stacks, symbols);
	}
	fprintf(out, "    what it means: pinfold help %s\n", class_name(f->class));
	print_summary(out, f, stacks, symbols);
}
