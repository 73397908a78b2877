/* SPDX-License-Identifier: BSD-3-Clause */
/* The model, driven by random programs. The seeds are fixed: a failure repeats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "model.h"

static void run_random(unsigned int programs, size_t size)
{
	static uint8_t program[20000];
	uint64_t seed = size;

	for (unsigned int i = 0; i < programs; i++) {
		for (size_t k = 0; k < size; k++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			program[k] = seed >> 40;
		}
		model_run(program, size);
	}
}

static void test_short(void **state)
{
	run_random(2000, 400);
}

static void test_long(void **state)
{
	run_random(100, 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_short),
	    cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
