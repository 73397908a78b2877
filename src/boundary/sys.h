/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * System calls of the boundary itself. They go through the stub, one page of code at a fixed address which every filter
 * that an image of this process tree installed lets through.
 */
#ifndef PINFOLD_BOUNDARY_SYS_H
#define PINFOLD_BOUNDARY_SYS_H

#include <asm/unistd.h>
#include <stdint.h>

/* Below 2 GiB: free in every layout, those of the sanitizers included. */
#define STUB_ADDR   0x6f6e0000UL
#define STUB_SIZE   4096UL
#define STUB_CALL   (STUB_ADDR + 0)  /* syscall; ret: for our own calls */
#define STUB_RESUME (STUB_ADDR + 16) /* syscall; ret $128: return address pushed below the red zone */
#define STUB_SWITCH (STUB_ADDR + 32) /* syscall; pop rdi, r10, r8, r9, rcx, rsp; jmp rcx */
#define STUB_RETURN (STUB_ADDR + 48) /* rt_sigreturn */

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("call *%[stub]"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [stub] "b"(STUB_CALL)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

#define sys0(nr)		sys6(nr, 0, 0, 0, 0, 0, 0)
#define sys1(nr, a)		sys6(nr, (long)(a), 0, 0, 0, 0, 0)
#define sys2(nr, a, b)		sys6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(nr, a, b, c)	sys6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(nr, a, b, c, d)	sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define sys5(nr, a, b, c, d, e) sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif
