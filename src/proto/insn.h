/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One decoded instruction that touched a mapped BAR, as the broker's decoder (decode/, with Zydis) describes it to the
 * boundary's emulator (boundary/emulate.c). The boundary caches it by instruction pointer, with the instruction's bytes
 * as the key's other half.
 */
#ifndef PINFOLD_PROTO_INSN_H
#define PINFOLD_PROTO_INSN_H

#include <stdint.h>

#define INSN_MAX_BYTES 15

enum insn_class {
	INSN_UNKNOWN = 0, /* not a memory access that can be emulated: deliver SIGSEGV */
	INSN_LOAD,	  /* reg <- mem; also movzx, movsx, movsxd, movbe */
	INSN_STORE,	  /* mem <- reg or immediate; also movbe */
	INSN_STRING,	  /* movs, stos, lods (rep or not), movdir64b with a BAR at either end */
	INSN_OUT_OF_LINE, /* anything else with one memory operand: run a copy on a scratch slot */
};

enum insn_ext { INSN_EXT_NONE, INSN_EXT_ZERO, INSN_EXT_SIGN };

/* MOVDIR64B: the source is the memory operand, reg holds the destination's address. */
enum insn_string { INSN_MOVS, INSN_STOS, INSN_LODS, INSN_MOVDIR64B };

/*
 * OUT_OF_LINE: which of the operand's elements (mask_elem bytes each) the instruction touches. What it does not touch
 * must not be read nor written: a register may mind.
 */
enum insn_mask {
	INSN_MASK_NONE,	  /* all */
	INSN_MASK_EACH,	  /* element i, if bit i of opmask register mask_reg is set */
	INSN_MASK_PACKED, /* as many as bits are set, from the first on (compress, expand) */
	INSN_MASK_VECTOR, /* element i, if the sign bit of element i of vector register mask_reg is set */
};

#define INSN_REG_NONE 0xff
#define INSN_REG_RIP  0xfe
/* Register numbers: 0..15 as encoded (rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8..r15); INSN_HIGH_BYTE added for ah,
 * ch, dh, bh. */
#define INSN_HIGH_BYTE 0x40

struct insn {
	uint8_t bytes[16];   /* the instruction, zero padded */
	uint8_t len;	     /* bytes used */
	uint8_t class;	     /* enum insn_class */
	uint8_t mem_size;    /* bytes of one access to memory: 1..64 */
	uint8_t reg;	     /* LOAD and STORE: register, or INSN_REG_NONE for an immediate */
	uint8_t reg_size;    /* LOAD: width written, 1, 2, 4 (clears the upper half), 8 */
	uint8_t ext;	     /* enum insn_ext, LOAD */
	uint8_t swap;	     /* movbe */
	uint8_t string;	     /* enum insn_string */
	uint8_t rep;	     /* STRING with a rep prefix */
	uint8_t mem_read;    /* OUT_OF_LINE: the operand is read ... */
	uint8_t mem_write;   /* ... and written */
	uint8_t base, index; /* the memory operand: register or INSN_REG_NONE; base may be INSN_REG_RIP */
	uint8_t scale;	     /* 1, 2, 4, 8 */
	uint8_t addr_size;   /* 4 or 8 */
	uint8_t seg;	     /* 0 = none, 1 = fs, 2 = gs */
	uint8_t scratch;     /* OUT_OF_LINE: register that the instruction does not use; the base in the copy */
	uint8_t bit_reg;     /* OUT_OF_LINE: register with a bit offset that moves the address (bt and kin), or NONE */
	uint8_t mask;	     /* OUT_OF_LINE: enum insn_mask */
	uint8_t mask_reg;    /* opmask (0..7) or vector register (0..15) */
	uint8_t mask_elem;   /* 1, 2, 4, 8 */
	uint8_t copy_len;
	uint8_t spare[2];
	int64_t disp;
	uint64_t imm;	  /* STORE with an immediate, sign extended */
	uint8_t copy[16]; /* OUT_OF_LINE: the instruction, its memory operand being [scratch]; zero padded */
};
_Static_assert(sizeof(struct insn) == 72, "struct insn is part of the protocol");

#endif
