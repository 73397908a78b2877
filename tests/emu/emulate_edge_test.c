/* SPDX-License-Identifier: BSD-3-Clause */
/* What the comparison with the processor does not show: which accesses a device sees, and how things fail. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "decode/decode.h"
#include "harness.h"

static struct outcome native, emulated;
static uint8_t memory[MEMORY_SIZE];

#define CODE(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

static struct cpu cpu_plain(void)
{
	struct cpu c;

	test_seed(7);
	cpu_randomize(&c);
	c.flags &= ~(uint64_t)FLAG_DF;
	for (unsigned int i = 0; i < MEMORY_SIZE; i++)
		memory[i] = (uint8_t)test_random();
	return c;
}

static void both(const struct cpu *c, const uint8_t *code, size_t len)
{
	const char *what;

	run_native(c, memory, code, len, &native);
	run_emulated(c, memory, code, len, &emulated);
	what = outcome_differs(&native, &emulated);
	if (what)
		fail_msg("%s", what);
}

struct expect {
	int64_t offset; /* from MIDDLE */
	uint32_t size;
};

static void accesses_are(const struct expect *e, unsigned int n, bool write)
{
	assert_int_equal(emulated.accesses, n);
	for (unsigned int i = 0; i < n; i++) {
		assert_true(emulated.access[i].addr == MIDDLE + (uint64_t)e[i].offset);
		assert_int_equal(emulated.access[i].size, e[i].size);
		assert_int_equal(emulated.access[i].write, write);
	}
}

#define ACCESSES(write, ...)                                                                                           \
	accesses_are((const struct expect[]){__VA_ARGS__},                                                             \
		     sizeof((const struct expect[]){__VA_ARGS__}) / sizeof(struct expect), write)

static void test_access_widths(void **state)
{
	struct cpu c = cpu_plain();

	both(&c, CODE(0x8b, 0x03)); /* mov (%rbx), %eax */
	ACCESSES(false, {0, 4});
	both(&c, CODE(0x48, 0x89, 0x03)); /* mov %rax, (%rbx) */
	ACCESSES(true, {0, 8});
	both(&c, CODE(0x48, 0x89, 0x43, 0x04)); /* mov %rax, 4(%rbx) */
	ACCESSES(true, {4, 4}, {8, 4});
	both(&c, CODE(0x8b, 0x43, 0x01)); /* mov 1(%rbx), %eax */
	ACCESSES(false, {1, 1}, {2, 2}, {4, 1});
	both(&c, CODE(0x0f, 0x10, 0x03)); /* movups (%rbx), %xmm0 */
	ACCESSES(false, {0, 8}, {8, 8});
	both(&c, CODE(0x0f, 0x11, 0x43, 0xfc)); /* movups %xmm0, -4(%rbx) */
	ACCESSES(true, {-4, 4}, {0, 8}, {8, 4});
	both(&c, CODE(0x81, 0x3b, 1, 0, 0, 0)); /* cmpl $1, (%rbx) */
	ACCESSES(false, {0, 4});
	both(&c, CODE(0x0f, 0xae, 0x3b)); /* clflush (%rbx) */
	assert_int_equal(emulated.accesses, 0);
	both(&c, CODE(0xff, 0x03)); /* incl (%rbx) */
	assert_int_equal(emulated.accesses, 2);
	assert_false(emulated.access[0].write);
	assert_true(emulated.access[1].write);
	/* What is written back is no wider than the operand. */
	both(&c, CODE(0x66, 0x0f, 0x38, 0x20, 0x03)); /* pmovsxbw (%rbx), %xmm0 */
	ACCESSES(false, {0, 8});
}

