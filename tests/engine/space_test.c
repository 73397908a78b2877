/* SPDX-License-Identifier: BSD-3-Clause */
/* What an IOVA space promises: lazy pins, several domains, shared pages, placement, alignment, cuts. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"
#include "iommu/access.h"

#define BASE 0x40000UL

/* A fixture whose space has no domain, and n pages of a file that devices may write to. */
static struct pages *bare_open(struct fixture *f, unsigned int n)
{
	struct pages *p;
	int fd = memfd_pages(n);

	fixture_open(f);
	ioas_remove_domain(f->ioas, f->domain);
	p = pages_memfd(f, fd, n, true);
	close(fd);
	return p;
}

static void bare_close(struct fixture *f, struct pages *p)
{
	pages_put(p);
	unmap_all(f->ioas);
	if (!domain_ioas(f->domain))
		assert_int_equal(ioas_add_domain(f->ioas, f->domain), 0);
	fixture_close(f);
}

static char reads(struct dma_dev *d, uint64_t iova)
{
	char c = 0;

	return dma_read(d, IOVA(iova), &c, 1, NULL) ? 0 : c;
}

static void test_lazy(void **state)
{
	struct fixture f;
	struct pages *p = bare_open(&f, 4);

	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 2 * PG, p, PG, 3), 0);
	assert_int_equal(f.seen[EVENT_PIN], 0);
	assert_int_equal(mm_charged(f.owner), 0);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	assert_int_equal(mm_charged(f.owner), 2);
	assert_int_equal(reads(f.dev, BASE), 'b');
	ioas_remove_domain(f.ioas, f.domain);
	assert_int_equal(reads(f.dev, BASE), 0);
	assert_int_equal(mm_charged(f.owner), 0);
	assert_int_equal(ioas_area_count(f.ioas), 1);
	bare_close(&f, p);
}

/* A hole is noticed by the first domain, which then fails as a whole; by a map, if there is one already. */
static void test_holes(void **state)
{
	struct page_slice s[3] = {{.len = PG, .writable = true}, {.len = PG}, {.len = PG, .writable = true}};
	struct fixture f;
	struct pages *p = bare_open(&f, 2), *q = NULL;
	int fd = memfd_pages(3);
	uint64_t bytes;
	char buf[3 * PG];

	assert_int_equal(backing_get_fd(f.cache, fd, &s[0].backing), 0);
	close(fd);
	s[2].backing = s[0].backing;
	s[2].offset = 2 * PG;
	assert_int_equal(pages_new(0x10000, s, 3, f.owner, &q), 0);
	backing_put(s[0].backing);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(2 * BASE), 3 * PG, q, 0, IOMMU_READ), 0);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), -EFAULT);
	assert_null(domain_ioas(f.domain));
	assert_int_equal(mm_charged(f.owner), 0);
	assert_int_equal(reads(f.dev, BASE), 0);
	/* What it reserved is free again. */
	assert_int_equal(ioas_unmap(f.ioas, 2 * BASE, 2 * BASE + 3 * PG - 1, &bytes), 0);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(2 * BASE), 3 * PG, q, 0, IOMMU_READ), -EFAULT);
	assert_int_equal(ioas_map(f.ioas, IOVA(2 * BASE), PG, q, 2 * PG, IOMMU_READ), 0);
	assert_int_equal(reads(f.dev, 2 * BASE), 'c');
	assert_int_equal(pages_read(q, 0, buf, 2 * PG), -EFAULT);
	assert_int_equal(buf[0], 'a');
	assert_int_equal(pages_ref(q, PG).backing, 0);
	assert_int_not_equal(pages_ref(q, 0).backing, 0);
	pages_put(q);
	bare_close(&f, p);
}

/* Every domain has every area; pages are paid for once; the last to leave takes the pins. */
static void test_several_domains(void **state)
{
	struct fixture f;
	struct pages *p = bare_open(&f, 4);
	struct domain *d = domain_plain(&f);
	struct dma_dev *dev = dma_dev_new(8, &f.evs);

	dma_dev_set_master(dev, true);
	dma_dev_attach(dev, d);
	assert_int_equal(ioas_add_domain(f.ioas, d), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 4 * PG, p, 0, 3), 0);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	assert_int_equal(mm_charged(f.owner), 4);
	assert_int_equal(reads(dev, BASE + PG), 'b');
	assert_int_equal(reads(f.dev, BASE + PG), 'b');
	ioas_remove_domain(f.ioas, d);
	assert_int_equal(reads(dev, BASE + PG), 0);
	assert_int_equal(reads(f.dev, BASE + PG), 'b');
	assert_int_equal(mm_charged(f.owner), 4);
	assert_int_equal(ioas_add_domain(f.ioas, d), 0);
	unmap_all(f.ioas);
	assert_int_equal(reads(dev, BASE), 0);
	assert_int_equal(reads(f.dev, BASE), 0);
	assert_int_equal(mm_charged(f.owner), 0);
	ioas_remove_domain(f.ioas, d);
	dma_dev_free(dev);
	domain_free(d);
	bare_close(&f, p);
}

