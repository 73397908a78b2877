/* SPDX-License-Identifier: BSD-3-Clause */
/* What the formats' manuals say should come out of what the guest built. */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

static bool flag(const struct guest *g, unsigned int f)
{
	return g->cfg.flags & f;
}

/* Which entry of the node is meant: of a group, each has its own accessed and dirty bits. */
static unsigned int node_nth(const struct guest *g, const struct node *n, uint64_t iova)
{
	return n->kind == NODE_LEAF ? (iova & ((1ULL << n->shift) - 1)) >> guest_level_shift(g, n->level) : 0;
}

/* The bits stand in the guest's memory now, if the walk did its part. */
static void node_mark(struct guest *g, struct node *n, uint64_t iova, unsigned int bits)
{
	unsigned int nth = node_nth(g, n, iova);
	struct node marked = *n;
	uint64_t entry;

	n->marked[nth] |= bits;
	marked.bits |= n->marked[nth];
	entry = encode_leaf(g, &marked, nth);
	entry = g->cfg.format == WALK_S390 || flag(g, WALK_BIG_ENDIAN) ? htobe64(entry) : htole64(entry);
	memcpy(g->expected + (n->entry_addr + nth * 8 - GUEST_BASE), &entry, 8);
}

static enum walk_fault x86_expect(struct guest *g, unsigned int eff, unsigned int leaf, int access, int *prot,
				  unsigned int *mark)
{
	bool priv = access & WALK_PRIV, user = eff & RIGHT_USER;
	bool update = flag(g, WALK_UPDATE_ACCESSED);

	*prot = user ? 0 : WALK_PRIV;
	if (user || priv) {
		*prot |= IOMMU_READ;
		if (eff & RIGHT_WRITE)
			*prot |= IOMMU_WRITE;
		if (priv && !flag(g, WALK_WRITE_PROTECT))
			*prot |= IOMMU_WRITE;
		if (eff & RIGHT_EXEC)
			*prot |= WALK_EXEC;
	}
	if (access & 7 & ~*prot)
		return WALK_PERMISSION;
	*mark = STATE_ACCESSED | (access & IOMMU_WRITE ? STATE_DIRTY : 0);
	if (update && !((leaf | *mark) & STATE_DIRTY))
		*prot &= ~IOMMU_WRITE;
	if (!update)
		*mark = 0;
	return WALK_OK;
}

static enum walk_fault arm_expect(struct guest *g, unsigned int eff, unsigned int leaf, int access, int *prot,
				  unsigned int *mark)
{
	bool priv = access & WALK_PRIV, user = eff & RIGHT_USER;
	bool clean = flag(g, WALK_UPDATE_DIRTY) && leaf & STATE_DIRTY && !(leaf & RIGHT_WRITE);
	/* Clean, and no table forbids it: eff lost the right only to the leaf. */
	bool write = eff & RIGHT_WRITE || (clean && eff & (1U << 16));

	if (!(leaf & STATE_ACCESSED) && !flag(g, WALK_UPDATE_ACCESSED) && !flag(g, WALK_NO_ACCESS_FAULT))
		return WALK_ACCESS_FLAG;
	*prot = user ? 0 : WALK_PRIV;
	if (user || priv)
		*prot |= IOMMU_READ | (write ? IOMMU_WRITE : 0);
	if (priv ? eff & RIGHT_PEXEC && !(user && write) : eff & RIGHT_EXEC)
		*prot |= WALK_EXEC;
	if (access & 7 & ~*prot)
		return WALK_PERMISSION;
	if (flag(g, WALK_UPDATE_ACCESSED))
		*mark |= STATE_ACCESSED;
	if (clean && access & IOMMU_WRITE)
		*mark |= RIGHT_WRITE;
	if (clean && !(access & IOMMU_WRITE))
		*prot &= ~IOMMU_WRITE;
	return WALK_OK;
}

static enum walk_fault riscv_expect(struct guest *g, unsigned int leaf, int access, int *prot, unsigned int *mark)
{
	bool priv = access & WALK_PRIV, user = leaf & RIGHT_USER;
	unsigned int need = STATE_ACCESSED | (access & IOMMU_WRITE ? STATE_DIRTY : 0);

	*prot = user ? 0 : WALK_PRIV;
	if (user != priv || (user && priv && flag(g, WALK_SUPERVISOR_USER))) {
		*prot |= leaf & RIGHT_READ ? IOMMU_READ : 0;
		*prot |= leaf & RIGHT_WRITE ? IOMMU_WRITE : 0;
		*prot |= leaf & RIGHT_EXEC && !(user && priv) ? WALK_EXEC : 0;
	}
	if (access & 7 & ~*prot)
		return WALK_PERMISSION;
	if (need & ~leaf && !flag(g, WALK_UPDATE_ACCESSED))
		return WALK_ACCESS_FLAG;
	*mark = need;
	if (!((leaf | need) & STATE_DIRTY))
		*prot &= ~IOMMU_WRITE;
	return WALK_OK;
}

