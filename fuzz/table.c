/* SPDX-License-Identifier: BSD-3-Clause */
/* The radix table against its model (tests/iommu/table_model.c), with the program chosen by libFuzzer. */
#include <stddef.h>
#include <stdint.h>
#include "../tests/iommu/table_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	table_model_run(data, size, NULL);
	return 0;
}
