/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

uint64_t guest_random(struct guest *g, uint64_t below)
{
	uint64_t x;

	g->seed += 0x9e3779b97f4a7c15ULL;
	x = g->seed;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	x ^= x >> 31;
	return below ? x % below : x;
}

static bool inside(uint64_t addr)
{
	return addr % 8 == 0 && addr >= GUEST_BASE && addr - GUEST_BASE < GUEST_SIZE;
}

uint64_t *guest_entry(struct guest *g, uint64_t addr)
{
	return inside(addr) ? (uint64_t *)(g->bytes + (addr - GUEST_BASE)) : NULL;
}

static uint64_t stored(const struct guest *g, uint64_t entry)
{
	return g->cfg.format == WALK_S390 || g->cfg.flags & WALK_BIG_ENDIAN ? htobe64(entry) : htole64(entry);
}

static void expect_store(struct guest *g, uint64_t addr, uint64_t entry)
{
	entry = stored(g, entry);
	memcpy(g->expected + (addr - GUEST_BASE), &entry, 8);
}

void guest_store(struct guest *g, uint64_t addr, uint64_t entry)
{
	*guest_entry(g, addr) = stored(g, entry);
	expect_store(g, addr, entry);
}

uint64_t guest_fetch(struct guest *g, uint64_t addr)
{
	return stored(g, *guest_entry(g, addr));
}

static int guest_load(void *ctx, uint64_t addr, void *dst, size_t len)
{
	struct guest *g = ctx;
	int r;

	g->loads++;
	if (addr % 8 || len != 8)
		abort();
	if (!inside(addr))
		return -EFAULT;
	r = g->on_load ? g->on_load(g, addr) : 0;
	if (!r)
		memcpy(dst, guest_entry(g, addr), 8);
	return r;
}

static int guest_update(void *ctx, uint64_t addr, uint64_t old, uint64_t new)
{
	struct guest *g = ctx;
	int r;

	g->updates++;
	if (!inside(addr) || old == new)
		abort();
	r = g->on_update ? g->on_update(g, addr) : 0;
	if (r)
		return r;
	if (le64toh(*guest_entry(g, addr)) != old)
		return -EAGAIN;
	*guest_entry(g, addr) = htole64(new);
	return 0;
}

static unsigned int table_entries_shift(const struct guest *g, unsigned int level)
{
	if (g->cfg.format == WALK_S390)
		return level ? 11 : 8;
	return g->cfg.granule - 3;
}

unsigned int guest_level_shift(const struct guest *g, unsigned int level)
{
	unsigned int shift = g->cfg.granule;

	for (unsigned int l = 0; l < level; l++)
		shift += table_entries_shift(g, l);
	return shift;
}

/* The table's entries are random but absent: a walker that strays is seen. */
static uint64_t table_alloc(struct guest *g, unsigned int level)
{
	unsigned int shift = table_entries_shift(g, level);
	uint64_t size = 8ULL << shift, addr;

	if (g->cfg.format == WALK_S390 && level)
		size = 16384;
	g->used = (g->used + size - 1) & ~(size - 1);
	if (g->used + size > GUEST_SIZE)
		return 0;
	addr = GUEST_BASE + g->used;
	g->used += size;
	for (uint64_t i = 0; i < 8ULL << shift; i += 8) {
		uint64_t junk = guest_random(g, 0);

		if (g->cfg.format == WALK_S390)
			junk |= level ? 0x20 : 0x400;
		else
			junk &= ~1ULL;
		guest_store(g, addr + i, junk);
	}
	return addr;
}

static uint64_t truncated(const struct guest *g, uint64_t iova)
{
	return g->cfg.input_bits == 64 ? iova : iova & ((1ULL << g->cfg.input_bits) - 1);
}

struct guest *guest_new(const struct walk_config *cfg, uint64_t seed)
{
	struct guest *g = calloc(1, sizeof(*g));

	g->cfg = *cfg;
	g->seed = seed;
	g->mem = (struct walk_mem){.ctx = g, .load = guest_load, .update = guest_update};
	g->bytes = calloc(1, GUEST_SIZE);
	g->expected = calloc(1, GUEST_SIZE);
	while (guest_level_shift(g, g->levels) < cfg->input_bits)
		g->levels++;
	g->cfg.root = table_alloc(g, g->levels - 1);
	if (walk_config_check(&g->cfg))
		abort();
	return g;
}

