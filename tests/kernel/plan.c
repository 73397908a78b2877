/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The generator keeps a rough idea of what exists (lists of references by kind, and areas as they were asked for), so
 * that most calls are valid or a step beside valid. The idea need not be true.
 */
#include "plan.h"

#include <string.h>

#include "abi.h"

#define PAGE	  0x1000UL
#define ARRAY(a)  (sizeof(a) / sizeof((a)[0]))
#define NUMBER(v) ((struct arg){.kind = ARG_NUMBER, .value = (uint64_t)(v)})

const char *const op_names[OP_COUNT] = {
#define X(name, nargs) #name,
    CALLS(X)
#undef X
};
const uint8_t op_args[OP_COUNT] = {
#define X(name, nargs) nargs,
    CALLS(X)
#undef X
};
const char *const tweak_names[TWEAK_COUNT] = {"",	  "short", "min",  "zero-tail", "tail",
					      "reserved", "edge",  "over", "read-only", "bad"};

enum kind { KIND_IOAS, KIND_STDEV, KIND_DEVICE, KIND_HWPT, KIND_DIRTY, KIND_PARENT, KIND_NESTED, KIND_FAULT, KINDS };
enum theme { PLAIN, DOMAINS, ACCESSES, DIRTYING, NESTING, VFIO, MIXED, THEMES };

#define LIST 24
struct list {
	unsigned int count;
	struct arg arg[LIST];
};

struct area {
	struct arg ioas, iova;
	uint64_t length, va;
};

struct item {
	struct arg access, item;
};

struct idea {
	uint64_t rng;
	unsigned int at; /* the call being made */
	enum theme theme;
	bool sure; /* nothing odd now */
	struct list list[KINDS];
	struct list access, fault_fd;
	unsigned int areas, items, cookies;
	struct area area[LIST];
	struct item item[LIST];
};

