/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/util.h"

static _Thread_local uint64_t left;

bool mem_fails(void)
{
	return unlikely(left) && !--left;
}

static bool runs_out(void)
{
	if (likely(!mem_fails()))
		return false;
	errno = ENOMEM;
	return true;
}

void *mem_alloc(size_t n)
{
	return runs_out() ? NULL : malloc(n);
}

void *mem_calloc(size_t n, size_t size)
{
	return runs_out() ? NULL : calloc(n, size);
}

void *mem_realloc(void *p, size_t n)
{
	return runs_out() ? NULL : realloc(p, n);
}

void *mem_reallocarray(void *p, size_t n, size_t size)
{
	return runs_out() ? NULL : reallocarray(p, n, size);
}

void *mem_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return runs_out() ? MAP_FAILED : mmap(addr, len, prot, flags, fd, off);
}

void mem_fail_nth(uint64_t n)
{
	left = n;
}

uint64_t mem_fail_left(void)
{
	return left;
}
