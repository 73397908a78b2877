/* SPDX-License-Identifier: BSD-3-Clause */
/* The entries of each format, as an operating system writes them. */
#include "guest.h"

#define B(n)	  (1ULL << (n))
#define M(hi, lo) ((~0ULL >> (63 - (hi))) & (~0ULL << (lo)))

static bool flag(const struct guest *g, unsigned int f)
{
	return g->cfg.flags & f;
}

static uint64_t when(bool cond, uint64_t bits)
{
	return cond ? bits : 0;
}

bool encode_has_leaf(const struct guest *g, unsigned int level)
{
	if (level == 0)
		return true;
	switch (g->cfg.format) {
	case WALK_X86:
		return level == 1 || (level == 2 && flag(g, WALK_HUGE));
	case WALK_ARM:
		if (g->cfg.granule == 12)
			return level < 3;
		return level == 1 || (level == 2 && g->cfg.output_bits == 52);
	case WALK_RISCV:
		return level < g->levels && guest_level_shift(g, level) < g->cfg.output_bits;
	default:
		return level == 1 && flag(g, WALK_HUGE);
	}
}

unsigned int encode_group_bits(const struct guest *g, unsigned int level)
{
	unsigned int bits = 0;

	if (g->cfg.format == WALK_RISCV)
		return flag(g, WALK_NAPOT) && level == 0 ? 4 : 0;
	if (g->cfg.format != WALK_ARM || !encode_has_leaf(g, level))
		return 0;
	if (g->cfg.granule == 12)
		bits = 4;
	else if (g->cfg.granule == 14)
		bits = level == 0 ? 7 : 5;
	else if (level < 2)
		bits = 5;
	return guest_level_shift(g, level) + bits <= g->cfg.input_bits ? bits : 0;
}

unsigned int encode_legal_bits(const struct guest *g, enum node_kind kind, unsigned int bits)
{
	switch (g->cfg.format) {
	case WALK_X86:
		bits |= RIGHT_READ | RIGHT_PEXEC | when(!flag(g, WALK_NO_EXECUTE), RIGHT_EXEC);
		break;
	case WALK_ARM:
		bits |= RIGHT_READ;
		if (kind == NODE_TABLE && flag(g, WALK_NO_HIERARCHY))
			bits |= RIGHT_ALL;
		break;
	case WALK_RISCV:
		bits |= RIGHT_PEXEC | when(kind == NODE_TABLE, RIGHT_ALL);
		if (kind == NODE_LEAF && (bits & RIGHT_WRITE || !(bits & RIGHT_EXEC)))
			bits |= RIGHT_READ;
		break;
	default:
		bits |= RIGHT_READ | RIGHT_USER | RIGHT_PEXEC | when(kind == NODE_TABLE, RIGHT_EXEC);
	}
	return bits;
}

static uint64_t x86_entry(const struct guest *g, const struct node *n)
{
	bool leaf = n->kind == NODE_LEAF;
	uint64_t ignored = M(4, 3) | M(11, 8) | M(62, 52);

	if (leaf)
		ignored |= n->level ? B(12) : B(7);
	else
		ignored |= B(6);
	if (!flag(g, WALK_NO_EXECUTE))
		ignored |= B(63);
	if (!flag(g, WALK_UPDATE_ACCESSED))
		ignored |= M(6, 5);
	return (n->junk & ignored) | B(0) | when(n->bits & RIGHT_WRITE, B(1)) | when(n->bits & RIGHT_USER, B(2)) |
	       when(!(n->bits & RIGHT_EXEC), B(63)) |
	       when(flag(g, WALK_UPDATE_ACCESSED) && n->bits & STATE_ACCESSED, B(5)) |
	       when(flag(g, WALK_UPDATE_ACCESSED) && leaf && n->bits & STATE_DIRTY, B(6)) |
	       when(leaf && n->level, B(7)) | n->out;
}

/* With 52-bit addresses the top four bits stand in [15:12]. */
static uint64_t arm_address(uint64_t out)
{
	return (out & M(47, 12)) | (out >> 48 << 12);
}

