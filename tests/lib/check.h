/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PINFOLD_TESTS_LIB_CHECK_H
#define PINFOLD_TESTS_LIB_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(x)                                                                                                       \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#endif
