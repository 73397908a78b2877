/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/kin.h"

#include <stdlib.h>

#include "base/util.h"

#define CHILDREN 1024 /* the oldest is forgotten */
#define DEPTH	 16   /* generations */

struct child {
	uint64_t session, parent;
	uint32_t pid;
	bool alive, mapped;
};

struct kin {
	struct child child[CHILDREN];
	unsigned int next, alive;
};

struct kin *kin_new(void)
{
	return calloc(1, sizeof(struct kin));
}

void kin_free(struct kin *k)
{
	free(k);
}

static struct child *child_of(const struct kin *k, uint64_t session)
{
	for (unsigned int i = 0; session && i < CHILDREN; i++)
		if (k->child[i].session == session)
			return (struct child *)&k->child[i];
	return NULL;
}

void kin_born(struct kin *k, uint64_t session, uint64_t parent, uint32_t pid)
{
	struct child *c = &k->child[k->next];

	if (!session || session == parent || child_of(k, session))
		return;
	k->alive += !c->alive;
	*c = (struct child){.session = session, .parent = parent, .pid = pid, .alive = true};
	k->next = (k->next + 1) % CHILDREN;
}

void kin_ended(struct kin *k, uint64_t session)
{
	struct child *c = child_of(k, session);

	if (!c || !c->alive)
		return;
	c->alive = false;
	k->alive--;
}

bool kin_descends(const struct kin *k, uint64_t session, uint64_t from)
{
	const struct child *c = child_of(k, session);

	for (unsigned int i = 0; c && i < DEPTH; i++) {
		if (c->parent == from)
			return true;
		c = child_of(k, c->parent);
	}
	return false;
}

uint32_t kin_alive(const struct kin *k, uint64_t from)
{
	for (unsigned int i = 0; k->alive && i < CHILDREN; i++)
		if (k->child[i].alive && kin_descends(k, k->child[i].session, from))
			return k->child[i].pid;
	return 0;
}

bool kin_any(const struct kin *k)
{
	return k->alive;
}

void kin_mapped(struct kin *k, uint64_t session)
{
	struct child *c = k->alive ? child_of(k, session) : NULL;

	if (c)
		c->mapped = true;
}

bool kin_has_mapped(const struct kin *k, uint64_t session)
{
	const struct child *c = child_of(k, session);

	return c && c->mapped;
}
