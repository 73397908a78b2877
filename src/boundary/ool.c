/* SPDX-License-Identifier: BSD-3-Clause */
#include "boundary/emulate.h"
#include "boundary/emulate_operand.h"

#include <stdatomic.h>

#define INSN_HLT 0xf4

/* Signals that an instruction raises by itself; if they are blocked when that happens the kernel kills. */
#define SIGNAL_BIT(n) (1ull << ((n)-1))
#define SIGNALS_SYNCHRONOUS                                                                                            \
	(SIGNAL_BIT(4) | SIGNAL_BIT(5) | SIGNAL_BIT(7) | SIGNAL_BIT(8) | SIGNAL_BIT(11) | SIGNAL_BIT(31))

/* Offset of the opmask registers in the standard XSAVE format (Intel SDM volume 1, section 13.4.3). */
static uint32_t opmask_offset(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (a < 0xd)
		return 0;
	a = 0xd;
	c = 5;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return a ? b : 0;
}

void ool_init(struct ool_pool *p, void *rw, const void *rx, unsigned int count)
{
	p->rw = rw;
	p->rx = (uint64_t)(uintptr_t)rx;
	p->count = count;
	p->opmask_offset = opmask_offset();
	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int j = 0; j < OOL_CODE_SIZE; j++)
			((volatile uint8_t *)p->rw[i].code)[j] = INSN_HLT;
		atomic_store_explicit(&p->rw[i].busy, 0, memory_order_release);
	}
}

/* Threads start their search at different slots, by their stacks. */
static struct ool_slot *slot_claim(struct ool_pool *p, uint64_t sp)
{
	uint32_t start = (uint32_t)(sp >> 12) * 0x9e3779b1u;

	for (uint32_t i = 0; i < p->count; i++) {
		struct ool_slot *s = &p->rw[(start + i) % p->count];

		if (!atomic_load_explicit(&s->busy, memory_order_relaxed) &&
		    !atomic_exchange_explicit(&s->busy, 1, memory_order_acquire))
			return s;
	}
	return NULL;
}

static uint64_t frame_sigmask(ucontext_t *uc)
{
	uint64_t mask;

	bytes_copy(&mask, &uc->uc_sigmask, sizeof(mask));
	return mask;
}

static void frame_set_sigmask(ucontext_t *uc, uint64_t mask)
{
	bytes_copy(&uc->uc_sigmask, &mask, sizeof(mask));
}

/*
 * Every accessed byte must be in a window; bytes that the mask leaves out may be anywhere. An operand without any
 * should not have faulted; it may run.
 */
static bool operand_is_mmio(const struct emulate_env *env, uint64_t addr, uint64_t fault_addr, uint64_t bytes)
{
	unsigned int first, last;

	if (!bytes)
		return env->is_mmio(env->ctx, fault_addr);
	first = (unsigned int)__builtin_ctzll(bytes);
	last = 63 - (unsigned int)__builtin_clzll(bytes);
	return operand_side(env, addr + first, last - first + 1) == SIDE_MMIO;
}

static void slot_fill(struct ool_slot *s, const struct insn *in, ucontext_t *uc)
{
	bytes_copy(s->code, in->copy, in->copy_len);
	s->code[in->copy_len] = INSN_HLT;
	s->trap = in->copy_len;
	s->len = in->len;
	s->scratch = in->scratch;
	s->mem_size = in->mem_size;
	s->mem_write = in->mem_write;
	s->rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	s->scratch_value = (uint64_t)*frame_gpr(uc, in->scratch);
	s->sigmask = frame_sigmask(uc);
	s->tf = (uc->uc_mcontext.gregs[REG_EFL] & EFLAGS_TF) != 0;
}

enum emulate emulate_out_of_line(const struct insn *in, ucontext_t *uc, uint64_t fault_addr,
				 const struct emulate_env *env)
{
	uint64_t addr, bytes;
	struct ool_slot *s;
	int64_t delta;
	uint8_t *data;

	if (!env->pool || in->mem_size < 1 || in->mem_size > 64 || in->copy_len < 1 || in->copy_len > INSN_MAX_BYTES ||
	    !operand_address(in, uc, env, &delta, &addr))
		return EMULATE_FAIL;
	bytes = operand_bytes(in, uc, env->pool->opmask_offset);
	if (fault_addr - addr >= in->mem_size || !operand_is_mmio(env, addr, fault_addr, bytes))
		return EMULATE_FAIL;
	s = slot_claim(env->pool, (uint64_t)uc->uc_mcontext.gregs[REG_RSP]);
	if (!s)
		return EMULATE_DONE; /* the instruction faults again */
	slot_fill(s, in, uc);
	s->addr = addr;
	s->bytes = bytes;
	/* The same alignment: what faults when unaligned still does, and a lock does not become a split lock. */
	data = s->data + addr % 64;
	if (in->mem_read)
		operand_read(env, addr, in->mem_size, bytes, data);
	if (operand_refused(env)) {
		atomic_store_explicit(&s->busy, 0, memory_order_release);
		return EMULATE_REFUSED;
	}
	*frame_gpr(uc, in->scratch) = (greg_t)((uint64_t)(uintptr_t)data - (uint64_t)delta);
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)(EFLAGS_TF | EFLAGS_RF);
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(env->pool->rx + (uint64_t)(s - env->pool->rw) * OOL_SLOT_SIZE);
	frame_set_sigmask(uc, s->sigmask | ~SIGNALS_SYNCHRONOUS);
	return EMULATE_RUN;
}

enum emulate emulate_finish(ucontext_t *uc, const struct emulate_env *env)
{
	uint64_t offset = (uint64_t)uc->uc_mcontext.gregs[REG_RIP] - env->pool->rx;
	struct ool_slot *s = &env->pool->rw[offset / OOL_SLOT_SIZE];
	bool ran;

	/* Nothing of ours jumps there: a program that does gets its SIGSEGV, and no slot is given back twice. */
	if (!atomic_load_explicit(&s->busy, memory_order_relaxed))
		return EMULATE_FAIL;
	ran = offset % OOL_SLOT_SIZE == s->trap;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)s->rip; /* where the access is made, for who asks */
	if (ran && s->mem_write)
		operand_write(env, s->addr, s->mem_size, s->bytes, s->data + s->addr % 64);
	*frame_gpr(uc, s->scratch) = (greg_t)s->scratch_value;
	if (ran)
		uc->uc_mcontext.gregs[REG_RIP] += s->len;
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)EFLAGS_RF;
	if (s->tf)
		uc->uc_mcontext.gregs[REG_EFL] |= EFLAGS_TF;
	frame_set_sigmask(uc, s->sigmask);
	atomic_store_explicit(&s->busy, 0, memory_order_release);
	return ran ? EMULATE_DONE : EMULATE_FAIL;
}
