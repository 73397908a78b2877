/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the files of mm/: the broker's mappings of a backing.
 *
 * A map covers the file's bytes [0, len) and never moves: pages and IOTLBs hold addresses inside it. When the file has
 * outgrown it, a further, larger map is made beside it; the old one goes with the last pages that use it.
 */
#ifndef PINFOLD_MM_BACKING_H
#define PINFOLD_MM_BACKING_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct backing;
struct backing_cache;

struct backing_map {
	struct list node; /* in backing->maps */
	struct backing *backing;
	unsigned int refs; /* slices that point into it */
	char *base;
	uint64_t len;
};

uint64_t backing_id(const struct backing *b); /* page_ref.backing */
struct list *backing_pages(struct backing *b);
struct list *backing_cache_pages(struct backing_cache *c); /* the same list */
bool backing_writable(const struct backing *b);

/*
 * A reference to a map of at least [0, end), which lies within backing_size(); it also holds the backing.
 * 0, -EFAULT (the kernel refuses: a seal), -ENOMEM.
 */
int backing_map_get(struct backing *b, uint64_t end, struct backing_map **m);
void backing_map_put(struct backing_map *m);

#endif
