/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of mm/. */
#ifndef PINFOLD_MM_OWNER_H
#define PINFOLD_MM_OWNER_H

struct events;
struct mm_owner;

struct events *mm_owner_events(const struct mm_owner *o);

#endif
