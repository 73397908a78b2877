/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The checksums of the Internet protocols: the 16-bit one's complement sum (RFC 1071) and the CRC32c of SCTP (RFC 9260
 * appendix A, RFC 3720 appendix B.4).
 *
 * A sum is kept unfolded, in memory's byte order: RFC 1071 section 2(B) lets the bytes be added in the machine's own
 * order, and what comes out is stored as it is. Sums of parts at even offsets may be added.
 */
#ifndef PINFOLD_NET_CHECKSUM_H
#define PINFOLD_NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Of private memory. Each is less than 2^48 for what a frame can hold, so a few thousand can be added. */
uint64_t checksum_add(const void *data, size_t len);
/* What is stored in a header: the complement of the folded sum. */
uint16_t checksum_finish(uint64_t sum);
/* Of a word in the sender's byte order (a pseudo-header's length and protocol). */
uint64_t checksum_word(uint16_t host);

/* crc: ~0 at first; the result is inverted by who stores it, lowest byte first. */
uint32_t crc32c_add(uint32_t crc, const void *data, size_t len);

/* The same over [off, off + len) of a frame. 0, or -EFAULT. */
int frame_checksum(const struct iovec *iov, unsigned int n, size_t off, size_t len, uint64_t *sum);
int frame_crc32c(const struct iovec *iov, unsigned int n, size_t off, size_t len, uint32_t *crc);

#endif
