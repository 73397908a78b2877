/* SPDX-License-Identifier: BSD-3-Clause */
/* How a program has to be executed so that the boundary library is in it. */
#ifndef PINFOLD_CLI_PROGRAM_H
#define PINFOLD_CLI_PROGRAM_H

#include <stddef.h>

struct program;

/*
 * A program that has a dynamic linker is executed as it is. A static one, or a script with a static interpreter, is
 * started by pinfold-loader, which lies beside the boundary library. What cannot be found or read is left as it is, for
 * exec to explain. Returns 0, -ENOMEM, or -ENOEXEC for what would run without the boundary and so drive the real
 * machine; with one line in err. argv must stay.
 */
int program_new(char *const argv[], const char *boundary, struct program **p, char *err, size_t errlen);
char *const *program_argv(const struct program *p); /* for execvp */
void program_free(struct program *p);

#endif
