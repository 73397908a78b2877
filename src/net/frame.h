/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A frame in pieces, which may be a client's memory: no byte of it is loaded but through guard_copy, and what is acted
 * upon (headers above all) is copied once and read from the copy, for the client may change it meanwhile.
 */
#ifndef PINFOLD_NET_FRAME_H
#define PINFOLD_NET_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Copies [off, off + len) to dst. 0, or -EFAULT: memory that is gone, or past the pieces' end. */
int frame_copy(const struct iovec *iov, unsigned int n, size_t off, void *dst, size_t len);

/* The pieces of [off, off + len), as many as fit into cap. Returns their number, -E2BIG, or -EFAULT past the end. */
int frame_slice(const struct iovec *iov, unsigned int n, size_t off, size_t len, struct iovec *out, unsigned int cap);

#endif
