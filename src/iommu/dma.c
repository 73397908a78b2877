/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/event.h"
#include "base/guard.h"
#include "iommu/log.h"
#include "iommu/private.h"

/* ---- IOTLB ---- */

void iotlb_flush(struct dma_dev *d)
{
	memset(d->tlb, 0, sizeof(d->tlb));
	memset(d->blocks, 0, sizeof(d->blocks));
}

static inline void entry_flush(struct iotlb_entry *e, uint64_t first, uint64_t last)
{
	if (e->first <= last && e->first + (e->size - 1) >= first)
		e->size = 0;
}

void iotlb_flush_range(struct dma_dev *d, uint64_t first, uint64_t last)
{
	uint64_t page = ALIGN_DOWN(first, IOTLB_BLOCK) >> PF_PAGE_SHIFT, block = first / IOTLB_BLOCK;
	uint64_t n = MIN(((last | (IOTLB_BLOCK - 1)) >> PF_PAGE_SHIFT) - page + 1, IOTLB_SLOTS);

	for (; n; n--, page++)
		entry_flush(&d->tlb[page % IOTLB_SLOTS], first, last);
	for (n = MIN(last / IOTLB_BLOCK - block + 1, IOTLB_BLOCKS); n; n--, block++)
		entry_flush(&d->blocks[block % IOTLB_BLOCKS], first, last);
}

static inline struct iotlb_entry *iotlb_slot(struct dma_dev *d, uint64_t iova)
{
	return &d->tlb[(iova >> PF_PAGE_SHIFT) % IOTLB_SLOTS];
}

static inline bool iotlb_holds(const struct iotlb_entry *e, uint64_t iova, unsigned int need)
{
	return iova - e->first < e->size && (e->prot & need);
}

static inline struct iotlb_entry *iotlb_block(struct dma_dev *d, uint64_t iova)
{
	return &d->blocks[iova / IOTLB_BLOCK % IOTLB_BLOCKS];
}

/* An entry that has all of [iova, iova + len), which is the common case; NULL: there is none. */
static inline const struct iotlb_entry *iotlb_whole(struct dma_dev *d, uint64_t iova, size_t len, unsigned int need)
{
	const struct iotlb_entry *e = iotlb_block(d, iova);

	if (!iotlb_holds(e, iova, need)) {
		e = iotlb_slot(d, iova);
		if (!iotlb_holds(e, iova, need))
			return NULL;
	}
	return len && len <= e->size - (iova - e->first) ? e : NULL;
}

/* Fills the slots. The answer is why there is no translation, as in enum dma_fault. */
static int iotlb_fill(struct dma_dev *d, uint64_t iova, unsigned int need, struct iotlb_entry **out)
{
	struct iotlb_entry *e = iotlb_slot(d, iova);
	int reason;

	if (!d->master)
		return DMA_FAULT_MASTER;
	if (!d->dom)
		return DMA_FAULT_DETACHED;
	*out = e;
	reason = d->dom->parent ? nested_translate(d, iova, need, e) : domain_translate(d->dom, iova, need, e);
	if (!reason)
		*iotlb_block(d, iova) = *e;
	return reason;
}

/* The entry for iova, counted as a hit or a miss; or the reason for a fault. */
static inline int iotlb_get(struct dma_dev *d, uint64_t iova, unsigned int need, struct iotlb_entry **out)
{
	struct iotlb_entry *e = iotlb_slot(d, iova);
	bool hit = iotlb_holds(e, iova, need);

	if (!hit && iotlb_holds(iotlb_block(d, iova), iova, need)) {
		*e = *iotlb_block(d, iova);
		hit = true;
	}
	if (likely(hit)) {
		d->stats.iotlb_hits++;
		*out = e;
		return 0;
	}
	d->stats.iotlb_misses++;
	return iotlb_fill(d, iova, need, out);
}

/* ---- a requester ---- */

struct dma_dev *dma_dev_new(uint32_t bdf, struct events *evs)
{
	struct dma_dev *d = mem_calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->bdf = bdf;
	d->moves = 1;
	d->evs = evs;
	list_init(&d->node);
	itree_init(&d->pasids);
	return d;
}

void dma_dev_free(struct dma_dev *d)
{
	if (!d)
		return;
	pasids_free(d);
	dma_dev_detach(d);
	dma_log_stop(d);
	free(d);
}

void dma_dev_set_owner(struct dma_dev *d, const void *owner)
{
	d->owner = owner;
}

bool dma_dev_in_peer(const struct dma_dev *d)
{
	return d->in_peer;
}

void dma_attach_emit(const struct dma_dev *d)
{
	event_emit(d->evs, EVENT_ATTACH, .who = d->bdf, .pasid = d->pasid, .ioas = domain_event_id(d->dom));
}

