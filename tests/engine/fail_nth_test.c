/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every allocation of every operation fails in turn. Each time: an honest error, and all as it was before; then the
 * same without a failure works.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/guard.h"
#include "fail.h"
#include "fixture.h"
#include "iommu/access.h"
#include "iommu/walk.h"

enum { FILES = 3 };

#define BASE  0x100000UL
#define BIG   0x100000000UL
#define LARGE (4UL << 30) /* in small pages it needs more tables than a domain keeps at hand */

/*
 * The first space has two domains and large pages off; the second has no domain. Both have an area of every pages
 * object, at BASE and 64 KiB apart; an access is in each.
 */
struct world {
	struct fixture f;
	struct domain *second, *third;
	struct ioas *lazy;
	struct access *access[2];
	struct pages *p[2], *large;
	int fd[FILES];
	unsigned int fds;
};

/* What must not change. */
struct picture {
	uint64_t charged, alignment[2];
	unsigned int areas[2], fds, maps;
	bool third;
};

static struct pages *pages_of_files(struct world *w, int *err)
{
	struct page_slice s[FILES] = {0};
	struct pages *p = NULL;

	*err = 0;
	for (int i = 0; i < FILES && !*err; i++) {
		s[i].len = 2 * PG;
		s[i].writable = true;
		*err = backing_get_fd(w->f.cache, w->fd[i], &s[i].backing);
	}
	if (!*err)
		*err = pages_new(0x10000, s, FILES, w->f.owner, &p);
	if (!*err)
		pages_configure(p, true, MM_ACCOUNT_USER, false);
	for (int i = 0; i < FILES; i++)
		backing_put(s[i].backing);
	return p;
}

static void world_open(struct world *w)
{
	static const struct access_ops ops = {.pins = true};
	struct page_slice s = {.len = LARGE, .writable = true};
	int fd = memfd_create("large", MFD_CLOEXEC), err;

	fixture_open(&w->f);
	for (int i = 0; i < FILES; i++)
		w->fd[i] = memfd_pages(2);
	w->second = domain_plain(&w->f);
	w->third = domain_plain(&w->f);
	w->lazy = ioas_new(&w->f.evs);
	assert_non_null(w->lazy);
	assert_int_equal(ioas_set_large_pages(w->f.ioas, false), 0);
	assert_int_equal(ioas_set_large_pages(w->lazy, false), 0);
	assert_int_equal(ioas_add_domain(w->f.ioas, w->second), 0);
	for (uint64_t i = 0; i < 2; i++) {
		w->p[i] = pages_of_files(w, &err);
		assert_int_equal(err, 0);
		assert_int_equal(ioas_map(w->f.ioas, IOVA(BASE + i * 0x10000), 6 * PG, w->p[i], 0, 3), 0);
		assert_int_equal(ioas_map(w->lazy, IOVA(BASE + i * 6 * PG), 6 * PG, w->p[i], 0, 3), 0);
		w->access[i] = access_new(&ops, NULL);
		assert_non_null(w->access[i]);
		assert_int_equal(access_attach(w->access[i], i ? w->lazy : w->f.ioas), 0);
	}
	assert_int_equal(ftruncate(fd, LARGE), 0);
	assert_int_equal(backing_get_fd(w->f.cache, fd, &s.backing), 0);
	assert_int_equal(pages_new(0x7f0000000000, &s, 1, w->f.owner, &w->large), 0);
	pages_configure(w->large, true, MM_ACCOUNT_USER, false);
	backing_put(s.backing);
	close(fd);
	w->fds = fds_open();
}

static void world_close(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		access_free(w->access[i]);
		pages_put(w->p[i]);
	}
	pages_put(w->large);
	unmap_all(w->f.ioas);
	ioas_remove_domain(w->f.ioas, w->second);
	if (domain_ioas(w->third))
		ioas_remove_domain(domain_ioas(w->third), w->third);
	ioas_free(w->lazy);
	domain_free(w->second);
	domain_free(w->third);
	for (int i = 0; i < FILES; i++)
		close(w->fd[i]);
	fixture_close(&w->f);
}

static void picture(struct world *w, struct picture *p)
{
	memset(p, 0, sizeof(*p)); /* the padding, too */
	p->charged = mm_charged(w->f.owner);
	p->alignment[0] = ioas_alignment(w->f.ioas);
	p->alignment[1] = ioas_alignment(w->lazy);
	p->areas[0] = ioas_area_count(w->f.ioas);
	p->areas[1] = ioas_area_count(w->lazy);
	p->fds = fds_open();
	p->maps = maps_of("memfd:");
	p->third = domain_ioas(w->third);
}

