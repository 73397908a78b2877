/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages, areas and domains. */
#include "model_private.h"

#define VA_BASE 0x10000000UL

/* ---- pages ---- */

static unsigned int live_objects(const struct model *m)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->objects; i++)
		n += m->object[i].held;
	return n;
}

/* One of those that the client's side holds; -1: none. */
static int take_object(struct model *m)
{
	unsigned int start = m->objects ? take(m, m->objects) : 0;

	for (unsigned int i = 0; i < m->objects; i++)
		if (m->object[(start + i) % m->objects].held)
			return (start + i) % m->objects;
	return -1;
}

/* A slice, and what the object then has there. */
static void take_slice(struct model *m, struct page_slice *s, struct object *o, int *want)
{
	unsigned int f = take(m, FILES), page = take(m, FILE_PAGES), len = 1 + take(m, 4);
	bool writable = take(m, 4), hole = take(m, 8) == 0;

	if (take(m, 16)) { /* mostly what is there */
		page %= MAX(m->file[f].pages, 4) - 3;
		writable &= f != FILES - 1;
	}
	*s = (struct page_slice){hole ? NULL : m->file[f].backing, page * PG, len * PG, writable};
	if (!hole && (page + len > m->file[f].pages || (writable && f == FILES - 1)))
		*want = -EFAULT;
	for (unsigned int k = 0; k < len; k++, o->n++) {
		o->file[o->n] = hole ? HOLE : f;
		o->page[o->n] = page + k;
		o->writable[o->n] = writable;
	}
}

static bool object_mapped(const struct model *m, unsigned int object)
{
	for (unsigned int i = 0; i < SPACES; i++)
		for (unsigned int c = 0; c < CELLS; c++)
			if (m->space[i].cell[c].area && m->space[i].cell[c].object == object)
				return true;
	return false;
}

/* A place for a new one; NULL: none. */
static struct object *free_object(struct model *m)
{
	for (unsigned int i = 0; i < m->objects; i++)
		if (!m->object[i].held && !object_mapped(m, i))
			return &m->object[i];
	return m->objects < OBJECTS ? &m->object[m->objects++] : NULL;
}

void op_pages_new(struct model *m)
{
	struct object fresh = {.owner = take(m, OWNERS), .held = true};
	unsigned int n = 1 + take(m, 3);
	struct page_slice s[3];
	int want = 0, err;
	struct object *o;

	for (unsigned int i = 0; i < n; i++)
		take_slice(m, &s[i], &fresh, &want);
	if (live_objects(m) == LIVE)
		return;
	o = free_object(m);
	if (!o)
		return;
	*o = (struct object){0};
	err = pages_new(VA_BASE, s, n, m->owner[fresh.owner], &fresh.pages);
	check(err == want);
	if (err)
		return;
	check(pages_len(fresh.pages) == fresh.n * PG);
	fresh.write = take(m, 4);
	fresh.mode = take(m, 2);
	fresh.is_file = take(m, 4) == 0;
	pages_configure(fresh.pages, fresh.write, fresh.mode, fresh.is_file);
	*o = fresh;
}

void op_pages_put(struct model *m)
{
	int i = take_object(m);

	if (i < 0 || take(m, 3))
		return;
	pages_put(m->object[i].pages);
	m->object[i].held = false;
}

void op_move(struct model *m)
{
	int i = take_object(m);
	unsigned int to = take(m, OWNERS), commit = take(m, 2), pinned = 0, locked;
	struct object *o;
	int want = 0;

	if (i < 0)
		return;
	o = &m->object[i];
	for (unsigned int k = 0; k < o->n; k++)
		pinned += o->claims[k] > 0;
	locked = o->mode == MM_ACCOUNT_PROCESS ? claimed(m, to, o->mode) : claimed(m, -1, o->mode);
	if (to != o->owner && m->limit[to] != UINT64_MAX && locked + pinned > m->limit[to] / PG)
		want = -ENOMEM;
	check(pages_move_prepare(o->pages, m->owner[to]) == want);
	if (commit && !want) {
		pages_move_commit(o->pages, m->owner[to]);
		o->owner = to;
	} else {
		pages_move_abort(o->pages, m->owner[to]);
	}
}

/* ---- areas ---- */

/* The areas of a space in order: cells of the same area, which lie in one window. */
struct run {
	unsigned int cell, n;
};

