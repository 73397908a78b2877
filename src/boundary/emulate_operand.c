/* SPDX-License-Identifier: BSD-3-Clause */
#include "boundary/emulate_operand.h"

#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

/*
 * The FPU state in a signal frame is an XSAVE area in the standard format; the kernel describes its extent in the bytes
 * that FXSAVE leaves to software (arch/x86/include/uapi/asm/sigcontext.h; Intel SDM volume 1, sections 13.4 and 10.5).
 */
#define FRAME_SW_BYTES	  464
#define FRAME_MAGIC	  0x46505853u
#define FRAME_XSTATE_SIZE 16 /* in the software bytes */
#define XSAVE_XMM	  160
#define XSAVE_HEADER	  512
#define XSAVE_YMM_HIGH	  576
#define XSTATE_SSE	  1
#define XSTATE_YMM	  2
#define XSTATE_OPMASK	  5

/* REG_R8 is 0; the others are not in the order of their encoding. */
static const uint8_t greg_index[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				       REG_R8,	REG_R9,	 REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

greg_t *frame_gpr(ucontext_t *uc, unsigned int reg)
{
	return &uc->uc_mcontext.gregs[greg_index[reg & 15]];
}

uint64_t frame_gpr_read(ucontext_t *uc, unsigned int reg, unsigned int size)
{
	if (reg & INSN_HIGH_BYTE)
		return (uint64_t)*frame_gpr(uc, reg & 3) >> 8 & 0xff;
	return (uint64_t)*frame_gpr(uc, reg) & low_bytes(size);
}

void frame_gpr_write(ucontext_t *uc, unsigned int reg, unsigned int size, uint64_t val)
{
	greg_t *r = frame_gpr(uc, reg & INSN_HIGH_BYTE ? reg & 3 : reg);
	uint64_t old = (uint64_t)*r;

	if (reg & INSN_HIGH_BYTE)
		*r = (greg_t)((old & ~0xff00ull) | (val & 0xff) << 8);
	else if (size >= 4)
		*r = (greg_t)(val & low_bytes(size));
	else
		*r = (greg_t)((old & ~low_bytes(size)) | (val & low_bytes(size)));
}

bool segment_base(const struct emulate_env *env, unsigned int seg, uint64_t *base)
{
	*base = 0;
	if (seg == 0)
		return true;
	if (!env->fsgsbase)
		return env->arch_prctl && env->arch_prctl(seg == 1 ? ARCH_GET_FS : ARCH_GET_GS, base) == 0;
	if (seg == 1)
		__asm__ volatile("rdfsbase %0" : "=r"(*base));
	else
		__asm__ volatile("rdgsbase %0" : "=r"(*base));
	return true;
}

/* Bit strings: the register's bit offset is signed and counts from the operand (Intel SDM volume 2, BT). */
static int64_t bit_offset(const struct insn *in, ucontext_t *uc)
{
	unsigned int shift = 64 - in->mem_size * 8u, log2 = in->mem_size == 2 ? 4 : in->mem_size == 4 ? 5 : 6;
	int64_t bit = (int64_t)(frame_gpr_read(uc, in->bit_reg, 8) << shift) >> shift;

	return (bit >> log2) * in->mem_size;
}

bool operand_address(const struct insn *in, ucontext_t *uc, const struct emulate_env *env, int64_t *delta,
		     uint64_t *addr)
{
	uint64_t ea = (uint64_t)in->disp, base;

	*delta = in->class == INSN_OUT_OF_LINE && in->bit_reg != INSN_REG_NONE ? bit_offset(in, uc) : 0;
	if (in->base == INSN_REG_RIP)
		ea += (uint64_t)uc->uc_mcontext.gregs[REG_RIP] + in->len;
	else if (in->base != INSN_REG_NONE)
		ea += frame_gpr_read(uc, in->base, 8);
	if (in->index != INSN_REG_NONE)
		ea += frame_gpr_read(uc, in->index, 8) * in->scale;
	ea = (ea + (uint64_t)*delta) & low_bytes(in->addr_size);
	if (!segment_base(env, in->seg, &base))
		return false;
	*addr = ea + base;
	return true;
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	bytes_copy(&v, p, sizeof(v));
	return v;
}

/* Eight bytes of the frame's FPU state; a component in its initial configuration reads as zero. */
static uint64_t frame_xstate(const ucontext_t *uc, unsigned int component, unsigned int offset)
{
	const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;

	if (!fp || (uint32_t)load64(fp + FRAME_SW_BYTES) != FRAME_MAGIC ||
	    offset + 8u > (uint32_t)load64(fp + FRAME_SW_BYTES + FRAME_XSTATE_SIZE) ||
	    !(load64(fp + XSAVE_HEADER) >> component & 1))
		return 0;
	return load64(fp + offset);
}

static uint64_t vector_sign_bits(const struct insn *in, const ucontext_t *uc)
{
	uint64_t k = 0;

	for (unsigned int i = 0; i < in->mem_size; i += 8) {
		unsigned int half = i & 15, reg = (in->mask_reg & 15) * 16u;
		uint64_t v = i < 16 ? frame_xstate(uc, XSTATE_SSE, XSAVE_XMM + reg + half)
				    : frame_xstate(uc, XSTATE_YMM, XSAVE_YMM_HIGH + reg + half);

		if (in->mask_elem == 8)
			k |= (v >> 63) << (i / 8);
		else
			k |= (v >> 31 & 1) << (i / 4) | (v >> 63) << (i / 4 + 1);
	}
	return k;
}

uint64_t operand_bytes(const struct insn *in, const ucontext_t *uc, uint32_t opmask_offset)
{
	uint64_t all = low_bits(in->mem_size), k, bytes = 0;
	unsigned int elem = in->mask_elem ? in->mask_elem : 1, set = 0;

	if (in->mask == INSN_MASK_NONE)
		return all;
	if (in->mask == INSN_MASK_VECTOR)
		k = vector_sign_bits(in, uc);
	else
		k = opmask_offset ? frame_xstate(uc, XSTATE_OPMASK, opmask_offset + (in->mask_reg & 7) * 8u) : 0;
	for (unsigned int i = 0; i < in->mem_size / elem; i++) {
		if (!(k >> i & 1))
			continue;
		if (in->mask == INSN_MASK_PACKED)
			bytes |= low_bits(elem) << (set++ * elem);
		else
			bytes |= low_bits(elem) << (i * elem);
	}
	return bytes & all;
}

/* An operand is smaller than a page: it lies in windows if both of its ends do. */
enum side operand_side(const struct emulate_env *env, uint64_t addr, unsigned int n)
{
	bool first = env->is_mmio(env->ctx, addr), last = n > 1 ? env->is_mmio(env->ctx, addr + n - 1) : first;

	if (first != last)
		return SIDE_SPLIT;
	return first ? SIDE_MMIO : SIDE_MEMORY;
}

/* The largest aligned piece that starts with byte i, 0 if that byte is not accessed. */
static unsigned int piece_size(uint64_t addr, unsigned int n, uint64_t bytes, unsigned int i)
{
	for (unsigned int p = 8; p; p /= 2)
		if (p <= n - i && (addr + i) % p == 0 && (bytes >> i & low_bits(p)) == low_bits(p))
			return p;
	return 0;
}

void operand_read(const struct emulate_env *env, uint64_t addr, unsigned int n, uint64_t bytes, void *buf)
{
	for (unsigned int i = 0, p; i < n; i += p ? p : 1) {
		p = piece_size(addr, n, bytes, i);
		if (p) {
			uint64_t v = env->ops->read(env->ctx, addr + i, p);

			bytes_copy((uint8_t *)buf + i, &v, p);
		}
	}
}

void operand_write(const struct emulate_env *env, uint64_t addr, unsigned int n, uint64_t bytes, const void *buf)
{
	for (unsigned int i = 0, p; i < n; i += p ? p : 1) {
		p = piece_size(addr, n, bytes, i);
		if (p) {
			uint64_t v = 0;

			bytes_copy(&v, (const uint8_t *)buf + i, p);
			env->ops->write(env->ctx, addr + i, p, v);
		}
	}
}
