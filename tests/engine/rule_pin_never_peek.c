/* SPDX-License-Identifier: BSD-3-Clause */
/* A1: a client page becomes reachable by DMA only through a pin. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"

static void expect_unreachable(struct fixture *f, uint64_t iova, int reason)
{
	char c = 'x';

	assert_int_equal(dma_read(f->dev, IOVA(iova), &c, 1, NULL), -EFAULT);
	assert_int_equal(f->last[EVENT_FAULT].error, reason);
	assert_int_equal(c, 'x');
	assert_int_equal(dma_write(f->dev, IOVA(iova), &c, 1, NULL), -EFAULT);
}

/* Knowing the file, and even holding pages of it, opens nothing; the pin that failed opens nothing either. */
static void test_unreachable_without_pin(void **state)
{
	struct fixture f;
	struct pages *p;
	uint64_t bytes;
	int fd;
	char c;

	fixture_open(&f);
	fd = memfd_pages(4);
	p = pages_memfd(&f, fd, 4, true);
	expect_unreachable(&f, 0, DMA_FAULT_UNMAPPED);

	f.limit = 3 * PG;
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 4 * PG, p, 0, IOMMU_READ | IOMMU_WRITE), -ENOMEM);
	for (unsigned int i = 0; i < 4; i++)
		expect_unreachable(&f, i * PG, DMA_FAULT_UNMAPPED);

	/* A pin of two pages opens these two and no neighbour, although the broker's mapping goes on. */
	assert_int_equal(ioas_map(f.ioas, IOVA(0x10000), 2 * PG, p, PG, IOMMU_READ | IOMMU_WRITE), 0);
	assert_int_equal(dma_read(f.dev, IOVA(0x10000), &c, 1, NULL), 0);
	assert_int_equal(c, 'b');
	expect_unreachable(&f, 0x10000 - 1, DMA_FAULT_UNMAPPED);
	expect_unreachable(&f, 0x10000 + 2 * PG, DMA_FAULT_UNMAPPED);

	/* The pages live on; the pin does not. */
	assert_int_equal(ioas_unmap(f.ioas, 0x10000, 0x10000 + 2 * PG - 1, &bytes), 0);
	assert_int_equal(pages_len(p), 4 * PG);
	expect_unreachable(&f, 0x10000, DMA_FAULT_UNMAPPED);
	pages_put(p);
	close(fd);
	fixture_close(&f);
}

/* The address that the client named is never looked at again, whatever stands there later. */
static void test_address_is_not_kept(void **state)
{
	char *va = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), c;
	int fd = memfd_pages(1), other = memfd_pages(2);
	struct page_slice s = {.len = PG, .writable = true};
	struct fixture f;
	struct pages *p;

	fixture_open(&f);
	assert_ptr_equal(mmap(va, PG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0), va);
	assert_int_equal(backing_get_fd(f.cache, fd, &s.backing), 0);
	assert_int_equal(pages_new((uintptr_t)va, &s, 1, f.owner, &p), 0);
	backing_put(s.backing);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, IOMMU_READ), 0);
	assert_ptr_equal(mmap(va, PG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, other, PG), va);
	assert_int_equal(*va, 'b');
	assert_int_equal(dma_read(f.dev, IOVA(0), &c, 1, NULL), 0);
	assert_int_equal(c, 'a');
	munmap(va, PG);
	assert_int_equal(dma_read(f.dev, IOVA(0), &c, 1, NULL), 0);
	pages_put(p);
	close(fd);
	close(other);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_unreachable_without_pin),
	    cmocka_unit_test(test_address_is_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
