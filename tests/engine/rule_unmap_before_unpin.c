/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A3: first no translation leads to the page, IOTLBs included, then the pin goes. The event stream is the witness: at
 * the moment of every UNPIN a device with a warm IOTLB tries to get through.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"

#define FIRST 0x40000UL

static struct {
	struct dma_dev *dev[3];
	unsigned int unpins, leaks;
	uint64_t reached[64]; /* IOVAs that must not answer at the next UNPIN */
	unsigned int n;
} spy;

static void spy_hook(struct fixture *f, const struct event *ev)
{
	struct iovec iov[2];
	unsigned int n = 2;
	char c;

	if (ev->type != EVENT_UNPIN && ev->type != EVENT_UNMAP)
		return;
	spy.unpins += ev->type == EVENT_UNPIN;
	for (unsigned int d = 0; d < 3; d++) {
		for (unsigned int i = 0; i < spy.n; i++) {
			if (ev->type == EVENT_UNMAP &&
			    (spy.reached[i] < ev->addr || spy.reached[i] >= ev->addr + ev->len))
				continue;
			spy.leaks += dma_read(spy.dev[d], IOVA(spy.reached[i]), &c, 1, NULL) == 0;
			spy.leaks += dma_write(spy.dev[d], IOVA(spy.reached[i]), &c, 1, NULL) == 0;
			spy.leaks += dma_iov(spy.dev[d], IOVA(spy.reached[i]), 1, true, iov, &n, NULL) == 0;
		}
	}
}

static void spy_open(struct fixture *f)
{
	fixture_open(f);
	spy.dev[0] = f->dev;
	spy.unpins = spy.leaks = spy.n = 0;
	for (int i = 1; i < 3; i++) {
		spy.dev[i] = dma_dev_new(0x100 + i, &f->evs);
		assert_non_null(spy.dev[i]);
		dma_dev_attach(spy.dev[i], f->domain);
		dma_dev_set_master(spy.dev[i], true);
	}
}

static void spy_close(struct fixture *f)
{
	f->hook = NULL;
	dma_dev_free(spy.dev[1]);
	dma_dev_free(spy.dev[2]);
	fixture_close(f);
}

/* All devices use all pages of [FIRST, FIRST + n pages), so that every IOTLB knows them. */
static void warm(unsigned int n)
{
	char c;

	for (unsigned int d = 0; d < 3; d++)
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(dma_read(spy.dev[d], IOVA(FIRST + i * PG), &c, 1, NULL), 0);
}

/* One area of n pages, then its unmap: no page of it answers while it is let go. */
static void run_one_area(unsigned int n)
{
	int fd = memfd_create("engine", 0);
	struct fixture f;
	struct pages *p;
	uint64_t bytes;

	spy_open(&f);
	assert_int_equal(ftruncate(fd, n * PG), 0);
	p = pages_memfd(&f, fd, n, true);
	close(fd);
	assert_int_equal(ioas_map(f.ioas, IOVA(FIRST), n * PG, p, 0, IOMMU_READ | IOMMU_WRITE), 0);
	pages_put(p);
	warm(n);
	for (spy.n = 0; spy.n < 64; spy.n++)
		spy.reached[spy.n] = FIRST + (n - 1) * PG * spy.n / 63;
	f.hook = spy_hook;
	assert_int_equal(ioas_unmap(f.ioas, FIRST, FIRST + n * PG - 1, &bytes), 0);
	assert_int_equal(spy.unpins, 1);
	assert_int_equal(spy.leaks, 0);
	spy_close(&f);
}

/* Sizes around the number of slots of the IOTLB, where flushing few slots turns into flushing all. */
static void test_unmap(void **state)
{
	const unsigned int n[] = {1, 2, 3, 64, 255, 256, 257, 511, 1000};

	for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++)
		run_one_area(n[i]);
}

