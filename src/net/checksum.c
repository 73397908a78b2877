/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums of the Internet protocols. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/util.h"
#include "net/checksum.h"
#include "net/frame.h"

typedef uint64_t vec __attribute__((vector_size(16)));

/* What is copied from a client at a time: even, so that sums of chunks can be added; small, so that it stays in L1. */
#define CHUNK 2048

uint64_t checksum_add(const void *data, size_t len)
{
	const uint8_t *p = data;
	vec even = {0, 0}, odd = {0, 0};
	uint64_t sum = 0, word;

	/* 32-bit words gather in 64-bit sums, so that nothing is carried before the end. */
	for (; len >= 32; p += 32, len -= 32) {
		vec a, b;

		memcpy(&a, p, 16);
		memcpy(&b, p + 16, 16);
		even += (a & 0xffffffff) + (b & 0xffffffff);
		odd += (a >> 32) + (b >> 32);
	}
	even += odd;
	sum = even[0] + even[1];
	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		sum += (word & 0xffffffff) + (word >> 32);
	}
	if (len) {
		word = 0; /* an odd last byte is padded with zero behind it */
		memcpy(&word, p, len);
		sum += (word & 0xffffffff) + (word >> 32);
	}
	return sum;
}

uint16_t checksum_finish(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint64_t checksum_word(uint16_t host)
{
	return htons(host);
}

/* The reflected polynomial 0x1EDC6F41, a byte at a time: for processors without the instruction. */
static uint32_t crc32c_slow(uint32_t crc, const uint8_t *p, size_t len)
{
	for (; len; len--) {
		crc ^= *p++;
		for (unsigned int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t wide = crc, word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		wide = __builtin_ia32_crc32di(wide, word);
	}
	for (; len; len--)
		wide = __builtin_ia32_crc32qi((uint32_t)wide, *p++);
	return (uint32_t)wide;
}
#endif

uint32_t crc32c_add(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_fast(crc, data, len);
#endif
	return crc32c_slow(crc, data, len);
}

/* Gathers the next chunk of a range; pieces of odd lengths must not end a chunk in its midst. */
struct gather {
	const struct iovec *iov;
	unsigned int n;
	size_t off, left; /* off within iov[0] */
};

static int gather_next(struct gather *g, uint8_t chunk[CHUNK], size_t *len)
{
	size_t part = MIN(g->left, (size_t)CHUNK);
	int err;

	while (g->n && g->off >= g->iov->iov_len) {
		g->off -= g->iov->iov_len;
		g->iov++;
		g->n--;
	}
	err = frame_copy(g->iov, g->n, g->off, chunk, part);
	if (err)
		return err;
	g->off += part;
	g->left -= part;
	*len = part;
	return 0;
}

int frame_checksum(const struct iovec *iov, unsigned int n, size_t off, size_t len, uint64_t *sum)
{
	struct gather g = {.iov = iov, .n = n, .off = off, .left = len};
	uint8_t chunk[CHUNK];
	uint64_t total = 0;

	while (g.left) {
		size_t part;
		int err = gather_next(&g, chunk, &part);

		if (err)
			return err;
		total += checksum_add(chunk, part);
	}
	*sum = total;
	return 0;
}

int frame_crc32c(const struct iovec *iov, unsigned int n, size_t off, size_t len, uint32_t *crc)
{
	struct gather g = {.iov = iov, .n = n, .off = off, .left = len};
	uint8_t chunk[CHUNK];
	uint32_t value = *crc;

	while (g.left) {
		size_t part;
		int err = gather_next(&g, chunk, &part);

		if (err)
			return err;
		value = crc32c_add(value, chunk, part);
	}
	*crc = value;
	return 0;
}