void guest_free(struct guest *g)
{
	free(g->bytes);
	free(g->expected);
	free(g);
}

struct node *guest_find(struct guest *g, uint64_t iova, unsigned int level)
{
	uint64_t x = truncated(g, iova);

	for (unsigned int i = 0; i < g->count; i++)
		if (g->nodes[i].level == level && (x ^ g->nodes[i].base) >> g->nodes[i].shift == 0)
			return &g->nodes[i];
	return NULL;
}

static bool range_free(struct guest *g, uint64_t base, unsigned int shift, unsigned int level)
{
	for (unsigned int i = 0; i < g->count; i++) {
		struct node *n = &g->nodes[i];
		unsigned int wide = shift > n->shift ? shift : n->shift;

		if (n->level == level && (base ^ n->base) >> wide == 0)
			return false;
	}
	return true;
}

/* A frame anywhere; often close to the end of what fits. */
static uint64_t frame_pick(struct guest *g, unsigned int shift)
{
	uint64_t frames = g->cfg.output_bits == 64 && shift == 0 ? 0 : 1ULL << (g->cfg.output_bits - shift);

	return guest_random(g, frames) << shift;
}

static void node_write(struct guest *g, const struct node *n)
{
	unsigned int small = guest_level_shift(g, n->level);
	unsigned int entries = n->kind == NODE_LEAF ? 1U << (n->shift - small) : 1;

	for (unsigned int i = 0; i < entries; i++)
		guest_store(g, n->entry_addr + i * 8, encode_leaf(g, n, i));
}

static struct node *node_add(struct guest *g, const struct node *parent, uint64_t iova, struct node n)
{
	unsigned int small = guest_level_shift(g, n.level), quarter;
	uint64_t table = parent ? parent->out : g->cfg.root, index;
	struct node *added = &g->nodes[g->count];

	if (g->count == GUEST_NODES)
		return NULL;
	n.shift = n.shift ? n.shift : small;
	n.base = truncated(g, iova) >> n.shift << n.shift;
	n.junk = guest_random(g, 0);
	if (!range_free(g, n.base, n.shift, n.level))
		return NULL;
	index = (n.base - (parent ? parent->base : 0)) >> small;
	n.entry_addr = table + index * 8;
	quarter = index >> 9;
	if (parent && g->cfg.format == WALK_S390 && n.level && (quarter < parent->first || quarter > parent->last))
		return NULL;
	*added = n;
	g->count++;
	return added;
}

static unsigned int bits_pick(struct guest *g, enum node_kind kind, int bits)
{
	if (bits < 0 && kind == NODE_TABLE) /* mostly open, or nothing below would be */
		bits = guest_random(g, 4) ? RIGHT_ALL : guest_random(g, STATE_ALL + 1);
	else if (bits < 0)
		bits = guest_random(g, 4) ? STATE_ALL & ~guest_random(g, STATE_ALL + 1) : STATE_ALL;
	return encode_legal_bits(g, kind, bits);
}

static struct node *table_put(struct guest *g, const struct node *parent, uint64_t iova, unsigned int level, int bits)
{
	struct node n = {.kind = NODE_TABLE, .level = level, .last = 3}, *added;

	n.bits = bits_pick(g, NODE_TABLE, bits);
	if (g->cfg.format == WALK_S390 && level > 1 && bits < 0) {
		n.first = guest_random(g, 3);
		n.last = n.first + guest_random(g, 4 - n.first);
	}
	n.out = table_alloc(g, level - 1);
	added = n.out ? node_add(g, parent, iova, n) : NULL;
	if (added)
		node_write(g, added);
	return added;
}

static struct node *leaf_put(struct guest *g, const struct node *parent, uint64_t iova, unsigned int level, int bits)
{
	struct node n = {.kind = NODE_LEAF, .level = level}, *added;
	unsigned int group = encode_group_bits(g, level);

