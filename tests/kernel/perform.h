/* SPDX-License-Identifier: BSD-3-Clause */
/* Carries a plan out on /dev/iommu and says what was answered, one line per call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "plan.h"

/* Takes a line without its newline. */
typedef void say_fn(void *arg, const char *line);

/* Once per process. */
void perform_setup(void);

/*
 * Calls whose bit is set in skip are left out. The last line is about what the client's memory holds in the end. The
 * process ends with status 2 if there is no /dev/iommu.
 */
void perform(const struct plan *p, const bool *skip, say_fn *say, void *arg);
