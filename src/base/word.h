/* SPDX-License-Identifier: BSD-3-Clause */
/* Words of a specification, "WORD[,WORD]...", and names that were mistyped. */
#ifndef PINFOLD_BASE_WORD_H
#define PINFOLD_BASE_WORD_H

#include <stdbool.h>

/*
 * Takes the next comma-separated word off *rest, in place, with ",," made one comma; *rest becomes NULL after the last.
 */
char *word_next(char **rest);

/*
 * Edits that turn a into b: insertions, deletions, replacements and swaps of neighbours. Only the first 63 characters
 * count.
 */
unsigned int word_distance(const char *a, const char *b);

/* Whether a name at that distance is worth suggesting: a third of the word may be wrong, and at least two letters. */
bool word_close(const char *word, unsigned int distance);

#endif
