/* SPDX-License-Identifier: BSD-3-Clause */
/* Which configurations a walker takes: each list begins with good ones, and each bad one is wrong in one thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "guest.h"

#define AD (WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY)

static const struct walk_config good[] = {
    {WALK_X86, 48, 52, 12, 0, 0x1000},
    {WALK_X86, 57, 32, 12, AD | WALK_HUGE | WALK_WRITE_PROTECT | WALK_NO_EXECUTE, 0xfffff000},
    {WALK_ARM, 48, 48, 12, 0, 0x1000},
    {WALK_ARM, 52, 52, 16, AD | WALK_BIG_ENDIAN | WALK_NO_HIERARCHY | WALK_NO_ACCESS_FAULT, 0xf000000000040},
    {WALK_ARM, 16, 32, 12, WALK_UPDATE_ACCESSED, 0},
    {WALK_ARM, 17, 48, 16, 0, 0},
    {WALK_ARM, 47, 44, 14, 0, 8}, /* aligned by the walker, as by an SMMU */
    {WALK_RISCV, 39, 56, 12, AD | WALK_BIG_ENDIAN | WALK_SUPERVISOR_USER | WALK_NAPOT | WALK_MEMORY_TYPE, 0},
    {WALK_RISCV, 48, 34, 12, 0, 0},
    {WALK_RISCV, 57, 56, 12, 0, 0xfffffffffff000},
    {WALK_S390, 31, 64, 12, 0, 0x4000},
    {WALK_S390, 42, 64, 12, WALK_HUGE, 0x1000},
    {WALK_S390, 53, 64, 12, 0, 0},
    {WALK_S390, 64, 32, 12, 0, 0},
};

static const struct walk_config bad[] = {
    {WALK_FORMATS, 48, 48, 12, 0, 0},
    {-1, 48, 48, 12, 0, 0},
    {WALK_X86, 47, 52, 12, 0, 0},
    {WALK_X86, 39, 52, 12, 0, 0},
    {WALK_X86, 0, 52, 12, 0, 0},
    {WALK_X86, 48, 53, 12, 0, 0},
    {WALK_X86, 48, 31, 12, 0, 0},
    {WALK_X86, 48, 0, 12, 0, 0},
    {WALK_X86, 48, 52, 14, 0, 0},
    {WALK_X86, 48, 52, 12, WALK_UPDATE_ACCESSED, 0},
    {WALK_X86, 48, 52, 12, WALK_UPDATE_DIRTY, 0},
    {WALK_X86, 48, 52, 12, WALK_BIG_ENDIAN, 0},
    {WALK_X86, 48, 52, 12, WALK_NAPOT, 0},
    {WALK_X86, 48, 52, 12, WALK_FLAGS_ALL + 1, 0},
    {WALK_X86, 48, 52, 12, 0, 0x1800},
    {WALK_X86, 48, 46, 12, 0, 1ULL << 46},
    {WALK_ARM, 49, 48, 12, 0, 0},
    {WALK_ARM, 52, 48, 12, 0, 0},
    {WALK_ARM, 48, 52, 12, 0, 0},
    {WALK_ARM, 48, 52, 14, 0, 0},
    {WALK_ARM, 15, 48, 12, 0, 0},
    {WALK_ARM, 16, 48, 16, 0, 0},
    {WALK_ARM, 53, 52, 16, 0, 0},
    {WALK_ARM, 48, 50, 16, 0, 0},
    {WALK_ARM, 48, 48, 13, 0, 0},
    {WALK_ARM, 48, 48, 0, 0, 0},
    {WALK_ARM, 48, 48, 12, WALK_UPDATE_DIRTY, 0},
    {WALK_ARM, 48, 48, 12, WALK_HUGE, 0},
    {WALK_ARM, 48, 40, 12, 0, 1ULL << 40},
    {WALK_RISCV, 32, 34, 12, 0, 0},
    {WALK_RISCV, 64, 56, 12, 0, 0},
    {WALK_RISCV, 39, 57, 12, 0, 0},
    {WALK_RISCV, 39, 56, 16, 0, 0},
    {WALK_RISCV, 39, 56, 12, WALK_UPDATE_ACCESSED, 0},
    {WALK_RISCV, 39, 56, 12, WALK_HUGE, 0},
    {WALK_RISCV, 39, 56, 12, 0, 8},
    {WALK_S390, 32, 64, 12, 0, 0},
    {WALK_S390, 48, 64, 12, 0, 0},
    {WALK_S390, 31, 65, 12, 0, 0},
    {WALK_S390, 31, 64, 16, 0, 0},
    {WALK_S390, 31, 64, 12, AD, 0},
    {WALK_S390, 31, 64, 12, 0, 0x800},
};

static void test_good(void **state)
{
	for (unsigned int i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (walk_config_check(&good[i]))
			fail_msg("good[%u] was refused", i);
}

static void test_bad(void **state)
{
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (walk_config_check(&bad[i]) != -EINVAL)
			fail_msg("bad[%u] was taken", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
