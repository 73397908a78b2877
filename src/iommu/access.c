/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "iommu/private.h"
#include "mm/peer.h"

struct access {
	struct list node; /* in ioas->accesses */
	struct ioas *ioas;
	const struct access_ops *ops;
	void *ctx;
	struct itree holds; /* hold.node; they may overlap and be equal */
};

/* What one access_pin holds of one area. */
struct hold_part {
	struct area *area;
	struct page_pin pin;
};

struct hold {
	struct itree_node node; /* IOVA */
	bool locks;
	size_t n;
	struct hold_part part[];
};

/* ---- life ---- */

struct access *access_new(const struct access_ops *ops, void *ctx)
{
	struct access *a = mem_calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	list_init(&a->node);
	a->ops = ops;
	a->ctx = ctx;
	return a;
}

void access_free(struct access *a)
{
	if (!a)
		return;
	access_attach(a, NULL);
	free(a);
}

struct ioas *access_ioas(const struct access *a)
{
	return a->ioas;
}

const struct access_ops *access_ops(const struct access *a)
{
	return a->ops;
}

void *access_ctx(const struct access *a)
{
	return a->ctx;
}

int access_attach(struct access *a, struct ioas *io)
{
	struct ioas *old = a->ioas;
	int err;

	if (old == io)
		return 0;
	if (io) {
		err = ioas_add_access(io, a->ops->pins);
		if (err)
			return err;
	}
	/* Nothing more is pinned from here on, and what is has to go. */
	a->ioas = NULL;
	if (old) {
		if (a->ops->unmap)
			a->ops->unmap(a->ctx, 0, UINT64_MAX);
		assert(itree_empty(&a->holds));
		list_del(&a->node);
		ioas_remove_access(old, a->ops->pins);
	}
	if (io)
		list_add_tail(&io->accesses, &a->node);
	a->ioas = io;
	return 0;
}

void access_notify(struct ioas *io, uint64_t iova, uint64_t len)
{
	struct list todo;

	/* A callback may detach its access, or any other. */
	list_init(&todo);
	while (!list_empty(&io->accesses)) {
		struct list *n = io->accesses.next;

		list_del(n);
		list_add_tail(&todo, n);
	}
	while (!list_empty(&todo)) {
		struct access *a = list_first(&todo, struct access, node);

		list_del(&a->node);
		list_add_tail(&io->accesses, &a->node);
		if (a->ops->unmap)
			a->ops->unmap(a->ctx, iova, len);
	}
}

/* ---- pins ---- */

/* How many adjacent areas [iova, last] needs, as far as there are any. */
static size_t count_parts(const struct ioas *io, uint64_t iova, uint64_t last)
{
	size_t n = 0;

	for (;;) {
		const struct area *r = ioas_area(io, iova);

		if (!r)
			return n;
		n++;
		if (r->node.last >= last)
			return n;
		iova = r->node.last + 1;
	}
}

static bool area_permits(const struct area *r, unsigned int flags)
{
	return r->prot & (flags & ACCESS_WRITE ? IOMMU_WRITE : IOMMU_READ);
}

/* One area's share of a pin: [iova, end] of what goes on up to last. The order is that of iommufd_access_pin_pages().
 */
static int pin_part(struct area *r, uint64_t iova, uint64_t end, uint64_t last, unsigned int flags,
		    struct hold_part *part)
{
	int err;

	if (r->going || !IS_ALIGNED(area_off(r, iova), PF_PAGE_SIZE) ||
	    (end != last && !IS_ALIGNED(area_off(r, end) + 1, PF_PAGE_SIZE)))
		return -EINVAL;
	if (!area_permits(r, flags) || ((flags & ACCESS_WRITE) && !pages_writable(r->pages)))
		return -EPERM;
	/* A CPU user cannot be cut off from what it has pinned: it gets no memory of devices. */
	if (pages_is_peer(r->pages))
		return -EINVAL;
	err = pages_pin(r->pages, &part->pin, area_off(r, iova), end - iova + 1);
	if (err)
		return err;
	part->area = r;
	r->nholds++;
	return 0;
}