/* Many areas in one call: when a pin goes, its area is dead, whatever becomes of the others. */
static void run_many_areas(bool all)
{
	enum { N = 40 };
	int fd = memfd_pages(N);
	struct fixture f;
	struct pages *p;
	uint64_t bytes;

	spy_open(&f);
	p = pages_memfd(&f, fd, N, true);
	close(fd);
	for (uint64_t i = 0; i < N; i++) {
		assert_int_equal(ioas_map(f.ioas, IOVA(FIRST + i * PG), PG, p, i * PG, IOMMU_READ | IOMMU_WRITE), 0);
		spy.reached[spy.n++] = FIRST + i * PG;
	}
	pages_put(p);
	warm(N);
	f.hook = spy_hook;
	/* UNMAP comes before the UNPIN of the same area, and is asked about that area alone. */
	f.listener.mask = BIT(EVENT_UNMAP);
	events_unlisten(&f.evs, &f.listener);
	events_listen(&f.evs, &f.listener);
	if (all)
		bytes = unmap_all(f.ioas);
	else
		assert_int_equal(ioas_unmap(f.ioas, FIRST, FIRST + N * PG - 1, &bytes), 0);
	assert_int_equal(bytes, N * PG);
	assert_int_equal(f.seen[EVENT_UNMAP], N);
	assert_int_equal(spy.leaks, 0);
	spy_close(&f);
}

static void test_unmap_many(void **state)
{
	run_many_areas(false);
	run_many_areas(true);
}

/* Attach elsewhere, detach, bus master off: the warm IOTLB is worth nothing. */
static void test_device_leaves(void **state)
{
	struct fixture f;
	struct domain *other;
	struct pages *p;
	int fd = memfd_pages(1);
	char c;

	spy_open(&f);
	other = domain_plain(&f);
	p = pages_memfd(&f, fd, 1, true);
	close(fd);
	assert_int_equal(ioas_map(f.ioas, IOVA(FIRST), PG, p, 0, IOMMU_READ | IOMMU_WRITE), 0);
	pages_put(p);
	warm(1);
	dma_dev_attach(spy.dev[0], other);
	dma_dev_detach(spy.dev[1]);
	dma_dev_set_master(spy.dev[2], false);
	assert_int_equal(dma_read(spy.dev[0], IOVA(FIRST), &c, 1, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_UNMAPPED);
	assert_int_equal(dma_read(spy.dev[1], IOVA(FIRST), &c, 1, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_DETACHED);
	assert_int_equal(dma_read(spy.dev[2], IOVA(FIRST), &c, 1, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_MASTER);
	/* And back. */
	dma_dev_set_master(spy.dev[2], true);
	assert_int_equal(dma_read(spy.dev[2], IOVA(FIRST), &c, 1, NULL), 0);
	dma_dev_detach(spy.dev[0]);
	domain_free(other);
	/* A domain that leaves its space takes nothing along. */
	ioas_remove_domain(f.ioas, f.domain);
	assert_int_equal(dma_read(spy.dev[2], IOVA(FIRST), &c, 1, NULL), -EFAULT);
	assert_int_equal(f.last[EVENT_FAULT].error, DMA_FAULT_UNMAPPED);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	assert_int_equal(dma_read(spy.dev[2], IOVA(FIRST), &c, 1, NULL), 0);
	spy_close(&f);
}

/* The same IOVA with a new page: nobody sees the old one. */
static void test_remap(void **state)
{
	struct fixture f;
	struct pages *p;
	uint64_t bytes;
	int fd = memfd_pages(2);
	char c;

	spy_open(&f);
	p = pages_memfd(&f, fd, 2, true);
	close(fd);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ioas_map(f.ioas, IOVA(FIRST), PG, p, i % 2 * PG, IOMMU_READ), 0);
		for (int d = 0; d < 3; d++) {
			assert_int_equal(dma_read(spy.dev[d], IOVA(FIRST), &c, 1, NULL), 0);
			assert_int_equal(c, 'a' + i % 2);
		}
		assert_int_equal(ioas_unmap(f.ioas, FIRST, FIRST + (PG - 1), &bytes), 0);
	}
	pages_put(p);
	spy_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_unmap),
	    cmocka_unit_test(test_unmap_many),
	    cmocka_unit_test(test_device_leaves),
	    cmocka_unit_test(test_remap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