static bool next_run(const struct space *s, unsigned int from, struct run *r)
{
	while (from < CELLS && !s->cell[from].area)
		from++;
	if (from == CELLS)
		return false;
	*r = (struct run){from, 1};
	while (from + r->n < CELLS && s->cell[from + r->n].area == s->cell[from].area)
		r->n++;
	return true;
}

static int pin_run(struct model *m, const struct space *s, const struct run *r)
{
	return object_pin(m, s->cell[r->cell].object, s->cell[r->cell].page, r->n);
}

static void unpin_run(struct model *m, const struct space *s, const struct run *r)
{
	object_unpin(m, s->cell[r->cell].object, s->cell[r->cell].page, r->n);
}

static void forget_dirty(struct model *m, const struct space *s, unsigned int cell, unsigned int n)
{
	for (unsigned int d = 0; d < DOMAINS; d++)
		if (m->dom[d].space == s - m->space)
			memset(m->dom[d].dirty + cell, 0, n);
}

/* What a map or a copy would add: stretches of objects, one after the other. */
struct piece {
	unsigned int object, page, n;
};

struct plan {
	struct piece piece[WINDOW];
	unsigned int pieces, n; /* n: cells */
	int prot;
};

/* First fit, as the client's address suggests. -1: nowhere. */
static int place(const struct space *s, const struct plan *p)
{
	unsigned int align = 1, page = p->piece[0].page;

	while (align < p->n)
		align *= 2;
	while (page && page % align)
		align /= 2;
	for (unsigned int c = 1; c < CELLS - 1; c++) {
		bool good = cell_iova(c) % (align * PG) == 0 && c % WINDOW + p->n <= WINDOW && c + p->n < CELLS;

		for (unsigned int i = c; good && i < c + p->n; i++)
			good = !s->cell[i].area && !s->cell[i].reserved && (!s->any_allowed || s->cell[i].allowed);
		if (good)
			return (int)c;
	}
	return -1;
}

static int check_cells(const struct space *s, unsigned int cell, unsigned int n)
{
	bool used = false;

	if (cell % WINDOW + n > WINDOW)
		return cell / WINDOW == 2 ? -EOVERFLOW : -EINVAL;
	for (unsigned int i = cell; i < cell + n; i++) {
		if (s->cell[i].reserved)
			return -EINVAL;
		used |= s->cell[i].area > 0;
	}
	return used ? -EEXIST : 0;
}

/* All errors of chain_map; on success the claims are made if there is a domain. */
static int plan_check(struct model *m, struct space *s, const struct plan *p, bool automatic, unsigned int *cell)
{
	int at = automatic ? place(s, p) : 0, err = 0;

	if (automatic && at < 0)
		return -ENOSPC;
	if (automatic)
		*cell = at;
	else
		err = check_cells(s, *cell, p->n);
	if (err)
		return err;
	for (unsigned int i = 0; i < p->pieces; i++)
		if ((p->prot & IOMMU_WRITE) && !m->object[p->piece[i].object].write)
			return -EPERM;
	for (unsigned int i = 0; s->domains && i < p->pieces; i++) {
		err = object_pin(m, p->piece[i].object, p->piece[i].page, p->piece[i].n);
		if (!err)
			continue;
		while (i--)
			object_unpin(m, p->piece[i].object, p->piece[i].page, p->piece[i].n);
		return err;
	}
	return 0;
}

static void plan_commit(struct model *m, struct space *s, const struct plan *p, unsigned int cell)
{
	for (unsigned int i = 0; i < p->pieces; i++) {
		m->last_area++;
		for (unsigned int k = 0; k < p->piece[i].n; k++, cell++) {
			struct cell *c = &s->cell[cell];

			c->area = m->last_area;
			c->prot = p->prot;
			c->object = p->piece[i].object;
			c->page = p->piece[i].page + k;
		}
	}
}

static bool take_plan(struct model *m, struct plan *p)
{
	unsigned int n = 1 + take(m, 8), off = take(m, OBJECT_PAGES);
	int object = take_object(m);

	if (object < 0)
		return false;
	off %= m->object[object].n;
	n = MIN(n, m->object[object].n - off);
	*p = (struct plan){.piece = {{object, off, n}}, .pieces = 1, .n = n, .prot = take(m, 4)};
	return true;
}

