/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/word.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"

#define WORD_MAX 63

char *word_next(char **rest)
{
	char *word = *rest, *in = word, *out = word;

	for (; *in; in++) {
		if (*in == ',') {
			if (in[1] != ',')
				break;
			in++;
		}
		*out++ = *in;
	}
	*rest = *in ? in + 1 : NULL;
	*out = '\0';
	return word;
}

/* Optimal string alignment, three rows at a time. */
unsigned int word_distance(const char *a, const char *b)
{
	size_t na = strnlen(a, WORD_MAX), nb = strnlen(b, WORD_MAX);
	unsigned int rows[3][WORD_MAX + 1];
	unsigned int *before = rows[0], *above = rows[1], *row = rows[2], *tmp;

	for (size_t j = 0; j <= nb; j++)
		above[j] = j;
	for (size_t i = 1; i <= na; i++) {
		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = MIN(row[j], above[j] + 1);
			row[j] = MIN(row[j], row[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = MIN(row[j], before[j - 2] + 1);
		}
		tmp = before;
		before = above;
		above = row;
		row = tmp;
	}
	return above[nb];
}

void word_search(struct word_search *s, const char *word)
{
	*s = (struct word_search){.word = word, .distance = UINT_MAX};
}

void word_consider(struct word_search *s, const char *name)
{
	size_t n = strlen(s->word);
	unsigned int d = word_distance(s->word, name);

	if (d && n > 1 && !strncmp(s->word, name, n))
		d = 1;
	if (d < s->distance) {
		s->best = name;
		s->distance = d;
	}
}

const char *word_found(const struct word_search *s)
{
	size_t n = strnlen(s->word, WORD_MAX);

	return s->distance <= MAX(n / 3, 2UL) && s->distance < n ? s->best : NULL;
}

const char *word_nearest(const char *word, const char *const *list)
{
	struct word_search s;

	word_search(&s, word);
	for (; *list; list++)
		word_consider(&s, *list);
	return word_found(&s);
}
