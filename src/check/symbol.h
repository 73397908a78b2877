/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From places in code to what a person reads: function, file, line, with inlined functions as frames of their own.
 * A process of its own looks them up, which is waited for: so this belongs on the worker. What brings it down, or takes
 * it too long, has no names.
 */
#ifndef PINFOLD_CHECK_SYMBOL_H
#define PINFOLD_CHECK_SYMBOL_H

#include <stdbool.h>

#include "check/module.h"

struct symbols;

struct symbol {
	const char *function; /* "" if not known */
	const char *file;     /* as the compiler was given it; "" if not known */
	int line;
	bool inlined; /* into the next one */
	bool marker;  /* no function of any program: what lies between two */
	const char *module;
	uint64_t
	    offset; /* in the module, as its program headers and addr2line have it; of generated code in the function */
};

/* Forks: before there are threads, and anything that another process should not hold on to. */
struct symbols *symbols_new(void);
void symbols_use(struct symbols *s, struct modules *m); /* before the first question */
void symbols_free(struct symbols *s);
uint64_t symbols_cpu_ns(const struct symbols *s);		      /* that process's time, so far */
const char *symbols_module(struct symbols *s, const struct place *p); /* the file's path, or "" */
/* Calls each for the functions inlined at p, innermost first, and for the one they are in. Strings end with the call.
 */
void symbols_each(struct symbols *s, const struct place *p, void (*each)(void *ctx, const struct symbol *s), void *ctx);

#endif
