/* SPDX-License-Identifier: BSD-3-Clause */
/* What was still mapped when the descriptors that held it were closed, by the stacks that mapped it. */
#ifndef PINFOLD_CHECK_LEFT_H
#define PINFOLD_CHECK_LEFT_H

#include <stdbool.h>
#include <stdint.h>

struct left;

struct mapping_note;

/* One that was forgotten. */
struct leak {
	uint64_t ioas, first, last;
	uint64_t others; /* of the same stack, that were unmapped while it was there */
	uint32_t tid;
};

struct left_group {
	uint32_t stack, pid;
	uint64_t mappings, bytes;
	uint64_t unmapped; /* of the same stack: those that the program did unmap */
	/* Of the mappings: those that it seems to have forgotten, and the first of them. */
	uint64_t leaked, leaked_bytes;
	struct leak leak;
};

struct left *left_new(void);
void left_free(struct left *l);
/* A mapping is gone; asked: the program unmapped it. */
void left_note(struct left *l, const struct mapping_note *n, bool asked);
/* How many were that have been made at a stack; for a new one's others. */
uint64_t left_unmapped(struct left *l, uint32_t stack, uint32_t pid);
/* The groups of which something was left. */
void left_each(const struct left *l, void (*each)(void *ctx, const struct left_group *g), void *ctx);

#endif
