/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The DMA checker: listens to the event stream and says who broke which rule, where, and whose call it was. It changes
 * nothing of what it watches.
 */
#ifndef PINFOLD_CHECK_CHECK_H
#define PINFOLD_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct check;
struct events;

struct check_options {
	uint64_t classes;	  /* BIT64(enum check_class) */
	unsigned int depth;	  /* frames of a stack that are kept; 0: as many as is usual */
	const char *report;	  /* path of a report: JSON, or a page if it ends in ".html"; NULL: none */
	const char *trace;	  /* path; NULL: none */
	bool first;		  /* stop the program at the first finding */
	const char *suppressions; /* path; NULL: none */
	unsigned int exit_code;	  /* of the run, if there are findings; 0: the program's own */
};

/*
 * NULL with one line in err, and errno: EINVAL for the user's mistake (a file of suppressions that is none), anything
 * else for ours.
 */
struct check *check_new(const struct check_options *o, struct events *evs, char *err, size_t errlen);
/* Walks the stack of whoever is served, if only to see how much of it that takes (event_origin.stack_need). */
void check_walk(struct check *c);
/* How the program ended that all of it is about: a status of waitpid. */
void check_program_ended(struct check *c, uint32_t pid, int status);
/* Prints what was found, by class, if there is something; writes the report. The number of findings. */
uint64_t check_end(struct check *c);
/* Lines of a longer summary, after check_end: what was left mapped, by stack, and what the checker has cost. */
void check_summary(const struct check *c);
void check_free(struct check *c);

#endif