static uint64_t arm_entry(const struct guest *g, const struct node *n, unsigned int nth)
{
	uint64_t out = n->out + ((uint64_t)nth << guest_level_shift(g, n->level));
	uint64_t ignored = M(5, 2) | M(9, 8) | B(11) | M(50, 49) | M(58, 55) | B(63);

	if (n->kind == NODE_TABLE) {
		ignored = M(11, 2) | M(58, 51) | B(63);
		if (flag(g, WALK_NO_HIERARCHY))
			ignored |= M(62, 59);
		return (n->junk & ignored) | 3 | arm_address(out) | when(!(n->bits & RIGHT_PEXEC), B(59)) |
		       when(!(n->bits & RIGHT_EXEC), B(60)) | when(!(n->bits & RIGHT_USER), B(61)) |
		       when(!(n->bits & RIGHT_WRITE), B(62));
	}
	if (g->cfg.granule == 16 && n->level == 2)
		ignored |= B(52);
	return (n->junk & ignored) | when(n->level == 0, B(1)) | B(0) | arm_address(out) |
	       when(n->bits & RIGHT_USER, B(6)) | when(!(n->bits & RIGHT_WRITE), B(7)) |
	       when(n->bits & STATE_ACCESSED, B(10)) | when(n->bits & STATE_DIRTY, B(51)) | when(n->grouped, B(52)) |
	       when(!(n->bits & RIGHT_PEXEC), B(53)) | when(!(n->bits & RIGHT_EXEC), B(54));
}

static uint64_t riscv_entry(const struct guest *g, const struct node *n)
{
	uint64_t entry = 1 | (n->junk & (B(5) | M(9, 8))) | n->out >> 12 << 10;

	if (n->kind == NODE_TABLE)
		return entry;
	if (flag(g, WALK_MEMORY_TYPE))
		entry |= n->junk % 3 << 61;
	if (n->grouped)
		entry |= B(63) | B(13);
	return entry | when(n->bits & RIGHT_READ, B(1)) | when(n->bits & RIGHT_WRITE, B(2)) |
	       when(n->bits & RIGHT_EXEC, B(3)) | when(n->bits & RIGHT_USER, B(4)) |
	       when(n->bits & STATE_ACCESSED, B(6)) | when(n->bits & STATE_DIRTY, B(7));
}

static uint64_t s390_entry(const struct node *n)
{
	uint64_t entry = n->out | when(!(n->bits & RIGHT_WRITE), 0x200);

	if (n->kind == NODE_LEAF && n->level == 0)
		return entry | (n->junk & 0xff) | when(!(n->bits & RIGHT_EXEC), 0x100);
	if (n->kind == NODE_LEAF)
		return entry | 0x400 | (n->junk & 0xff8d3) | when(!(n->bits & RIGHT_EXEC), 0x100);
	if (n->level == 1)
		return entry | (n->junk & 0x1d3);
	return entry | (n->junk & 0x910) | (n->level - 1) << 2 | n->first << 6 | n->last;
}

uint64_t encode_leaf(const struct guest *g, const struct node *n, unsigned int nth)
{
	switch (g->cfg.format) {
	case WALK_X86:
		return x86_entry(g, n);
	case WALK_ARM:
		return arm_entry(g, n, nth);
	case WALK_RISCV:
		return riscv_entry(g, n);
	default:
		return s390_entry(n);
	}
}

uint64_t encode_table(const struct guest *g, const struct node *n)
{
	return encode_leaf(g, n, 0);
}

static uint64_t x86_bad(struct guest *g, unsigned int level, uint64_t out, enum walk_fault *fault)
{
	unsigned int width = g->cfg.output_bits, low;

	*fault = WALK_RESERVED;
	switch (guest_random(g, 4)) {
	case 0:
		if (level > 2 || (level == 2 && !flag(g, WALK_HUGE)))
			return 0x80 | 7 | out;
		break;
	case 1:
		low = guest_level_shift(g, level);
		if (encode_has_leaf(g, level) && level)
			return B(13 + guest_random(g, low - 13)) | 0x87;
		break;
	case 2:
		if (width < 52)
			return B(width + guest_random(g, 52 - width)) | 7 | out;
		break;
	}
	*fault = WALK_NOT_PRESENT;
	return guest_random(g, 0) & ~B(0);
}

