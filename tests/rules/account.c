/* SPDX-License-Identifier: BSD-3-Clause */
/* Rule B1: pinned memory is charged before it can be reached, once, and given back to the last page. */
#include "rules.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define L 40u /* pages; the controller's queues and the mirror take some */

static uint8_t *mem;

/*
 * How many pages can be pinned still, in an iommufd of its own: what is counted there is what the process, or its
 * user, has pinned elsewhere. Pinning needs a page table, and so the device.
 */
static unsigned int room_now(bool process)
{
	uint8_t *p = pages_alloc(2 * L * PAGE);
	unsigned int n = 0;

	if (process)
		process_mode();
	device_bound();
	dma_ioas = ioas_alloc(container);
	expect_eq(attach_to(dma_ioas), 0);
	while (n < 2 * L && !dma_map(p + n * PAGE, DATA_IOVA + n * PAGE, PAGE, RW))
		n++;
	expect(n == 2 * L || errno == ENOMEM);
	device_gone();
	munmap(p, 2 * L * PAGE);
	return n;
}

static void limit_in(bool process)
{
	uint32_t second, hwpt, other;

	limit_set(L);
	expect_eq(room_now(process), L);
	expect_eq(room_now(process), L); /* all of it came back */
	if (process)
		process_mode();
	device_bound();
	dma_ioas = ioas_alloc(container);
	expect_eq(attach_to(dma_ioas), 0);
	controller_start(); /* 5 and 1 */
	mem = pages_alloc(2 * L * PAGE);
	for (unsigned int i = 0; i < L - 6; i++) {
		fill_page(mem + i * PAGE, i + 1);
		expect_eq(dma_map(mem + i * PAGE, DATA_IOVA + i * PAGE, PAGE, RW), 0);
	}
	expect_eq(dma_map(mem + L * PAGE, DATA_IOVA + L * PAGE, PAGE, RW), ENOMEM);
	expect_eq(dma_map(mem + L * PAGE, DATA_IOVA + L * PAGE, 10 * PAGE, RW), ENOMEM);
	expect_unreachable(DATA_IOVA + L * PAGE);
	for (unsigned int i = 0; i < L - 6; i++)
		expect_sees(DATA_IOVA + i * PAGE, i + 1);
	/* What is pinned is paid for: copies, in this IOAS and another, and more page tables of the same IOAS. */
	expect_eq(space_copy(dma_ioas, DATA_IOVA + 0x100000, dma_ioas, DATA_IOVA, (L - 6) * PAGE), 0);
	second = space_with_rings();
	expect_eq(space_copy(second, DATA_IOVA, dma_ioas, DATA_IOVA, (L - 6) * PAGE), 0);
	expect_eq(hwpt_alloc(dma_ioas, IOMMU_HWPT_ALLOC_NEST_PARENT, 0, NULL, 0, &hwpt), 0);
	expect_eq(hwpt_alloc(second, 0, 0, NULL, 0, &other), 0);
	expect_eq(attach_to(second), 0);
	for (unsigned int i = 0; i < L - 6; i++)
		expect_sees(DATA_IOVA + i * PAGE, i + 1);
	/* One that is still needed elsewhere makes no room; the last use of it does. */
	expect_eq(space_unmap(dma_ioas, DATA_IOVA, PAGE), 0);
	expect_eq(dma_map(mem + L * PAGE, DATA_IOVA, PAGE, RW), ENOMEM);
	expect_eq(space_unmap(second, DATA_IOVA, (L - 6) * PAGE), 0);
	expect_eq(dma_map(mem + L * PAGE, DATA_IOVA, PAGE, RW), ENOMEM);
	expect_eq(space_unmap(dma_ioas, DATA_IOVA + 0x100000, (L - 6) * PAGE), 0);
	expect_eq(dma_map(mem + L * PAGE, DATA_IOVA, PAGE, RW), 0);
	expect_eq(dma_map(mem + (L + 1) * PAGE, DATA_IOVA + L * PAGE, PAGE, RW), ENOMEM);
	device_gone();
	nvme_forget();
	expect_eq(room_now(process), L);
}

static void limit_user(void)
{
	limit_in(false);
}

