/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that say what they see of Linux. Each is run bare and under Pinfold and must say the same (compare.py), so
 * they print neither addresses nor process numbers.
 */
#ifndef PINFOLD_TESTS_BOUNDARY_SAY_H
#define PINFOLD_TESTS_BOUNDARY_SAY_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE	 4096UL
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct say_case {
	const char *name;
	void (*run)(void);
};

/* Runs every case, or those named, each in a process of its own. */
int say_main(int argc, char **argv, const struct say_case *cases, size_t n);

void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "what: value", or "what: ERRNO" for -1. Returns the value. */
long say_ret(const char *what, long ret);
void say_status(const char *what, int wait_status);

/* With SAY_PINNED set: mapped for DMA, so that Pinfold has moved it into its file. Bare: nothing. */
void pin(void *p, size_t len);
bool try_pin(void *p, size_t len); /* false: it cannot be */
bool pinning(void);
/* The same for a page and a moment, at a place of the caller's own; after the first pin(). */
void pin_and_unpin(void *p, size_t place);
/* Nothing is pinned any more, and the next pin() starts anew; also after the program has closed every descriptor. */
void unpin_all(void);

#endif
