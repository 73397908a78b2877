/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a function's BARs, saved while it still runs: all that is not zero at first, then, as often as one
 * likes, what has changed since; and when it has stopped, the rest. What changed is found by comparing with what has
 * been saved, because clients write to that memory without anybody's seeing it.
 */
#ifndef PINFOLD_PCI_PRECOPY_H
#define PINFOLD_PCI_PRECOPY_H

#include <stdbool.h>
#include <stdint.h>

struct pci_func;
struct state_out;
struct precopy;

/* Of what goes into o, which outlives it. NULL: out of memory. */
struct precopy *precopy_new(struct pci_func *f, struct state_out *o);
void precopy_free(struct precopy *p);
/* Appends all that is not zero, a part of it at a time: before the steps, until it is true. */
bool precopy_begin(struct precopy *p);
/*
 * Looks at a part of the memory and appends what has changed. False: nothing, and all of it has been looked at since
 * something was; or no more is to be had before the function stops.
 */
bool precopy_step(struct precopy *p);
/* How many bytes the steps would append now. Of large memory a part is looked at, and the rest as it was last. */
uint64_t precopy_dirty(struct precopy *p);
/* When the function has stopped: the pages of a BAR that are not as they have been saved, into the open record. */
void precopy_rest(struct precopy *p, unsigned int bar);

#endif