static void test_copy(void **state)
{
	struct fixture f;
	struct pages *p = bare_open(&f, 6);
	struct ioas *src = ioas_new(&f.evs);
	struct page_ref ref = pages_ref(p, 2 * PG);
	iova_t at = IOVA(BASE);
	uint64_t bytes;

	/* Two areas that adjoin, and then a gap. */
	assert_int_equal(ioas_map(src, IOVA(0), 2 * PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(ioas_map(src, IOVA(2 * PG), 2 * PG, p, 2 * PG, IOMMU_READ), 0);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	assert_int_equal(ioas_copy(f.ioas, &at, false, src, IOVA(PG), 4 * PG, 3), -ENOENT);
	assert_int_equal(ioas_copy(f.ioas, &at, false, src, IOVA(PG), 0, 3), -EINVAL);
	assert_int_equal(ioas_copy(f.ioas, &at, false, src, IOVA(PG), -PG + 1, 3), -EOVERFLOW);
	assert_int_equal(ioas_copy(f.ioas, &at, false, src, IOVA(PG), 2 * PG, 3), 0);
	assert_int_equal(ioas_copy(f.ioas, &at, false, src, IOVA(PG), PG, 3), -EEXIST);
	assert_int_equal(ioas_area_count(f.ioas), 2);
	assert_int_equal(mm_charged(f.owner), 2);
	assert_int_equal(page_ref_pins(f.cache, ref), 1);
	/* Once more, of the space's own: still paid for once. */
	assert_int_equal(ioas_copy(f.ioas, &at, true, f.ioas, IOVA(BASE), 2 * PG, 3), 0);
	assert_int_not_equal(at.a, 0);
	assert_int_equal(mm_charged(f.owner), 2);
	assert_int_equal(page_ref_pins(f.cache, ref), 1);
	/* The source goes, the copies stay. */
	unmap_all(src);
	ioas_free(src);
	pages_put(pages_get(p));
	assert_int_equal(reads(f.dev, BASE), 'b');
	assert_int_equal(ioas_unmap(f.ioas, BASE, BASE + 2 * PG - 1, &bytes), 0);
	assert_int_equal(mm_charged(f.owner), 2);
	assert_int_equal(reads(f.dev, at.a + PG), 'c');
	unmap_all(f.ioas);
	assert_int_equal(mm_charged(f.owner), 0);
	assert_int_equal(page_ref_pins(f.cache, ref), 0);
	/* Not for writing where the pages are not. */
	pages_configure(p, false, MM_ACCOUNT_USER, false);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, IOMMU_READ), 0);
	at = IOVA(2 * BASE);
	assert_int_equal(ioas_copy(f.ioas, &at, false, f.ioas, IOVA(BASE), PG, IOMMU_WRITE), -EPERM);
	bare_close(&f, p);
}

/* Claims of every shape: what is charged is their union. */
static void test_union(void **state)
{
	enum { N = 24, CLAIMS = 12 };
	struct fixture f;
	struct pages *p = bare_open(&f, N);
	struct page_pin pin[CLAIMS];
	unsigned int first[CLAIMS], len[CLAIMS], seed = 1;
	bool held[CLAIMS] = {0};

	for (unsigned int i = 0; i < 5000; i++) {
		unsigned int k = (seed = seed * 1103515245 + 12345) >> 16, n = 0;

		k %= CLAIMS;
		if (held[k]) {
			pages_unpin(p, &pin[k]);
		} else {
			first[k] = (seed >> 8) % N;
			len[k] = 1 + (seed >> 20) % (N - first[k]);
			/* Of a part of its first and last page, too. */
			assert_int_equal(pages_pin(p, &pin[k], first[k] * PG + 100, len[k] * PG - 200), 0);
		}
		held[k] = !held[k];
		for (unsigned int page = 0; page < N; page++) {
			bool any = false;

			for (unsigned int c = 0; c < CLAIMS; c++)
				any |= held[c] && page >= first[c] && page < first[c] + len[c];
			n += any;
			assert_int_equal(page_ref_pins(f.cache, pages_ref(p, page * PG)), any);
		}
		assert_int_equal(mm_charged(f.owner), n);
	}
	for (unsigned int c = 0; c < CLAIMS; c++)
		if (held[c])
			pages_unpin(p, &pin[c]);
	bare_close(&f, p);
}