static uint64_t next(struct idea *m)
{
	uint64_t z = m->rng += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint64_t below(struct idea *m, uint64_t n)
{
	return n ? next(m) % n : 0;
}

static bool chance(struct idea *m, unsigned int percent)
{
	return below(m, 100) < percent;
}

/* Chance of something unusual. */
static bool rarely(struct idea *m, unsigned int percent)
{
	return chance(m, percent) && !m->sure;
}

#define ONE_OF(m, ...)                                                                                                 \
	({                                                                                                             \
		const uint64_t of_[] = {__VA_ARGS__};                                                                  \
		of_[below(m, ARRAY(of_))];                                                                             \
	})

static void list_add(struct idea *m, struct list *l, struct arg a)
{
	l->arg[l->count < LIST ? l->count++ : below(m, LIST)] = a;
}

static struct arg output(struct idea *m, enum arg_kind kind, unsigned int out)
{
	return (struct arg){.kind = kind, .out = out, .from = m->at};
}

static struct arg list_pick(struct idea *m, struct list *l)
{
	if (!l->count)
		return NUMBER(ONE_OF(m, 0, 1, 2, 3));
	/* The newest is the likeliest to be alive, the oldest the likeliest to have ever been. */
	switch (below(m, 3)) {
	case 0:
		return l->arg[0];
	case 1:
		return l->arg[l->count - 1];
	default:
		return l->arg[below(m, l->count)];
	}
}

static struct arg id_of(struct idea *m, enum kind kind)
{
	unsigned int p = m->sure ? 99 : below(m, 100);

	if (p < 3)
		return NUMBER(ONE_OF(m, 0, 1, 2, 3, 4, 77, UINT32_MAX));
	if (p < 7)
		return list_pick(m, &m->list[below(m, KINDS)]);
	return list_pick(m, &m->list[kind]);
}

/* Something that a device can be attached to. */
static struct arg id_of_table(struct idea *m)
{
	if (m->sure)
		return id_of(m, m->list[KIND_NESTED].count ? KIND_NESTED : KIND_IOAS);
	return id_of(m, ONE_OF(m, KIND_IOAS, KIND_IOAS, KIND_IOAS, KIND_HWPT, KIND_DIRTY, KIND_PARENT, KIND_NESTED));
}

static struct arg id_of_paging(struct idea *m)
{
	return id_of(m, chance(m, 75) || !m->list[KIND_PARENT].count ? KIND_HWPT : KIND_PARENT);
}

static struct arg id_of_dirty(struct idea *m)
{
	return m->list[KIND_DIRTY].count && !rarely(m, 10) ? id_of(m, KIND_DIRTY) : id_of_paging(m);
}

static struct arg access_fd(struct idea *m)
{
	struct arg a = list_pick(m, &m->access);

	if (a.kind == ARG_NUMBER || rarely(m, 2))
		return (struct arg){.kind = ARG_FD, .from = NO_FD, .out = below(m, 2)};
	return a;
}

static uint64_t odd(struct idea *m, uint64_t v)
{
	switch (below(m, 12)) {
	case 0:
		return v + 1;
	case 1:
		return v - 1;
	case 2:
	case 3:
		return v + MOCK_PAGE;
	case 4:
	case 5:
		return v - MOCK_PAGE;
	case 6:
		return v + PAGE;
	case 7:
		return 0;
	case 8:
		return UINT64_MAX;
	case 9:
		return UINT64_MAX - ONE_OF(m, 1, 0x7ff, 0xfff, 0x1fff);
	case 10:
		return 1UL << ONE_OF(m, 31, 32, 63);
	default:
		return v * 2;
	}
}

static uint64_t some_length(struct idea *m)
{
	uint64_t v = PAGE * ONE_OF(m, 1, 1, 1, 2, 2, 3, 4, 8);

	if (chance(m, 15))
		v = MOCK_PAGE * (1 + below(m, 8));
	return rarely(m, 5) ? odd(m, v) : v;
}

static uint64_t some_iova(struct idea *m)
{
	uint64_t v = APERTURE_START + 0x4000 * below(m, 32);

	if (rarely(m, 25))
		v += ONE_OF(m, MOCK_PAGE, PAGE, PAGE + MOCK_PAGE, 2 * PAGE);
	switch (m->sure ? 99 : below(m, 40)) {
	case 0:
		return ONE_OF(m, 0, PAGE, 0x10000, APERTURE_START - PAGE, APERTURE_START - 1);
	case 1:
		return APERTURE_LAST + 1 - ONE_OF(m, 0, MOCK_PAGE, PAGE, 2 * PAGE);
	case 2:
		return UINT64_MAX - ONE_OF(m, 0, 1, MOCK_PAGE - 1, PAGE - 1, 2 * PAGE - 1);
	case 3:
		return odd(m, v);
	default:
		return v;
	}
}

static uint64_t some_va(struct idea *m)
{
	uint64_t v = (chance(m, 50) ? VA_PRIVATE : VA_SHARED) + PAGE * below(m, VA_PAGES - 3);

	switch (m->sure ? 99 : below(m, 20)) {
	case 0:
		v = VA_FILE_RO + PAGE * below(m, VA_RO_PAGES);
		break;
	case 1:
		v = VA_ZERO_RO + PAGE * below(m, VA_RO_PAGES);
		break;
	case 2:
		v = VA_PRIVATE + PAGE * (VA_PAGES - 1);
		break;
	case 3:
		v = chance(m, 50) ? VA_NONE : ONE_OF(m, 0, PAGE, UINT64_MAX - 0xfff, UINT64_MAX);
		break;
	}
	if (chance(m, 20))
		v += MOCK_PAGE;
	return rarely(m, 4) ? v + ONE_OF(m, 1, 0x10, 0x7ff, 0x400) : v;
}

static struct arg plus(struct arg a, uint64_t v)
{
	a.value += v;
	return a;
}

/* An area as it may exist: with none yet, one that does not. */
static struct area *some_area(struct idea *m, struct area *none)
{
	if (m->areas && !rarely(m, 4))
		return &m->area[chance(m, 30) ? m->areas - 1 : below(m, m->areas)];
	*none = (struct area){list_pick(m, &m->list[KIND_IOAS]), NUMBER(some_iova(m)), some_length(m), some_va(m)};
	return none;
}

static void area_add(struct idea *m, struct area a)
{
	m->area[m->areas < LIST ? m->areas++ : below(m, LIST)] = a;
}

/* Part of an area: *at bytes into it, *length long; mostly inside it and aligned to unit. */
static void some_part(struct idea *m, const struct area *a, uint64_t unit, uint64_t *at, uint64_t *length)
{
	uint64_t units = a->length / unit;

	*at = 0;
	*length = a->length;
	if (units > 1 && units < 1024 && chance(m, 60)) {
		*at = unit * below(m, units);
		*length = unit * (1 + below(m, units - *at / unit));
	}
	if (rarely(m, 6))
		*length += ONE_OF(m, unit, PAGE, 1, -1UL);
	if (rarely(m, 5))
		*at = odd(m, *at);
	if (rarely(m, 3))
		*length = odd(m, *length);
}

static uint64_t map_flags(struct idea *m)
{
	uint64_t prot = MAP_WRITEABLE | MAP_READABLE;
	unsigned int p = m->sure ? 99 : below(m, 100);

	if (p < 25)
		prot = p < 15 ? MAP_READABLE : p < 23 ? MAP_WRITEABLE : 0;
	if (rarely(m, 2))
		prot |= ONE_OF(m, 8, 1U << 17, 1U << 31);
	return prot | (chance(m, 70) ? MAP_FIXED_IOVA : 0);
}

static void make_ioas_alloc(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(rarely(m, 8) ? ONE_OF(m, 1, 2, 1U << 31) : 0);
	list_add(m, &m->list[KIND_IOAS], output(m, ARG_ID, 0));
}

static void make_destroy(struct idea *m, struct arg *a)
{
	/* What is in use cannot go, and is asked for all the same. */
	a[0] = id_of(m, ONE_OF(m, KIND_IOAS, KIND_STDEV, KIND_STDEV, KIND_HWPT, KIND_HWPT, KIND_PARENT, KIND_NESTED,
			       KIND_NESTED, KIND_DEVICE, KIND_FAULT));
}

static void make_iova_ranges(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_IOAS);
	a[1] = NUMBER(ONE_OF(m, 0, 1, 1, 2, 3, 8, 100));
	a[2] = NUMBER(chance(m, 90) ? VA_AUX : ONE_OF(m, 0, VA_NONE, VA_AUX + AUX_PAGES * PAGE - 16, VA_AUX + 1));
	a[3] = NUMBER(0);
}

