/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies that survive memory which is not there: the far end of a file that its owner has truncated, a pointer
 * that a program made up. The copy routine is one known stretch of machine code; a SIGSEGV or SIGBUS handler that
 * finds the instruction pointer inside it lets it return short.
 */
#ifndef PINFOLD_BASE_GUARD_H
#define PINFOLD_BASE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/* Returns the number of bytes that could NOT be copied (0 = all). Needs guard_fixup in the fault handlers. */
size_t guard_copy(void *dst, const void *src, size_t n);

/* An atomic compare-and-swap of the 8 aligned bytes at p. */
enum { GUARD_CAS_DONE, GUARD_CAS_DIFFERS, GUARD_CAS_FAULT };
int guard_cas(uint64_t *p, uint64_t old, uint64_t new);

/* For fault handlers: true if the fault was theirs; uc has been changed so that it returns short. */
bool guard_fixup(ucontext_t *uc);

/* Installs SIGSEGV and SIGBUS handlers that do that and otherwise die as usual. Broker, tests; never the boundary. */
int guard_install(void);

#endif
