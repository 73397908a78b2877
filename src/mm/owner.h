/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of mm/. */
#ifndef PINFOLD_MM_OWNER_H
#define PINFOLD_MM_OWNER_H

#include "mm/mm.h"

struct events *mm_owner_events(const struct mm_owner *o);
uint64_t mm_owner_held(const struct mm_owner *o, enum mm_account mode); /* pages that count against the limit */
uint64_t mm_owner_limit(const struct mm_owner *o);			/* bytes, as last answered */

#endif
