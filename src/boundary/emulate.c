/* SPDX-License-Identifier: BSD-3-Clause */
#include "boundary/emulate.h"
#include "boundary/emulate_operand.h"

static uint64_t swap_bytes(uint64_t v, unsigned int size)
{
	return __builtin_bswap64(v) >> (64 - 8 * size);
}

static uint64_t sign_extend(uint64_t v, unsigned int size)
{
	unsigned int shift = 64 - 8 * size;

	return (uint64_t)((int64_t)(v << shift) >> shift);
}

/* Loads and stores: the operand must lie in windows as a whole and be what faulted. */
static bool scalar_address(const struct insn *in, ucontext_t *uc, uint64_t fault_addr, const struct emulate_env *env,
			   uint64_t *addr)
{
	int64_t delta;

	return in->mem_size >= 1 && in->mem_size <= 8 && operand_address(in, uc, env, &delta, addr) &&
	       fault_addr - *addr < in->mem_size && operand_side(env, *addr, in->mem_size) == SIDE_MMIO;
}

static enum emulate emulate_load(const struct insn *in, ucontext_t *uc, uint64_t fault_addr,
				 const struct emulate_env *env)
{
	uint64_t addr, v = 0;

	if (!scalar_address(in, uc, fault_addr, env, &addr))
		return EMULATE_FAIL;
	operand_read(env, addr, in->mem_size, low_bits(in->mem_size), &v);
	if (operand_refused(env))
		return EMULATE_REFUSED;
	if (in->swap)
		v = swap_bytes(v, in->mem_size);
	if (in->ext == INSN_EXT_SIGN)
		v = sign_extend(v, in->mem_size);
	frame_gpr_write(uc, in->reg, in->reg_size, v);
	frame_advance(uc, in->len);
	return EMULATE_DONE;
}

static enum emulate emulate_store(const struct insn *in, ucontext_t *uc, uint64_t fault_addr,
				  const struct emulate_env *env)
{
	uint64_t addr, v;

	if (!scalar_address(in, uc, fault_addr, env, &addr))
		return EMULATE_FAIL;
	v = in->reg == INSN_REG_NONE ? in->imm : frame_gpr_read(uc, in->reg, in->mem_size);
	if (in->swap)
		v = swap_bytes(v, in->mem_size);
	operand_write(env, addr, in->mem_size, low_bits(in->mem_size), &v);
	frame_advance(uc, in->len);
	return EMULATE_DONE;
}

enum emulate emulate(const struct insn *in, ucontext_t *uc, uint64_t fault_addr, const struct emulate_env *env,
		     uint64_t *bad)
{
	switch (in->class) {
	case INSN_LOAD:
		return emulate_load(in, uc, fault_addr, env);
	case INSN_STORE:
		return emulate_store(in, uc, fault_addr, env);
	case INSN_STRING:
		return emulate_string(in, uc, env, bad);
	case INSN_OUT_OF_LINE:
		return emulate_out_of_line(in, uc, fault_addr, env);
	default:
		return EMULATE_FAIL;
	}
}