static void domain_leave(struct dma_dev *d)
{
	d->moves = d->moves + 1 ?: 1;
	list_del(&d->node);
	d->dom = NULL;
	d->faulted = false;
	iotlb_flush(d);
}

void dma_dev_attach(struct dma_dev *d, struct domain *dom)
{
	domain_leave(d);
	d->dom = dom;
	list_add_tail(&dom->devs, &d->node);
	pasids_attached(d);
	dma_attach_emit(d);
}

void dma_dev_detach(struct dma_dev *d)
{
	bool was = d->dom;

	domain_leave(d);
	pasids_attached(d);
	if (was)
		dma_attach_emit(d);
}

uint32_t dma_dev_moves(const struct dma_dev *d)
{
	return d->moves;
}

struct domain *dma_dev_domain(const struct dma_dev *d)
{
	return d->dom;
}

/* An empty IOTLB is how a requester that may not master the bus is kept out: the fast path need not ask. */
void dma_dev_set_master(struct dma_dev *d, bool on)
{
	d->master = on;
	if (!on)
		iotlb_flush(d);
	pasids_set_master(d, on);
}

const struct dma_stats *dma_dev_stats(struct dma_dev *d)
{
	pasids_count(d);
	return &d->stats;
}

void dma_dev_set_user(struct dma_dev *d, void *user)
{
	d->user = user;
}

void *dma_dev_user(const struct dma_dev *d)
{
	return d->function ? d->function->user : d->user;
}

static uint32_t access_flags(const struct dma_dev *d, bool write, const struct dma_tag *tag)
{
	return (write ? EVENT_WRITE : 0) | (d->dom && domain_nested(d->dom) ? EVENT_NESTED : 0) |
	       (tag && tag->given && tag->given != d->moves ? EVENT_MOVED : 0);
}

/* What a translation failed for is told once a transfer does: who merely probes goes another way. */
static void stage1_tell(struct dma_dev *d, uint64_t iova, int reason)
{
	bool tell = d->faulted && d->fault.iova == iova && reason != DMA_FAULT_GONE && reason != DMA_FAULT_WRAP;

	d->faulted = false;
	if (tell)
		d->dom->stage1->failed(d->dom->stage1_ctx, d, &d->fault);
}

int dma_fault_emit(struct dma_dev *d, iova_t iova, uint64_t len, bool write, int reason, const struct dma_tag *tag)
{
	d->stats.faults++;
	stage1_tell(d, iova.a, reason);
	event_emit(d->evs, EVENT_FAULT, .who = d->bdf, .pasid = d->pasid, .ioas = domain_event_id(d->dom),
		   .addr = iova.a, .len = len, .flags = access_flags(d, write, tag), .error = reason, .tag = tag);
	return -EFAULT;
}

/* ---- DMA ---- */

static inline void dma_logged(struct dma_dev *d, uint64_t iova, size_t len, bool write)
{
	if (unlikely(write && d->log))
		log_write(d, iova, len);
}

/* What came before a fault has been moved. */
static int dma_copy_fault(struct dma_dev *d, uint64_t iova, size_t done, size_t len, bool write, int reason,
			  const struct dma_tag *tag)
{
	dma_logged(d, iova, done, write);
	return dma_fault_emit(d, IOVA(iova + done), len - done, write, reason, tag);
}

static __attribute__((noinline)) void dma_tell(struct dma_dev *d, uint64_t iova, size_t len, bool write,
					       const struct dma_tag *tag)
{
	event_emit(d->evs, EVENT_DMA, .who = d->bdf, .ioas = domain_event_id(d->dom), .addr = iova, .len = len,
		   .flags = access_flags(d, write, tag), .tag = tag);
}

static inline void dma_account(struct dma_dev *d, uint64_t iova, size_t len, bool write, const struct dma_tag *tag)
{
	if (write) {
		d->stats.writes++;
		d->stats.write_bytes += len;
	} else {
		d->stats.reads++;
		d->stats.read_bytes += len;
	}
	if (event_wanted(d->evs, EVENT_DMA))
		dma_tell(d, iova, len, write, tag);
}

