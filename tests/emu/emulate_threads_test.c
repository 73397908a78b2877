/* SPDX-License-Identifier: BSD-3-Clause */
/* More threads than slots, all out of line: each must get its own operands, registers and results back. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "boundary/emulate.h"
#include "decode/decode.h"

enum { THREADS = 6, SLOTS = 2, LOOPS = 3000, PAGE = 4096, REGISTERS = 32 /* bytes for each thread */ };

static uint8_t *window;
static uint8_t registers[PAGE];
static struct ool_pool pool;

static bool window_has(void *ctx, uint64_t addr)
{
	return addr - (uint64_t)window < PAGE;
}

static uint64_t register_read(void *ctx, uint64_t addr, unsigned int size)
{
	uint64_t v = 0;

	memcpy(&v, registers + (addr - (uint64_t)window), size);
	return v;
}

static void register_write(void *ctx, uint64_t addr, unsigned int size, uint64_t val)
{
	memcpy(registers + (addr - (uint64_t)window), &val, size);
}

static const struct mmio_ops ops = {.read = register_read, .write = register_write};
static const struct emulate_env env = {.ops = &ops, .is_mmio = window_has, .pool = &pool};

static void on_fault(int signo, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], bad;
	struct insn in;
	enum emulate r;

	if (ool_owns(&pool, rip)) {
		r = emulate_finish(uc, &env);
	} else {
		insn_decode((const uint8_t *)rip, INSN_MAX_BYTES, &in);
		r = emulate(&in, uc, (uint64_t)si->si_addr, &env, &bad);
	}
	if (r != EMULATE_DONE && r != EMULATE_RUN)
		abort();
}

/* Registers that no instruction here names must survive, too: rsi and rdi are the likely scratch registers. */
static bool thread_step(uint8_t *mine, uint64_t i)
{
	uint64_t before = i * 3, rsi = i ^ 0x5555, rdi = ~i;
	uint8_t vector[16], back[16];

	memset(vector, (int)i, sizeof(vector));
	__asm__ volatile("lock xaddq %0, (%4)\n\t"
			 "movups %5, %%xmm3\n\t"
			 "movups %%xmm3, 16(%4)\n\t"
			 "pxor %%xmm3, %%xmm3\n\t"
			 "movups 16(%4), %%xmm3\n\t"
			 "movups %%xmm3, %3"
			 : "+r"(before), "+S"(rsi), "+D"(rdi), "=m"(back)
			 : "r"(mine), "m"(vector)
			 : "xmm3", "memory", "cc");
	return rsi == (i ^ 0x5555) && rdi == ~i && !memcmp(vector, back, sizeof(back)) && before == i * (i - 1) / 2 * 3;
}

static void *thread_run(void *arg)
{
	uint8_t *mine = window + REGISTERS * (uintptr_t)arg;

	for (uint64_t i = 0; i < LOOPS; i++)
		if (!thread_step(mine, i))
			return (void *)1;
	return NULL;
}

static void test_threads(void **state)
{
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
	pthread_t thread[THREADS];

	assert_int_equal(sigaction(SIGSEGV, &sa, NULL), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, thread_run, (void *)i), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(thread[i], &failed);
		assert_null(failed);
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		assert_int_equal(pool.rw[i].busy, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
	int fd = memfd_create("ool", MFD_CLOEXEC);
	void *rw, *rx;

	if (fd < 0 || ftruncate(fd, PAGE) < 0)
		return 77;
	rw = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rx = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	window = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rw == MAP_FAILED || rx == MAP_FAILED || window == MAP_FAILED)
		return 77;
	ool_init(&pool, rw, rx, SLOTS);
	return cmocka_run_group_tests_name("emulate_threads", tests, NULL, NULL);
}
