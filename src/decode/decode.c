/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/decode.h"

#include <stdbool.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "decode/relocate.h"

/* What an OUT_OF_LINE operand can be at most: one ZMM register. Larger ones (xsave) are UNKNOWN. */
#define MEM_SIZE_MAX 64

uint8_t decode_gpr(ZydisRegister reg)
{
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return (uint8_t)(INSN_HIGH_BYTE + (reg - ZYDIS_REGISTER_AH));
	reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return (uint8_t)(reg - ZYDIS_REGISTER_RAX);
	return INSN_REG_NONE;
}

bool decode_one(const uint8_t *code, size_t n, struct decoded *d)
{
	ZydisDecoder decoder;

	d->code = code;
	return ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) &&
	       ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, n, &d->in, d->op));
}

/* The one memory operand, if it is explicit and ordinary and no hidden one (a stack, a string) exists beside it. */
static const ZydisDecodedOperand *operand_memory(const struct decoded *d)
{
	const ZydisDecodedOperand *mem = NULL;

	for (unsigned int i = 0; i < d->in.operand_count; i++) {
		const ZydisDecodedOperand *op = &d->op[i];

		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (mem || op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT || op->mem.type != ZYDIS_MEMOP_TYPE_MEM)
			return NULL;
		mem = op;
	}
	if (!mem || mem->size % 8 || mem->size == 0 || mem->size > 8 * MEM_SIZE_MAX)
		return NULL;
	return mem;
}

static uint8_t segment_number(ZydisRegister seg)
{
	return seg == ZYDIS_REGISTER_FS ? 1 : seg == ZYDIS_REGISTER_GS ? 2 : 0;
}

static bool address_describe(const struct decoded *d, const ZydisDecodedOperand *mem, struct insn *out)
{
	ZydisRegister base = mem->mem.base;

	out->mem_size = (uint8_t)(mem->size / 8);
	out->seg = segment_number(mem->mem.segment);
	out->addr_size = d->in.address_width == 32 ? 4 : 8;
	out->disp = mem->mem.disp.value;
	out->scale = mem->mem.scale ? mem->mem.scale : 1;
	out->base = base == ZYDIS_REGISTER_RIP || base == ZYDIS_REGISTER_EIP ? INSN_REG_RIP : decode_gpr(base);
	out->index = decode_gpr(mem->mem.index);
	return (base == ZYDIS_REGISTER_NONE) == (out->base == INSN_REG_NONE) &&
	       (mem->mem.index == ZYDIS_REGISTER_NONE) == (out->index == INSN_REG_NONE);
}

static bool operand_is_gpr(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER && decode_gpr(op->reg.value) != INSN_REG_NONE;
}

static bool mnemonic_moves(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_MOV || m == ZYDIS_MNEMONIC_MOVZX || m == ZYDIS_MNEMONIC_MOVSX ||
	       m == ZYDIS_MNEMONIC_MOVSXD || m == ZYDIS_MNEMONIC_MOVBE || m == ZYDIS_MNEMONIC_MOVNTI ||
	       m == ZYDIS_MNEMONIC_MOVDIRI;
}

/* mov and kin between memory and a general register or an immediate. */
static bool decode_move(const struct decoded *d, const ZydisDecodedOperand *mem, struct insn *out)
{
	const ZydisDecodedOperand *dst = &d->op[0], *src = &d->op[1];

	if (!mnemonic_moves(d->in.mnemonic) || d->in.operand_count < 2 || mem->size > 64)
		return false;
	out->swap = d->in.mnemonic == ZYDIS_MNEMONIC_MOVBE;
	if (src == mem && operand_is_gpr(dst)) {
		out->class = INSN_LOAD;
		out->reg = decode_gpr(dst->reg.value);
		out->reg_size = (uint8_t)(dst->size / 8);
		/* movsxd r16, r/m16: Zydis says 32 bits of memory, the Intel manual 16. */
		if (out->mem_size > out->reg_size)
			out->mem_size = out->reg_size;
		if (d->in.mnemonic == ZYDIS_MNEMONIC_MOVZX)
			out->ext = INSN_EXT_ZERO;
		else if (d->in.mnemonic == ZYDIS_MNEMONIC_MOVSX || d->in.mnemonic == ZYDIS_MNEMONIC_MOVSXD)
			out->ext = INSN_EXT_SIGN;
		return true;
	}
	if (dst != mem)
		return false;
	if (src->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		out->reg = INSN_REG_NONE;
		out->imm = (uint64_t)d->in.raw.imm[0].value.s;
	} else if (operand_is_gpr(src)) {
		out->reg = decode_gpr(src->reg.value);
	} else {
		return false;
	}
	out->class = INSN_STORE;
	return true;
}

