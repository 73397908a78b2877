/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine against its model (tests/engine/model.c), with the program chosen by libFuzzer. */
#include <stddef.h>
#include <stdint.h>
#include "../tests/engine/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	model_run(data, size);
	return 0;
}
