/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guests that mean harm: tables that lie elsewhere, that cannot be written, that lead to themselves, that change
 * between one access and the next. A walk ends within its bound, uses what it loaded once, and blames the right level.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "guest.h"

#define SPOT 0x1234ULL /* every configuration has it */

#define OPEN (RIGHT_READ | RIGHT_WRITE | RIGHT_USER | RIGHT_EXEC | RIGHT_PEXEC)

static bool updates(const struct walk_config *cfg)
{
	return cfg->flags & WALK_UPDATE_ACCESSED;
}

/* A guest with one page at SPOT, whose tables and leaf have these bits. NULL: no more configurations. */
static struct guest *one_page(unsigned int nth, unsigned int seed, int bits)
{
	struct walk_config cfg;
	struct guest *g;
	struct node *n;

	if (!guest_config(nth, seed, &cfg))
		return NULL;
	cfg.flags &= ~WALK_NAPOT;
	g = guest_new(&cfg, seed);
	do {
		g->count = 0;
		n = guest_put(g, SPOT & ~0xfffULL, 0, false, bits);
		assert_non_null(n);
	} while (n->grouped);
	return g;
}

static int quiet_walk(struct guest *g, int access, struct walk_result *res, struct walk_fault_info *fault)
{
	g->loads = g->updates = 0;
	return walk(&g->cfg, &g->mem, SPOT, access, res, fault);
}

static int load_fails(struct guest *g, uint64_t addr)
{
	return g->loads == g->hook_arg ? -EIO : 0;
}

static void test_table_unreadable(void **state)
{
	struct walk_result res;
	struct walk_fault_info fault;
	struct guest *g;

	for (unsigned int nth = 0; (g = one_page(nth, nth, OPEN | STATE_ACCESSED)); nth++) {
		g->on_load = load_fails;
		for (g->hook_arg = 1; g->hook_arg <= g->levels; g->hook_arg++) {
			unsigned int level = g->levels - g->hook_arg;
			struct node *n = guest_find(g, SPOT, level);

			assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), -EFAULT);
			assert_int_equal(fault.kind, WALK_TABLE);
			assert_int_equal(fault.level, level);
			assert_true(fault.entry_addr == n->entry_addr);
			assert_int_equal(g->loads, g->hook_arg);
		}
		assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), 0);
		guest_free(g);
	}
}

/* Each level's entry in turn leads out of the guest's memory. */
static void test_table_elsewhere(void **state)
{
	struct walk_result res;
	struct walk_fault_info fault;
	struct guest *g;

	for (unsigned int nth = 0; (g = one_page(nth, nth, OPEN | STATE_ALL)); nth++) {
		uint64_t wrong[] = {0, GUEST_BASE - 0x10000, GUEST_BASE + GUEST_SIZE, 0xffff0000};

		for (unsigned int level = 1; level < g->levels; level++) {
			struct node *n = guest_find(g, SPOT, level), bent = *n;

			for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
				bent.out = wrong[i];
				guest_store(g, n->entry_addr, encode_table(g, &bent));
				assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), -EFAULT);
				assert_int_equal(fault.kind, WALK_TABLE);
				assert_int_equal(fault.level, level - 1);
				assert_true((fault.entry_addr & ~0xffffULL) == wrong[i]);
			}
			guest_store(g, n->entry_addr, encode_table(g, n));
		}
		assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), 0);
		guest_free(g);
	}
}

static int update_refused(struct guest *g, uint64_t addr)
{
	return -EFAULT;
}

static int update_loses(struct guest *g, uint64_t addr)
{
	return -EAGAIN;
}

