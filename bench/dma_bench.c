/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the engine costs, in ns, one figure a line: a translation that hits and one that misses, with 1 to 1000000 areas
 * of 4 KiB, in sequence and at random; a DMA of 64 bytes and of 4 KiB beside a bare memcpy; ioas_map and ioas_unmap of
 * one page. Each figure is the median of several runs, in CPU time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "base/event.h"
#include "base/guard.h"
#include "base/util.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "mm/mm.h"

enum { RUNS = 7, LOOPS = 200000, FILE_PAGES = 1024 };

struct bench {
	struct events evs;
	struct backing_cache *cache;
	struct mm_owner *owner;
	struct ioas *ioas;
	struct domain *domain;
	struct dma_dev *dev;
	struct pages *pages;
	struct pages *single; /* one page, for what is mapped and unmapped again: as VFIO, nobody shares it */
	uint64_t *order;      /* IOVAs in random order */
	unsigned int areas;
};

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median time of one loop of fn, over RUNS runs of n loops. */
static double median(void (*fn)(struct bench *b, unsigned int n), struct bench *b, unsigned int n)
{
	double t[RUNS];

	fn(b, n);
	for (int i = 0; i < RUNS; i++) {
		double start = now();

		fn(b, n);
		t[i] = (now() - start) / n;
	}
	qsort(t, RUNS, sizeof(t[0]), by_value);
	return t[RUNS / 2];
}

/* ---- set-up ---- */

static uint64_t no_limit(void *ctx)
{
	return UINT64_MAX;
}

static void bench_open(struct bench *b)
{
	static const struct mm_owner_ops ops = {.limit = no_limit};
	const struct domain_config config = {.last = (1ULL << 48) - 1, .pgsizes = PF_PAGE_SIZE | 2UL << 20 | 1UL << 30};
	struct page_slice s = {.len = FILE_PAGES * PF_PAGE_SIZE, .writable = true};
	int fd = memfd_create("bench", MFD_CLOEXEC);

	must(fd >= 0 && ftruncate(fd, s.len) == 0, "memfd");
	events_init(&b->evs);
	b->cache = backing_cache_new(0, 0);
	b->owner = mm_owner_new(&ops, NULL, NULL, 1, &b->evs);
	b->ioas = ioas_new(&b->evs);
	b->domain = domain_new(&config, &b->evs);
	b->dev = dma_dev_new(0x100, &b->evs);
	must(b->cache && b->owner && b->ioas && b->domain && b->dev, "malloc");
	must(backing_get_fd(b->cache, fd, &s.backing) == 0, "backing");
	must(pages_new(0x10000000, &s, 1, b->owner, &b->pages) == 0, "pages");
	pages_configure(b->pages, true, MM_ACCOUNT_PROCESS, false);
	must(ioas_add_domain(b->ioas, b->domain) == 0, "domain");
	s.len = PF_PAGE_SIZE;
	must(pages_new(0x20000000, &s, 1, b->owner, &b->single) == 0, "pages");
	backing_put(s.backing);
	close(fd);
	dma_dev_attach(b->dev, b->domain);
	dma_dev_set_master(b->dev, true);
}

static uint64_t area_iova(uint64_t i)
{
	return (i + 1) * 2 * PF_PAGE_SIZE; /* every second page, so that nothing is contiguous */
}

static void set_areas(struct bench *b, unsigned int n)
{
	uint64_t bytes;

	ioas_unmap(b->ioas, 0, UINT64_MAX, &bytes);
	b->areas = n;
	b->order = realloc(b->order, n * sizeof(*b->order));
	must(b->order != NULL, "malloc");
	for (uint64_t i = 0; i < n; i++)
		b->order[i] = area_iova(i);
	srandom(1);
	for (unsigned int i = n - 1; i > 0; i--) {
		unsigned int k = random() % (i + 1);
		uint64_t x = b->order[i];

		b->order[i] = b->order[k];
		b->order[k] = x;
	}
	for (unsigned int i = 0; i < n; i++) {
		int err = ioas_map(b->ioas, IOVA(b->order[i]), PF_PAGE_SIZE, b->pages, i % FILE_PAGES * PF_PAGE_SIZE,
				   IOMMU_READ | IOMMU_WRITE);

		must(!err, "ioas_map");
	}
}

