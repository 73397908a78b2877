/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of mm/: what pages consist of. */
#ifndef PINFOLD_MM_PAGES_H
#define PINFOLD_MM_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/list.h"
#include "mm/mm.h"

struct backing_map;
struct peer;

/* Slices that continue each other in the same map are one segment; so are holes. */
struct page_seg {
	uint64_t start, len;	 /* within the pages */
	char *host;		 /* NULL: a hole, without a map; or revoked */
	struct backing_map *map; /* NULL: of a peer, too */
	bool writable;
};

/* Invariant: pinned is the number of pages in the union of claims, and what who is charged; 0 for those of a peer. */
struct pages {
	struct list node; /* in its backings' cache, or in its peer */
	unsigned int refs;
	uint64_t va, len;
	struct mm_owner *who;
	struct mm_owner *moving; /* between prepare and commit or abort: who is charged, too. Borrowed */
	struct itree claims;	 /* page_pin.node */
	uint64_t pinned;
	enum mm_account mode;
	bool writable, file;
	bool holes, read_only; /* some segment is */
	bool of_peer, legacy;
	struct peer *peer; /* NULL: client memory, or revoked */
	uint64_t peer_off; /* of the first byte */
	size_t nsegs;
	struct page_seg seg[];
};

#endif
