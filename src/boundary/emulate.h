/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Emulation of the instruction that touched a BAR mapped with PROT_NONE. Freestanding: no libc, no TLS, no allocation;
 * async-signal-safe as long as the callbacks are.
 *
 * In the SIGSEGV handler:
 *
 *	if (ool_owns(pool, rip))
 *		r = emulate_finish(uc, env);
 *	else if (the address lies in a window)
 *		r = emulate(insn, uc, addr, env, &bad);
 *	DONE, RUN: return from the handler. FAULT: the program's own SIGSEGV, at address bad. FAIL: likewise, as it
 *came.
 *
 * An access of up to 8 bytes that is naturally aligned is one call of read or write. Everything else (vectors,
 * unaligned accesses) becomes the largest naturally aligned pieces of at most 8 bytes, in ascending order. An access
 * that lies partly outside the windows fails before anything has been read or written. Locked instructions are a read
 * and a write, not atomic with other accesses to the same register.
 */
#ifndef PINFOLD_BOUNDARY_EMULATE_H
#define PINFOLD_BOUNDARY_EMULATE_H

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#include "proto/insn.h"

struct mmio_ops {
	/* addr is the client's virtual address; size 1, 2, 4 or 8; addr is a multiple of size. */
	uint64_t (*read)(void *ctx, uint64_t addr, unsigned int size);
	void (*write)(void *ctx, uint64_t addr, unsigned int size, uint64_t val);
};

/*
 * A slot runs a copy of one instruction whose memory operand is redirected to the slot's data; then hlt, which is
 * privileged, raises SIGSEGV (si_code SI_KERNEL, si_addr 0) with RIP at the hlt. Meanwhile the thread's asynchronous
 * signals are blocked in the frame's mask, so that the program never sees the state in between, and TF is off.
 */
#define OOL_SLOT_SIZE 256
#define OOL_CODE_SIZE 32
#define OOL_DATA_SIZE 128

struct ool_slot {
	uint8_t code[OOL_CODE_SIZE];
	_Atomic uint32_t busy;
	uint8_t trap; /* offset of the hlt in code */
	uint8_t len;  /* of the original instruction */
	uint8_t scratch;
	uint8_t mem_size;
	uint8_t mem_write;
	uint8_t tf;
	uint8_t pad[6];
	uint64_t rip;		/* of the original instruction */
	uint64_t scratch_value; /* what the scratch register held */
	uint64_t sigmask;
	uint64_t addr;	/* of the operand */
	uint64_t bytes; /* bit i: byte i of the operand is accessed */
	uint8_t pad2[40];
	uint8_t data[OOL_DATA_SIZE]; /* the operand, at its address modulo 64 */
};
_Static_assert(sizeof(struct ool_slot) == OOL_SLOT_SIZE, "slots are indexed by RIP");

struct ool_pool {
	struct ool_slot *rw;
	uint64_t rx;
	uint32_t count;
	uint32_t opmask_offset; /* of the AVX-512 opmask registers in the XSAVE area, 0 = none */
};

/*
 * rw and rx are two page aligned mappings of the same count * OOL_SLOT_SIZE bytes (a memfd), one writable, one
 * executable; both may be the same. One pool serves all threads; 64 slots are plenty: when all are in use the
 * instruction faults again until one is free. After fork, the child must map memory of its own in the same places (a
 * shared mapping would be the parent's) and initialise again.
 */
void ool_init(struct ool_pool *p, void *rw, const void *rx, unsigned int count);

static inline bool ool_owns(const struct ool_pool *p, uint64_t rip)
{
	return rip - p->rx < (uint64_t)p->count * OOL_SLOT_SIZE;
}

struct emulate_env {
	const struct mmio_ops *ops;
	bool (*is_mmio)(void *ctx, uint64_t addr); /* windows begin and end at page boundaries */
	bool (*refused)(void *ctx);		   /* asked after reads: they had no answer. NULL: they always have */
	void *ctx;
	struct ool_pool *pool; /* NULL: what must run out of line fails */
	bool fsgsbase;	       /* AT_HWCAP2 bit 1: rdfsbase works */
	/* Else: arch_prctl(ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004), returns 0 or -errno. NULL: fs and gs fail. */
	int (*arch_prctl)(int code, uint64_t *base);
};

enum emulate {
	EMULATE_DONE, /* registers, flags and RIP are as the instruction leaves them (rep: perhaps half-way through) */
	EMULATE_RUN,  /* RIP is in a slot; the next trap there goes to emulate_finish */
	EMULATE_FAIL, /* nothing was accessed, uc is as it was: the program gets its SIGSEGV */
	EMULATE_REFUSED, /* a read had no answer; registers are as before, of a string instruction at the element
			    reached */
	EMULATE_FAULT,	 /* a string instruction's ordinary memory is not there; registers are at the element reached */
};

/* bad is written for EMULATE_FAULT only. */
enum emulate emulate(const struct insn *in, ucontext_t *uc, uint64_t fault_addr, const struct emulate_env *env,
		     uint64_t *bad);

/*
 * For a signal whose RIP is in the pool. After the hlt: DONE. A signal at the copy itself (an unaligned movaps, a
 * division by zero, an unmasked SIMD exception) is the program's: FAIL, and uc points at the original instruction again
 * with nothing written. (SIGFPE, SIGILL and SIGTRAP get here only if their handlers ask ool_owns first; a program's own
 * SIGFPE handler otherwise sees RIP in the slot, and the slot stays in use if it does not return.)
 */
enum emulate emulate_finish(ucontext_t *uc, const struct emulate_env *env);

#endif
