/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a thread's registers and a copy of its stack to the calls it is in: by the call frame information that compilers
 * leave for exceptions (DWARF 5, section 6.4; the x86-64 psABI, section 3.7), which is there without debug information;
 * by frame pointers where there is none.
 */
#ifndef PINFOLD_CHECK_UNWIND_H
#define PINFOLD_CHECK_UNWIND_H

#include <stdint.h>

struct event_origin;
struct modules;
struct place;
struct unwinder;

struct unwinder *unwinder_new(struct modules *m);
void unwinder_free(struct unwinder *u);
/* Up to max places, innermost first; at least one. Content of the stack is believed to lead nowhere worse than astray.
 */
uint32_t unwind(struct unwinder *u, const struct event_origin *from, struct place *out, uint32_t max);

#endif
