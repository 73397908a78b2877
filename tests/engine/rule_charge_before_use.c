/* SPDX-License-Identifier: BSD-3-Clause */
/* B1: locked memory is charged before the first page is reachable; the L+1st page fails; the last close leaves 0. */
#include <errno.h>
#include <unistd.h>
#include "fixture.h"

/* At the moment of the charge the device cannot get there yet; when the map is announced it has been charged. */
static void order_hook(struct fixture *f, const struct event *ev)
{
	char c;

	if (ev->type == EVENT_PIN) {
		assert_true(mm_charged(f->owner) >= ev->value);
		assert_int_equal(dma_read(f->dev, IOVA(0), &c, 1, NULL), -EFAULT);
	} else if (ev->type == EVENT_MAP) {
		assert_int_equal(f->seen[EVENT_PIN], 1);
		assert_int_equal(mm_charged(f->owner), ev->len / PG);
		assert_int_equal(dma_read(f->dev, IOVA(0), &c, 1, NULL), 0);
	}
}

static void test_order(void **state)
{
	struct fixture f;
	struct pages *p;
	int fd = memfd_pages(3);

	fixture_open(&f);
	p = pages_memfd(&f, fd, 3, true);
	close(fd);
	f.hook = order_hook;
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 3 * PG, p, 0, IOMMU_READ), 0);
	f.hook = NULL;
	assert_int_equal(f.seen[EVENT_MAP], 1);
	pages_put(p);
	fixture_close(&f);
}

static void test_limit(void **state)
{
	enum { L = 5 };
	struct fixture f;
	struct pages *p, *again;
	uint64_t bytes;
	int fd = memfd_pages(8);
	char c;

	fixture_open(&f);
	p = pages_memfd(&f, fd, 8, true);
	again = pages_memfd(&f, fd, 8, true);
	close(fd);
	f.limit = L * PG + (PG - 1); /* a part of a page buys none */
	for (uint64_t i = 0; i < L; i++)
		assert_int_equal(ioas_map(f.ioas, IOVA(i * PG), PG, p, i * PG, IOMMU_READ), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(L * PG), PG, p, L * PG, IOMMU_READ), -ENOMEM);
	assert_int_equal(mm_charged(f.owner), L);
	assert_int_equal(ioas_area_count(f.ioas), L);
	for (uint64_t i = 0; i < L; i++) {
		assert_int_equal(dma_read(f.dev, IOVA(i * PG), &c, 1, NULL), 0);
		assert_int_equal(c, 'a' + i);
	}
	/* The same page of the same pages costs nothing more; one of other pages does, as with type1. */
	assert_int_equal(ioas_map(f.ioas, IOVA(0x100000), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(mm_charged(f.owner), L);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x200000), PG, again, 0, IOMMU_READ), -ENOMEM);
	assert_int_equal(ioas_unmap(f.ioas, 0, PG - 1, &bytes), 0);
	assert_int_equal(mm_charged(f.owner), L);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x200000), PG, again, 0, IOMMU_READ), -ENOMEM);
	assert_int_equal(ioas_unmap(f.ioas, 0x100000, 0x100000 + PG - 1, &bytes), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(0x200000), PG, again, 0, IOMMU_READ), 0);
	assert_int_equal(mm_charged(f.owner), L);
	/* A client that lowers its limit below what it holds keeps it and gets no more. */
	f.limit = 0;
	assert_int_equal(ioas_unmap(f.ioas, PG, 2 * PG - 1, &bytes), 0);
	assert_int_equal(mm_charged(f.owner), L - 1);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), PG, p, 0, IOMMU_READ), -ENOMEM);
	assert_int_equal(mm_charged_peak(f.owner), L);
	pages_put(p);
	pages_put(again);
	fixture_close(&f);
}

/* A map that is refused for another reason costs nothing. */
static void test_refused_costs_nothing(void **state)
{
	struct fixture f;
	struct pages *p;
	int fd = memfd_pages(2);

	fixture_open(&f);
	p = pages_memfd(&f, fd, 2, false);
	close(fd);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 2 * PG, p, 0, IOMMU_WRITE), -EPERM);
	pages_configure(p, true, MM_ACCOUNT_USER, false);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 2 * PG, p, 0, IOMMU_WRITE), -EFAULT);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 3 * PG, p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(f.seen[EVENT_PIN], 0);
	assert_int_equal(mm_charged(f.owner), 0);
	pages_put(p);
	fixture_close(&f);
}

static void test_arithmetic(void **state)
{
	struct fixture f;
	unsigned int asked;

	fixture_open(&f);
	assert_int_equal(mm_charge(f.owner, MM_ACCOUNT_PROCESS, 7), 0);
	assert_int_equal(mm_charge(f.owner, MM_ACCOUNT_PROCESS, UINT64_MAX - 3), -ENOMEM); /* would wrap */
	f.limit = 10 * PG;
	assert_int_equal(mm_charge(f.owner, MM_ACCOUNT_PROCESS, UINT64_MAX - 3), -ENOMEM);
	assert_int_equal(mm_charge(f.owner, MM_ACCOUNT_PROCESS, 4), -ENOMEM);
	assert_int_equal(mm_charged(f.owner), 7);
	assert_int_equal(mm_charge(f.owner, MM_ACCOUNT_PROCESS, 0), 0);
	/* The process is gone: its last limit counts, and nobody is asked. */
	mm_owner_orphan(f.owner);
	asked = f.limit_asked;
	f.limit = UINT64_MAX;
	assert_int_equal(mm_charge(f.owner, MM_ACCOUNT_PROCESS, 4), -ENOMEM);
	assert_int_equal(mm_charge(f.owner, MM_ACCOUNT_PROCESS, 3), 0);
	assert_int_equal(f.limit_asked, asked);
	mm_uncharge(f.owner, MM_ACCOUNT_PROCESS, 10);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_refused_costs_nothing),
	    cmocka_unit_test(test_arithmetic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
