/* SPDX-License-Identifier: BSD-3-Clause */
#include "harness.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/guard.h"
#include "decode/decode.h"

#define SLOTS	    4
#define SA_RESTORER 0x04000000

_Static_assert(offsetof(struct cpu, flags) == 128 && offsetof(struct cpu, k) == 136 &&
		   offsetof(struct cpu, fx) == 256 && offsetof(struct cpu, zmm) == 768,
	       "cpu_run.S knows the layout");

struct cpu cpu_state __attribute__((aligned(64)));
uint32_t cpu_level;
uint64_t cpu_code;
extern void cpu_run(void);
extern const char cpu_back[], cpu_sigreturn[];

uint8_t *memory_alias;
void (*harness_on_access)(void);

static struct ool_pool pool;
static uint8_t *code_alias;
static struct outcome *current; /* of the run in progress */
static bool emulating;
static uint64_t fs_base, gs_base;
static struct emulate_env env;

static bool window_has(void *ctx, uint64_t addr)
{
	(void)ctx;
	return addr - WINDOW_ADDR < WINDOW_SIZE;
}

static void access_note(uint64_t addr, unsigned int size, uint64_t val, bool write)
{
	struct access *a = &current->access[current->accesses % 16384];

	if (harness_on_access)
		harness_on_access();
	if (addr % size || !(size == 1 || size == 2 || size == 4 || size == 8) || !window_has(NULL, addr) ||
	    !window_has(NULL, addr + size - 1)) {
		fprintf(stderr, "bad access: %#lx, %u bytes\n", addr, size);
		abort();
	}
	*a = (struct access){.addr = addr, .val = val, .size = size, .write = write};
	current->accesses++;
}

static uint64_t model_read(void *ctx, uint64_t addr, unsigned int size)
{
	uint64_t v = 0;

	(void)ctx;
	memcpy(&v, memory_alias + (addr - MEMORY_ADDR), size);
	access_note(addr, size, v, false);
	/* What is above size must not matter. */
	return size < 8 ? v | 0xa5a5a5a5a5a5a5a5ull << (8 * size) : v;
}

static void model_write(void *ctx, uint64_t addr, unsigned int size, uint64_t val)
{
	(void)ctx;
	access_note(addr, size, val, true);
	memcpy(memory_alias + (addr - MEMORY_ADDR), &val, size);
}

static const struct mmio_ops model_ops = {.read = model_read, .write = model_write};

static int raw_arch_prctl(int code, uint64_t *base)
{
	return syscall(SYS_arch_prctl, code, base) < 0 ? -errno : 0;
}

static bool emulate_signal(siginfo_t *si, ucontext_t *uc)
{
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], bad = 0;
	struct insn in;

	current->traps++;
	if (ool_owns(&pool, rip)) {
		current->verdict = emulate_finish(uc, &env);
	} else {
		insn_decode((const uint8_t *)rip, CODE_ADDR + PAGE - rip, &in);
		current->verdict = emulate(&in, uc, (uint64_t)(uintptr_t)si->si_addr, &env, &bad);
	}
	if (current->verdict == EMULATE_FAULT)
		current->signal_addr = bad;
	return current->verdict == EMULATE_DONE || current->verdict == EMULATE_RUN;
}

static void on_signal(int signo, siginfo_t *si, void *ctx)
{
	ucontext_t *uc = ctx;
	uint64_t rip;

	if ((signo == SIGSEGV || signo == SIGBUS) && guard_fixup(uc))
		return;
	rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	if (!current || !(rip - CODE_ADDR < PAGE || ool_owns(&pool, rip))) {
		signal(signo, SIG_DFL);
		return;
	}
	current->signal_addr = (uint64_t)(uintptr_t)si->si_addr;
	if (emulating && emulate_signal(si, uc))
		return;
	current->how = SIGNALLED;
	current->signo = signo;
	current->signal_rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	memcpy(&current->signal_mask, &uc->uc_sigmask, sizeof(current->signal_mask));
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)cpu_back;
}

