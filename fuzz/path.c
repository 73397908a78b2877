/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Paths, bases and links that nobody would make. The input is a flag byte, the base, the path, and the texts of a few
 * links, each ending with NUL; which path is which link follows from a hash of its name.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boundary/path.h"

#define SHADOW "/dev/shm/pinfold-tree-a"
#define LINKS  8

static const char *links[LINKS];
static unsigned int calls;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static long fuzz_readlink(const char *path, char *buf, size_t size)
{
	uint32_t h = 2166136261;
	const char *text;
	size_t n;

	must(path[0] == '/' && strlen(path) < 4096 && size > 0 && ++calls < 100000);
	for (const char *p = path; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619;
	h ^= h >> 15;
	if (!strcmp(path + strlen(path) - 2, "/."))
		return h & 1 ? -EINVAL : -ENOTDIR;
	if (h % 8 == 7)
		return -ENOENT;
	text = links[h / 8 % LINKS];
	if (h % 8 > 2 || !text)
		return -EINVAL;
	n = strlen(text);
	n = n < size ? n : size;
	memcpy(buf, text, n);
	return n;
}

static char *string_take(const uint8_t **p, const uint8_t *end)
{
	size_t n = strnlen((const char *)*p, end - *p);
	char *s = malloc(n + 1); /* of its own, so that reading past it is seen */

	memcpy(s, *p, n);
	s[n] = 0;
	*p += n + (*p + n < end);
	return s;
}

static void result_check(const struct path_result *r)
{
	size_t n = strlen(SHADOW);

	if (r->route == PATH_NATIVE)
		return;
	must(memchr(r->out, 0, sizeof(r->out)) && memchr(r->logical, 0, sizeof(r->logical)));
	must(r->out[0] == '/' && r->logical[0] == '/');
	if (r->route != PATH_REAL)
		must(!strncmp(r->out, SHADOW, n) && !strncmp(r->out + n, r->logical, strlen(r->logical)));
	if (r->route == PATH_DEVICE)
		must(!strncmp(r->logical, "/dev/vfio/", 10) || !strcmp(r->logical, "/dev/iommu"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct path_env env = {.shadow = SHADOW, .readlink = fuzz_readlink};
	const uint8_t *p = data + 1, *end = data + size;
	char *strings[2 + LINKS] = {0};
	struct path_result *r;
	int ret;

	if (size < 2)
		return 0;
	env.host_devices = data[0] & 1;
	for (size_t i = 0; i < 2 + LINKS && p < end; i++)
		strings[i] = string_take(&p, end);
	for (size_t i = 0; i < LINKS; i++)
		links[i] = strings[2 + i];
	r = malloc(sizeof(*r));
	calls = 0;
	if (strings[1]) {
		path_is_foreign(&env, strings[0], strings[1]);
		ret = (data[0] & 4 ? path_resolve_deep : path_resolve)(&env, strings[0], strings[1], data[0] & 2, r);
		must(!ret || ret == -ENAMETOOLONG || ret == -ELOOP);
		if (!ret)
			result_check(r);
	}
	if (strings[0] && strings[0][0]) {
		long n = path_unshadow(&env, strings[0], strlen(strings[0]));

		must(n == -1 || n > 0);
	}
	free(r);
	for (size_t i = 0; i < 2 + LINKS; i++)
		free(strings[i]);
	return 0;
}
