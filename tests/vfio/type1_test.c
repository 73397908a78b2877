/* SPDX-License-Identifier: BSD-3-Clause */
/* type1: information, mapping, unmapping (v1 and v2), dirty bitmaps, and the rules about pins and charges. */
#include "fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RW   (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define PAGE PF_PAGE_SIZE

static uintptr_t va(struct fake *k, unsigned int page)
{
	return (uintptr_t)k->mem + page * PAGE;
}

/* ---- GET_INFO ---- */

struct full_info {
	uint32_t argsz, flags;
	uint64_t pgsizes;
	uint32_t cap_offset, pad;
	uint8_t caps[96];
	uint8_t canary[16];
};

/* Every byte as a 6.12 host with a 48-bit VT-d answers. */
static void get_info(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct full_info i;
	const struct vfio_iommu_type1_info_cap_migration *mig = (void *)i.caps;
	const struct vfio_iommu_type1_info_dma_avail *av = (void *)(i.caps + 32);
	const struct vfio_iommu_type1_info_cap_iova_range *r = (void *)(i.caps + 48);

	memset(&i, 0xee, sizeof(i));
	i.argsz = 24;
	assert_int_equal(DO(s.container, VFIO_IOMMU_GET_INFO, &i), 0);
	assert_int_equal(i.argsz, 120);
	assert_int_equal(i.flags, 3);
	assert_int_equal(i.pgsizes, 0x40201000);
	assert_int_equal(i.cap_offset, 0);
	assert_int_equal(i.caps[0], 0xee);
	assert_int_equal(DO(s.container, VFIO_IOMMU_GET_INFO, &i), 0);
	assert_int_equal(i.cap_offset, 24);
	assert_int_equal(mig->header.id, 2);
	assert_int_equal(mig->header.version, 1);
	assert_int_equal(mig->header.next, 56);
	assert_int_equal(mig->pgsize_bitmap, 0x1000);
	assert_int_equal(mig->max_dirty_bitmap_size, 0x10000000);
	assert_int_equal(av->header.id, 3);
	assert_int_equal(av->header.next, 72);
	assert_int_equal(av->avail, 65535);
	assert_int_equal(r->header.id, 1);
	assert_int_equal(r->header.next, 0);
	assert_int_equal(r->nr_iovas, 2);
	assert_int_equal(r->iova_ranges[0].start, 0);
	assert_int_equal(r->iova_ranges[0].end, 0xfedfffff);
	assert_int_equal(r->iova_ranges[1].start, 0xfef00000);
	assert_int_equal(r->iova_ranges[1].end, 0xffffffffffff);
	assert_int_equal(i.canary[0], 0xee);
	fake_session_close(k, &s);
}

static void get_info_short(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct full_info i = {.argsz = 15};

	assert_int_equal(DO(s.container, VFIO_IOMMU_GET_INFO, &i), -EINVAL);
	memset(&i, 0xee, sizeof(i));
	i.argsz = 16; /* the first version of the structure */
	assert_int_equal(DO(s.container, VFIO_IOMMU_GET_INFO, &i), 0);
	assert_int_equal(i.argsz, 120);
	assert_int_equal(i.cap_offset, 0xeeeeeeee);
	assert_int_equal(DO(s.container, VFIO_IOMMU_GET_INFO, k->hole), -EFAULT);
	fake_session_close(k, &s);
}

/* ---- MAP_DMA ---- */

