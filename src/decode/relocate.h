/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to decode/: rewriting an instruction so that a copy of it, run elsewhere, finds its memory operand at
 * [scratch].
 */
#ifndef PINFOLD_DECODE_RELOCATE_H
#define PINFOLD_DECODE_RELOCATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

#include "proto/insn.h"

struct decoded {
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	const uint8_t *code; /* where the instruction starts */
};

bool decode_one(const uint8_t *code, size_t n, struct decoded *d);

/* The number of a general register as insn.h counts (INSN_HIGH_BYTE for ah...), or INSN_REG_NONE. */
uint8_t decode_gpr(ZydisRegister reg);

/*
 * Fill out->scratch, copy and copy_len. Return: 0, or -ENOTSUP when the instruction cannot be rewritten; out is then
 * untouched.
 */
int insn_relocate(const struct decoded *d, struct insn *out);

#endif