static void make_allow_iovas(struct idea *m, struct arg *a)
{
	unsigned int count = below(m, 4);
	uint64_t at = APERTURE_START + 0x4000 * below(m, 4);

	a[0] = id_of(m, KIND_IOAS);
	a[1] = NUMBER(rarely(m, 3) ? 5 : count);
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t length = 0x10000 * (1 + below(m, 8));

		a[2 + 2 * i] = NUMBER(rarely(m, 8) ? some_iova(m) : at);
		a[3 + 2 * i] = NUMBER(rarely(m, 8) ? ONE_OF(m, at, at + 1, at - 1, UINT64_MAX) : at + length - 1);
		at += length + ONE_OF(m, 0, PAGE, 0x10000, 0x1000000);
	}
}

static void make_map(struct idea *m, struct arg *a)
{
	struct area area = {.ioas = id_of(m, KIND_IOAS), .length = some_length(m), .va = some_va(m)};
	uint64_t flags = map_flags(m);

	a[0] = area.ioas;
	a[1] = NUMBER(flags);
	a[2] = NUMBER(area.va);
	a[3] = NUMBER(area.length);
	a[4] = area.iova = NUMBER(some_iova(m));
	if (!(flags & MAP_FIXED_IOVA))
		area.iova = output(m, ARG_IOVA, 0);
	area_add(m, area);
}

static void unmap_range(struct idea *m, struct arg *iova, struct arg *length, struct arg *ioas)
{
	struct area none, *area = some_area(m, &none);
	uint64_t at, part;
	unsigned int p = below(m, 100);

	*ioas = chance(m, 92) ? area->ioas : id_of(m, KIND_IOAS);
	*iova = area->iova;
	*length = NUMBER(area->length);
	if (p < 8) {
		*iova = NUMBER(0);
		*length = NUMBER(UINT64_MAX - (chance(m, 30) ? ONE_OF(m, 1, 0xfff) : 0));
	} else if (p < 20) {
		*iova = plus(*iova, -MOCK_PAGE * below(m, 3));
		*length = NUMBER(area->length + MOCK_PAGE * below(m, 5));
	} else if (p < 36) {
		some_part(m, area, MOCK_PAGE, &at, &part);
		*iova = plus(*iova, at);
		*length = NUMBER(part);
	} else if (p < 44) {
		*length = NUMBER(area->length + 0x4000 * (1 + below(m, 8)));
	} else if (p < 50) {
		*iova = NUMBER(some_iova(m));
		*length = NUMBER(some_length(m));
	} else if (area != &none && chance(m, 70)) {
		*area = m->area[--m->areas];
	}
}

static void make_unmap(struct idea *m, struct arg *a)
{
	unmap_range(m, &a[1], &a[2], &a[0]);
}

static void make_copy(struct idea *m, struct arg *a)
{
	struct area none, *src = some_area(m, &none), area = {.ioas = id_of(m, KIND_IOAS)};
	uint64_t flags = map_flags(m), at;

	some_part(m, src, MOCK_PAGE, &at, &area.length);
	area.va = src->va + at;
	a[0] = area.ioas;
	a[1] = chance(m, 95) ? src->ioas : id_of(m, KIND_IOAS);
	a[2] = NUMBER(flags);
	a[3] = NUMBER(area.length);
	a[4] = area.iova = NUMBER(some_iova(m));
	a[5] = plus(src->iova, at);
	if (!(flags & MAP_FIXED_IOVA))
		area.iova = output(m, ARG_IOVA, 0);
	area_add(m, area);
}

