/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables written out by hand from the manuals, entry by entry, with what they translate to: the builder and the walkers
 * could share a misreading of a bit, these could not.
 */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "iommu/walk.h"

#define ENTRIES 6
#define R	IOMMU_READ
#define W	IOMMU_WRITE
#define X	WALK_EXEC
#define P	WALK_PRIV

struct known {
	const char *name;
	struct walk_config cfg;
	struct {
		uint64_t addr, entry;
	} entries[ENTRIES];
	uint64_t iova;
	int access;
	enum walk_fault fault;
	struct walk_result res; /* of a fault: level and, as addr, the entry's address */
	uint64_t after;		/* what the last entry that was read holds then */
};

#define AD (WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY)

static const struct known known[] = {
    /* 0x123456789abc: PML4 0x24, PDPT 0xd1, PD 0xb3, PT 0x189, offset 0xabc. */
    {"x86 page, user, writable",
     {WALK_X86, 48, 46, 12, AD, 0x1000},
     {{0x1120, 0x2027}, {0x2688, 0x3027}, {0x3598, 0x4027}, {0x4c48, 0x87654007}},
     0x123456789abc,
     R | W,
     WALK_OK,
     {0x87654abc, 0x1000, R | W | X, 0},
     0x87654067},
    {"x86 page, clean: not writable without a walk",
     {WALK_X86, 48, 46, 12, AD, 0x1000},
     {{0x1120, 0x2027}, {0x2688, 0x3027}, {0x3598, 0x4027}, {0x4c48, 0x87654027}},
     0x123456789abc,
     R,
     WALK_OK,
     {0x87654abc, 0x1000, R | X, 0},
     0x87654027},
    {"x86 2M page, no execute",
     {WALK_X86, 48, 46, 12, WALK_NO_EXECUTE, 0x1000},
     {{0x1120, 0x2007}, {0x2688, 0x3007}, {0x3598, 0x80000000802000e7}},
     0x123456789abc,
     R,
     WALK_OK,
     {0x80389abc, 0x200000, R | W, 1},
     0x80000000802000e7},
    {"x86 1G page, read-only above",
     {WALK_X86, 48, 46, 12, WALK_HUGE, 0x1000},
     {{0x1120, 0x2005}, {0x2688, 0x400000e7}},
     0x123456789abc,
     W,
     WALK_PERMISSION,
     {0x2688, 0, 0, 2},
     0x400000e7},
    {"x86 1G page where there are none",
     {WALK_X86, 48, 46, 12, 0, 0x1000},
     {{0x1120, 0x2007}, {0x2688, 0x400000e7}},
     0x123456789abc,
     R,
     WALK_RESERVED,
     {0x2688, 0, 0, 2},
     0x400000e7},
    {"x86 5 levels, upper half",
     {WALK_X86, 57, 46, 12, 0, 0x1000},
     {{0x1ff8, 0x2007}, {0x2ff8, 0x3007}, {0x3ff8, 0x4007}, {0x4ff8, 0x5007}, {0x5ff8, 0x6003}},
     0xffffffffffffffff,
     R | P,
     WALK_OK,
     {0x6fff, 0x1000, R | W | X | P, 0},
     0x6003},
    {"x86 hole in the addresses",
     {WALK_X86, 48, 46, 12, 0, 0x1000},
     {{0x1000, 0}},
     0x800000000000,
     R,
     WALK_ADDRESS_SIZE,
     {0, 0, 0, 3},
     0},
    {"x86 supervisor page",
     {WALK_X86, 48, 46, 12, 0, 0x1000},
     {{0x1000, 0x2007}, {0x2000, 0x3007}, {0x3000, 0x4007}, {0x4000, 0x5003}},
     0,
     R,
     WALK_PERMISSION,
     {0x4000, 0, 0, 0},
     0x5003},

    /* The same address: level 0 index 0x24, 1 0xd1, 2 0xb3, 3 0x189. */
    {"Arm 4K page",
     {WALK_ARM, 48, 48, 12, 0, 0x1000},
     {{0x1120, 0x2003}, {0x2688, 0x3003}, {0x3598, 0x4003}, {0x4c48, 0x20000087654f43}},
     0x123456789abc,
     R | W,
     WALK_OK,
     {0x87654abc, 0x1000, R | W | X, 0},
     0x20000087654f43},
    {"Arm dirty state: the write clears AP[2]",
     {WALK_ARM, 48, 48, 12, AD, 0x1000},
     {{0x1120, 0x2003}, {0x2688, 0x3003}, {0x3598, 0x4003}, {0x4c48, 0x680000876540c3}},
     0x123456789abc,
     W,
     WALK_OK,
     {0x87654abc, 0x1000, R | W, 0},
     0x68000087654443},
    {"Arm access flag",
     {WALK_ARM, 48, 48, 12, 0, 0x1000},
     {{0x1120, 0x2003}, {0x2688, 0x3003}, {0x3598, 0x4003}, {0x4c48, 0x87654043}},
     0x123456789abc,
     R,
     WALK_ACCESS_FLAG,
     {0x4c48, 0, 0, 0},
     0x87654043},
    {"Arm 2M block, 39 bits, a table that lets nobody write",
     {WALK_ARM, 39, 40, 12, 0, 0x1000},
     {{0x1688, 0x4000000040000003}, {0x40000598, 0x80200441}},
     0x3456789abc,
     W,
     WALK_PERMISSION,
     {0x40000598, 0, 0, 1},
     0x80200441},
    {"Arm 64K page",
     {WALK_ARM, 42, 48, 16, 0, 0x10000},
     {{0x18d10, 0x20003}, {0x2b3c0, 0x87650443}},
     0x23456789abc,
     R,
     WALK_OK,
     {0x87659abc, 0x10000, R | W | X, 0},
     0x87650443},
    {"Arm 64K page, 52 bits: [51:48] stand in [15:12]",
     {WALK_ARM, 29, 52, 16, 0, 0x10000},
     {{0x10008, 0x12345678b443}},
     0x1abcd,
     R,
     WALK_OK,
     {0xb12345678abcd, 0x10000, R | W | X, 0},
     0x12345678b443},
    {"Arm contiguous 64K",
     {WALK_ARM, 21, 48, 12, 0, 0x1000},
     {{0x10a8, 0x10000087655443}},
     0x15678,
     R,
     WALK_OK,
     {0x87655678, 0x10000, R | W | X, 0},
     0x10000087655443},
    {"Arm contiguous, but this entry is of another set: only it counts",
     {WALK_ARM, 21, 48, 12, 0, 0x1000},
     {{0x10a8, 0x10000087656443}},
     0x15678,
     R,
     WALK_OK,
     {0x87656678, 0x1000, R | W | X, 0},
     0x10000087656443},
    {"Arm contiguous, but the set is larger than the input",
     {WALK_ARM, 16, 48, 14, 0, 0x4000},
     {{0x4008, 0x10000087604443}},
     0x5678,
     R,
     WALK_OK,
     {0x87605678, 0x4000, R | W | X, 0},
     0x10000087604443},
    {"Arm 4T block: there are no sets of these",
     {WALK_ARM, 52, 52, 16, 0, 0x10000},
     {{0x10008, 0x10040000000441}},
     0x40000001234,
     R,
     WALK_OK,
     {0x40000001234, 1ULL << 42, R | W | X, 2},
     0x10040000000441},
    {"Arm root, aligned to the table",
     {WALK_ARM, 48, 48, 12, 0, 0x1ff8},
     {{0x1120, 0x2003}, {0x2688, 0x3003}, {0x3598, 0x4003}, {0x4c48, 0x20000087654f43}},
     0x123456789abc,
     R | W,
     WALK_OK,
     {0x87654abc, 0x1000, R | W | X, 0},
     0x20000087654f43},
    {"Arm top of the range",
     {WALK_ARM, 39, 48, 12, 0, 0x1000},
     {{0x1000, 0}},
     1ULL << 39,
     R,
     WALK_ADDRESS_SIZE,
     {0, 0, 0, 2},
     0},

    /* 0x3456789abc: VPN[2] 0xd1, VPN[1] 0xb3, VPN[0] 0x189. */
    {"RISC-V Sv39 page",
     {WALK_RISCV, 39, 56, 12, 0, 0x1000},
     {{0x1688, 0x801}, {0x2598, 0xc01}, {0x3c48, 0x21d950d7}},
     0x3456789abc,
     R | W,
     WALK_OK,
     {0x87654abc, 0x1000, R | W, 0},
     0x21d950d7},
    {"RISC-V gigapage, Svadu",
     {WALK_RISCV, 39, 56, 12, AD, 0x1000},
     {{0x1688, 0x2000001f}},
     0x3456789abc,
     R,
     WALK_OK,
     {0x96789abc, 0x40000000, R | X, 2},
     0x2000005f},
    {"RISC-V megapage, misaligned",
     {WALK_RISCV, 39, 56, 12, 0, 0x1000},
     {{0x1688, 0x801}, {0x2598, 0x200004df}},
     0x3456789abc,
     R,
     WALK_RESERVED,
     {0x2598, 0, 0, 1},
     0x200004df},
    {"RISC-V Svnapot",
     {WALK_RISCV, 39, 56, 12, WALK_NAPOT, 0x1000},
     {{0x1688, 0x801}, {0x2598, 0xc01}, {0x3c48, 0x8000000021d960d7}},
     0x3456789abc,
     R,
     WALK_OK,
     {0x87659abc, 0x10000, R | W, 0},
     0x8000000021d960d7},
    {"RISC-V Svade",
     {WALK_RISCV, 39, 56, 12, 0, 0x1000},
     {{0x1688, 0x801}, {0x2598, 0xc01}, {0x3c48, 0x21d95057}},
     0x3456789abc,
     W,
     WALK_ACCESS_FLAG,
     {0x3c48, 0, 0, 0},
     0x21d95057},
    {"RISC-V Sv48, top page, supervisor",
     {WALK_RISCV, 48, 56, 12, 0, 0x1000},
     {{0x1ff8, 0x801}, {0x2ff8, 0xc01}, {0x3ff8, 0x1001}, {0x4ff8, 0x14cf}},
     0xfffffffffffff123,
     R | P,
     WALK_OK,
     {0x5123, 0x1000, R | W | X | P, 0},
     0x14cf},

    {"RISC-V Sv57, a page larger than all addresses",
     {WALK_RISCV, 57, 46, 12, 0, 0x1000},
     {{0x1000, 0xdf}},
     0x123456789abc,
     R,
     WALK_OK,
     {0x123456789abc, 1ULL << 46, R | W | X, 4},
     0xdf},
    {"RISC-V Sv57, the same, where there are none",
     {WALK_RISCV, 57, 46, 12, 0, 0x1000},
     {{0x1000, 0xdf}},
     0x423456789abc,
     R,
     WALK_ADDRESS_SIZE,
     {0x1000, 0, 0, 4},
     0xdf},

    /* 0x23456789abc: region-third index 0x468, segment 0x567, page 0x89. */
    {"s390 region-third table, page",
     {WALK_S390, 42, 64, 12, 0, 0x4000},
     {{0x6340, 0x8007}, {0xab38, 0x10000}, {0x10448, 0x87654000}},
     0x23456789abc,
     R | W,
     WALK_OK,
     {0x87654abc, 0x1000, R | W | X, 0},
     0x87654000},
    {"s390 page, protected",
     {WALK_S390, 42, 64, 12, 0, 0x4000},
     {{0x6340, 0x8007}, {0xab38, 0x10000}, {0x10448, 0x87654200}},
     0x23456789abc,
     W,
     WALK_PERMISSION,
     {0x10448, 0, 0, 0},
     0x87654200},
    {"s390 segment frame",
     {WALK_S390, 31, 64, 12, WALK_HUGE, 0x8000},
     {{0xab38, 0x87600400}},
     0x56789abc,
     R | W,
     WALK_OK,
     {0x87689abc, 0x100000, R | W | X, 1},
     0x87600400},
    {"s390 region-first table, wrong type",
     {WALK_S390, 64, 64, 12, 0, 0x4000},
     {{0x4000, 0xc00b}},
     0,
     R,
     WALK_RESERVED,
     {0x4000, 0, 0, 4},
     0xc00b},
    {"s390 short segment table: index 0x567 is in its third quarter, it has two",
     {WALK_S390, 42, 64, 12, 0, 0x4000},
     {{0x6340, 0x8005}, {0xab38, 0x10000}},
     0x23456789abc,
     R,
     WALK_NOT_PRESENT,
     {0xab38, 0, 0, 1},
     0x8005},
    {"s390 segment table that begins with its fourth quarter",
     {WALK_S390, 42, 64, 12, 0, 0x4000},
     {{0x6340, 0x80c7}, {0xab38, 0x10000}, {0x10448, 0x87654000}},
     0x23456789abc,
     R,
     WALK_NOT_PRESENT,
     {0xab38, 0, 0, 1},
     0x80c7},
    {"s390 table across the end of memory",
     {WALK_S390, 42, 32, 12, 0, 0xfffff000},
     {{0x100001340, 0x8007}, {0x1340, 0x8007}},
     0x23456789abc,
     R,
     WALK_ADDRESS_SIZE,
     {0x100001340, 0, 0, 2},
     0x8007},
    {"s390 table across the end of all addresses",
     {WALK_S390, 42, 64, 12, 0, 0xfffffffffffff000},
     {{0x1340, 0x8007}},
     0x23456789abc,
     R,
     WALK_ADDRESS_SIZE,
     {0x1340, 0, 0, 2},
     0x8007},
    {"s390 page, invalid",
     {WALK_S390, 31, 64, 12, 0, 0x8000},
     {{0xab38, 0x10000}, {0x10448, 0x87654400}},
     0x56789abc,
     R,
     WALK_NOT_PRESENT,
     {0x10448, 0, 0, 0},
     0x87654400},
};

