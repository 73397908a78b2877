/* SPDX-License-Identifier: BSD-3-Clause */
/* CPU users of a space: what they may pin and copy, and how they are made to let go. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"
#include "iommu/access.h"

#define BASE 0x40000UL

/* An access that pins single pages, and lets go of them when told to, if it is good. */
struct user {
	struct access *a;
	struct fixture *f;
	bool stubborn;
	uint64_t pinned[8]; /* IOVAs of pages, 0: none */
	unsigned int told;
};

static void let_go(void *ctx, uint64_t iova, uint64_t len)
{
	struct user *u = ctx;
	char c;

	u->told++;
	for (int i = 0; i < 8; i++) {
		if (!u->pinned[i] || u->pinned[i] - iova >= len)
			continue;
		/* While it goes on, nobody comes in. */
		if (access_ioas(u->a)) {
			assert_int_equal(access_pin(u->a, IOVA(u->pinned[i]), PG, NULL, 0), -EINVAL);
			assert_int_equal(access_rw(u->a, IOVA(u->pinned[i]), &c, 1, 0), -EINVAL);
		} else {
			assert_int_equal(access_pin(u->a, IOVA(u->pinned[i]), PG, NULL, 0), -ENOENT);
		}
		if (u->stubborn)
			continue;
		access_unpin(u->a, IOVA(u->pinned[i]), PG);
		u->pinned[i] = 0;
	}
}

static const struct access_ops user_ops = {.pins = true, .unmap = let_go};

static void user_open(struct user *u, struct fixture *f)
{
	memset(u, 0, sizeof(*u));
	u->f = f;
	u->a = access_new(&user_ops, u);
	assert_non_null(u->a);
	assert_int_equal(access_attach(u->a, f->ioas), 0);
}

static void user_pin(struct user *u, int i, uint64_t iova)
{
	assert_int_equal(access_pin(u->a, IOVA(iova), PG, NULL, 0), 0);
	u->pinned[i] = iova;
}

static struct pages *open_lazy(struct fixture *f, unsigned int n)
{
	struct pages *p;
	int fd = memfd_pages(n);

	fixture_open(f);
	ioas_remove_domain(f->ioas, f->domain);
	p = pages_memfd(f, fd, n, true);
	close(fd);
	return p;
}

static void close_lazy(struct fixture *f, struct pages *p)
{
	pages_put(p);
	unmap_all(f->ioas);
	if (!domain_ioas(f->domain))
		assert_int_equal(ioas_add_domain(f->ioas, f->domain), 0);
	fixture_close(f);
}

static void test_pins(void **state)
{
	struct page_ref ref[5] = {0};
	struct fixture f;
	struct pages *p = open_lazy(&f, 6), *q;
	struct user u;
	int fd = memfd_pages(4);

	q = pages_memfd(&f, fd, 4, true);
	close(fd);
	user_open(&u, &f);
	/* Two areas that adjoin in IOVA but not in memory; then a gap; then one for reading only. */
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 2 * PG, p, PG, 3), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE + 2 * PG), 2 * PG, q, 2 * PG, 3), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE + 5 * PG), PG, p, 0, IOMMU_READ), 0);
	assert_int_equal(access_pin(u.a, IOVA(BASE + PG), 2 * PG + 1, ref, ACCESS_WRITE), 0);
	assert_int_equal(mm_charged(f.owner), 3);
	assert_int_equal(ref[0].backing, pages_ref(p, 2 * PG).backing);
	assert_int_equal(ref[0].index, 2);
	assert_int_equal(ref[1].backing, pages_ref(q, 0).backing);
	assert_int_equal(ref[1].index, 2);
	assert_int_equal(ref[2].index, 3);
	assert_int_equal(ref[3].backing, 0);
	/* The same pages once more, and the whole: no page is paid for twice. */
	assert_int_equal(access_pin(u.a, IOVA(BASE + PG), 2 * PG + 1, NULL, 0), 0);
	assert_int_equal(access_pin(u.a, IOVA(BASE), 4 * PG, NULL, 0), 0);
	assert_int_equal(mm_charged(f.owner), 4);
	access_unpin(u.a, IOVA(BASE + PG), 2 * PG + 1);
	access_unpin(u.a, IOVA(BASE + PG), 2 * PG + 1);
	assert_int_equal(mm_charged(f.owner), 4);
	/* A domain comes and goes over it. */
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	assert_int_equal(mm_charged(f.owner), 5);
	access_unpin(u.a, IOVA(BASE), 4 * PG);
	assert_int_equal(mm_charged(f.owner), 5);
	ioas_remove_domain(f.ioas, f.domain);
	assert_int_equal(mm_charged(f.owner), 0);

	assert_int_equal(access_pin(u.a, IOVA(BASE), 0, NULL, 0), -EINVAL);
	assert_int_equal(access_pin(u.a, IOVA(-PG), PG + 1, NULL, 0), -EOVERFLOW);
	assert_int_equal(access_pin(u.a, IOVA(BASE + 1), PG, NULL, 0), -EINVAL);
	assert_int_equal(access_pin(u.a, IOVA(BASE + 3 * PG), 2 * PG, NULL, 0), -ENOENT);
	assert_int_equal(access_pin(u.a, IOVA(BASE + 5 * PG), PG, NULL, ACCESS_WRITE), -EPERM);
	f.limit = PG;
	assert_int_equal(access_pin(u.a, IOVA(BASE + PG), 2 * PG, NULL, 0), -ENOMEM);
	f.limit = UINT64_MAX;
	assert_int_equal(mm_charged(f.owner), 0);
	access_free(u.a);
	pages_put(q);
	close_lazy(&f, p);
}

