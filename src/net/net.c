/* SPDX-License-Identifier: BSD-3-Clause */
/* The kinds of backends, and how a specification names one. */
#include "net/net.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/word.h"
#include "net/internal.h"

static const struct net_kind *const kinds[] = {&net_null, &net_loopback, &net_pair, &net_pcap, &net_socket, &net_tap};

/* Names that a word could have been, "a, b", and which of them it was meant to be. */
struct names {
	struct word_search near;
	char all[128];
};

static void names_add(struct names *l, const char *name)
{
	size_t n = strlen(l->all);

	word_consider(&l->near, name);
	snprintf(l->all + n, sizeof(l->all) - n, "%s%s", n ? ", " : "", name);
}

static int names_unknown(const struct names *l, const char *what, char *err, size_t errlen)
{
	const char *word = l->near.word, *near = word_found(&l->near);

	if (near)
		snprintf(err, errlen, "unknown %s '%s'; did you mean '%s'?", what, word, near);
	else if (l->near.best)
		snprintf(err, errlen, "unknown %s '%s'; there %s %s", what, word, strchr(l->all, ',') ? "are" : "is",
			 l->all);
	else
		snprintf(err, errlen, "unknown %s '%s'; there is none", what, word);
	return -EINVAL;
}

static const struct net_kind *kind_find(const char *name, char *err, size_t errlen)
{
	struct names l = {0};

	word_search(&l.near, name);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strcmp(kinds[i]->name, name))
			return kinds[i];
		names_add(&l, kinds[i]->name);
	}
	names_unknown(&l, "kind of net", err, errlen);
	return NULL;
}

static int key_find(const struct net_kind *k, const char *word, char *err, size_t errlen)
{
	struct names l = {0};
	char what[64];

	word_search(&l.near, word);
	for (int i = 0; k->keys && k->keys[i].name; i++) {
		if (!strcmp(k->keys[i].name, word))
			return i;
		names_add(&l, k->keys[i].name);
	}
	snprintf(what, sizeof(what), "option of net=%s", k->name);
	return names_unknown(&l, what, err, errlen);
}

static int word_parse(const struct net_kind *k, char *word, struct net_args *a, char *err, size_t errlen)
{
	char *eq = strchr(word, '=');
	int i;

	if (eq)
		*eq++ = '\0';
	i = key_find(k, word, err, errlen);
	if (i < 0)
		return i;
	if (a->value[i]) {
		snprintf(err, errlen, "net=%s: '%s' is given twice", k->name, word);
		return -EINVAL;
	}
	if (!eq || !*eq) {
		snprintf(err, errlen, "net=%s: '%s' needs a value, as %s=VALUE", k->name, word, word);
		return -EINVAL;
	}
	a->value[i] = eq;
	return 0;
}

/* rest: what follows "KIND:", or NULL. */
static int args_parse(const struct net_kind *k, char *rest, struct net_args *a, char *err, size_t errlen)
{
	int rc = 0;

	if (k->operand) {
		a->operand = rest ? word_next(&rest) : "";
		if (!*a->operand) {
			snprintf(err, errlen, "net=%s needs a %s, as %s:%s", k->name, k->operand, k->name, k->operand);
			return -EINVAL;
		}
	} else if (rest && !k->keys) {
		snprintf(err, errlen, "net=%s stands alone", k->name);
		return -EINVAL;
	}
	while (rest && !rc)
		rc = word_parse(k, word_next(&rest), a, err, errlen);
	for (int i = 0; !rc && k->keys && k->keys[i].name; i++) {
		if (k->keys[i].required && !a->value[i]) {
			snprintf(err, errlen, "net=%s needs %s=VALUE", k->name, k->keys[i].name);
			rc = -EINVAL;
		}
	}
	return rc;
}

static int text_open(const struct net_env *env, char *text, struct net **out, char *err, size_t errlen)
{
	char *rest = strchr(text, ':');
	const struct net_kind *k;
	struct net_args a = {};
	int rc;

	if (rest)
		*rest++ = '\0';
	k = kind_find(text, err, errlen);
	if (!k)
		return -EINVAL;
	rc = args_parse(k, rest, &a, err, errlen);
	if (rc)
		return rc;
	snprintf(err, errlen, "net=%s: out of memory", k->name);
	return k->open(env, &a, out, err, errlen);
}

int net_open(const struct net_env *env, const char *spec, struct net_card *card, struct net **out, char *err,
	     size_t errlen)
{
	char *text = strdup(spec);
	struct net *n = NULL;
	int rc;

	if (!text) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	rc = text_open(env, text, &n, err, errlen);
	free(text);
	if (rc)
		return rc;
	n->card = card;
	*out = n;
	return 0;
}

/* ---- values ---- */

int net_arg_bool(const char *key, const char *s, bool *v, char *err, size_t errlen)
{
	if (!s)
		return 0;
	if (strcmp(s, "on") && strcmp(s, "off")) {
		snprintf(err, errlen, "%s: '%s' is neither on nor off", key, s);
		return -EINVAL;
	}
	*v = !strcmp(s, "on");
	return 0;
}

int net_arg_uint(const char *key, const char *s, uint64_t max, uint64_t *v, char *err, size_t errlen)
{
	unsigned long long n;

	if (!s)
		return 0;
	errno = 0;
	n = strtoull(s, NULL, 10);
	if (strspn(s, "0123456789") != strlen(s) || errno || n > max) {
		snprintf(err, errlen, "%s: '%s' is not a number from 0 to %" PRIu64, key, s, max);
		return -EINVAL;
	}
	*v = n;
	return 0;
}

/* ---- help ---- */

struct text {
	char *buf;
	size_t size, len; /* len goes on counting where buf ends */
};

__attribute__((format(printf, 2, 3))) static void text_add(struct text *t, const char *fmt, ...)
{
	size_t room = t->len < t->size ? t->size - t->len : 0;
	va_list ap;

	va_start(ap, fmt);
	t->len += (size_t)vsnprintf(room ? t->buf + t->len : NULL, room, fmt, ap);
	va_end(ap);
}

size_t net_help(char *buf, size_t len)
{
	struct text t = {buf, len, 0};
	char name[64];

	text_add(&t, "What a cable leads to:\n");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct net_kind *k = kinds[i];

		snprintf(name, sizeof(name), "%s%s%s", k->name, k->operand || k->keys ? ":" : "",
			 k->operand ? k->operand : "");
		text_add(&t, "  %-14s %s\n", name, k->help);
		for (const struct net_key *o = k->keys; o && o->name; o++)
			text_add(&t, "    %s=%*s %s\n", o->name, 11 - (int)strlen(o->name), "", o->help);
	}
	return t.len;
}
