/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * E1, E2 and A3 below a table that somebody scribbles on: a nested domain, tables of random entries in its own parent's
 * memory, which comes and goes. Every second page of the file is the parent's never; it lies between those that are, so
 * that an entry of an IOTLB that is a page too long shows. A walk as simple as can be says what is right after an
 * invalidation.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fixture.h"
#include "iommu/walk.h"

enum { N = 24, OPS = 60000, FANOUT = 3, ENTRIES = 512 };
enum { X86_P = 1, X86_W = 2, X86_U = 4, X86_A = 0x20, X86_D = 0x40, X86_PS = 0x80 };
#define SECRET 'S'
#define GONE   'G'

static struct world {
	struct fixture f;
	struct domain *nested;
	struct dma_dev *dev;
	struct pages *p;
	char *view;	  /* 2 * N pages of the file: the i-th that the parent may have is page 2 * i */
	int mapped[N];	  /* with what rights; 0: not */
	char copy[N][PG]; /* of what may only be read, as the client wrote it */
	int going;	  /* -1: none */
	uint64_t reached[64];
	unsigned int nreached, oks, faults;
} w;

static uint64_t rnd(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x >> 8;
}

static char *page(unsigned int i)
{
	return w.view + 2 * i * PG;
}

static void expect_filled(const char *p, char c)
{
	for (size_t i = 0; i < PG; i++)
		assert_int_equal(p[i], c);
}

/* What is not the parent's, never or for now, is as it was left. */
static void check_untouched(void)
{
	for (unsigned int i = 0; i < N; i++) {
		expect_filled(page(i) + PG, SECRET);
		if (w.mapped[i] == IOMMU_READ)
			assert_memory_equal(page(i), w.copy[i], PG);
		if (!w.mapped[i])
			expect_filled(page(i), GONE);
	}
}

/* ---- the walk (VT-d specification 3.6, 9.7) ---- */

/* 8 aligned bytes of the parent's. NULL: not mapped for this. */
static uint64_t *word_at(uint64_t gpa, int need)
{
	uint64_t i = gpa / PG;

	return i < N && w.mapped[i] & need ? (uint64_t *)(page(i) + gpa % PG) : NULL;
}

/* The bits that the walk has to set in the entry at gpa are there, or can be written. */
static bool marks(uint64_t gpa, uint64_t bits)
{
	return (*word_at(gpa, IOMMU_READ) & bits) == bits || word_at(gpa, IOMMU_WRITE);
}

static uint64_t *brute_walk(uint64_t iova, bool write)
{
	uint64_t table = 0, rights = X86_W | X86_U;

	for (unsigned int shift = 39;; shift -= 9) {
		uint64_t at = table + (iova >> shift) % ENTRIES * 8, mask = (1ULL << shift) - 1;
		uint64_t *e = word_at(at, IOMMU_READ);

		if (!e || !(*e & X86_P) || *e & 0xfULL << 48 || (shift == 39 && *e & X86_PS))
			return NULL;
		rights &= *e;
		if (shift == 12 || *e & X86_PS) {
			uint64_t frame = *e & 0xfffffffff000;

			if (shift > 12 && frame & mask & ~0x1fffULL)
				return NULL;
			if (!(rights & X86_U) || (write && !(rights & X86_W)))
				return NULL;
			if (!marks(at, write ? X86_A | X86_D : X86_A))
				return NULL;
			return word_at((frame & ~mask) | (iova & mask), write ? IOMMU_WRITE : IOMMU_READ);
		}
		if (!marks(at, X86_A))
			return NULL;
		table = *e & 0xfffffffff000;
	}
}

/* ---- what happens ---- */

static uint64_t some_iova(void)
{
	uint64_t iova = rnd() % (PG / 8) * 8;

	for (unsigned int shift = 12; shift <= 39; shift += 9)
		iova |= rnd() % FANOUT << shift;
	return iova;
}

static uint64_t some_entry(void)
{
	static const uint64_t bases[] = {0, 1ULL << 47, 1ULL << 48, 1ULL << 51, 0xfee00000, UINT64_MAX & ~(PG - 1)};
	uint64_t e = rnd() % 16 ? rnd() % (N + 2) * PG : bases[rnd() % 6];

	e |= rnd() % 8 ? X86_P | X86_W | X86_U : rnd() % 256;
	if (rnd() % 16 == 0)
		e = (e & ~((1ULL << 21) - PG)) | X86_PS;
	return e;
}

static void scribble(void)
{
	unsigned int i = rnd() % N;
	uint64_t *e = (uint64_t *)page(i) + rnd() % FANOUT;

	if (w.mapped[i])
		*e = some_entry();
	if (w.mapped[i] == IOMMU_READ)
		memcpy(w.copy[i], page(i), PG);
}

/* Several pages in one transfer, whole or in part: none of them is what lies behind a page by accident. */
static void reach_across(uint64_t iova)
{
	char buf[3 * PG], secret[8], gone[8];

	memset(buf, 0, sizeof(buf));
	memset(secret, SECRET, 8);
	memset(gone, GONE, 8);
	dma_read(w.dev, IOVA(iova), buf, sizeof(buf), NULL);
	for (size_t i = 0; i < sizeof(buf); i += 8)
		assert_true(memcmp(buf + i, secret, 8) && memcmp(buf + i, gone, 8));
}