/* Out of line or out of range in one way or another. */
static void map_badly(struct model *m, struct space *s, const struct plan *p, unsigned int cell)
{
	const struct piece *q = &p->piece[0];
	struct pages *pages = m->object[q->object].pages;
	unsigned int how = take(m, 6), by = 1 + take(m, 255);
	uint64_t iova = cell_iova(cell) + (how == 0) * by, len = p->n * PG + (how == 1) * by;
	uint64_t off = q->page * PG + (how == 2) * by;
	int prot = how == 3 ? 4 + (int)by : p->prot, err;

	if (how == 4)
		off = m->object[q->object].n * PG;
	if (how == 5)
		len = 0;
	err = ioas_map(s->ioas, IOVA(iova), len, pages, off, prot);
	check(err == -EINVAL || (how == 2 && (err == -EEXIST || err == -EPERM || err == -EOVERFLOW)));
}

void op_map(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int cell = take(m, CELLS);
	struct plan p;
	int want, err;

	if (!take_plan(m, &p))
		return;
	if (take(m, 16) == 0) {
		map_badly(m, s, &p, cell);
		return;
	}
	err = ioas_map(s->ioas, IOVA(cell_iova(cell)), p.n * PG, m->object[p.piece[0].object].pages,
		       p.piece[0].page * PG, p.prot);
	want = plan_check(m, s, &p, false, &cell);
	check(err == want);
	if (!err)
		plan_commit(m, s, &p, cell);
}

void op_map_auto(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	iova_t at = IOVA(12345);
	unsigned int cell = 0;
	struct plan p;
	int want, err;

	if (!take_plan(m, &p))
		return;
	err = ioas_map_auto(s->ioas, &at, p.n * PG, m->object[p.piece[0].object].pages, p.piece[0].page * PG, p.prot);
	want = plan_check(m, s, &p, true, &cell);
	check(err == want);
	check(at.a == (err ? 12345 : cell_iova(cell)));
	if (!err)
		plan_commit(m, s, &p, cell);
}

/* What lies in [cell, cell + n) as a plan. */
static int plan_of(const struct space *s, unsigned int cell, unsigned int n, struct plan *p)
{
	unsigned int area = 0;

	if (!n)
		return -EINVAL;
	if (cell % WINDOW + n > WINDOW)
		return cell / WINDOW == 2 ? -EOVERFLOW : -ENOENT;
	*p = (struct plan){.n = n};
	for (unsigned int i = cell; i < cell + n; i++) {
		const struct cell *c = &s->cell[i];

		if (!c->area)
			return -ENOENT;
		if (c->area != area)
			p->piece[p->pieces++] = (struct piece){c->object, c->page, 0};
		area = c->area;
		p->piece[p->pieces - 1].n++;
	}
	return 0;
}

void op_copy(struct model *m)
{
	struct space *dst = &m->space[take(m, SPACES)], *src = &m->space[take(m, SPACES)];
	unsigned int from = take(m, CELLS), cell = take(m, CELLS), n = take(m, 7);
	bool automatic = take(m, 3) == 0;
	int prot = take(m, 4), want, err;
	struct plan p;
	struct run r;
	iova_t at;

	if (take(m, 4) && next_run(src, from, &r)) { /* mostly what is there */
		from = r.cell + take(m, r.n);
		n = MIN(n, r.n + 2);
	}
	at = IOVA(automatic ? 12345 : cell_iova(cell));
	err = ioas_copy(dst->ioas, &at, automatic, src->ioas, IOVA(cell_iova(from)), n * PG, prot);
	want = plan_of(src, from, n, &p);
	p.prot = prot;
	if (!want)
		want = plan_check(m, dst, &p, automatic, &cell);
	check(err == want);
	if (err)
		return;
	check(at.a == cell_iova(cell));
	plan_commit(m, dst, &p, cell);
}

static bool area_held(const struct space *s, unsigned int area)
{
	for (unsigned int h = 0; h < HOLDS; h++)
		for (unsigned int i = s->hold[h].cell; i < s->hold[h].cell + s->hold[h].n; i++)
			if (s->cell[i].area == area)
				return true;
	return false;
}

void op_cut(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int n = 1 + take(m, 2), cell[2];
	uint64_t at[2];
	int err, want = 0;

	for (unsigned int i = 0; i < n; i++) {
		cell[i] = take(m, CELLS);
		at[i] = cell_iova(cell[i]);
	}
	err = ioas_cut(s->ioas, at, n);
	for (unsigned int i = 0; i < n && !want; i++) {
		unsigned int area = s->cell[cell[i]].area;

		if (!area || cell[i] % WINDOW == 0 || s->cell[cell[i] - 1].area != area)
			continue;
		if (area_held(s, area) || (s->domains && !s->small)) {
			want = -EINVAL;
			break;
		}
		m->last_area++;
		for (unsigned int k = cell[i]; k < CELLS && s->cell[k].area == area; k++)
			s->cell[k].area = m->last_area;
	}
	check(err == want);
}

