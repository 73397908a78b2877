/* SPDX-License-Identifier: BSD-3-Clause */
/* The radix table: against its model with random programs (fixed seeds: a failure repeats), and out of memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "../engine/fail.h"
#include "base/util.h"
#include "iommu/iommu.h"
#include "iommu/table.h"
#include "table_model.h"

#define M2 (2ULL << 20)
#define G1 (1ULL << 30)

static const struct table_config config = {.leaf_shift = 12, .bits = 48, .pgsizes = 4096 | M2 | G1};

static bool fail_next(bool on)
{
	bool failed = fail_fired();

	fail_nth(on);
	return failed;
}

static void run_random(unsigned int programs, size_t size, bool (*fail)(bool on))
{
	static uint8_t program[20000];
	uint64_t seed = size;

	for (unsigned int i = 0; i < programs; i++) {
		for (size_t k = 0; k < size; k++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			program[k] = seed >> 40;
		}
		table_model_run(program, size, fail);
	}
}

static void test_random_short(void **state)
{
	run_random(3000, 500, fail_next);
}

static void test_random_long(void **state)
{
	run_random(30, 20000, fail_next);
}

static struct table_leaf leaf_at(struct table *t, uint64_t iova)
{
	struct table_leaf l = {};

	table_walk(t, iova, &l);
	return l;
}

/* Sizes come from the alignment of IOVA and length alone, and from what is allowed. */
static void test_leaf_sizes(void **state)
{
	struct table *t = table_new(&config);

	assert_int_equal(table_map(t, G1 - M2 - 4096, (char *)0x7f0000001000, G1 + 2 * M2, IOMMU_READ, true), 0);
	assert_int_equal(leaf_at(t, G1 - M2 - 1).size, 4096);
	assert_int_equal(leaf_at(t, G1 - 1).size, M2);
	assert_int_equal(leaf_at(t, G1).size, G1);
	assert_ptr_equal(leaf_at(t, G1).host, (char *)0x7f0000001000 + M2 + 4096);
	assert_int_equal(leaf_at(t, 2 * G1).size, 4096);
	assert_int_equal(leaf_at(t, 2 * G1 + M2 - 4096).size, 0);
	assert_int_equal(table_unmap(t, 0, 1ULL << 48), G1 + 2 * M2);
	assert_int_equal(table_map(t, 0, (char *)0x7f0000001000, M2, 0, false), 0);
	assert_int_equal(leaf_at(t, 0).size, 4096);
	assert_int_equal(leaf_at(t, 0).prot, 0);
	table_free(t);
}

/* A leaf that a read cuts is not lost by reading its halves. */
static void test_cut_leaf_stays_dirty(void **state)
{
	struct table *t = table_new(&config);
	uint64_t bits[8] = {};

	assert_int_equal(table_map(t, 0, (char *)0x7f0000000000, M2, IOMMU_WRITE, true), 0);
	table_set_dirty(t, 4096, 1);
	assert_int_equal(table_read_dirty_bitmap(t, 0, M2 / 2, true, 12, bits), M2 / 2);
	assert_int_equal(table_read_dirty_bitmap(t, M2 / 2, M2 / 2, true, 12, bits + 4), M2 / 2);
	for (unsigned int w = 0; w < 8; w++)
		assert_int_equal(bits[w], ~0ULL);
	assert_int_equal(table_read_dirty_bitmap(t, 0, M2, true, 12, bits), M2);
	assert_int_equal(table_read_dirty_bitmap(t, 0, M2, true, 12, bits), 0);
	table_free(t);
}

/* What was dirty does not come back when its memory, or its place, is used again. */
static void test_new_leaf_is_clean(void **state)
{
	struct table *t = table_new(&config);

	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(table_map(t, i * M2, (char *)0x7f0000000000, M2, IOMMU_WRITE, i % 2), 0);
		assert_false(leaf_at(t, i * M2).dirty);
		table_set_dirty(t, i * M2, M2);
		assert_true(leaf_at(t, i * M2).dirty);
		table_unmap(t, i * M2, M2);
		table_set_dirty(t, i * M2, M2);
		assert_int_equal(table_map(t, i * M2, (char *)0x7f0000000000, M2, IOMMU_WRITE, i % 2), 0);
		assert_false(leaf_at(t, i * M2).dirty);
		table_unmap(t, i * M2, M2);
	}
	table_free(t);
}

