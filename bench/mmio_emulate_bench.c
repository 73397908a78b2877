/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a trapped register access costs in the client, in ns, one figure a line: fault, signal handler, emulation,
 * return. The registers answer at once (an array), so this is what an access costs before any broker is asked. Beside
 * each class of instruction: a handler that only steps over the instruction, which is the kernel's share.
 * Each figure is the median of several runs.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/guard.h"
#include "boundary/emulate.h"
#include "decode/decode.h"

enum { RUNS = 7, LOOPS = 20000, PAGE = 4096, SLOTS = 16, CACHE = 64 };

static uint8_t *window;
static uint64_t registers[PAGE / 8];
static struct ool_pool pool;
static bool step_only;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static bool window_has(void *ctx, uint64_t addr)
{
	return addr - (uint64_t)window < PAGE;
}

static uint64_t register_read(void *ctx, uint64_t addr, unsigned int size)
{
	uint64_t v = 0;

	memcpy(&v, (uint8_t *)registers + (addr - (uint64_t)window), size);
	return v;
}

static void register_write(void *ctx, uint64_t addr, unsigned int size, uint64_t val)
{
	memcpy((uint8_t *)registers + (addr - (uint64_t)window), &val, size);
}

static const struct mmio_ops ops = {.read = register_read, .write = register_write};
static struct emulate_env env = {.ops = &ops, .is_mmio = window_has, .pool = &pool};

/* Decoded once for each instruction pointer, as the boundary does. */
static const struct insn *insn_cached(uint64_t rip)
{
	static struct {
		uint64_t rip;
		struct insn in;
	} cache[CACHE];
	unsigned int i = (rip ^ rip >> 6) % CACHE;

	if (cache[i].rip != rip || memcmp(cache[i].in.bytes, (const void *)rip, cache[i].in.len)) {
		insn_decode((const uint8_t *)rip, INSN_MAX_BYTES, &cache[i].in);
		cache[i].rip = rip;
	}
	return &cache[i].in;
}

static void on_fault(int signo, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], bad;
	enum emulate r;

	if (step_only) {
		uc->uc_mcontext.gregs[REG_RIP] += insn_cached(rip)->len;
		return;
	}
	if (ool_owns(&pool, rip))
		r = emulate_finish(uc, &env);
	else
		r = emulate(insn_cached(rip), uc, (uint64_t)si->si_addr, &env, &bad);
	if (r != EMULATE_DONE && r != EMULATE_RUN)
		signal(signo, SIG_DFL);
}

static void load32(volatile uint8_t *p)
{
	__asm__ volatile("movl (%0), %%eax" : : "r"(p) : "rax", "memory");
}

static void store32(volatile uint8_t *p)
{
	__asm__ volatile("movl %%eax, (%0)" : : "r"(p) : "memory");
}

static void store64(volatile uint8_t *p)
{
	__asm__ volatile("movq %%rax, (%0)" : : "r"(p) : "memory");
}

static void or32(volatile uint8_t *p)
{
	__asm__ volatile("orl $1, (%0)" : : "r"(p) : "memory", "cc");
}

static void load128(volatile uint8_t *p)
{
	__asm__ volatile("movups (%0), %%xmm0" : : "r"(p) : "xmm0", "memory");
}

static void rep_stos_4k(volatile uint8_t *p)
{
	uint64_t n = PAGE / 8;

	__asm__ volatile("rep stosq" : "+D"(p), "+c"(n) : "a"(0) : "memory");
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double median(void (*access)(volatile uint8_t *p), unsigned int loops)
{
	double t[RUNS];

	access(window);
	for (int i = 0; i < RUNS; i++) {
		double start = now();

		for (unsigned int j = 0; j < loops; j++)
			access(window);
		t[i] = (now() - start) / loops;
	}
	qsort(t, RUNS, sizeof(t[0]), by_value);
	return t[RUNS / 2];
}

static void pool_map(void)
{
	int fd = memfd_create("ool", MFD_CLOEXEC);
	void *rw, *rx;

	must(fd >= 0 && ftruncate(fd, PAGE) == 0, "memfd");
	rw = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rx = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	must(rw != MAP_FAILED && rx != MAP_FAILED, "mmap");
	ool_init(&pool, rw, rx, SLOTS);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*access)(volatile uint8_t *p);
		unsigned int loops;
	} row[] = {
	    {"load, 4 bytes", load32, LOOPS},
	    {"store, 4 bytes", store32, LOOPS},
	    {"store, 8 bytes", store64, LOOPS},
	    {"or to memory, out of line", or32, LOOPS},
	    {"load, 16 bytes, out of line", load128, LOOPS},
	    {"rep stosq, 4 KiB", rep_stos_4k, LOOPS / 50},
	};
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

	env.fsgsbase = getauxval(AT_HWCAP2) >> 1 & 1;
	window = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(window != MAP_FAILED, "mmap");
	pool_map();
	must(sigaction(SIGSEGV, &sa, NULL) == 0, "sigaction");
	step_only = true;
	printf("%-36s %8.0f ns\n", "fault, handler, return: nothing done", median(load32, LOOPS));
	step_only = false;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		printf("%-36s %8.0f ns\n", row[i].name, median(row[i].access, row[i].loops));
	return 0;
}