/* Several pages are pinned before the first byte moves; one, or what needs no pin, is taken as it comes. */
static void test_rw_slow(void **state)
{
	struct page_slice s[] = {{.len = 2 * PG, .writable = true}, {.len = PG}};
	struct fixture f;
	struct pages *p = open_lazy(&f, 2), *q;
	struct user u;
	int fd = memfd_pages(2);
	char buf[3 * PG];

	assert_int_equal(backing_get_fd(f.cache, fd, &s[0].backing), 0);
	assert_int_equal(pages_new(0x7f0000000000, s, 2, f.owner, &q), 0);
	pages_configure(q, true, MM_ACCOUNT_USER, false);
	backing_put(s[0].backing);
	close(fd);
	user_open(&u, &f);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 3 * PG, q, 0, 3), 0);
	memset(buf, 'W', sizeof(buf));
	assert_int_equal(access_rw(u.a, IOVA(BASE), buf, 3 * PG, ACCESS_WRITE | ACCESS_SLOW_PATH), -EFAULT);
	assert_int_equal(access_rw(u.a, IOVA(BASE), buf, 1, 0), 0);
	assert_int_equal(buf[0], 'a');
	buf[0] = 'W';
	assert_int_equal(access_rw(u.a, IOVA(BASE + 2 * PG), buf, 1, ACCESS_SLOW_PATH), -EFAULT);
	assert_int_equal(access_rw(u.a, IOVA(BASE), buf, 2 * PG, ACCESS_WRITE | ACCESS_SLOW_PATH), 0);
	assert_int_equal(access_rw(u.a, IOVA(BASE + PG), buf, 2 * PG, ACCESS_WRITE), -EFAULT);
	access_free(u.a);
	pages_put(q);
	close_lazy(&f, p);
}

static void test_rw(void **state)
{
	struct fixture f;
	struct pages *p = open_lazy(&f, 4);
	struct user u;
	char buf[3 * PG];

	user_open(&u, &f);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 2 * PG, p, 0, 3), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE + 2 * PG), PG, p, 3 * PG, IOMMU_READ), 0);
	assert_int_equal(access_rw(u.a, IOVA(BASE + 10), buf, 3 * PG - 10, 0), 0);
	assert_int_equal(buf[0], 'a');
	assert_int_equal(buf[PG - 10], 'b');
	assert_int_equal(buf[3 * PG - 11], 'd');
	assert_int_equal(mm_charged_peak(f.owner), 0); /* nothing is kept */
	memset(buf, 'W', sizeof(buf));
	assert_int_equal(access_rw(u.a, IOVA(BASE + PG - 1), buf, 2, ACCESS_WRITE), 0);
	/* What came before the area that refuses has been written. */
	assert_int_equal(access_rw(u.a, IOVA(BASE + 2 * PG - 1), buf, 2, ACCESS_WRITE), -EPERM);
	assert_int_equal(pages_read(p, 2 * PG - 1, buf, 2), 0);
	assert_int_equal(buf[0], 'W');
	assert_int_equal(buf[1], 'c');
	assert_int_equal(access_rw(u.a, IOVA(BASE + 2 * PG), buf, PG + 1, 0), -ENOENT);
	assert_int_equal(access_rw(u.a, IOVA(0), buf, 1, 0), -ENOENT);
	assert_int_equal(access_rw(u.a, IOVA(BASE), buf, 0, 0), -EINVAL);
	assert_int_equal(access_rw(u.a, IOVA(-1UL), buf, 2, 0), -EOVERFLOW);
	assert_int_equal(access_attach(u.a, NULL), 0);
	assert_int_equal(access_rw(u.a, IOVA(BASE), buf, 1, 0), -ENOENT);
	access_free(u.a);
	close_lazy(&f, p);
}

