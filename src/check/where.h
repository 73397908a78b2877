/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs' memory is called, as it was described for the call that maps it: "heap", "memfd:ring". */
#ifndef PINFOLD_CHECK_WHERE_H
#define PINFOLD_CHECK_WHERE_H

#include <stdint.h>

struct wheres;

struct wheres *wheres_new(void);
void wheres_free(struct wheres *w);
void wheres_note(struct wheres *w, uint64_t session, uint64_t va, uint64_t len, const char *name);
/* The latest that was said of that address: NULL if nothing was. Any thread may read it, until wheres_free. */
const char *wheres_find(const struct wheres *w, uint64_t session, uint64_t va);
uint64_t wheres_bytes(const struct wheres *w);

#endif