static void update_fails(int (*hook)(struct guest *, uint64_t), enum walk_fault kind)
{
	struct walk_result res;
	struct walk_fault_info fault;
	struct guest *g;

	for (unsigned int seed = 0; seed < 8; seed++) {
		for (unsigned int nth = 0; (g = one_page(nth, seed, OPEN)); nth++) {
			unsigned int level = g->cfg.format == WALK_X86 ? g->levels - 1 : 0;

			g->on_update = hook;
			/* x86 sets a bit at each level: those above are set already. */
			for (; updates(&g->cfg) && level < g->levels; level--) {
				struct node *n = guest_find(g, SPOT, level);
				uint64_t before = guest_fetch(g, n->entry_addr);

				assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), -EFAULT);
				assert_int_equal(fault.kind, kind);
				assert_int_equal(fault.level, level);
				assert_true(fault.entry_addr == n->entry_addr);
				assert_true(guest_fetch(g, n->entry_addr) == before);
				assert_int_equal(g->updates, kind == WALK_BUSY ? WALK_TRIES : 1);
				assert_int_equal(g->loads, g->levels - 1 - level + g->updates);
				n->bits |= STATE_ACCESSED;
				guest_store(g, n->entry_addr, encode_leaf(g, n, 0));
			}
			guest_free(g);
		}
	}
}

static void test_update_refused(void **state)
{
	update_fails(update_refused, WALK_TABLE);
}

static void test_update_always_loses(void **state)
{
	update_fails(update_loses, WALK_BUSY);
}

/* Every entry that the walk has used already becomes something else. */
static int scramble_above(struct guest *g, uint64_t addr)
{
	unsigned int loading = g->levels - g->loads;

	for (unsigned int level = loading + 1; level < g->levels; level++)
		*guest_entry(g, guest_find(g, SPOT, level)->entry_addr) = guest_random(g, 0);
	return 0;
}

/* An entry is loaded once: what happens to it once it is used changes nothing. */
static void test_entries_loaded_once(void **state)
{
	struct walk_result res, still;
	struct walk_fault_info fault;
	struct guest *g;

	for (unsigned int nth = 0; (g = one_page(nth, nth, OPEN | STATE_ALL)); nth++) {
		assert_int_equal(quiet_walk(g, IOMMU_READ, &still, &fault), 0);
		assert_int_equal(g->loads, g->levels);
		assert_int_equal(g->updates, 0);
		g->on_load = scramble_above;
		assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), 0);
		assert_memory_equal(&res, &still, sizeof(res));
		assert_int_equal(g->loads, g->levels);
		guest_free(g);
	}
}

/* One bit of some entry on the way changes before each load and each update. */
static int flip_some(struct guest *g, uint64_t addr)
{
	unsigned int level = guest_random(g, g->levels);

	*guest_entry(g, guest_find(g, SPOT, level)->entry_addr) ^= 1ULL << guest_random(g, 64);
	return 0;
}

static void test_always_changing(void **state)
{
	struct walk_result res;
	struct walk_fault_info fault;
	struct guest *g;

	for (unsigned int nth = 0; (g = one_page(nth, nth, OPEN)); nth++) {
		for (unsigned int i = 0; i < 3000; i++) {
			if (i % 16 == 0)
				memcpy(g->bytes, g->expected, g->used);
			g->on_load = g->on_update = flip_some;
			quiet_walk(g, guest_random(g, 16), &res, &fault);
			assert_true(g->loads <= WALK_LOADS_MAX);
		}
		guest_free(g);
	}
}

static struct node *raced;

/* Between load and update the guest puts something else there, once. */
static int swap_entry(struct guest *g, uint64_t addr)
{
	if (raced && raced->entry_addr == addr) {
		guest_store(g, addr, encode_leaf(g, raced, 0));
		raced = NULL;
	}
	return 0;
}

static void test_update_race(void **state)
{
	struct walk_result res;
	struct walk_fault_info fault;
	struct guest *g;

	for (unsigned int seed = 0; seed < 8; seed++) {
		for (unsigned int nth = 0; (g = one_page(nth, seed, OPEN)); nth++) {
			struct node *leaf = guest_find(g, SPOT, 0);
			uint64_t size = 1ULL << leaf->shift;

			if (!updates(&g->cfg)) {
				guest_free(g);
				continue;
			}
			leaf->out ^= size; /* the page moved */
			raced = leaf;
			g->on_update = swap_entry;
			assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), 0);
			assert_null(raced);
			assert_true(res.addr == leaf->out + (SPOT & (size - 1)));
			/* What stands there is the new page, accessed; the old one is not back. */
			leaf->bits |= STATE_ACCESSED;
			assert_true(guest_fetch(g, leaf->entry_addr) == encode_leaf(g, leaf, 0));
			guest_free(g);
		}
	}
}

