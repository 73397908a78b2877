/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to the emulator: registers in a signal frame, and memory operands in windows. */
#ifndef PINFOLD_BOUNDARY_EMULATE_OPERAND_H
#define PINFOLD_BOUNDARY_EMULATE_OPERAND_H

#include <stddef.h>

#include "boundary/emulate.h"

#define EFLAGS_TF 0x00000100u
#define EFLAGS_DF 0x00000400u
#define EFLAGS_RF 0x00010000u

enum side { SIDE_MEMORY, SIDE_MMIO, SIDE_SPLIT };

/* The compiler would turn a loop into a call of memcpy, which is not there. */
static inline void bytes_copy(void *dst, const void *src, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

static inline uint64_t low_bytes(unsigned int n)
{
	return n >= 8 ? ~0ull : (1ull << (n * 8)) - 1;
}

/* Bits 0..n-1, one for each byte of an operand. */
static inline uint64_t low_bits(unsigned int n)
{
	return n >= 64 ? ~0ull : (1ull << n) - 1;
}

/* A register by insn.h's number, INSN_HIGH_BYTE not among them. */
greg_t *frame_gpr(ucontext_t *uc, unsigned int reg);

uint64_t frame_gpr_read(ucontext_t *uc, unsigned int reg, unsigned int size);
/* 1 and 2 bytes leave the rest as it is, 4 bytes clear the upper half (Intel SDM volume 1, section 3.4.1.1). */
void frame_gpr_write(ucontext_t *uc, unsigned int reg, unsigned int size, uint64_t val);

/* Step over the instruction. */
static inline void frame_advance(ucontext_t *uc, unsigned int len)
{
	uc->uc_mcontext.gregs[REG_RIP] += len;
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)EFLAGS_RF;
}

bool segment_base(const struct emulate_env *env, unsigned int seg, uint64_t *base);

/* delta: what a bit offset adds, in bytes. */
bool operand_address(const struct insn *in, ucontext_t *uc, const struct emulate_env *env, int64_t *delta,
		     uint64_t *addr);

/* The bytes of an OUT_OF_LINE operand that its mask lets through. */
uint64_t operand_bytes(const struct insn *in, const ucontext_t *uc, uint32_t opmask_offset);

enum side operand_side(const struct emulate_env *env, uint64_t addr, unsigned int n);

static inline bool operand_refused(const struct emulate_env *env)
{
	return env->refused && env->refused(env->ctx);
}

void operand_read(const struct emulate_env *env, uint64_t addr, unsigned int n, uint64_t bytes, void *buf);
void operand_write(const struct emulate_env *env, uint64_t addr, unsigned int n, uint64_t bytes, const void *buf);

/* emulate_string.c, ool.c */
enum emulate emulate_string(const struct insn *in, ucontext_t *uc, const struct emulate_env *env, uint64_t *bad);
enum emulate emulate_out_of_line(const struct insn *in, ucontext_t *uc, uint64_t fault_addr,
				 const struct emulate_env *env);

#endif