struct memory {
	struct known k;
	bool big;
	unsigned int last;
};

static int find(const struct memory *m, uint64_t addr)
{
	for (int i = 0; i < ENTRIES; i++)
		if (m->k.entries[i].addr == addr && m->k.entries[i].entry)
			return i;
	return -1;
}

/* What was not written down is zero: absent in all formats but s390. */
static int known_load(void *ctx, uint64_t addr, void *dst, size_t len)
{
	struct memory *m = ctx;
	int i = find(m, addr);
	uint64_t entry = i < 0 ? 0 : m->k.entries[i].entry;

	if (i >= 0)
		m->last = i;
	entry = m->big ? htobe64(entry) : htole64(entry);
	memcpy(dst, &entry, len);
	return 0;
}

static int known_update(void *ctx, uint64_t addr, uint64_t old, uint64_t new)
{
	struct memory *m = ctx;
	int i = find(m, addr);

	if (i < 0 || m->k.entries[i].entry != old)
		return -EAGAIN;
	m->k.entries[i].entry = new;
	return 0;
}

static void test_known(void **state)
{
	for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct memory m = {.k = known[i], .big = known[i].cfg.format == WALK_S390};
		struct walk_mem mem = {.ctx = &m, .load = known_load, .update = known_update};
		struct walk_fault_info fault = {0};
		struct walk_result res = {0};
		const struct known *k = &known[i];
		int r;

		print_message("# %s\n", k->name);
		assert_int_equal(walk_config_check(&k->cfg), 0);
		r = walk(&k->cfg, &mem, k->iova, k->access, &res, &fault);
		assert_int_equal(fault.kind, k->fault);
		assert_int_equal(r, k->fault ? -EFAULT : 0);
		if (k->fault) {
			assert_true(fault.entry_addr == k->res.addr);
			assert_int_equal(fault.level, k->res.level);
		} else {
			assert_true(res.addr == k->res.addr);
			assert_memory_equal(&res, &k->res, sizeof(res));
		}
		assert_true(m.k.entries[m.last].entry == k->after);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