static void test_reserved_and_allowed(void **state)
{
	const struct iova_range backwards[] = {{0x2000, 0x1fff}}, point[] = {{0x2000, 0x2000}};
	const struct iova_range twice[] = {{0x100000, 0x1fffff}, {0x1fffff, 0x2fffff}};
	const struct iova_range two[] = {{0x100000, 0x100fff}, {0x300000, 0x301fff}};
	struct fixture f;
	struct pages *p = bare_open(&f, 4);
	int a, b;
	iova_t at;

	assert_int_equal(ioas_allow(f.ioas, backwards, 1), -EINVAL);
	assert_int_equal(ioas_allow(f.ioas, point, 1), -EINVAL);
	assert_int_equal(ioas_allow(f.ioas, twice, 2), -EINVAL);
	assert_int_equal(ioas_reserve(f.ioas, 0x200000, 0x2fffff, &a), 0);
	assert_int_equal(ioas_reserve(f.ioas, 0x280000, 0x2fffff, &b), 0);
	assert_int_equal(ioas_allow(f.ioas, (struct iova_range[]){{0x100000, 0x200000}}, 1), -EADDRINUSE);
	assert_int_equal(ioas_allow(f.ioas, two, 2), 0);
	assert_int_equal(ioas_reserve(f.ioas, 0x301fff, 0x400000, &a), -EADDRINUSE);
	/* Placement keeps to the allowed ranges, a fixed map need not. */
	assert_int_equal(ioas_map_auto(f.ioas, &at, 2 * PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(at.a, 0x300000);
	assert_int_equal(ioas_map_auto(f.ioas, &at, PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(at.a, 0x100000);
	at.a = 77;
	assert_int_equal(ioas_map_auto(f.ioas, &at, PG, p, 0, IOMMU_READ), -ENOSPC);
	assert_int_equal(at.a, 77);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x500000), PG, p, 0, IOMMU_READ), 0);
	/* What both had reserved is reserved until both have gone. */
	ioas_unreserve(f.ioas, &a);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x280000), PG, p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x200000), PG, p, 0, IOMMU_READ), 0);
	ioas_unreserve(f.ioas, &b);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x280000), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(ioas_allow(f.ioas, NULL, 0), 0);
	assert_int_equal(ioas_map_auto(f.ioas, &at, PG, p, 0, IOMMU_READ), 0);
	bare_close(&f, p);
}

/* A domain's aperture reserves the rest, in its name. */
static void test_aperture(void **state)
{
	const struct domain_config small = {.first = 0x1000000, .last = 0x7fffffff, .pgsizes = 2048 | 1 << 20};
	const struct domain_config coarse = {.last = 0x7fffffff, .pgsizes = 1 << 16};
	struct fixture f;
	struct pages *p = bare_open(&f, 4);
	struct domain *d = domain_new(&small, &f.evs), *c = domain_new(&coarse, &f.evs);
	uint64_t bytes;
	iova_t at;

	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(ioas_add_domain(f.ioas, d), -EADDRINUSE);
	assert_int_equal(ioas_unmap(f.ioas, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(ioas_allow(f.ioas, (struct iova_range[]){{0x70000000, 0x80000000}}, 1), 0);
	assert_int_equal(ioas_add_domain(f.ioas, d), -EADDRINUSE);
	assert_int_equal(ioas_allow(f.ioas, NULL, 0), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, IOMMU_READ), 0);
	unmap_all(f.ioas);
	assert_int_equal(ioas_add_domain(f.ioas, d), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x7ffff000), 2 * PG, p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x7ffff000), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(ioas_map_auto(f.ioas, &at, PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(at.a, 0x1000000);
	/* Pages that no pin can promise to hold together. */
	assert_int_equal(ioas_add_domain(f.ioas, c), -EINVAL);
	ioas_remove_domain(f.ioas, d);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, IOMMU_READ), 0);
	domain_free(d);
	domain_free(c);
	bare_close(&f, p);
}

