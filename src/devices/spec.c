/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/word.h"
#include "devices/option.h"
#include "devices/spec.h"

enum { COMMON_ADDR, COMMON_GROUP, COMMON_ACS, COMMON_DRIVER, COMMON_ROMFILE, COMMON_COUNT };

const struct device_option device_common_options[] = {
    [COMMON_ADDR] = {.key = "addr", .kind = OPT_STRING, .help = "PCI address, [DDDD:]BB:DD.F; default: the next free"},
    [COMMON_GROUP] = {.key = "group",
		      .kind = OPT_UINT,
		      .max = INT_MAX,
		      .help = "IOMMU group; default: as Linux would form it"},
    [COMMON_ACS] = {.key = "acs", .kind = OPT_BOOL, .help = "Access Control Services; default: on for ports"},
    [COMMON_DRIVER] = {.key = "driver", .kind = OPT_STRING, .help = "its driver; default: vfio-pci; none, or a host's"},
    [COMMON_ROMFILE] = {.key = "romfile", .kind = OPT_STRING, .help = "an expansion ROM image for the function"},
    [COMMON_COUNT] = {},
};

static size_t option_count(const struct device_option *o)
{
	size_t n = 0;

	while (o[n].key)
		n++;
	return n;
}

static const struct device_option *option_find(const struct device_option *o, const char *key)
{
	for (; o->key; o++)
		if (!strcmp(o->key, key))
			return o;
	return NULL;
}

/* Appends to the text in buf what fits. */
static void text_append(char *buf, size_t size, const char *sep, const char *word)
{
	size_t n = strnlen(buf, size);

	if (n < size)
		snprintf(buf + n, size - n, "%s%s", sep, word);
}

int device_type_unknown(const char *name, char *err, size_t errlen)
{
	struct word_search near;

	word_search(&near, name);
	for (const struct device_type *const *t = device_types; *t; t++)
		word_consider(&near, (*t)->name);
	if (word_found(&near)) {
		snprintf(err, errlen, "unknown device type '%s'; did you mean '%s'?", name, near.best);
		return -EINVAL;
	}
	snprintf(err, errlen, "unknown device type '%s'; there are", name);
	for (const struct device_type *const *t = device_types; *t; t++)
		text_append(err, errlen, t == device_types ? " " : ", ", (*t)->name);
	return -EINVAL;
}

static int key_unknown(const struct device_type *type, const char *key, char *err, size_t errlen)
{
	const struct device_option *const tables[] = {type->options, device_common_options};
	struct word_search near;
	const char *sep = " ";

	word_search(&near, key);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct device_option *o = tables[i]; o->key; o++)
			word_consider(&near, o->key);
	if (word_found(&near)) {
		snprintf(err, errlen, "unknown option '%s' of device '%s'; did you mean '%s'?", key, type->name,
			 near.best);
		return -EINVAL;
	}
	snprintf(err, errlen, "unknown option '%s' of device '%s'; there are", key, type->name);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const struct device_option *o = tables[i]; o->key; o++) {
			text_append(err, errlen, sep, o->key);
			sep = ", ";
		}
	}
	return -EINVAL;
}

static int option_fail(const struct device_type *type, const char *key, const char *why, char *err, size_t errlen)
{
	snprintf(err, errlen, "option '%s' of device '%s'%s", key, type->name, why);
	return -EINVAL;
}

/* Adds a word to the nested specification, its commas doubled. */
static int nested_add(struct device_spec *s, const char *sep, const char *word, char *err, size_t errlen)
{
	size_t have = s->nested->str ? strlen(s->nested->str) : 0;
	char *text = realloc((char *)s->nested->str, have + strlen(sep) + 2 * strlen(word) + 1), *to;

	if (!text) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	s->nested->str = text;
	to = stpcpy(text + have, sep);
	for (; *word; word++) {
		if (*word == ',')
			*to++ = ',';
		*to++ = *word;
	}
	*to = '\0';
	return 0;
}

static int value_set(struct device_spec *s, const struct device_option *o, const char *text, struct device_value *v,
		     char *err, size_t errlen)
{
	char why[256] = ": ";

	if (v->str)
		return option_fail(s->type, o->key, " is given twice", err, errlen);
	if (!*text && (o->required || o->kind != OPT_STRING))
		return option_fail(s->type, o->key, " is empty", err, errlen);
	if (option_parse(o, text, v, why + 2, sizeof(why) - 2))
		return option_fail(s->type, o->key, why, err, errlen);
	if (o->kind != OPT_NESTED)
		return 0;
	s->nested = v;
	v->str = NULL;
	return nested_add(s, "", text, err, errlen);
}

