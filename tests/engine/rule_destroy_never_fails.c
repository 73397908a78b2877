/* SPDX-License-Identifier: BSD-3-Clause */
/* C5: destroy never fails and never allocates, in whatever order things go. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fail.h"
#include "fixture.h"
#include "iommu/access.h"

enum { AREAS = 500, FILES = 5 };

struct world {
	struct fixture f;
	struct ioas *second;
	struct domain *domain;
	struct dma_dev *dev;
	struct pages *p[FILES];
};

static void world_open(struct world *w)
{
	fixture_open(&w->f);
	w->second = ioas_new(&w->f.evs);
	w->dev = dma_dev_new(0x200, &w->f.evs);
	assert_non_null(w->second);
	w->domain = domain_plain(&w->f);
	assert_int_equal(ioas_add_domain(w->second, w->domain), 0);
	assert_non_null(w->dev);
	dma_dev_attach(w->dev, w->domain);
	dma_dev_set_master(w->dev, true);
	for (int i = 0; i < FILES; i++) {
		int fd = memfd_pages(10);

		w->p[i] = pages_memfd(&w->f, fd, 10, true);
		close(fd);
	}
	for (uint64_t i = 0; i < AREAS; i++) {
		uint64_t iova = (i * 7919 % AREAS) * 4 * PG;
		char c;

		assert_int_equal(ioas_map(w->f.ioas, IOVA(iova), 2 * PG, w->p[i % FILES], i % 9 * PG, 3), 0);
		assert_int_equal(ioas_map(w->second, IOVA(iova), PG, w->p[i % FILES], i % 9 * PG, 3), 0);
		assert_int_equal(dma_read(w->dev, IOVA(iova), &c, 1, NULL), 0);
	}
	for (uint64_t i = 0; i < 10; i++) {
		assert_int_equal(ioas_reserve(w->f.ioas, (AREAS + i) * 4 * PG, (AREAS + i) * 4 * PG + 5, w), 0);
		assert_int_equal(ioas_reserve(w->second, (AREAS + i) * 4 * PG, (AREAS + i) * 4 * PG + 5, w), 0);
	}
}

/* Takes everything down with no memory, no mapping and no descriptor to be had; order picks one of several ways. */
static void world_close(struct world *w, unsigned int order)
{
	uint64_t bytes;

	fail_all(true);
	if (order & 1)
		for (int i = 0; i < FILES; i++)
			pages_put(w->p[i]);
	if (order & 2) /* under an attached device */
		ioas_remove_domain(w->second, w->domain);
	if (order & 2)
		ioas_free(w->second);
	if (order & 4)
		for (uint64_t i = 0; i < AREAS; i++)
			assert_int_equal(ioas_unmap(w->f.ioas, i * 4 * PG, i * 4 * PG + 2 * PG - 1, &bytes), 0);
	if (order & 8)
		dma_dev_free(w->dev);
	if (!(order & 2))
		ioas_remove_domain(w->second, w->domain);
	if (!(order & 2))
		ioas_free(w->second);
	if (!(order & 8))
		dma_dev_free(w->dev);
	domain_free(w->domain);
	if (!(order & 1))
		for (int i = 0; i < FILES; i++)
			pages_put(w->p[i]);
	dma_dev_free(w->f.dev);
	ioas_remove_domain(w->f.ioas, w->f.domain);
	domain_free(w->f.domain);
	ioas_free(w->f.ioas);
	assert_int_equal(mm_charged(w->f.owner), 0);
	mm_owner_put(w->f.owner);
	backing_cache_free(w->f.cache);
	assert_int_equal(fail_attempts(), 0);
	fail_all(false);
}

static void test_every_order(void **state)
{
	unsigned int fds = fds_open();
	struct world w;

	for (unsigned int order = 0; order < 16; order++) {
		world_open(&w);
		world_close(&w, order);
		assert_int_equal(maps_of("memfd:engine"), 0);
		assert_int_equal(fds_open(), fds);
	}
}

/* The same when the files under it are empty by now, and when nothing was ever there. */
static void test_truncated_and_empty(void **state)
{
	struct fixture f;
	struct pages *p;
	int fd;

	fixture_open(&f);
	fd = memfd_pages(3);
	p = pages_memfd(&f, fd, 3, true);
	assert_int_equal(ioas_map(f.ioas, IOVA(0), 3 * PG, p, 0, 3), 0);
	pages_put(p);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	fixture_close(&f);

	fixture_open(&f);
	assert_int_equal(unmap_all(f.ioas), 0);
	fixture_close(&f);
	ioas_free(NULL);
	domain_free(NULL);
	access_free(NULL);
	mm_user_put(NULL);
	dma_dev_free(NULL);
	pages_put(NULL);
	backing_put(NULL);
	mm_owner_put(NULL);
	backing_cache_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_order),
	    cmocka_unit_test(test_truncated_and_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
