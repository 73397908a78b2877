/* SPDX-License-Identifier: BSD-3-Clause */
/* One access for each space, which lets go when it is told to. */
#include "model_private.h"

/* A stretch of one area within [cell, end). */
static unsigned int part_len(const struct space *s, unsigned int cell, unsigned int end)
{
	unsigned int n = 1;

	while (cell + n < end && s->cell[cell + n].area == s->cell[cell].area)
		n++;
	return n;
}

static void hold_drop(struct model *m, struct space *s, struct hold *h, unsigned int end)
{
	for (unsigned int c = h->cell, n; c < end; c += n) {
		n = part_len(s, c, end);
		object_unpin(m, s->cell[c].object, s->cell[c].page, n);
	}
}

static int hold_check(struct model *m, struct space *s, struct hold *h, bool write)
{
	unsigned int end = h->cell + h->n;
	bool top = h->cell / WINDOW == 2 && h->cell % WINDOW + h->n > WINDOW;

	if (!h->n)
		return -EINVAL;
	if (top)
		return -EOVERFLOW;
	end = MIN(end, (h->cell / WINDOW + 1) * WINDOW);
	for (unsigned int c = h->cell, n; c < end; c += n) {
		const struct cell *at = &s->cell[c];
		int err = 0;

		if (!at->area)
			err = -ENOENT;
		else if (!(at->prot & (write ? IOMMU_WRITE : IOMMU_READ)) || (write && !m->object[at->object].write))
			err = -EPERM;
		n = part_len(s, c, end);
		if (!err)
			err = object_pin(m, at->object, at->page, n);
		if (err) {
			hold_drop(m, s, h, c);
			return err;
		}
	}
	if (end == h->cell + h->n)
		return 0;
	hold_drop(m, s, h, end); /* a hole after the window */
	return -ENOENT;
}

void op_access_pin(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	struct hold want = {take(m, CELLS), take(m, 6)}, *h = NULL;
	struct page_ref ref[8] = {0};
	bool write = take(m, 2);
	int err;

	for (unsigned int i = 0; i < HOLDS; i++)
		if (!s->hold[i].n)
			h = &s->hold[i];
	if (!h)
		return;
	if (take(m, 4)) /* mostly where something is */
		for (unsigned int i = 0; i < CELLS && !s->cell[want.cell].area; i++)
			want.cell = (want.cell + 1) % CELLS;
	err = access_pin(s->access, IOVA(cell_iova(want.cell)), want.n * PG, ref, write ? ACCESS_WRITE : 0);
	check(err == hold_check(m, s, &want, write));
	if (err)
		return;
	*h = want;
	for (unsigned int i = 0; i < want.n; i++) {
		const struct cell *c = &s->cell[want.cell + i];

		check(ref[i].backing && ref[i].index == m->object[c->object].page[c->page]);
	}
	check(!ref[want.n].backing);
}

static void hold_release(struct model *m, struct space *s, struct hold *h)
{
	access_unpin(s->access, IOVA(cell_iova(h->cell)), h->n * PG);
	hold_drop(m, s, h, h->cell + h->n);
	h->n = 0;
}

void op_access_unpin(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	struct hold *h = &s->hold[take(m, HOLDS)];

	if (h->n)
		hold_release(m, s, h);
}

static void let_go(void *ctx, uint64_t iova, uint64_t len)
{
	struct space *s = ctx;
	uint64_t last = iova + (len - 1);

	for (unsigned int i = 0; i < HOLDS; i++) {
		struct hold *h = &s->hold[i];

		if (h->n && cell_iova(h->cell) <= last && cell_last(h->cell + h->n - 1) >= iova)
			hold_release(s->m, s, h);
	}
}

const struct access_ops model_access_ops = {.pins = true, .unmap = let_go};

/* The bytes of one area, from at on: how many move. */
static int copy_area(struct model *m, const struct space *s, uint64_t at, uint64_t last, bool write, uint8_t *buf)
{
	const struct object *o = &m->object[s->cell[iova_cell(at)].object];
	unsigned int area = s->cell[iova_cell(at)].area;

	for (; at <= last && iova_cell(at) >= 0 && s->cell[iova_cell(at)].area == area; at++, buf++) {
		const struct cell *c = &s->cell[iova_cell(at)];
		uint8_t *bytes = object_bytes(m, c->object, c->page);

		if ((!o->claims[c->page] && !o->is_file && !m->alive[o->owner]) || !bytes ||
		    (write && !o->writable[c->page]))
			return -EFAULT;
		if (write)
			bytes[at % PG] = *buf;
		else
			*buf = bytes[at % PG];
		if (at == UINT64_MAX)
			break;
	}
	return 0;
}

static int rw_model(struct model *m, const struct space *s, uint64_t iova, size_t len, bool write, uint8_t *buf)
{
	uint64_t at = iova, last = iova + (len - 1);

	if (!len)
		return -EINVAL;
	if (last < iova)
		return -EOVERFLOW;
	for (;;) {
		int i = iova_cell(at), err;
		const struct cell *c = i < 0 || !s->cell[i].area ? NULL : &s->cell[i];

		if (!c)
			return -ENOENT;
		if (!(c->prot & (write ? IOMMU_WRITE : IOMMU_READ)) || (write && !m->object[c->object].write))
			return -EPERM;
		err = copy_area(m, s, at, last, write, buf + (at - iova));
		if (err)
			return err;
		at = cell_iova(i) + part_len(s, i, CELLS) * PG;
		if (at == 0 || at > last)
			return 0;
	}
}

void op_access_rw(struct model *m)
{
	static uint8_t buf[COPY_MAX], want[COPY_MAX];
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int cell = take(m, CELLS), flags = take(m, 2) ? ACCESS_WRITE : 0;
	size_t len = take(m, 256);
	uint64_t iova;

	if (take(m, 8))
		for (unsigned int i = 0; i < CELLS && !s->cell[cell].area; i++)
			cell = (cell + 1) % CELLS;
	iova = cell_iova(cell) + take(m, 256) * 16;
	if (take(m, 2))
		len = len * 61 % COPY_MAX;
	memset(buf, ++m->fill, sizeof(buf));
	memset(want, m->fill, sizeof(want));
	check(access_rw(s->access, IOVA(iova), buf, len, flags) ==
	      rw_model(m, s, iova, len, flags & ACCESS_WRITE, want));
	check(!memcmp(buf, want, sizeof(buf)));
}
