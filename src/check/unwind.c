/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/unwind.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "base/event.h"
#include "base/util.h"
#include "check/cfi.h"
#include "check/module.h"

#define STEPS 4096

/* What is known of one place in one process, and how to leave it: the same ones are passed again and again. */
struct step {
	uint64_t session, pc;
	uint32_t generation; /* of the modules */
	bool known;
	bool no_cfi; /* of the whole module */
	struct place place;
	struct cfi_rule rule;
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

	if (at >= from->sp && from->stack_need && off + sizeof(*v) <= from->stack_max)
		*from->stack_need = MAX(*from->stack_need, (uint32_t)(off + sizeof(*v)));
	if (at < from->sp || from->stack_len < sizeof(*v) || off > from->stack_len - sizeof(*v))
		return false;
	memcpy(v, (const char *)from->stack + off, sizeof(*v));
	return true;
}

static const struct step *step_at(struct unwinder *u, const struct event_origin *from, uint64_t pc)
{
	struct step *s = &u->step[(pc ^ pc >> 12 ^ from->session << 7) % STEPS];
	const struct cfi *cfi;

	if (s->pc == pc && s->session == from->session && s->generation == modules_generation(u->modules))
		return s;
	*s = (struct step){.session = from->session, .pc = pc};
	s->known = modules_find(u->modules, from->session, from->pid, pc, &s->place);
	if (!s->known)
		s->session = 0; /* perhaps the next time */
	cfi = s->place.module ? module_cfi(u->modules, s->place.module) : NULL;
	s->no_cfi = !cfi;
	if (cfi)
		cfi_find(cfi, s->place.addr, &s->rule);
	s->generation = modules_generation(u->modules); /* after what may have been read for it */
	return s;
}

static bool step_by_rule(struct cursor *c, const struct cfi_rule *r)
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
		} else if (s->no_cfi ? !step_by_frame_pointer(&c) : !step_by_rule(&c, &s->rule)) {
			return n + 1;
		}
		if (!c.pc)
			return n + 1;
	}
	return max;
}
