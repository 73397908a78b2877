/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <sys/mman.h>
#include "base/alloc.h"
#include "iommu/table_private.h"

/* Idle chunks that are kept: what a client maps and unmaps again and again need not come from the kernel each time. */
enum { POOL_KEEP = 2 };

_Static_assert(sizeof(struct chunk) <= CHUNK_HEADER * 64, "the lines of the header's pages");

static struct chunk *chunk_of(const uint64_t *node)
{
	return (struct chunk *)ALIGN_DOWN((uintptr_t)node, CHUNK_BYTES);
}

static unsigned int chunk_page(const struct chunk *c, const uint64_t *node)
{
	return ((uintptr_t)node - (uintptr_t)c) / TABLE_BYTES;
}

static void chunk_init(struct chunk *c)
{
	for (unsigned int w = 0; w < ARRAY_SIZE(c->free); w++)
		c->free[w] = ~0ULL;
	c->free[0] = ~0ULL << CHUNK_HEADER;
	c->nfree = CHUNK_TABLES;
}

void table_pool_init(struct table_pool *p)
{
	*p = (struct table_pool){};
	list_init(&p->open);
	list_init(&p->full);
}

static void pool_unmap(struct list *chunks)
{
	struct chunk *c, *tmp;

	list_for_each_safe (c, tmp, chunks, node)
		munmap(c, CHUNK_BYTES);
}

void table_pool_fini(struct table_pool *p)
{
	pool_unmap(&p->open);
	pool_unmap(&p->full);
	table_pool_init(p);
}

/*
 * n chunks in one piece. Huge pages, without which walks of a large tree miss the TLB, only where there are several: a
 * small tree touches few pages of its one chunk. What lies around the aligned piece is trimmed; if that fails it stays,
 * untouched, and costs address space only. No request overflows: the smallest leaves on all of 64 bits take 2^56 bytes.
 */
static char *chunks_map(uint64_t n, bool huge)
{
	size_t len = n * CHUNK_BYTES, slack = CHUNK_BYTES - TABLE_BYTES;
	char *raw, *at;

	raw = mem_mmap(NULL, len + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (raw == MAP_FAILED)
		return NULL;
	at = (char *)ALIGN_UP((uintptr_t)raw, CHUNK_BYTES);
	if (at > raw)
		munmap(raw, at - raw);
	if (raw + slack > at)
		munmap(at + len, raw + slack - at);
	if (huge)
		madvise(at, len, MADV_HUGEPAGE);
	return at;
}

int table_pool_reserve(struct table_pool *p, uint64_t n)
{
	char *at;

	if (mem_fails())
		return -ENOMEM;
	if (likely(p->nfree >= n))
		return 0;
	n = (n - p->nfree + CHUNK_TABLES - 1) / CHUNK_TABLES;
	at = chunks_map(n, n > 1 || p->nchunk);
	if (!at)
		return -ENOMEM;
	for (uint64_t i = 0; i < n; i++) {
		struct chunk *c = (struct chunk *)(at + i * CHUNK_BYTES);

		chunk_init(c);
		list_add_tail(&p->open, &c->node);
	}
	p->nchunk += n;
	p->nidle += n;
	p->nfree += n * CHUNK_TABLES;
	return 0;
}

uint64_t *table_pool_get(struct table_pool *p)
{
	struct chunk *c = list_first(&p->open, struct chunk, node);
	unsigned int w = 0, page;

	assert(p->nfree);
	while (!c->free[w])
		w++;
	page = w * 64 + __builtin_ctzll(c->free[w]);
	c->free[w] &= c->free[w] - 1;
	p->nfree--;
	if (c->nfree-- == CHUNK_TABLES)
		p->nidle--;
	if (!c->nfree) {
		list_del(&c->node);
		list_add(&p->full, &c->node);
	}
	return (uint64_t *)((char *)c + (size_t)page * TABLE_BYTES);
}

void table_pool_put(struct table_pool *p, uint64_t *node)
{
	struct chunk *c = chunk_of(node);
	unsigned int page = chunk_page(c, node);

	c->free[page / 64] |= 1ULL << (page % 64);
	p->nfree++;
	if (c->nfree++ == 0) {
		list_del(&c->node);
		list_add(&p->open, &c->node);
	} else if (c->nfree == CHUNK_TABLES) {
		p->nidle++;
		list_del(&c->node);
		list_add_tail(&p->open, &c->node);
	}
}

void table_pool_trim(struct table_pool *p)
{
	while (p->nidle > POOL_KEEP) {
		struct chunk *c = list_entry(p->open.prev, struct chunk, node);

		list_del(&c->node);
		/* To cut a mapping in two can fail. */
		if (munmap(c, CHUNK_BYTES)) {
			list_add_tail(&p->open, &c->node);
			return;
		}
		p->nchunk--;
		p->nidle--;
		p->nfree -= CHUNK_TABLES;
	}
}
