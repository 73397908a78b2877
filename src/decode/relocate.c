/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copy keeps the opcode, the register operands and the immediates, and gets the shortest memory operand there is:
 * ModRM.mod = 0 with one of rax, rcx, rdx, rbx, rsi, rdi as the base, no SIB, no displacement (Intel SDM volume 2,
 * section 2.1.5, table 2-2). It is never longer than the original.
 */
#include "decode/relocate.h"

#include <errno.h>
#include <string.h>

struct copy {
	uint8_t bytes[INSN_MAX_BYTES + 1];
	uint8_t len;
};

/* rsp and rbp as a base would need a SIB or a displacement; r8..r15 an extension bit, which VEX.C5 has not. */
static const uint8_t candidates[] = {6, 7, 3, 2, 1, 0};

static uint8_t scratch_pick(const struct decoded *d)
{
	uint32_t used = 0;

	for (unsigned int i = 0; i < d->in.operand_count; i++) {
		const ZydisDecodedOperand *op = &d->op[i];
		uint8_t reg;

		/* The base and index of the memory operand do not occur in the copy. */
		if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		reg = decode_gpr(op->reg.value);
		if (reg != INSN_REG_NONE)
			used |= 1u << (reg & INSN_HIGH_BYTE ? reg & 3 : reg);
	}
	for (unsigned int i = 0; i < sizeof(candidates); i++)
		if (!(used & 1u << candidates[i]))
			return candidates[i];
	return INSN_REG_NONE;
}

static void copy_byte(struct copy *c, uint8_t byte)
{
	if (c->len < sizeof(c->bytes))
		c->bytes[c->len++] = byte;
}

static bool byte_is_rex(uint8_t b)
{
	return (b & 0xf0) == 0x40;
}

/*
 * Legacy prefixes and REX. Segment and address size belong to the old operand. A REX that is not the last prefix is
 * without effect; it goes, lest it gain one when what stood behind it is dropped.
 */
static void copy_prefixes(const uint8_t *code, unsigned int n, struct copy *c)
{
	for (unsigned int i = 0; i < n; i++) {
		switch (code[i]) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0x67:
			continue;
		}
		if (!byte_is_rex(code[i]))
			copy_byte(c, code[i]);
		else if (i == n - 1)
			copy_byte(c, code[i] & ~0x03); /* B and X extended the old base and index */
	}
}

/* VEX (C4), XOP and EVEX carry X and B inverted in bits 6 and 5 of their second byte; C5 has neither. */
static void copy_opcode(const struct decoded *d, const uint8_t *code, unsigned int start, struct copy *c)
{
	bool extended = d->in.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
			d->in.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
			(d->in.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && code[start] == 0xc4);

	for (unsigned int i = start; i < d->in.raw.modrm.offset; i++)
		copy_byte(c, extended && i == start + 1 ? code[i] | 0x60 : code[i]);
}

static bool registers_equal(const struct decoded *a, const struct decoded *b)
{
	for (unsigned int i = 0; i < a->in.operand_count; i++) {
		const ZydisDecodedOperand *x = &a->op[i], *y = &b->op[i];

		if (x->type != y->type || x->size != y->size)
			return false;
		if (x->type == ZYDIS_OPERAND_TYPE_REGISTER && x->reg.value != y->reg.value)
			return false;
		if (x->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && x->imm.value.u != y->imm.value.u)
			return false;
		if (y->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (y->mem.index != ZYDIS_REGISTER_NONE || y->mem.disp.value != 0 ||
		     (y->mem.segment != ZYDIS_REGISTER_DS && y->mem.segment != ZYDIS_REGISTER_SS)))
			return false;
	}
	return true;
}

/* Believe the rewrite only when the decoder reads it back as the same instruction on [scratch]. */
static bool copy_is_faithful(const struct decoded *d, const struct copy *c, uint8_t scratch)
{
	struct decoded e;

	if (!decode_one(c->bytes, c->len, &e) || e.in.length != c->len)
		return false;
	if (e.in.mnemonic != d->in.mnemonic || e.in.encoding != d->in.encoding || e.in.opcode != d->in.opcode ||
	    e.in.operand_count != d->in.operand_count || e.in.operand_width != d->in.operand_width ||
	    e.in.avx.mask.reg != d->in.avx.mask.reg || e.in.avx.mask.mode != d->in.avx.mask.mode ||
	    e.in.avx.vector_length != d->in.avx.vector_length ||
	    ((e.in.attributes ^ d->in.attributes) & ZYDIS_ATTRIB_HAS_LOCK) || !registers_equal(d, &e))
		return false;
	for (unsigned int i = 0; i < e.in.operand_count; i++)
		if (e.op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return e.op[i].mem.base == ZYDIS_REGISTER_RAX + scratch;
	return false;
}

int insn_relocate(const struct decoded *d, struct insn *out)
{
	const ZydisDecodedInstructionRaw *raw = &d->in.raw;
	uint8_t scratch = scratch_pick(d);
	const uint8_t *code = d->code;
	struct copy c = {.len = 0};
	unsigned int tail;

	if (!(d->in.attributes & ZYDIS_ATTRIB_HAS_MODRM) || raw->modrm.mod == 3 || scratch == INSN_REG_NONE)
		return -ENOTSUP;
	copy_prefixes(code, raw->prefix_count, &c);
	copy_opcode(d, code, raw->prefix_count, &c);
	copy_byte(&c, (uint8_t)((code[raw->modrm.offset] & 0x38) | scratch));
	tail = raw->modrm.offset + 1u + (d->in.attributes & ZYDIS_ATTRIB_HAS_SIB ? 1 : 0) + raw->disp.size / 8;
	for (unsigned int i = tail; i < d->in.length; i++)
		copy_byte(&c, code[i]);
	if (c.len > INSN_MAX_BYTES || !copy_is_faithful(d, &c, scratch))
		return -ENOTSUP;
	out->scratch = scratch;
	out->copy_len = c.len;
	memcpy(out->copy, c.bytes, c.len);
	return 0;
}
