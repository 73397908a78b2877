/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that can be made to run out on demand: what Linux's fault injection (Documentation/fault-injection) is to the
 * kernel's allocators. Whatever is allocated because a client asked for something comes from here; free() and munmap()
 * give it back.
 *
 * The state is the thread's own, and the only one of its kind: a call that is carried out on this thread fails where it
 * would without memory, and nothing else does.
 */
#ifndef PINFOLD_BASE_ALLOC_H
#define PINFOLD_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As the functions of the same name in libc, errno included. */
void *mem_alloc(size_t n);
void *mem_calloc(size_t n, size_t size);
void *mem_realloc(void *p, size_t n);
void *mem_reallocarray(void *p, size_t n, size_t size);
void *mem_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);

/* True: the caller is to fail here as it does when what it looks for or waits for is not to be had. */
bool mem_fails(void);

/* The n-th attempt of this thread from now on fails, and none after it; 0: none does. */
void mem_fail_nth(uint64_t n);
/* How many attempts are left until then, the failing one counted; 0: it has failed, or nothing was asked for. */
uint64_t mem_fail_left(void);

#endif
