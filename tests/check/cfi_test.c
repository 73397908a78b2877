/* SPDX-License-Identifier: BSD-3-Clause */
/* The reading of call frame information against elfutils', on every function of this program and the C library. */
#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <gelf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/util.h"
#include "check/cfi.h"

struct file {
	int fd;
	Elf *elf;
	Dwarf_CFI *theirs;
	GElf_Phdr in; /* the segment with the tables */
	uint8_t *image;
	struct cfi ours;
};

static void file_open(struct file *f, const char *path)
{
	GElf_Phdr ph, head = {0};
	size_t n;

	*f = (struct file){.fd = open(path, O_RDONLY | O_CLOEXEC)};
	assert_true(f->fd >= 0);
	elf_version(EV_CURRENT);
	f->elf = elf_begin(f->fd, ELF_C_READ, NULL);
	f->theirs = dwarf_getcfi_elf(f->elf);
	assert_non_null(f->theirs);
	assert_int_equal(elf_getphdrnum(f->elf, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (gelf_getphdr(f->elf, i, &ph) && ph.p_type == PT_GNU_EH_FRAME)
			head = ph;
	for (size_t i = 0; i < n; i++)
		if (gelf_getphdr(f->elf, i, &ph) && ph.p_type == PT_LOAD && head.p_offset - ph.p_offset < ph.p_filesz)
			f->in = ph;
	f->image = malloc(f->in.p_filesz);
	assert_int_equal(pread(f->fd, f->image, f->in.p_filesz, f->in.p_offset), f->in.p_filesz);
	f->ours =
	    (struct cfi){.image = f->image, .len = f->in.p_filesz, .vaddr = f->in.p_vaddr, .header = head.p_vaddr};
}

static void file_close(struct file *f)
{
	dwarf_cfi_end(f->theirs);
	elf_end(f->elf);
	close(f->fd);
	free(f->image);
}

static bool relative(const Dwarf_Op *ops, size_t n, int64_t *off)
{
	*off = n == 2 ? (int64_t)ops[1].number : 0;
	return n && ops[0].atom == DW_OP_call_frame_cfa && (n == 1 || (n == 2 && ops[1].atom == DW_OP_plus_uconst));
}

/* What elfutils says, as far as it can be said in a rule. */
static struct cfi_rule their_rule(Dwarf_Frame *frame)
{
	struct cfi_rule r = {0};
	Dwarf_Op mem[3], *ops;
	int64_t ra = 0, rbp = 0, off = 0;
	uint64_t reg = UINT64_MAX;
	size_t n;

	dwarf_frame_info(frame, NULL, NULL, &r.signal);
	if (dwarf_frame_cfa(frame, &ops, &n) || !(n == 1 || (n == 2 && ops[1].atom == DW_OP_deref)))
		return r;
	r.cfa_deref = n == 2;
	if (ops->atom == DW_OP_bregx) {
		reg = ops->number;
		off = (int64_t)ops->number2;
	} else if (ops->atom >= DW_OP_breg0 && ops->atom <= DW_OP_breg31) {
		reg = ops->atom - DW_OP_breg0;
		off = (int64_t)ops->number;
	}
	if ((reg != DW_RBP && reg != DW_RSP) || dwarf_frame_register(frame, DW_RIP, mem, &ops, &n) ||
	    !relative(ops, n, &ra))
		return (struct cfi_rule){.signal = r.signal};
	r.cfa_reg = reg;
	r.cfa_off = off;
	r.ra_off = ra;
	r.saves_rbp = !dwarf_frame_register(frame, DW_RBP, mem, &ops, &n) && relative(ops, n, &rbp);
	r.rbp_off = r.saves_rbp ? rbp : 0;
	return r;
}

static unsigned int compare(struct file *f, uint64_t from, uint64_t to, unsigned int step)
{
	unsigned int known = 0;

	for (uint64_t at = from; at < to; at += step) {
		struct cfi_rule ours, theirs = {0};
		Dwarf_Frame *frame;
		bool said = !dwarf_cfi_addrframe(f->theirs, at, &frame), found = cfi_find(&f->ours, at, &ours);

		if (said) {
			theirs = their_rule(frame);
			free(frame);
		}
		if (!ours.cfa_reg)
			ours = (struct cfi_rule){.signal = ours.signal};
		if (!ours.saves_rbp)
			ours.rbp_off = 0;
		if (found != said || ours.cfa_reg != theirs.cfa_reg || ours.cfa_deref != theirs.cfa_deref ||
		    ours.saves_rbp != theirs.saves_rbp || ours.signal != theirs.signal ||
		    ours.cfa_off != theirs.cfa_off || ours.ra_off != theirs.ra_off || ours.rbp_off != theirs.rbp_off)
			fail_msg(
			    "at 0x%lx: %d %d, CFA r%d%+d %d, ra %+d, rbp %d %+d; theirs %d %d, r%d%+d %d, %+d, %d %+d",
			    at, found, ours.signal, ours.cfa_reg, ours.cfa_off, ours.cfa_deref, ours.ra_off,
			    ours.saves_rbp, ours.rbp_off, said, theirs.signal, theirs.cfa_reg, theirs.cfa_off,
			    theirs.cfa_deref, theirs.ra_off, theirs.saves_rbp, theirs.rbp_off);
		known += ours.cfa_reg != 0;
	}
	return known;
}

static unsigned int compare_code(struct file *f, unsigned int step)
{
	unsigned int known = 0;
	GElf_Phdr ph;
	size_t n;

	elf_getphdrnum(f->elf, &n);
	for (size_t i = 0; i < n; i++)
		if (gelf_getphdr(f->elf, i, &ph) && ph.p_type == PT_LOAD && ph.p_flags & PF_X)
			known += compare(f, ph.p_vaddr, ph.p_vaddr + ph.p_filesz, step);
	return known;
}

static void test_this_program(void **state)
{
	struct file f;

	file_open(&f, "/proc/self/exe");
	assert_true(compare_code(&f, 1) > 1000);
	file_close(&f);
}

static void test_the_c_library(void **state)
{
	struct file f;
	Dl_info info;

	assert_true(dladdr((void *)(uintptr_t)qsort, &info));
	file_open(&f, info.dli_fname);
	assert_true(compare_code(&f, 17) > 10000);
	file_close(&f);
}

/* Whatever the tables say, the answer comes, and nothing but the image is read (sanitizers would say). */
static void test_broken_tables(void **state)
{
	struct file f;
	struct cfi_rule r;
	uint32_t seed = 1;
	unsigned int found = 0;

	file_open(&f, "/proc/self/exe");
	for (unsigned int round = 0; round < 20000; round++) {
		uint64_t at;

		seed = seed * 1664525 + 1013904223;
		f.image[seed % f.ours.len] = seed >> 24;
		at = (uint64_t)(uintptr_t)seed % 0x100000;
		f.ours.len = f.in.p_filesz - seed % 64;
		found += cfi_find(&f.ours, at, &r);
		f.image[(f.ours.header - f.ours.vaddr) + 1 + round % 3] = round % 97 ? 0x1b : seed >> 16;
	}
	(void)found;
	file_close(&f);
}

static void test_without_a_table(void **state)
{
	struct file f;
	struct cfi_rule with, without;
	uint8_t *table;
	uint64_t at = 0;

	file_open(&f, "/proc/self/exe");
	table = f.image + (f.ours.header - f.ours.vaddr) + 3;
	for (at = 0; !cfi_find(&f.ours, at, &with) || !with.cfa_reg; at += 16)
		;
	*table = DW_EH_PE_omit;
	assert_true(cfi_find(&f.ours, at, &without));
	assert_int_equal(with.cfa_reg, without.cfa_reg);
	assert_int_equal(with.cfa_off, without.cfa_off);
	file_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_this_program),
	    cmocka_unit_test(test_the_c_library),
	    cmocka_unit_test(test_broken_tables),
	    cmocka_unit_test(test_without_a_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