int unmap_model(struct model *m, struct space *s, uint64_t first, uint64_t last, uint64_t *bytes)
{
	struct run r;

	*bytes = 0;
	if (first > last)
		return -EINVAL;
	for (unsigned int c = 0; next_run(s, c, &r); c = r.cell + r.n) {
		uint64_t a = cell_iova(r.cell), z = cell_last(r.cell + r.n - 1);

		if (z < first || a > last)
			continue;
		if (a < first || z > last)
			return -ENOENT;
		if (s->domains)
			unpin_run(m, s, &r);
		forget_dirty(m, s, r.cell, r.n);
		for (unsigned int i = 0; i < r.n; i++)
			s->cell[r.cell + i].area = 0;
		*bytes += r.n * PG;
	}
	return 0;
}

void op_unmap(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	uint64_t first = cell_iova(take(m, CELLS)), last = cell_last(take(m, CELLS));
	unsigned int trim = take(m, 8), how = take(m, 12);
	uint64_t got = 12345, want;
	int err;

	if (how == 0) {
		first = 0;
		last = UINT64_MAX;
	} else if (how > 2) { /* more often a short range than any */
		last = first + take(m, 6) * PG + (PG - 1);
	}
	if (how && trim == 0)
		first += 1;
	if (how && trim == 1)
		last -= 1;
	err = ioas_unmap(s->ioas, first, last, &got);
	/* Its access has let go of all that is gone. */
	check(err == unmap_model(m, s, first, last, &want));
	check(got == want);
}

/* ---- what may be mapped ---- */

/* The owners of reservations in this space. */
static const void *reserver(const struct space *s, unsigned int bit)
{
	return (const char *)s + bit;
}

static void set_reserved(struct space *s, unsigned int cell, unsigned int n, unsigned int bit)
{
	for (unsigned int i = cell; i < cell + n; i++)
		s->cell[i].reserved |= bit;
}

static void clear_reserved(struct space *s, unsigned int bit)
{
	for (unsigned int i = 0; i < CELLS; i++)
		s->cell[i].reserved &= ~bit;
}

static int reserve_check(const struct space *s, unsigned int cell, unsigned int n)
{
	for (unsigned int i = cell; i < cell + n; i++)
		if (s->cell[i].area || s->cell[i].allowed)
			return -EADDRINUSE;
	return 0;
}

void op_reserve(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int cell = take(m, CELLS), n = 1 + take(m, 3), bit = take(m, 2) ? RESERVED_A : RESERVED_B;
	int want;

	if (take(m, 3) == 0) {
		ioas_unreserve(s->ioas, reserver(s, bit));
		clear_reserved(s, bit);
		return;
	}
	if (take(m, 3) || cell % WINDOW + n > WINDOW)
		return;
	want = reserve_check(s, cell, n);
	check(ioas_reserve(s->ioas, cell_iova(cell), cell_last(cell + n - 1), reserver(s, bit)) == want);
	if (!want)
		set_reserved(s, cell, n, bit);
}

void op_allow(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int n = take(m, 8) % 4;
	struct iova_range r[3];
	bool allowed[CELLS] = {0};
	int want = 0;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int cell = take(m, CELLS), len = 1 + take(m, WINDOW);

		len = MIN(len, WINDOW - cell % WINDOW);
		r[i] = (struct iova_range){cell_iova(cell), cell_last(cell + len - 1)};
		for (unsigned int k = cell; k < cell + len; k++) {
			if (allowed[k])
				want = -EINVAL;
			else if (s->cell[k].reserved && !want)
				want = -EADDRINUSE;
			allowed[k] = true;
		}
	}
	check(ioas_allow(s->ioas, r, n) == want);
	if (want)
		return;
	s->any_allowed = n;
	for (unsigned int i = 0; i < CELLS; i++)
		s->cell[i].allowed = allowed[i];
}

/* ---- domains ---- */

static int pin_all(struct model *m, struct space *s)
{
	struct run r, undo;

	for (unsigned int c = 0; next_run(s, c, &r); c = r.cell + r.n) {
		int err = pin_run(m, s, &r);

		if (!err)
			continue;
		for (c = 0; next_run(s, c, &undo) && undo.cell != r.cell; c = undo.cell + undo.n)
			unpin_run(m, s, &undo);
		return err;
	}
	return 0;
}

