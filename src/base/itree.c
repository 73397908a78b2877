/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/itree.h"
#include "base/util.h"

/*
 * Invariants, for every node n: all starts in child[0] are <= n->start <= all starts in child[1]; the heights of the
 * two children differ by one at most; n->max is the greatest last in the subtree; child->parent == n.
 */

static int height(const struct itree_node *n)
{
	return n ? n->height : 0;
}

static void node_update(struct itree_node *n)
{
	uint64_t max = n->last;

	for (int i = 0; i < 2; i++)
		if (n->child[i] && n->child[i]->max > max)
			max = n->child[i]->max;
	n->max = max;
	n->height = 1 + MAX(height(n->child[0]), height(n->child[1]));
}

/* Puts n (or nothing) where old hangs. old keeps its own pointers. */
static void node_replace(struct itree *t, const struct itree_node *old, struct itree_node *n)
{
	struct itree_node *p = old->parent;

	if (!p)
		t->root = n;
	else
		p->child[p->child[1] == old] = n;
	if (n)
		n->parent = p;
}

/* Lifts n's child on side dir above n; returns it. */
static struct itree_node *node_rotate(struct itree *t, struct itree_node *n, int dir)
{
	struct itree_node *c = n->child[dir];
	struct itree_node *inner = c->child[!dir];

	node_replace(t, n, c);
	c->child[!dir] = n;
	n->parent = c;
	n->child[dir] = inner;
	if (inner)
		inner->parent = n;
	node_update(n);
	node_update(c);
	return c;
}

/* Restores max, height and balance from n up to the root. */
static void tree_repair(struct itree *t, struct itree_node *n)
{
	for (; n; n = n->parent) {
		int lean = height(n->child[1]) - height(n->child[0]);

		if (lean < -1 || lean > 1) {
			int heavy = lean > 0;
			struct itree_node *c = n->child[heavy];

			if (height(c->child[!heavy]) > height(c->child[heavy]))
				node_rotate(t, c, !heavy);
			n = node_rotate(t, n, heavy);
		} else {
			uint64_t max = n->max;
			int h = n->height;

			node_update(n);
			if (n->max == max && n->height == h)
				return;
		}
	}
}

void itree_insert(struct itree *t, struct itree_node *n)
{
	struct itree_node **at = &t->root, *parent = NULL;

	while (*at) {
		parent = *at;
		at = &parent->child[n->start >= parent->start];
	}
	n->child[0] = n->child[1] = NULL;
	n->parent = parent;
	n->max = n->last;
	n->height = 1;
	*at = n;
	tree_repair(t, parent);
}

void itree_remove(struct itree *t, struct itree_node *n)
{
	struct itree_node *fix; /* the deepest node whose subtree has changed */

	if (n->child[0] && n->child[1]) {
		struct itree_node *s = n->child[1];

		while (s->child[0])
			s = s->child[0];
		fix = s->parent == n ? s : s->parent;
		node_replace(t, s, s->child[1]);
		node_replace(t, n, s);
		for (int i = 0; i < 2; i++) {
			s->child[i] = n->child[i];
			if (s->child[i])
				s->child[i]->parent = s;
		}
		/* What the nodes above believe of this subtree, so that the repair sees what differs and goes on up. */
		s->height = n->height;
		s->max = n->max;
		tree_repair(t, fix);
		tree_repair(t, s); /* the first may have been satisfied below s */
	} else {
		fix = n->parent;
		node_replace(t, n, n->child[n->child[0] == NULL]);
		tree_repair(t, fix);
	}
}

/* The first meeting node within n's subtree, which is known to hold a last >= first. */
static struct itree_node *subtree_first(struct itree_node *n, uint64_t first, uint64_t last)
{
	for (;;) {
		struct itree_node *l = n->child[0], *r = n->child[1];

		/* If any node of the left subtree ends late enough, either one there meets the range or all that end
		 * late enough start after it, and then so does everything to the right. */
		if (l && l->max >= first) {
			n = l;
			continue;
		}
		if (n->start > last)
			return NULL;
		if (n->last >= first)
			return n;
		if (!r || r->max < first)
			return NULL;
		n = r;
	}
}

struct itree_node *itree_first(const struct itree *t, uint64_t first, uint64_t last)
{
	if (!t->root || t->root->max < first)
		return NULL;
	return subtree_first(t->root, first, last);
}

struct itree_node *itree_next(const struct itree_node *n, uint64_t first, uint64_t last)
{
	struct itree_node *r = n->child[1];

	for (;;) {
		const struct itree_node *from;

		if (r && r->max >= first)
			return subtree_first(r, first, last);
		do {
			from = n;
			n = n->parent;
			if (!n)
				return NULL;
		} while (n->child[1] == from);
		if (n->start > last)
			return NULL;
		if (n->last >= first)
			return (struct itree_node *)n;
		r = n->child[1];
	}
}