static bool string_kind(ZydisMnemonic m, uint8_t *kind)
{
	switch (m) {
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ:
		*kind = INSN_MOVS;
		return true;
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
		*kind = INSN_STOS;
		return true;
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_LODSD:
	case ZYDIS_MNEMONIC_LODSQ:
		*kind = INSN_LODS;
		return true;
	default:
		return false;
	}
}

/* The category tells the string movsd from the SSE2 one. F2 repeats these three as F3 does. */
static bool decode_string(const struct decoded *d, struct insn *out)
{
	const ZydisDecodedOperand *op = NULL;

	if (d->in.meta.category != ZYDIS_CATEGORY_STRINGOP || !string_kind(d->in.mnemonic, &out->string))
		return false;
	/* The last memory operand is movs' source, which is the one that a segment prefix moves. */
	for (unsigned int i = 0; i < d->in.operand_count; i++)
		if (d->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			op = &d->op[i];
	if (!op)
		return false;
	for (unsigned int i = 0; i < d->in.raw.prefix_count; i++)
		out->rep |= d->in.raw.prefixes[i].value == 0xf2 || d->in.raw.prefixes[i].value == 0xf3;
	out->class = INSN_STRING;
	out->mem_size = (uint8_t)(op->size / 8);
	out->seg = out->string == INSN_STOS ? 0 : segment_number(op->mem.segment);
	out->addr_size = d->in.address_width == 32 ? 4 : 8;
	return true;
}

static bool decode_movdir64b(const struct decoded *d, struct insn *out)
{
	if (d->in.mnemonic != ZYDIS_MNEMONIC_MOVDIR64B || d->in.operand_count < 2 || !operand_is_gpr(&d->op[0]) ||
	    d->op[1].type != ZYDIS_OPERAND_TYPE_MEMORY || !address_describe(d, &d->op[1], out))
		return false;
	out->class = INSN_STRING;
	out->string = INSN_MOVDIR64B;
	out->reg = decode_gpr(d->op[0].reg.value);
	out->mem_size = 64;
	return true;
}

static bool exception_class_suppresses(ZydisExceptionClass c)
{
	switch (c) {
	case ZYDIS_EXCEPTION_CLASS_E1:
	case ZYDIS_EXCEPTION_CLASS_E2:
	case ZYDIS_EXCEPTION_CLASS_E3:
	case ZYDIS_EXCEPTION_CLASS_E4:
	case ZYDIS_EXCEPTION_CLASS_E5:
	case ZYDIS_EXCEPTION_CLASS_E6:
	case ZYDIS_EXCEPTION_CLASS_E10:
	case ZYDIS_EXCEPTION_CLASS_E11:
		return true;
	default:
		return false;
	}
}

static bool mnemonic_packs(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_VCOMPRESSPD:
	case ZYDIS_MNEMONIC_VCOMPRESSPS:
	case ZYDIS_MNEMONIC_VPCOMPRESSB:
	case ZYDIS_MNEMONIC_VPCOMPRESSD:
	case ZYDIS_MNEMONIC_VPCOMPRESSQ:
	case ZYDIS_MNEMONIC_VPCOMPRESSW:
	case ZYDIS_MNEMONIC_VEXPANDPD:
	case ZYDIS_MNEMONIC_VEXPANDPS:
	case ZYDIS_MNEMONIC_VPEXPANDB:
	case ZYDIS_MNEMONIC_VPEXPANDD:
	case ZYDIS_MNEMONIC_VPEXPANDQ:
	case ZYDIS_MNEMONIC_VPEXPANDW:
		return true;
	default:
		return false;
	}
}

/* AVX's own masked moves: the mask is the sign bits of the second operand. */
static bool mnemonic_masks_by_vector(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_VMASKMOVPS || m == ZYDIS_MNEMONIC_VMASKMOVPD || m == ZYDIS_MNEMONIC_VPMASKMOVD ||
	       m == ZYDIS_MNEMONIC_VPMASKMOVQ;
}

static bool element_size_valid(unsigned int bytes, unsigned int operand)
{
	return (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) && operand % bytes == 0;
}

/*
 * Does bit i of the mask decide about element i of memory? Shuffles and sums over several elements, and what does not
 * suppress faults, read all of it; so that is the answer where there is doubt.
 */
