/* SPDX-License-Identifier: BSD-3-Clause */
/* Every instruction of insns.S, natively and emulated, must leave the same registers, flags and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "decode/decode.h"
#include "harness.h"

#define ROUNDS	      24
#define RANDOM_ROUNDS 40000

static struct outcome native, emulated;

static void memory_randomize(uint8_t *memory, const struct cpu *c, unsigned int round)
{
	uint64_t word;

	/* One round in four all words equal rax, so that comparisons are equal, too. */
	for (unsigned int i = 0; i < MEMORY_SIZE; i += 8) {
		word = round % 4 == 3 ? c->gpr[RAX] : test_random();
		memcpy(memory + i, &word, 8);
	}
}

/* Aligned in half of the rounds; else the windows' accesses are not, and some must fail as natively. */
static void cpu_misalign(struct cpu *c, unsigned int round)
{
	static const uint8_t pointers[] = {RBX, RBP, RSP, RSI, RDI, R11, R12, R13, R14, R15};

	if (round % 2 == 0) {
		c->gpr[R9] &= ~(uint64_t)7;
		return;
	}
	for (unsigned int i = 0; i < sizeof(pointers); i++)
		c->gpr[pointers[i]] += test_random() % 64 - 32;
}

static void string_setup(struct cpu *c, const struct insn_row *row, unsigned int round)
{
	uint8_t op = row->code[row->len - 1] & 0xfe;

	c->gpr[RCX] = test_random() % 40 + 1;
	if (row->code[0] == 0x67) {
		c->gpr[RCX] |= test_random() << 32;
		c->gpr[RSI] |= test_random() << 32;
		c->gpr[RDI] |= test_random() << 32;
	}
	if (row->code[0] == 0x65)
		c->gpr[RSI] -= harness_gs();
	/* In turn: both ends in the window (overlapping at times), source outside, destination outside. */
	if (round % 3 == 0 && round % 2)
		c->gpr[RDI] = c->gpr[RSI] + test_random() % 9;
	else if (round % 3 == 1 && op == 0xa4)
		c->gpr[RSI] += 0x1800;
	else if (round % 3 == 2 && op == 0xa4)
		c->gpr[RDI] += 0x1200;
}

/*
 * A bit index reaches far beyond the operand; the word it ends in must be the test's own, since other memory (a
 * sanitizer's) does not stay as it is from one run to the next. What the operand's or the address's size cuts off is
 * garbage.
 */
static void bit_index_setup(struct cpu *c, const struct insn *in)
{
	uint64_t *index = &c->gpr[in->bit_reg & 15];

	if (in->bit_reg == in->base || in->bit_reg == in->index)
		return;
	*index = test_random() % (32 * PAGE) - 16 * PAGE;
	if (in->mem_size < 8)
		*index ^= test_random() << 32;
	else if (in->addr_size < 8)
		*index += test_random() << 35;
}

static bool row_differs(const struct insn_row *row, unsigned int round)
{
	static uint8_t memory[MEMORY_SIZE];
	const char *what;
	struct insn in;
	struct cpu c;

	cpu_randomize(&c);
	cpu_misalign(&c, round);
	insn_decode(row->code, row->len, &in);
	if (in.class == INSN_STRING)
		string_setup(&c, row, round);
	else if (in.class == INSN_OUT_OF_LINE && in.bit_reg != INSN_REG_NONE)
		bit_index_setup(&c, &in);
	memory_randomize(memory, &c, round);
	harness_use_fsgsbase(round & 2);
	run_native(&c, memory, row->code, row->len, &native);
	run_emulated(&c, memory, row->code, row->len, &emulated);
	what = outcome_differs(&native, &emulated);
	if (!what && emulated.accesses > sizeof(emulated.access) / sizeof(emulated.access[0]))
		what = "more accesses than the test can note";
	if (what)
		print_error("%s (round %u): %s\n", row->name, round, what);
	return what != NULL;
}

