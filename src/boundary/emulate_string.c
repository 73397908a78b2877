/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * movs, stos, lods and movdir64b. Either end may be in a window; the other is the program's memory, which may fault:
 * then the registers say how far it came, as the hardware's would, and the instruction can be restarted.
 */
#include "boundary/emulate_operand.h"

#include "base/guard.h"

/* Elements per trap: what a handler may do before the program's signals get their turn. */
#define STRING_BATCH 4096

enum { RAX = 0, RCX = 1, RSI = 6, RDI = 7 };

struct string_op {
	const struct insn *in;
	const struct emulate_env *env;
	bool has_src, has_dst;
	uint64_t src, dst; /* linear addresses of the element */
	enum side src_side, dst_side;
	uint8_t buf[64] __attribute__((aligned(8)));
};

static enum emulate memory_fault(uint64_t addr, unsigned int done, uint64_t *bad)
{
	*bad = addr + done;
	return EMULATE_FAULT;
}

static enum emulate element_load(struct string_op *s, uint64_t *bad)
{
	unsigned int n = s->in->mem_size;
	size_t left = 0;

	if (s->src_side == SIDE_MMIO)
		operand_read(s->env, s->src, n, low_bits(n), s->buf);
	else
		left = guard_copy(s->buf, (const void *)(uintptr_t)s->src, n);
	if (s->src_side == SIDE_MMIO && operand_refused(s->env))
		return EMULATE_REFUSED;
	return left ? memory_fault(s->src, n - (unsigned int)left, bad) : EMULATE_DONE;
}

static enum emulate element_store(struct string_op *s, uint64_t *bad)
{
	unsigned int n = s->in->mem_size;
	size_t left = 0;

	if (s->dst_side == SIDE_MMIO)
		operand_write(s->env, s->dst, n, low_bits(n), s->buf);
	else
		left = guard_copy((void *)(uintptr_t)s->dst, s->buf, n);
	return left ? memory_fault(s->dst, n - (unsigned int)left, bad) : EMULATE_DONE;
}

/* FAIL: not ours, or half ours. */
static enum emulate element_sides(struct string_op *s)
{
	unsigned int n = s->in->mem_size;

	s->src_side = s->has_src ? operand_side(s->env, s->src, n) : SIDE_MEMORY;
	s->dst_side = s->has_dst ? operand_side(s->env, s->dst, n) : SIDE_MEMORY;
	if (s->src_side == SIDE_SPLIT || s->dst_side == SIDE_SPLIT)
		return EMULATE_FAIL;
	return s->src_side == SIDE_MMIO || s->dst_side == SIDE_MMIO ? EMULATE_DONE : EMULATE_FAIL;
}

static enum emulate element_move(struct string_op *s, ucontext_t *uc, uint64_t *bad)
{
	enum emulate r = EMULATE_DONE;
	uint64_t v;

	if (s->has_src) {
		r = element_load(s, bad);
	} else {
		v = frame_gpr_read(uc, RAX, 8);
		bytes_copy(s->buf, &v, sizeof(v));
	}
	if (r == EMULATE_DONE && s->has_dst)
		return element_store(s, bad);
	if (r == EMULATE_DONE) {
		bytes_copy(&v, s->buf, sizeof(v));
		frame_gpr_write(uc, RAX, s->in->mem_size, v);
	}
	return r;
}

static void register_add(ucontext_t *uc, unsigned int reg, unsigned int addr_size, int step)
{
	frame_gpr_write(uc, reg, addr_size, frame_gpr_read(uc, reg, addr_size) + (uint64_t)(int64_t)step);
}

static enum emulate emulate_repeat(struct string_op *s, ucontext_t *uc, uint64_t seg, uint64_t *bad)
{
	const struct insn *in = s->in;
	int step = uc->uc_mcontext.gregs[REG_EFL] & EFLAGS_DF ? -(int)in->mem_size : (int)in->mem_size;
	enum emulate r;

	for (unsigned int i = 0; i < STRING_BATCH; i++) {
		if (in->rep && frame_gpr_read(uc, RCX, in->addr_size) == 0)
			break;
		s->src = frame_gpr_read(uc, RSI, in->addr_size) + seg;
		s->dst = frame_gpr_read(uc, RDI, in->addr_size);
		/* Past the window the processor goes on by itself; what it cannot do faults again, as the first. */
		r = element_sides(s);
		if (r != EMULATE_DONE)
			return i ? EMULATE_DONE : r;
		r = element_move(s, uc, bad);
		if (r != EMULATE_DONE)
			return r;
		if (s->has_src)
			register_add(uc, RSI, in->addr_size, step);
		if (s->has_dst)
			register_add(uc, RDI, in->addr_size, step);
		if (!in->rep)
			break;
		register_add(uc, RCX, in->addr_size, -1);
	}
	if (!in->rep || frame_gpr_read(uc, RCX, in->addr_size) == 0)
		frame_advance(uc, in->len);
	return EMULATE_DONE;
}

/* Direct store of 64 bytes; the destination is aligned or the instruction faults (Intel SDM volume 2, MOVDIR64B). */
static enum emulate emulate_movdir64b(struct string_op *s, ucontext_t *uc, uint64_t *bad)
{
	int64_t delta;
	enum emulate r;

	if (!operand_address(s->in, uc, s->env, &delta, &s->src))
		return EMULATE_FAIL;
	s->dst = frame_gpr_read(uc, s->in->reg, s->in->addr_size);
	if (s->dst % 64 || element_sides(s) != EMULATE_DONE)
		return EMULATE_FAIL;
	r = element_move(s, uc, bad);
	if (r == EMULATE_DONE)
		frame_advance(uc, s->in->len);
	return r;
}

enum emulate emulate_string(const struct insn *in, ucontext_t *uc, const struct emulate_env *env, uint64_t *bad)
{
	struct string_op s;
	uint64_t seg;

	s.in = in;
	s.env = env;
	s.has_src = in->string != INSN_STOS;
	s.has_dst = in->string != INSN_LODS;
	if (in->string == INSN_MOVDIR64B)
		return in->mem_size == 64 ? emulate_movdir64b(&s, uc, bad) : EMULATE_FAIL;
	if (in->mem_size < 1 || in->mem_size > 8 || !segment_base(env, in->seg, &seg))
		return EMULATE_FAIL;
	return emulate_repeat(&s, uc, seg, bad);
}
