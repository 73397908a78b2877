/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * E3 in the engine: what is promised is pinned when a device needs it, charged then, and gone when it is forgotten, in
 * the order of A3. And page requests, whoever takes them, refuses them or goes away.
 */
#include <errno.h>
#include <unistd.h>
#include "fixture.h"

#define VA    0x7f0000000000UL /* pages_memfd()'s */
#define AT(i) IOVA(VA + (i)*PG)

static struct {
	struct fixture f;
	struct ioas *io;
	struct domain *d[2];
	struct dma_dev *dev[2]; /* attached to d */
	struct pages *p;
	unsigned int first, n, leaks, unpins; /* first and n: what must not be reached while the spy looks */
} t;

static const struct domain_config follows = {.last = (1UL << 48) - 1, .pgsizes = PG, .follows = true};

static void open_followed(unsigned int n)
{
	int fd = memfd_pages(n);

	fixture_open(&t.f);
	t.io = ioas_new(&t.f.evs);
	for (unsigned int i = 0; i < 2; i++) {
		t.d[i] = domain_new(&follows, &t.f.evs);
		assert_int_equal(ioas_add_domain(t.io, t.d[i]), 0);
		t.dev[i] = dma_dev_new(0x200 + i, &t.f.evs);
		dma_dev_set_master(t.dev[i], true);
		dma_dev_attach(t.dev[i], t.d[i]);
	}
	t.p = pages_memfd(&t.f, fd, n, true);
	close(fd);
	assert_int_equal(ioas_follow_map(t.io, n * PG, t.p, 0, IOMMU_READ | IOMMU_WRITE), 0);
}

static void close_followed(void)
{
	t.f.hook = NULL;
	for (unsigned int i = 0; i < 2; i++) {
		dma_dev_free(t.dev[i]);
		ioas_remove_domain(t.io, t.d[i]);
		domain_free(t.d[i]);
	}
	assert_int_equal(mm_charged(t.f.owner), 0);
	ioas_free(t.io);
	pages_put(t.p);
	fixture_close(&t.f);
}

static int sees(unsigned int dev, unsigned int page)
{
	unsigned char c;

	return dma_read(t.dev[dev], AT(page), &c, 1, NULL) ? -1 : c;
}

/* ---- pins and charges ---- */

static void on_demand(void **state)
{
	open_followed(6);
	assert_int_equal(mm_charged(t.f.owner), 0);
	assert_int_equal(sees(0, 2), 'c');
	assert_int_equal(mm_charged(t.f.owner), 1);
	/* Pinned for two, paid for once, however often it is used. */
	assert_int_equal(sees(1, 2), 'c');
	assert_int_equal(sees(0, 2), 'c');
	assert_int_equal(mm_charged(t.f.owner), 1);
	assert_int_equal(dma_write(t.dev[0], IOVA(VA + 4 * PG - 8), "0123456789abcdef", 16, NULL), 0);
	assert_int_equal(mm_charged(t.f.owner), 3);
	/* Until the last lets go. */
	dma_dev_detach(t.dev[0]);
	ioas_remove_domain(t.io, t.d[0]);
	assert_int_equal(mm_charged(t.f.owner), 1);
	assert_int_equal(ioas_add_domain(t.io, t.d[0]), 0);
	dma_dev_attach(t.dev[0], t.d[0]);
	assert_int_equal(sees(0, 4), '8');
	close_followed();
}

