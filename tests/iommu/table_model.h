/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The radix table beside a stupid model of it: one sorted array of leaves. Bytes are read as a configuration and a
 * program of operations; each is done to both, and everything that can be observed must agree. Shared by the random
 * test and the fuzzer.
 */
#ifndef PINFOLD_TESTS_IOMMU_TABLE_MODEL_H
#define PINFOLD_TESTS_IOMMU_TABLE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Aborts on disagreement. fail, if not NULL, makes the next allocation of the table fail (on) or lets all succeed; it
 * returns whether one has failed since it was last called.
 */
void table_model_run(const uint8_t *program, size_t size, bool (*fail)(bool on));

#endif