static void limit_process(void)
{
	limit_in(true);
}

/* A space that is too large for the limit gets no page table, and nothing of it is charged. */
static void attach_too_much(void)
{
	limit_set(L);
	device_bound();
	mem = pages_alloc(2 * L * PAGE);
	dma_ioas = ioas_alloc(container);
	for (unsigned int i = 0; i < L + 1; i++)
		expect_eq(dma_map(mem + i * PAGE, DATA_IOVA + i * PAGE, PAGE, RW), 0); /* promises */
	for (unsigned int i = 0; i < 3; i++)
		expect_eq(attach_to(dma_ioas), ENOMEM);
	expect_eq(dma_unmap(DATA_IOVA + 3 * PAGE, PAGE, 0, NULL), 0);
	expect_eq(attach_to(dma_ioas), 0);
	expect_eq(dma_map(mem, DATA_IOVA + 3 * PAGE, PAGE, RW), ENOMEM);
	device_gone();
	expect_eq(room_now(false), L);
}

/* A table of the client's own pins nothing, however often it is walked: the parent has pinned and paid. */
static void nested_pays_nothing(void)
{
	struct iommu_hwpt_vtd_s1 s1 = {.pgtbl_addr = DATA_IOVA, .addr_width = 48};
	uint32_t parent, nested[8];

	limit_set(L);
	device_bound();
	dma_ioas = ioas_alloc(container);
	mem = pages_alloc(2 * L * PAGE);
	expect_eq(hwpt_alloc(dma_ioas, IOMMU_HWPT_ALLOC_NEST_PARENT, 0, NULL, 0, &parent), 0);
	expect_eq(dma_map(mem, DATA_IOVA, (L + 1) * PAGE, RW), ENOMEM);
	expect_eq(dma_map(mem, DATA_IOVA, L * PAGE, RW), 0);
	for (unsigned int i = 0; i < COUNT(nested); i++)
		expect_eq(hwpt_alloc(parent, 0, IOMMU_HWPT_DATA_VTD_S1, &s1, sizeof(s1), &nested[i]), 0);
	expect_eq(attach_to(nested[3]), 0);
	expect_eq(dma_map(mem + L * PAGE, DATA_IOVA + L * PAGE, PAGE, RW), ENOMEM);
	device_gone();
	expect_eq(room_now(false), L);
}

/* ---- killed in the middle ---- */

static void map_for_ever(void)
{
	mem = pages_alloc(L * PAGE);
	device_bound();
	dma_ioas = ioas_alloc(container);
	expect_eq(attach_to(dma_ioas), 0);
	for (unsigned int i = 0;; i++) {
		unsigned int n = 1 + i % (L / 2);

		if (i % 5 == 0)
			memset(pages_alloc(PAGE), 1, PAGE); /* more to move */
		dma_map(mem + i % 7 * PAGE, DATA_IOVA + i % 2 * 0x100000, n * PAGE, RW);
		dma_unmap(DATA_IOVA + (i + 1) % 2 * 0x100000, L * PAGE, 0, NULL);
		if (i % 16 == 0) {
			munmap(mem, L * PAGE);
			mem = pages_alloc(L * PAGE);
		}
	}
}

static void killed_in_map(void)
{
	limit_set(L);
	for (unsigned int round = 0; round < 25; round++) {
		pid_t pid = child_start(map_for_ever);

		usleep(2000 + round * 1700);
		child_kill(pid);
		/* The device is free when its owner's descriptors are; by then all has been given back. */
		device_wait_free();
		expect_eq(room_now(false), L);
	}
}

const struct client_case account_cases[] = {
    {"rule-charge-before-use", "B1: the user's limit; copies and page tables cost nothing more", limit_user},
    {"rule-charge-before-use-process", "B1: the process's limit", limit_process},
    {"rule-charge-before-use-attach", "B1: what is pinned by an attach", attach_too_much},
    {"rule-charge-before-use-nested", "B1: nested page tables", nested_pays_nothing},
    {"rule-charge-before-use-killed", "B1: nothing stays charged for who is killed in a map", killed_in_map},
    {NULL, NULL, NULL},
};
