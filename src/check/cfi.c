/* SPDX-License-Identifier: BSD-3-Clause */
#include "check/cfi.h"

#include <dwarf.h>
#include <string.h>

#include "base/util.h"

#define SCAN_MAX     65536 /* entries, where the linker left no table of them */
#define ROWS_MAX     65536 /* instructions of one function */
#define REMEMBER_MAX 16

/* What is left of a stretch of the image; bad once something was read that is not there. */
struct reader {
	const struct cfi *c;
	uint64_t at, end; /* addresses */
	bool bad;
};

static struct reader reader_at(const struct cfi *c, uint64_t at)
{
	uint64_t end = c->vaddr + c->len;

	return (struct reader){.c = c, .at = at, .end = end, .bad = at < c->vaddr || at > end};
}

static const uint8_t *take(struct reader *r, uint64_t n)
{
	uint64_t at = r->at;

	if (r->bad || n > r->end - at) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	return r->c->image + (at - r->c->vaddr);
}

/* Little endian, of 1, 2, 4 or 8 bytes. */
static uint64_t get(struct reader *r, unsigned int size)
{
	const uint8_t *p = take(r, size);
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, size);
	return v;
}

static uint64_t get_uleb(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; !r->bad; shift += 7) {
		uint8_t b = get(r, 1);

		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			break;
	}
	return v;
}

static int64_t get_sleb(struct reader *r)
{
	uint64_t v = 0;
	unsigned int shift = 0;
	uint8_t b = 0;

	do {
		b = get(r, 1);
		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		shift += 7;
	} while (!r->bad && b & 0x80);
	if (b & 0x40 && shift < 64)
		v |= -1ull << shift;
	return v;
}

/* A pointer in one of the encodings of the Linux Standard Base, "DWARF Exception Header Encoding". */
static uint64_t get_encoded(struct reader *r, uint8_t enc, uint64_t data)
{
	uint64_t at = r->at, v = 0;

	if (enc == DW_EH_PE_omit)
		return 0;
	switch (enc & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		v = get(r, 8);
		break;
	case DW_EH_PE_udata4:
		v = get(r, 4);
		break;
	case DW_EH_PE_sdata4:
		v = (uint64_t)(int32_t)get(r, 4);
		break;
	case DW_EH_PE_udata2:
		v = get(r, 2);
		break;
	case DW_EH_PE_sdata2:
		v = (uint64_t)(int16_t)get(r, 2);
		break;
	case DW_EH_PE_uleb128:
		v = get_uleb(r);
		break;
	case DW_EH_PE_sleb128:
		v = get_sleb(r);
		break;
	default:
		r->bad = true;
	}
	switch (enc & 0x70) {
	case DW_EH_PE_absptr:
		return v;
	case DW_EH_PE_pcrel:
		return v + at;
	case DW_EH_PE_datarel:
		return v + data;
	default:
		r->bad = true;
		return 0;
	}
}

/* ---- entries ---- */

struct cie {
	uint64_t code_align;
	int64_t data_align;
	uint64_t ra;
	uint8_t enc; /* of addresses in its FDEs */
	bool sized;  /* whose augmentation data have a length */
	bool signal;
	struct reader program;
};

/* The length of an entry; r then ends with it. 0: the last one. */
static uint64_t entry_begin(struct reader *r)
{
	uint64_t len = get(r, 4);

	if (len == 0xffffffff)
		len = get(r, 8);
	if (r->bad || len > r->end - r->at)
		r->bad = true;
	else
		r->end = r->at + len;
	return r->bad ? 0 : len;
}

static void augmentation(struct cie *e, struct reader *r, const char *letters)
{
	uint64_t len = get_uleb(r), end;
	struct reader data = *r;

	if (!take(r, len))
		return;
	end = r->at;
	data.end = end;
	for (; *letters && !data.bad; letters++) {
		if (*letters == 'R')
			e->enc = get(&data, 1);
		else if (*letters == 'L')
			get(&data, 1);
		else if (*letters == 'P')
			get_encoded(&data, get(&data, 1) & 0x7f, 0); /* of the routine of a language's own */
		else if (*letters == 'S')
			e->signal = true;
		else if (*letters != 'B')
			break;
	}
	r->bad |= data.bad;
}

static bool cie_read(const struct cfi *c, uint64_t at, struct cie *e)
{
	struct reader r = reader_at(c, at);
	char letters[8] = "";
	uint8_t version, b;
	size_t n = 0;

	*e = (struct cie){0};
	if (!entry_begin(&r) || get(&r, 4))
		return false;
	version = get(&r, 1);
	while ((b = get(&r, 1)) && n < sizeof(letters) - 1)
		letters[n++] = b;
	if (b || (version != 1 && version != 3))
		return false;
	e->code_align = get_uleb(&r);
	e->data_align = get_sleb(&r);
	e->ra = version == 1 ? get(&r, 1) : get_uleb(&r);
	e->sized = letters[0] == 'z';
	if (e->sized)
		augmentation(e, &r, letters + 1);
	else if (letters[0])
		return false;
	e->program = r;
	return !r.bad;
}