static void hold_free(struct hold *h)
{
	while (h->n) {
		struct hold_part *part = &h->part[--h->n];

		part->area->nholds--;
		part->area->nlocks -= h->locks;
		pages_unpin(part->area->pages, &part->pin);
	}
	free(h);
}

static struct page_ref *put_refs(const struct area *r, uint64_t iova, uint64_t end, struct page_ref *refs)
{
	for (uint64_t off = area_off(r, iova); off <= area_off(r, end); off += PF_PAGE_SIZE)
		*refs++ = pages_ref(r->pages, off);
	return refs;
}

/* Pins all of [iova, last]; h has room for the areas that are there. */
static int hold_fill(struct hold *h, const struct ioas *io, uint64_t iova, uint64_t last, struct page_ref *refs,
		     unsigned int flags)
{
	for (uint64_t at = iova;;) {
		struct area *r = ioas_area(io, at);
		uint64_t end;
		int err;

		if (!r)
			return -ENOENT;
		end = MIN(last, r->node.last);
		err = pin_part(r, at, end, last, flags, &h->part[h->n]);
		if (err)
			return err;
		r->nlocks += h->locks;
		h->n++;
		if (refs)
			refs = put_refs(r, at, end, refs);
		if (end == last)
			return 0;
		at = end + 1;
	}
}

int access_pin(struct access *a, iova_t iova, uint64_t len, struct page_ref *refs, unsigned int flags)
{
	struct hold *h;
	uint64_t last;
	int err;

	if (!len || !a->ops->pins)
		return -EINVAL;
	if (add_overflows(iova.a, len - 1, &last))
		return -EOVERFLOW;
	if (!a->ioas)
		return -ENOENT;
	h = mem_alloc(sizeof(*h) + count_parts(a->ioas, iova.a, last) * sizeof(h->part[0]));
	if (!h)
		return -ENOMEM;
	h->n = 0;
	h->locks = !a->ops->unmap;
	err = hold_fill(h, a->ioas, iova.a, last, refs, flags);
	if (err) {
		hold_free(h);
		return err;
	}
	h->node.start = iova.a;
	h->node.last = last;
	itree_insert(&a->holds, &h->node);
	return 0;
}

void access_unpin(struct access *a, iova_t iova, uint64_t len)
{
	uint64_t last = iova.a + (len - 1);
	struct itree_node *n;

	for (n = itree_first(&a->holds, iova.a, last); n; n = itree_next(n, iova.a, last))
		if (n->start == iova.a && n->last == last)
			break;
	assert(n);
	itree_remove(&a->holds, n);
	hold_free(container_of(n, struct hold, node));
}

/* ---- copies ---- */

/* Several pages that are pinned for a copy are so before the first byte moves. */
static bool moves_slowly(const struct area *r, uint64_t iova, uint64_t len)
{
	uint64_t off = area_off(r, iova);

	return off % PF_PAGE_SIZE + len <= PF_PAGE_SIZE || pages_sound(r->pages, off, len, pages_writable(r->pages));
}

int access_rw(struct access *a, iova_t iova, void *buf, size_t len, unsigned int flags)
{
	bool write = flags & ACCESS_WRITE;
	uint64_t at = iova.a, last;

	if (!len)
		return -EINVAL;
	if (add_overflows(at, len - 1, &last))
		return -EOVERFLOW;
	if (!a->ioas)
		return -ENOENT;
	for (;;) {
		const struct area *r = ioas_area(a->ioas, at);
		uint64_t n;
		char *to = (char *)buf + (at - iova.a);
		int err;

		if (!r)
			return -ENOENT;
		if (r->going)
			return -EINVAL;
		if (!area_permits(r, flags) || (write && !pages_writable(r->pages)))
			return -EPERM;
		if (pages_is_peer(r->pages))
			return -EINVAL;
		n = MIN(last, r->node.last) - at + 1;
		if (flags & ACCESS_SLOW_PATH && !moves_slowly(r, at, n))
			return -EFAULT;
		err = write ? pages_write(r->pages, area_off(r, at), to, n)
			    : pages_read(r->pages, area_off(r, at), to, n);
		if (err)
			return err;
		if (r->node.last >= last)
			return 0;
		at += n;
	}
}
