/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guarded copy and its fixup. Freestanding: the boundary library links this file into other programs.
 *
 * The copy is two stretches of code. In the fast one, at every instruction that may fault, rdi, rsi and rcx hold
 * destination, source and length of something that is still wholly to do (doing parts of it twice is harmless). In the
 * slow one rep movsb keeps them exact to the byte. A fault in the fast part continues in the slow one, and a fault in
 * the slow one returns rcx. So the answer is exact however wide the moves were.
 *
 * Without a fault no byte of a whole number of 16-byte units, or of 8 or 4 bytes, is stored twice: whoever sees a
 * completion may use its place again at once, and a second store would undo that.
 */
#include "base/guard.h"

extern const char guard_fast_begin[] __attribute__((visibility("hidden")));
extern const char guard_slow_begin[] __attribute__((visibility("hidden")));
extern const char guard_slow_end[] __attribute__((visibility("hidden")));
extern const char guard_cas_at[] __attribute__((visibility("hidden")));
extern const char guard_cas_fault[] __attribute__((visibility("hidden")));

/* From 2 KiB on rep movsb (ERMS) beats 16-byte moves; below, its start-up with a misaligned destination dominates. */
__asm__(".pushsection .text\n"
	".balign 64\n"
	".globl guard_copy\n"
	".hidden guard_copy, guard_fast_begin, guard_slow_begin, guard_slow_end\n"
	".globl guard_fast_begin, guard_slow_begin, guard_slow_end\n"
	".type guard_copy, @function\n"
	"guard_copy:\n"
	".cfi_startproc\n"
	"	endbr64\n"
	"	movq %rdx, %rcx\n"
	"	cmpq $2048, %rdx\n"
	"	jae guard_slow_begin\n"
	"guard_fast_begin:\n"
	"	cmpq $64, %rcx\n"
	"	ja 2f\n"
	/* 0..64 bytes left: a head and a tail that may overlap, unless the length is a whole number of them. */
	"1:	cmpl $32, %ecx\n"
	"	jae 3f\n"
	"	cmpl $16, %ecx\n"
	"	jae 4f\n"
	"	cmpl $8, %ecx\n"
	"	jae 5f\n"
	"	cmpl $4, %ecx\n"
	"	jae 6f\n"
	"	testl %ecx, %ecx\n"
	"	jnz guard_slow_begin\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	".balign 16\n"
	"2:	movups (%rsi), %xmm0\n"
	"	movups 16(%rsi), %xmm1\n"
	"	movups 32(%rsi), %xmm2\n"
	"	movups 48(%rsi), %xmm3\n"
	"	movups %xmm0, (%rdi)\n"
	"	movups %xmm1, 16(%rdi)\n"
	"	movups %xmm2, 32(%rdi)\n"
	"	movups %xmm3, 48(%rdi)\n"
	"	addq $64, %rsi\n"
	"	addq $64, %rdi\n"
	"	subq $64, %rcx\n"
	"	cmpq $64, %rcx\n"
	"	ja 2b\n"
	"	jmp 1b\n"
	"3:	movups (%rsi), %xmm0\n"
	"	movups 16(%rsi), %xmm1\n"
	"	movups -32(%rsi,%rcx), %xmm2\n"
	"	movups -16(%rsi,%rcx), %xmm3\n"
	"	movups %xmm0, (%rdi)\n"
	"	movups %xmm1, 16(%rdi)\n"
	"	cmpl $32, %ecx\n"
	"	je 7f\n"
	"	cmpl $48, %ecx\n"
	"	je 8f\n"
	"	movups %xmm2, -32(%rdi,%rcx)\n"
	"8:	movups %xmm3, -16(%rdi,%rcx)\n"
	"7:	xorl %eax, %eax\n"
	"	ret\n"
	"4:	movups (%rsi), %xmm0\n"
	"	movups -16(%rsi,%rcx), %xmm1\n"
	"	movups %xmm0, (%rdi)\n"
	"	cmpl $16, %ecx\n"
	"	je 7f\n"
	"	movups %xmm1, -16(%rdi,%rcx)\n"
	"7:	xorl %eax, %eax\n"
	"	ret\n"
	"5:	movq (%rsi), %rax\n"
	"	movq -8(%rsi,%rcx), %rdx\n"
	"	movq %rax, (%rdi)\n"
	"	cmpl $8, %ecx\n"
	"	je 7f\n"
	"	movq %rdx, -8(%rdi,%rcx)\n"
	"7:	xorl %eax, %eax\n"
	"	ret\n"
	"6:	movl (%rsi), %eax\n"
	"	movl -4(%rsi,%rcx), %edx\n"
	"	movl %eax, (%rdi)\n"
	"	cmpl $4, %ecx\n"
	"	je 7f\n"
	"	movl %edx, -4(%rdi,%rcx)\n"
	"7:	xorl %eax, %eax\n"
	"	ret\n"
	"guard_slow_begin:\n"
	"	rep movsb\n"
	"guard_slow_end:\n"
	"	movq %rcx, %rax\n"
	"	ret\n"
	".cfi_endproc\n"
	".size guard_copy, . - guard_copy\n"
	".balign 16\n"
	".globl guard_cas, guard_cas_at, guard_cas_fault\n"
	".hidden guard_cas, guard_cas_at, guard_cas_fault\n"
	".type guard_cas, @function\n"
	"guard_cas:\n"
	".cfi_startproc\n"
	"	endbr64\n"
	"	movq %rsi, %rax\n"
	"guard_cas_at:\n"
	"	lock cmpxchgq %rdx, (%rdi)\n"
	"	setne %al\n"
	"	movzbl %al, %eax\n"
	"	ret\n"
	"guard_cas_fault:\n"
	"	movl $2, %eax\n"
	"	ret\n"
	".cfi_endproc\n"
	".size guard_cas, . - guard_cas\n"
	".popsection\n");

_Static_assert(GUARD_CAS_DONE == 0 && GUARD_CAS_DIFFERS == 1 && GUARD_CAS_FAULT == 2, "as the code above has it");

bool guard_fixup(ucontext_t *uc)
{
	greg_t *rip = &uc->uc_mcontext.gregs[REG_RIP];
	unsigned long at = (unsigned long)*rip;

	if (at >= (unsigned long)guard_fast_begin && at < (unsigned long)guard_slow_begin)
		*rip = (greg_t)guard_slow_begin;
	else if (at >= (unsigned long)guard_slow_begin && at < (unsigned long)guard_slow_end)
		*rip = (greg_t)guard_slow_end;
	else if (at == (unsigned long)guard_cas_at)
		*rip = (greg_t)guard_cas_fault;
	else
		return false;
	return true;
}
