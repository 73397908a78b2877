/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/util.h"

#define FINDINGS_MAX 4096 /* that are told apart; what comes after them is counted */
#define BUCKETS	     1024

struct kept {
	struct kept *next;
	uint64_t key;
	struct finding f;
};

struct findings {
	void (*shown)(void *ctx, struct finding *f);
	void *ctx;
	struct list list;
	struct kept *bucket[BUCKETS];
	unsigned int n;
	uint64_t total, unsaid;
};

struct findings *findings_new(void (*shown)(void *ctx, struct finding *f), void *ctx)
{
	struct findings *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->shown = shown;
	s->ctx = ctx;
	list_init(&s->list);
	return s;
}

void findings_free(struct findings *s)
{
	if (!s)
		return;
	while (!list_empty(&s->list)) {
		struct finding *f = list_first(&s->list, struct finding, node);

		list_del(&f->node);
		free(container_of(f, struct kept, f));
	}
	free(s);
}

void finding_of_dma(struct finding *f, const struct event *ev)
{
	f->has_device = f->has_range = true;
	f->write = ev->flags & EVENT_WRITE;
	f->bdf = ev->who;
	f->ioas = ev->ioas;
	f->addr = ev->addr;
	f->len = ev->len;
}

void finding_part(struct finding *f, enum finding_role role, uint32_t tid, uint32_t stack, const char *fmt, ...)
{
	struct finding_part *p;
	va_list ap;

	if (f->nparts == FINDING_PARTS)
		return;
	p = &f->part[f->nparts++];
	p->role = role;
	p->tid = tid;
	p->stack = stack;
	va_start(ap, fmt);
	vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
}

static uint64_t key_of(const struct finding *f, uint64_t key)
{
	uint64_t h = f->class + 1;

	h = (h ^ key) * 0x9e3779b97f4a7c15ull;
	h = (h ^ h >> 29 ^ f->bdf) * 0x9e3779b97f4a7c15ull;
	for (unsigned int i = 0; i < f->nparts; i++)
		h = (h ^ h >> 29 ^ f->part[i].stack) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 32;
}

void findings_add(struct findings *s, const struct finding *f, uint64_t key)
{
	uint64_t k = key_of(f, key);
	struct kept *old;

	s->total++;
	for (old = s->bucket[k % BUCKETS]; old; old = old->next) {
		if (old->key != k)
			continue;
		old->f.count++;
		old->f.last_ns = f->first_ns;
		return;
	}
	old = s->n < FINDINGS_MAX ? malloc(sizeof(*old)) : NULL;
	if (!old) {
		s->unsaid++;
		return;
	}
	s->n++;
	old->key = k;
	memcpy(&old->f, f, sizeof(*f));
	old->f.count = 1;
	old->f.last_ns = f->first_ns;
	old->next = s->bucket[k % BUCKETS];
	s->bucket[k % BUCKETS] = old;
	list_add_tail(&s->list, &old->f.node);
	s->shown(s->ctx, &old->f);
}

const struct list *findings_list(const struct findings *s)
{
	return &s->list;
}

uint64_t findings_total(const struct findings *s)
{
	return s->total;
}

uint64_t findings_unsaid(const struct findings *s)
{
	return s->unsaid;
}

uint64_t findings_bytes(const struct findings *s)
{
	return sizeof(*s) + s->n * sizeof(struct kept);
}
