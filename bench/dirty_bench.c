/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * HWPT_GET_DIRTY_BITMAP for 1 TiB in leaves of 4 KiB: the handler of the ioctl with everything below it, called as the
 * broker calls it, with the caller's bitmap in a memfd. Beside it what memory allows: as many bytes of one bitmap ORed
 * into another. Medians of CPU time, in ms.
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
#include "iommu/iommu.h"
#include "iommufd/internal.h"

enum { RUNS = 7 };

#define TIB	     (1ULL << 40)
#define BITMAP_BYTES (TIB / PF_PAGE_SIZE / 8)
#define BASE	     TIB /* IOVA: above the window of interrupts */

static struct events evs;
static struct backing_cache *cache;
static struct mm_owner *owner;
static struct backing *data, *bitmap; /* the caller's memory */
static char *bits;		      /* the bitmap, as the caller sees it */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "dirty_bench: %s failed\n", what);
	exit(1);
}

static double cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, RUNS, sizeof(v[0]), by_value);
	return v[RUNS / 2];
}

/* ---- a caller: its addresses are ours ---- */

static int copy_in(struct ucall *c, uint64_t addr, void *dst, size_t len)
{
	memcpy(dst, (void *)addr, len);
	return 0;
}

static int copy_out(struct ucall *c, uint64_t addr, const void *src, size_t len)
{
	memcpy((void *)addr, src, len);
	return 0;
}

static int get_pages(struct ucall *c, uint64_t va, uint64_t len, enum ucall_pages how, struct pages **p)
{
	struct page_slice s = {.backing = bitmap, .offset = va - (uintptr_t)bits, .len = len, .writable = true};

	if (va < (uintptr_t)bits || va >= (uintptr_t)bits + BITMAP_BYTES) {
		s.backing = data;
		s.offset = va;
	}
	return pages_new(va, &s, 1, owner, p);
}

static const struct ucall_ops ops = {.copy_in = copy_in, .copy_out = copy_out, .get_pages = get_pages};

static void call(struct ufile *f, unsigned int cmd, void *arg)
{
	struct ucall c = {.ops = &ops, .owner = owner};
	long ret = f->ops->ioctl(f, &c, cmd, (uintptr_t)arg);

	if (ret) {
		fprintf(stderr, "dirty_bench: ioctl %#x: %ld\n", cmd, ret);
		exit(1);
	}
}

static uint64_t no_limit(void *ctx)
{
	return UINT64_MAX;
}

static struct backing *memory(uint64_t len, char **va)
{
	int fd = memfd_create("dirty_bench", MFD_CLOEXEC);
	struct backing *b;

	must(fd >= 0 && !ftruncate(fd, len), "memfd");
	must(!backing_get_fd(cache, fd, &b), "backing");
	if (va) {
		*va = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		must(*va != MAP_FAILED, "mmap");
	}
	close(fd);
	return b;
}

/* ---- the page table ---- */

/* 1 TiB of a file that has no pages, as leaves of 4 KiB. */
static struct domain *fill(struct ufile *f, uint32_t devid, uint32_t *hwpt)
{
	struct iommu_ioas_alloc a = {.size = sizeof(a)};
	struct iommu_option o = {.size = sizeof(o), .option_id = IOMMU_OPTION_HUGE_PAGES, .op = IOMMU_OPTION_OP_SET};
	struct iommu_ioas_map m = {
	    .size = sizeof(m),
	    .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
	    .length = TIB,
	    .iova = BASE,
	};
	struct iommu_hwpt_alloc h = {.size = sizeof(h), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING, .dev_id = devid};
	struct iommu_hwpt_set_dirty_tracking t = {.size = sizeof(t), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE};

	call(f, IOMMU_IOAS_ALLOC, &a);
	o.object_id = m.ioas_id = h.pt_id = a.out_ioas_id;
	call(f, IOMMU_OPTION, &o);
	call(f, IOMMU_HWPT_ALLOC, &h);
	call(f, IOMMU_IOAS_MAP, &m);
	t.hwpt_id = *hwpt = h.out_hwpt_id;
	call(f, IOMMU_HWPT_SET_DIRTY_TRACKING, &t);
	return container_of(iommufd_object_find(iommufd_ctx(f), h.out_hwpt_id, OBJECT_HWPT_PAGING), struct hwpt, obj)
	    ->d;
}

