/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation of a scenario fails in turn. Each time: an honest error, nothing changed, nothing left over. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/guard.h"
#include "fail.h"
#include "fixture.h"

enum { FILES = 3 };

static uint64_t unlimited(void *ctx)
{
	return UINT64_MAX;
}

struct world {
	struct events evs;
	struct backing_cache *cache;
	struct mm_owner *owner;
	struct ioas *ioas;
	struct dma_dev *dev;
	int fd[FILES];
};

static int scenario_pages(struct world *w, struct pages **p)
{
	struct page_slice s[FILES] = {0};
	int err = 0;

	for (int i = 0; i < FILES && !err; i++) {
		s[i].len = 2 * PG;
		s[i].writable = true;
		err = backing_get_fd(w->cache, w->fd[i], &s[i].backing);
	}
	if (!err)
		err = pages_new(0x1000, s, FILES, p);
	for (int i = 0; i < FILES; i++)
		backing_put(s[i].backing);
	return err;
}

static int scenario_map(struct world *w)
{
	struct pages *p = NULL;
	int err = scenario_pages(w, &p);

	for (uint64_t i = 0; i < 3 && !err; i++) {
		err = ioas_map(w->ioas, IOVA(i * 0x10000), 6 * PG, p, 0, 3, w->owner);
		if (err)
			assert_int_equal(mm_charged(w->owner), i * 6);
	}
	if (!err)
		err = ioas_reserve(w->ioas, 0x100000, 0x1fffff);
	pages_put(p);
	return err;
}

static int scenario(struct world *w)
{
	static const struct mm_owner_ops ops = {.limit = unlimited};
	uint64_t bytes, expected;
	int err = -ENOMEM;
	char c;

	events_init(&w->evs);
	w->cache = backing_cache_new(1 << 20, 8);
	w->owner = mm_owner_new(&ops, NULL, 1, &w->evs);
	w->ioas = ioas_new(&w->evs);
	w->dev = dma_dev_new(8, &w->evs);
	if (w->cache && w->owner && w->ioas && w->dev) {
		dma_dev_attach(w->dev, w->ioas);
		dma_dev_set_master(w->dev, true);
		err = scenario_map(w);
		expected = ioas_area_count(w->ioas) * 6 * PG;
		if (expected)
			assert_int_equal(dma_read(w->dev, IOVA(3 * PG), &c, 1, NULL), 0);
		if (expected)
			assert_int_equal(c, 'b');
		ioas_unmap_all(w->ioas, &bytes);
		assert_int_equal(bytes, expected);
		assert_int_equal(mm_charged(w->owner), 0);
	}
	dma_dev_free(w->dev);
	ioas_free(w->ioas);
	mm_owner_put(w->owner);
	backing_cache_free(w->cache);
	return err;
}

static void test_every_allocation(void **state)
{
	struct world w = {0};
	unsigned int fds, n;

	assert_int_equal(guard_install(), 0);
	for (int i = 0; i < FILES; i++)
		w.fd[i] = memfd_pages(2);
	fds = fds_open();
	for (n = 1; n < 200; n++) {
		int err;

		fail_nth(n);
		err = scenario(&w);
		if (!fail_fired()) {
			assert_int_equal(err, 0);
			break;
		}
		fail_nth(0);
		/* A file that cannot be opened anew is duplicated: that one failure is made good. */
		assert_true(err == -ENOMEM || err == -EMFILE || err == 0);
		assert_int_equal(maps_of("memfd:engine"), 0);
		assert_int_equal(fds_open(), fds);
	}
	/* 4 objects, 3 backings with a file, a map and a mapping each, the pages, 3 areas, 1 reservation. */
	assert_int_equal(n - 1, 4 + 3 * 4 + 1 + 3 + 1);
	for (int i = 0; i < FILES; i++)
		close(w.fd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