static void bench_close(struct bench *b)
{
	dma_dev_free(b->dev);
	ioas_remove_domain(b->ioas, b->domain);
	domain_free(b->domain);
	ioas_free(b->ioas);
	pages_put(b->pages);
	pages_put(b->single);
	mm_owner_put(b->owner);
	backing_cache_free(b->cache);
	free(b->order);
}

/* ---- what is measured ---- */

static void translate(struct bench *b, uint64_t iova)
{
	struct iovec iov;
	unsigned int n = 1;

	must(dma_iov(b->dev, IOVA(iova), 64, false, &iov, &n, NULL) == 0, "dma_iov");
}

static void run_hit(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		translate(b, b->order[0]);
}

/* 64 pages in turn, which the IOTLB holds all at once. */
static void run_hit_64(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		translate(b, area_iova(i % MIN(64U, b->areas)));
}

/* Areas in sequence, none of which is in the IOTLB: there are more of them than it has slots. */
static void run_miss_next(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		translate(b, area_iova(i % b->areas));
}

/* Random areas; with few of them the IOTLB is emptied before each. */
static void run_miss(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		translate(b, b->order[i % b->areas]);
}

static void run_flush_miss(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		dma_dev_attach(b->dev, b->domain);
		translate(b, b->order[i % b->areas]);
	}
}

static void run_flush(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		dma_dev_attach(b->dev, b->domain);
}

static void run_map_unmap(struct bench *b, unsigned int n)
{
	uint64_t bytes;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t iova = area_iova(i * 7919UL % b->areas) + PF_PAGE_SIZE;
		int err = ioas_map(b->ioas, IOVA(iova), PF_PAGE_SIZE, b->single, 0, IOMMU_READ);

		must(!err, "ioas_map");
		must(!ioas_unmap(b->ioas, iova, iova + PF_PAGE_SIZE - 1, &bytes), "ioas_unmap");
	}
}

static size_t copy_len;
static char copy_buf[PF_PAGE_SIZE] __attribute__((aligned(PF_PAGE_SIZE)));
static void *(*volatile copy_bare)(void *, const void *, size_t) = memcpy;

static void run_dma_read(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		dma_read(b->dev, IOVA(area_iova(i % 16)), copy_buf, copy_len, NULL);
}

static void run_dma_write(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		dma_write(b->dev, IOVA(area_iova(i % 16)), copy_buf, copy_len, NULL);
}

static void run_memcpy(struct bench *b, unsigned int n)
{
	uint64_t contig;
	char *base = pages_ptr(b->pages, 0, &contig);

	for (unsigned int i = 0; i < n; i++)
		copy_bare(copy_buf, base + i % 16 * PF_PAGE_SIZE, copy_len);
}

static void figure(const char *what, unsigned int areas, double ns)
{
	printf("%-28s %7u areas %9.1f ns\n", what, areas, ns);
}

int main(void)
{
	static struct bench b;

	must(guard_install() == 0, "sigaction");
	bench_open(&b);
	for (unsigned int n = 1; n <= 1000000; n *= 10) {
		set_areas(&b, n);
		figure("translate, hit, one page", n, median(run_hit, &b, LOOPS));
		figure("translate, hit, 64 pages", n, median(run_hit_64, &b, LOOPS));
		if (n <= 100) {
			figure("translate, miss", n,
			       median(run_flush_miss, &b, LOOPS / 10) - median(run_flush, &b, LOOPS / 10));
		} else {
			figure("translate, miss, sequential", n, median(run_miss_next, &b, LOOPS));
			figure("translate, miss, random", n, median(run_miss, &b, LOOPS));
		}
		figure("ioas_map + ioas_unmap, 4 KiB", n, median(run_map_unmap, &b, LOOPS / 10));
	}
	set_areas(&b, 1000);
	for (copy_len = 64; copy_len <= PF_PAGE_SIZE; copy_len *= 64) {
		const char *unit = copy_len == 64 ? "64 B" : "4 KiB";
		char name[64];

		snprintf(name, sizeof(name), "memcpy, %s", unit);
		figure(name, b.areas, median(run_memcpy, &b, LOOPS));
		snprintf(name, sizeof(name), "dma_read, %s", unit);
		figure(name, b.areas, median(run_dma_read, &b, LOOPS));
		snprintf(name, sizeof(name), "dma_write, %s", unit);
		figure(name, b.areas, median(run_dma_write, &b, LOOPS));
	}
	bench_close(&b);
	return 0;
}