/* Unmapping does not wait: who has pins is told, and has let go when it is back. */
static void test_unmap_tells(void **state)
{
	struct fixture f;
	struct pages *p = open_lazy(&f, 4);
	struct user u, other;
	uint64_t bytes;

	user_open(&u, &f);
	user_open(&other, &f);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(ioas_map(f.ioas, IOVA(BASE + i * PG), PG, p, i * PG, 3), 0);
	user_pin(&u, 0, BASE);
	user_pin(&u, 1, BASE);
	user_pin(&other, 0, BASE + PG);
	user_pin(&other, 1, BASE + 3 * PG);
	assert_int_equal(ioas_unmap(f.ioas, BASE, BASE + 3 * PG - 1, &bytes), 0);
	assert_int_equal(bytes, 3 * PG);
	assert_int_equal(mm_charged(f.owner), 1);
	assert_int_equal(u.told, 2); /* for each area that was held */

	other.stubborn = true;
	assert_int_equal(ioas_unmap(f.ioas, 0, UINT64_MAX, &bytes), -EDEADLOCK);
	assert_int_equal(bytes, 0);
	assert_int_equal(ioas_area_count(f.ioas), 1);
	other.stubborn = false;
	/* It can still be used, and goes when its user is good again. */
	user_pin(&u, 0, BASE + 3 * PG);
	assert_int_equal(ioas_unmap(f.ioas, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, PG);
	access_free(u.a);
	access_free(other.a);
	close_lazy(&f, p);
}

/* To another space: its pins in the old one are taken back first; a space that does not suit it changes nothing. */
static void test_moves(void **state)
{
	struct fixture f;
	struct pages *p = open_lazy(&f, 4);
	struct ioas *other = ioas_new(&f.evs), *odd = ioas_new(&f.evs);
	struct user u;
	char c;

	user_open(&u, &f);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, 3), 0);
	assert_int_equal(ioas_map(other, IOVA(BASE), PG, p, PG, 3), 0);
	assert_int_equal(ioas_map(odd, IOVA(BASE), 100, p, 0, 3), 0);
	user_pin(&u, 0, BASE);
	assert_int_equal(access_attach(u.a, odd), -EADDRINUSE);
	assert_ptr_equal(access_ioas(u.a), f.ioas);
	assert_int_equal(u.told, 0);
	assert_int_equal(mm_charged(f.owner), 1);
	assert_int_equal(access_attach(u.a, other), 0);
	assert_int_equal(u.told, 1);
	assert_int_equal(mm_charged(f.owner), 0);
	assert_int_equal(ioas_alignment(f.ioas), 1);
	assert_int_equal(ioas_alignment(other), PG);
	assert_int_equal(access_rw(u.a, IOVA(BASE), &c, 1, 0), 0);
	assert_int_equal(c, 'b');
	assert_int_equal(access_attach(u.a, other), 0);
	assert_int_equal(u.told, 1);
	access_free(u.a);
	assert_int_equal(ioas_alignment(other), 1);
	ioas_free(other);
	ioas_free(odd);
	close_lazy(&f, p);
}

/* A callback that throws its own access away, and another's. */
static struct user first, second;

static void detach_both(void *ctx, uint64_t iova, uint64_t len)
{
	let_go(ctx, iova, len);
	if (access_ioas(first.a))
		access_attach(first.a, NULL);
	if (access_ioas(second.a))
		access_attach(second.a, NULL);
}

static void test_callback_detaches(void **state)
{
	static const struct access_ops rash = {.pins = true, .unmap = detach_both};
	struct fixture f;
	struct pages *p = open_lazy(&f, 4);
	uint64_t bytes;

	user_open(&first, &f);
	user_open(&second, &f);
	access_free(first.a);
	first.a = access_new(&rash, &first);
	assert_int_equal(access_attach(first.a, f.ioas), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), PG, p, 0, 3), 0);
	user_pin(&first, 0, BASE);
	user_pin(&second, 0, BASE);
	assert_int_equal(ioas_unmap(f.ioas, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, PG);
	assert_null(access_ioas(first.a));
	assert_null(access_ioas(second.a));
	assert_int_equal(ioas_alignment(f.ioas), 1);
	access_free(first.a);
	access_free(second.a);
	close_lazy(&f, p);
}

/* One that cannot be told (a queue of the hardware's): what it has pinned stays mapped until it lets go by itself. */
static void test_locks(void **state)
{
	static const struct access_ops deaf = {.pins = true};
	struct fixture f;
	struct pages *p = open_lazy(&f, 4);
	struct access *a = access_new(&deaf, NULL);
	uint64_t bytes;

	assert_int_equal(access_attach(a, f.ioas), 0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(ioas_map(f.ioas, IOVA(BASE + i * PG), PG, p, i * PG, 3), 0);
	assert_int_equal(access_pin(a, IOVA(BASE + PG), 3 * PG, NULL, 0), -ENOENT);
	assert_int_equal(access_pin(a, IOVA(BASE + PG), 2 * PG, NULL, 0), 0);
	assert_int_equal(ioas_unmap(f.ioas, 0, UINT64_MAX, &bytes), -EBUSY);
	assert_int_equal(bytes, PG);
	assert_int_equal(mm_charged(f.owner), 2);
	access_unpin(a, IOVA(BASE + PG), 2 * PG);
	assert_int_equal(ioas_unmap(f.ioas, 0, UINT64_MAX, &bytes), 0);
	assert_int_equal(bytes, 2 * PG);
	access_free(a);
	close_lazy(&f, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pins),	cmocka_unit_test(test_rw),    cmocka_unit_test(test_rw_slow),
	    cmocka_unit_test(test_unmap_tells), cmocka_unit_test(test_moves), cmocka_unit_test(test_callback_detaches),
	    cmocka_unit_test(test_locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
