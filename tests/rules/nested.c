/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules E1 and E2 with a real device: a first-stage table of the client's own, in VT-d's format (Intel VT-d
 * specification 9.7), over a parent that maps some of the client's memory.
 */
#include "guest.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80 };
#define LEAF (P | W | U)

/* ---- the table ---- */

static uint64_t *entry(uint64_t iova, unsigned int level)
{
	return table_entry(TAB_GPA, iova, level, LEAF);
}

static void invalidate(uint64_t iova, uint64_t npages)
{
	struct iommu_hwpt_vtd_s1_invalidate inv = {.addr = iova, .npages = npages};
	struct iommu_hwpt_invalidate c = {.size = sizeof(c),
					  .hwpt_id = nested,
					  .data_uptr = (uintptr_t)&inv,
					  .data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
					  .entry_len = sizeof(inv),
					  .entry_num = 1};

	expect_eq(ioctl(container, IOMMU_HWPT_INVALIDATE, &c), 0);
	expect_eq(c.entry_num, 1);
}

static void invalidate_all(void)
{
	invalidate(0, UINT64_MAX);
}

/* The i-th page of G_IOVA is the i-th of data again. */
static void table_reset(void)
{
	for (unsigned int i = 0; i < DATA; i++)
		set(entry(g_iova(i), 0), data_gpa(i) | LEAF);
	guest_fill();
	invalidate_all();
}

static void nested_started(void)
{
	struct iommu_hwpt_vtd_s1 s1 = {.pgtbl_addr = TAB_GPA, .addr_width = 48};

	device_bound();
	dma_ioas = ioas_alloc(container);
	guest_started(1);
	for (unsigned int i = 0; i < 5; i++)
		set(entry(NVME_IOVA + i * PAGE, 0), (NVME_IOVA + i * PAGE) | LEAF);
	set(entry(MIRROR_IOVA, 0), MIRROR_IOVA | LEAF);
	expect_eq(hwpt_alloc(parent, 0, IOMMU_HWPT_DATA_VTD_S1, &s1, sizeof(s1), &nested), 0);
	expect_eq(attach_to(nested), 0);
	table_reset();
	controller_start();
}

/* ---- cases ---- */

static void both_stages(void)
{
	nested_started();
	for (unsigned int i = 0; i < DATA; i++)
		expect_sees(g_iova(i), 'a' + i);
	expect(device_writes(g_iova(1), 'x'));
	expect_page(data_page(1), 'x', "what the device wrote");
	fill_page(data_page(1), 'b');
	expect_untouched();
	/* Accessed and dirty, as the device used them. */
	expect_eq(*entry(g_iova(0), 0) & (A | D), A);
	expect_eq(*entry(g_iova(1), 0) & (A | D), A | D);
	/* The parent's own addresses are none of the table's. */
	expect_unreachable(DATA_GPA);
	expect_unreachable(g_iova(DATA));
	expect_eq(object_destroy(parent), EBUSY);
	expect_eq(object_destroy(nested), EBUSY);
	expect_eq(object_destroy(dma_ioas), EBUSY);
	nvme_stop();
	expect_eq(cdev_detach(device), 0);
	expect_eq(object_destroy(nested), 0);
	expect_eq(object_destroy(parent), 0);
	expect_eq(object_destroy(dma_ioas), 0);
}

/* Whatever an entry of any level says, the parent has the last word. */
static void confined(void)
{
	nested_started();
	const uint64_t bad[] = {
	    HOLE_GPA,	    0,		DATA_GPA - PAGE, data_gpa(DATA),     (uintptr_t)outside, (uintptr_t)data,
	    (uintptr_t)tab, 0xfee00000, 0xffffffff000,	 (1UL << 48) - PAGE, 1UL << 48,		 (1UL << 52) - PAGE};

	for (unsigned int level = 0; level < 4; level++) {
		uint64_t *e = entry(G_IOVA, level), good = *e;

		for (unsigned int i = 0; i < COUNT(bad); i++) {
			for (unsigned int huge = 0; huge <= (level == 1 || level == 2); huge++) {
				uint64_t to = huge ? bad[i] & ~((1UL << (12 + 9 * level)) - 1) : bad[i];

				if (huge && (to == (DATA_GPA & ~((1UL << (12 + 9 * level)) - 1))))
					continue; /* that one leads to the data, and may */
				set(e, to | LEAF | (huge ? PS : 0));
				invalidate_all();
				/* A gigabyte from 0 has the queues. */
				if (huge && to <= NVME_IOVA)
					expect_eq(device_sees(G_IOVA + (16UL << 20)), -1);
				else
					expect_unreachable(G_IOVA);
				expect_untouched();
			}
		}
		/* Misaligned, reserved, not present. */
		set(e, good & ~(uint64_t)P);
		invalidate_all();
		expect_unreachable(G_IOVA);
		set(e, good | 1UL << 51);
		invalidate_all();
		expect_unreachable(G_IOVA);
		set(e, good);
		invalidate_all();
		expect_sees(G_IOVA, 'a');
	}
	expect_untouched();
}

