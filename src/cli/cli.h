/* SPDX-License-Identifier: BSD-3-Clause */
/* What the verbs of the pinfold command share. */
#ifndef PINFOLD_CLI_CLI_H
#define PINFOLD_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "broker/broker.h"

/* Exit statuses of our own; every other one is the program's. As env(1) and timeout(1) have them. */
enum {
	EXIT_USAGE = 2,
	EXIT_PINFOLD = 125, /* Pinfold itself failed */
	EXIT_CANNOT_RUN = 126,
	EXIT_NOT_FOUND = 127,
};

struct verb {
	const char *name;
	const char *usage;					 /* what follows "pinfold NAME" */
	const char *summary;					 /* one line */
	const char *details;					 /* the options, for `pinfold help NAME` */
	int (*run)(const struct verb *v, int argc, char **argv); /* argv[0] is the verb. Returns the exit status. */
};
extern const struct verb verbs[]; /* ends with name NULL */
const struct verb *verb_find(const char *name);
/* Says so, with the nearest verb. Returns EXIT_USAGE. */
int verb_unknown(const char *name);

int cli_run(const struct verb *v, int argc, char **argv);
int cli_serve(const struct verb *v, int argc, char **argv);
int cli_ctl(const struct verb *v, int argc, char **argv);
int cli_help(const struct verb *v, int argc, char **argv);
int cli_version(const struct verb *v, int argc, char **argv);

/* One line on standard error: what was wrong and where to look. Returns EXIT_USAGE. */
int usage_error(const struct verb *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
