/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Peer memory: a BAR of a device as pages that other devices reach, until it is revoked (rules A4, A5).
 *
 *   peer   what the exporter embeds, one for each BAR: a revocable handle.
 *   pages  of a peer are like any others (mm.h), but for this: they are charged to nobody, no CPU user of a space may
 *	    have them, and they can be revoked.
 *
 * What is plain memory is reached where the exporter keeps it: view says where that is. What has side effects has no
 * address. Pages of it lead into the peer's *window*, addresses of ours that nobody can touch: a translation, an IOTLB
 * and an iovec hold them like any other, every copy or system call that meets one fails with EFAULT, and the DMA is
 * then carried out by read and write.
 *
 * Revoking is final for pages that are there: what held a translation has been told, by page_pin.revoked, before
 * peer_revoke returns. Areas of them stay where they are, and translate to nothing. Pages made later are new ones.
 */
#ifndef PINFOLD_MM_PEER_H
#define PINFOLD_MM_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

struct mm_owner;
struct pages;
struct peer;

struct peer_ops {
	/*
	 * Where byte off is, and in *contig how many follow it without a seam, up to the peer's end at most. NULL: it
	 * is reached by read and write, and so are *contig bytes. Asked when pages are made; the answer holds until
	 * peer_revoke. NULL: none of it is memory.
	 */
	char *(*view)(struct peer *p, uint64_t off, uint64_t *contig);
	/*
	 * A device's access to [off, off + len), within the peer. 0, or -errno: nobody answers. Neither revokes, and
	 * nothing that they start runs before the DMA that called is over, or it would meet a device in the midst of
	 * its own work.
	 */
	int (*read)(struct peer *p, uint64_t off, void *buf, uint64_t len);
	int (*write)(struct peer *p, uint64_t off, const void *buf, uint64_t len);
	/* May that requester (iommu.h: dma_dev_owner; NULL: it has none) reach it (rule B2)? */
	bool (*admits)(struct peer *p, const void *initiator);
};

struct peer {
	const struct peer_ops *ops;
	uint64_t size; /* a multiple of a page */
	uint32_t id;   /* of the exporter, for reports: its BDF */
	char *window;  /* NULL: not needed yet */
	struct list pages;
};

void peer_init(struct peer *p, const struct peer_ops *ops, uint64_t size, uint32_t id);
void peer_fini(struct peer *p); /* revokes */
/* No translation leads there when it returns, and nothing is on the way. Never fails, never allocates. */
void peer_revoke(struct peer *p);

/*
 * Pages for [off, off + len) of the peer, page aligned, which go by client addresses from va on. legacy: every
 * requester is admitted. Returns 0, -EINVAL (range), -ENOMEM.
 */
int pages_new_peer(struct peer *p, uint64_t off, uint64_t len, uint64_t va, bool legacy, struct mm_owner *who,
		   struct pages **out);
/* They are, or were before they were revoked. */
bool pages_is_peer(const struct pages *p);
bool pages_revoked(const struct pages *p);
/* What byte off belongs to, and in *peer_off where in it. NULL: client memory, or revoked. */
struct peer *pages_peer(const struct pages *p, uint64_t off, uint64_t *peer_off);
bool pages_admit(const struct pages *p, const void *initiator); /* true for client memory and for what is revoked */

#endif