/* Neither stage lends the other a right. */
static void rights(void)
{
	nested_started();
	/* The table's entry is dirty already when the parent's right goes. */
	expect(device_writes(G_IOVA, 'a'));
	expect_eq(space_unmap(dma_ioas, data_gpa(0), PAGE), 0);
	expect_eq(space_map(dma_ioas, data_page(0), data_gpa(0), PAGE, RD), 0);
	expect_sees(G_IOVA, 'a');
	expect(!device_writes(G_IOVA, 'x'));
	set(entry(g_iova(1), 0), data_gpa(1) | P | U);
	invalidate(g_iova(1), 1);
	expect_sees(g_iova(1), 'b');
	expect(!device_writes(g_iova(1), 'x'));
	set(entry(G_IOVA, 1), *entry(G_IOVA, 1) & ~(uint64_t)W);
	invalidate_all();
	expect_sees(g_iova(2), 'c');
	expect(!device_writes(g_iova(2), 'x'));
	/* A supervisor's pages are not for a device that does not say it is one. */
	set(entry(g_iova(3), 0), data_gpa(3) | P | W);
	invalidate_all();
	expect_unreachable(g_iova(3));
	expect_untouched();
}

/* What the parent lets go of is out of reach when the call returns, whatever has been cached. */
static void parent_unmap(void)
{
	nested_started();
	for (unsigned int round = 0; round < 20; round++) {
		unsigned int i = round % DATA, other = (i + 1) % DATA;

		expect_sees(g_iova(i), 'a' + i);
		expect(device_writes(g_iova(i), 'a' + i));
		expect_eq(space_unmap(dma_ioas, data_gpa(i), PAGE), 0);
		expect_unreachable(g_iova(i));
		expect_untouched();
		/* Another page in its place is seen at once. */
		expect_eq(space_map(dma_ioas, data_page(other), data_gpa(i), PAGE, RW), 0);
		expect_sees(g_iova(i), 'a' + other);
		expect_eq(space_unmap(dma_ioas, data_gpa(i), PAGE), 0);
		expect_eq(space_map(dma_ioas, data_page(i), data_gpa(i), PAGE, RW), 0);
		expect_sees(g_iova(i), 'a' + i);
	}
	expect_untouched();
}

/* With reads under way: nothing arrives after the call. */
static void parent_unmap_in_flight(void)
{
	uint8_t seen[PAGE];

	nested_started();
	expect(device_writes(G_IOVA, 'z'));
	for (unsigned int round = 0; round < 30; round++) {
		fill_page(data_page(0), 'a');
		for (unsigned int k = 0; k < 12; k++)
			nvme_put_read(2, G_IOVA);
		nvme_ring();
		usleep(round * 10);
		expect_eq(space_unmap(dma_ioas, data_gpa(0), PAGE), 0);
		memcpy(seen, data_page(0), PAGE);
		memset(data_page(0), 'k', PAGE);
		for (unsigned int k = 0; k < 12; k++)
			nvme_collect();
		expect_page(data_page(0), 'k', "memory that was unmapped under DMA");
		for (unsigned int k = 0; k < PAGE; k++)
			expect(seen[k] == 'a' || seen[k] == 'z');
		expect_eq(space_map(dma_ioas, data_page(0), data_gpa(0), PAGE, RW), 0);
	}
}