/* The FDE at `at`, if it is of addr: its instructions, and where the function begins. *next: where the next one is. */
static bool fde_read(const struct cfi *c, uint64_t at, uint64_t addr, struct cie *e, struct reader *program,
		     uint64_t *start, uint64_t *next)
{
	struct reader r = reader_at(c, at);
	uint64_t field, back, len;

	*next = 0;
	if (!entry_begin(&r))
		return false;
	*next = r.end;
	field = r.at;
	back = get(&r, 4);
	if (r.bad || !back || !cie_read(c, field - back, e))
		return false;
	*start = get_encoded(&r, e->enc & 0x7f, 0);
	len = get_encoded(&r, e->enc & 0x0f, 0);
	if (e->sized)
		take(&r, get_uleb(&r));
	*program = r;
	return !r.bad && addr - *start < len;
}

/* ---- instructions ---- */

enum how { NOT_SAVED, AT_CFA, OTHERWISE };

struct reg {
	enum how how;
	int64_t off;
};

struct row {
	uint64_t cfa_reg;
	int64_t cfa_off;
	bool cfa_deref, cfa_unknown;
	struct reg rbp, ra;
};

struct machine {
	const struct cie *e;
	uint64_t loc, addr;
	struct row row, initial, saved[REMEMBER_MAX];
	unsigned int nsaved;
};

static void set_reg(struct machine *m, uint64_t reg, enum how how, int64_t off)
{
	if (reg == DW_RBP)
		m->row.rbp = (struct reg){how, off};
	else if (reg == m->e->ra)
		m->row.ra = (struct reg){how, off};
}

static void restore_reg(struct machine *m, uint64_t reg)
{
	if (reg == DW_RBP)
		m->row.rbp = m->initial.rbp;
	else if (reg == m->e->ra)
		m->row.ra = m->initial.ra;
}

static void set_cfa(struct machine *m, uint64_t reg, int64_t off)
{
	m->row.cfa_reg = reg;
	m->row.cfa_off = off;
	m->row.cfa_deref = m->row.cfa_unknown = false;
}

/* "What lies at this register plus this": no other expression is known here. */
static void set_cfa_expression(struct machine *m, struct reader *r)
{
	uint64_t len = get_uleb(r);
	struct reader x = *r;
	uint8_t op;

	if (!take(r, len))
		return;
	x.end = r->at;
	op = get(&x, 1);
	set_cfa(m, op - DW_OP_breg0, get_sleb(&x));
	m->row.cfa_deref = get(&x, 1) == DW_OP_deref;
	m->row.cfa_unknown = x.bad || x.at != x.end || op < DW_OP_breg0 || op > DW_OP_breg31 || !m->row.cfa_deref;
}

static void skip_block(struct reader *r)
{
	take(r, get_uleb(r));
}

/* Product and sum as addresses have them: what wraps leads nowhere. */
static int64_t scaled(const struct machine *m, uint64_t n)
{
	return (int64_t)(n * (uint64_t)m->e->data_align);
}

static void advance(struct machine *m, uint64_t n)
{
	m->loc += n * m->e->code_align;
}

/* False: what it is is not known. */
static bool extended(struct machine *m, struct reader *r, uint8_t op)
{
	uint64_t reg;

	switch (op) {
	case DW_CFA_nop:
		break;
	case DW_CFA_set_loc:
		m->loc = get_encoded(r, m->e->enc & 0x7f, 0);
		break;
	case DW_CFA_advance_loc1:
		advance(m, get(r, 1));
		break;
	case DW_CFA_advance_loc2:
		advance(m, get(r, 2));
		break;
	case DW_CFA_advance_loc4:
		advance(m, get(r, 4));
		break;
	case DW_CFA_offset_extended:
		reg = get_uleb(r);
		set_reg(m, reg, AT_CFA, scaled(m, get_uleb(r)));
		break;
	case DW_CFA_offset_extended_sf:
		reg = get_uleb(r);
		set_reg(m, reg, AT_CFA, scaled(m, get_sleb(r)));
		break;
	case DW_CFA_GNU_negative_offset_extended:
		reg = get_uleb(r);
		set_reg(m, reg, AT_CFA, scaled(m, -get_uleb(r)));
		break;
	case DW_CFA_restore_extended:
		restore_reg(m, get_uleb(r));
		break;
	case DW_CFA_undefined:
	case DW_CFA_same_value:
		set_reg(m, get_uleb(r), NOT_SAVED, 0);
		break;
	case DW_CFA_register:
	case DW_CFA_val_offset:
	case DW_CFA_val_offset_sf:
		reg = get_uleb(r);
		get_uleb(r);
		set_reg(m, reg, OTHERWISE, 0);
		break;
	case DW_CFA_expression:
	case DW_CFA_val_expression:
		reg = get_uleb(r);
		skip_block(r);
		set_reg(m, reg, OTHERWISE, 0);
		break;
	case DW_CFA_remember_state:
		if (m->nsaved == REMEMBER_MAX)
			return false;
		m->saved[m->nsaved++] = m->row;
		break;
	case DW_CFA_restore_state:
		if (!m->nsaved)
			return false;
		m->row = m->saved[--m->nsaved];
		break;
	case DW_CFA_def_cfa:
		reg = get_uleb(r);
		set_cfa(m, reg, get_uleb(r));
		break;
	case DW_CFA_def_cfa_sf:
		reg = get_uleb(r);
		set_cfa(m, reg, scaled(m, get_sleb(r)));
		break;
	case DW_CFA_def_cfa_register:
		m->row.cfa_reg = get_uleb(r);
		break;
	case DW_CFA_def_cfa_offset:
		m->row.cfa_off = get_uleb(r);
		break;
	case DW_CFA_def_cfa_offset_sf:
		m->row.cfa_off = scaled(m, get_sleb(r));
		break;
	case DW_CFA_def_cfa_expression:
		set_cfa_expression(m, r);
		break;
	case DW_CFA_GNU_args_size:
		get_uleb(r);
		break;
	default:
		return false;
	}
	return true;
}

