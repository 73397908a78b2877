/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "base/alloc.h"
#include "base/util.h"
#include "mm/mm.h"
#include "mm/pages.h"
#include "mm/peer.h"

void peer_init(struct peer *p, const struct peer_ops *ops, uint64_t size, uint32_t id)
{
	assert(IS_ALIGNED(size, PF_PAGE_SIZE));
	*p = (struct peer){.ops = ops, .size = size, .id = id};
	list_init(&p->pages);
}

void peer_fini(struct peer *p)
{
	if (!p->ops)
		return;
	peer_revoke(p);
	if (p->window)
		munmap(p->window, p->size);
	p->window = NULL;
	p->ops = NULL;
}

/* ---- pages of a peer ---- */

static int window_make(struct peer *p)
{
	void *w;

	if (p->window)
		return 0;
	w = mem_mmap(NULL, p->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w == MAP_FAILED)
		return -ENOMEM;
	p->window = w;
	return 0;
}

/* Where byte off is to be found, in memory or in the window, and how far that goes. */
static char *peer_host(struct peer *p, uint64_t off, uint64_t *contig)
{
	char *host = NULL;

	*contig = p->size - off;
	if (p->ops->view)
		host = p->ops->view(p, off, contig);
	assert(*contig && IS_ALIGNED(*contig, PF_PAGE_SIZE));
	return host ? host : p->window + off;
}

static size_t count_segs(struct peer *p, uint64_t off, uint64_t len)
{
	uint64_t end = off + len, contig;
	size_t n = 0;

	for (; off < end; off += contig, n++)
		peer_host(p, off, &contig);
	return n;
}

int pages_new_peer(struct peer *peer, uint64_t off, uint64_t len, uint64_t va, bool legacy, struct mm_owner *who,
		   struct pages **out)
{
	uint64_t end, last, contig;
	struct pages *p;
	int err;

	if (!len || !IS_ALIGNED(off | len | va, PF_PAGE_SIZE) || add_overflows(off, len, &end) || end > peer->size ||
	    add_overflows(va, len - 1, &last))
		return -EINVAL;
	err = window_make(peer);
	if (err)
		return err;
	p = mem_alloc(sizeof(*p) + count_segs(peer, off, len) * sizeof(p->seg[0]));
	if (!p)
		return -ENOMEM;
	*p = (struct pages){
	    .refs = 1,
	    .va = va,
	    .len = len,
	    .who = mm_owner_get(who),
	    .of_peer = true,
	    .legacy = legacy,
	    .peer = peer,
	    .peer_off = off,
	};
	for (uint64_t at = off; at < end; at += contig) {
		char *host = peer_host(peer, at, &contig);

		contig = MIN(contig, end - at);
		p->seg[p->nsegs++] =
		    (struct page_seg){.start = at - off, .len = contig, .host = host, .writable = true};
	}
	list_init(&p->node);
	list_add_tail(&peer->pages, &p->node);
	*out = p;
	return 0;
}

static void pages_revoke(struct pages *p)
{
	struct itree_node *n;

	/* Translations first (rule A3): the addresses below are still good while they are taken away. */
	for (n = itree_first(&p->claims, 0, UINT64_MAX); n; n = itree_next(n, 0, UINT64_MAX)) {
		struct page_pin *pin = container_of(n, struct page_pin, node);

		pin->revoked(pin);
	}
	p->peer = NULL;
	p->holes = true;
	for (size_t i = 0; i < p->nsegs; i++)
		p->seg[i].host = NULL;
	list_del(&p->node);
}

void peer_revoke(struct peer *p)
{
	while (p->ops && !list_empty(&p->pages))
		pages_revoke(list_first(&p->pages, struct pages, node));
}

/* ---- questions ---- */

bool pages_is_peer(const struct pages *p)
{
	return p->of_peer;
}

bool pages_revoked(const struct pages *p)
{
	return p->of_peer && !p->peer;
}

struct peer *pages_peer(const struct pages *p, uint64_t off, uint64_t *peer_off)
{
	if (!p->peer || off >= p->len)
		return NULL;
	*peer_off = p->peer_off + off;
	return p->peer;
}

bool pages_admit(const struct pages *p, const void *initiator)
{
	return !p->peer || p->legacy || p->peer->ops->admits(p->peer, initiator);
}
