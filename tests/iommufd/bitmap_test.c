/* SPDX-License-Identifier: BSD-3-Clause */
/* HWPT_GET_DIRTY_BITMAP into bitmaps so large that they are reached as pages. */
#include "fd.h"

#include <stdlib.h>

#define BASE	(1ull << 24)
#define MOCK	2048ull /* the mock unit's page */
#define AREA	(60 * PAGE)
#define LEN	(3 * AREA)
#define LEAVES	(LEN / MOCK)
#define BYTES	(LEN / 8)  /* of a bitmap with a bit for each byte: 22.5 pages */
#define PER	(MOCK / 8) /* of these stand for a leaf */
#define PATTERN 0x11

struct tracked {
	uint32_t hwpt;
	bool dirty[LEAVES];
};

static struct tracked tracked(struct fake *k)
{
	struct tracked t = {0};
	uint32_t ioas = fd_ioas(k);
	struct mock m = fd_mock(k, ioas, 0);

	t.hwpt = fd_hwpt(k, m.dev, ioas, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(fd_map(k, ioas, k->mem, AREA, BASE + i * AREA), 0);
	assert_int_equal(
	    DO(FD, IOMMU_HWPT_SET_DIRTY_TRACKING,
	       CMD(iommu_hwpt_set_dirty_tracking, .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE, .hwpt_id = t.hwpt)),
	    0);
	return t;
}

static void mark(struct fake *k, struct tracked *t, unsigned int leaf)
{
	uint8_t one = 1;

	assert_int_equal(
	    TEST(MOCK_OP_DIRTY, .id = t->hwpt,
		 .dirty = {.iova = BASE + leaf * MOCK, .length = MOCK, .page_size = MOCK, .uptr = (uintptr_t)&one}),
	    0);
	t->dirty[leaf] = true;
}

static void mark_some(struct fake *k, struct tracked *t)
{
	for (unsigned int i = 0; i < LEAVES; i += 7)
		mark(k, t, i);
	for (unsigned int i = 130; i < 170; i++)
		mark(k, t, i);
	mark(k, t, LEAVES - 1);
}

static long get(struct fake *k, const struct tracked *t, uint32_t flags, void *bits)
{
	return DO(FD, IOMMU_HWPT_GET_DIRTY_BITMAP,
		  CMD(iommu_hwpt_get_dirty_bitmap, .hwpt_id = t->hwpt, .flags = flags, .iova = BASE, .length = LEN,
		      .page_size = 1, .data = (uintptr_t)bits));
}

/* The bytes [from, to) of the bitmap are as they must be. */
static void expect(const struct tracked *t, const uint8_t *bits, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		assert_int_equal(bits[i], t->dirty[i / PER] ? 0xff : PATTERN);
}

static void round_trip(struct fake *k, uint8_t *bits)
{
	struct tracked t = tracked(k), none = {0};

	mark_some(k, &t);
	for (unsigned int keep = 2; keep--;) {
		memset(bits, PATTERN, BYTES);
		assert_int_equal(get(k, &t, keep ? IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR : 0, bits), 0);
		expect(&t, bits, 0, BYTES);
	}
	memset(bits, PATTERN, BYTES);
	assert_int_equal(get(k, &t, 0, bits), 0);
	expect(&none, bits, 0, BYTES);
}

static void as_pages(void **state)
{
	struct fake *k = *state;

	round_trip(k, k->mem);
	k->again = true;
	round_trip(k, k->mem + 3 * PAGE + 5);
}

static void as_copies(void **state)
{
	struct fake *k = *state;
	uint8_t *bits = malloc(BYTES);

	round_trip(k, bits);
	k->again = true;
	round_trip(k, bits);
	free(bits);
}

/* The last pages can be read only: what they should get is lost, as the kernel loses it, and the rest is not. */
static void partly_read_only(void **state)
{
	struct fake *k = *state;
	struct tracked t = tracked(k);
	size_t writable = 10 * PAGE;
	uint8_t *bits = k->mem + MEM_BYTES - MEM_RO_PAGES * PAGE - writable;

	for (unsigned int i = 0; i < writable / PER; i += 3)
		mark(k, &t, i);
	memset(bits, PATTERN, writable);
	/* Clean where nothing can be written. */
	assert_int_equal(
	    DO(FD, IOMMU_HWPT_GET_DIRTY_BITMAP,
	       CMD(iommu_hwpt_get_dirty_bitmap, .hwpt_id = t.hwpt, .iova = BASE,
		   .length = (writable + MEM_RO_PAGES * PAGE) * 8, .page_size = 1, .data = (uintptr_t)bits)),
	    0);
	expect(&t, bits, 0, writable);
}

/* What lies before and after the bitmap stays as it is. */
static void nothing_else(void **state)
{
	struct fake *k = *state;
	struct tracked t = tracked(k);
	uint8_t *bits = k->mem + PAGE + 1;

	mark(k, &t, 0);
	mark(k, &t, LEAVES - 1);
	memset(k->mem, PATTERN, 60 * PAGE);
	assert_int_equal(get(k, &t, 0, bits), 0);
	for (uint8_t *p = k->mem; p < k->mem + 60 * PAGE; p++)
		if (p < bits || p >= bits + BYTES)
			assert_int_equal(*p, PATTERN);
	expect(&t, bits, 0, BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(as_pages), T(as_copies), T(partly_read_only), T(nothing_else)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
