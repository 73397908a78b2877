/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames in pieces. */
#include <errno.h>

#include "base/guard.h"
#include "net/frame.h"

int frame_copy(const struct iovec *iov, unsigned int n, size_t off, void *dst, size_t len)
{
	char *to = dst;

	for (unsigned int i = 0; i < n && len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - off;
		if (part > len)
			part = len;
		if (guard_copy(to, (const char *)iov[i].iov_base + off, part))
			return -EFAULT;
		to += part;
		len -= part;
		off = 0;
	}
	return len ? -EFAULT : 0;
}

int frame_slice(const struct iovec *iov, unsigned int n, size_t off, size_t len, struct iovec *out, unsigned int cap)
{
	unsigned int used = 0;

	for (unsigned int i = 0; i < n && len; i++) {
		size_t part;

		if (off >= iov[i].iov_len) {
			off -= iov[i].iov_len;
			continue;
		}
		if (used == cap)
			return -E2BIG;
		part = iov[i].iov_len - off;
		if (part > len)
			part = len;
		out[used].iov_base = (char *)iov[i].iov_base + off;
		out[used++].iov_len = part;
		len -= part;
		off = 0;
	}
	return len ? -EFAULT : (int)used;
}
