/* SPDX-License-Identifier: BSD-3-Clause */
/* What a domain's requesters see: huge leaves, neighbours that adjoin, dirty tracking, nested domains (E1, E2). */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"
#include "iommu/walk.h"

#define MiB (1UL << 20)

static char reads(struct dma_dev *d, uint64_t iova)
{
	char c = 0;

	return dma_read(d, IOVA(iova), &c, 1, NULL) ? 0 : c;
}

static struct pages *pages_big(struct fixture *f, uint64_t bytes, char **view)
{
	struct page_slice s = {.len = bytes, .writable = true};
	struct pages *p = NULL;
	int fd = memfd_create("engine", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, bytes), 0);
	*view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(*view != MAP_FAILED);
	assert_int_equal(backing_get_fd(f->cache, fd, &s.backing), 0);
	assert_int_equal(pages_new(0x7f0000000000, &s, 1, f->owner, &p), 0);
	pages_configure(p, true, MM_ACCOUNT_USER, false);
	backing_put(s.backing);
	close(fd);
	return p;
}

/* A huge leaf is one, and its neighbours of every size go without it and it without them. */
static void test_huge(void **state)
{
	struct fixture f;
	struct domain_leaf l;
	struct pages *p;
	uint64_t bytes, contig;
	char *view;

	fixture_open(&f);
	p = pages_big(&f, 8 * MiB, &view);
	/* Our address of a large file is aligned as its offset is. */
	assert_int_equal((uintptr_t)pages_ptr(p, 0, &contig) % (2 * MiB), 0);
	for (uint64_t at = 0; at < 8 * MiB; at += PG)
		view[at] = 'A' + at / MiB;
	for (int round = 0; round < 2; round++) {
		/* One page, [2 MiB - 4 KiB, 2 MiB), a huge leaf, [4 MiB, 4 MiB + 64 KiB): all of it seamless. */
		assert_int_equal(ioas_map(f.ioas, IOVA(2 * MiB - PG), PG, p, 2 * MiB - PG, 3), 0);
		assert_int_equal(ioas_map(f.ioas, IOVA(2 * MiB), 2 * MiB, p, 2 * MiB, 3), 0);
		assert_int_equal(ioas_map(f.ioas, IOVA(4 * MiB), 16 * PG, p, 4 * MiB, 3), 0);
		assert_true(domain_walk(f.domain, 3 * MiB, &l));
		assert_true(l.size >= 2 * MiB);
		for (uint64_t at = 2 * MiB - PG; at < 4 * MiB + 16 * PG; at += PG)
			assert_int_equal(reads(f.dev, at), 'A' + at / MiB);
		/* Whoever goes, at once nobody finds it, and the others are still there. */
		if (round) {
			assert_int_equal(ioas_unmap(f.ioas, 2 * MiB, 4 * MiB - 1, &bytes), 0);
			for (uint64_t at = 2 * MiB; at < 4 * MiB; at += PG)
				assert_int_equal(reads(f.dev, at), 0);
		} else {
			assert_int_equal(ioas_unmap(f.ioas, 2 * MiB - PG, 2 * MiB - 1, &bytes), 0);
			assert_int_equal(ioas_unmap(f.ioas, 4 * MiB, 4 * MiB + 16 * PG - 1, &bytes), 0);
			for (uint64_t at = 2 * MiB; at < 4 * MiB; at += PG)
				assert_int_equal(reads(f.dev, at), 'A' + at / MiB);
		}
		assert_int_equal(reads(f.dev, 2 * MiB - PG) != 0, round);
		for (uint64_t at = 4 * MiB; at < 4 * MiB + 16 * PG; at += PG)
			assert_int_equal(reads(f.dev, at) != 0, round);
		unmap_all(f.ioas);
	}
	munmap(view, 8 * MiB);
	pages_put(p);
	fixture_close(&f);
}

