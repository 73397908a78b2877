/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>
#include "fail.h"

static unsigned int nth, attempts;
static bool all, fired;

void fail_nth(unsigned int n)
{
	nth = n;
	attempts = 0;
	fired = false;
	all = false;
}

void fail_all(bool on)
{
	nth = 0;
	attempts = 0;
	all = on;
}

bool fail_fired(void)
{
	return fired;
}

unsigned int fail_attempts(void)
{
	return attempts;
}

static bool failing(void)
{
	attempts++;
	if (all || attempts == nth) {
		fired = true;
		return true;
	}
	return false;
}

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);

void *__wrap_malloc(size_t n)
{
	if (!failing())
		return __real_malloc(n);
	errno = ENOMEM;
	return NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	if (!failing())
		return __real_calloc(n, size);
	errno = ENOMEM;
	return NULL;
}

void *__wrap_mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (!failing())
		return __real_mmap64(addr, len, prot, flags, fd, off);
	errno = ENOMEM;
	return MAP_FAILED;
}

/* Only opens that create nothing come here. */
int __wrap_open64(const char *path, int flags, ...)
{
	if (!failing())
		return __real_open64(path, flags);
	errno = EMFILE;
	return -1;
}

int __wrap_fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (cmd != F_DUPFD_CLOEXEC || !failing())
		return __real_fcntl64(fd, cmd, arg);
	errno = EMFILE;
	return -1;
}
