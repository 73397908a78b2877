/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is charged, against which limit, and what becomes of the memory of a process that has ended. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"

#define BASE 0x40000UL

struct process {
	uint64_t limit;
	bool gone;
	struct mm_owner *owner;
};

static uint64_t process_limit(void *ctx)
{
	return ((struct process *)ctx)->limit;
}

static bool process_alive(void *ctx)
{
	return !((struct process *)ctx)->gone;
}

static void process_start(struct process *p, struct fixture *f, struct mm_user *user)
{
	static const struct mm_owner_ops ops = {.limit = process_limit, .alive = process_alive};

	*p = (struct process){.limit = UINT64_MAX};
	p->owner = mm_owner_new(&ops, p, user, 1, &f->evs);
	assert_non_null(p->owner);
}

static void process_end(struct process *p)
{
	p->gone = true;
	mm_owner_orphan(p->owner);
}

static struct pages *pages_of(struct fixture *f, struct process *who, unsigned int n, enum mm_account mode, bool file)
{
	struct page_slice s = {.len = n * PG, .writable = true};
	struct pages *p = NULL;
	int fd = memfd_pages(n);

	assert_int_equal(backing_get_fd(f->cache, fd, &s.backing), 0);
	assert_int_equal(pages_new(0, &s, 1, who->owner, &p), 0);
	pages_configure(p, true, mode, file);
	backing_put(s.backing);
	close(fd);
	return p;
}

/* A user's processes share one count in user mode; in process mode each has its own; both are shown. */
static void test_modes(void **state)
{
	struct process a, b, c;
	struct mm_user *u = mm_user_new(), *v = mm_user_new();
	struct fixture f;

	fixture_open(&f);
	process_start(&a, &f, u);
	process_start(&b, &f, u);
	process_start(&c, &f, v);
	mm_user_put(u);
	mm_user_put(v);
	a.limit = b.limit = c.limit = 10 * PG;
	assert_int_equal(mm_charge(a.owner, MM_ACCOUNT_USER, 6), 0);
	assert_int_equal(mm_charge(b.owner, MM_ACCOUNT_USER, 5), -ENOMEM);
	assert_int_equal(mm_charge(b.owner, MM_ACCOUNT_USER, 4), 0);
	assert_int_equal(mm_charge(a.owner, MM_ACCOUNT_USER, 1), -ENOMEM);
	assert_int_equal(mm_charge(c.owner, MM_ACCOUNT_USER, 10), 0);
	assert_int_equal(mm_charge(b.owner, MM_ACCOUNT_PROCESS, 11), -ENOMEM);
	assert_int_equal(mm_charge(b.owner, MM_ACCOUNT_PROCESS, 10), 0);
	assert_int_equal(mm_charged(a.owner), 6);
	assert_int_equal(mm_charged(b.owner), 14);
	mm_uncharge(a.owner, MM_ACCOUNT_USER, 6);
	assert_int_equal(mm_charge(b.owner, MM_ACCOUNT_USER, 6), 0);
	mm_uncharge(b.owner, MM_ACCOUNT_USER, 10);
	mm_uncharge(b.owner, MM_ACCOUNT_PROCESS, 10);
	mm_uncharge(c.owner, MM_ACCOUNT_USER, 10);
	assert_int_equal(mm_charged_peak(b.owner), 20);
	mm_owner_put(a.owner);
	mm_owner_put(b.owner);
	mm_owner_put(c.owner);
	fixture_close(&f);
}

/* Before the first pin a dead process's memory is gone; what was pinned while it lived stays. Files need no process. */
static void test_death(void **state)
{
	struct fixture f;
	struct process a;
	struct pages *p, *q, *file;
	struct page_pin pin, part;
	char buf[4 * PG];

	fixture_open(&f);
	ioas_remove_domain(f.ioas, f.domain);
	process_start(&a, &f, NULL);
	p = pages_of(&f, &a, 4, MM_ACCOUNT_USER, false);
	q = pages_of(&f, &a, 4, MM_ACCOUNT_USER, false);
	file = pages_of(&f, &a, 4, MM_ACCOUNT_USER, true);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 4 * PG, p, 0, 3), 0);
	assert_int_equal(pages_pin(q, &pin, PG, 2 * PG), 0);
	process_end(&a);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), -EFAULT);
	unmap_all(f.ioas);
	assert_int_equal(ioas_add_domain(f.ioas, f.domain), 0);
	/* A part that is pinned can be had again, the rest cannot, not even to be copied. */
	assert_int_equal(pages_pin(q, &part, 2 * PG, PG), 0);
	pages_unpin(q, &part);
	assert_int_equal(pages_pin(q, &part, 2 * PG, 2 * PG), -EFAULT);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 2 * PG, q, PG, 3), 0);
	assert_int_equal(dma_read(f.dev, IOVA(BASE), buf, 2 * PG, NULL), 0);
	assert_int_equal(buf[0], 'b');
	assert_int_equal(pages_read(q, PG, buf, 2 * PG), 0);
	buf[PG] = 0;
	assert_int_equal(pages_read(q, 2 * PG, buf, 2 * PG), -EFAULT);
	assert_int_equal(buf[PG - 1], 'c');
	assert_int_equal(buf[PG], 0);
	assert_int_equal(pages_read(p, 0, buf, 1), -EFAULT);
	pages_unpin(q, &pin);
	assert_int_equal(ioas_map(f.ioas, IOVA(2 * BASE), 4 * PG, file, 0, 3), 0);
	unmap_all(f.ioas);
	pages_put(p);
	pages_put(q);
	pages_put(file);
	assert_int_equal(mm_charged(a.owner), 0);
	mm_owner_put(a.owner);
	fixture_close(&f);
}

