/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page table walkers, over memory that says anything. The input is a configuration, then for each walk an address,
 * the access and a mode; then what each load and each update is answered: memory that is remembered, so that tables may
 * share entries and lead to themselves, or memory that is new each time, so that entries change under the walk.
 */
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "iommu/walk.h"

#define CELLS 256

struct memory {
	const struct walk_config *cfg;
	struct input in;
	bool changing;
	unsigned int loads, updates, cells;
	struct {
		uint64_t addr, entry;
	} cell[CELLS];
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static uint64_t *cell(struct memory *m, uint64_t addr)
{
	for (unsigned int i = 0; i < m->cells; i++)
		if (m->cell[i].addr == addr)
			return &m->cell[i].entry;
	must(m->cells < CELLS);
	m->cell[m->cells].addr = addr;
	m->cell[m->cells].entry = take(&m->in, 8);
	return &m->cell[m->cells++].entry;
}

static void address_check(struct memory *m, uint64_t addr)
{
	must(addr % 8 == 0 && (m->cfg->output_bits == 64 || addr >> m->cfg->output_bits == 0));
}

static int fuzz_load(void *ctx, uint64_t addr, void *dst, size_t len)
{
	struct memory *m = ctx;
	uint64_t *entry;

	must(len == 8 && ++m->loads <= WALK_LOADS_MAX);
	address_check(m, addr);
	if (m->in.n == 0)
		return -EFAULT;
	entry = cell(m, addr);
	if (m->changing)
		*entry = take(&m->in, 8);
	memcpy(dst, entry, 8);
	return 0;
}

static int fuzz_update(void *ctx, uint64_t addr, uint64_t old, uint64_t new)
{
	struct memory *m = ctx;
	uint64_t *entry = cell(m, addr);

	must(++m->updates <= m->loads && old != new &&*entry == old);
	must(m->cfg->flags & WALK_UPDATE_ACCESSED);
	address_check(m, addr);
	if (m->changing && take(&m->in, 1) & 1)
		return take(&m->in, 1) & 1 ? -EFAULT : -EAGAIN;
	*entry = new;
	return 0;
}

static void walk_once(struct memory *m)
{
	struct walk_mem mem = {.ctx = m, .load = fuzz_load, .update = fuzz_update};
	uint64_t iova = take(&m->in, 8);
	unsigned int how = take(&m->in, 1);
	struct walk_fault_info fault = {0};
	struct walk_result res = {0};
	int r;

	if (how & 16)
		iova &= 0x7fffffff;
	m->changing = how & 32;
	m->loads = m->updates = 0;
	m->cells = 0;
	r = walk(m->cfg, &mem, iova, how & 15, &res, &fault);
	if (r) {
		must(r == -EFAULT && fault.kind > WALK_OK && fault.kind <= WALK_BUSY && res.size == 0);
		must(fault.level < WALK_LEVELS_MAX);
		return;
	}
	must(fault.kind == WALK_OK && res.size >= 4096 && (res.size & (res.size - 1)) == 0);
	must(((res.addr ^ iova) & (res.size - 1)) == 0 && res.level < WALK_LEVELS_MAX);
	must(m->cfg->output_bits == 64 || res.addr >> m->cfg->output_bits == 0);
	must((how & 7 & ~res.prot) == 0 && (res.prot & ~15) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t granules[] = {12, 14, 16, 13};
	struct walk_config cfg = {0};
	struct memory m = {.cfg = &cfg, .in = {data, size}};
	unsigned int pick = take(&m.in, 1);

	cfg.format = pick & 3;
	cfg.granule = granules[pick >> 2 & 3];
	cfg.input_bits = take(&m.in, 1);
	cfg.output_bits = take(&m.in, 1);
	cfg.flags = take(&m.in, 2);
	cfg.root = take(&m.in, 8);
	if (pick & 16)
		cfg.root &= 0xfffff000;
	if (walk_config_check(&cfg))
		return 0;
	for (unsigned int i = 0; m.in.n && i < 64; i++)
		walk_once(&m);
	return 0;
}