/* Up to the row of addr. */
static bool run(struct machine *m, struct reader r)
{
	for (unsigned int n = 0; r.at < r.end && !r.bad; n++) {
		uint8_t op = get(&r, 1), low = op & 0x3f;
		struct row before = m->row;

		if (n == ROWS_MAX)
			return false;
		if ((op & 0xc0) == DW_CFA_advance_loc)
			advance(m, low);
		else if ((op & 0xc0) == DW_CFA_offset)
			set_reg(m, low, AT_CFA, scaled(m, get_uleb(&r)));
		else if ((op & 0xc0) == DW_CFA_restore)
			restore_reg(m, low);
		else if (!extended(m, &r, op))
			return false;
		if (m->loc > m->addr) {
			m->row = before;
			break;
		}
	}
	return !r.bad;
}

static bool fits(int64_t v)
{
	return v == (int32_t)v;
}

static void rule_of(const struct row *row, struct cfi_rule *r)
{
	if (row->cfa_unknown || (row->cfa_reg != DW_RBP && row->cfa_reg != DW_RSP) || !fits(row->cfa_off) ||
	    row->ra.how != AT_CFA || !fits(row->ra.off) || (row->rbp.how == AT_CFA && !fits(row->rbp.off)))
		return; /* the outermost frame says that it has no return address */
	r->cfa_reg = row->cfa_reg;
	r->cfa_deref = row->cfa_deref;
	r->cfa_off = row->cfa_off;
	r->ra_off = row->ra.off;
	r->saves_rbp = row->rbp.how == AT_CFA;
	r->rbp_off = row->rbp.off;
}

static void execute(const struct cie *e, struct reader program, uint64_t start, uint64_t addr, struct cfi_rule *r)
{
	struct machine m = {.e = e, .addr = UINT64_MAX};

	r->signal = e->signal;
	if (!run(&m, e->program))
		return;
	m.initial = m.row;
	m.loc = start;
	m.addr = addr;
	if (run(&m, program))
		rule_of(&m.row, r);
}

/* ---- finding ---- */

/* Linkers sort them: pairs of a function's address and its FDE's, from the header's. */
static uint64_t table_search(const struct cfi *c, struct reader *r, uint64_t count, uint64_t addr)
{
	uint64_t base = r->at, lo = 0, hi = MIN(count, (r->end - r->at) / 8);

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		struct reader at = reader_at(c, base + mid * 8);

		if (c->header + (int32_t)get(&at, 4) <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return 0;
	*r = reader_at(c, base + (lo - 1) * 8 + 4);
	return c->header + (int32_t)get(r, 4);
}

bool cfi_find(const struct cfi *c, uint64_t addr, struct cfi_rule *out)
{
	struct reader r = reader_at(c, c->header), program;
	uint64_t frames, count, start, at, next;
	uint8_t version = get(&r, 1), frames_enc = get(&r, 1), count_enc = get(&r, 1), table_enc = get(&r, 1);
	struct cie e;

	*out = (struct cfi_rule){0};
	frames = get_encoded(&r, frames_enc & 0x7f, c->header);
	count = get_encoded(&r, count_enc, c->header);
	if (r.bad || version != 1)
		return false;
	if (table_enc == (DW_EH_PE_datarel | DW_EH_PE_sdata4)) {
		at = table_search(c, &r, count, addr);
		if (!at || !fde_read(c, at, addr, &e, &program, &start, &next))
			return false;
		execute(&e, program, start, addr, out);
		return true;
	}
	at = frames;
	for (unsigned int n = 0; n < SCAN_MAX; n++, at = next) {
		if (fde_read(c, at, addr, &e, &program, &start, &next)) {
			execute(&e, program, start, addr, out);
			return true;
		}
		if (!next)
			break;
	}
	return false;
}
