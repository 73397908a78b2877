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
	INSN_STRING,	  /* movs, stos, lods (rep or not) with a BAR at either end */
	INSN_OUT_OF_LINE, /* anything else with one memory operand: run a copy on a scratch slot */
};

enum insn_ext { INSN_EXT_NONE, INSN_EXT_ZERO, INSN_EXT_SIGN };

enum insn_string { INSN_MOVS, INSN_STOS, INSN_LODS };

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
	uint8_t writes_base; /* OUT_OF_LINE: the instruction itself writes the base register */
	uint8_t spare[7];
	int64_t disp;
	uint64_t imm; /* STORE with an immediate, sign extended */
};
_Static_assert(sizeof(struct insn) == 56, "struct insn is part of the protocol");

#endif
