/* SPDX-License-Identifier: BSD-3-Clause */
/* A fuzzer's bytes as a stream of little-endian numbers. After the last byte there are zeros. */
#ifndef PINFOLD_FUZZ_INPUT_H
#define PINFOLD_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct input {
	const uint8_t *p;
	size_t n; /* bytes left */
};

static inline uint64_t take(struct input *in, size_t bytes)
{
	uint64_t v = 0;

	if (bytes > in->n)
		bytes = in->n;
	memcpy(&v, in->p, bytes < sizeof(v) ? bytes : sizeof(v));
	in->p += bytes;
	in->n -= bytes;
	return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