static void test_masked_accesses(void **state)
{
	struct cpu c = cpu_plain();

	if (!feature_present(4))
		skip();
	c.k[1] = 0x2d;					    /* 101101 */
	both(&c, CODE(0x62, 0xf1, 0x7e, 0x29, 0x6f, 0x03)); /* vmovdqu32 (%rbx), %ymm0{%k1} */
	ACCESSES(false, {0, 4}, {8, 8}, {20, 4});
	both(&c, CODE(0x62, 0xf1, 0x7e, 0x29, 0x7f, 0x03)); /* vmovdqu32 %ymm0, (%rbx){%k1} */
	ACCESSES(true, {0, 4}, {8, 8}, {20, 4});
	both(&c, CODE(0x62, 0xf1, 0x7f, 0x09, 0x7f, 0x03)); /* vmovdqu8 %xmm0, (%rbx){%k1} */
	ACCESSES(true, {0, 1}, {2, 2}, {5, 1});
	c.k[1] = 0xa8;
	both(&c, CODE(0x62, 0xf2, 0x7d, 0x29, 0x8b, 0x03)); /* vpcompressd %ymm0, (%rbx){%k1} */
	ACCESSES(true, {0, 8}, {8, 4});
	both(&c, CODE(0x62, 0xf2, 0x7d, 0xa9, 0x89, 0x03)); /* vpexpandd (%rbx), %ymm0{%k1}{z} */
	ACCESSES(false, {0, 8}, {8, 4});
	both(&c, CODE(0x62, 0xf3, 0x7d, 0x29, 0x3f, 0x13, 0x00)); /* vpcmpb $0, (%rbx), %ymm0, %k2{%k1} */
	ACCESSES(false, {3, 1}, {5, 1}, {7, 1});
	both(&c, CODE(0x62, 0xf1, 0x7d, 0x59, 0xfe, 0x0b)); /* vpaddd (%rbx){1to16}, %zmm0, %zmm1{%k1} */
	ACCESSES(false, {0, 4});
	/* Only bits that stand for an element count. */
	c.k[1] = 0xffffffff00000000;
	both(&c, CODE(0x62, 0xf1, 0x7d, 0x59, 0xfe, 0x0b));
	assert_int_equal(emulated.accesses, 0);
	both(&c, CODE(0x62, 0xf1, 0x7e, 0x29, 0x6f, 0x03));
	assert_int_equal(emulated.accesses, 0);
}

static void test_vector_masked_accesses(void **state)
{
	struct cpu c = cpu_plain();

	if (!feature_present(2))
		skip();
	for (unsigned int i = 0; i < 8; i++)
		c.zmm[2][4 * i + 3] = 0x4d >> i & 1 ? 0x80 : 0x7f; /* 1001101 */
	both(&c, CODE(0xc4, 0xe2, 0x6d, 0x2c, 0x0b));		   /* vmaskmovps (%rbx), %ymm2, %ymm1 */
	ACCESSES(false, {0, 4}, {8, 8}, {24, 4});
	both(&c, CODE(0xc4, 0xe2, 0x69, 0x2e, 0x0b)); /* vmaskmovps %xmm1, %xmm2, (%rbx) */
	ACCESSES(true, {0, 4}, {8, 8});
}

static void fails_untouched(const struct cpu *c, const uint8_t *code, size_t len)
{
	run_emulated(c, memory, code, len, &emulated);
	assert_int_equal(emulated.how, SIGNALLED);
	assert_int_equal(emulated.verdict, EMULATE_FAIL);
	assert_int_equal(emulated.accesses, 0);
	assert_true(emulated.signal_rip == CODE_ADDR);
	assert_memory_equal(emulated.cpu.gpr, c->gpr, sizeof(c->gpr));
	assert_memory_equal(emulated.memory, memory, sizeof(memory));
}

static void test_window_edges(void **state)
{
	static const int64_t offset[] = {-(int64_t)PAGE - 2, (int64_t)PAGE - 2};
	struct cpu c = cpu_plain();

	for (unsigned int i = 0; i < 2; i++) {
		c.gpr[RBX] = c.gpr[RSI] = c.gpr[RDI] = MIDDLE + (uint64_t)offset[i];
		c.gpr[RCX] = 3;
		fails_untouched(&c, CODE(0x8b, 0x03));	     /* mov (%rbx), %eax */
		fails_untouched(&c, CODE(0x48, 0x89, 0x03)); /* mov %rax, (%rbx) */
		fails_untouched(&c, CODE(0x0f, 0x10, 0x03)); /* movups (%rbx), %xmm0 */
		fails_untouched(&c, CODE(0x0f, 0x11, 0x03)); /* movups %xmm0, (%rbx) */
		fails_untouched(&c, CODE(0x48, 0xff, 0x03)); /* incq (%rbx) */
		fails_untouched(&c, CODE(0xf3, 0x48, 0xab)); /* rep stosq */
		fails_untouched(&c, CODE(0xf3, 0xa5));	     /* rep movsl */
	}
	/* Whole elements that lie just inside. */
	c.gpr[RBX] = WINDOW_ADDR + WINDOW_SIZE - 4;
	both(&c, CODE(0x8b, 0x03));
	c.gpr[RBX] = WINDOW_ADDR + WINDOW_SIZE - 16;
	both(&c, CODE(0x0f, 0x11, 0x03));
	if (!feature_present(4))
		return;
	/* The part beyond the window is masked out. */
	c.gpr[RBX] = WINDOW_ADDR + WINDOW_SIZE - 16;
	c.k[1] = 0x5;
	both(&c, CODE(0x62, 0xf1, 0x7e, 0x29, 0x6f, 0x03));
	ACCESSES(false, {PAGE - 16, 4}, {PAGE - 8, 4});
	c.k[1] = 0x11;
	fails_untouched(&c, CODE(0x62, 0xf1, 0x7e, 0x29, 0x6f, 0x03));
}