static enum walk_fault s390_expect(unsigned int eff, int access, int *prot)
{
	*prot = IOMMU_READ;
	if (eff & RIGHT_WRITE)
		*prot |= IOMMU_WRITE;
	if (eff & RIGHT_EXEC)
		*prot |= WALK_EXEC;
	return access & 7 & ~*prot ? WALK_PERMISSION : WALK_OK;
}

/* passed: what all tables above let through. */
static enum walk_fault leaf_expect(struct guest *g, unsigned int bits, unsigned int passed, int access, int *prot,
				   unsigned int *mark)
{
	unsigned int eff = bits & passed;

	*mark = 0;
	switch (g->cfg.format) {
	case WALK_X86:
		return x86_expect(g, eff, bits, access, prot, mark);
	case WALK_ARM:
		return arm_expect(g, eff | (passed & RIGHT_WRITE ? 1U << 16 : 0), bits, access, prot, mark);
	case WALK_RISCV:
		return riscv_expect(g, bits, access, prot, mark);
	default:
		return s390_expect(eff, access, prot);
	}
}

static bool input_good(const struct guest *g, uint64_t iova)
{
	unsigned int bits = g->cfg.input_bits;
	uint64_t top;

	if (bits == 64)
		return true;
	if (g->cfg.format == WALK_ARM || g->cfg.format == WALK_S390)
		return iova < 1ULL << bits;
	top = iova >> (bits - 1);
	return top == 0 || top == (1ULL << (65 - bits)) - 1;
}

static int fail(struct walk_fault_info *fault, enum walk_fault kind, unsigned int level, uint64_t addr)
{
	fault->kind = kind;
	fault->level = level;
	fault->entry_addr = addr;
	return -EFAULT;
}

int guest_expect(struct guest *g, uint64_t iova, int access, struct walk_result *res, struct walk_fault_info *fault)
{
	unsigned int passed = RIGHT_ALL, mark, level = g->levels;
	uint64_t in_table, base = 0, table = g->cfg.root, offset;

	if (!(access & 7))
		access |= IOMMU_READ;
	if (!input_good(g, iova))
		return fail(fault, WALK_ADDRESS_SIZE, g->levels - 1, 0);
	while (level--) {
		struct node *n = guest_find(g, iova, level);
		enum walk_fault kind;

		in_table = g->cfg.input_bits == 64 ? iova : iova & ((1ULL << g->cfg.input_bits) - 1);
		in_table = ((in_table - base) >> guest_level_shift(g, level)) * 8 + table;
		if (!n)
			return fail(fault, WALK_NOT_PRESENT, level, in_table);
		if (n->kind == NODE_BAD)
			return fail(fault, n->fault, level, in_table);
		if (n->kind == NODE_TABLE) {
			if (g->cfg.format == WALK_X86 && flag(g, WALK_UPDATE_ACCESSED))
				node_mark(g, n, iova, STATE_ACCESSED);
			passed &= n->bits;
			base = n->base;
			table = n->out;
			continue;
		}
		kind = leaf_expect(g, n->bits | n->marked[node_nth(g, n, iova)], passed, access, &res->prot, &mark);
		if (kind)
			return fail(fault, kind, level, in_table);
		if (mark)
			node_mark(g, n, iova, mark);
		offset = iova & ((1ULL << n->shift) - 1);
		res->addr = n->out + offset;
		res->size = 1ULL << n->shift;
		res->level = level;
		return 0;
	}
	abort();
}

static void differ(struct guest *g, uint64_t iova, int access, int r, const struct walk_result *res,
		   const struct walk_fault_info *fault, int r2, const struct walk_result *res2,
		   const struct walk_fault_info *fault2)
{
	fprintf(stderr, "format %u, input %u, output %u, granule %u, flags %#x: iova %#" PRIx64 " access %d\n",
		g->cfg.format, g->cfg.input_bits, g->cfg.output_bits, g->cfg.granule, g->cfg.flags, iova, access);
	fprintf(stderr,
		"walk:     %d addr %#" PRIx64 " size %#" PRIx64 " prot %d level %u; fault %u level %u at %#" PRIx64
		"\n",
		r, res->addr, res->size, res->prot, res->level, fault->kind, fault->level, fault->entry_addr);
	fprintf(stderr,
		"expected: %d addr %#" PRIx64 " size %#" PRIx64 " prot %d level %u; fault %u level %u at %#" PRIx64
		"\n",
		r2, res2->addr, res2->size, res2->prot, res2->level, fault2->kind, fault2->level, fault2->entry_addr);
	abort();
}

int guest_walk(struct guest *g, uint64_t iova, int access, struct walk_result *res, struct walk_fault_info *fault)
{
	struct walk_result res2 = {0};
	struct walk_fault_info fault2 = {0};
	int r, r2;

	memset(res, 0, sizeof(*res));
	memset(fault, 0, sizeof(*fault));
	g->loads = g->updates = 0;
	r = walk(&g->cfg, &g->mem, iova, access, res, fault);
	r2 = guest_expect(g, iova, access, &res2, &fault2);
	if (r2)
		memset(&res2, 0, sizeof(res2));
	if (r != r2 || memcmp(res, &res2, sizeof(res2)) || memcmp(fault, &fault2, sizeof(fault2)))
		differ(g, iova, access, r, res, fault, r2, &res2, &fault2);
	return r;
}