static uint64_t arm_bad(struct guest *g, unsigned int level, uint64_t out, enum walk_fault *fault)
{
	unsigned int width = g->cfg.output_bits;

	*fault = WALK_NOT_PRESENT;
	switch (guest_random(g, 3)) {
	case 0:
		/* A block where there is none, or what would be one in the last table. */
		if (level == 0 || !encode_has_leaf(g, level))
			return (guest_random(g, 0) & ~B(1)) | 1;
		break;
	case 1:
		if (width >= 48)
			break;
		*fault = WALK_ADDRESS_SIZE;
		return B(width + guest_random(g, 48 - width)) | out | 3 | B(10);
	}
	return guest_random(g, 0) & ~B(0);
}

static uint64_t riscv_bad_leaf(struct guest *g, unsigned int level, uint64_t entry)
{
	uint64_t leaf = entry | 0xcf;

	switch (guest_random(g, 6)) {
	case 0:
		return leaf & ~B(1); /* writable, not readable */
	case 1:
		return leaf | B(54 + guest_random(g, 7));
	case 2:
		return leaf | (flag(g, WALK_MEMORY_TYPE) ? 3ULL : 1 + guest_random(g, 3)) << 61;
	case 3:
		if (level)
			return leaf | B(10 + guest_random(g, 9 * level)); /* misaligned */
		return 1 | entry;					  /* a pointer in the last table */
	case 4:
		if (!flag(g, WALK_NAPOT) || level)
			return leaf | B(63);
		return ((leaf & ~(0xfULL << 10)) | B(63)) | (guest_random(g, 8) << 10);
	default:
		return (leaf & ~B(1)) & ~B(3);
	}
}

static uint64_t riscv_bad(struct guest *g, unsigned int level, uint64_t out, enum walk_fault *fault)
{
	static const uint8_t pointer_bits[] = {4, 6, 7, 54, 57, 60, 61, 62, 63};
	unsigned int width = g->cfg.output_bits;

	*fault = WALK_RESERVED;
	switch (guest_random(g, 4)) {
	case 0:
		return riscv_bad_leaf(g, level, out >> 12 << 10);
	case 1:
		return 1 | out >> 12 << 10 | B(pointer_bits[guest_random(g, sizeof(pointer_bits))]);
	case 2:
		if (width >= 56 || (level == 0 && width < 12))
			break;
		*fault = WALK_ADDRESS_SIZE;
		return B(width - 2 + guest_random(g, 56 - width)) | (level ? 1 : 0xcf) | out >> 12 << 10;
	}
	*fault = WALK_NOT_PRESENT;
	return guest_random(g, 0) & ~B(0);
}

static uint64_t s390_bad(struct guest *g, unsigned int level, uint64_t out, enum walk_fault *fault)
{
	uint64_t type = level ? (level - 1) << 2 | 3 : 0;
	unsigned int width = g->cfg.output_bits;

	*fault = WALK_RESERVED;
	switch (guest_random(g, 4)) {
	case 0:
		if (level == 0)
			return out | 0x800;
		return out | (type ^ (1 + guest_random(g, 3)) << 2);
	case 1:
		if ((level == 1 && !flag(g, WALK_HUGE)) || level == 2)
			return out | type | 0x400;
		break;
	case 2:
		if (width >= 64)
			break;
		*fault = WALK_ADDRESS_SIZE;
		return out | type | B(width + guest_random(g, 64 - width));
	}
	*fault = WALK_NOT_PRESENT;
	return guest_random(g, 0) | (level ? 0x20 : 0x400);
}

uint64_t encode_bad(struct guest *g, unsigned int level, uint64_t out, enum walk_fault *fault)
{
	switch (g->cfg.format) {
	case WALK_X86:
		return x86_bad(g, level, out, fault);
	case WALK_ARM:
		return arm_bad(g, level, out, fault);
	case WALK_RISCV:
		return riscv_bad(g, level, out, fault);
	default:
		return s390_bad(g, level, out, fault);
	}
}
