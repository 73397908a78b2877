/* SPDX-License-Identifier: BSD-3-Clause */
/* Any bytes decode to something that the emulator can take without looking. */
#include <stdlib.h>

#include "../tests/emu/insn_invariants.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!insn_invariants(data, size))
		abort();
	return 0;
}
