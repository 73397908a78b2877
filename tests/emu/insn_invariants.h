/* SPDX-License-Identifier: BSD-3-Clause */
/* What holds for insn_decode's answer to any bytes. The emulator relies on it without looking. */
#ifndef PINFOLD_TESTS_EMU_INSN_INVARIANTS_H
#define PINFOLD_TESTS_EMU_INSN_INVARIANTS_H

#include <stdbool.h>
#include <string.h>

#include "decode/decode.h"

static inline bool insn_reg_ok(uint8_t reg)
{
	return reg < 16 || (reg >= INSN_HIGH_BYTE && reg < INSN_HIGH_BYTE + 4);
}

static inline bool insn_size_ok(uint8_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static inline bool insn_address_ok(const struct insn *in)
{
	return (in->base < 16 || in->base == INSN_REG_NONE || in->base == INSN_REG_RIP) &&
	       (in->index < 16 || in->index == INSN_REG_NONE) && insn_size_ok(in->scale) && in->seg <= 2 &&
	       (in->addr_size == 4 || in->addr_size == 8);
}

static inline bool insn_copy_ok(const struct insn *in)
{
	struct insn copy;

	insn_decode(in->copy, in->copy_len, &copy);
	return in->copy_len >= 2 && in->copy_len <= in->len && copy.class == INSN_OUT_OF_LINE &&
	       copy.len == in->copy_len && copy.base == in->scratch && copy.index == INSN_REG_NONE && copy.disp == 0 &&
	       copy.seg == 0 && copy.addr_size == 8 && copy.mem_size == in->mem_size && copy.mem_read == in->mem_read &&
	       copy.mem_write == in->mem_write && copy.mask == in->mask && copy.mask_reg == in->mask_reg &&
	       copy.mask_elem == in->mask_elem && copy.bit_reg == in->bit_reg;
}

static inline bool insn_mask_ok(const struct insn *in)
{
	switch (in->mask) {
	case INSN_MASK_NONE:
		return in->mask_elem == 0;
	case INSN_MASK_EACH:
	case INSN_MASK_PACKED:
		return in->mask_reg >= 1 && in->mask_reg < 8 && insn_size_ok(in->mask_elem) &&
		       in->mem_size % in->mask_elem == 0;
	case INSN_MASK_VECTOR:
		return in->mask_reg < 16 && (in->mask_elem == 4 || in->mask_elem == 8) &&
		       (in->mem_size == 16 || in->mem_size == 32);
	default:
		return false;
	}
}

static inline bool insn_class_ok(const struct insn *in)
{
	static const struct insn zero;

	switch (in->class) {
	case INSN_UNKNOWN:
		return !memcmp((const uint8_t *)in + 17, (const uint8_t *)&zero + 17, sizeof(zero) - 17);
	case INSN_LOAD:
		return insn_address_ok(in) && insn_reg_ok(in->reg) && insn_size_ok(in->mem_size) &&
		       insn_size_ok(in->reg_size) && in->mem_size <= in->reg_size && in->ext <= INSN_EXT_SIGN &&
		       (!(in->reg & INSN_HIGH_BYTE) || in->reg_size == 1);
	case INSN_STORE:
		return insn_address_ok(in) && insn_size_ok(in->mem_size) &&
		       (in->reg == INSN_REG_NONE || insn_reg_ok(in->reg));
	case INSN_STRING:
		if (in->string == INSN_MOVDIR64B)
			return insn_address_ok(in) && in->mem_size == 64 && in->reg < 16;
		return insn_size_ok(in->mem_size) && in->string <= INSN_LODS && in->rep <= 1 && in->seg <= 2 &&
		       (in->addr_size == 4 || in->addr_size == 8);
	case INSN_OUT_OF_LINE:
		return insn_address_ok(in) && in->mem_size >= 1 && in->mem_size <= 64 && insn_mask_ok(in) &&
		       in->scratch < 8 && in->scratch != 4 && in->scratch != 5 &&
		       (in->bit_reg == INSN_REG_NONE || (in->bit_reg < 16 && in->bit_reg != in->scratch)) &&
		       insn_copy_ok(in);
	default:
		return false;
	}
}

static inline bool insn_invariants(const uint8_t *code, size_t n)
{
	struct insn in, again;

	memset(&in, 0xff, sizeof(in));
	insn_decode(code, n, &in);
	if (in.len > INSN_MAX_BYTES || in.len > n || (in.class != INSN_UNKNOWN && in.len == 0) ||
	    memcmp(in.bytes, code, in.len))
		return false;
	for (unsigned int i = in.len; i < sizeof(in.bytes); i++)
		if (in.bytes[i])
			return false;
	/* What follows the instruction does not matter. */
	insn_decode(in.bytes, in.len, &again);
	return !memcmp(&in, &again, sizeof(in)) && insn_class_ok(&in);
}

#endif
