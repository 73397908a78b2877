/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that died of a signal: of which, and where if it was a fault that nobody handled. */
#ifndef PINFOLD_CHECK_CRASH_H
#define PINFOLD_CHECK_CRASH_H

#include <stdint.h>
#include <stdio.h>

struct check;
struct event;

#define CRASHES_MAX 16 /* that are kept */

struct crash {
	uint32_t pid, tid, stack; /* stack 0: not known */
	int signal;
	uint64_t addr; /* what could not be reached; with a stack */
	uint64_t ns;
};

struct crashes {
	unsigned int n;
	struct crash crash[CRASHES_MAX];
};

void check_crash(struct check *c, const struct event *ev);
/* "SIGSEGV". */
void crash_signal(int sig, char buf[24]);
/* A line for each, and its stack. Belongs on the worker. */
void crashes_text(const struct check *c, FILE *out);

#endif
