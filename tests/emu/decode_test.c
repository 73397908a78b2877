/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "harness.h"
#include "insn_invariants.h"

#define DECODE(in, ...)                                                                                                \
	do {                                                                                                           \
		static const uint8_t code_[] = {__VA_ARGS__};                                                          \
		insn_decode(code_, sizeof(code_), in);                                                                 \
		assert_true(insn_invariants(code_, sizeof(code_)));                                                    \
		assert_int_equal((in)->len, sizeof(code_));                                                            \
	} while (0)

static void test_loads(void **state)
{
	struct insn in;

	/* mov 0x10(%rbx,%rcx,4), %ah */
	DECODE(&in, 0x8a, 0x64, 0x8b, 0x10);
	assert_int_equal(in.class, INSN_LOAD);
	assert_int_equal(in.reg, INSN_HIGH_BYTE + 0);
	assert_int_equal(in.base, 3);
	assert_int_equal(in.index, 1);
	assert_int_equal(in.scale, 4);
	assert_int_equal(in.disp, 0x10);
	assert_int_equal(in.mem_size, 1);
	assert_int_equal(in.reg_size, 1);
	/* movsbq -4(%rip), %r9 */
	DECODE(&in, 0x4c, 0x0f, 0xbe, 0x0d, 0xfc, 0xff, 0xff, 0xff);
	assert_int_equal(in.class, INSN_LOAD);
	assert_int_equal(in.ext, INSN_EXT_SIGN);
	assert_int_equal(in.base, INSN_REG_RIP);
	assert_true(in.disp == -4);
	assert_int_equal(in.reg, 9);
	assert_int_equal(in.reg_size, 8);
	/* movbe %gs:(%eax), %ecx */
	DECODE(&in, 0x65, 0x67, 0x0f, 0x38, 0xf0, 0x08);
	assert_int_equal(in.class, INSN_LOAD);
	assert_int_equal(in.swap, 1);
	assert_int_equal(in.seg, 2);
	assert_int_equal(in.addr_size, 4);
}

static void test_stores(void **state)
{
	struct insn in;

	/* movq $-2, (%rsp) */
	DECODE(&in, 0x48, 0xc7, 0x04, 0x24, 0xfe, 0xff, 0xff, 0xff);
	assert_int_equal(in.class, INSN_STORE);
	assert_int_equal(in.reg, INSN_REG_NONE);
	assert_true(in.imm == (uint64_t)-2);
	assert_int_equal(in.base, 4);
	/* movnti %rcx, (%rax); movdiri %ecx, (%rax) */
	DECODE(&in, 0x48, 0x0f, 0xc3, 0x08);
	assert_int_equal(in.class, INSN_STORE);
	assert_int_equal(in.mem_size, 8);
	DECODE(&in, 0x0f, 0x38, 0xf9, 0x08);
	assert_int_equal(in.class, INSN_STORE);
	assert_int_equal(in.mem_size, 4);
}

static void test_strings(void **state)
{
	struct insn in;

	DECODE(&in, 0xf3, 0x48, 0xa5); /* rep movsq */
	assert_int_equal(in.class, INSN_STRING);
	assert_int_equal(in.string, INSN_MOVS);
	assert_int_equal(in.rep, 1);
	assert_int_equal(in.mem_size, 8);
	DECODE(&in, 0x64, 0xa5); /* movsl %fs:(%rsi), (%rdi) */
	assert_int_equal(in.seg, 1);
	assert_int_equal(in.rep, 0);
	DECODE(&in, 0x66, 0x0f, 0x38, 0xf8, 0x01); /* movdir64b (%rcx), %rax */
	assert_int_equal(in.class, INSN_STRING);
	assert_int_equal(in.string, INSN_MOVDIR64B);
	assert_int_equal(in.reg, 0);
	assert_int_equal(in.base, 1);
	DECODE(&in, 0xf2, 0x0f, 0x10, 0x00); /* the other movsd */
	assert_int_equal(in.class, INSN_OUT_OF_LINE);
}

