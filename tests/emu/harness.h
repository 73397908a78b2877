/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Run one instruction on a processor state of the test's choosing, natively on ordinary memory or emulated on a window:
 * the same addresses, once readable and writable, once PROT_NONE with the fault handler behind.
 */
#ifndef PINFOLD_TESTS_EMU_HARNESS_H
#define PINFOLD_TESTS_EMU_HARNESS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boundary/emulate.h"

#define PAGE 4096ul

/* Low enough for 32-bit addresses, and for sanitizers. code | gap | memory, window, window, memory, hole */
#define CODE_ADDR   0x30000000ul
#define MEMORY_ADDR 0x30010000ul
#define WINDOW_ADDR (MEMORY_ADDR + PAGE)
#define WINDOW_SIZE (2 * PAGE)
#define MIDDLE	    (WINDOW_ADDR + PAGE) /* a page boundary inside the window */
#define MEMORY_SIZE (4 * PAGE)
#define HOLE_ADDR   (MEMORY_ADDR + MEMORY_SIZE)

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

#define FLAGS_ARITHMETIC 0x8d5u
#define FLAG_DF		 0x400u

struct cpu {
	uint64_t gpr[16];
	uint64_t flags;
	uint64_t k[8];
	uint8_t pad[56];
	uint8_t fx[512]; /* FXSAVE64; its XMM part is not loaded */
	uint8_t zmm[32][64];
};

enum level { LEVEL_SSE = 0, LEVEL_AVX = 2, LEVEL_AVX512 = 3 };
extern uint32_t cpu_level;

struct access {
	uint64_t addr, val;
	uint32_t size;
	bool write;
};

struct outcome {
	struct cpu cpu;
	uint8_t memory[MEMORY_SIZE];
	enum { RAN, SIGNALLED } how;
	int signo; /* SIGNALLED: the program's signal, */
	uint64_t signal_rip;
	uint64_t signal_addr; /* or what EMULATE_FAULT named */
	uint64_t signal_mask; /* and the frame's mask */
	enum emulate verdict; /* the last of an emulated run */
	unsigned int traps;
	struct access access[16384];
	unsigned int accesses;
};

/* The backing of the whole MEMORY range, always readable and writable. */
extern uint8_t *memory_alias;

struct ool_pool *harness_pool(void);
const struct emulate_env *harness_env(void);
/* Called in the handler before each access of an emulated run; NULL for none. */
extern void (*harness_on_access)(void);
/* Set up mappings, alternate stack, handlers. 0, or 77 when the machine cannot. */
int harness_init(void);
uint64_t harness_fs(void);
uint64_t harness_gs(void);
void harness_use_fsgsbase(bool use);
/*
 * As the boundary does it, past libc: a sanitizer's sigaction delays asynchronous signals, and blocks the faults that
 * a handler itself may take.
 */
void harness_sigaction(int signo, void (*handler)(int, siginfo_t *, void *), int flags, uint64_t mask);

uint64_t test_random(void);
void test_seed(uint64_t seed);
void cpu_randomize(struct cpu *c);

/* memory is the content before. */
void run_native(const struct cpu *c, const uint8_t *memory, const void *code, size_t len, struct outcome *out);
void run_emulated(const struct cpu *c, const uint8_t *memory, const void *code, size_t len, struct outcome *out);

/* Emulate without a signal, on a frame of the caller's making (which has no FPU state); then the native memory is
 * there. */
enum emulate run_direct(const struct insn *in, ucontext_t *uc, uint64_t fault_addr, struct outcome *out);

/* The first difference in registers, flags and memory, or NULL; a static string. */
const char *outcome_differs(const struct outcome *a, const struct outcome *b);

/* insns.S */
struct insn_row {
	const char *name;
	const uint8_t *code;
	uint32_t len, feature;
};
extern const struct insn_row insn_rows[], insn_rows_end[];
bool feature_present(uint32_t feature);

#endif