	if (!encode_has_leaf(g, level))
		return NULL;
	n.bits = bits_pick(g, NODE_LEAF, bits);
	n.shift = guest_level_shift(g, level);
	if (group && guest_random(g, 3) == 0 && n.shift + group < g->cfg.output_bits) {
		n.grouped = true;
		n.shift += group;
	}
	n.out = frame_pick(g, n.shift);
	added = node_add(g, parent, iova, n);
	if (added)
		node_write(g, added);
	return added;
}

static struct node *bad_put(struct guest *g, const struct node *parent, uint64_t iova, unsigned int level)
{
	struct node n = {.kind = NODE_BAD, .level = level}, *added = node_add(g, parent, iova, n);

	if (added)
		guest_store(g, added->entry_addr,
			    encode_bad(g, level, frame_pick(g, g->cfg.format == WALK_S390 ? 12 : g->cfg.granule),
				       &added->fault));
	return added;
}

struct node *guest_put(struct guest *g, uint64_t iova, unsigned int level, bool bad, int bits)
{
	struct node *parent = NULL;

	for (unsigned int l = g->levels - 1; l > level; l--) {
		struct node *n = guest_find(g, iova, l);

		if (!n)
			n = table_put(g, parent, iova, l, bits);
		if (!n || n->kind != NODE_TABLE)
			return NULL;
		parent = n;
	}
	return bad ? bad_put(g, parent, iova, level) : leaf_put(g, parent, iova, level, bits);
}

static const struct walk_config configs[] = {
    {WALK_X86, 48, 52, 12},   {WALK_X86, 57, 52, 12},	{WALK_X86, 48, 39, 12},	  {WALK_X86, 57, 46, 12},
    {WALK_ARM, 48, 48, 12},   {WALK_ARM, 39, 40, 12},	{WALK_ARM, 25, 32, 12},	  {WALK_ARM, 42, 44, 12},
    {WALK_ARM, 48, 48, 14},   {WALK_ARM, 47, 42, 14},	{WALK_ARM, 36, 36, 14},	  {WALK_ARM, 48, 48, 16},
    {WALK_ARM, 52, 52, 16},   {WALK_ARM, 42, 40, 16},	{WALK_ARM, 48, 52, 16},	  {WALK_ARM, 20, 36, 12},
    {WALK_ARM, 16, 32, 12},   {WALK_ARM, 17, 52, 16},	{WALK_ARM, 16, 48, 14},	  {WALK_ARM, 31, 32, 12},
    {WALK_RISCV, 39, 56, 12}, {WALK_RISCV, 48, 56, 12}, {WALK_RISCV, 57, 56, 12}, {WALK_RISCV, 39, 34, 12},
    {WALK_S390, 31, 64, 12},  {WALK_S390, 42, 64, 12},	{WALK_S390, 53, 47, 12},  {WALK_S390, 64, 64, 12},
};

static const unsigned int format_flags[WALK_FORMATS] = {
    [WALK_X86] = WALK_HUGE | WALK_WRITE_PROTECT | WALK_NO_EXECUTE,
    [WALK_ARM] = WALK_UPDATE_ACCESSED | WALK_BIG_ENDIAN | WALK_NO_HIERARCHY | WALK_NO_ACCESS_FAULT,
    [WALK_RISCV] = WALK_BIG_ENDIAN | WALK_SUPERVISOR_USER | WALK_NAPOT | WALK_MEMORY_TYPE,
    [WALK_S390] = WALK_HUGE,
};

bool guest_config(unsigned int nth, uint64_t seed, struct walk_config *cfg)
{
	struct guest dice = {.seed = seed};

	if (nth >= sizeof(configs) / sizeof(configs[0]))
		return false;
	*cfg = configs[nth];
	cfg->flags = guest_random(&dice, 0) & format_flags[cfg->format];
	if (cfg->format == WALK_ARM && cfg->flags & WALK_UPDATE_ACCESSED && guest_random(&dice, 2))
		cfg->flags |= WALK_UPDATE_DIRTY;
	if ((cfg->format == WALK_X86 || cfg->format == WALK_RISCV) && guest_random(&dice, 2))
		cfg->flags |= WALK_UPDATE_ACCESSED | WALK_UPDATE_DIRTY;
	return true;
}