static void domain_leaves(struct model *m, struct dom *d)
{
	struct space *s = &m->space[d->space];
	struct run r;

	ioas_remove_domain(s->ioas, d->d);
	s->domains--;
	d->space = -1;
	memset(d->dirty, 0, sizeof(d->dirty));
	if (d == &m->dom[DOMAINS - 1])
		clear_reserved(s, RESERVED_DOMAIN);
	for (unsigned int c = 0; !s->domains && next_run(s, c, &r); c = r.cell + r.n)
		unpin_run(m, s, &r);
}

static void domain_joins(struct model *m, struct dom *d, struct space *s)
{
	bool small = d == &m->dom[DOMAINS - 1];
	int want = 0;

	if (small && (reserve_check(s, 0, 1) || reserve_check(s, 2 * WINDOW, WINDOW)))
		want = -EADDRINUSE;
	if (!want && !s->domains)
		want = pin_all(m, s);
	check(ioas_add_domain(s->ioas, d->d) == want);
	if (want)
		return;
	d->space = s - m->space;
	s->domains++;
	if (small) {
		set_reserved(s, 0, 1, RESERVED_DOMAIN);
		set_reserved(s, 2 * WINDOW, WINDOW, RESERVED_DOMAIN);
	}
}

void op_domain(struct model *m)
{
	struct dom *d = &m->dom[take(m, DOMAINS)];
	struct space *s = &m->space[take(m, SPACES)];

	if (d->space >= 0)
		domain_leaves(m, d);
	else
		domain_joins(m, d, s);
}

/* ---- what can be asked ---- */

void check_areas(struct space *s)
{
	struct ioas_area_info info = {0};
	uint64_t next = 0;
	unsigned int areas = 0, c = 0;
	struct run r;

	for (; next_run(s, c, &r); c = r.cell + r.n, areas++) {
		check(ioas_next(s->ioas, next, &info));
		check(info.iova == cell_iova(r.cell) && info.len == r.n * PG && info.prot == s->cell[r.cell].prot);
		check(info.va == VA_BASE + s->cell[r.cell].page * PG);
		next = info.iova + info.len;
	}
	check(areas && !next ? true : !ioas_next(s->ioas, next, &info));
	check(areas == ioas_area_count(s->ioas));
}

struct range_walk {
	uint64_t next;
	bool usable[CELLS];
};

static void range_seen(void *ctx, uint64_t first, uint64_t last)
{
	struct range_walk *w = ctx;

	check(first >= w->next && first <= last);
	w->next = last; /* the next range starts at last + 2 at least */
	for (unsigned int i = 0; i < CELLS; i++)
		if (cell_iova(i) >= first && cell_iova(i) <= last)
			w->usable[i] = true;
}

/* Every domain has exactly what its space has. */
static void check_domain(struct model *m, const struct dom *d)
{
	struct domain_leaf l;

	for (unsigned int i = 0; i < CELLS; i++) {
		const struct cell *c = d->space < 0 ? NULL : &m->space[d->space].cell[i];
		bool there = domain_walk(d->d, cell_iova(i), &l);

		check(there == (c && c->area));
		check(!there || l.prot == c->prot);
	}
}

/* How many objects have claimed a page of a file. */
static void check_ref(struct model *m, unsigned int file, unsigned int page)
{
	struct page_ref ref = {0};
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->objects; i++) {
		const struct object *o = &m->object[i];
		bool any = false;

		for (unsigned int k = 0; k < o->n; k++) {
			if (o->file[k] != file || o->page[k] != page)
				continue;
			any |= o->claims[k] > 0;
			if (o->held)
				ref = pages_ref(o->pages, k * PG + 5);
		}
		n += any;
	}
	if (!ref.backing)
		return;
	check(ref.index == page);
	check(page_ref_pins(m->cache, ref) == n);
}

void op_ask(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int a = take(m, CELLS), b = take(m, CELLS);
	struct range_walk w = {0};
	bool overlaps = false;

	check_areas(s);
	ioas_ranges(s->ioas, range_seen, &w);
	for (unsigned int i = 0; i < CELLS; i++) {
		check(w.usable[i] == !s->cell[i].reserved);
		overlaps |= i >= a && i <= b && s->cell[i].area;
	}
	check(ioas_overlaps(s->ioas, cell_iova(a), cell_last(b)) == overlaps);
	check_domain(m, &m->dom[take(m, DOMAINS)]);
	check_ref(m, take(m, FILES), take(m, FILE_PAGES));
}