static void test_not_emulated(void **state)
{
	struct cpu c = cpu_plain();

	fails_untouched(&c, CODE(0xff, 0x33));	     /* push (%rbx) */
	fails_untouched(&c, CODE(0xff, 0x13));	     /* call *(%rbx) */
	fails_untouched(&c, CODE(0x0f, 0xae, 0x03)); /* fxsave (%rbx) */
	fails_untouched(&c, CODE(0xa6));	     /* cmpsb */
}

/* A rep that leaves the window goes on, however long, as on hardware. */
static void test_rep_across(void **state)
{
	struct cpu c = cpu_plain();

	c.gpr[RDI] = WINDOW_ADDR - 0x100;
	c.gpr[RCX] = WINDOW_SIZE + 0x200;
	both(&c, CODE(0xf3, 0xaa)); /* rep stosb */
	assert_int_equal(native.how, RAN);
	assert_int_equal(emulated.accesses, WINDOW_SIZE);
	c.gpr[RDI] = WINDOW_ADDR + WINDOW_SIZE + 0xf8;
	c.gpr[RCX] = (WINDOW_SIZE + 0x200) / 8;
	c.flags |= FLAG_DF;
	both(&c, CODE(0xf3, 0x48, 0xab)); /* rep stosq, downwards */
	assert_int_equal(emulated.accesses, WINDOW_SIZE / 8);
	c.flags &= ~(uint64_t)FLAG_DF;
	c.gpr[RCX] = 0;
	run_emulated(&c, memory, CODE(0xf3, 0x48, 0xab), &emulated);
	assert_int_equal(emulated.traps, 0);
}

/* The memory at the other end ends: registers are at the element that faulted, and its address is named. */
static void test_rep_faults(void **state)
{
	struct cpu c = cpu_plain();

	c.gpr[RSI] = MIDDLE;
	c.gpr[RDI] = HOLE_ADDR - 0x100;
	c.gpr[RCX] = 0x41;
	both(&c, CODE(0xf3, 0xa5)); /* rep movsl, from the window */
	assert_int_equal(emulated.how, SIGNALLED);
	assert_int_equal(emulated.verdict, EMULATE_FAULT);
	assert_true(emulated.signal_addr == HOLE_ADDR);
	assert_true(emulated.cpu.gpr[RDI] == HOLE_ADDR);
	assert_true(emulated.cpu.gpr[RSI] == MIDDLE + 0x100);
	assert_true(emulated.cpu.gpr[RCX] == 1);

	c.gpr[RSI] = HOLE_ADDR - 6;
	c.gpr[RDI] = MIDDLE;
	both(&c, CODE(0xf3, 0xa5)); /* into the window; the second element is half there */
	assert_int_equal(emulated.verdict, EMULATE_FAULT);
	assert_true(emulated.signal_addr == HOLE_ADDR);
	assert_int_equal(emulated.accesses, 1);

	c.flags |= FLAG_DF;
	c.gpr[RSI] = MIDDLE;
	c.gpr[RDI] = MEMORY_ADDR + 0x18;
	both(&c, CODE(0xf3, 0x48, 0xa5)); /* rep movsq, downwards */
	assert_int_equal(emulated.verdict, EMULATE_FAULT);
	assert_true(emulated.cpu.gpr[RDI] == MEMORY_ADDR - 8);
}

