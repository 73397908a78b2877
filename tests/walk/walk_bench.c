/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a walk takes, tables in cache: ns per walk, of random pages of 2 MiB and of one page. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "guest.h"

#define WALKS 4000000u

static const struct {
	const char *name;
	struct walk_config cfg;
	uint64_t iova;
} rows[] = {
    {"x86 4-level", {WALK_X86, 48, 46, 12}, 0x123456600000},
    {"x86 5-level", {WALK_X86, 57, 46, 12}, 0x123456600000},
    {"x86 4-level, A/D set", {WALK_X86, 48, 46, 12, WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY}, 0x123456600000},
    {"Arm 4K 48 bits", {WALK_ARM, 48, 48, 12}, 0x123456600000},
    {"Arm 64K 42 bits", {WALK_ARM, 42, 48, 16}, 0x23456600000},
    {"RISC-V Sv39", {WALK_RISCV, 39, 56, 12}, 0x3456600000},
    {"RISC-V Sv57", {WALK_RISCV, 57, 56, 12}, 0x123456600000},
    {"s390 region-third", {WALK_S390, 42, 64, 12}, 0x23456600000},
    {"s390 region-first", {WALK_S390, 64, 64, 12}, 0x123456600000},
};

static double walks_time(struct guest *g, uint64_t iova, uint64_t mask)
{
	struct walk_result res;
	struct walk_fault_info fault;
	struct timespec a, b;
	uint64_t x = 1;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned int i = 0; i < WALKS; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		if (walk(&g->cfg, &g->mem, iova | (x >> 30 & mask), IOMMU_READ, &res, &fault))
			abort();
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / WALKS;
}

int main(void)
{
	printf("%-24s %8s %8s\n", "ns per walk", "one", "random");
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct guest *g = guest_new(&rows[i].cfg, 1);

		for (uint64_t off = 0; off < 2 << 20; off += 1UL << rows[i].cfg.granule)
			while (!guest_find(g, rows[i].iova + off, 0))
				guest_put(g, rows[i].iova + off, 0, false, STATE_ALL);
		printf("%-24s %8.1f %8.1f\n", rows[i].name, walks_time(g, rows[i].iova, 0xfff),
		       walks_time(g, rows[i].iova, 0x1fffff));
		guest_free(g);
	}
	return 0;
}