/* Areas at any byte while there is no domain; at 2 KiB with a domain of such pages. */
static void test_alignment(void **state)
{
	const struct domain_config half = {.last = 0xffffffff, .pgsizes = 2048 | 1 << 20};
	static const struct access_ops pinner = {.pins = true}, reader = {.pins = false};
	struct fixture f;
	struct pages *p = bare_open(&f, 4);
	struct domain *d = domain_new(&half, &f.evs);
	struct access *a = access_new(&pinner, NULL), *r = access_new(&reader, NULL);
	char buf[6144];

	assert_int_equal(ioas_alignment(f.ioas), 1);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE + 5), 7, p, 3, IOMMU_READ), 0);
	assert_int_equal(access_attach(r, f.ioas), 0);
	assert_int_equal(access_rw(r, IOVA(BASE + 5), buf, 7, 0), 0);
	assert_int_equal(access_rw(r, IOVA(BASE + 5), buf, 8, 0), -ENOENT);
	assert_int_equal(access_attach(a, f.ioas), -EADDRINUSE);
	assert_null(access_ioas(a));
	assert_int_equal(ioas_add_domain(f.ioas, d), -EADDRINUSE);
	assert_int_equal(ioas_set_large_pages(f.ioas, false), -EADDRINUSE);
	assert_true(ioas_large_pages(f.ioas));
	unmap_all(f.ioas);

	/* IOVA, length and the offset in the page: each counts. */
	assert_int_equal(ioas_add_domain(f.ioas, d), 0);
	assert_int_equal(ioas_alignment(f.ioas), 2048);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE + 1024), 2048, p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 1024, p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 2048, p, 1024, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE + 2048), 6144, p, 2048, 3), 0);
	assert_int_equal(mm_charged(f.owner), 2);
	dma_dev_attach(f.dev, d);
	assert_int_equal(dma_read(f.dev, IOVA(BASE + 2048), buf, 6144, NULL), 0);
	assert_int_equal(buf[0], 'a');
	assert_int_equal(buf[2047], 'a');
	assert_int_equal(buf[2048], 'b');
	assert_int_equal(buf[6143], 'b');
	assert_int_equal(dma_read(f.dev, IOVA(BASE + 2048), buf, 6145, NULL), -EFAULT);
	assert_int_equal(dma_read(f.dev, IOVA(BASE + 2047), buf, 1, NULL), -EFAULT);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), -EADDRINUSE);
	assert_int_equal(access_attach(a, f.ioas), -EADDRINUSE);
	unmap_all(f.ioas);
	assert_int_equal(access_attach(a, f.ioas), 0);
	assert_int_equal(ioas_alignment(f.ioas), PG);
	assert_int_equal(access_attach(a, NULL), 0);
	assert_int_equal(ioas_alignment(f.ioas), 2048);
	dma_dev_attach(f.dev, f.domain);
	ioas_remove_domain(f.ioas, d);
	assert_int_equal(ioas_alignment(f.ioas), 1);
	assert_int_equal(ioas_set_large_pages(f.ioas, false), 0);
	assert_int_equal(ioas_alignment(f.ioas), PG);
	access_free(a);
	access_free(r);
	domain_free(d);
	bare_close(&f, p);
}

static void test_cut(void **state)
{
	static const struct access_ops pinner = {.pins = true};
	struct fixture f;
	struct pages *p = bare_open(&f, 8);
	struct access *a = access_new(&pinner, NULL);
	uint64_t at[] = {BASE + 2 * PG, BASE + 4 * PG, BASE, BASE + 8 * PG, 77}, bytes;

	assert_int_equal(ioas_set_large_pages(f.ioas, false), 0);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 8 * PG, p, 0, 3), 0);
	assert_int_equal(reads(f.dev, BASE + 3 * PG), 'd');
	assert_int_equal(ioas_unmap(f.ioas, BASE + 2 * PG, BASE + 4 * PG - 1, &bytes), -ENOENT);
	assert_int_equal(ioas_cut(f.ioas, at, 5), 0);
	assert_int_equal(ioas_area_count(f.ioas), 3);
	assert_int_equal(mm_charged(f.owner), 8);
	assert_int_equal(ioas_unmap(f.ioas, BASE + 2 * PG, BASE + 4 * PG - 1, &bytes), 0);
	assert_int_equal(bytes, 2 * PG);
	assert_int_equal(mm_charged(f.owner), 6);
	assert_int_equal(reads(f.dev, BASE + PG), 'b');
	assert_int_equal(reads(f.dev, BASE + 2 * PG), 0);
	assert_int_equal(reads(f.dev, BASE + 3 * PG), 0);
	assert_int_equal(reads(f.dev, BASE + 7 * PG), 'h');
	assert_int_equal(ioas_cut(f.ioas, (uint64_t[]){BASE + 100}, 1), -EINVAL);
	assert_int_equal(ioas_cut(f.ioas, (uint64_t[]){BASE + 1}, 1), 0);
	assert_int_equal(ioas_area_count(f.ioas), 2);
	/* A client that may lock nothing more may still cut what it has. */
	f.limit = 0;
	assert_int_equal(ioas_cut(f.ioas, (uint64_t[]){BASE + PG}, 1), 0);
	f.limit = UINT64_MAX;
	/* Not under an access's pin, and not where there may be huge pages. */
	assert_int_equal(access_attach(a, f.ioas), 0);
	assert_int_equal(access_pin(a, IOVA(BASE + 4 * PG), PG, NULL, 0), 0);
	assert_int_equal(ioas_cut(f.ioas, (uint64_t[]){BASE + 6 * PG}, 1), -EINVAL);
	access_unpin(a, IOVA(BASE + 4 * PG), PG);
	assert_int_equal(ioas_set_large_pages(f.ioas, true), 0);
	assert_int_equal(ioas_cut(f.ioas, (uint64_t[]){BASE + 6 * PG}, 1), -EINVAL);
	assert_int_equal(ioas_set_large_pages(f.ioas, false), -EINVAL);
	access_free(a);
	bare_close(&f, p);
}

