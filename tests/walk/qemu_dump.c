/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemu_dump FORMAT INPUT OUTPUT GRANULE FLAGS SEED ACCESS FILE: writes random tables to FILE; prints the address of the
 * first and of their memory, then addresses, each with what the walker makes of it, or "-".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest.h"

static void tables_build(struct guest *g)
{
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int level = guest_random(g, 2) ? 0 : guest_random(g, 4);
		uint64_t iova = guest_random(g, 0);

		if (i > 10 && g->count)
			iova = g->nodes[guest_random(g, g->count)].base + (guest_random(g, 8) << g->cfg.granule);
		guest_put(g, iova, level, false, STATE_ALL);
	}
}

static uint64_t iova_pick(struct guest *g)
{
	const struct node *n = &g->nodes[guest_random(g, g->count)];
	uint64_t iova = n->base + (guest_random(g, 0) & ((1ULL << n->shift) - 1));
	unsigned int bits = g->cfg.input_bits;

	if (guest_random(g, 10) == 0)
		iova = guest_random(g, 0);
	if (bits == 64)
		return iova;
	iova &= (1ULL << bits) - 1;
	if ((g->cfg.format == WALK_X86 || g->cfg.format == WALK_RISCV) && iova >> (bits - 1))
		iova |= ~0ULL << bits;
	return iova;
}

int main(int argc, char **argv)
{
	struct walk_config cfg;
	struct walk_fault_info fault;
	struct walk_result res;
	struct guest *g;
	FILE *file;

	if (argc != 9)
		return 2;
	cfg = (struct walk_config){.format = atoi(argv[1]),
				   .input_bits = atoi(argv[2]),
				   .output_bits = atoi(argv[3]),
				   .granule = atoi(argv[4]),
				   .flags = strtoul(argv[5], NULL, 0)};
	g = guest_new(&cfg, atoi(argv[6]));
	tables_build(g);
	file = fopen(argv[8], "w");
	if (!file || fwrite(g->bytes, 1, g->used, file) != g->used || fclose(file))
		return 1;
	printf("%#" PRIx64 " %#llx\n", g->cfg.root, GUEST_BASE);
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t iova = iova_pick(g);

		if (walk(&g->cfg, &g->mem, iova, IOMMU_READ | atoi(argv[7]), &res, &fault))
			printf("%#" PRIx64 " -\n", iova);
		else
			printf("%#" PRIx64 " %#" PRIx64 "\n", iova, res.addr);
	}
	guest_free(g);
	return 0;
}