/* Adjoining areas share IOTLB entries: each, when it goes, goes from all of them. */
static void test_neighbours(void **state)
{
	enum { N = 48 };
	struct fixture f;
	struct pages *p;
	uint64_t bytes;
	char *view;

	fixture_open(&f);
	p = pages_big(&f, N * PG, &view);
	memset(view, 'x', N * PG);
	for (unsigned int gone = 0; gone < N; gone++) {
		for (uint64_t i = 0; i < N; i++)
			assert_int_equal(ioas_map(f.ioas, IOVA(0x35000 + i * PG), PG, p, i * PG, 3), 0);
		for (uint64_t i = 0; i < N; i++)
			assert_int_equal(reads(f.dev, 0x35000 + i * PG), 'x');
		assert_int_equal(ioas_unmap(f.ioas, 0x35000 + gone * PG, 0x35000 + gone * PG + PG - 1, &bytes), 0);
		for (uint64_t i = 0; i < N; i++)
			assert_int_equal(reads(f.dev, 0x35000 + i * PG), i == gone ? 0 : 'x');
		unmap_all(f.ioas);
	}
	munmap(view, N * PG);
	pages_put(p);
	fixture_close(&f);
}

/* ---- dirty ---- */

struct seen {
	uint64_t base;
	uint64_t bits; /* a bit for each page */
};

static void see(void *ctx, uint64_t iova, uint64_t len)
{
	struct seen *s = ctx;

	for (uint64_t at = iova; at < iova + len; at += PG)
		s->bits |= 1ULL << (at - s->base) / PG;
}

static uint64_t dirty(struct domain *d, uint64_t base, bool keep)
{
	struct seen s = {.base = base};
	uint64_t bits = 0;

	domain_read_dirty_bitmap(d, base, 16 * PG, true, PF_PAGE_SHIFT, &bits);
	domain_read_dirty(d, base, 16 * PG, keep, see, &s);
	assert_int_equal(bits, s.bits);
	return s.bits;
}

static void test_dirty(void **state)
{
	const struct domain_config plain = {.last = UINT64_MAX, .pgsizes = PG};
	struct fixture f;
	struct domain *d;
	struct pages *p;
	struct iovec iov[4];
	unsigned int n = 4;
	char *view, buf[2 * PG] = {0};

	fixture_open(&f);
	d = domain_new(&plain, &f.evs);
	assert_int_equal(domain_set_dirty_tracking(d, true), -EOPNOTSUPP);
	domain_free(d);
	p = pages_big(&f, 16 * PG, &view);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x10000), 16 * PG, p, 0, 3), 0);
	assert_int_equal(dma_write(f.dev, IOVA(0x10000), buf, 10, NULL), 0);
	assert_int_equal(dirty(f.domain, 0x10000, false), 0);
	assert_int_equal(domain_set_dirty_tracking(f.domain, true), 0);
	assert_true(domain_dirty_tracking(f.domain));
	assert_int_equal(dirty(f.domain, 0x10000, false), 0);
	/* Every write marks, also when a read or a write has filled the IOTLB before. */
	for (int round = 0; round < 3; round++) {
		assert_int_equal(dma_read(f.dev, IOVA(0x10000), buf, sizeof(buf), NULL), 0);
		assert_int_equal(dirty(f.domain, 0x10000, false), 0);
		assert_int_equal(dma_write(f.dev, IOVA(0x10000 + 2 * PG - 1), buf, 2, NULL), 0);
		assert_int_equal(dma_iov(f.dev, IOVA(0x10000 + 5 * PG), 10, false, iov, &n, NULL), 0);
		assert_int_equal(dma_iov(f.dev, IOVA(0x10000 + 7 * PG), 10, true, iov, &n, NULL), 0);
		assert_int_equal(dirty(f.domain, 0x10000, true), 0x86);
		assert_int_equal(dma_write(f.dev, IOVA(0x10000 + PG), buf, 2, NULL), 0);
		assert_int_equal(dma_write(f.dev, IOVA(0x10000 + 5 * PG), buf, 2, NULL), 0);
		domain_mark_dirty(f.domain, 0x10000 + 15 * PG + 5, 1);
		assert_int_equal(dirty(f.domain, 0x10000, false), 0x80a6);
	}
	/* On again: clean. */
	assert_int_equal(dma_write(f.dev, IOVA(0x10000), buf, 2, NULL), 0);
	assert_int_equal(domain_set_dirty_tracking(f.domain, true), 0);
	assert_int_equal(dirty(f.domain, 0x10000, true), 0);
	assert_int_equal(dma_write(f.dev, IOVA(0x10000), buf, 2, NULL), 0);
	assert_int_equal(dirty(f.domain, 0x10000, true), 1);
	assert_int_equal(domain_set_dirty_tracking(f.domain, false), 0);
	assert_int_equal(dma_write(f.dev, IOVA(0x10000 + PG), buf, 2, NULL), 0);
	assert_int_equal(dirty(f.domain, 0x10000, true), 1);
	/* What is unmapped is forgotten. */
	unmap_all(f.ioas);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x10000), 16 * PG, p, 0, 3), 0);
	assert_int_equal(dirty(f.domain, 0x10000, true), 0);
	munmap(view, 16 * PG);
	pages_put(p);
	fixture_close(&f);
}

