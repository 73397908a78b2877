/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The instructions that the differential test runs. Registers (harness.c): rbx, rbp, rsp, rsi, rdi, r12, r13 point into
 * the window; r9 is a small signed number, an index or a bit offset; eax has r11d = window, upper half garbage;
 * fs:(%r15) and gs:(%r14) are in the window; the code stands 0x12000 below the middle of the window, at 0x30012000.
 * The others are random.
 */
#define BASE	    0
#define MOVBE	    1
#define AVX	    2
#define AVX2	    3
#define AVX512	    4
#define VBMI2	    5
#define CLFLUSHOPT  6
#define BMI2	    7
#define SSE4	    8
#define ADX	    9
#define VNNI	    10
#define CLWB	    11
#define F16C	    12

	.macro	I feature, insn:vararg
	.section .rodata.code, "a"
98:	\insn
99:
	.section .rodata.name, "a"
97:	.asciz	"\insn"
	.section .data.rel.ro.insns, "aw"
	.quad	97b, 98b
	.long	99b - 98b, \feature
	.endm

	.section .data.rel.ro.insns, "aw"
	.balign	8
	.globl	insn_rows, insn_rows_end
insn_rows:

	/* Every addressing form, with a load, a store and a read-modify-write. */
	.macro	FORMS m:vararg
	I BASE, mov \m, %eax
	I BASE, mov %rdx, \m
	I BASE, add %ecx, \m
	I BASE, addl $0x12345678, \m
	I BASE, movups \m, %xmm3
	I BASE, movb $0x5a, \m
	I AVX512, vmovdqu8 \m, %zmm17
	I AVX512, vpaddd \m, %zmm30, %zmm31{%k3}{z}
	.endm
	FORMS	(%rbx)
	FORMS	8(%rbx)
	FORMS	-0x140(%rbx)
	FORMS	0x1c0(%rbx)
	FORMS	(%rsp)
	FORMS	16(%rsp)
	FORMS	0x180(%rsp)
	FORMS	(%rbp)
	FORMS	-8(%rbp)
	FORMS	(%r12)
	FORMS	64(%r12)
	FORMS	(%r13)
	FORMS	(%rbx,%r9)
	FORMS	(%rbx,%r9,2)
	FORMS	0x40(%rbx,%r9,4)
	FORMS	(%rbp,%r9,8)
	FORMS	(%r13,%r9,8)
	FORMS	(%rsp,%r9,8)
	FORMS	0x30012000(,%r9,8)
	FORMS	0x30012040
	FORMS	0x12000(%rip)
	FORMS	%fs:(%r15)
	FORMS	%fs:8(%r15,%r9,4)
	FORMS	%gs:(%r14)
	FORMS	%gs:-0x80(%r14)
	FORMS	(%r11d)
	FORMS	0x40(%r11d,%r9d,4)
	FORMS	0x12000(%eip)
	FORMS	%gs:(%r14d)
	FORMS	%ds:(%rbx)

	/* Loads and stores of general registers. */
	.irp	r, %al,%cl,%dl,%bl,%ah,%ch,%dh,%bh
	I BASE, mov (%rbx), \r
	I BASE, mov \r, (%rbx)
	I BASE, mov 5(%rdi), \r
	I BASE, xchg \r, (%rbx)
	I BASE, add \r, (%rbx)
	I BASE, cmp (%rbx), \r
	.endr
	.irp	r, %spl,%bpl,%sil,%dil,%r8b,%r9b,%r15b
	I BASE, mov (%rbx), \r
	I BASE, mov \r, (%rbx)
	I BASE, mov (%r13), \r
	I BASE, or \r, (%r12)
	.endr
	.irp	r, %ax,%cx,%sp,%bp,%r8w,%r15w, %eax,%ebx,%esp,%edi,%r9d,%r14d, %rax,%rbx,%rsp,%rsi,%r10,%r15
	I BASE, mov (%rbx), \r
	I BASE, mov \r, (%rbx)
	I BASE, mov 2(%r12), \r
	I BASE, xchg \r, (%rbx)
	I BASE, add (%rbx), \r
	I BASE, sub \r, 8(%rbp)
	I BASE, adc \r, (%r12)
	I BASE, test \r, (%rbx)
	I BASE, imul (%rbx), \r
	I BASE, cmovc (%rbx), \r
	I BASE, lock xadd \r, (%rbx)
	I BASE, lock cmpxchg \r, (%rdi)
	I BASE, movbe (%rbx), \r
	I BASE, movbe \r, (%r13)
	.endr
	.irp	r, %ax,%r9w,%ecx,%r10d,%rdx,%r15
	I BASE, movzbw (%rbx), %ax
	I BASE, movzb (%rbx), \r
	I BASE, movsb (%rbx), \r
	.endr
	.irp	r, %ecx,%r10d,%rdx,%r15,%rbx
	I BASE, movzw (%rbx), \r
	I BASE, movsw (%rbx), \r
	.endr
	I BASE, movslq (%rbx), %rbx
	I BASE, movslq (%r12), %r9
	I BASE, .byte 0x63, 0x03
	I BASE, .byte 0x66, 0x63, 0x03
	I BASE, movb $0x80, (%rbx)
	I BASE, movw $0x8001, (%rbx)
	I BASE, movl $0x80000001, (%rbx)
	I BASE, movq $-2, (%rbx)
	I BASE, movq $0x7fffffff, 0x12000(%rip)
	I BASE, movw $0x1234, 0x12000(%rip)
	I BASE, movnti %ecx, (%rbx)
	I BASE, movnti %r9, (%rbx)
	I BASE, movabs 0x30012008, %al
	I BASE, movabs 0x30012008, %ax
	I BASE, movabs 0x30012008, %eax
	I BASE, movabs 0x30012008, %rax
	I BASE, movabs %al, 0x30012008
	I BASE, movabs %rax, 0x30012008
	I BASE, .byte 0x67, 0xa1, 0x10, 0x20, 0x01, 0x30
	/* A REX that a later prefix undoes, doubled and useless prefixes. */
	I BASE, .byte 0x48, 0x65, 0x41, 0x8b, 0x06
	I BASE, .byte 0x4f, 0x66, 0x01, 0x03
	I BASE, .byte 0x48, 0x2e, 0x01, 0x03
	I BASE, .byte 0x66, 0x66, 0x2e, 0x3e, 0x03, 0x03
	I BASE, .byte 0x65, 0x65, 0x48, 0x2e, 0x41, 0x03, 0x06
	I BASE, mov %ds, (%rbx)
	I BASE, mov %fs, (%rbx)

	/* Read-modify-write. */
	.macro	SIZES op, rest:vararg
	I BASE, \op\()b \rest
	I BASE, \op\()w \rest
	I BASE, \op\()l \rest
	I BASE, \op\()q \rest
	.endm
	.irp	op, inc,dec,neg,not
	SIZES	\op, (%rbx)
	SIZES	"lock \op", (%rbx)
	SIZES	\op, 8(%rsp,%r9,4)
	.endr
	.irp	op, add,or,adc,sbb,and,sub,xor
	SIZES	\op, $0x5a, (%rbx)
	SIZES	\op, $-3, 0x12000(%rip)
	SIZES	"lock \op", $17, (%r12)
	.endr
	.irp	op, rol,ror,rcl,rcr,shl,shr,sar
	SIZES	\op, (%rbx)
	SIZES	\op, $3, (%rbx)
	SIZES	\op, %cl, (%rbx)
	.endr
	SIZES	cmp, $0x31, (%rbx)
	SIZES	test, $0x31, (%rbx)
	SIZES	mul, (%rbx)
	SIZES	imul, (%rbx)
	I BASE, imul $77, (%rbx), %rcx
	I BASE, add %rbx, (%rbx)
	I BASE, xchg %rbx, (%rbx)
	I BASE, xchg %rsp, (%rsp)
	I BASE, lock xadd %rbx, (%rbx)
	I BASE, add (%rbx), %rbx
	I BASE, add (%rbx,%r9), %r9
	I BASE, cmpxchg %bl, (%rbx)
	I BASE, cmpxchg %cx, (%rbx)
	I BASE, cmpxchg %edx, (%rbx)
	I BASE, cmpxchg %rsi, (%rsi)
	I BASE, cmpxchg8b (%rsi)
	I BASE, lock cmpxchg8b (%rsi)
	I BASE, lock cmpxchg16b (%rdi)
	I BASE, shld $5, %eax, (%rbx)
	I BASE, shrd %cl, %rax, (%rbx)
	.irp	op, bt,bts,btr,btc
	I BASE, \op\()w $7, (%rbx)
	I BASE, \op\()l $37, (%rbx)
	I BASE, \op\()q $61, (%rbx)
	I BASE, \op %r9w, (%rbx)
	I BASE, \op %r9d, (%rbx)
	I BASE, \op %r9, (%rbx)
	I BASE, \op %r9, 0x40(%r13,%r9)
	I BASE, \op %r9d, %gs:(%r14)
	I BASE, \op %r9d, (%ebx)
	I BASE, \op %r15, (%ebx)
	.endr
	I BASE, lock bts %r9, (%r12)
	I BASE, lock btc %r9d, 0x12000(%rip)
	I BASE, setc (%rbx)
	I BASE, sets 3(%rbx)
	I BASE, bsf (%rbx), %rax
	I BASE, bsr (%rbx), %ecx
	I SSE4, popcnt (%rbx), %rdx
	I SSE4, crc32b (%rbx), %eax
	I SSE4, crc32q (%rbx), %rax
	I BMI2, andn (%rbx), %rax, %rcx
	I BMI2, shlx %rax, (%rbx), %rcx
	I BMI2, mulx (%r13), %rax, %r9
	I BMI2, rorx $7, (%r12), %r15
	I ADX, adcx (%rbx), %rax
	I ADX, adox (%rbx), %r15
	I BASE, clflush (%rbx)
	I CLFLUSHOPT, clflushopt (%rbx)
	I CLWB, clwb (%rbx)

	/* x87, control registers of the FPU. */
	I BASE, flds (%rbx)
	I BASE, fldl (%rbx)
	I BASE, fldt (%rbx)
	I BASE, fsts (%rbx)
	I BASE, fstpl (%rbx)
	I BASE, fstpt (%rbx)
	I BASE, fistpll (%rbx)
	I BASE, filds (%rbx)
	I BASE, fnstcw (%rbx)
	I BASE, fnstsw (%rbx)
	I BASE, stmxcsr (%rbx)
	I BASE, fadds 4(%rbx)

	/* SSE and MMX sized moves, aligned and not. */
	.irp	op, movups,movupd,movdqu,movaps,movapd,movdqa
	I BASE, \op (%rbx), %xmm1
	I BASE, \op %xmm15, (%rbx)
	I BASE, \op 0x20(%r12,%r9,8), %xmm9
	.endr
	.irp	op, movntps,movntpd,movntdq,movlps,movhps,movlpd,movhpd,movss,movsd,movd,movq
	I BASE, \op %xmm4, (%rbx)
	.endr
	.irp	op, movlps,movhps,movlpd,movhpd,movss,movsd,movd,movq,lddqu,movddup,movshdup,movsldup
	I BASE, \op (%rbx), %xmm4
	I BASE, \op 0x12000(%rip), %xmm12
	.endr
	I SSE4, movntdqa (%rbx), %xmm3
	.irp	op, addps,addsd,mulss,andps,xorpd,ucomisd,comiss,cvtss2sd,cvtps2pd,cvtdq2pd,sqrtsd,unpcklps,paddb,pcmpeqd,psubq
	I BASE, \op (%rbx), %xmm5
	.endr
	I BASE, cvtsi2sdq (%rbx), %xmm2
	I BASE, cvttsd2si (%rbx), %rax
	I BASE, pshufd $0x1b, (%rbx), %xmm2
	I BASE, pinsrw $3, (%rbx), %xmm2
	I SSE4, pinsrb $3, (%rbx), %xmm2
	I SSE4, pinsrq $1, (%rbx), %xmm2
	I SSE4, pextrb $3, %xmm2, (%rbx)
	I SSE4, pextrw $3, %xmm2, (%rbx)
	I SSE4, pextrq $1, %xmm2, (%rbx)
	I SSE4, extractps $2, %xmm2, (%rbx)
	I SSE4, insertps $0x10, (%rbx), %xmm2
	I SSE4, pmovzxbd (%rbx), %xmm2
	I SSE4, pmovsxdq (%rbx), %xmm2
	I SSE4, ptest (%rbx), %xmm2
	I SSE4, pcmpistri $0, (%rbx), %xmm2
	I SSE4, pcmpestrm $0, (%rbx), %xmm2
	I SSE4, blendvps (%rbx), %xmm2

	/* AVX, AVX2. */
	.irp	op, vmovups,vmovdqu,vmovaps,vmovdqa
	I AVX, \op (%rbx), %xmm1
	I AVX, \op %xmm9, (%rbx)
	I AVX, \op (%r12), %ymm10
	I AVX, \op %ymm9, (%r13,%r9,8)
	I AVX, \op %ymm9, 0x12000(%rip)
	.endr
	I AVX, vmovntdq %ymm3, (%rbx)
	I AVX, vmovss (%rbx), %xmm3
	I AVX, vmovsd %xmm3, (%rbx)
	I AVX, vmovq (%rbx), %xmm3
	I AVX, vaddps (%rbx), %ymm1, %ymm2
	I AVX, vptest (%rbx), %ymm1
	I AVX, vbroadcastss (%rbx), %ymm2
	I AVX, vbroadcastf128 (%rbx), %ymm2
	I AVX, vextractf128 $1, %ymm3, (%rbx)
	I AVX, vinsertf128 $1, (%rbx), %ymm3, %ymm4
	I AVX, vmaskmovps (%rbx), %ymm1, %ymm2
	I AVX, vmaskmovpd (%rbx), %xmm1, %xmm2
	I AVX, vmaskmovps %ymm1, %ymm2, (%rbx)
	I AVX, vmaskmovpd %ymm11, %ymm12, (%rbx)
	I AVX2, vpmaskmovd (%rbx), %ymm1, %ymm2
	I AVX2, vpmaskmovq %ymm1, %ymm2, (%rbx)
	I AVX2, vpcmpeqb (%rbx), %ymm1, %ymm2
	I AVX2, vpbroadcastb (%rbx), %ymm2
	I AVX2, vextracti128 $1, %ymm3, (%rbx)
	I AVX2, vpblendvb %ymm1, (%rbx), %ymm2, %ymm3
	I AVX2, vmovntdqa (%rbx), %ymm3
	I F16C, vcvtps2ph $0, %ymm3, (%rbx)

	/* AVX-512. */
	.irp	v, %xmm20,%ymm21,%zmm22,%zmm3
	.irp	op, vmovdqu8,vmovdqu16,vmovdqu32,vmovdqu64,vmovups,vmovupd,vmovdqa32,vmovaps
	I AVX512, \op (%rbx), \v
	I AVX512, \op (%rbx), \v{%k1}
	I AVX512, \op 0x40(%r12,%r9,8), \v{%k2}{z}
	I AVX512, \op \v, (%rbx)
	I AVX512, \op \v, (%rbx){%k3}
	I AVX512, \op \v, 0x80(%r13){%k4}
	.endr
	.irp	op, vpcompressd,vpcompressq,vcompressps
	I AVX512, \op \v, (%rbx){%k1}
	I AVX512, \op \v, (%rbx)
	.endr
	.irp	op, vpcompressb,vpcompressw
	I VBMI2, \op \v, (%rbx){%k1}
	.endr
	I AVX512, vpexpandd (%rbx), \v{%k5}
	I AVX512, vpexpandq (%rbx), \v{%k5}{z}
	I VBMI2, vpexpandb (%rbx), \v{%k5}{z}
	I AVX512, vpcmpb $1, (%rbx), \v, %k2
	I AVX512, vpcmpub $2, (%rbx), \v, %k2{%k3}
	I AVX512, vpcmpeqb (%rbx), \v, %k4
	I AVX512, vpcmpd $4, (%rbx), \v, %k2{%k3}
	I AVX512, vptestnmb (%rbx), \v, %k7
	I AVX512, vpaddd (%rbx), \v, \v{%k1}
	I AVX512, vpaddq (%rbx), \v, \v
	I AVX512, vpternlogd $0x96, (%rbx), \v, \v{%k6}
	I AVX512, vpshufb (%rbx), \v, \v{%k6}
	I AVX512, vpermd (%rbx), %ymm2, %ymm3{%k6}
	I AVX512, vpbroadcastw (%rbx), \v{%k6}
	I AVX512, vpbroadcastd (%rbx), \v
	I VNNI, vpdpbusd (%rbx), \v, \v{%k1}
	I AVX512, vpmovzxbw (%rbx), %zmm1{%k6}
	.endr
	I AVX512, vpaddd (%rbx){1to16}, %zmm1, %zmm2{%k1}
	I AVX512, vaddpd 8(%rbx){1to8}, %zmm1, %zmm2
	I AVX512, vbroadcasti32x4 (%rbx), %zmm2{%k1}
	I AVX512, vbroadcasti64x4 (%rbx), %zmm2{%k1}{z}
	I AVX512, vextracti32x4 $2, %zmm3, (%rbx){%k1}
	I AVX512, vextracti64x4 $1, %zmm3, (%rbx)
	I AVX512, vpmovdb %zmm3, (%rbx){%k1}
	I AVX512, vpmovqd %zmm3, (%rbx)
	I AVX512, vcvtps2ph $0, %zmm3, (%rbx){%k2}
	I AVX512, vmovss (%rbx), %xmm3{%k1}
	I AVX512, vmovss %xmm3, (%rbx){%k1}
	I AVX512, vmovsd (%rbx), %xmm3{%k1}{z}
	I AVX512, vcvttps2dq (%rbx), %zmm9{%k1}
	I AVX512, vcvtps2pd (%rbx), %zmm9{%k1}
	I AVX512, vcvtpd2psx (%rbx), %xmm9{%k1}
	I AVX512, vcvtpd2ps (%rbx), %ymm9{%k1}
	I AVX512, vaddss (%rbx), %xmm1, %xmm2{%k1}
	I AVX512, vmovntdq %zmm7, (%rbx)
	I AVX512, kmovb (%rbx), %k1
	I AVX512, kmovq (%rbx), %k2
	I AVX512, kmovd %k3, (%rbx)
	I AVX512, vpmovsxbd 0x12000(%rip), %zmm30{%k1}

	/* Strings: the harness puts the ends into the window and outside. */
	.globl	insn_strings
insn_strings:
	.irp	op, movs,stos,lods
	SIZES	\op
	SIZES	"rep \op"
	.endr
	I BASE, .byte 0xf2, 0xa4
	I BASE, rep movsb %gs:(%rsi), %es:(%rdi)
	I BASE, .byte 0x67, 0xf3, 0x48, 0xa5
	I BASE, .byte 0x67, 0xf3, 0xaa
	I BASE, .byte 0x67, 0xac
insn_rows_end:
	.quad	0
	.section .note.GNU-stack, "", @progbits
