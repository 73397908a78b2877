/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "devices/device.h"
#include "devices/option.h"

/* Digits, decimal or after 0x hexadecimal, without sign or blank; *end is the first character that is none. */
static bool number_parse(const char *s, uint64_t *num, const char **end)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	const char *digits = hex ? s + 2 : s;
	size_t n = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
	unsigned long long v;

	if (!n)
		return false;
	errno = 0;
	v = strtoull(digits, NULL, hex ? 16 : 10);
	if (errno)
		return false;
	*num = v;
	*end = digits + n;
	return true;
}

static const char size_suffixes[] = "KMGT";

/* Bits to shift by; -1 if s is no suffix. */
static int suffix_shift(const char *s)
{
	const char *p;

	if (!*s)
		return 0;
	p = strchr(size_suffixes, *s >= 'a' ? *s - ('a' - 'A') : *s);
	if (!p || !*p || s[1])
		return -1;
	return 10 * (p - size_suffixes + 1);
}

static bool size_parse(const char *s, uint64_t *num)
{
	const char *end;
	uint64_t v;
	int shift;

	if (!number_parse(s, &v, &end))
		return false;
	shift = suffix_shift(end);
	if (shift < 0 || v << shift >> shift != v)
		return false;
	*num = v << shift;
	return true;
}

static bool uint_parse(const char *s, uint64_t *num)
{
	const char *end;

	return number_parse(s, num, &end) && !*end;
}

static bool bool_parse(const char *s, uint64_t *num)
{
	static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(s, words[i])) {
			*num = i & 1;
			return true;
		}
	}
	return false;
}

static bool kind_parse(enum option_kind kind, const char *s, uint64_t *num)
{
	switch (kind) {
	case OPT_STRING:
	case OPT_NESTED:
		return true;
	case OPT_SIZE:
		return size_parse(s, num);
	case OPT_UINT:
		return uint_parse(s, num);
	case OPT_BOOL:
		return bool_parse(s, num);
	}
	return false;
}

void option_format(const struct device_option *o, uint64_t num, char *buf, size_t len)
{
	int i = -1;

	if (o->kind == OPT_SIZE)
		for (; i < 3 && num && !(num & 1023); i++)
			num >>= 10;
	snprintf(buf, len, "%" PRIu64 "%.*s", num, i >= 0, &size_suffixes[i >= 0 ? i : 0]);
}

static bool in_range(const struct device_option *o, uint64_t num)
{
	if (o->kind != OPT_SIZE && o->kind != OPT_UINT)
		return true;
	return (!o->min && !o->max) || (num >= o->min && num <= o->max);
}

int option_parse(const struct device_option *o, const char *s, struct device_value *v, char *why, size_t len)
{
	static const char *const expected[] = {
	    [OPT_STRING] = "a text", [OPT_SIZE] = "a size (a number of bytes, or one with K, M, G or T)",
	    [OPT_UINT] = "a number", [OPT_BOOL] = "on or off",
	    [OPT_NESTED] = "a text",
	};
	char min[32], max[32];
	uint64_t num = 0;

	if (!kind_parse(o->kind, s, &num)) {
		snprintf(why, len, "'%s' is not %s", s, expected[o->kind]);
		return -EINVAL;
	}
	if (!in_range(o, num)) {
		option_format(o, o->min, min, sizeof(min));
		option_format(o, o->max, max, sizeof(max));
		snprintf(why, len, "%s is out of range (%s to %s)", s, min, max);
		return -EINVAL;
	}
	v->str = s;
	v->num = num;
	return 0;
}

/* 1 to max hexadecimal digits, then the character that has to follow. */
static bool hex_field(const char **s, unsigned int max, char then, unsigned int *v)
{
	size_t n = strspn(*s, "0123456789abcdefABCDEF");

	if (!n || n > max || (*s)[n] != then)
		return false;
	*v = strtoul(*s, NULL, 16);
	*s += n + 1;
	return true;
}

bool option_parse_addr(const char *s, int *domain, int *bdf)
{
	unsigned int dom = 0, bus, dev, fn;
	const char *colon = strchr(s, ':');

	if (colon && strchr(colon + 1, ':') && !hex_field(&s, 4, ':', &dom))
		return false;
	if (!hex_field(&s, 2, ':', &bus) || !hex_field(&s, 2, '.', &dev) || !hex_field(&s, 1, '\0', &fn))
		return false;
	if (dev > 0x1f || fn > 7)
		return false;
	*domain = dom;
	*bdf = bus << 8 | dev << 3 | fn;
	return true;
}