/* What was attached while its process lived works on after its end. */
static void test_death_after_attach(void **state)
{
	struct fixture f;
	struct process a;
	struct pages *p;
	struct domain *d;
	uint64_t bytes;
	iova_t at;
	char c = 0;

	fixture_open(&f);
	process_start(&a, &f, NULL);
	p = pages_of(&f, &a, 4, MM_ACCOUNT_USER, false);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 4 * PG, p, 0, 3), 0);
	pages_put(p);
	process_end(&a);
	assert_int_equal(dma_read(f.dev, IOVA(BASE + PG), &c, 1, NULL), 0);
	assert_int_equal(c, 'b');
	/* Even another domain can have it, and a copy. */
	d = domain_plain(&f);
	assert_int_equal(ioas_add_domain(f.ioas, d), 0);
	assert_int_equal(ioas_copy(f.ioas, &at, true, f.ioas, IOVA(BASE), 4 * PG, IOMMU_READ), 0);
	assert_int_equal(ioas_unmap(f.ioas, BASE, BASE + 4 * PG - 1, &bytes), 0);
	assert_int_equal(dma_read(f.dev, IOVA(at.a + 3 * PG), &c, 1, NULL), 0);
	assert_int_equal(c, 'd');
	assert_int_equal(mm_charged(a.owner), 4);
	unmap_all(f.ioas);
	assert_int_equal(mm_charged(a.owner), 0);
	ioas_remove_domain(f.ioas, d);
	domain_free(d);
	mm_owner_put(a.owner);
	fixture_close(&f);
}

/* Another process takes the charge over: all or nothing, each step once however often it is taken. */
static void test_move(void **state)
{
	struct fixture f;
	struct process a, b;
	struct pages *p, *q;

	fixture_open(&f);
	process_start(&a, &f, NULL);
	process_start(&b, &f, NULL);
	p = pages_of(&f, &a, 3, MM_ACCOUNT_USER, true);
	q = pages_of(&f, &a, 4, MM_ACCOUNT_PROCESS, true);
	assert_int_equal(ioas_map(f.ioas, IOVA(BASE), 3 * PG, p, 0, 3), 0);
	assert_int_equal(ioas_map(f.ioas, IOVA(2 * BASE), 4 * PG, q, 0, 3), 0);
	b.limit = 3 * PG;
	assert_int_equal(pages_move_prepare(p, b.owner), 0);
	assert_int_equal(pages_move_prepare(p, b.owner), 0);
	assert_int_equal(pages_move_prepare(q, b.owner), -ENOMEM);
	assert_int_equal(mm_charged(a.owner), 7);
	assert_int_equal(mm_charged(b.owner), 3);
	pages_move_abort(p, b.owner);
	pages_move_abort(p, b.owner);
	pages_move_abort(q, b.owner);
	assert_int_equal(mm_charged(a.owner), 7);
	assert_int_equal(mm_charged(b.owner), 0);
	b.limit = 7 * PG;
	assert_int_equal(pages_move_prepare(p, b.owner), 0);
	assert_int_equal(pages_move_prepare(q, b.owner), 0);
	for (int i = 0; i < 2; i++) {
		pages_move_commit(p, b.owner);
		pages_move_commit(q, b.owner);
	}
	assert_int_equal(mm_charged(a.owner), 0);
	assert_int_equal(mm_charged(b.owner), 7);
	assert_ptr_equal(pages_owner(p), b.owner);
	/* To whom it is already: nothing. */
	assert_int_equal(pages_move_prepare(p, b.owner), 0);
	pages_move_commit(p, b.owner);
	pages_move_abort(p, b.owner);
	mm_owner_put(a.owner);
	unmap_all(f.ioas);
	pages_put(p);
	pages_put(q);
	assert_int_equal(mm_charged(b.owner), 0);
	mm_owner_put(b.owner);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_modes),
	    cmocka_unit_test(test_death),
	    cmocka_unit_test(test_death_after_attach),
	    cmocka_unit_test(test_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