static int entry_vanishes(struct guest *g, uint64_t addr)
{
	*guest_entry(g, addr) = 0;
	return 0;
}

static void test_entry_vanishes(void **state)
{
	struct walk_result res;
	struct walk_fault_info fault;
	struct guest *g;

	for (unsigned int nth = 0; (g = one_page(nth, 3 * nth, OPEN)); nth++) {
		if (updates(&g->cfg)) {
			unsigned int level = g->cfg.format == WALK_X86 ? g->levels - 1 : 0;
			struct node *n = guest_find(g, SPOT, level);

			g->on_update = entry_vanishes;
			assert_int_equal(quiet_walk(g, IOMMU_READ, &res, &fault), -EFAULT);
			assert_int_equal(fault.kind, WALK_NOT_PRESENT);
			assert_int_equal(fault.level, level);
			assert_true(*guest_entry(g, n->entry_addr) == 0);
		}
		guest_free(g);
	}
}

/* A table whose every entry leads back to it. */
static void test_self_reference(void **state)
{
	struct walk_config cfg;
	struct walk_result res;
	struct walk_fault_info fault;

	for (unsigned int nth = 0; guest_config(nth, nth, &cfg); nth++) {
		struct guest *g = guest_new(&cfg, nth);
		struct node self = {.kind = NODE_TABLE, .bits = RIGHT_ALL, .last = 3, .out = g->cfg.root};

		for (unsigned int level = 0; level < g->levels; level++) {
			self.level = level ? level : 1;
			for (uint64_t i = 0; i < g->used; i += 8)
				guest_store(g, GUEST_BASE + i, encode_table(g, &self));
			for (unsigned int access = 0; access < 16; access++) {
				quiet_walk(g, access, &res, &fault);
				assert_true(g->loads <= WALK_LOADS_MAX);
			}
		}
		guest_free(g);
	}
}

/* Memory of nothing but chance, entries pointing into it more often than not. */
static void test_chaos(void **state)
{
	struct walk_config cfg;
	struct walk_result res;
	struct walk_fault_info fault;

	for (unsigned int nth = 0; guest_config(nth, 77 * nth, &cfg); nth++) {
		struct guest *g = guest_new(&cfg, nth);

		for (uint64_t i = 0; i < GUEST_SIZE / 8; i++) {
			uint64_t entry = guest_random(g, 0);

			if (i % 8)
				entry = (entry & 0xfff) | (GUEST_BASE + (entry >> 12) % GUEST_SIZE / 4096 * 4096);
			((uint64_t *)g->bytes)[i] = entry;
		}
		for (unsigned int i = 0; i < 3000; i++) {
			uint64_t iova = guest_random(g, 0);
			int r;

			if (cfg.input_bits < 64)
				iova &= (1ULL << (cfg.input_bits - 1)) - 1;
			g->loads = 0;
			res.size = 0;
			fault.kind = WALK_OK;
			r = walk(&g->cfg, &g->mem, iova, guest_random(g, 16), &res, &fault);
			assert_true(r == 0 || r == -EFAULT);
			assert_true((r == 0) == (fault.kind == WALK_OK) && (r == 0) == (res.size != 0));
			assert_true(g->loads <= WALK_LOADS_MAX);
			if (r)
				continue;
			assert_true((res.size & (res.size - 1)) == 0 && ((res.addr ^ iova) & (res.size - 1)) == 0);
			assert_true(cfg.output_bits == 64 || res.addr >> cfg.output_bits == 0);
		}
		guest_free(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table_unreadable),	cmocka_unit_test(test_table_elsewhere),
	    cmocka_unit_test(test_update_refused),	cmocka_unit_test(test_update_always_loses),
	    cmocka_unit_test(test_entries_loaded_once), cmocka_unit_test(test_always_changing),
	    cmocka_unit_test(test_update_race),		cmocka_unit_test(test_entry_vanishes),
	    cmocka_unit_test(test_self_reference),	cmocka_unit_test(test_chaos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
