/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/class.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static const struct {
	const char *name;
	bool on;
	const char *text;
} table[CLASS_COUNT] = {
#define CLASS(id, name, on, text) [CLASS_##id] = {name, on, text},
    CLASS_TABLE(CLASS)
#undef CLASS
};

const char *class_name(enum check_class c)
{
	return table[c].name;
}

const char *class_text(enum check_class c)
{
	return table[c].text;
}

enum check_class class_find(const char *name)
{
	unsigned int i = 0;

	while (i < CLASS_COUNT && strcmp(table[i].name, name))
		i++;
	return i;
}

uint64_t class_set_default(void)
{
	uint64_t set = 0;

	for (unsigned int i = 0; i < CLASS_COUNT; i++)
		set |= table[i].on ? BIT64(i) : 0;
	return set;
}

bool class_set_has_dma(uint64_t set)
{
	for (unsigned int i = 0; i < CLASS_COUNT; i++)
		if (set & BIT64(i) && !strncmp(table[i].name, "dma-", 4))
			return true;
	return false;
}

/* The letters that two names begin with in common say which one was meant: names of a family share them. */
static const char *nearest(const char *word, size_t len)
{
	size_t best = 2;
	const char *found = NULL;

	for (unsigned int i = 0; i < CLASS_COUNT; i++) {
		size_t n = 0;

		while (n < len && table[i].name[n] == word[n])
			n++;
		if (n > best) {
			best = n;
			found = table[i].name;
		}
	}
	return found;
}

static int one_class(const char *word, size_t len, uint64_t *set)
{
	static const char *const words[] = {"all", "default", "none"};
	uint64_t sets[] = {CLASS_COUNT == 64 ? ~0ull : BIT64(CLASS_COUNT % 64) - 1, class_set_default(), 0};
	bool minus = len && *word == '-';

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strlen(words[i]) == len && !strncmp(words[i], word, len)) {
			*set = sets[i];
			return 0;
		}
	}
	word += minus;
	len -= minus;
	for (unsigned int i = 0; i < CLASS_COUNT; i++) {
		if (strlen(table[i].name) != len || strncmp(table[i].name, word, len))
			continue;
		*set = minus ? *set & ~BIT64(i) : *set | BIT64(i);
		return 0;
	}
	return -EINVAL;
}

int class_set_parse(const char *list, uint64_t *set, char *err, unsigned int errlen)
{
	uint64_t result = *list == '-' ? *set : 0;

	for (const char *p = list, *end;; p = end + 1) {
		end = p + strcspn(p, ",");
		if (one_class(p, end - p, &result)) {
			const char *near = nearest(p, end - p);

			snprintf(err, errlen, "there is no class \"%.*s\"%s%s%s", (int)MIN(end - p, 64), p,
				 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
			return -EINVAL;
		}
		if (!*end)
			break;
	}
	*set = result;
	return 0;
}
