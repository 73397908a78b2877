/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes allocations of the program under test fail: memory, mappings and descriptors (linked with --wrap). */
#ifndef PINFOLD_TESTS_ENGINE_FAIL_H
#define PINFOLD_TESTS_ENGINE_FAIL_H

#include <stdbool.h>

void fail_nth(unsigned int n); /* the n-th from now on fails, once; 0: none does */
void fail_all(bool on);
bool fail_fired(void);		  /* since fail_nth */
unsigned int fail_attempts(void); /* allocations tried since fail_nth or fail_all */

#endif
