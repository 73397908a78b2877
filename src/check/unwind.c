/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/unwind.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/event.h"
#include "base/util.h"
#include "check/module.h"

/* DWARF register numbers (x86-64 psABI, figure 3.36). */
#define DW_RBP 6
#define DW_RSP 7
#define DW_RIP 16

#define STEPS 4096

/* How to leave the frame at one place. */
struct rule {
	uint8_t cfa_reg; /* DW_RBP or DW_RSP; 0: there is no way known */
	bool cfa_deref;	 /* it is what lies at cfa_reg + cfa_off: frames with an alignment of their own */
	bool saves_rbp;
	bool signal;			  /* the C library's way back from a signal handler */
	bool no_cfi;			  /* of the whole module */
	int32_t cfa_off, ra_off, rbp_off; /* the latter two from the CFA */
};

/* What is known of one place in one process, and how to leave it: the same ones are passed again and again. */
struct step {
	uint64_t session, pc;
	uint32_t generation; /* of the modules */
	bool known;
	struct place place;
	struct rule rule;
};

struct unwinder {
	struct modules *modules;
	struct step step[STEPS];
};

struct cursor {
	const struct event_origin *from;
	uint64_t pc, sp, bp;
};

struct unwinder *unwinder_new(struct modules *m)
{
	struct unwinder *u = calloc(1, sizeof(*u));

	if (u)
		u->modules = m;
	return u;
}

void unwinder_free(struct unwinder *u)
{
	free(u);
}

static bool stack_read(const struct event_origin *from, uint64_t at, uint64_t *v)
{
	uint64_t off = at - from->sp;

	if (at < from->sp || from->stack_len < sizeof(*v) || off > from->stack_len - sizeof(*v))
		return false;
	memcpy(v, (const char *)from->stack + off, sizeof(*v));
	return true;
}

/* "CFA + off", as libdw writes it. */
static bool cfa_relative(const Dwarf_Op *ops, size_t n, int32_t *off)
{
	if (!n || ops[0].atom != DW_OP_call_frame_cfa || n > 2 || (n == 2 && ops[1].atom != DW_OP_plus_uconst))
		return false;
	*off = n == 2 ? (int32_t)ops[1].number : 0;
	return true;
}

static bool cfa_rule(const Dwarf_Op *op, size_t n, struct rule *r)
{
	int64_t off;
	unsigned int reg;

	if (n != 1 && !(n == 2 && op[1].atom == DW_OP_deref))
		return false;
	r->cfa_deref = n == 2;
	if (op->atom == DW_OP_bregx) {
		reg = op->number;
		off = (int64_t)op->number2;
	} else if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31) {
		reg = op->atom - DW_OP_breg0;
		off = (int64_t)op->number;
	} else {
		return false;
	}
	if (reg != DW_RBP && reg != DW_RSP)
		return false;
	r->cfa_reg = reg;
	r->cfa_off = (int32_t)off;
	return true;
}

static void rule_make(struct rule *r, Dwarf_CFI *cfi, uint64_t addr)
{
	Dwarf_Op mem[3], *ops;
	Dwarf_Frame *frame;
	size_t n;

	r->no_cfi = !cfi;
	if (!cfi || dwarf_cfi_addrframe(cfi, addr, &frame))
		return;
	dwarf_frame_info(frame, NULL, NULL, &r->signal);
	if (!dwarf_frame_cfa(frame, &ops, &n) && cfa_rule(ops, n, r)) {
		if (dwarf_frame_register(frame, DW_RIP, mem, &ops, &n) || !cfa_relative(ops, n, &r->ra_off))
			r->cfa_reg = 0; /* the outermost frame says that it has no return address */
		r->saves_rbp = !dwarf_frame_register(frame, DW_RBP, mem, &ops, &n) && cfa_relative(ops, n, &r->rbp_off);
	}
	free(frame);
}

static const struct step *step_at(struct unwinder *u, const struct event_origin *from, uint64_t pc)
{
	struct step *s = &u->step[(pc ^ pc >> 12 ^ from->session << 7) % STEPS];

	if (s->pc == pc && s->session == from->session && s->generation == modules_generation(u->modules))
		return s;
	*s = (struct step){.session = from->session, .pc = pc};
	s->known = modules_find(u->modules, from->session, from->pid, pc, &s->place);
	if (!s->known)
		s->session = 0; /* perhaps the next time */
	if (s->place.module)
		rule_make(&s->rule, module_cfi(u->modules, s->place.module), s->place.addr);
	s->generation = modules_generation(u->modules); /* after what may have been read for it */
	return s;
}

static bool step_by_rule(struct cursor *c, const struct rule *r)
{
	uint64_t cfa, pc, bp = c->bp;

	if (!r->cfa_reg)
		return false;
	cfa = (r->cfa_reg == DW_RSP ? c->sp : c->bp) + (int64_t)r->cfa_off;
	if (r->cfa_deref && !stack_read(c->from, cfa, &cfa))
		return false;
	if (cfa <= c->sp || !stack_read(c->from, cfa + (int64_t)r->ra_off, &pc))
		return false;
	if (r->saves_rbp && !stack_read(c->from, cfa + (int64_t)r->rbp_off, &bp))
		return false;
	c->pc = pc;
	c->sp = cfa;
	c->bp = bp;
	return true;
}

static bool step_by_frame_pointer(struct cursor *c)
{
	uint64_t bp, pc;

	if (c->bp < c->sp || c->bp % 8 || !stack_read(c->from, c->bp, &bp) || !stack_read(c->from, c->bp + 8, &pc))
		return false;
	c->pc = pc;
	c->sp = c->bp + 16;
	c->bp = bp;
	return true;
}

/*
 * The kernel put the registers there (arch/x86/include/asm/sigframe.h). A handler may have a stack of its own: what it
 * interrupted is known then, but not who called that.
 */
static bool step_out_of_signal(struct cursor *c)
{
	uint64_t at = c->sp + offsetof(ucontext_t, uc_mcontext.gregs), sp, bp, pc;

	if (!stack_read(c->from, at + REG_RIP * sizeof(greg_t), &pc) ||
	    !stack_read(c->from, at + REG_RSP * sizeof(greg_t), &sp) ||
	    !stack_read(c->from, at + REG_RBP * sizeof(greg_t), &bp))
		return false;
	c->pc = pc;
	c->sp = sp;
	c->bp = bp;
	return true;
}

uint32_t unwind(struct unwinder *u, const struct event_origin *from, struct place *out, uint32_t max)
{
	struct cursor c = {from, from->ip, from->sp, from->bp};
	bool exact = true; /* where it was, and not where it will return to */

	for (uint32_t n = 0; n < max; n++) {
		/* A return address may be the next function's first. */
		const struct step *s = step_at(u, from, exact ? c.pc : c.pc - 1);

		if (n && !s->known)
			return n; /* astray */
		out[n] = s->place;
		exact = s->rule.signal;
		if (exact) {
			out[n] = (struct place){.addr = PLACE_SIGNAL};
			if (!step_out_of_signal(&c))
				return n;
		} else if (!s->place.module || s->rule.no_cfi ? !step_by_frame_pointer(&c)
							      : !step_by_rule(&c, &s->rule)) {
			return n + 1;
		}
		if (!c.pc)
			return n + 1;
	}
	return max;
}