static void make_option(struct idea *m, struct arg *a)
{
	bool huge = chance(m, 70);

	a[0] = NUMBER(rarely(m, 6) ? ONE_OF(m, 2, 3, UINT32_MAX) : huge);
	a[1] = NUMBER(rarely(m, 6) ? ONE_OF(m, 2, 0xffff) : below(m, 2));
	a[2] = huge ? id_of(m, KIND_IOAS) : NUMBER(chance(m, 90) ? 0 : 1);
	a[3] = NUMBER(rarely(m, 10) ? ONE_OF(m, 2, UINT64_MAX, 1UL << 32) : below(m, 2));
}

static void make_vfio_ioas(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(rarely(m, 6) ? ONE_OF(m, 3, 0xffff) : m->sure ? 1 : ONE_OF(m, 0, 0, 1, 1, 1, 1, 2));
	a[1] = id_of(m, KIND_IOAS);
}

static void make_hwpt_alloc(struct idea *m, struct arg *a)
{
	bool nested = m->list[KIND_PARENT].count && (m->sure || chance(m, m->theme == NESTING ? 55 : 30));
	uint64_t flags = ONE_OF(m, 0, HWPT_DIRTY, HWPT_DIRTY, HWPT_NEST_PARENT, HWPT_NEST_PARENT, 3);
	bool fault = m->list[KIND_FAULT].count && (m->sure || chance(m, nested ? 50 : 5));
	enum kind kind;

	if (nested)
		flags = 0;
	else if (m->sure)
		flags = m->theme == NESTING ? HWPT_NEST_PARENT : HWPT_DIRTY;
	kind = nested ? KIND_NESTED : flags & HWPT_NEST_PARENT ? KIND_PARENT : flags ? KIND_DIRTY : KIND_HWPT;
	if (rarely(m, 4))
		flags ^= ONE_OF(m, 1, 2, 4, 8, 1U << 31);
	a[0] = id_of(m, KIND_DEVICE);
	a[1] = id_of(m, nested ? KIND_PARENT : KIND_IOAS);
	a[2] = NUMBER(flags | (fault ? HWPT_FAULT_ID : 0));
	a[3] = NUMBER(rarely(m, 6) ? ONE_OF(m, 0, 1, 2, DATA_SELFTEST) : nested ? DATA_SELFTEST : 0);
	a[4] = NUMBER(rarely(m, 8) ? ONE_OF(m, 0, 1, 3, 4, 8, 16, UINT32_MAX) : nested ? 4 : 0);
	a[5] = NUMBER(rarely(m, 5) ? ONE_OF(m, 0, VA_NONE, VA_AUX + 8) : VA_AUX);
	a[6] = id_of(m, KIND_FAULT);
	list_add(m, &m->list[kind], output(m, ARG_ID, 0));
}

static void make_hw_info(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_DEVICE);
	a[1] = NUMBER(rarely(m, 4) ? 1U << 31 : 0);
	a[2] = NUMBER(ONE_OF(m, 0, 4, 7, 8, 8, 9, 16, 64, PAGE));
	a[3] = NUMBER(chance(m, 90) ? VA_AUX : ONE_OF(m, 0, VA_NONE, VA_AUX + AUX_PAGES * PAGE - 8));
}

static void make_set_dirty(struct idea *m, struct arg *a)
{
	a[0] = id_of_dirty(m);
	a[1] = NUMBER(rarely(m, 5) ? ONE_OF(m, 2, 3) : m->sure || chance(m, 75));
}

/* A range of the aperture or of one area, for bitmaps; never long, a bitmap has a bit for each page. */
static void bitmap_range(struct idea *m, struct arg *iova, struct arg *length)
{
	struct area none, *area = some_area(m, &none);

	*iova = area->iova;
	*length = NUMBER(area->length < 0x100000 ? area->length : PAGE);
	switch (below(m, 12)) {
	case 0:
		*iova = NUMBER(some_iova(m));
		break;
	case 1:
		*length = NUMBER(ONE_OF(m, 0, 1, MOCK_PAGE - 1, MOCK_PAGE, MOCK_PAGE + 1));
		break;
	case 2:
		*length = NUMBER(UINT64_MAX - below(m, 2) * 0x7fe);
		break;
	case 3:
	case 4:
		*iova = NUMBER(APERTURE_START);
		*length = NUMBER(0x80000);
		break;
	case 5:
		*iova = plus(*iova, ONE_OF(m, 1, MOCK_PAGE, PAGE, -MOCK_PAGE));
		break;
	}
}

static void make_get_dirty(struct idea *m, struct arg *a)
{
	a[0] = id_of_dirty(m);
	a[1] = NUMBER(rarely(m, 4) ? 2 : chance(m, 30));
	bitmap_range(m, &a[2], &a[3]);
	a[4] = NUMBER(chance(m, 80) ? MOCK_PAGE : ONE_OF(m, 0, PAGE, PAGE, 2 * PAGE, 0x400, 0x100000));
	a[5] = NUMBER(chance(m, 80) ? VA_AUX : ONE_OF(m, 0, VA_NONE, VA_AUX + 1, VA_AUX + 0xff1, VA_AUX + 0xff8));
}