/* ---- nested ---- */

/*
 * The guest's memory is at IOVA MiB of the parent, 64 pages; its tables (x86, 4 levels) are in the first four of them:
 * iova [0, 2 MiB) in the pages of one lowest table.
 */
#define GUEST MiB
#define RW    (1ULL | 2 | 4) /* present, writable, user */

struct nest {
	struct fixture f;
	struct domain *d;
	struct dma_dev *dev;
	struct pages *p;
	char *mem;
};

static uint64_t *guest_table(struct nest *n, unsigned int page)
{
	return (uint64_t *)(n->mem + page * PG);
}

static void nest_open(struct nest *n, unsigned int flags)
{
	const struct walk_config cfg = {
	    .format = WALK_X86, .input_bits = 48, .output_bits = 48, .granule = 12, .flags = flags, .root = GUEST};

	fixture_open(&n->f);
	n->p = pages_big(&n->f, 64 * PG, &n->mem);
	assert_int_equal(ioas_map(n->f.ioas, IOVA(GUEST), 64 * PG, n->p, 0, 3), 0);
	for (unsigned int i = 0; i < 3; i++)
		guest_table(n, i)[0] = (GUEST + (i + 1) * PG) | RW;
	for (unsigned int i = 4; i < 64; i++)
		memset(n->mem + i * PG, '0' + i % 10, PG);
	assert_int_equal(walk_config_check(&cfg), 0);
	n->d = domain_new_nested(n->f.domain, &cfg);
	assert_non_null(n->d);
	assert_true(domain_nested(n->d));
	assert_ptr_equal(domain_ioas(n->d), n->f.ioas);
	n->dev = dma_dev_new(9, &n->f.evs);
	dma_dev_set_master(n->dev, true);
	dma_dev_attach(n->dev, n->d);
}

static void nest_close(struct nest *n)
{
	dma_dev_free(n->dev);
	domain_free(n->d);
	munmap(n->mem, 64 * PG);
	pages_put(n->p);
	fixture_close(&n->f);
}

static void guest_map(struct nest *n, unsigned int i, uint64_t to, uint64_t bits)
{
	guest_table(n, 3)[i] = to | bits;
}

/* E1: nowhere that the parent does not map, whatever the table says and whenever it changes. */
static void test_nested_confined(void **state)
{
	struct nest n;
	uint64_t bytes;
	char c = 'w';

	nest_open(&n, 0);
	guest_map(&n, 0, GUEST + 5 * PG, RW);
	guest_map(&n, 1, GUEST + 6 * PG, 1 | 4);
	guest_map(&n, 2, GUEST + 64 * PG, RW); /* one past the end */
	guest_map(&n, 3, 0x7fffffff000, RW);
	assert_int_equal(reads(n.dev, 0x10), '5');
	assert_int_equal(reads(n.dev, PG), '6');
	assert_int_equal(dma_write(n.dev, IOVA(PG), &c, 1, NULL), -EFAULT);
	assert_int_equal(n.f.last[EVENT_FAULT].error, DMA_FAULT_PERMISSION);
	assert_int_equal(dma_write(n.dev, IOVA(0), &c, 1, NULL), 0);
	assert_int_equal(n.mem[5 * PG], 'w');
	for (unsigned int i = 2; i < 5; i++) {
		assert_int_equal(dma_read(n.dev, IOVA(i * PG), &c, 1, NULL), -EFAULT);
		assert_int_equal(n.f.last[EVENT_FAULT].error, DMA_FAULT_UNMAPPED);
	}
	/* The parent's rights count, too. */
	assert_int_equal(ioas_map(n.f.ioas, IOVA(2 * GUEST), PG, n.p, 9 * PG, IOMMU_READ), 0);
	guest_map(&n, 5, 2 * GUEST, RW);
	assert_int_equal(reads(n.dev, 5 * PG), '9');
	assert_int_equal(dma_write(n.dev, IOVA(5 * PG), &c, 1, NULL), -EFAULT);
	assert_int_equal(n.f.last[EVENT_FAULT].error, DMA_FAULT_PERMISSION);
	/* What the parent unmaps is gone at once, cached or not; and with its tables everything. */
	assert_int_equal(ioas_unmap(n.f.ioas, 2 * GUEST, 2 * GUEST + PG - 1, &bytes), 0);
	assert_int_equal(reads(n.dev, 5 * PG), 0);
	assert_int_equal(reads(n.dev, 0x10), '5');
	assert_int_equal(ioas_unmap(n.f.ioas, GUEST, GUEST + 64 * PG - 1, &bytes), 0);
	assert_int_equal(reads(n.dev, 0x10), 0);
	/* A table that the broker can no longer read is a fault, too. */
	assert_int_equal(ioas_map(n.f.ioas, IOVA(GUEST), 64 * PG, n.p, 0, 3), 0);
	assert_int_equal(reads(n.dev, 0x10), '5');
	nest_close(&n);
}

