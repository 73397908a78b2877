/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/left.h"

#include <stdlib.h>

#define GROUPS 4096 /* of open addressing; what finds no place is counted under stack 0 */
#define LOOKS  16

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

void left_note(struct left *l, uint32_t stack, uint32_t pid, uint64_t bytes, bool asked)
{
	struct left_group *g = group_of(l, stack, pid);

	if (asked) {
		g->unmapped++;
		return;
	}
	g->mappings++;
	g->bytes += bytes;
}

void left_each(const struct left *l, void (*each)(void *ctx, const struct left_group *g), void *ctx)
{
	for (unsigned int i = 0; i < GROUPS; i++)
		if (l->group[i].mappings)
			each(ctx, &l->group[i]);
}
