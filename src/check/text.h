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
/* "    #0 function file:line" and so on. */
void text_stack(FILE *out, uint32_t stack, struct stacks *stacks, struct symbols *symbols);

#endif