static void map_errors(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	const uint64_t top = 1ull << 48, va0 = va(k, 0), ro = va(k, MEM_BYTES / PAGE - 1);
	const struct {
		uint64_t iova, va, size;
		uint32_t flags;
		long want;
	} t[] = {
	    {0x1000, va0, PAGE, 0, -EINVAL},
	    {0x1000, va0, PAGE, RW | VFIO_DMA_MAP_FLAG_VADDR, -EINVAL},
	    {0x1000, va0, PAGE, VFIO_DMA_MAP_FLAG_VADDR, -EINVAL},
	    {0x1000, va0, PAGE, RW | 8, -EINVAL},
	    {0x1000, va0, PAGE, 1u << 31 | RW, -EINVAL},
	    {0x1000, va0, 0, RW, -EINVAL},
	    {0x1000, va0, PAGE - 1, RW, -EINVAL},
	    {0x1000, va0 + 1, PAGE, RW, -EINVAL},
	    {0x1001, va0, PAGE, RW, -EINVAL},
	    {-PAGE, va0, 2 * PAGE, RW, -EINVAL},
	    {0x1000, -PAGE, 2 * PAGE, RW, -EINVAL},
	    {0xfedff000, va0, 2 * PAGE, RW, -EINVAL}, /* into the MSI window */
	    {0xfee00000, va0, PAGE, RW, -EINVAL},
	    {top, va0, PAGE, RW, -EINVAL},
	    {top - PAGE, va0, 2 * PAGE, RW, -EINVAL},
	    {0xfee00000, (uintptr_t)k->hole, PAGE, RW, -EINVAL}, /* before the memory is looked at */
	    {0x1000, (uintptr_t)k->hole, PAGE, RW, -EFAULT},
	    {0x1000, va(k, MEM_BYTES / PAGE - 1), 2 * PAGE, VFIO_DMA_MAP_FLAG_READ, -EFAULT},
	    {0x1000, 0, PAGE, RW, -EFAULT},
	    {0x1000, ro, PAGE, RW, -EFAULT},
	    {0x1000, ro, PAGE, VFIO_DMA_MAP_FLAG_WRITE, -EFAULT},
	    {0x1000, ro, PAGE, VFIO_DMA_MAP_FLAG_READ, 0},
	    {0x1000, va0, PAGE, RW, -EEXIST},
	    {0x0, va0, 3 * PAGE, RW, -EEXIST},
	    {0xfee00000, va0 + 1, PAGE, RW, -EINVAL},
	    {top - PAGE, va0, PAGE, RW, 0},
	    {0xfedff000, va0, PAGE, RW, 0},
	    {0xfef00000, va0, PAGE, RW, 0},
	    {0xfedff000, va0, 2 * PAGE, RW, -EEXIST}, /* before the window is looked at */
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t before = mm_charged(k->owner);
		long got = fake_map(k, s.container, t[i].iova, t[i].va, t[i].size, t[i].flags);

		if (got != t[i].want)
			print_error("case %u\n", i);
		assert_int_equal(got, t[i].want);
		assert_int_equal(mm_charged(k->owner), before + (got ? 0 : t[i].size / PAGE));
	}
	fake_session_close(k, &s);
}

static void map_struct(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct vfio_iommu_type1_dma_map m = {.argsz = 31, .flags = RW, .vaddr = va(k, 0), .size = PAGE};

	assert_int_equal(DO(s.container, VFIO_IOMMU_MAP_DMA, &m), -EINVAL);
	assert_int_equal(DO(s.container, VFIO_IOMMU_MAP_DMA, k->hole), -EFAULT);
	m.argsz = 33; /* from the future: the tail is not looked at */
	assert_int_equal(DO(s.container, VFIO_IOMMU_MAP_DMA, &m), 0);
	fake_session_close(k, &s);
}

/* One mapping too many, and room again after an unmap. */
static void map_entries_run_out(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint64_t n, size = PAGE;
	struct full_info info = {.argsz = sizeof(info)};

	for (n = 0; n < 65535; n++)
		assert_int_equal(fake_map(k, s.container, n * PAGE, va(k, 0), PAGE, RW), 0);
	assert_int_equal(fake_map(k, s.container, n * PAGE, va(k, 0), PAGE, RW), -ENOSPC);
	assert_int_equal(DO(s.container, VFIO_IOMMU_GET_INFO, &info), 0);
	assert_int_equal(((struct vfio_iommu_type1_info_dma_avail *)(info.caps + 32))->avail, 0);
	assert_int_equal(mm_charged(k->owner), 65535);
	assert_int_equal(fake_unmap(k, s.container, 0, &size, 0), 0);
	assert_int_equal(fake_map(k, s.container, n * PAGE, va(k, 0), PAGE, RW), 0);
	size = 0;
	assert_int_equal(fake_unmap(k, s.container, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL), 0);
	assert_int_equal(size, 65535 * PAGE);
	fake_session_close(k, &s);
}

