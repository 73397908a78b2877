/* SPDX-License-Identifier: BSD-3-Clause */
/* Command lines of the verbs. */
#ifndef PINFOLD_CLI_ARGS_H
#define PINFOLD_CLI_ARGS_H

#include "check/check.h"
#include "cli/cli.h"

struct args {
	struct broker_options broker; /* devices, p2p and faults point into argv, check to the next */
	struct check_options check;
	const char **devices, **p2p;
	const char **faults;
	const char *connect; /* --connect, or NULL */
	char **program;	     /* what follows the options; ends with NULL */
	bool check_given;    /* something of the checker's was asked for, or refused */
	bool done;	     /* help was asked for and has been printed: exit with status 0 */
};

/*
 * Parses up to the first word that is no option. Returns 0, or the exit status after a message on standard error. In
 * both cases args_free is due.
 */
int args_parse(const struct verb *v, int argc, char **argv, struct args *a);
void args_free(struct args *a);

/* "64M", "1G", "4096": bytes. 0 or -EINVAL. */
int size_parse(const char *text, uint64_t *bytes);

#endif
