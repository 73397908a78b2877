/* SPDX-License-Identifier: BSD-3-Clause */
/* The interval tree against an unsorted array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "base/itree.h"
#include "base/util.h"

enum { N = 300 };

struct item {
	struct itree_node node;
	bool in;
};

static struct item items[N];
static struct itree tree;
static uint64_t seed = 1;

static uint64_t rnd(uint64_t below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 33) % below;
}

/* Checks every invariant of the subtree; the test itself may recurse. Returns the height. */
static int check_subtree(const struct itree_node *n, const struct itree_node *parent, unsigned int *count)
{
	uint64_t max;
	int h[2];

	if (!n)
		return 0;
	assert_ptr_equal(n->parent, parent);
	max = n->last;
	for (int i = 0; i < 2; i++) {
		const struct itree_node *c = n->child[i];

		h[i] = check_subtree(c, n, count);
		if (!c)
			continue;
		assert_true(i ? c->start >= n->start : c->start <= n->start);
		max = MAX(max, c->max);
	}
	assert_int_equal(n->max, max);
	assert_int_equal(n->height, 1 + MAX(h[0], h[1]));
	assert_true(abs(h[0] - h[1]) <= 1);
	++*count;
	return n->height;
}

static void check_tree(unsigned int expected)
{
	unsigned int count = 0;

	check_subtree(tree.root, NULL, &count);
	assert_int_equal(count, expected);
}

/* What meets [first, last] comes in order of start, each once. */
static void check_query(uint64_t first, uint64_t last)
{
	unsigned int expected = 0, got = 0;
	uint64_t prev = 0;

	for (int i = 0; i < N; i++)
		expected += items[i].in && items[i].node.start <= last && items[i].node.last >= first;
	for (struct itree_node *n = itree_first(&tree, first, last); n; n = itree_next(n, first, last)) {
		assert_true(n->start <= last && n->last >= first);
		assert_true(n->start >= prev);
		prev = n->start;
		assert_true(++got <= expected);
	}
	assert_int_equal(got, expected);
}

static void test_random(void **state)
{
	unsigned int count = 0;

	for (int step = 0; step < 60000; step++) {
		struct item *it = &items[rnd(N)];
		uint64_t first = rnd(4096), last = first + rnd(64);

		if (it->in) {
			itree_remove(&tree, &it->node);
			count--;
		} else {
			bool high = rnd(20) == 0;

			it->node.start = high ? UINT64_MAX - rnd(100) : rnd(4096);
			it->node.last = high ? UINT64_MAX : it->node.start + rnd(rnd(10) ? 50 : 3000);
			itree_insert(&tree, &it->node);
			count++;
		}
		it->in = !it->in;
		if (step % 16 == 0)
			check_tree(count);
		check_query(first, last);
		if (step % 64 == 0) {
			check_query(0, UINT64_MAX);
			check_query(UINT64_MAX, UINT64_MAX);
		}
	}
	for (int i = 0; i < N; i++)
		if (items[i].in)
			itree_remove(&tree, &items[i].node);
	assert_true(itree_empty(&tree));
}

/* Sorted input, the worst order for a plain tree, both ways; and the lookup for disjoint ranges. */
static void test_sorted(void **state)
{
	enum { M = 1 << 14 };
	struct itree_node *n = calloc(M, sizeof(*n));

	assert_non_null(n);
	for (int down = 0; down < 2; down++) {
		for (int i = 0; i < M; i++) {
			struct itree_node *x = &n[down ? M - 1 - i : i];

			x->start = (x - n) * 4;
			x->last = x->start + 1;
			itree_insert(&tree, x);
		}
		check_tree(M);
		assert_true(tree.root->height <= 20); /* 1.44 * log2(M) */
		for (uint64_t a = 0; a < 4 * M; a++)
			assert_ptr_equal(itree_find_disjoint(&tree, a), a % 4 < 2 ? &n[a / 4] : NULL);
		for (int i = 0; i < M; i++)
			itree_remove(&tree, &n[i]);
		assert_true(itree_empty(&tree));
	}
	free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
