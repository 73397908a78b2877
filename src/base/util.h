/* SPDX-License-Identifier: BSD-3-Clause */
/* Small helpers that every layer uses. */
#ifndef PINFOLD_BASE_UTIL_H
#define PINFOLD_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>

#define PF_PAGE_SHIFT 12
#define PF_PAGE_SIZE  4096UL
#define PF_PAGE_MASK  (~(PF_PAGE_SIZE - 1))

#define ARRAY_SIZE(a)		    (sizeof(a) / sizeof((a)[0]))
#define BIT(n)			    (1U << (n))
#define BIT64(n)		    (1ULL << (n))
#define ALIGN_DOWN(x, a)	    ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a)		    ALIGN_DOWN((x) + (__typeof__(x))(a)-1, a)
#define DIV_ROUND_UP(n, d)	    (((n) + (d)-1) / (d))
#define IS_ALIGNED(x, a)	    (((x) & ((__typeof__(x))(a)-1)) == 0)
#define container_of(p, type, memb) ((type *)((char *)(p)-offsetof(type, memb)))
#define likely(x)		    __builtin_expect(!!(x), 1)
#define unlikely(x)		    __builtin_expect(!!(x), 0)

#define MIN(a, b)                                                                                                      \
	({                                                                                                             \
		__typeof__(a) min_a_ = (a);                                                                            \
		__typeof__(b) min_b_ = (b);                                                                            \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                                     \
	})
#define MAX(a, b)                                                                                                      \
	({                                                                                                             \
		__typeof__(a) max_a_ = (a);                                                                            \
		__typeof__(b) max_b_ = (b);                                                                            \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                                     \
	})

/* True on overflow; *sum is defined either way. */
static inline int add_overflows(uint64_t a, uint64_t b, uint64_t *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

#endif
