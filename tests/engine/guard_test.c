/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/guard.h"

#define PG 4096UL

/* In each test: cmocka puts its own handlers in place before it calls one. */
static void guarded(void)
{
	assert_int_equal(guard_install(), 0);
}

/* Two readable pages, then nothing. */
static char *cliff(void)
{
	char *p = mmap(NULL, 3 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(munmap(p + 2 * PG, PG), 0);
	return p;
}

static const size_t sizes[] = {0,  1,  2,  3,  4,  7,	8,   9,	  15,  16,   17,   24,	 31,   32,
			       33, 48, 63, 64, 65, 127, 128, 129, 500, 1000, 1023, 2047, 2048, 2049};

/* Every size, alignment: all of it and nothing beside it. */
static void test_copies(void **state)
{
	unsigned char src[2200], dst[2200], want[2200];

	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (unsigned char)(i * 7 + i / 256);
	for (size_t n = 0; n <= 2070; n += n < 200 ? 1 : 37) {
		for (size_t a = 0; a < 17; a += 3) {
			memset(dst, 0xee, sizeof(dst));
			memset(want, 0xee, sizeof(want));
			memcpy(want + a, src + 16 - a, n);
			assert_int_equal(guard_copy(dst + a, src + 16 - a, n), 0);
			assert_memory_equal(dst, want, sizeof(dst));
		}
	}
}

/* The source ends k bytes after the start: exactly k bytes arrive, whatever the width of the moves. */
static void test_source_ends(void **state)
{
	char *p = cliff(), *end = p + 2 * PG, dst[2100];

	guarded();
	for (size_t i = 0; i < 2 * PG; i++)
		p[i] = (char)(i * 13);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t k = 0; k <= sizes[i]; k++) {
			memset(dst, 0x55, sizeof(dst));
			assert_int_equal(guard_copy(dst, end - k, sizes[i]), sizes[i] - k);
			assert_memory_equal(dst, end - k, k);
			for (size_t j = sizes[i]; j < sizeof(dst); j++)
				assert_int_equal(dst[j], 0x55);
		}
	}
	munmap(p, 2 * PG);
}

static void test_destination_ends(void **state)
{
	char *p = cliff(), *end = p + 2 * PG, src[2100];

	guarded();
	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (char)(i * 11 + 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t k = 0; k <= sizes[i]; k++) {
			memset(p, 0, 2 * PG);
			assert_int_equal(guard_copy(end - k, src, sizes[i]), sizes[i] - k);
			assert_memory_equal(end - k, src, k);
		}
	}
	munmap(p, 2 * PG);
}

/* Addresses that no page table can hold (a general protection fault), and the kernel's half. */
static void test_wild_pointers(void **state)
{
	const uintptr_t wild[] = {0, 1, 0x800000000000, 0xdeadbeefdeadbeef, 0xffffffff81000000, UINTPTR_MAX - 63};
	char buf[64] = "unchanged";

	guarded();
	for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		for (size_t n = 1; n <= 64; n++) {
			assert_int_equal(guard_copy(buf, (void *)wild[i], n), n);
			assert_int_equal(guard_copy((void *)wild[i], buf, n), n);
		}
	}
	assert_string_equal(buf, "unchanged");
}

/* SIGBUS: the file lost its second page. */
static void test_truncated_file(void **state)
{
	int fd = memfd_create("guard", MFD_CLOEXEC);
	char buf[2 * PG], *p;

	guarded();
	assert_int_equal(ftruncate(fd, 2 * PG), 0);
	p = mmap(NULL, 2 * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 'x', 2 * PG);
	assert_int_equal(guard_copy(buf, p, 2 * PG), 0);
	assert_int_equal(ftruncate(fd, PG), 0);
	assert_int_equal(guard_copy(buf, p, 2 * PG), PG);
	assert_int_equal(guard_copy(p, buf, 2 * PG), PG);
	assert_int_equal(guard_copy(p + PG - 3, buf, 40), 37);
	munmap(p, 2 * PG);
	close(fd);
}

static int child_status(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		/* What was there before the guard, so that the test means the same under a sanitizer. */
		signal(SIGSEGV, SIG_DFL);
		if (guard_install())
			_exit(99);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void fault(void)
{
	volatile char *nowhere = mmap(NULL, PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*nowhere = 1; /* not in guard_copy */
}

static void send_segv(void)
{
	kill(getpid(), SIGSEGV);
	sleep(10);
}

/* Any other fault kills as if there were no guard, and so does a signal that somebody sends. */
static void test_other_faults_kill(void **state)
{
	int status = child_status(fault);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = child_status(send_segv);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- whoever sees what has been stored may use its place again ---- */
static uint8_t stepped_src[256], stepped_dst[256];
static size_t stepped_len, stepped_unit;
static unsigned int stepped_taken;

/* After each instruction: what has come is taken away. */
static void take_away(int sig)
{
	for (size_t at = 0; at < stepped_len; at += stepped_unit)
		if (!memcmp(stepped_dst + at, stepped_src + at, stepped_unit)) {
			memset(stepped_dst + at, 0xee, stepped_unit);
			stepped_taken++;
		}
}

static void stepped_copy(size_t len, size_t unit)
{
	stepped_len = len;
	stepped_unit = unit;
	stepped_taken = 0;
	memset(stepped_dst, 0, sizeof(stepped_dst));
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory");
	guard_copy(stepped_dst, stepped_src, len);
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "cc", "memory");
	assert_int_equal(stepped_taken, len / unit);
}

static void test_stored_once(void **state)
{
	struct sigaction act = {.sa_handler = take_away}, old;

	for (size_t i = 0; i < sizeof(stepped_src); i++)
		stepped_src[i] = (uint8_t)(i + 1) & 0x7f;
	assert_int_equal(sigaction(SIGTRAP, &act, &old), 0);
	stepped_copy(4, 4);
	stepped_copy(8, 8);
	for (size_t len = 16; len <= sizeof(stepped_src); len += 16)
		stepped_copy(len, 16);
	assert_int_equal(sigaction(SIGTRAP, &old, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stored_once),	      cmocka_unit_test(test_copies),
	    cmocka_unit_test(test_source_ends),	      cmocka_unit_test(test_destination_ends),
	    cmocka_unit_test(test_wild_pointers),     cmocka_unit_test(test_truncated_file),
	    cmocka_unit_test(test_other_faults_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