static __attribute__((noinline)) int dma_copy_pieces(struct dma_dev *d, uint64_t iova, char *buf, size_t len,
						     bool write, const struct dma_tag *tag)
{
	size_t done = 0;

	/* Addresses do not wrap: what runs past the top is not mapped there. */
	if (unlikely(len && len - 1 > UINT64_MAX - iova))
		return dma_fault_emit(d, IOVA(iova), len, write, DMA_FAULT_WRAP, tag);
	while (done < len) {
		uint64_t at = iova + done, n, in;
		struct iotlb_entry *e;
		size_t left;
		int reason;

		reason = iotlb_get(d, at, write ? IOMMU_WRITE : IOMMU_READ, &e);
		if (unlikely(reason))
			return dma_copy_fault(d, iova, done, len, write, dma_fault_reason(d, at, reason), tag);
		in = at - e->first;
		n = MIN(len - done, e->size - in);
		if (write)
			left = guard_copy(e->host + in, buf + done, n);
		else
			left = guard_copy(buf + done, e->host + in, n);
		done += n - left;
		if (unlikely(left)) {
			n = dma_peer(d, iova + done, buf + done, len - done, write);
			if (!n)
				return dma_copy_fault(d, iova, done, len, write, DMA_FAULT_GONE, tag);
			done += n;
		}
	}
	dma_logged(d, iova, len, write);
	dma_account(d, iova, len, write, tag);
	return 0;
}

static inline __attribute__((always_inline)) int dma_copy(struct dma_dev *d, uint64_t iova, char *buf, size_t len,
							  bool write, const struct dma_tag *tag)
{
	const struct iotlb_entry *e = iotlb_whole(d, iova, len, write ? IOMMU_WRITE : IOMMU_READ);
	char *host = e ? e->host + (iova - e->first) : NULL;

	/* What faults half way is done again, and told apart, there. */
	if (unlikely(!e || (write ? guard_copy(host, buf, len) : guard_copy(buf, host, len))))
		return dma_copy_pieces(d, iova, buf, len, write, tag);
	d->stats.iotlb_hits++;
	dma_logged(d, iova, len, write);
	dma_account(d, iova, len, write, tag);
	return 0;
}

int dma_read(struct dma_dev *d, iova_t src, void *dst, size_t len, const struct dma_tag *tag)
{
	return dma_copy(d, src.a, dst, len, false, tag);
}

int dma_write(struct dma_dev *d, iova_t dst, const void *src, size_t len, const struct dma_tag *tag)
{
	return dma_copy(d, dst.a, (char *)src, len, true, tag);
}

static __attribute__((noinline)) int dma_iov_pieces(struct dma_dev *d, iova_t iova, size_t len, bool write,
						    struct iovec *iov, unsigned int *n, const struct dma_tag *tag)
{
	unsigned int used = 0;
	size_t done = 0;

	if (len && len - 1 > UINT64_MAX - iova.a)
		return dma_fault_emit(d, iova, len, write, DMA_FAULT_WRAP, tag);
	while (done < len) {
		struct iovec *prev = used ? &iov[used - 1] : NULL;
		uint64_t at = iova.a + done, piece, in;
		struct iotlb_entry *e;
		char *host;
		int reason;

		reason = iotlb_get(d, at, write ? IOMMU_WRITE : IOMMU_READ, &e);
		if (reason)
			return dma_fault_emit(d, IOVA(at), len - done, write, dma_fault_reason(d, at, reason), tag);
		in = at - e->first;
		piece = MIN(len - done, e->size - in);
		host = e->host + in;
		if (prev && (char *)prev->iov_base + prev->iov_len == host) {
			prev->iov_len += piece;
		} else {
			if (used == *n)
				return -E2BIG;
			iov[used++] = (struct iovec){.iov_base = host, .iov_len = piece};
		}
		done += piece;
	}
	/* Before the system call: it may write a part, and say only that it failed. */
	dma_logged(d, iova.a, len, write);
	*n = used;
	return 0;
}

int dma_iov(struct dma_dev *d, iova_t iova, size_t len, bool write, struct iovec *iov, unsigned int *n,
	    const struct dma_tag *tag)
{
	const struct iotlb_entry *e = iotlb_whole(d, iova.a, len, write ? IOMMU_WRITE : IOMMU_READ);

	if (unlikely(!e || !*n))
		return dma_iov_pieces(d, iova, len, write, iov, n, tag);
	d->stats.iotlb_hits++;
	dma_logged(d, iova.a, len, write);
	iov[0] = (struct iovec){.iov_base = e->host + (iova.a - e->first), .iov_len = len};
	*n = 1;
	return 0;
}

void dma_iov_done(struct dma_dev *d, iova_t iova, size_t len, bool write, const struct dma_tag *tag)
{
	dma_account(d, iova.a, len, write, tag);
}

int dma_probe(struct dma_dev *d, iova_t iova, size_t len, bool write, iova_t *at)
{
	struct iotlb_entry *e;
	int reason = 0;

	*at = iova;
	if (len && len - 1 > UINT64_MAX - iova.a)
		return DMA_FAULT_WRAP;
	for (size_t done = 0; done < len; done += MIN(len - done, e->size - (at->a - e->first))) {
		at->a = iova.a + done;
		reason = iotlb_get(d, at->a, write ? IOMMU_WRITE : IOMMU_READ, &e);
		if (reason)
			return reason;
	}
	return 0;
}