static void rule_charge_before_use(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);

	k->limit = 4 * PAGE + 1;
	assert_int_equal(fake_map(k, s.container, 0, va(k, 0), 3 * PAGE, RW), 0);
	assert_int_equal(fake_map(k, s.container, 0x100000, va(k, 3), 2 * PAGE, RW), -ENOMEM);
	assert_int_equal(mm_charged(k->owner), 3);
	assert_int_equal(fake_map(k, s.container, 0x100000, va(k, 3), PAGE, RW), 0);
	assert_int_equal(fake_map(k, s.container, 0x200000, va(k, 3), PAGE, RW), -ENOMEM);
	assert_int_equal(mm_charged(k->owner), 4);
	fake_session_close(k, &s);
}

static void rule_charge_exact_zero_after_close(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	unsigned int i;

	for (i = 0; i < 20; i++)
		assert_int_equal(fake_map(k, s.container, i * 2 * PAGE, va(k, i), PAGE, RW), 0);
	assert_int_equal(mm_charged(k->owner), 20);
	fake_session_close(k, &s);
	assert_int_equal(mm_charged(k->owner), 0);
}

/* The order in which a device loses its translation and the client its pin, as the event stream shows it. */
struct order {
	struct event_listener l;
	struct dma_dev *dma;
	unsigned int unmaps, unpins;
	bool reachable_at_unpin;
};

static void order_note(struct event_listener *l, const struct event *ev)
{
	struct order *o = container_of(l, struct order, l);
	uint32_t v;

	o->unmaps += ev->type == EVENT_UNMAP;
	if (ev->type != EVENT_UNPIN)
		return;
	o->unpins++;
	if (o->unpins > o->unmaps || !dma_read(o->dma, IOVA(0x5000), &v, 4, NULL))
		o->reachable_at_unpin = true;
}

static void rule_unmap_before_unpin(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct order o = {.l = {.mask = BIT(EVENT_UNMAP) | BIT(EVENT_UNPIN), .notify = order_note},
			  .dma = k->toy[0]->f.dma};
	uint64_t size = PAGE;
	uint32_t v = 0;

	dma_dev_set_master(o.dma, true);
	assert_int_equal(fake_map(k, s.container, 0x5000, va(k, 0), PAGE, RW), 0);
	memcpy(k->mem, "abcd", 4);
	assert_int_equal(dma_read(o.dma, IOVA(0x5000), &v, 4, NULL), 0);
	assert_memory_equal(&v, "abcd", 4);
	events_listen(&k->evs, &o.l);
	assert_int_equal(fake_unmap(k, s.container, 0x5000, &size, 0), 0);
	events_unlisten(&k->evs, &o.l);
	assert_int_equal(o.unmaps, 1);
	assert_true(o.unpins >= 1);
	assert_false(o.reachable_at_unpin);
	dma_dev_set_master(o.dma, false);
	fake_session_close(k, &s);
}

static void permissions(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct dma_dev *dma = k->toy[0]->f.dma;
	uint32_t v = 7;

	dma_dev_set_master(dma, true);
	assert_int_equal(fake_map(k, s.container, 0, va(k, 0), PAGE, VFIO_DMA_MAP_FLAG_READ), 0);
	assert_int_equal(fake_map(k, s.container, PAGE, va(k, 1), PAGE, VFIO_DMA_MAP_FLAG_WRITE), 0);
	assert_int_equal(dma_read(dma, IOVA(0), &v, 4, NULL), 0);
	assert_int_equal(dma_write(dma, IOVA(0), &v, 4, NULL), -EFAULT);
	assert_int_equal(dma_write(dma, IOVA(PAGE), &v, 4, NULL), 0);
	assert_int_equal(dma_read(dma, IOVA(PAGE), &v, 4, NULL), -EFAULT);
	dma_dev_set_master(dma, false);
	fake_session_close(k, &s);
}

/* ---- UNMAP_DMA ---- */

