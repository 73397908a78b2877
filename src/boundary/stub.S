/* SPDX-License-Identifier: BSD-3-Clause */
/* The code of the stub page (sys.h); init.c copies it to its fixed address. Each entry stands at a multiple of 16. */
	.section .rodata
	.balign 16
	.globl stub_code, stub_code_end
	.hidden stub_code, stub_code_end
stub_code:
	syscall
	ret
	.balign 16, 0xcc
	syscall
	ret $128
	.balign 16, 0xcc
	syscall
	pop %rdi
	pop %r10
	pop %r8
	pop %r9
	pop %rcx
	pop %rsp
	jmp *%rcx
	.balign 16, 0xcc
	/* Byte for byte the C library's: by this, debuggers and the compiler's unwinder know the way back from a handler. */
	movq $15, %rax
	syscall
stub_code_end:

	.text
	/* long stack_call(long (*fn)(void *), void *arg, void *stack_top): runs fn(arg) on another stack. */
	.balign 16
	.globl stack_call
	.hidden stack_call
	.type stack_call, @function
stack_call:
	push %rbp
	mov %rsp, %rbp
	mov %rdx, %rsp
	mov %rdi, %rax
	mov %rsi, %rdi
	call *%rax
	leave
	ret
	.size stack_call, . - stack_call
	.section .note.GNU-stack, "", @progbits
