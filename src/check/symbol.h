/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From places in code to what a person reads: function, file, line, with inlined functions as frames of their own.
 * Reads files, so it belongs on the worker.
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

struct symbols *symbols_new(struct modules *m);
void symbols_free(struct symbols *s);
const char *symbols_module(struct symbols *s, const struct place *p); /* the file's path, or "" */
/* Calls each for the functions inlined at p, innermost first, and for the one they are in. Strings end with the call.
 */
void symbols_each(struct symbols *s, const struct place *p, void (*each)(void *ctx, const struct symbol *s), void *ctx);

#endif