static void set_dirty(struct domain *d, uint64_t step, uint64_t len)
{
	for (uint64_t at = 0; step && at < TIB; at += step)
		domain_mark_dirty(d, BASE + at, len);
}

static uint64_t bits_set(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < BITMAP_BYTES / 8; i++)
		sum += __builtin_popcountll(((uint64_t *)bits)[i]);
	return sum;
}

static void row(struct ufile *f, uint32_t hwpt, struct domain *d, const char *name, uint64_t step, uint64_t len)
{
	struct iommu_hwpt_get_dirty_bitmap g = {.size = sizeof(g),
						.hwpt_id = hwpt,
						.iova = BASE,
						.length = TIB,
						.page_size = PF_PAGE_SIZE,
						.data = (uintptr_t)bits};
	double keep[RUNS], clear[RUNS];

	for (unsigned int i = 0; i < RUNS; i++) {
		double start;

		set_dirty(d, step, len);
		memset(bits, 0, BITMAP_BYTES);
		g.flags = IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR;
		start = cpu_now();
		call(f, IOMMU_HWPT_GET_DIRTY_BITMAP, &g);
		keep[i] = cpu_now() - start;
		g.flags = 0;
		start = cpu_now();
		call(f, IOMMU_HWPT_GET_DIRTY_BITMAP, &g);
		clear[i] = cpu_now() - start;
	}
	must(bits_set() == (step ? TIB / step * (len / PF_PAGE_SIZE) : 0), "the right bits");
	printf("HWPT_GET_DIRTY_BITMAP 1 TiB, %-6s keep %8.3f  clear %8.3f ms\n", name, median(keep), median(clear));
}

/* Of memory that is there. */
static double memory_bound(void)
{
	uint64_t *to = malloc(BITMAP_BYTES), *from = malloc(BITMAP_BYTES);
	double v[RUNS];

	must(to && from, "malloc");
	memset(to, 0, BITMAP_BYTES);
	memset(from, 1, BITMAP_BYTES);
	for (unsigned int i = 0; i < RUNS; i++) {
		double start = cpu_now();

		for (uint64_t w = 0; w < BITMAP_BYTES / 8; w++)
			to[w] |= from[w];
		__asm__ volatile("" : : "r"(to) : "memory");
		v[i] = cpu_now() - start;
	}
	free(to);
	free(from);
	return median(v);
}

int main(void)
{
	static const struct mm_owner_ops owner_ops = {.limit = no_limit};
	struct iommufd_device *dev;
	struct iommufd *m;
	struct dma_dev *dma;
	struct domain *d;
	struct ufile *f;
	uint32_t devid, hwpt;

	if (sysconf(_SC_AVPHYS_PAGES) < (long)((4ULL << 30) / PF_PAGE_SIZE)) {
		printf("skipped, needs 4 GiB of memory\n");
		return 0;
	}
	must(!guard_install(), "sigaction");
	events_init(&evs);
	cache = backing_cache_new(0, 0);
	owner = mm_owner_new(&owner_ops, NULL, NULL, 1, &evs);
	m = iommufd_new(&evs, cache, false);
	dma = dma_dev_new(0x100, &evs);
	must(cache && owner && m && dma, "malloc");
	data = memory(TIB, NULL);
	bitmap = memory(BITMAP_BYTES, &bits);
	must(!iommufd_open(m, &f), "iommufd_open");
	must(!iommufd_device_bind(iommufd_ctx(f), dma, dma, iommufd_unit(0), &dev, &devid), "bind");
	d = fill(f, devid, &hwpt);
	printf("OR of one bitmap of %u MiB into another: %.3f ms\n", (unsigned int)(BITMAP_BYTES >> 20),
	       memory_bound());
	row(f, hwpt, d, "clean", 0, 0);
	row(f, hwpt, d, "1/64", 64 * PF_PAGE_SIZE, PF_PAGE_SIZE);
	row(f, hwpt, d, "full", TIB, TIB);
	iommufd_device_unbind(dev);
	ufile_put(f);
	dma_dev_free(dma);
	iommufd_free(m);
	backing_put(bitmap);
	backing_put(data);
	mm_owner_put(owner);
	backing_cache_free(cache);
	return 0;
}
