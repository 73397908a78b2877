/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/suppress.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/util.h"
#include "check/finding.h"
#include "check/stack.h"
#include "check/symbol.h"

struct rule {
	struct list node;
	char *class, *function; /* both in one piece of memory, class's */
};

struct suppressions {
	struct list rules;
};

void suppressions_free(struct suppressions *s)
{
	if (!s)
		return;
	while (!list_empty(&s->rules)) {
		struct rule *r = list_first(&s->rules, struct rule, node);

		list_del(&r->node);
		free(r->class);
		free(r);
	}
	free(s);
}

/* A pattern that can match nothing is a mistake. */
static bool class_exists(const char *pattern)
{
	for (unsigned int i = 0; i < CLASS_COUNT; i++)
		if (!fnmatch(pattern, class_name(i), 0))
			return true;
	return false;
}

static int rule_add(struct suppressions *s, const char *line)
{
	size_t skip = strspn(line, " \t"), len = strcspn(line, "#\r\n");
	struct rule *r;
	char *colon;

	while (len > skip && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	if (len <= skip)
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->class = strndup(line + skip, len - skip);
	colon = r->class ? strchr(r->class, ':') : NULL;
	if (colon)
		*colon = 0;
	if (!colon || !colon[1] || !class_exists(r->class)) {
		free(r->class);
		free(r);
		return -EINVAL;
	}
	r->function = colon + 1;
	list_add_tail(&s->rules, &r->node);
	return 0;
}

int suppressions_read(const char *path, struct suppressions **out, char *err, size_t errlen)
{
	struct suppressions *s = calloc(1, sizeof(*s));
	FILE *f = s ? fopen(path, "re") : NULL;
	char *line = NULL;
	size_t cap = 0;
	unsigned int n = 0;
	int ret = 0;

	if (!f) {
		snprintf(err, errlen, "%s", strerror(s ? errno : ENOMEM));
		free(s);
		return -EINVAL;
	}
	list_init(&s->rules);
	while (!ret && getline(&line, &cap, f) > 0) {
		n++;
		ret = rule_add(s, line);
		if (ret)
			snprintf(err, errlen, "line %u is not CLASS:FUNCTION", n);
	}
	if (!ret && ferror(f)) {
		snprintf(err, errlen, "%s", strerror(errno));
		ret = -EINVAL;
	}
	free(line);
	fclose(f);
	if (ret) {
		suppressions_free(s);
		return ret;
	}
	*out = s;
	return 0;
}

struct search {
	const struct rule *rule;
	bool found;
};

static void search_frame(void *ctx, const struct symbol *sym)
{
	struct search *s = ctx;

	s->found |= *sym->function && !fnmatch(s->rule->function, sym->function, 0);
}

bool suppressed(const struct suppressions *s, const struct finding *f, struct stacks *stacks, struct symbols *symbols)
{
	struct search look = {0};
	const struct rule *r;

	if (!s)
		return false;
	list_for_each (r, &s->rules, node) {
		if (fnmatch(r->class, class_name(f->class), 0))
			continue;
		look.rule = r;
		for (unsigned int i = 0; i < f->nparts && !look.found; i++) {
			const struct stack *st = stacks_get(stacks, f->part[i].stack);

			for (uint32_t k = 0; st && k < st->n && !look.found; k++)
				symbols_each(symbols, &st->frame[k], search_frame, &look);
		}
		if (look.found)
			return true;
	}
	return false;
}