static void test_rows(void **state)
{
	unsigned int failed = 0, ran = 0, skipped = 0, traps;

	for (const struct insn_row *row = insn_rows; row != insn_rows_end; row++) {
		if (!feature_present(row->feature)) {
			skipped++;
			continue;
		}
		traps = 0;
		for (unsigned int round = 0; round < ROUNDS; round++, traps += emulated.traps) {
			test_seed((uint64_t)(row - insn_rows) * ROUNDS + round);
			if (row_differs(row, round)) {
				failed++;
				break;
			}
		}
		/* A single round need not: a mask may leave nothing over. */
		if (!traps)
			fail_msg("%s: never touched the window", row->name);
		ran++;
	}
	print_message("%u instructions, %u not on this processor\n", ran, skipped);
	assert_int_equal(failed, 0);
	assert_true(ran > 0);
}

/* An opcode from anywhere in the maps, on (%rbx). */
static size_t random_instruction(uint8_t *code)
{
	uint64_t r = test_random(), pick = r & 7;
	uint8_t *p = code;

	if (pick < 3) { /* EVEX: X and B of no use; a mask in most cases */
		*p++ = 0x62;
		*p++ = (uint8_t)((r >> 8 & 0x90) | 0x60 | (r >> 16) % 7);
		*p++ = (uint8_t)((r >> 24 & 0xff) | 0x04);
		*p++ = (uint8_t)(r >> 32);
	} else if (pick < 4) {
		*p++ = 0xc4;
		*p++ = (uint8_t)((r >> 8 & 0x80) | 0x60 | ((r >> 16) % 3 + 1));
		*p++ = (uint8_t)(r >> 24);
	} else {
		static const uint8_t prefix[] = {0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e};

		for (unsigned int i = 0; i < (r >> 8 & 3); i++)
			*p++ = prefix[(r >> (16 + 4 * i)) % sizeof(prefix)];
		if (r >> 10 & 1)
			*p++ = (uint8_t)(0x40 | (r >> 40 & 0xe));
		if (pick > 4)
			*p++ = 0x0f;
		if (pick == 6)
			*p++ = r >> 11 & 1 ? 0x38 : 0x3a;
	}
	*p++ = (uint8_t)(r >> 48);
	*p++ = (uint8_t)((r >> 56 & 0x38) | 3);
	r = test_random();
	memcpy(p, &r, 4);
	return (size_t)(p - code) + 4;
}

/* Segment registers carry the test's own thread pointer; fnstenv stores where the instruction was. */
static bool insn_comparable(const struct insn *in)
{
	uint8_t opcode;

	if (in->class == INSN_LOAD || in->class == INSN_STORE)
		return true;
	if (in->class != INSN_OUT_OF_LINE || in->mem_size == 14 || in->mem_size == 28)
		return false;
	opcode = in->bytes[in->len - 2];
	return in->mem_size > 10 || !(opcode == 0x8e || opcode == 0xb2 || opcode == 0xb4 || opcode == 0xb5);
}

/* What the table does not name. Bytes that a mask leaves out are stale in the slot: they must not matter. */
static void test_random_rows(void **state)
{
	char name[3 * INSN_MAX_BYTES + 1];
	unsigned int failed = 0, ran = 0;
	uint8_t code[24];
	struct insn in;

	for (unsigned int i = 0; i < RANDOM_ROUNDS && failed < 20; i++) {
		struct insn_row row = {.name = name, .code = code};

		test_seed(0x1000000 + i);
		insn_decode(code, random_instruction(code), &in);
		if (!insn_comparable(&in))
			continue;
		row.len = in.len;
		for (unsigned int j = 0; j < in.len; j++)
			snprintf(name + 3 * j, 4, "%02x ", code[j]);
		failed += row_differs(&row, i % ROUNDS);
		ran++;
	}
	print_message("%u instructions\n", ran);
	assert_int_equal(failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_random_rows)};
	int r = harness_init();

	if (r) {
		fprintf(stderr, "cannot map what the test needs\n");
		return r;
	}
	return cmocka_run_group_tests_name("emulate_diff", tests, NULL, NULL);
}