static void make_invalidate(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_NESTED);
	a[1] = NUMBER(rarely(m, 5) ? ONE_OF(m, 0, 1, 0xdadbeef) : INVALIDATE_SELFTEST);
	a[2] = NUMBER(rarely(m, 12) ? ONE_OF(m, 0, 4, 7, 9, 12, 16, PAGE, PAGE + 8, UINT32_MAX) : 8);
	a[3] = NUMBER(rarely(m, 8) ? ONE_OF(m, 1U << 19, (1U << 19) + 1, UINT32_MAX) : below(m, 4));
	a[4] = NUMBER(chance(m, 92) ? VA_AUX : ONE_OF(m, 0, VA_NONE));
	for (unsigned int i = 0; i < 3; i++)
		a[5 + i] = NUMBER(((rarely(m, 5) ? 2 : chance(m, 20)) << 8) | (rarely(m, 8) ? 4 : below(m, 4)));
}

static void make_fault_alloc(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(rarely(m, 8) ? 1 : 0);
	list_add(m, &m->list[KIND_FAULT], output(m, ARG_ID, 0));
	list_add(m, &m->fault_fd, output(m, ARG_FD, 1));
}

static void make_add_reserved(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_IOAS);
	a[1] = NUMBER(some_iova(m));
	a[2] = NUMBER(some_length(m));
}

static void make_mock_domain(struct idea *m, struct arg *a)
{
	a[0] = id_of_table(m);
	list_add(m, &m->list[KIND_STDEV], output(m, ARG_ID, 0));
	list_add(m, &m->list[KIND_HWPT], output(m, ARG_ID, 1));
	list_add(m, &m->list[KIND_DEVICE], output(m, ARG_ID, 2));
}

static void make_mock_flags(struct idea *m, struct arg *a)
{
	make_mock_domain(m, a);
	/* 4 is a device with PASIDs on newer kernels. */
	a[1] = NUMBER(rarely(m, 5) ? ONE_OF(m, 8, 1U << 31) : below(m, 4));
}

static void make_check_map(struct idea *m, struct arg *a)
{
	struct area none, *area = some_area(m, &none);
	uint64_t at, length;

	some_part(m, area, MOCK_PAGE, &at, &length);
	a[0] = id_of_paging(m);
	a[1] = plus(area->iova, at);
	a[2] = NUMBER(length < 0x100000 ? length : PAGE);
	a[3] = NUMBER(chance(m, 92) ? area->va + at : some_va(m));
}

static void make_check_refs(struct idea *m, struct arg *a)
{
	struct area none, *area = some_area(m, &none);

	a[0] = NUMBER(chance(m, 90) ? area->va & ~(PAGE - 1) : some_va(m));
	a[1] = NUMBER(PAGE * (1 + below(m, 2)) + (rarely(m, 4) ? MOCK_PAGE : 0));
	a[2] = NUMBER(ONE_OF(m, 0, 1, 1, 1, 2));
}

static void make_create_access(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_IOAS);
	a[1] = NUMBER(rarely(m, 4) ? 2 : m->sure || chance(m, 70));
	list_add(m, &m->access, output(m, ARG_FD, 0));
}

static void make_access_pages(struct idea *m, struct arg *a)
{
	struct area none, *area = some_area(m, &none);
	uint64_t at, length;

	some_part(m, area, PAGE, &at, &length);
	a[0] = access_fd(m);
	a[1] = plus(area->iova, at);
	a[2] = NUMBER(length);
	a[3] = NUMBER(chance(m, 60) ? area->va + at : chance(m, 80) ? 0 : some_va(m));
	a[4] = NUMBER(rarely(m, 4) ? ONE_OF(m, 2, 4, 1U << 31) : chance(m, 50));
	m->item[m->items < LIST ? m->items++ : below(m, LIST)] = (struct item){a[0], output(m, ARG_ID, 0)};
}

static void make_destroy_pages(struct idea *m, struct arg *a)
{
	a[0] = access_fd(m);
	a[1] = NUMBER(below(m, 3));
	if (m->items && !rarely(m, 8)) {
		const struct item *i = &m->item[below(m, m->items)];

		a[0] = i->access;
		a[1] = i->item;
	}
}

static void make_access_rw(struct idea *m, struct arg *a)
{
	struct area none, *area = some_area(m, &none);
	uint64_t at, length;

	some_part(m, area, ONE_OF(m, PAGE, MOCK_PAGE, 0x100, 0x11, 1), &at, &length);
	a[0] = access_fd(m);
	a[1] = plus(area->iova, at);
	a[2] = NUMBER(length);
	a[3] = NUMBER(chance(m, 95) ? VA_AUX : ONE_OF(m, 0, VA_NONE, VA_AUX + AUX_PAGES * PAGE - 16, VA_AUX + 3));
	a[4] = NUMBER((chance(m, 50) ? RW_WRITE : 0) | (chance(m, 35) ? RW_SLOW : 0) |
		      (rarely(m, 4) ? ONE_OF(m, 2, 8, 1U << 31) : 0));
}

