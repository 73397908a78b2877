/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine beside a stupid model of it: arrays with one element per IOVA page. Bytes are read as a program of
 * operations; each is done to both, and everything that can be observed must agree. Shared by the random test and the
 * fuzzer.
 */
#ifndef PINFOLD_TESTS_ENGINE_MODEL_H
#define PINFOLD_TESTS_ENGINE_MODEL_H

#include <stddef.h>
#include <stdint.h>

void model_run(const uint8_t *program, size_t size); /* aborts on disagreement */

#endif
