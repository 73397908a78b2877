/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpu_run(void): load the processor's state from cpu_state, jump to cpu_code, and when the code (or a signal handler)
 * jumps to cpu_back, store the state again. Offsets are checked in harness.c. cpu_sigreturn is where handlers return to.
 */
#define GPR(n)	(8 * (n))
#define FLAGS	128
#define K(n)	(136 + 8 * (n))
#define FX	256
#define ZMM(n)	(768 + 64 * (n))

	.bss
	.balign 8
host_rsp:
	.skip 8

	.text
	.globl cpu_run, cpu_back
	.type cpu_run, @function
cpu_run:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, host_rsp(%rip)
	fxrstor64 cpu_state+FX(%rip)
	cmpl	$2, cpu_level(%rip)
	jae	1f
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	movups	cpu_state+ZMM(\n)(%rip), %xmm\n
	.endr
	jmp	3f
1:	jne	2f
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	vmovups	cpu_state+ZMM(\n)(%rip), %ymm\n
	.endr
	jmp	3f
2:	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	vmovups	cpu_state+ZMM(\n)(%rip), %zmm\n
	.endr
	.irp	n, 0,1,2,3,4,5,6,7
	kmovq	cpu_state+K(\n)(%rip), %k\n
	.endr
3:	push	cpu_state+FLAGS(%rip)
	popf
	mov	cpu_state+GPR(0)(%rip), %rax
	mov	cpu_state+GPR(1)(%rip), %rcx
	mov	cpu_state+GPR(2)(%rip), %rdx
	mov	cpu_state+GPR(3)(%rip), %rbx
	mov	cpu_state+GPR(4)(%rip), %rsp
	mov	cpu_state+GPR(5)(%rip), %rbp
	mov	cpu_state+GPR(6)(%rip), %rsi
	mov	cpu_state+GPR(7)(%rip), %rdi
	.irp	n, 8,9,10,11,12,13,14,15
	mov	cpu_state+GPR(\n)(%rip), %r\n
	.endr
	jmp	*cpu_code(%rip)

cpu_back:
	mov	%rax, cpu_state+GPR(0)(%rip)
	mov	%rcx, cpu_state+GPR(1)(%rip)
	mov	%rdx, cpu_state+GPR(2)(%rip)
	mov	%rbx, cpu_state+GPR(3)(%rip)
	mov	%rsp, cpu_state+GPR(4)(%rip)
	mov	%rbp, cpu_state+GPR(5)(%rip)
	mov	%rsi, cpu_state+GPR(6)(%rip)
	mov	%rdi, cpu_state+GPR(7)(%rip)
	.irp	n, 8,9,10,11,12,13,14,15
	mov	%r\n, cpu_state+GPR(\n)(%rip)
	.endr
	mov	host_rsp(%rip), %rsp
	pushf
	cld
	pop	cpu_state+FLAGS(%rip)
	fxsave64 cpu_state+FX(%rip)
	cmpl	$2, cpu_level(%rip)
	jb	3f
	jne	2f
	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	vmovups	%ymm\n, cpu_state+ZMM(\n)(%rip)
	.endr
	vzeroupper
	jmp	3f
2:	.irp	n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	vmovups	%zmm\n, cpu_state+ZMM(\n)(%rip)
	.endr
	.irp	n, 0,1,2,3,4,5,6,7
	kmovq	%k\n, cpu_state+K(\n)(%rip)
	.endr
	vzeroupper
3:	fninit
	ldmxcsr	default_mxcsr(%rip)
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size cpu_run, . - cpu_run

	/* rt_sigreturn */
	.globl cpu_sigreturn
cpu_sigreturn:
	mov	$15, %eax
	syscall

	.section .rodata
	.balign 4
default_mxcsr:
	.long	0x1f80
	.section .note.GNU-stack, "", @progbits