static void make_memory_limit(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(ONE_OF(m, 0, 11, 12, 16, 24, 64, 1000, 65536));
}

static void make_replace(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_STDEV);
	a[1] = id_of_table(m);
}

static void make_access_replace(struct idea *m, struct arg *a)
{
	a[0] = access_fd(m);
	a[1] = id_of(m, KIND_IOAS);
}

static void make_dirty(struct idea *m, struct arg *a)
{
	a[0] = id_of_dirty(m);
	bitmap_range(m, &a[1], &a[2]);
	/* Other page sizes than the mock's are answered with marks elsewhere: not worth being like. */
	a[3] = NUMBER(chance(m, 97) ? MOCK_PAGE : 0);
	a[4] = NUMBER(chance(m, 96) ? VA_AUX : ONE_OF(m, 0, VA_NONE));
}

static void make_check_iotlb(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_NESTED);
	a[1] = NUMBER(rarely(m, 8) ? ONE_OF(m, 4, UINT32_MAX) : below(m, 4));
	a[2] = NUMBER(ONE_OF(m, 0, 0, IOTLB_DEFAULT, IOTLB_DEFAULT, 1));
}

static void make_iopf(struct idea *m, struct arg *a)
{
	a[0] = id_of(m, KIND_DEVICE);
	a[1] = NUMBER(below(m, 3));
	a[2] = NUMBER(below(m, 4));
	a[3] = NUMBER(below(m, 16));
	a[4] = NUMBER(some_iova(m));
}

static void make_test_other(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(ONE_OF(m, 0, 0x1000, UINT32_MAX));
}

static void make_close(struct idea *m, struct arg *a)
{
	struct list *l = chance(m, 60) ? &m->access : &m->fault_fd;

	a[0] = (struct arg){.kind = ARG_FD, .from = NO_FD};
	if (l->count)
		a[0] = l->arg[below(m, l->count)];
}

static struct arg fault_fd(struct idea *m)
{
	return m->fault_fd.count ? list_pick(m, &m->fault_fd) : (struct arg){.kind = ARG_FD, .from = NO_FD};
}

static void make_fault_read(struct idea *m, struct arg *a)
{
	a[0] = fault_fd(m);
	a[1] = NUMBER(ONE_OF(m, 40, 40, 40, 80, 120, 0, 39, 41));
}

static void make_fault_write(struct idea *m, struct arg *a)
{
	a[0] = fault_fd(m);
	a[1] = NUMBER(rarely(m, 10) ? ONE_OF(m, 0, 7) : 1 + below(m, 3));
	a[2] = NUMBER(rarely(m, 10) ? 2 : below(m, 2));
	a[3] = NUMBER(ONE_OF(m, 8, 8, 8, 16, 0, 7));
}

static void make_vfio_extension(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(below(m, 14));
}

static void make_vfio_set_iommu(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(m->sure ? ONE_OF(m, 1, 3) : ONE_OF(m, 1, 3, 3, 1, 8, 0, 2, 6));
}

static void make_vfio_get_info(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(ONE_OF(m, 0, 15, 16, 20, 23, 24, 32, 64, 120, 200, 0x1000));
}

static void make_vfio_map(struct idea *m, struct arg *a)
{
	struct area area = {.length = some_length(m), .va = some_va(m), .iova = NUMBER(some_iova(m))};

	a[0] = NUMBER(chance(m, 96) ? 32 : ONE_OF(m, 0, 31, 40));
	a[1] = NUMBER(rarely(m, 5) ? ONE_OF(m, 4, 0, 8) : ONE_OF(m, 3, 3, 3, 1, 2));
	a[2] = NUMBER(area.va);
	a[3] = area.iova;
	a[4] = NUMBER(area.length);
	area.ioas = list_pick(m, &m->list[KIND_IOAS]);
	area_add(m, area);
}

static void make_vfio_unmap(struct idea *m, struct arg *a)
{
	struct arg ioas;

	a[0] = NUMBER(chance(m, 96) ? 24 : ONE_OF(m, 0, 23, 40));
	a[1] = NUMBER(rarely(m, 4) ? ONE_OF(m, 1, 4) : 0);
	unmap_range(m, &a[2], &a[3], &ioas);
	if (rarely(m, 8)) {
		a[1] = NUMBER(2);
		a[2] = NUMBER(chance(m, 80) ? 0 : 0x1000);
		a[3] = NUMBER(chance(m, 80) ? 0 : 0x1000);
	}
}

