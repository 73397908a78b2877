/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/loop.h"
#include "mm/peer.h"
#include "pci/barmem.h"
#include "pci/internal.h"
#include "pci/live.h"
#include "pci/p2p.h"

#define POSTED_MAX 4096 /* writes that wait: who sends more is not answered */

/* ---- writes that wait ---- */

struct posted_write {
	uint64_t off, val;
	uint8_t bar, size;
};

struct pci_posted {
	struct loop_work work;
	struct pci_func *f;
	unsigned int n, at; /* carried out: those before at */
	struct posted_write write[POSTED_MAX];
};

/*
 * What a write causes may post more, or revoke and so empty the queue. What was posted meanwhile has its turn later: a
 * device that keeps ringing its own doorbell must not keep us here.
 */
static void posted_run(struct pci_posted *q)
{
	unsigned int end = q->n;

	while (q->at < MIN(end, q->n)) {
		struct posted_write w = q->write[q->at++];

		pci_bar_write(q->f, w.bar, w.off, w.size, w.val);
	}
	memmove(q->write, q->write + q->at, (q->n - q->at) * sizeof(q->write[0]));
	q->n -= q->at;
	q->at = 0;
	if (q->n && q->f->loop)
		loop_work_queue(q->f->loop, &q->work);
}

static void posted_work(struct loop_work *w)
{
	posted_run(container_of(w, struct pci_posted, work));
}

static void posted_drop(struct pci_func *f)
{
	if (!f->posted)
		return;
	f->posted->n = f->posted->at = 0;
	if (f->loop)
		loop_work_cancel(f->loop, &f->posted->work);
}

static int posted_make(struct pci_func *f)
{
	if (f->posted)
		return 0;
	f->posted = mem_alloc(sizeof(*f->posted));
	if (!f->posted)
		return -ENOMEM;
	f->posted->f = f;
	f->posted->n = f->posted->at = 0;
	f->posted->work.run = posted_work;
	list_init(&f->posted->work.node);
	return 0;
}

/* Carries out what is posted now, unless the function is itself waiting for another device, or at it already. */
static void posted_push(struct pci_func *f)
{
	if (!f->posted->at && !dma_dev_in_peer(f->dma))
		posted_run(f->posted);
}

static int post(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct pci_posted *q = f->posted;

	if (q->n == POSTED_MAX)
		return -EIO;
	q->write[q->n++] = (struct posted_write){.off = off, .val = val, .bar = bar, .size = size};
	if (f->loop)
		loop_work_queue(f->loop, &q->work);
	return 0;
}

/* ---- what other devices see of a BAR ---- */

static struct pci_func *func_of(const struct peer *p, unsigned int *bar)
{
	struct pci_peer *pp = container_of(p, struct pci_peer, peer);

	*bar = pp - pp->f->peer;
	return pp->f;
}

/* A dword at most, which is what a bus moves: naturally aligned. */
static unsigned int piece(uint64_t off, uint64_t len)
{
	unsigned int size = 4;

	while (off & (size - 1) || size > len)
		size /= 2;
	return size;
}

static char *bar_view(struct peer *p, uint64_t off, uint64_t *contig)
{
	unsigned int bar;
	struct pci_func *f = func_of(p, &bar);

	char *base = f->bar[bar].mem ? (char *)barmem_base(f->bar[bar].mem) : f->bar[bar].view;

	return base ? base + off : NULL;
}

static int bar_peer_read(struct peer *p, uint64_t off, void *buf, uint64_t len)
{
	unsigned int bar;
	struct pci_func *f = func_of(p, &bar);
	uint8_t *to = buf;

	posted_push(f);
	for (unsigned int n; len; off += n, to += n, len -= n) {
		uint64_t val = 0;
		int err;

		n = piece(off, len);
		err = pci_bar_read(f, bar, off, n, &val);
		if (err)
			return err;
		cfg_put(to, n, val);
	}
	return 0;
}

/* All of it or nothing: there is room for every piece, or the device does not take it. */
static int bar_peer_write(struct peer *p, uint64_t off, const void *buf, uint64_t len)
{
	unsigned int bar;
	struct pci_func *f = func_of(p, &bar);
	const uint8_t *from = buf;

	if (len / 4 + 4 > POSTED_MAX - f->posted->n)
		posted_push(f);
	if (!f->decode || len / 4 + 4 > POSTED_MAX - f->posted->n)
		return -EIO;
	for (unsigned int n; len; off += n, from += n, len -= n) {
		n = piece(off, len);
		post(f, bar, off, n, cfg_get(from, n));
	}
	return 0;
}

static bool bar_admits(struct peer *p, const void *initiator)
{
	unsigned int bar;
	const struct pci_func *f = func_of(p, &bar);

	return initiator && p2p_allowed(f->p2p, initiator, f);
}

static const struct peer_ops bar_peer_ops = {
    .view = bar_view,
    .read = bar_peer_read,
    .write = bar_peer_write,
    .admits = bar_admits,
};

/* ---- files ---- */

static bool is_file(int fd, dev_t dev, ino_t ino)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && st.st_dev == dev && st.st_ino == ino;
}

bool pci_owns_file(const struct pci_func *f, dev_t dev, ino_t ino)
{
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *b = &f->bar[i];

		if (b->mem && is_file(barmem_file_now(b->mem), dev, ino))
			return true;
		if (b->live && is_file(b->live->fd, dev, ino))
			return true;
	}
	return false;
}

/* ---- revocation ---- */

void pci_peers_revoke(struct pci_func *f)
{
	for (unsigned int i = 0; i < PCI_BARS; i++)
		if (f->peer[i].f)
			peer_revoke(&f->peer[i].peer);
	posted_drop(f);
}

static void memory_off(struct pci_mem_user *u)
{
	pci_peers_revoke(container_of(u, struct pci_func, peers));
}

void pci_peers_init(struct pci_func *f)
{
	list_init(&f->peers.node);
	f->peers.revoke = memory_off;
}

void pci_peers_fini(struct pci_func *f)
{
	pci_mem_user_del(&f->peers);
	for (unsigned int i = 0; i < PCI_BARS; i++)
		if (f->peer[i].f)
			peer_fini(&f->peer[i].peer);
	posted_drop(f);
	free(f->posted);
	f->posted = NULL;
}

int pci_bar_pages(struct pci_func *f, unsigned int bar, uint64_t off, uint64_t len, uint64_t va, bool legacy,
		  struct mm_owner *who, struct pages **out)
{
	struct pci_peer *pp;

	if (bar >= PCI_BARS || !f->bar[bar].size)
		return -EINVAL;
	if (!f->decode || f->away)
		return -ENODEV;
	if (posted_make(f))
		return -ENOMEM;
	pp = &f->peer[bar];
	if (!pp->f) {
		pp->f = f;
		peer_init(&pp->peer, &bar_peer_ops, f->bar[bar].size, (uint32_t)f->domain << 16 | f->bdf);
	}
	if (list_empty(&f->peers.node))
		pci_mem_user_add(f, &f->peers);
	return pages_new_peer(&pp->peer, off, len, va, legacy, who, out);
}
