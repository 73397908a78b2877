/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * flood ROUNDS [PHASES]: maps, unmaps, reads of the disk and accesses to registers, again and again, without a mistake
 * but one: each phase ends with a read to where nothing is. After each phase it says how many rounds there have been,
 * and waits for a line.
 */
#include "golden/golden.h"

#include <sys/mman.h>
#include <unistd.h>

#define PLACES 4096 /* of the space, one after the other */
#define READS  4    /* in a round */
#define KEPT   64   /* mappings that stay for a while */

static int depth;

/* Different ways to the same call, as in a big program. */
static __attribute__((noinline)) void map_from(unsigned int way, void *va, uint64_t iova)
{
	if (way % 8) {
		map_from(way - 1, va, iova);
		depth++;
		return;
	}
	expect_eq(dma_map(va, iova, PAGE, MAP_RW), 0);
}

static void round_of(uint8_t *memory, uint64_t n)
{
	uint64_t iova = (16ull << 30) + n % PLACES * 2 * PAGE, old = (16ull << 30) + (n - KEPT) % PLACES * 2 * PAGE;
	uint64_t unmapped;

	map_from(n, memory + n % KEPT * PAGE, iova);
	for (unsigned int i = 0; i < READS; i++)
		nvme_rw(false, n % 16, PAGE, iova);
	(void)*(volatile uint32_t *)nvme_bar();
	if (n >= KEPT)
		expect_eq(dma_unmap(old, PAGE, 0, &unmapped), 0);
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000,
		 phases = argc > 2 ? strtoull(argv[2], NULL, 0) : 4;
	char line[16];
	uint8_t *memory;

	driver_start();
	alarm(0);
	memory = pages_alloc(KEPT * PAGE);
	for (uint64_t phase = 0; phase < phases; phase++) {
		for (uint64_t n = phase * rounds; n < (phase + 1) * rounds; n++)
			round_of(memory, n);
		nvme_rw(false, 0, PAGE, (1ull << 36) + phase * PAGE);
		printf("%llu\n", (unsigned long long)((phase + 1) * rounds));
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			break;
	}
	driver_stop();
	return 0;
}