static void make_vfio_dirty(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(1U << below(m, 3));
}

static void make_other(struct idea *m, struct arg *a)
{
	a[0] = NUMBER(ONE_OF(m, 0x60, 0x63, 0x7f, 0x96, 0x9f, 0xa1, 0xff));
}

static void memory_range(struct idea *m, struct arg *a)
{
	struct area none, *area = some_area(m, &none);
	uint64_t va = chance(m, 70) ? area->va & ~(PAGE - 1) : some_va(m) & ~(PAGE - 1);

	a[0] = NUMBER(va);
	a[1] = NUMBER(PAGE * (1 + below(m, 2)));
}

static void make_memory_write(struct idea *m, struct arg *a)
{
	memory_range(m, a);
	a[2] = NUMBER(below(m, 256));
}

static void make_nothing(struct idea *m, struct arg *a)
{
}

typedef void make_fn(struct idea *m, struct arg *a);

/* Weights of the calls in the sequences' themes. */
static const struct {
	make_fn *make;
	uint8_t weight[THEMES];
} makes[OP_COUNT] = {
    [OP_IOAS_ALLOC] = {make_ioas_alloc, {3, 2, 2, 1, 2, 2, 2}},
    [OP_DESTROY] = {make_destroy, {5, 10, 5, 4, 10, 3, 8}},
    [OP_IOVA_RANGES] = {make_iova_ranges, {8, 8, 3, 2, 2, 3, 6}},
    [OP_ALLOW_IOVAS] = {make_allow_iovas, {10, 6, 2, 2, 1, 3, 6}},
    [OP_MAP] = {make_map, {40, 35, 25, 25, 5, 12, 30}},
    [OP_UNMAP] = {make_unmap, {24, 18, 12, 8, 2, 6, 15}},
    [OP_COPY] = {make_copy, {24, 18, 12, 6, 1, 4, 12}},
    [OP_OPTION] = {make_option, {8, 8, 6, 2, 1, 6, 6}},
    [OP_VFIO_IOAS] = {make_vfio_ioas, {4, 1, 1, 1, 1, 6, 4}},
    [OP_HWPT_ALLOC] = {make_hwpt_alloc, {1, 14, 2, 10, 24, 2, 9}},
    [OP_HW_INFO] = {make_hw_info, {1, 5, 1, 2, 3, 1, 3}},
    [OP_SET_DIRTY] = {make_set_dirty, {1, 2, 1, 14, 2, 0, 4}},
    [OP_GET_DIRTY] = {make_get_dirty, {1, 2, 1, 26, 2, 0, 6}},
    [OP_INVALIDATE] = {make_invalidate, {1, 1, 0, 1, 20, 0, 4}},
    [OP_FAULT_ALLOC] = {make_fault_alloc, {1, 1, 1, 0, 8, 0, 3}},
    [OP_ADD_RESERVED] = {make_add_reserved, {8, 6, 3, 2, 1, 4, 5}},
    [OP_MOCK_DOMAIN] = {make_mock_domain, {1, 12, 2, 4, 6, 3, 6}},
    [OP_MOCK_FLAGS] = {make_mock_flags, {0, 4, 1, 3, 2, 1, 3}},
    [OP_CHECK_MAP] = {make_check_map, {0, 20, 5, 5, 1, 5, 10}},
    [OP_CHECK_REFS] = {make_check_refs, {3, 10, 10, 2, 1, 2, 5}},
    [OP_CREATE_ACCESS] = {make_create_access, {2, 4, 10, 1, 1, 2, 5}},
    [OP_ACCESS_PAGES] = {make_access_pages, {2, 8, 30, 1, 0, 3, 10}},
    [OP_DESTROY_PAGES] = {make_destroy_pages, {1, 3, 14, 1, 0, 1, 5}},
    [OP_ACCESS_RW] = {make_access_rw, {4, 8, 30, 2, 0, 3, 12}},
    [OP_MEMORY_LIMIT] = {make_memory_limit, {1, 2, 1, 1, 0, 0, 1}},
    [OP_REPLACE] = {make_replace, {0, 16, 2, 4, 14, 2, 8}},
    [OP_ACCESS_REPLACE] = {make_access_replace, {0, 2, 10, 0, 0, 1, 4}},
    [OP_DIRTY] = {make_dirty, {0, 1, 0, 20, 0, 0, 5}},
    [OP_CHECK_IOTLB] = {make_check_iotlb, {0, 0, 0, 0, 16, 0, 3}},
    [OP_IOPF] = {make_iopf, {0, 0, 0, 0, 16, 0, 3}},
    [OP_TEST_OTHER] = {make_test_other, {1, 1, 0, 0, 0, 0, 1}},
    [OP_CLOSE] = {make_close, {0, 2, 2, 0, 2, 0, 2}},
    [OP_FAULT_READ] = {make_fault_read, {0, 0, 0, 0, 14, 0, 3}},
    [OP_FAULT_WRITE] = {make_fault_write, {0, 0, 0, 0, 12, 0, 3}},
    [OP_VFIO_VERSION] = {make_nothing, {1, 0, 0, 0, 0, 2, 1}},
    [OP_VFIO_EXTENSION] = {make_vfio_extension, {1, 1, 0, 0, 0, 8, 2}},
    [OP_VFIO_SET_IOMMU] = {make_vfio_set_iommu, {1, 1, 0, 0, 0, 8, 2}},
    [OP_VFIO_GET_INFO] = {make_vfio_get_info, {1, 1, 0, 0, 0, 10, 2}},
    [OP_VFIO_MAP] = {make_vfio_map, {1, 1, 0, 0, 0, 36, 4}},
    [OP_VFIO_UNMAP] = {make_vfio_unmap, {1, 1, 0, 0, 0, 30, 4}},
    [OP_VFIO_DIRTY] = {make_vfio_dirty, {0, 0, 0, 0, 0, 2, 1}},
    [OP_OTHER] = {make_other, {1, 0, 0, 0, 0, 1, 1}},
    [OP_MEMORY_WRITE] = {make_memory_write, {1, 3, 6, 1, 0, 1, 3}},
    [OP_MEMORY_READ] = {memory_range, {1, 3, 6, 1, 0, 1, 3}},
    [OP_MEMORY_RENEW] = {memory_range, {1, 2, 3, 1, 0, 1, 2}},
    [OP_MEMORY_REMOVE] = {memory_range, {1, 1, 1, 0, 0, 1, 1}},
};