/* Maps [0, 4) and [4, 6) and [8, 9) pages, unmaps a range, and says what came of it. */
static void check_unmap(struct fake *k, struct ufile *container, uint64_t first, uint64_t n, long want,
			uint64_t want_pages)
{
	uint64_t size = n * PAGE, left = 0;

	assert_int_equal(fake_map(k, container, 0, va(k, 0), 4 * PAGE, RW), 0);
	assert_int_equal(fake_map(k, container, 4 * PAGE, va(k, 10), 2 * PAGE, RW), 0);
	assert_int_equal(fake_map(k, container, 8 * PAGE, va(k, 20), PAGE, RW), 0);
	assert_int_equal(fake_unmap(k, container, first * PAGE, &size, 0), want);
	if (want)
		assert_int_equal(size, n * PAGE); /* on failure nothing is written back */
	else
		assert_int_equal(size, want_pages * PAGE);
	assert_int_equal(mm_charged(k->owner), 7 - want_pages);
	assert_int_equal(fake_unmap(k, container, 0, &left, VFIO_DMA_UNMAP_FLAG_ALL), 0);
	assert_int_equal(left, (7 - want_pages) * PAGE);
	assert_int_equal(mm_charged(k->owner), 0);
}

static void unmap_v2(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);

	check_unmap(k, s.container, 0, 4, 0, 4);
	check_unmap(k, s.container, 0, 6, 0, 6);
	check_unmap(k, s.container, 0, 7, 0, 6);
	check_unmap(k, s.container, 0, 100, 0, 7);
	check_unmap(k, s.container, 6, 2, 0, 0);
	check_unmap(k, s.container, 4, 5, 0, 3);
	check_unmap(k, s.container, 1, 3, -EINVAL, 0);
	check_unmap(k, s.container, 0, 3, -EINVAL, 0);
	check_unmap(k, s.container, 0, 5, -EINVAL, 0);
	check_unmap(k, s.container, 1, 100, -EINVAL, 0);
	check_unmap(k, s.container, 1000, 1, 0, 0);
	fake_session_close(k, &s);
}

static void unmap_v1(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1_IOMMU);

	check_unmap(k, s.container, 0, 4, 0, 4);
	check_unmap(k, s.container, 0, 1, 0, 4);
	check_unmap(k, s.container, 1, 1, 0, 0);
	check_unmap(k, s.container, 1, 100, 0, 0);
	check_unmap(k, s.container, 0, 5, 0, 6);
	check_unmap(k, s.container, 3, 2, 0, 0);
	check_unmap(k, s.container, 4, 1, 0, 2);
	check_unmap(k, s.container, 6, 3, 0, 1);
	check_unmap(k, s.container, 6, 2, 0, 0);
	fake_session_close(k, &s);
}

static void unmap_errors(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	static const struct {
		uint64_t iova, size;
		uint32_t flags;
	} bad[] = {
	    {0, 0, 0},
	    {1, PAGE, 0},
	    {0, PAGE + 1, 0},
	    {-PAGE, 2 * PAGE, 0},
	    {0, PAGE, VFIO_DMA_UNMAP_FLAG_ALL},
	    {PAGE, 0, VFIO_DMA_UNMAP_FLAG_ALL},
	    {0, PAGE, VFIO_DMA_UNMAP_FLAG_VADDR},
	    {0, 0, VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL},
	    {0, PAGE, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP}, /* argsz has no room for it */
	    {0, 0, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL},
	    {0, PAGE, 8},
	    {0, PAGE, 1u << 31},
	};
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u) - 1, .size = PAGE};
	unsigned int i;

	assert_int_equal(fake_map(k, s.container, 0, va(k, 0), PAGE, RW), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		uint64_t size = bad[i].size;

		assert_int_equal(fake_unmap(k, s.container, bad[i].iova, &size, bad[i].flags), -EINVAL);
		assert_int_equal(size, bad[i].size);
		assert_int_equal(mm_charged(k->owner), 1);
	}
	assert_int_equal(DO(s.container, VFIO_IOMMU_UNMAP_DMA, &u), -EINVAL);
	assert_int_equal(DO(s.container, VFIO_IOMMU_UNMAP_DMA, k->hole), -EFAULT);
	assert_int_equal(mm_charged(k->owner), 1);
	fake_session_close(k, &s);
}

