/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/where.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define NAMES_MAX 1024 /* distinct ones, for as long as anybody may read them */
#define BUCKETS	  256
#define RECENT	  64 /* more than one call describes */

struct name {
	struct name *next;
	char text[];
};

struct wheres {
	struct name *bucket[BUCKETS];
	unsigned int nnames, at;
	uint64_t bytes;
	struct {
		uint64_t session, va, len;
		const char *name;
	} recent[RECENT];
};

struct wheres *wheres_new(void)
{
	return calloc(1, sizeof(struct wheres));
}

void wheres_free(struct wheres *w)
{
	for (size_t i = 0; w && i < BUCKETS; i++) {
		while (w->bucket[i]) {
			struct name *n = w->bucket[i];

			w->bucket[i] = n->next;
			free(n);
		}
	}
	free(w);
}

static const char *name_get(struct wheres *w, const char *text)
{
	uint32_t h = 2166136261u;
	struct name *n;
	size_t len = strlen(text) + 1;

	for (const char *p = text; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	for (n = w->bucket[h % BUCKETS]; n; n = n->next)
		if (!strcmp(n->text, text))
			return n->text;
	n = w->nnames < NAMES_MAX ? malloc(sizeof(*n) + len) : NULL;
	if (!n)
		return NULL;
	memcpy(n->text, text, len);
	n->next = w->bucket[h % BUCKETS];
	w->bucket[h % BUCKETS] = n;
	w->nnames++;
	w->bytes += sizeof(*n) + len;
	return n->text;
}

void wheres_note(struct wheres *w, uint64_t session, uint64_t va, uint64_t len, const char *name)
{
	unsigned int at = w->at++ % RECENT;

	w->recent[at].session = session;
	w->recent[at].va = va;
	w->recent[at].len = len;
	w->recent[at].name = *name ? name_get(w, name) : NULL;
}

const char *wheres_find(const struct wheres *w, uint64_t session, uint64_t va)
{
	for (unsigned int i = 1; i <= RECENT; i++) {
		unsigned int at = (w->at - i) % RECENT;

		if (w->recent[at].session == session && va - w->recent[at].va < w->recent[at].len)
			return w->recent[at].name;
	}
	return NULL;
}

uint64_t wheres_bytes(const struct wheres *w)
{
	return sizeof(*w) + w->bytes;
}
