/* SPDX-License-Identifier: BSD-3-Clause */
/* What was still mapped when the descriptors that held it were closed, by the stacks that mapped it. */
#ifndef PINFOLD_CHECK_LEFT_H
#define PINFOLD_CHECK_LEFT_H

#include <stdbool.h>
#include <stdint.h>

struct left;

struct left_group {
	uint32_t stack, pid;
	uint64_t mappings, bytes;
	uint64_t unmapped; /* of the same stack: those that the program did unmap */
};

struct left *left_new(void);
void left_free(struct left *l);
/* A mapping made at stack is gone; asked: the program unmapped it. */
void left_note(struct left *l, uint32_t stack, uint32_t pid, uint64_t bytes, bool asked);
/* The groups of which something was left. */
void left_each(const struct left *l, void (*each)(void *ctx, const struct left_group *g), void *ctx);

#endif
