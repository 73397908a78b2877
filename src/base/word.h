/* SPDX-License-Identifier: BSD-3-Clause */
/* Words of a specification, "WORD[,WORD]...", and which of the known names a mistyped one was meant to be. */
#ifndef PINFOLD_BASE_WORD_H
#define PINFOLD_BASE_WORD_H

/*
 * Takes the next comma-separated word off *rest, in place, with ",," made one comma; *rest becomes NULL after the last.
 */
char *word_next(char **rest);

struct word_search {
	const char *word;
	const char *best; /* of the names considered */
	unsigned int distance;
};

void word_search(struct word_search *s, const char *word);
void word_consider(struct word_search *s, const char *name);
/*
 * The nearest name, if it is near enough to be suggested: a third of the word may be wrong, and at least two letters; a
 * word cut short is nearer than any other. NULL: none is.
 */
const char *word_found(const struct word_search *s);
const char *word_nearest(const char *word, const char *const *list); /* of a list that ends with NULL */

/*
 * Edits that turn a into b: insertions, deletions, replacements and swaps of neighbours. Only the first 63 characters
 * count.
 */
unsigned int word_distance(const char *a, const char *b);

#endif