/* An area that straddles the end ends it, after those below have gone. */
static void test_unmap_partly(void **state)
{
	struct fixture f;
	struct pages *p = bare_open(&f, 4);
	uint64_t bytes;

	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(ioas_map(f.ioas, IOVA(BASE + i * 2 * PG), 2 * PG, p, 0, 3), 0);
	assert_int_equal(ioas_unmap(f.ioas, BASE, BASE + 5 * PG - 1, &bytes), -ENOENT);
	assert_int_equal(bytes, 4 * PG);
	assert_int_equal(ioas_area_count(f.ioas), 1);
	assert_int_equal(ioas_unmap(f.ioas, BASE + 5 * PG, BASE + 6 * PG - 1, &bytes), -ENOENT);
	assert_int_equal(bytes, 0);
	bare_close(&f, p);
}

/* First fit, whatever the hint believes: each answer is compared with a search from the beginning. */
static void test_place(void **state)
{
	enum { CELLS = 400 };
	static const unsigned int len[] = {1, 1, 2, 3, 8};
	static bool used[CELLS + 16];
	struct fixture f;
	struct pages *p = bare_open(&f, 16);
	unsigned int seed = 7;
	uint64_t bytes;
	iova_t at;

	assert_int_equal(ioas_reserve(f.ioas, CELLS * PG, UINT64_MAX, &f), 0);
	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int r = (seed = seed * 1103515245 + 12345) >> 12, n = len[r % 5], align = 1, k;
		struct ioas_area_info info;
		int err;

		if (r >> 4 & 1 && ioas_next(f.ioas, (r >> 5) % CELLS * PG, &info)) {
			assert_int_equal(ioas_unmap(f.ioas, info.iova, info.iova + info.len - 1, &bytes), 0);
			memset(used + info.iova / PG, 0, info.len / PG);
			continue;
		}
		while (align < n)
			align *= 2;
		for (k = align; k + n <= CELLS && memchr(used + k, 1, n); k += align)
			;
		err = ioas_map_auto(f.ioas, &at, n * PG, p, 0, IOMMU_READ);
		if (k + n > CELLS) {
			assert_int_equal(err, -ENOSPC);
			continue;
		}
		assert_int_equal(err, 0);
		assert_int_equal(at.a, k * PG);
		memset(used + k, 1, n);
	}
	/* The offset in the page is kept. */
	unmap_all(f.ioas);
	assert_int_equal(ioas_map_auto(f.ioas, &at, 100, p, PG + 24, IOMMU_READ), 0);
	assert_int_equal(at.a, PG + 24);
	assert_int_equal(ioas_map_auto(f.ioas, &at, UINT64_MAX / 2, p, 0, IOMMU_READ), -EINVAL);
	memset(used, 0, sizeof(used));
	bare_close(&f, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lazy),
	    cmocka_unit_test(test_holes),
	    cmocka_unit_test(test_several_domains),
	    cmocka_unit_test(test_copy),
	    cmocka_unit_test(test_union),
	    cmocka_unit_test(test_reserved_and_allowed),
	    cmocka_unit_test(test_aperture),
	    cmocka_unit_test(test_alignment),
	    cmocka_unit_test(test_cut),
	    cmocka_unit_test(test_unmap_partly),
	    cmocka_unit_test(test_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