static enum op op_pick(struct idea *m, enum theme theme)
{
	unsigned int total = 0, at;

	for (unsigned int i = 0; i < OP_COUNT; i++)
		total += makes[i].weight[theme];
	at = below(m, total);
	for (unsigned int i = 0;; i++) {
		if (at < makes[i].weight[theme])
			return i;
		at -= makes[i].weight[theme];
	}
}

/* What a theme begins with, so that the rest has something to work on. */
static const enum op openings[THEMES][6] = {
    [PLAIN] = {OP_IOAS_ALLOC, OP_IOAS_ALLOC, OP_MAP},
    [DOMAINS] = {OP_IOAS_ALLOC, OP_IOAS_ALLOC, OP_MOCK_DOMAIN, OP_MAP, OP_MAP},
    [ACCESSES] = {OP_IOAS_ALLOC, OP_IOAS_ALLOC, OP_CREATE_ACCESS, OP_MAP, OP_MAP, OP_CREATE_ACCESS},
    [DIRTYING] = {OP_IOAS_ALLOC, OP_MOCK_DOMAIN, OP_HWPT_ALLOC, OP_MAP, OP_SET_DIRTY, OP_DIRTY},
    [NESTING] = {OP_IOAS_ALLOC, OP_MOCK_DOMAIN, OP_HWPT_ALLOC, OP_FAULT_ALLOC, OP_HWPT_ALLOC, OP_REPLACE},
    [VFIO] = {OP_IOAS_ALLOC, OP_VFIO_IOAS, OP_VFIO_SET_IOMMU, OP_VFIO_MAP, OP_VFIO_MAP, OP_MOCK_DOMAIN},
    [MIXED] = {OP_IOAS_ALLOC, OP_MOCK_DOMAIN, OP_CREATE_ACCESS, OP_MAP, OP_MAP, OP_HWPT_ALLOC},
};

void plan_make(struct plan *p, uint64_t seed, unsigned int calls)
{
	struct idea m = {.rng = seed};

	memset(p, 0, sizeof(*p));
	p->calls = calls < PLAN_CALLS ? calls : PLAN_CALLS;
	m.theme = below(&m, THEMES);
	p->memlock_pages = chance(&m, 25) ? 1 + below(&m, 14) : 1500;
	p->sys_resource = chance(&m, 20);
	for (m.at = 0; m.at < p->calls; m.at++) {
		struct call *c = &p->call[m.at];
		const enum op *begin = openings[m.theme];

		/* A generator of its own for each call: one more draw for one leaves the next ones as they are. */
		m.rng = seed * 1000003 + m.at * 0x5851f42d4c957f2dUL;
		m.sure = (m.at < 2 || (m.at < ARRAY(openings[0]) && begin[m.at] != OP_IOAS_ALLOC)) && !chance(&m, 4);
		c->op = m.sure ? begin[m.at] : op_pick(&m, m.theme);
		if (!m.sure && chance(&m, 7))
			c->tweak = 1 + below(&m, TWEAK_COUNT - 1);
		makes[c->op].make(&m, c->arg);
	}
}