/* E2: the old translation may be used until it is invalidated, and not after. */
static void stale(void)
{
	uint64_t *branch, was;

	nested_started();
	branch = entry(G_IOVA, 2);
	was = *branch;
	for (unsigned int round = 0; round < 30; round++) {
		unsigned int i = round % 3;
		uint64_t *e = entry(g_iova(i), 0);

		table_reset();
		expect_sees(g_iova(i), 'a' + i);
		set(e, data_gpa(3) | LEAF);
		expect_sees_one_of(g_iova(i), 'a' + i, 'd');
		if (round % 2)
			invalidate(g_iova(i), 1);
		else
			invalidate(G_IOVA - 10 * PAGE, 20);
		expect_sees(g_iova(i), 'd');
		expect(device_writes(g_iova(i), 'd'));
		expect_untouched();
		/* Nothing, then something: what is not present is not remembered. */
		set(e, 0);
		expect_sees_one_of(g_iova(i), 'd', -1);
		invalidate(g_iova(i), 1);
		expect_unreachable(g_iova(i));
		expect_untouched();
		set(e, data_gpa(4) | LEAF);
		invalidate(g_iova(i), 1);
		expect_sees(g_iova(i), 'e');
		/* A whole branch of the tree. */
		set(branch, 0);
		invalidate(G_IOVA, 1UL << 18);
		expect_unreachable(g_iova(i));
		expect_unreachable(g_iova(5));
		set(branch, was);
		expect_untouched();
	}
}

/* ---- a table that changes under DMA ---- */

static bool stop;

