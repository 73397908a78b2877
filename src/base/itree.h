/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An intrusive interval tree: nodes are inclusive ranges of u64, ordered by start, and "which of them meet [first,
 * last]" is answered in O(log n) each. Ranges may overlap, and equal ranges may stand side by side.
 *
 * It is an AVL tree, so its depth is at most 1.45 log2(n) whatever order a client inserts in, and every walk is a loop:
 * no input makes the stack grow.
 */
#ifndef PINFOLD_BASE_ITREE_H
#define PINFOLD_BASE_ITREE_H

#include <stdbool.h>
#include <stdint.h>

struct itree_node {
	uint64_t start, last; /* set by the owner before insertion, constant while in the tree; start <= last */
	struct itree_node *child[2];
	struct itree_node *parent;
	uint64_t max; /* the greatest last in this subtree */
	int height;   /* of this subtree; a leaf has 1 */
};

struct itree {
	struct itree_node *root;
};

static inline void itree_init(struct itree *t)
{
	t->root = 0;
}

static inline bool itree_empty(const struct itree *t)
{
	return !t->root;
}

void itree_insert(struct itree *t, struct itree_node *n);
void itree_remove(struct itree *t, struct itree_node *n);

/* The node with the least start among those that meet [first, last]; NULL if none does. */
struct itree_node *itree_first(const struct itree *t, uint64_t first, uint64_t last);
/* The one after n in that order. n is in the tree; it need not itself meet the range. */
struct itree_node *itree_next(const struct itree_node *n, uint64_t first, uint64_t last);

/* The node that holds point, in a tree whose ranges are disjoint: half the memory touched that itree_first needs. */
static inline struct itree_node *itree_find_disjoint(const struct itree *t, uint64_t point)
{
	struct itree_node *n = t->root;

	while (n && (point < n->start || point > n->last))
		n = n->child[point > n->last];
	return n;
}

#endif