/* An answer that cannot be given: then nothing was done either. */
static void unmap_without_an_answer(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint64_t size = PAGE;

	assert_int_equal(fake_map(k, s.container, 0, va(k, 0), PAGE, RW), 0);
	k->no_room = true;
	assert_int_equal(fake_unmap(k, s.container, 0, &size, 0), -ENOMEM);
	size = 0;
	assert_int_equal(fake_unmap(k, s.container, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL), -ENOMEM);
	assert_int_equal(mm_charged(k->owner), 1);
	k->no_room = false;
	fake_session_close(k, &s);
}

/* To the last byte of the address space. */
static void unmap_to_the_top(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint64_t size = -PAGE;

	assert_int_equal(fake_map(k, s.container, PAGE, va(k, 0), PAGE, RW), 0);
	assert_int_equal(fake_unmap(k, s.container, PAGE, &size, 0), 0);
	assert_int_equal(size, PAGE);
	fake_session_close(k, &s);
}

/* ---- dirty pages ---- */

struct dirty_get {
	struct vfio_iommu_type1_dirty_bitmap h;
	struct vfio_iommu_type1_dirty_bitmap_get r;
};

static long dirty(struct fake *k, struct ufile *container, uint32_t flags)
{
	struct vfio_iommu_type1_dirty_bitmap h = {.argsz = sizeof(h), .flags = flags};

	return DO(container, VFIO_IOMMU_DIRTY_PAGES, &h);
}

static long get_dirty(struct fake *k, struct ufile *container, uint64_t iova, uint64_t pages, void *map, uint64_t bytes)
{
	struct dirty_get g = {
	    .h = {.argsz = sizeof(g), .flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP},
	    .r = {.iova = iova, .size = pages * PAGE, .bitmap = {.pgsize = PAGE, .size = bytes, .data = map}},
	};

	return DO(container, VFIO_IOMMU_DIRTY_PAGES, &g);
}

static void dirty_flags(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct vfio_iommu_type1_dirty_bitmap h = {.argsz = sizeof(h) - 1, .flags = 1};

	assert_int_equal(dirty(k, s.container, 0), -EINVAL);
	assert_int_equal(dirty(k, s.container, 3), -EINVAL);
	assert_int_equal(dirty(k, s.container, 8), -EINVAL);
	assert_int_equal(dirty(k, s.container, 4), -EINVAL); /* no room for the range */
	assert_int_equal(DO(s.container, VFIO_IOMMU_DIRTY_PAGES, &h), -EINVAL);
	assert_int_equal(DO(s.container, VFIO_IOMMU_DIRTY_PAGES, k->hole), -EFAULT);
	assert_int_equal(dirty(k, s.container, 2), 0);
	assert_int_equal(dirty(k, s.container, 1), 0);
	assert_int_equal(dirty(k, s.container, 1), 0);
	assert_int_equal(dirty(k, s.container, 2), 0);
	fake_session_close(k, &s);
	s = fake_session(k, VFIO_TYPE1_IOMMU);
	assert_int_equal(DO(s.container, VFIO_IOMMU_DIRTY_PAGES, k->hole), -EACCES);
	fake_session_close(k, &s);
}

