/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call frame information as a client's files may have it. Input: where the header is (2 bytes), the address that is
 * asked about (2 bytes), and the image. What must hold: no sanitizer's complaint, and an answer.
 */
#include <stdlib.h>

#include "check/cfi.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint64_t header = take(&in, 2), addr = take(&in, 2);
	struct cfi c = {.image = in.p, .len = in.n, .vaddr = 0x1000, .header = 0x1000 + header};
	struct cfi_rule r;

	if (cfi_find(&c, 0x1000 + addr, &r) && r.cfa_reg != 0 && r.cfa_reg != DW_RBP && r.cfa_reg != DW_RSP)
		abort();
	return 0;
}
