/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "base/alloc.h"

static void *one(unsigned int how, void *old)
{
	switch (how) {
	case 0:
		return mem_alloc(8);
	case 1:
		return mem_calloc(2, 8);
	case 2:
		return mem_realloc(old, 16);
	default:
		return mem_reallocarray(old, 4, 8);
	}
}

static void the_nth_of_any_kind_fails(void **state)
{
	for (unsigned int n = 1; n <= 5; n++) {
		void *p = NULL, *q = NULL, *m;

		mem_fail_nth(n);
		assert_int_equal(mem_fail_left(), n);
		for (unsigned int i = 0; i < 4; i++) {
			void **to = i % 2 ? &q : &p, *got;

			errno = 0;
			got = one(i, *to);
			assert_int_equal(!got, i + 1 == n);
			assert_int_equal(errno, got ? 0 : ENOMEM);
			assert_int_equal(mem_fail_left(), n > i + 1 ? n - i - 1 : 0);
			*to = got ? got : *to; /* what was there is there still */
		}
		errno = 0;
		m = mem_mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_int_equal(m == MAP_FAILED, n == 5);
		assert_int_equal(errno, n == 5 ? ENOMEM : 0);
		if (m != MAP_FAILED)
			munmap(m, 4096);
		assert_int_equal(mem_fail_left(), 0);
		free(p);
		free(q);
	}
}

static void nothing_fails_unasked(void **state)
{
	mem_fail_nth(3);
	mem_fail_nth(0);
	for (unsigned int i = 0; i < 8; i++)
		assert_false(mem_fails());
	mem_fail_nth(2);
	assert_false(mem_fails());
	assert_true(mem_fails());
	assert_false(mem_fails()); /* once */
}

static void *elsewhere(void *arg)
{
	return mem_fails() || mem_fail_left() ? arg : NULL;
}

static void threads_fail_on_their_own(void **state)
{
	pthread_t t;
	void *ret;

	mem_fail_nth(1);
	assert_int_equal(pthread_create(&t, NULL, elsewhere, state), 0);
	assert_int_equal(pthread_join(t, &ret), 0);
	assert_null(ret);
	assert_true(mem_fails());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_nth_of_any_kind_fails),
	    cmocka_unit_test(nothing_fails_unasked),
	    cmocka_unit_test(threads_fail_on_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
