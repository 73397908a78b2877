/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names and lines from what files say of themselves. Programs bring these files, and the libraries that read them were
 * not made for files that mean harm: so this runs in a process of its own (symbol.c), which may crash, or be ended.
 */
#ifndef PINFOLD_CHECK_LOOKUP_H
#define PINFOLD_CHECK_LOOKUP_H

#include "check/symbol.h"

struct lookup;

struct lookup *lookup_new(void);
/* The address `at` in a module, by its number; takes fd. Calls each as symbols_each does. */
void lookup_each(struct lookup *l, uint32_t module, const char *path, int fd, uint64_t at,
		 void (*each)(void *ctx, const struct symbol *s), void *ctx);
/* Of code that has no file, by what its compiler left for perf. */
void lookup_generated(uint32_t pid, uint64_t addr, void (*each)(void *ctx, const struct symbol *s), void *ctx);

#endif
