/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every format against the model: tables at random, then addresses at random, most of them near what is mapped. The
 * seeds are fixed: a failure repeats. At the end each kind of fault has been seen at each level that has it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "guest.h"

#define ROUNDS	30
#define PUTS	80
#define QUERIES 300

struct tally {
	unsigned int leaves, groups, faults[WALK_BUSY + 1];
};
static struct tally tally[WALK_FORMATS][WALK_LEVELS_MAX];

static uint64_t iova_pick(struct guest *g)
{
	unsigned int bits = g->cfg.input_bits;
	uint64_t iova = guest_random(g, 0);
	struct node *n;

	if (guest_random(g, 50) == 0)
		return iova;
	if (g->count && guest_random(g, 10)) {
		n = &g->nodes[guest_random(g, g->count)];
		iova = n->base + (guest_random(g, 0) & ((2ULL << (n->shift - 1)) - 1));
		/* The first and last byte, and those beside them. */
		if (guest_random(g, 4) == 0)
			iova = n->base + (guest_random(g, 2) << (n->shift - 1) << 1) - guest_random(g, 2);
	}
	if (bits == 64)
		return iova;
	iova &= (1ULL << bits) - 1;
	if ((g->cfg.format == WALK_X86 || g->cfg.format == WALK_RISCV) && iova >> (bits - 1))
		iova |= ~0ULL << bits;
	return iova;
}

static void tables_build(struct guest *g)
{
	for (unsigned int i = 0; i < PUTS; i++) {
		unsigned int level = guest_random(g, 2) ? 0 : guest_random(g, g->levels);

		guest_put(g, iova_pick(g), level, guest_random(g, 5) == 0, -1);
	}
}

static void query(struct guest *g)
{
	struct tally *t = tally[g->cfg.format];
	struct walk_result res;
	struct walk_fault_info fault;
	int access = guest_random(g, 16);

	if (guest_walk(g, iova_pick(g), access, &res, &fault))
		t[fault.level].faults[fault.kind]++;
	else
		t[res.level].leaves++;
	if (!res.size)
		return;
	if (res.size > 1ULL << guest_level_shift(g, res.level))
		t[res.level].groups++;
	/* What a result allows, the next walk allows too, and it needs no update. */
	assert_true(g->loads <= g->levels);
}

static void test_random(void **state)
{
	struct walk_config cfg;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (unsigned int nth = 0; guest_config(nth, round * 1000 + nth, &cfg); nth++) {
			struct guest *g = guest_new(&cfg, round * 7919 + nth);

			tables_build(g);
			for (unsigned int i = 0; i < QUERIES; i++)
				query(g);
			assert_memory_equal(g->bytes, g->expected, g->used);
			guest_free(g);
		}
	}
}

/* The rights of a result hold without another update: walking again for them changes nothing. */
static void test_prot_is_final(void **state)
{
	struct walk_config cfg;
	struct walk_result res, again;
	struct walk_fault_info fault;

	for (unsigned int nth = 0; guest_config(nth, nth, &cfg); nth++) {
		struct guest *g = guest_new(&cfg, nth);

		tables_build(g);
		for (unsigned int i = 0; i < QUERIES; i++) {
			uint64_t iova = iova_pick(g);
			int access = guest_random(g, 16);

			if (guest_walk(g, iova, access, &res, &fault))
				continue;
			assert_int_equal(guest_walk(g, iova, (res.prot & 7) | (access & WALK_PRIV), &again, &fault), 0);
			assert_memory_equal(&res, &again, sizeof(res));
			assert_int_equal(g->updates, 0);
		}
		guest_free(g);
	}
}

static void seen(enum walk_format_id format, enum walk_fault kind, unsigned int first, unsigned int last)
{
	for (unsigned int level = first; level <= last; level++)
		if (!tally[format][level].faults[kind])
			fail_msg("format %u: no fault %u at level %u", format, kind, level);
}

/* Runs after test_random. */
static void test_all_faults_seen(void **state)
{
	for (enum walk_format_id f = 0; f < WALK_FORMATS; f++) {
		seen(f, WALK_NOT_PRESENT, 0, f == WALK_ARM ? 3 : 4);
		seen(f, WALK_PERMISSION, 0, 1);
		if (f != WALK_ARM)
			seen(f, WALK_RESERVED, 0, 4);
		if (f != WALK_X86)
			seen(f, WALK_ADDRESS_SIZE, 0, f == WALK_ARM ? 3 : f == WALK_RISCV ? 2 : 3);
		assert_true(tally[f][0].leaves && tally[f][1].leaves);
	}
	seen(WALK_X86, WALK_PERMISSION, 2, 2);
	seen(WALK_ARM, WALK_PERMISSION, 2, 2);
	seen(WALK_RISCV, WALK_PERMISSION, 2, 4);
	seen(WALK_ARM, WALK_ACCESS_FLAG, 0, 2);
	seen(WALK_RISCV, WALK_ACCESS_FLAG, 0, 4);
	for (unsigned int level = 0; level <= 2; level++)
		assert_true(tally[WALK_ARM][level].groups);
	assert_true(tally[WALK_RISCV][0].groups);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_prot_is_final),
	    cmocka_unit_test(test_all_faults_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