/* E2: stale until it is invalidated, and not after. */
static void test_nested_invalidate(void **state)
{
	struct nest n;

	nest_open(&n, 0);
	guest_map(&n, 0, GUEST + 5 * PG, RW);
	assert_int_equal(reads(n.dev, 0), '5');
	guest_map(&n, 0, GUEST + 6 * PG, RW);
	assert_int_equal(reads(n.dev, 0), '5');
	domain_invalidate(n.d, 0, PG - 1);
	assert_int_equal(reads(n.dev, 0), '6');
	guest_map(&n, 0, 0, 0);
	domain_invalidate(n.d, 0, UINT64_MAX);
	assert_int_equal(reads(n.dev, 0), 0);
	/* What was not there is not cached. */
	guest_map(&n, 0, GUEST + 7 * PG, RW);
	assert_int_equal(reads(n.dev, 0), '7');
	nest_close(&n);
}

/* Accessed and dirty bits are written through the parent; its own tracking sees that, and the data. */
static void test_nested_dirty(void **state)
{
	struct nest n;
	char c = 'w';

	nest_open(&n, WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY);
	assert_int_equal(domain_set_dirty_tracking(n.f.domain, true), 0);
	guest_map(&n, 0, GUEST + 15 * PG, RW);
	assert_int_equal(reads(n.dev, 0), '5');
	assert_int_equal(guest_table(&n, 3)[0], (GUEST + 15 * PG) | RW | 1 << 5);
	assert_int_equal(dirty(n.f.domain, GUEST, false), 0xf);
	assert_int_equal(reads(n.dev, 0), '5');
	assert_int_equal(dirty(n.f.domain, GUEST, false), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(dma_write(n.dev, IOVA(0), &c, 1, NULL), 0);
		assert_int_equal(guest_table(&n, 3)[0], (GUEST + 15 * PG) | RW | 3 << 5);
		assert_int_equal(dirty(n.f.domain, GUEST, false), i ? 0x8000 : 0x8008);
	}
	nest_close(&n);
}

/* A format that only a test knows translates nothing; so does one that no walker takes. */
static void test_nested_unknown(void **state)
{
	const struct walk_config bad = {.format = WALK_FORMATS};
	struct fixture f;

	fixture_open(&f);
	for (int i = 0; i < 2; i++) {
		struct domain *d = domain_new_nested(f.domain, i ? &bad : NULL);

		assert_non_null(d);
		dma_dev_attach(f.dev, d);
		assert_int_equal(reads(f.dev, 0), 0);
		assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_UNMAPPED);
		assert_int_equal(f.last[EVENT_FAULT].ioas, ioas_id(f.ioas));
		assert_int_equal(domain_set_dirty_tracking(d, true), -EOPNOTSUPP);
		dma_dev_attach(f.dev, f.domain);
		domain_free(d);
	}
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_huge),
	    cmocka_unit_test(test_neighbours),
	    cmocka_unit_test(test_dirty),
	    cmocka_unit_test(test_nested_confined),
	    cmocka_unit_test(test_nested_invalidate),
	    cmocka_unit_test(test_nested_dirty),
	    cmocka_unit_test(test_nested_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
