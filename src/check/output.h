/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that are written for the user: whether that will be possible, and so that what is there is whole or untouched.
 */
#ifndef PINFOLD_CHECK_OUTPUT_H
#define PINFOLD_CHECK_OUTPUT_H

#include <stdio.h>

/*
 * Can path be written, as far as can be said beforehand? 0 or -errno: no such directory, no permission, a read-only
 * file system. Leaves nothing behind.
 */
int output_check(const char *path);
/*
 * A file that takes the place of path when it is complete, or, if path is a device or a pipe, that itself. NULL with
 * errno.
 */
FILE *output_open(const char *path);
/* Ends it; err: what has gone wrong already, and it is given up then. 0 or -errno. */
int output_close(const char *path, FILE *out, int err);

#endif