/* Memory goes back, but for a small stock: 16 GiB of 4 KiB leaves. */
static void test_memory_goes_back(void **state)
{
	struct table *t = table_new(&config);
	uint64_t before = table_memory(t).used;

	assert_int_equal(before, 4096);
	assert_int_equal(table_map(t, 0, (char *)0x7f0000000000, 16 * G1, IOMMU_READ, false), 0);
	assert_true(table_memory(t).used > 32 << 20);
	assert_true(table_memory(t).used < 33 << 20);
	assert_int_equal(table_unmap(t, 0, 16 * G1), 16 * G1);
	assert_int_equal(table_memory(t).used, before);
	assert_true(table_memory(t).reserved <= 6 << 20);
	table_free(t);
}

/* ---- out of memory: each allocation in turn ---- */

static void test_new_fails(void **state)
{
	struct table *t;
	unsigned int n = 0;

	do {
		fail_nth(++n);
		t = table_new(&config);
		assert_true(!t == fail_fired());
	} while (!t);
	fail_nth(0);
	assert_int_equal(n, 3);
	table_free(t);
}

/* Uses up the tables at hand: one leaf each, from G1 * 512 on. */
static void use_up(struct table *t)
{
	for (uint64_t iova = 512 * G1; table_memory(t).reserved > 3 * 4096; iova += M2)
		assert_int_equal(table_map(t, iova, (char *)iova, 4096, 0, false), 0);
}

/* A number that changes with any leaf. */
static uint64_t digest(struct table *t)
{
	uint64_t sum = 0, at = 0;
	struct table_leaf l;

	while (table_first(t, at, &l)) {
		sum =
		    (sum ^ l.iova ^ l.size ^ (uint64_t)l.host ^ l.prot ^ (uint64_t)l.dirty << 63) * 0x9e3779b97f4a7c15;
		at = l.iova + l.size;
	}
	return sum;
}

static int map_big(struct table *t)
{
	return table_map(t, 4096, (char *)0x7f0000000000, 3 * M2, IOMMU_READ, false);
}

static int split_big(struct table *t)
{
	return table_split(t, 64 * G1 + 5 * 4096);
}

static void try_failures(int (*op)(struct table *t))
{
	unsigned int n = 0;
	int r;

	do {
		struct table *t = table_new(&config);
		struct table_memory before;
		uint64_t sum;

		assert_int_equal(table_map(t, 64 * G1, (char *)0x7f0000000000, 4 * G1, IOMMU_READ, true), 0);
		table_set_dirty(t, 64 * G1, 1);
		use_up(t);
		sum = digest(t);
		before = table_memory(t);
		fail_nth(++n);
		r = op(t);
		assert_int_equal(r, fail_fired() ? -ENOMEM : 0);
		fail_nth(0);
		assert_true(!r == (sum != digest(t)));
		if (r) {
			struct table_memory after = table_memory(t);

			assert_memory_equal(&before, &after, sizeof(before));
			assert_int_equal(op(t), 0);
		}
		table_free(t);
	} while (r);
	assert_int_equal(n, 2);
}

static void test_map_fails(void **state)
{
	try_failures(map_big);
}

static void test_split_fails(void **state)
{
	try_failures(split_big);
}

/* More tables than there are addresses for: refused, not overflowed. */
static void test_too_large(void **state)
{
	struct table *t = table_new(&(struct table_config){.leaf_shift = 12, .bits = 64, .pgsizes = 4096});

	assert_int_equal(table_map(t, 4096, (char *)4096, 0 - 4096ULL, IOMMU_READ, true), -ENOMEM);
	assert_int_equal(digest(t), 0);
	assert_int_equal(table_memory(t).used, 4096);
	table_free(t);
}

static void test_unmap_needs_no_memory(void **state)
{
	struct table *t = table_new(&config);

	use_up(t);
	fail_all(true);
	assert_true(table_unmap(t, 0, 1ULL << 48) > 0);
	assert_int_equal(fail_attempts(), 0);
	fail_all(false);
	assert_int_equal(table_memory(t).used, 4096);
	table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random_short),
	    cmocka_unit_test(test_random_long),
	    cmocka_unit_test(test_leaf_sizes),
	    cmocka_unit_test(test_cut_leaf_stays_dirty),
	    cmocka_unit_test(test_new_leaf_is_clean),
	    cmocka_unit_test(test_memory_goes_back),
	    cmocka_unit_test(test_new_fails),
	    cmocka_unit_test(test_map_fails),
	    cmocka_unit_test(test_split_fails),
	    cmocka_unit_test(test_too_large),
	    cmocka_unit_test(test_unmap_needs_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