static void *changer(void *arg)
{
	uint64_t *e = arg;
	const uint64_t v[] = {data_gpa(0) | LEAF,
			      data_gpa(1) | LEAF,
			      0,
			      HOLE_GPA | LEAF,
			      (uintptr_t)outside | LEAF,
			      data_gpa(0) | P | U,
			      data_gpa(1) | LEAF | A,
			      data_gpa(0) | LEAF | 1UL << 51};

	for (unsigned int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
		set(e, v[i * 7 % COUNT(v)]);
	return NULL;
}

/* Only what some version of the table names is ever touched: the two pages, whole. */
static void racing(void)
{
	unsigned int refused = 0, done = 0;
	pthread_t t;

	nested_started();
	stop = false;
	expect_eq(pthread_create(&t, NULL, changer, entry(G_IOVA, 0)), 0);
	/* On a busy machine the changer may not get on for a while. */
	for (unsigned int i = 0; i < 2000 || !done || !refused; i++) {
		bool got;

		if (i % 3)
			invalidate(G_IOVA, 1);
		if (i % 2) {
			got = device_writes(G_IOVA, 'p');
		} else {
			int c = device_sees(G_IOVA);

			got = c != -1;
			expect(!got || c == 'a' || c == 'b' || c == 'p');
		}
		done += got;
		refused += !got;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		if (data_page(i)[0] == 'p')
			fill_page(data_page(i), 'a' + i);
	}
	expect_untouched();
}

static void *branch_changer(void *arg)
{
	uint64_t *e = arg, good = *e;

	for (unsigned int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
		set(e, i % 4 == 0   ? good
		       : i % 4 == 1 ? TAB_GPA | LEAF /* around, to the root */
		       : i % 4 == 2 ? (uintptr_t)outside | LEAF
				    : HOLE_GPA | LEAF | PS);
	set(e, good);
	return NULL;
}

static void racing_branches(void)
{
	for (unsigned int level = 1; level < 4; level++) {
		pthread_t t;

		nested_started();
		stop = false;
		expect_eq(pthread_create(&t, NULL, branch_changer, entry(G_IOVA, level)), 0);
		for (unsigned int i = 0; i < 500; i++) {
			invalidate_all();
			nvme_rw(true, 1, PAGE, G_IOVA); /* may read a table, which is the client's own */
		}
		__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
		pthread_join(t, NULL);
		expect_untouched();
		device_gone();
		nvme_forget();
	}
}

/* A table that is its own next level: it is memory as any other, and the walk ends. */
static void self_reference(void)
{
	const uint64_t around = 100UL << 39 | 100UL << 30 | 100UL << 21 | 100UL << 12;
	uint8_t *seen = pages_alloc(PAGE);
	uint64_t *pd;

	nested_started();
	expect_eq(dma_map(seen, DATA_IOVA, PAGE, RW), 0);
	set(entry(DATA_IOVA, 0), DATA_IOVA | LEAF);
	set(&tab[100], TAB_GPA | LEAF);
	invalidate_all();
	/* The device reads the root by way of itself. */
	expect_eq(nvme_rw(true, 1, PAGE, around), 0);
	expect_eq(nvme_rw(false, 1, PAGE, DATA_IOVA), 0);
	for (unsigned int i = 0; i < 512; i++)
		expect_eq(((uint64_t *)seen)[i] & ~(uint64_t)(A | D), tab[i] & ~(uint64_t)(A | D));
	/* And writes it; what it wrote is a table then, if a strange one. */
	memcpy(seen, tab, PAGE);
	((uint64_t *)seen)[101] = 0xffffffffffffffff;
	((uint64_t *)seen)[102] = TAB_GPA | LEAF | PS;
	expect_eq(nvme_rw(true, 3, PAGE, DATA_IOVA), 0);
	expect_eq(nvme_rw(false, 3, PAGE, around), 0);
	invalidate_all();
	expect_eq(tab[101], 0xffffffffffffffff);
	expect_unreachable(101UL << 39);
	expect_unreachable(102UL << 39);
	/* Lower levels that point at themselves, at each other, and up. */
	pd = tab + ((*entry(G_IOVA, 2) & ~0xfffUL) - TAB_GPA) / 8;
	set(&pd[7], *entry(G_IOVA, 2));
	invalidate_all();
	nvme_rw(true, 1, PAGE, G_IOVA + (7UL << 21));
	set(&pd[8], TAB_GPA | LEAF);
	invalidate_all();
	expect_eq(device_sees(G_IOVA + (8UL << 21) + 300 * PAGE), -1);
	expect_untouched();
}

/* Tables in memory that the parent, or the client, lets go of. */
static void table_unmapped(void)
{
	uint64_t pt;

	nested_started();
	pt = *entry(G_IOVA, 1) & ~0xfffUL;
	expect_sees(G_IOVA, 'a');
	expect_eq(space_unmap(dma_ioas, pt, PAGE), 0);
	invalidate_all();
	expect_unreachable(G_IOVA);
	expect_unreachable(g_iova(1));
	expect_eq(space_map(dma_ioas, (uint8_t *)tab + (pt - TAB_GPA), pt, PAGE, RD), 0);
	/* Not writable: the bits are set already where they are, and nothing can be where they are not. */
	invalidate_all();
	expect_sees(G_IOVA, 'a');
	set(entry(g_iova(5), 0), data_gpa(5) | LEAF);
	invalidate_all();
	expect_unreachable(g_iova(5));
	expect_eq(*entry(g_iova(5), 0), data_gpa(5) | LEAF);
	expect_eq(space_unmap(dma_ioas, pt, PAGE), 0);
	expect_eq(space_map(dma_ioas, (uint8_t *)tab + (pt - TAB_GPA), pt, PAGE, RW), 0);
	expect_sees(g_iova(5), 'f');
	/* The client's own munmap takes nothing from the device (rule A2). */
	munmap((uint8_t *)tab + (pt - TAB_GPA), PAGE);
	invalidate_all();
	expect_sees(G_IOVA, 'a');
	expect_untouched();
}

/* From one kind of page table to the other and back: each alone translates, from the call on. */
static void replaced(void)
{
	nested_started();
	expect_eq(dma_map(outside, G_IOVA, PAGE, RW), 0);
	for (unsigned int i = 0; i < 10; i++) {
		expect_sees(G_IOVA, 'a');
		expect_eq(attach_to(parent), 0);
		expect_sees(G_IOVA, 'A');
		expect_sees(data_gpa(2), 'c');
		expect_unreachable(g_iova(1));
		expect_eq(attach_to(nested), 0);
		expect_unreachable(data_gpa(2));
	}
	expect_eq(attach_to(parent), 0);
	expect_eq(object_destroy(nested), 0);
	expect_sees(G_IOVA, 'A');
	expect_untouched();
}

const struct client_case nested_cases[] = {
    {"rule-nested-both-stages", "E1: DMA through a table of the client's own, and its parent", both_stages},
    {"rule-nested-confined", "E1: entries of every level that point where the parent maps nothing", confined},
    {"rule-nested-rights", "E1: what either stage forbids is forbidden", rights},
    {"rule-nested-parent-unmap", "E1: the parent's unmap holds at once", parent_unmap},
    {"rule-nested-in-flight", "E1: the parent's unmap under DMA", parent_unmap_in_flight},
    {"rule-nested-stale", "E2: stale until invalidated, and never after", stale},
    {"rule-nested-racing", "E1: a thread changes an entry under DMA", racing},
    {"rule-nested-racing-branches", "E1: a thread changes a branch of the tree under DMA", racing_branches},
    {"rule-nested-self", "E1: tables that are their own next level", self_reference},
    {"rule-nested-table-unmapped", "E1: tables in memory that goes away", table_unmapped},
    {"rule-nested-replaced", "A3: from the nested table to its parent, and back", replaced},
    {NULL, NULL, NULL},
};
