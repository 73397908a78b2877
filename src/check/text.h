/* SPDX-License-Identifier: BSD-3-Clause */
/* Findings as text, in the shape in which AddressSanitizer prints its own. Belongs on the worker: it reads files. */
#ifndef PINFOLD_CHECK_TEXT_H
#define PINFOLD_CHECK_TEXT_H

#include <stdint.h>
#include <stdio.h>

struct finding;
struct stacks;
struct symbols;
struct threads;

void text_finding(FILE *out, const struct finding *f, struct stacks *stacks, struct symbols *symbols,
		  struct threads *threads);
/*
 * Of a stack the place that somebody can mend, in one line: the first outside the C library, or what there is.
 * "driver.c:131 in queue_free"; "" without a stack.
 */
void text_place(char *buf, size_t size, uint32_t stack, struct stacks *stacks, struct symbols *symbols);
/* "    #0 function file:line" and so on. */
void text_stack(FILE *out, uint32_t stack, struct stacks *stacks, struct symbols *symbols);

/* What is no character that can be shown becomes '?': a file's own words, among ours on a terminal and in a report. */
void text_make_readable(char *text);

#endif
