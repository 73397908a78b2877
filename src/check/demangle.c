/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The C++ runtime does it. Where a program was written in C++ (or in Rust, whose older names have the same form) it is
 * most likely installed; we do without it where it is not, and do not depend on it.
 */
#include "check/demangle.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Itanium C++ ABI, section 3.4. */
typedef char *demangle_fn(const char *name, char *buf, size_t *len, int *status);

static demangle_fn *find(void)
{
	void *lib = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);

	return lib ? (demangle_fn *)dlsym(lib, "__cxa_demangle") : NULL;
}

char *demangle(const char *name)
{
	static demangle_fn *fn;
	static bool tried;
	int status;

	if (strncmp(name, "_Z", 2))
		return NULL;
	if (!tried) {
		fn = find();
		tried = true;
	}
	return fn ? fn(name, NULL, NULL, &status) : NULL;
}