static void dirty_bitmap(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint64_t map[4];

	memset(map, 0xaa, sizeof(map));
	assert_int_equal(fake_map(k, s.container, 0, va(k, 0), 3 * PAGE, RW), 0);
	assert_int_equal(fake_map(k, s.container, 5 * PAGE, va(k, 5), PAGE, RW), 0);
	assert_int_equal(fake_map(k, s.container, 60 * PAGE, va(k, 8), 8 * PAGE, RW), 0);
	assert_int_equal(get_dirty(k, s.container, 0, 128, map, 16), -EINVAL); /* not started */
	assert_int_equal(dirty(k, s.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START), 0);
	assert_int_equal(get_dirty(k, s.container, 0, 128, map, 16), 0);
	assert_int_equal(map[0], 0xf000000000000027);
	assert_int_equal(map[1], 0xf);
	assert_int_equal(map[2], 0xaaaaaaaaaaaaaaaa);
	/* A mapping that begins inside a word adds to what the caller has there. */
	map[0] = 0x1f;
	assert_int_equal(get_dirty(k, s.container, 3 * PAGE, 125, map, 16), 0);
	assert_int_equal(map[0], 0xfe0000000000001f);
	assert_int_equal(map[1], 1);
	assert_int_equal(get_dirty(k, s.container, PAGE, 127, map, 16), -EINVAL);
	assert_int_equal(get_dirty(k, s.container, 0, 62, map, 16), -EINVAL);
	assert_int_equal(get_dirty(k, s.container, 1, 128, map, 16), -EINVAL);
	assert_int_equal(get_dirty(k, s.container, 0, 0, map, 16), -EINVAL);
	assert_int_equal(get_dirty(k, s.container, 0, 128, map, 15), -EINVAL);
	assert_int_equal(get_dirty(k, s.container, 0, 128, map, 1ull << 29), -EINVAL);
	assert_int_equal(get_dirty(k, s.container, 0, 128, (void *)(UINTPTR_MAX - 8), 16), -EINVAL);
	assert_int_equal(get_dirty(k, s.container, 0, 128, k->hole, 16), -EFAULT);
	assert_int_equal(get_dirty(k, s.container, -PAGE, 2, map, 16), -EINVAL);
	fake_session_close(k, &s);
}

static void dirty_on_unmap(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint64_t map[2] = {0, 0};
	struct {
		struct vfio_iommu_type1_dma_unmap u;
		struct vfio_bitmap b;
	} un = {
	    .u = {.argsz = sizeof(un), .flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, .size = 64 * PAGE},
	    .b = {.pgsize = PAGE, .size = 8, .data = (void *)map},
	};

	assert_int_equal(fake_map(k, s.container, PAGE, va(k, 0), 3 * PAGE, RW), 0);
	assert_int_equal(DO(s.container, VFIO_IOMMU_UNMAP_DMA, &un), -EINVAL);
	assert_int_equal(dirty(k, s.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START), 0);
	un.b.pgsize = 2 * PAGE;
	assert_int_equal(DO(s.container, VFIO_IOMMU_UNMAP_DMA, &un), -EINVAL);
	un.b.pgsize = 0;
	assert_int_equal(DO(s.container, VFIO_IOMMU_UNMAP_DMA, &un), -EINVAL);
	un.b.pgsize = PAGE;
	un.b.size = 7;
	assert_int_equal(DO(s.container, VFIO_IOMMU_UNMAP_DMA, &un), -EINVAL);
	un.b.size = 8;
	assert_int_equal(mm_charged(k->owner), 3);
	assert_int_equal(DO(s.container, VFIO_IOMMU_UNMAP_DMA, &un), 0);
	assert_int_equal(un.u.size, 3 * PAGE);
	assert_int_equal(map[0], 0xe);
	assert_int_equal(mm_charged(k->owner), 0);
	fake_session_close(k, &s);
}

/* The same work when every input has to be asked for: same answers, nothing done twice. */
static void restartable(void **state)
{
	struct fake *k = *state;

	k->again = true;
	get_info(state);
	map_errors(state);
	unmap_v2(state);
	unmap_v1(state);
	unmap_errors(state);
	dirty_flags(state);
	dirty_bitmap(state);
	dirty_on_unmap(state);
	rule_charge_before_use(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(get_info),
	    T(get_info_short),
	    T(map_errors),
	    T(map_struct),
	    T(map_entries_run_out),
	    T(rule_charge_before_use),
	    T(rule_charge_exact_zero_after_close),
	    T(rule_unmap_before_unpin),
	    T(permissions),
	    T(unmap_v2),
	    T(unmap_v1),
	    T(unmap_errors),
	    T(unmap_without_an_answer),
	    T(unmap_to_the_top),
	    T(dirty_flags),
	    T(dirty_bitmap),
	    T(dirty_on_unmap),
	    T(restartable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