static void test_copies(void **state)
{
	struct insn in;

	/* lock cmpxchg16b -8(%rsp,%r9,2) uses rax, rbx, rcx, rdx */
	DECODE(&in, 0xf0, 0x4a, 0x0f, 0xc7, 0x4c, 0x4c, 0xf8);
	assert_int_equal(in.class, INSN_OUT_OF_LINE);
	assert_int_equal(in.scratch, 6);
	assert_memory_equal(in.copy, ((uint8_t[]){0xf0, 0x48, 0x0f, 0xc7, 0x0e}), 5);
	assert_int_equal(in.copy_len, 5);
	assert_true(in.mem_read && in.mem_write);
	/* addl $0x11223344, 0x55667788(%rip) keeps its immediate */
	DECODE(&in, 0x81, 0x05, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11);
	assert_memory_equal(in.copy, ((uint8_t[]){0x81, 0x06, 0x44, 0x33, 0x22, 0x11}), 6);
	/* vmovdqu8 %zmm17, 0x40(%r12){%k3} */
	DECODE(&in, 0x62, 0xc1, 0x7f, 0x4b, 0x7f, 0x4c, 0x24, 0x01);
	assert_int_equal(in.disp, 0x40);
	assert_int_equal(in.mask, INSN_MASK_EACH);
	assert_int_equal(in.mask_reg, 3);
	assert_int_equal(in.mask_elem, 1);
	assert_true(!in.mem_read && in.mem_write);
	/* bts %rcx, (%rax) */
	DECODE(&in, 0x48, 0x0f, 0xab, 0x08);
	assert_int_equal(in.bit_reg, 1);
	/* clflush (%rax) neither reads nor writes */
	DECODE(&in, 0x0f, 0xae, 0x38);
	assert_true(!in.mem_read && !in.mem_write && in.mem_size == 1);
}

static void test_unknown(void **state)
{
	static const struct {
		const char *name;
		uint8_t len, code[10];
	} row[] = {
	    {"push (%rax)", 2, {0xff, 0x30}},
	    {"pop (%rax)", 2, {0x8f, 0x00}},
	    {"call *(%rax)", 2, {0xff, 0x10}},
	    {"jmp *(%rax)", 2, {0xff, 0x20}},
	    {"lcall *(%rax)", 2, {0xff, 0x18}},
	    {"lea (%rax), %rcx", 3, {0x48, 0x8d, 0x08}},
	    {"xsave (%rax)", 3, {0x0f, 0xae, 0x20}},
	    {"fxsave (%rax)", 3, {0x0f, 0xae, 0x00}},
	    {"vgatherdps", 6, {0xc4, 0xe2, 0x6d, 0x92, 0x0c, 0x00}},
	    {"cmpsb", 1, {0xa6}},
	    {"scasb", 1, {0xae}},
	    {"outsb", 1, {0x6e}},
	    {"xlat", 1, {0xd7}},
	    {"maskmovdqu", 4, {0x66, 0x0f, 0xf7, 0xc1}},
	    {"prefetcht0 (%rax)", 3, {0x0f, 0x18, 0x08}},
	    {"nopl (%rax)", 3, {0x0f, 0x1f, 0x00}},
	    {"invlpg (%rax)", 3, {0x0f, 0x01, 0x38}},
	    {"mov %rax, %rcx", 3, {0x48, 0x89, 0xc1}},
	    {"ret", 1, {0xc3}},
	    {"no instruction", 2, {0x0f, 0x04}},
	};
	struct insn in;

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		insn_decode(row[i].code, row[i].len, &in);
		if (in.class != INSN_UNKNOWN)
			fail_msg("%s has class %d", row[i].name, in.class);
		assert_true(insn_invariants(row[i].code, row[i].len));
	}
}

/* Every row cut short anywhere, and whole. */
static void test_truncated(void **state)
{
	struct insn in;

	for (const struct insn_row *row = insn_rows; row != insn_rows_end; row++) {
		for (size_t n = 0; n < row->len; n++) {
			assert_true(insn_invariants(row->code, n));
			insn_decode(row->code, n, &in);
			assert_int_equal(in.class, INSN_UNKNOWN);
		}
		insn_decode(row->code, row->len, &in);
		if (in.class == INSN_UNKNOWN || !insn_invariants(row->code, row->len))
			fail_msg("%s: class %d", row->name, in.class);
	}
}

static void test_random_bytes(void **state)
{
	uint8_t code[INSN_MAX_BYTES + 1];

	test_seed(1);
	for (unsigned int i = 0; i < 300000; i++) {
		for (unsigned int j = 0; j < sizeof(code); j += 8) {
			uint64_t r = test_random();

			memcpy(code + j, &r, 8);
		}
		/* Vector encodings are most of the opcode space, and rare among random bytes. */
		if (i % 4 == 0)
			code[i / 4 % 3] = i % 8 ? 0x62 : 0xc4;
		if (!insn_invariants(code, sizeof(code)))
			fail_msg("round %u", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_loads),	 cmocka_unit_test(test_stores),	 cmocka_unit_test(test_strings),
	    cmocka_unit_test(test_copies),	 cmocka_unit_test(test_unknown), cmocka_unit_test(test_truncated),
	    cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
