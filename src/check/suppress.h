/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Findings that somebody knows and does not want to hear of: lines "CLASS:FUNCTION" in a file, where either may be a
 * pattern with * and ?. A finding of the class is left out if one of its stacks has such a function. "#" begins a
 * comment.
 */
#ifndef PINFOLD_CHECK_SUPPRESS_H
#define PINFOLD_CHECK_SUPPRESS_H

#include <stdbool.h>
#include <stddef.h>

struct finding;
struct stacks;
struct suppressions;
struct symbols;

/* 0, -EINVAL (the user's mistake: one line in err), -ENOMEM. */
int suppressions_read(const char *path, struct suppressions **s, char *err, size_t errlen);
void suppressions_free(struct suppressions *s);
/* Belongs on the worker. */
bool suppressed(const struct suppressions *s, const struct finding *f, struct stacks *stacks, struct symbols *symbols);

#endif