static int map_twice(uint64_t addr, size_t size, int prot, uint8_t **alias)
{
	int fd = memfd_create("emu-test", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -1;
	if (mmap((void *)addr, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != (void *)addr)
		return -1;
	*alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return *alias == MAP_FAILED ? -1 : 0;
}

static void altstack_install(void)
{
	stack_t ss = {.ss_size = 256 * 1024};

	ss.ss_sp = mmap(NULL, ss.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&ss, NULL);
}

void harness_sigaction(int signo, void (*handler)(int, siginfo_t *, void *), int flags, uint64_t mask)
{
	struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		const char *restorer;
		uint64_t mask;
	} sa = {handler, SA_SIGINFO | SA_ONSTACK | SA_RESTORER | (unsigned int)flags, cpu_sigreturn, mask};

	syscall(SYS_rt_sigaction, signo, &sa, NULL, sizeof(sa.mask));
}

/* For each run: cmocka puts its own handlers in place before each test. */
static void handlers_install(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

	/* As other asynchronous signals may be; SIGUSR1 is the tests'. */
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		harness_sigaction(signals[i], on_signal, SA_NODEFER, 1ull << (SIGUSR1 - 1));
}

int harness_init(void)
{
	uint8_t *slots;

	if (map_twice(CODE_ADDR, PAGE, PROT_READ | PROT_EXEC, &code_alias) < 0 ||
	    map_twice(MEMORY_ADDR, MEMORY_SIZE, PROT_READ | PROT_WRITE, &memory_alias) < 0 ||
	    mmap((void *)HOLE_ADDR, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
		MAP_FAILED ||
	    map_twice(CODE_ADDR + 2 * PAGE, PAGE, PROT_READ | PROT_EXEC, &slots) < 0)
		return 77;
	ool_init(&pool, slots, (void *)(CODE_ADDR + 2 * PAGE), SLOTS);
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		cpu_level = LEVEL_AVX512;
	else if (__builtin_cpu_supports("avx"))
		cpu_level = LEVEL_AVX;
	raw_arch_prctl(ARCH_GET_FS, &fs_base);
	/* The 4 GiB above are nobody's, and no sanitizer's either: there %gs:(%r14d) ends. */
	gs_base = 0x5123456000;
	syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base);
	altstack_install();
	env = (struct emulate_env){.ops = &model_ops,
				   .is_mmio = window_has,
				   .pool = &pool,
				   .fsgsbase = getauxval(AT_HWCAP2) >> 1 & 1,
				   .arch_prctl = raw_arch_prctl};
	return 0;
}

struct ool_pool *harness_pool(void)
{
	return &pool;
}

const struct emulate_env *harness_env(void)
{
	return &env;
}

uint64_t harness_fs(void)
{
	return fs_base;
}

uint64_t harness_gs(void)
{
	return gs_base;
}

void harness_use_fsgsbase(bool use)
{
	env.fsgsbase = use && (getauxval(AT_HWCAP2) >> 1 & 1);
}

static uint64_t random_state = 1;

void test_seed(uint64_t seed)
{
	random_state = seed * 2 + 1;
}

uint64_t test_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* The convention that insns.S relies on. */
void cpu_randomize(struct cpu *c)
{
	uint64_t *words = (uint64_t *)c;

	for (size_t i = 0; i < sizeof(*c) / sizeof(*words); i++)
		words[i] = test_random();
	c->gpr[RBX] = MIDDLE;
	c->gpr[RBP] = MIDDLE + 0x80;
	c->gpr[RSP] = MIDDLE + 0x100;
	c->gpr[RSI] = MIDDLE - 0x400;
	c->gpr[RDI] = MIDDLE + 0x200;
	c->gpr[R12] = MIDDLE + 0x40;
	c->gpr[R13] = MIDDLE - 0x40;
	c->gpr[R9] = test_random() % 800 - 400;
	c->gpr[R11] = MIDDLE | test_random() << 32;
	c->gpr[R14] = MIDDLE - gs_base;
	c->gpr[R15] = MIDDLE - fs_base;
	c->flags = 0x202 | (test_random() & (FLAGS_ARITHMETIC | FLAG_DF));
	/* Everything masked; half of the x87 registers are in use. */
	memcpy(c->fx, (const uint8_t[]){0x7f, 0x03, 0, 0, 0x0f, 0}, 6);
	memcpy(c->fx + 24, &(uint32_t){0x1f80}, 4);
}

static void run(const struct cpu *c, const uint8_t *memory, const void *code, size_t len, struct outcome *out)
{
	static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *0(%rip) */
	const void *back = cpu_back;

	memset(out, 0, offsetof(struct outcome, access));
	out->accesses = 0;
	memset(code_alias, 0xcc, PAGE);
	memcpy(code_alias, code, len);
	memcpy(code_alias + len, jump, sizeof(jump));
	memcpy(code_alias + len + sizeof(jump), &back, sizeof(back));
	memcpy(memory_alias, memory, MEMORY_SIZE);
	handlers_install();
	cpu_state = *c;
	cpu_code = CODE_ADDR;
	current = out;
	cpu_run();
	current = NULL;
	out->cpu = cpu_state;
	memcpy(out->memory, memory_alias, MEMORY_SIZE);
}

void run_native(const struct cpu *c, const uint8_t *memory, const void *code, size_t len, struct outcome *out)
{
	emulating = false;
	run(c, memory, code, len, out);
}

void run_emulated(const struct cpu *c, const uint8_t *memory, const void *code, size_t len, struct outcome *out)
{
	emulating = true;
	mprotect((void *)WINDOW_ADDR, WINDOW_SIZE, PROT_NONE);
	run(c, memory, code, len, out);
	mprotect((void *)WINDOW_ADDR, WINDOW_SIZE, PROT_READ | PROT_WRITE);
	emulating = false;
}

enum emulate run_direct(const struct insn *in, ucontext_t *uc, uint64_t fault_addr, struct outcome *out)
{
	memset(out, 0, offsetof(struct outcome, access));
	out->accesses = 0;
	handlers_install();
	current = out;
	out->verdict = emulate(in, uc, fault_addr, &env, &out->signal_addr);
	current = NULL;
	return out->verdict;
}

static bool x87_differs(const uint8_t *a, const uint8_t *b)
{
	/* FCW, FSW, FTW; MXCSR; ST0..7 without padding. Not the instruction and data pointers. */
	if (memcmp(a, b, 5) || memcmp(a + 24, b + 24, 4))
		return true;
	for (unsigned int i = 0; i < 8; i++)
		if (memcmp(a + 32 + 16 * i, b + 32 + 16 * i, 10))
			return true;
	return memcmp(a + 160, b + 160, 256) != 0;
}

const char *outcome_differs(const struct outcome *a, const struct outcome *b)
{
	static char what[128];

	if (a->how != b->how || (a->how == SIGNALLED && (a->signo != b->signo || a->signal_rip != b->signal_rip)))
		return "signal";
	for (unsigned int i = 0; i < 16; i++) {
		if (a->cpu.gpr[i] == b->cpu.gpr[i])
			continue;
		snprintf(what, sizeof(what), "register %u: %#lx, %#lx", i, a->cpu.gpr[i], b->cpu.gpr[i]);
		return what;
	}
	if (a->cpu.flags != b->cpu.flags) {
		snprintf(what, sizeof(what), "flags: %#lx, %#lx", a->cpu.flags, b->cpu.flags);
		return what;
	}
	if (x87_differs(a->cpu.fx, b->cpu.fx))
		return "x87 or SSE state";
	if (memcmp(a->cpu.zmm, b->cpu.zmm, sizeof(a->cpu.zmm)))
		return "vector registers";
	if (memcmp(a->cpu.k, b->cpu.k, sizeof(a->cpu.k)))
		return "mask registers";
	for (unsigned int i = 0; i < MEMORY_SIZE; i++) {
		if (a->memory[i] == b->memory[i])
			continue;
		snprintf(what, sizeof(what), "memory at %#lx: %#x, %#x", MEMORY_ADDR + i, a->memory[i], b->memory[i]);
		return what;
	}
	return NULL;
}

bool feature_present(uint32_t feature)
{
	uint32_t a = 7, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	switch (feature) {
	case 2:
		return cpu_level >= LEVEL_AVX;
	case 3:
		return cpu_level >= LEVEL_AVX && __builtin_cpu_supports("avx2");
	case 4:
		return cpu_level == LEVEL_AVX512 && __builtin_cpu_supports("avx512dq") &&
		       __builtin_cpu_supports("avx512vl");
	case 5:
		return cpu_level == LEVEL_AVX512 && __builtin_cpu_supports("avx512vbmi2");
	case 6:
		return b >> 23 & 1; /* CPUID.7.0: CLFLUSHOPT */
	case 7:
		return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi");
	case 8:
		return __builtin_cpu_supports("sse4.2");
	case 9:
		return b >> 19 & 1; /* ADX */
	case 10:
		return cpu_level == LEVEL_AVX512 && __builtin_cpu_supports("avx512vnni");
	case 11:
		return b >> 24 & 1; /* CLWB */
	case 12:
		return cpu_level >= LEVEL_AVX;
	default:
		return true;
	}
}
