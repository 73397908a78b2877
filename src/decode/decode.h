/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an instruction that touched a BAR does to memory. The broker decodes (with Zydis), the boundary emulates:
 * struct insn (proto/insn.h) is all that passes between them.
 */
#ifndef PINFOLD_DECODE_DECODE_H
#define PINFOLD_DECODE_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/insn.h"

/*
 * Decode the 64-bit mode instruction that starts at code, of which n bytes are there (more than INSN_MAX_BYTES are
 * ignored). Any bytes are safe input. What is no instruction, is cut short, or cannot be emulated becomes INSN_UNKNOWN;
 * then bytes and len still describe the instruction where there is one, and everything else is zero.
 */
void insn_decode(const uint8_t *code, size_t n, struct insn *out);

#endif