static void no_slot_is_busy(void)
{
	for (unsigned int i = 0; i < harness_pool()->count; i++)
		assert_int_equal(harness_pool()->rw[i].busy, 0);
}

/* What the copy raises is the program's, at the original instruction. */
static void test_copy_faults(void **state)
{
	struct cpu c = cpu_plain();
	uint64_t before;

	memset(memory, 0, sizeof(memory));
	for (unsigned int i = 0; i < 10; i++) {	  /* more than there are slots */
		both(&c, CODE(0x48, 0xf7, 0x33)); /* divq (%rbx) */
		assert_int_equal(emulated.signo, SIGFPE);
		assert_true(emulated.signal_rip == CODE_ADDR);
	}
	before = native.signal_mask;
	assert_true(emulated.signal_mask == before);
	c.gpr[RBX]++;
	both(&c, CODE(0x0f, 0x29, 0x03)); /* movaps %xmm0, (%rbx) */
	assert_int_equal(emulated.signo, SIGSEGV);
	assert_int_equal(emulated.verdict, EMULATE_FAIL);
	assert_int_equal(emulated.accesses, 0);
	assert_true(emulated.signal_mask == before);
	no_slot_is_busy();
}

static uint64_t async_rip;

static void on_async(int signo, siginfo_t *si, void *uc)
{
	async_rip = (uint64_t)((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];
}

static void raise_async(void)
{
	raise(SIGUSR1);
}

/* A signal that arrives in between is delivered after the instruction, not in the slot. */
static void test_signal_in_between(void **state)
{
	struct cpu c = cpu_plain();
	sigset_t before, after;

	harness_sigaction(SIGUSR1, on_async, 0, 0);
	sigprocmask(SIG_SETMASK, NULL, &before);
	harness_on_access = raise_async;
	run_emulated(&c, memory, CODE(0x81, 0x3b, 1, 0, 0, 0), &emulated); /* cmpl $1, (%rbx): read, then run */
	harness_on_access = NULL;
	assert_int_equal(emulated.how, RAN);
	assert_true(async_rip == CODE_ADDR + 6);
	sigprocmask(SIG_SETMASK, NULL, &after);
	assert_memory_equal(&before, &after, 8);
	signal(SIGUSR1, SIG_DFL);
}

static void frame_init(ucontext_t *uc, const struct cpu *c)
{
	static const int greg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

	memset(uc, 0, sizeof(*uc));
	for (unsigned int i = 0; i < 16; i++)
		uc->uc_mcontext.gregs[greg[i]] = (greg_t)c->gpr[i];
	uc->uc_mcontext.gregs[REG_RIP] = CODE_ADDR;
	uc->uc_mcontext.gregs[REG_EFL] = (greg_t)c->flags;
}

static void insn_of(struct insn *in, const uint8_t *code, size_t len)
{
	insn_decode(code, len, in);
	assert_int_equal(in->len, len);
}

static void test_movdir64b(void **state)
{
	struct cpu c = cpu_plain();
	struct insn in;
	ucontext_t uc;

	insn_of(&in, CODE(0x66, 0x0f, 0x38, 0xf8, 0x03)); /* movdir64b (%rbx), %rax */
	memcpy(memory_alias, memory, MEMORY_SIZE);
	c.gpr[RBX] = MEMORY_ADDR + 0x11;
	c.gpr[RAX] = MIDDLE + 0x40;
	frame_init(&uc, &c);
	assert_int_equal(run_direct(&in, &uc, MIDDLE + 0x40, &emulated), EMULATE_DONE);
	assert_int_equal(emulated.accesses, 8);
	assert_memory_equal(memory_alias + (MIDDLE - MEMORY_ADDR) + 0x40, memory + 0x11, 64);
	assert_true(uc.uc_mcontext.gregs[REG_RIP] == CODE_ADDR + 5);

	c.gpr[RBX] = MIDDLE;
	c.gpr[RAX] = MEMORY_ADDR;
	frame_init(&uc, &c);
	assert_int_equal(run_direct(&in, &uc, MIDDLE, &emulated), EMULATE_DONE);
	assert_memory_equal(memory_alias, memory + (MIDDLE - MEMORY_ADDR), 64);

	c.gpr[RAX] = MEMORY_ADDR + 32;
	frame_init(&uc, &c);
	assert_int_equal(run_direct(&in, &uc, MIDDLE, &emulated), EMULATE_FAIL);
	c.gpr[RBX] = HOLE_ADDR - 32;
	c.gpr[RAX] = MIDDLE;
	frame_init(&uc, &c);
	assert_int_equal(run_direct(&in, &uc, MIDDLE, &emulated), EMULATE_FAULT);
	assert_true(emulated.signal_addr == HOLE_ADDR);
	assert_int_equal(emulated.accesses, 0);
	assert_true(uc.uc_mcontext.gregs[REG_RIP] == CODE_ADDR);
}

/* With every slot in use nothing changes, so that the instruction faults again. TF is off in a slot, and on after. */
static void test_slots(void **state)
{
	struct ool_pool *p = harness_pool();
	struct cpu c = cpu_plain();
	ucontext_t uc, before;
	struct insn in;

	insn_of(&in, CODE(0xff, 0x03)); /* incl (%rbx) */
	c.flags |= 0x100;
	frame_init(&uc, &c);
	before = uc;
	for (unsigned int i = 0; i < p->count; i++) {
		assert_int_equal(run_direct(&in, &uc, MIDDLE, &emulated), EMULATE_RUN);
		assert_true(ool_owns(p, (uint64_t)uc.uc_mcontext.gregs[REG_RIP]));
		assert_false(uc.uc_mcontext.gregs[REG_EFL] & 0x100);
		if (i < p->count - 1)
			uc = before;
	}
	before.uc_mcontext.gregs[REG_RBX] = MIDDLE;
	{
		ucontext_t again = before;

		assert_int_equal(run_direct(&in, &again, MIDDLE, &emulated), EMULATE_DONE);
		assert_memory_equal(&again, &before, sizeof(again));
		assert_int_equal(emulated.accesses, 0);
	}
	/* Back out of the last one, as if the copy had faulted. */
	assert_int_equal(emulate_finish(&uc, harness_env()), EMULATE_FAIL);
	assert_memory_equal(&uc, &before, sizeof(uc));
	ool_init(p, p->rw, (void *)p->rx, p->count);
	/* A jump into an idle slot is nobody's instruction. */
	uc.uc_mcontext.gregs[REG_RIP] = (greg_t)p->rx;
	assert_int_equal(emulate_finish(&uc, harness_env()), EMULATE_FAIL);
	assert_true((uint64_t)uc.uc_mcontext.gregs[REG_RIP] == p->rx);
	assert_false(ool_owns(p, p->rx - 1));
	assert_false(ool_owns(p, p->rx + p->count * OOL_SLOT_SIZE));
}

/* The code may have changed since it was decoded: an operand elsewhere than the fault is refused. */
static void test_wrong_address(void **state)
{
	struct cpu c = cpu_plain();
	struct insn in;
	ucontext_t uc;

	frame_init(&uc, &c);
	insn_of(&in, CODE(0x8b, 0x03));
	assert_int_equal(run_direct(&in, &uc, MIDDLE + 4, &emulated), EMULATE_FAIL);
	assert_int_equal(run_direct(&in, &uc, MIDDLE - 1, &emulated), EMULATE_FAIL);
	insn_of(&in, CODE(0xff, 0x03));
	assert_int_equal(run_direct(&in, &uc, MIDDLE + 4, &emulated), EMULATE_FAIL);
	memset(&in, 0, sizeof(in));
	assert_int_equal(run_direct(&in, &uc, MIDDLE, &emulated), EMULATE_FAIL);
	assert_int_equal(emulated.accesses, 0);
	no_slot_is_busy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_access_widths),
	    cmocka_unit_test(test_masked_accesses),
	    cmocka_unit_test(test_vector_masked_accesses),
	    cmocka_unit_test(test_window_edges),
	    cmocka_unit_test(test_not_emulated),
	    cmocka_unit_test(test_rep_across),
	    cmocka_unit_test(test_rep_faults),
	    cmocka_unit_test(test_copy_faults),
	    cmocka_unit_test(test_signal_in_between),
	    cmocka_unit_test(test_movdir64b),
	    cmocka_unit_test(test_slots),
	    cmocka_unit_test(test_wrong_address),
	};
	int r = harness_init();

	if (r) {
		fprintf(stderr, "cannot map what the test needs\n");
		return r;
	}
	return cmocka_run_group_tests_name("emulate_edge", tests, NULL, NULL);
}