static void check_works(struct world *w, const struct picture *before)
{
	struct domain_leaf l;
	struct picture now;
	char c = 0;

	picture(w, &now);
	assert_memory_equal(&now, before, sizeof(now));
	assert_int_equal(dma_read(w->f.dev, IOVA(BASE + 0x10000 + 3 * PG), &c, 1, NULL), 0);
	assert_int_equal(c, 'b');
	assert_int_equal(access_rw(w->access[1], IOVA(BASE + 7 * PG), &c, 1, 0), 0);
	assert_int_equal(c, 'b');
	/* Nothing half done stands in a table. */
	assert_false(domain_walk(w->f.domain, BIG, &l));
	assert_false(domain_walk(w->second, BIG, &l));
	assert_false(domain_walk(w->third, BASE, &l));
	assert_false(domain_walk(w->f.domain, 2 * BIG, &l));
}

/* ---- the operations ---- */

static int do_pages(struct world *w)
{
	int err;

	pages_put(pages_of_files(w, &err));
	return err;
}

static int do_map(struct world *w)
{
	return ioas_map(w->f.ioas, IOVA(2 * BASE), 2 * PG, w->p[0], PG, 3);
}

static int do_map_large(struct world *w)
{
	return ioas_map(w->f.ioas, IOVA(BIG), LARGE, w->large, 0, 3);
}

static int do_copy(struct world *w)
{
	iova_t at;

	return ioas_copy(w->f.ioas, &at, true, w->lazy, IOVA(BASE + PG), 10 * PG, 3);
}

static int do_add_domain(struct world *w)
{
	return ioas_add_domain(w->lazy, w->third);
}

/* Its areas pin; and the last of them needs memory for its tables. */
static int do_add_domain_large(struct world *w)
{
	struct ioas *io = ioas_new(&w->f.evs);
	uint64_t charged = mm_charged(w->f.owner);
	int err = -ENOMEM;

	if (!io)
		return err;
	err = ioas_set_large_pages(io, false);
	assert_int_equal(err, 0);
	err = ioas_map(io, IOVA(BASE), 6 * PG, w->p[0], 0, 3);
	if (!err)
		err = ioas_map(io, IOVA(BIG), LARGE, w->large, 0, 3);
	if (!err)
		err = ioas_add_domain(io, w->third);
	if (!err)
		ioas_remove_domain(io, w->third);
	assert_int_equal(mm_charged(w->f.owner), charged);
	ioas_free(io);
	return err;
}

static int do_cut(struct world *w)
{
	uint64_t at = BASE + 2 * PG;

	return ioas_cut(w->f.ioas, &at, 1);
}

static int do_reserve(struct world *w)
{
	return ioas_reserve(w->lazy, 0x10000000, 0x1fffffff, w);
}

static int do_allow(struct world *w)
{
	const struct iova_range r[] = {{0x20000000, 0x2fffffff}, {0x40000000, 0x4fffffff}};

	return ioas_allow(w->lazy, r, 2);
}

static int do_pin(struct world *w)
{
	int err = access_pin(w->access[1], IOVA(BASE + 4 * PG), 4 * PG, NULL, ACCESS_WRITE);

	if (!err)
		access_unpin(w->access[1], IOVA(BASE + 4 * PG), 4 * PG);
	return err;
}

static int do_objects(struct world *w)
{
	static const struct access_ops ops;
	const struct walk_config walk = {.format = WALK_X86, .input_bits = 48, .output_bits = 48, .granule = 12};
	struct domain *d = domain_new(domain_config(w->second), &w->f.evs);
	struct domain *nested = d ? domain_new_nested(d, &walk) : NULL;
	struct access *a = access_new(&ops, w);
	struct ioas *io = ioas_new(&w->f.evs);
	struct dma_dev *dev = dma_dev_new(5, &w->f.evs);
	struct mm_owner *o = mm_owner_new(&(struct mm_owner_ops){0}, NULL, NULL, 1, &w->f.evs);
	int err = d && nested && a && io && dev && o ? 0 : -ENOMEM;

	dma_dev_free(dev);
	ioas_free(io);
	access_free(a);
	domain_free(nested);
	domain_free(d);
	mm_owner_put(o);
	return err;
}

/* Fails the first, the second, ... allocation of op until none is left. Return: how many there are. */
static unsigned int run(int (*op)(struct world *w))
{
	struct picture before;
	struct world w = {0};
	unsigned int n;
	int err;

	world_open(&w);
	picture(&w, &before);
	for (n = 1; n < 200; n++) {
		fail_nth(n);
		err = op(&w);
		if (!fail_fired())
			break;
		fail_nth(0);
		/* A file that cannot be opened anew is duplicated: that one failure is made good. */
		assert_true(err == -ENOMEM || err == -EMFILE || (op == do_pages && err == 0));
		check_works(&w, &before);
	}
	fail_nth(0);
	assert_int_equal(err, 0);
	world_close(&w);
	return n - 1;
}