static int word_parse(struct device_spec *s, char *word, struct device_value *common, char *err, size_t errlen)
{
	const struct device_option *o;
	char *eq = strchr(word, '=');

	if (!*word) {
		snprintf(err, errlen, "empty option of device '%s' (a comma in a value is written twice)",
			 s->type->name);
		return -EINVAL;
	}
	if (eq)
		*eq = '\0';
	else if (!strcmp(word, "help"))
		return option_fail(s->type, word, " stands alone: -d TYPE,help", err, errlen);
	o = option_find(s->type->options, word);
	if (!o && !option_find(device_common_options, word)) {
		if (eq && s->nested && strchr(s->nested->str, ':')) {
			*eq = '=';
			return nested_add(s, ",", word, err, errlen);
		}
		key_unknown(s->type, word, err, errlen);
		if (!eq) /* the rest of a path, in all likelihood */
			text_append(err, errlen, " ", "(a comma in a value is written twice)");
		return -EINVAL;
	}
	if (!eq)
		return option_fail(s->type, word, " needs a value, as KEY=VALUE", err, errlen);
	if (o)
		return value_set(s, o, eq + 1, &s->values[o - s->type->options], err, errlen);
	o = option_find(device_common_options, word);
	return value_set(s, o, eq + 1, &common[o - device_common_options], err, errlen);
}

static int defaults_fill(struct device_spec *s, char *err, size_t errlen)
{
	const struct device_option *o = s->type->options;
	int rc = 0;

	for (size_t i = 0; o[i].key && !rc; i++) {
		if (s->values[i].str)
			continue;
		if (o[i].def)
			rc = value_set(s, &o[i], o[i].def, &s->values[i], err, errlen);
		else if (o[i].required)
			rc = option_fail(s->type, o[i].key, " is missing, and required", err, errlen);
	}
	return rc;
}

static int place_set(struct device_spec *s, const struct device_value *common, char *err, size_t errlen)
{
	const char *addr = common[COMMON_ADDR].str, *driver = common[COMMON_DRIVER].str;
	char why[128];

	s->place = (struct device_place){.bdf = -1, .group = -1, .acs = -1, .driver = "vfio-pci"};
	if (common[COMMON_ACS].str)
		s->place.acs = (int)common[COMMON_ACS].num;
	if (driver && (!*driver || strlen(driver) >= sizeof(s->place.driver) ||
		       strspn(driver, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(driver))) {
		snprintf(why, sizeof(why), ": '%.40s' is not the name of a driver", driver);
		return option_fail(s->type, "driver", why, err, errlen);
	}
	if (driver)
		strcpy(s->place.driver, driver);
	s->romfile = common[COMMON_ROMFILE].str;
	if (common[COMMON_GROUP].str)
		s->place.group = common[COMMON_GROUP].num;
	if (!addr || option_parse_addr(addr, &s->place.domain, &s->place.bdf))
		return 0;
	snprintf(why, sizeof(why), ": '%s' is not a PCI address ([DDDD:]BB:DD.F)", addr);
	return option_fail(s->type, "addr", why, err, errlen);
}

static int words_parse(struct device_spec *s, char *err, size_t errlen)
{
	struct device_value common[COMMON_COUNT] = {};
	char *rest = s->text, *name = word_next(&rest);
	int rc = 0;

	s->type = device_type_find(name);
	if (!s->type)
		return device_type_unknown(name, err, errlen);
	s->values = calloc(option_count(s->type->options) + 1, sizeof(*s->values));
	if (!s->values) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	while (rest && !rc)
		rc = word_parse(s, word_next(&rest), common, err, errlen);
	if (!rc)
		rc = place_set(s, common, err, errlen);
	if (!rc)
		rc = defaults_fill(s, err, errlen);
	return rc;
}

int device_spec_parse(struct device_spec *s, const char *text, char *err, size_t errlen)
{
	int rc;

	*s = (struct device_spec){.text = strdup(text)};
	if (!s->text) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	rc = words_parse(s, err, errlen);
	if (rc)
		device_spec_free(s);
	return rc;
}

void device_spec_free(struct device_spec *s)
{
	if (s->nested)
		free((char *)s->nested->str);
	s->nested = NULL;
	free(s->text);
	free(s->values);
	s->text = NULL;
	s->values = NULL;
}