static void limit(void **state)
{
	open_followed(6);
	t.f.limit = 3 * PG;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(sees(0, i), 'a' + (int)i);
	assert_int_equal(sees(0, 3), -1);
	assert_int_equal(t.f.last[EVENT_FAULT].error, DMA_FAULT_LIMIT);
	assert_int_equal(mm_charged(t.f.owner), 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(sees(1, i), 'a' + (int)i);
	ioas_forget(t.io, t.f.owner, VA + PG, VA + PG);
	assert_int_equal(mm_charged(t.f.owner), 2);
	assert_int_equal(sees(0, 3), 'd');
	assert_int_equal(sees(0, 4), -1);
	close_followed();
}

/* ---- forgetting ---- */

static void forget_parts(void **state)
{
	struct mm_owner *other;

	open_followed(9);
	other = mm_owner_new(&(struct mm_owner_ops){0}, NULL, NULL, 1, &t.f.evs);
	for (unsigned int i = 0; i < 9; i++)
		assert_int_equal(sees(i % 2, i), 'a' + (int)i);
	/* Somebody else's memory changes. */
	ioas_forget(t.io, other, 0, UINT64_MAX);
	mm_owner_put(other);
	/* What a client says may be nonsense: a range that ends before it begins, within one area. */
	ioas_forget(t.io, t.f.owner, VA + 5 * PG, VA + 2 * PG);
	assert_int_equal(mm_charged(t.f.owner), 9);
	/* A byte takes its page, of the middle, of the end and of the beginning. */
	ioas_forget(t.io, t.f.owner, VA + 4 * PG + 17, VA + 4 * PG + 17);
	ioas_forget(t.io, t.f.owner, VA + 8 * PG, UINT64_MAX);
	ioas_forget(t.io, t.f.owner, 0, VA);
	assert_int_equal(ioas_area_count(t.io), 2);
	assert_int_equal(mm_charged(t.f.owner), 6);
	for (unsigned int dev = 0; dev < 2; dev++)
		for (unsigned int i = 0; i < 9; i++)
			assert_int_equal(sees(dev, i), i % 4 ? 'a' + (int)i : -1);
	/* What is gone may be promised anew, and only that. */
	assert_int_equal(ioas_follow_map(t.io, PG, t.p, 3 * PG, IOMMU_READ), -EEXIST);
	assert_int_equal(ioas_follow_map(t.io, PG, t.p, 4 * PG, IOMMU_READ), 0);
	assert_int_equal(sees(0, 4), 'e');
	assert_int_equal(dma_write(t.dev[0], AT(4), "x", 1, NULL), -EFAULT);
	assert_int_equal(t.f.last[EVENT_FAULT].error, DMA_FAULT_PERMISSION);
	unmap_all(t.io);
	assert_int_equal(mm_charged(t.f.owner), 0);
	close_followed();
}

/* At the moment of each UNPIN and UNMAP nothing leads to what is forgotten, IOTLBs included. */
static void spy(struct fixture *f, const struct event *ev)
{
	struct iovec iov[1];
	unsigned int n = 1;

	if (ev->type != EVENT_UNPIN && ev->type != EVENT_UNMAP)
		return;
	t.unpins += ev->type == EVENT_UNPIN;
	for (unsigned int dev = 0; dev < 2; dev++)
		for (unsigned int i = t.first; i < t.first + t.n; i++)
			t.leaks += dma_iov(t.dev[dev], AT(i), 1, true, iov, &n, NULL) == 0;
}

/* A promise must not be pinned anew by the spy itself: a device's miss in the middle of it finds no area. */
static void unmap_before_unpin(void **state)
{
	uint64_t bytes;

	for (unsigned int way = 0; way < 3; way++) {
		open_followed(70);
		for (unsigned int dev = 0; dev < 2; dev++)
			for (unsigned int i = 0; i < 70; i++)
				assert_int_equal(sees(dev, i), 'a' + (int)i);
		t.leaks = t.unpins = 0;
		t.first = way == 2 ? 3 : 0;
		t.n = way == 2 ? 60 : 70;
		t.f.hook = spy;
		if (way)
			ioas_forget(t.io, t.f.owner, VA + t.first * PG, VA + (t.first + t.n) * PG - 1);
		else
			assert_int_equal(ioas_unmap(t.io, 0, UINT64_MAX, &bytes), 0);
		assert_int_equal(t.leaks, 0);
		assert_int_equal(t.unpins, t.n);
		close_followed();
	}
}

/* ---- kinds ---- */

static void kinds(void **state)
{
	struct pages *file;
	iova_t at = AT(0);
	struct domain *d;
	int fd;

	open_followed(2);
	d = domain_plain(&t.f);
	assert_int_equal(ioas_add_domain(t.io, d), -EINVAL);
	domain_free(d);
	d = domain_new(&follows, &t.f.evs);
	assert_int_equal(ioas_add_domain(t.f.ioas, d), -EINVAL);
	domain_free(d);
	assert_int_equal(ioas_follow_map(t.f.ioas, PG, t.p, 0, IOMMU_READ), -EINVAL);
	unmap_all(t.io);
	assert_int_equal(ioas_map(t.io, AT(0), PG, t.p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map_auto(t.io, &at, PG, t.p, 0, IOMMU_READ), -EINVAL);
	assert_int_equal(ioas_map(t.f.ioas, AT(0), PG, t.p, 0, IOMMU_READ), 0);
	assert_int_equal(ioas_copy(t.io, &at, false, t.f.ioas, AT(0), PG, IOMMU_READ), -EINVAL);
	fd = memfd_pages(1);
	file = pages_memfd(&t.f, fd, 1, true);
	close(fd);
	pages_configure(file, true, MM_ACCOUNT_USER, true);
	assert_int_equal(ioas_follow_map(t.io, PG, file, 0, IOMMU_READ), -EINVAL);
	pages_put(file);
	/* It goes on following when its last domain has gone. */
	for (unsigned int i = 0; i < 2; i++) {
		dma_dev_detach(t.dev[i]);
		ioas_remove_domain(t.io, t.d[i]);
	}
	assert_true(ioas_follows(t.io));
	assert_int_equal(ioas_follow_map(t.io, 2 * PG, t.p, 0, IOMMU_READ), 0);
	ioas_forget(t.io, t.f.owner, VA + PG, VA + PG);
	assert_int_equal(ioas_area_count(t.io), 1);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(ioas_add_domain(t.io, t.d[i]), 0);
	dma_dev_attach(t.dev[0], t.d[0]);
	assert_int_equal(sees(0, 0), 'a');
	assert_int_equal(sees(0, 1), -1);
	unmap_all(t.f.ioas);
	close_followed();
}

/* ---- page requests ---- */

static struct dma_request *taken;
static int answers, ok_answers, decline;

static int take(void *ctx, struct dma_request *r)
{
	assert_ptr_equal(ctx, &taken);
	if (decline)
		return decline;
	assert_null(taken);
	taken = r;
	r->holder = &taken;
	return 0;
}

static void answered(struct dma_request *r, bool ok)
{
	answers++;
	ok_answers += ok;
}

static void requests(void **state)
{
	struct dma_request r = {.done = answered};
	iova_t at;

	open_followed(2);
	dma_dev_set_pri(t.dev[0], true);
	assert_int_equal(dma_probe(t.dev[0], AT(0), 3 * PG, false, &at), DMA_FAULT_UNMAPPED);
	assert_int_equal(at.a, VA + 2 * PG);
	assert_int_equal(t.f.seen[EVENT_FAULT], 0);
	assert_int_equal(dma_probe(t.dev[0], AT(0), 2 * PG, true, &at), 0);
	assert_int_equal(dma_probe(t.dev[0], IOVA(UINT64_MAX), 2, true, &at), DMA_FAULT_WRAP);
	assert_int_equal(dma_request_page(t.dev[0], AT(2), IOMMU_READ, &r), -ENODEV); /* nobody takes them */
	domain_set_requests(t.d[0], take, &taken);
	decline = -ENOMEM;
	assert_int_equal(dma_request_page(t.dev[0], AT(2), IOMMU_READ, &r), -ENODEV);
	decline = 0;
	assert_int_equal(dma_request_page(t.dev[0], IOVA(VA + 2 * PG + 5), IOMMU_WRITE, &r), 0);
	assert_ptr_equal(taken, &r);
	assert_int_equal(r.iova.a, VA + 2 * PG);
	assert_int_equal(r.prot, IOMMU_WRITE);
	dma_request_answer(taken, true);
	assert_null(taken);
	assert_int_equal(answers, 1);
	assert_int_equal(ok_answers, 1);
	assert_int_equal(dma_request_page(t.dev[0], AT(2), IOMMU_READ, &r), 0);
	dma_request_answer(taken, false);
	assert_int_equal(answers, 2);
	assert_int_equal(ok_answers, 1);
	/* Given up: whoever took it has nobody to tell. */
	assert_int_equal(dma_request_page(t.dev[0], AT(2), IOMMU_READ, &r), 0);
	dma_request_cancel(&r);
	assert_null(taken);
	dma_request_cancel(&r);
	assert_int_equal(answers, 2);
	dma_dev_set_master(t.dev[0], false);
	assert_int_equal(dma_request_page(t.dev[0], AT(2), IOMMU_READ, &r), -ENODEV);
	dma_dev_set_master(t.dev[0], true);
	dma_dev_set_pri(t.dev[0], false);
	assert_int_equal(dma_request_page(t.dev[0], AT(2), IOMMU_READ, &r), -ENODEV);
	close_followed();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(on_demand),	  cmocka_unit_test(limit), cmocka_unit_test(forget_parts),
	    cmocka_unit_test(unmap_before_unpin), cmocka_unit_test(kinds), cmocka_unit_test(requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