static bool mask_is_elementwise(const struct decoded *d, const ZydisDecodedOperand *mem)
{
	const ZydisDecodedOperand *dst = &d->op[0];

	if (!element_size_valid(mem->element_size / 8u, mem->size / 8u) ||
	    mem->element_count * mem->element_size != mem->size)
		return false;
	if (dst == mem)
		return true;
	return exception_class_suppresses(d->in.meta.exception_class) &&
	       (ZydisRegisterGetClass(dst->reg.value) == ZYDIS_REGCLASS_MASK || mem->element_count == 1 ||
		dst->element_count == mem->element_count || d->in.meta.category == ZYDIS_CATEGORY_CONVERT);
}

/* A broadcast reads its whole operand if any element wants it; if none did, nothing has faulted. */
static bool mask_opmask(const struct decoded *d, const ZydisDecodedOperand *mem, struct insn *out)
{
	if (d->in.avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID || !mask_is_elementwise(d, mem))
		return &d->op[0] != mem;
	out->mask = mnemonic_packs(d->in.mnemonic) ? INSN_MASK_PACKED : INSN_MASK_EACH;
	out->mask_elem = (uint8_t)(mem->element_size / 8);
	out->mask_reg = (uint8_t)(d->in.avx.mask.reg - ZYDIS_REGISTER_K0);
	return true;
}

static bool mask_describe(const struct decoded *d, const ZydisDecodedOperand *mem, struct insn *out)
{
	ZydisRegister k = d->in.avx.mask.reg;

	if (mnemonic_masks_by_vector(d->in.mnemonic)) {
		out->mask = INSN_MASK_VECTOR;
		out->mask_reg = (uint8_t)ZydisRegisterGetId(d->op[1].reg.value);
		out->mask_elem = (uint8_t)(mem->element_size / 8);
		return d->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER && out->mask_reg < 16 &&
		       element_size_valid(out->mask_elem, out->mem_size);
	}
	if (k <= ZYDIS_REGISTER_K0 || k > ZYDIS_REGISTER_K7)
		return true;
	return mask_opmask(d, mem, out);
}

static bool mnemonic_is_bit_string(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
}

static bool mnemonic_is_cache_control(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_CLFLUSH || m == ZYDIS_MNEMONIC_CLFLUSHOPT || m == ZYDIS_MNEMONIC_CLWB;
}

/* Not what goes elsewhere, and not what needs privilege or touches nothing, and so cannot be what faulted. */
static bool instruction_may_be_moved(const struct decoded *d)
{
	if (d->in.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
		return false;
	switch (d->in.meta.category) {
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_PREFETCH:
	case ZYDIS_CATEGORY_NOP:
	case ZYDIS_CATEGORY_WIDENOP:
		return false;
	default:
		return true;
	}
}

static bool decode_out_of_line(const struct decoded *d, const ZydisDecodedOperand *mem, struct insn *out)
{
	if (!instruction_may_be_moved(d) || !mask_describe(d, mem, out) || insn_relocate(d, out) < 0)
		return false;
	out->class = INSN_OUT_OF_LINE;
	out->reg = INSN_REG_NONE;
	out->bit_reg = INSN_REG_NONE;
	out->mem_read = (mem->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
	out->mem_write = (mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
	if (mnemonic_is_cache_control(d->in.mnemonic)) {
		out->mem_size = 1;
		out->mem_read = out->mem_write = 0;
	}
	if (mnemonic_is_bit_string(d->in.mnemonic) && operand_is_gpr(&d->op[1])) {
		out->bit_reg = decode_gpr(d->op[1].reg.value);
		return out->bit_reg < 16;
	}
	return true;
}

static bool decode_class(const struct decoded *d, struct insn *out)
{
	const ZydisDecodedOperand *mem;

	if (decode_string(d, out) || decode_movdir64b(d, out))
		return true;
	mem = operand_memory(d);
	if (!mem || !address_describe(d, mem, out))
		return false;
	return decode_move(d, mem, out) || decode_out_of_line(d, mem, out);
}

void insn_decode(const uint8_t *code, size_t n, struct insn *out)
{
	struct decoded d;
	uint8_t len;

	memset(out, 0, sizeof(*out));
	if (n > INSN_MAX_BYTES)
		n = INSN_MAX_BYTES;
	if (!decode_one(code, n, &d))
		return;
	len = d.in.length;
	if (!decode_class(&d, out))
		memset(out, 0, sizeof(*out));
	out->len = len;
	memcpy(out->bytes, code, len);
}
