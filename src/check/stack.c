/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/stack.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/lock.h"
#include "base/util.h"
#include "check/unwind.h"

#define STACKS_MAX 65536 /* distinct ones */
#define BUCKETS	   4096

struct entry {
	struct entry *next;
	uint64_t hash;
	uint32_t id;
	struct stack stack;
};

struct stacks {
	struct modules *modules;
	struct unwinder *unwinder;
	uint64_t bytes;
	unsigned int depth;
	struct lock lock; /* of entries and n: who prints reads them on another thread */
	struct entry *bucket[BUCKETS];
	struct entry **by_id;
	uint32_t n;
};

struct stacks *stacks_new(struct modules *m, unsigned int depth)
{
	struct stacks *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->modules = m;
	s->depth = MAX(MIN(depth, STACK_DEPTH_MAX), 1u);
	s->unwinder = unwinder_new(m);
	s->by_id = calloc(STACKS_MAX + 1, sizeof(*s->by_id));
	lock_init(&s->lock, LOCK_STACKS);
	if (!s->unwinder || !s->by_id) {
		stacks_free(s);
		return NULL;
	}
	return s;
}

void stacks_free(struct stacks *s)
{
	if (!s)
		return;
	for (uint32_t i = 1; i <= s->n; i++)
		free(s->by_id[i]);
	free(s->by_id);
	unwinder_free(s->unwinder);
	lock_fini(&s->lock);
	free(s);
}

static uint64_t hash_of(const struct place *f, uint32_t n)
{
	uint64_t h = n;

	for (uint32_t i = 0; i < n; i++) {
		h = (h ^ f[i].addr ^ (uint64_t)f[i].module << 48) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

static struct entry *entry_new(uint64_t hash, const struct place *f, uint32_t n)
{
	struct entry *e = malloc(sizeof(*e) + n * sizeof(*f));

	if (!e)
		return NULL;
	*e = (struct entry){.hash = hash, .stack.n = n};
	memcpy(e->stack.frame, f, n * sizeof(*f));
	return e;
}

static struct entry *entry_find(struct stacks *s, uint64_t hash, const struct place *f, uint32_t n)
{
	struct entry *e;

	for (e = s->bucket[hash % BUCKETS]; e; e = e->next)
		if (e->hash == hash && e->stack.n == n && !memcmp(e->stack.frame, f, n * sizeof(*f)))
			return e;
	return NULL;
}

static uint32_t entry_add(struct stacks *s, uint64_t hash, const struct place *f, uint32_t n)
{
	struct entry *e;
	uint32_t id;

	if (s->n == STACKS_MAX || !(e = entry_new(hash, f, n)))
		return 0;
	s->bytes += sizeof(*e) + n * sizeof(*f);
	lock_take(&s->lock);
	id = e->id = ++s->n;
	s->by_id[id] = e;
	lock_drop(&s->lock);
	e->next = s->bucket[hash % BUCKETS];
	s->bucket[hash % BUCKETS] = e;
	return id;
}

uint32_t stacks_take(struct stacks *s, const struct event_origin *from)
{
	struct place f[STACK_DEPTH_MAX] = {0};
	struct entry *e;
	uint64_t hash;
	uint32_t n;

	if (!from || !from->ip)
		return 0;
	n = unwind(s->unwinder, from, f, s->depth);
	hash = hash_of(f, n);
	e = entry_find(s, hash, f, n);
	/* One that has not been seen may come from code that lies where other code did. */
	if (!e && modules_refresh(s->modules, from->session, from->pid)) {
		n = unwind(s->unwinder, from, f, s->depth);
		hash = hash_of(f, n);
		e = entry_find(s, hash, f, n);
	}
	return e ? e->id : entry_add(s, hash, f, n);
}

uint32_t stacks_take_trace(struct stacks *s, const struct event_origin *from, const uint64_t *pc, uint32_t n)
{
	struct place f[STACK_DEPTH_MAX] = {0};
	struct entry *e;
	uint64_t hash;
	uint32_t got = 0;

	/* What it took for frames by frame pointers alone may end in none. */
	while (got < MIN(n, s->depth) && modules_find(s->modules, from->session, from->pid, pc[got] - 1, &f[got]))
		got++;
	hash = hash_of(f, got);
	e = got ? entry_find(s, hash, f, got) : NULL;
	return e ? e->id : got ? entry_add(s, hash, f, got) : 0;
}

uint64_t stacks_bytes(const struct stacks *s)
{
	return s->bytes;
}

const struct stack *stacks_get(struct stacks *s, uint32_t id)
{
	const struct stack *found = NULL;

	lock_take(&s->lock);
	if (id && id <= s->n)
		found = &s->by_id[id]->stack;
	lock_drop(&s->lock);
	return found;
}