static void test_every_allocation(void **state)
{
	assert_int_equal(guard_install(), 0);
	/* Each file is known already; the pages remain. */
	assert_int_equal(run(do_pages), 1);
	assert_int_equal(run(do_map), 1);
	/* The area; and more tables for each domain. */
	assert_int_equal(run(do_map_large), 1 + 2);
	/* Two areas. */
	assert_int_equal(run(do_copy), 2);
	assert_int_equal(run(do_add_domain), 0);
	/* The space, two areas, tables. */
	assert_int_equal(run(do_add_domain_large), 3 + 1);
	assert_int_equal(run(do_cut), 2);
	assert_int_equal(run(do_reserve), 1);
	assert_int_equal(run(do_allow), 1);
	assert_int_equal(run(do_pin), 1);
	assert_true(run(do_objects) >= 8);
}

/* The same from nothing: a client's whole life, with every allocation failing once. */
struct life {
	struct events evs;
	struct backing_cache *cache;
	struct mm_owner *owner;
	struct ioas *ioas;
	struct domain *domain;
	struct dma_dev *dev;
	int fd[FILES];
};

static uint64_t unlimited(void *ctx)
{
	return UINT64_MAX;
}

static int life_map(struct life *l)
{
	struct page_slice s[FILES] = {0};
	struct pages *p = NULL;
	int err = 0;

	for (int i = 0; i < FILES && !err; i++) {
		s[i].len = 2 * PG;
		s[i].writable = true;
		err = backing_get_fd(l->cache, l->fd[i], &s[i].backing);
	}
	if (!err)
		err = pages_new(0x1000, s, FILES, l->owner, &p);
	for (int i = 0; i < FILES; i++)
		backing_put(s[i].backing);
	if (!err)
		err = ioas_map(l->ioas, IOVA(0), 6 * PG, p, 0, IOMMU_READ);
	pages_put(p);
	return err;
}

static int life(struct life *l)
{
	static const struct mm_owner_ops ops = {.limit = unlimited};
	const struct domain_config config = {.last = UINT64_MAX, .pgsizes = PG};
	int err = -ENOMEM;
	char c;

	events_init(&l->evs);
	l->cache = backing_cache_new(1 << 20, 8);
	l->owner = mm_owner_new(&ops, NULL, NULL, 1, &l->evs);
	l->ioas = ioas_new(&l->evs);
	l->domain = domain_new(&config, &l->evs);
	l->dev = dma_dev_new(8, &l->evs);
	if (l->cache && l->owner && l->ioas && l->domain && l->dev) {
		dma_dev_attach(l->dev, l->domain);
		dma_dev_set_master(l->dev, true);
		err = ioas_add_domain(l->ioas, l->domain);
		if (!err)
			err = life_map(l);
		if (!err)
			assert_int_equal(dma_read(l->dev, IOVA(3 * PG), &c, 1, NULL), 0);
		if (!err)
			assert_int_equal(c, 'b');
		unmap_all(l->ioas);
		assert_int_equal(mm_charged(l->owner), 0);
	}
	dma_dev_free(l->dev);
	if (l->domain && domain_ioas(l->domain))
		ioas_remove_domain(l->ioas, l->domain);
	domain_free(l->domain);
	ioas_free(l->ioas);
	mm_owner_put(l->owner);
	backing_cache_free(l->cache);
	return err;
}

static void test_from_nothing(void **state)
{
	struct life l = {0};
	unsigned int fds, n;

	for (int i = 0; i < FILES; i++)
		l.fd[i] = memfd_pages(2);
	fds = fds_open();
	for (n = 1; n < 200; n++) {
		int err;

		fail_nth(n);
		err = life(&l);
		if (!fail_fired()) {
			assert_int_equal(err, 0);
			break;
		}
		fail_nth(0);
		assert_true(err == -ENOMEM || err == -EMFILE || err == 0);
		assert_int_equal(maps_of("memfd:engine"), 0);
		assert_int_equal(fds_open(), fds);
	}
	/* Cache, owner and user, space, domain and table and its memory, requester; 3 backings with a file, a map and a
	 * mapping each; the pages, the area. */
	assert_true(n - 1 >= 7 + 3 * 4 + 2);
	for (int i = 0; i < FILES; i++)
		close(l.fd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_allocation),
	    cmocka_unit_test(test_from_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