static void reach(uint64_t iova)
{
	uint64_t v[2] = {0}, old = 0;
	int err = dma_read(w.dev, IOVA(iova), v, 8, NULL);

	if (err) {
		w.faults++;
	} else {
		memset(&old, SECRET, 8);
		assert_int_not_equal(v[0], old);
		memset(&old, GONE, 8);
		assert_int_not_equal(v[0], old);
		w.reached[w.nreached++ % 64] = iova;
		w.oks++;
	}
	if (rnd() % 4 == 0) {
		v[0] = some_entry();
		dma_write(w.dev, IOVA(iova), v, 8, NULL);
	}
	if (rnd() % 4 == 0)
		reach_across(iova);
}

static void invalidate(void)
{
	uint64_t iova = some_iova(), v = 0, *right;

	/* The pages around, or everything: what is in them is new from now on. */
	if (rnd() % 2)
		domain_invalidate(w.nested, iova & ~(PG - 1), iova | (PG - 1));
	else
		domain_invalidate(w.nested, 0, UINT64_MAX);
	right = brute_walk(iova, false);
	assert_int_equal(dma_read(w.dev, IOVA(iova), &v, 8, NULL), right ? 0 : -EFAULT);
	if (right)
		assert_int_equal(v, *right);
	/* A write may set a bit in the very word that it goes to. */
	right = brute_walk(iova, true);
	v = 0x5a5a5a5a5a5a5a5a;
	assert_int_equal(dma_write(w.dev, IOVA(iova), &v, 8, NULL), right ? 0 : -EFAULT);
	if (right)
		assert_int_equal(*right, v);
}

/* The page is filled at the moment when its pin goes; whoever still gets there is seen. */
static void unpin_hook(struct fixture *f, const struct event *ev)
{
	struct iovec iov[4];
	uint64_t v = ~0ULL;

	if (ev->type != EVENT_UNPIN || w.going < 0)
		return;
	memset(page(w.going), GONE, PG);
	for (unsigned int i = 0; i < 64 && i < w.nreached; i++) {
		unsigned int n = 4;

		if (!dma_iov(w.dev, IOVA(w.reached[i]), 8, false, iov, &n, NULL))
			assert_false((char *)iov[0].iov_base >= (char *)pages_ptr(w.p, w.going * 2 * PG, &v) &&
				     (char *)iov[0].iov_base < (char *)pages_ptr(w.p, w.going * 2 * PG, &v) + PG);
	}
	expect_filled(page(w.going), GONE);
}

static void come_and_go(unsigned int i)
{
	uint64_t bytes;

	if (w.mapped[i]) {
		w.going = (int)i;
		w.mapped[i] = 0;
		assert_int_equal(ioas_unmap(w.f.ioas, i * PG, i * PG + PG - 1, &bytes), 0);
		assert_int_equal(bytes, PG);
		w.going = -1;
	} else {
		memset(page(i), 0, PG);
		memset(w.copy[i], 0, PG);
		w.mapped[i] = !i || rnd() % 6 ? IOMMU_READ | IOMMU_WRITE : IOMMU_READ;
		assert_int_equal(ioas_map(w.f.ioas, IOVA(i * PG), PG, w.p, 2 * i * PG, w.mapped[i]), 0);
	}
}

static void world_open(void)
{
	const struct walk_config cfg = {.format = WALK_X86,
					.input_bits = 48,
					.output_bits = 48,
					.granule = 12,
					.flags = WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY | WALK_HUGE};
	int fd = memfd_pages(2 * N);

	memset(&w, 0, sizeof(w));
	w.going = -1;
	fixture_open(&w.f);
	w.p = pages_memfd(&w.f, fd, 2 * N, true);
	w.view = mmap(NULL, 2 * N * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(w.view != MAP_FAILED);
	close(fd);
	w.nested = domain_new_nested(w.f.domain, &cfg);
	w.dev = dma_dev_new(0x300, &w.f.evs);
	assert_true(w.nested && w.dev);
	dma_dev_attach(w.dev, w.nested);
	dma_dev_set_master(w.dev, true);
	for (unsigned int i = 0; i < N; i++) {
		memset(page(i), GONE, PG);
		memset(page(i) + PG, SECRET, PG);
		come_and_go(i);
	}
	w.f.hook = unpin_hook;
}

static void world_close(void)
{
	w.f.hook = NULL;
	dma_dev_free(w.dev);
	domain_free(w.nested);
	munmap(w.view, 2 * N * PG);
	unmap_all(w.f.ioas);
	pages_put(w.p);
	fixture_close(&w.f);
}

static void test_random_tables(void **state)
{
	world_open();
	for (unsigned int op = 0; op < OPS; op++) {
		/* The root is seldom away. */
		unsigned int i = rnd() % N;

		switch (rnd() % 8) {
		case 0:
			if (i || !w.mapped[i] || rnd() % 8 == 0)
				come_and_go(i);
			break;
		case 1:
			invalidate();
			break;
		case 2:
		case 3:
			for (unsigned int k = 0; k < 8; k++)
				scribble();
			break;
		default:
			reach(some_iova());
		}
		if (op % 64 == 0)
			check_untouched();
	}
	check_untouched();
	/* It was about something. */
	assert_true(w.oks > OPS / 200 && w.faults > OPS / 100);
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_random_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
