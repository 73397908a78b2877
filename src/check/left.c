/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/left.h"

#include <inttypes.h>
#include <stdlib.h>

#include "check/private.h"

#define GROUPS 4096 /* of open addressing; what finds no place is counted under stack 0 */
#define LOOKS  16

#define LEAK_OTHERS 16 /* so many of a place unmapped, and this one not */

struct left {
	struct left_group group[GROUPS];
};

struct left *left_new(void)
{
	return calloc(1, sizeof(struct left));
}

void left_free(struct left *l)
{
	free(l);
}

static struct left_group *group_of(struct left *l, uint32_t stack, uint32_t pid)
{
	uint32_t at = 1 + (stack * 2654435761u ^ pid * 40503u) % (GROUPS - LOOKS);

	for (unsigned int i = 0; stack && i < LOOKS; i++) {
		struct left_group *g = &l->group[at + i];

		if (!g->stack)
			*g = (struct left_group){.stack = stack, .pid = pid};
		if (g->stack == stack && g->pid == pid)
			return g;
	}
	return &l->group[0];
}

uint64_t left_unmapped(struct left *l, uint32_t stack, uint32_t pid)
{
	return group_of(l, stack, pid)->unmapped;
}

/*
 * Whoever unmaps what is mapped there again and again has no use for one that stays; unless it is not known where. A
 * BAR keeps nothing pinned: a virtual machine that is switched off leaves those of devices as they are.
 */
static void leak_note(struct left_group *g, const struct mapping_note *n)
{
	uint64_t others = g->unmapped - n->others;

	if (!g->stack || n->bar || others < LEAK_OTHERS)
		return;
	if (!g->leaked++)
		g->leak = (struct leak){n->ioas, n->node.start, n->node.last, others, n->tid};
	g->leaked_bytes += n->node.last - n->node.start + 1;
}

void left_note(struct left *l, const struct mapping_note *n, bool asked)
{
	struct left_group *g = group_of(l, n->mapped_stack, n->pid);

	if (asked) {
		g->unmapped++;
		return;
	}
	g->mappings++;
	g->bytes += n->node.last - n->node.start + 1;
	leak_note(g, n);
}

void left_each(const struct left *l, void (*each)(void *ctx, const struct left_group *g), void *ctx)
{
	for (unsigned int i = 0; i < GROUPS; i++)
		if (l->group[i].mappings)
			each(ctx, &l->group[i]);
}

/* ---- what was forgotten ---- */

static void leak_say(void *ctx, const struct left_group *g)
{
	struct check *c = ctx;
	struct finding f = check_finding(c, CLASS_MAP_LEAK);

	if (!g->leaked)
		return;
	f.pid = g->pid;
	f.has_range = true;
	f.ioas = g->leak.ioas;
	f.addr = g->leak.first;
	f.len = g->leak.last - g->leak.first + 1;
	finding_part(&f, ROLE_NOTE, 0, 0,
		     "%" PRIu64 " mapping%s made at one place, %" PRIu64
		     " bytes, left when the descriptors were closed",
		     g->leaked, g->leaked == 1 ? "" : "s", g->leaked_bytes);
	finding_part(&f, ROLE_MAPPED, g->leak.tid, g->stack,
		     "[0x%" PRIx64 ",0x%" PRIx64 "] of ioas %" PRIu64 ", while which %" PRIu64
		     " others of that place were unmapped, was mapped by thread %" PRIu32 " here:",
		     g->leak.first, g->leak.last, g->leak.ioas, g->leak.others, g->leak.tid);
	f.blame = 1;
	findings_add(c->findings, &f, g->pid);
}

void check_leaks(struct check *c)
{
	if (check_wants(c, CLASS_MAP_LEAK))
		left_each(c->left, leak_say, c);
}
