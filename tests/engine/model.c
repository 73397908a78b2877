/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/event.h"
#include "base/guard.h"
#include "base/util.h"
#include "iommu/iommu.h"
#include "mm/mm.h"
#include "model.h"

#define PG PF_PAGE_SIZE

enum {
	FILES = 3,	 /* the last one is only ever shown read-only */
	FILE_PAGES = 12, /* at most */
	OBJECTS = 5,	 /* struct pages at a time */
	OBJECT_PAGES = 12,
	SPACES = 2,
	DEVICES = 2,
	OWNERS = 2,
	WINDOW = 24, /* pages; three windows: at 0, in the middle, at the very top */
	CELLS = 3 * WINDOW,
	COPY_MAX = 4 * 4096,
};

#define check(x)                                                                                                       \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "model: %s:%d: %s\n", __FILE__, __LINE__, #x);                                 \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct file {
	int fd;
	unsigned int pages; /* its size */
	struct backing *backing;
	uint8_t bytes[FILE_PAGES * 4096];
};

struct object {
	struct pages *pages; /* NULL: none */
	unsigned int n;
	uint8_t file[OBJECT_PAGES], page[OBJECT_PAGES];
	bool writable[OBJECT_PAGES];
};

/* One IOVA page. */
struct cell {
	unsigned int area; /* 0: not mapped */
	int prot;
	uint8_t file, page, owner;
	uint64_t va;
	bool reserved;
};

struct space {
	struct ioas *ioas;
	unsigned int reservations; /* few: they never go */
	struct cell cell[CELLS];
};

struct device {
	struct dma_dev *dev;
	int space; /* -1: detached */
	bool master;
};

struct model {
	const uint8_t *in;
	size_t left;
	struct events evs;
	struct event_listener listener;
	struct event fault;
	unsigned int faults;
	uint64_t pin_events;
	struct backing_cache *cache;
	struct file file[FILES];
	struct object object[OBJECTS];
	struct space space[SPACES];
	struct device device[DEVICES];
	struct mm_owner *owner[OWNERS];
	uint64_t limit[OWNERS]; /* bytes */
	uint64_t charged[OWNERS];
	unsigned int last_area;
	unsigned char fill;
};

/* ---- the program ---- */

static unsigned int take(struct model *m, unsigned int below)
{
	if (!m->left)
		return 0;
	m->left--;
	return *m->in++ % below;
}

/* ---- addresses ---- */

static uint64_t cell_iova(unsigned int cell)
{
	static const uint64_t base[3] = {0, 0x7fff00000000, -(uint64_t)(WINDOW * PG)};

	return base[cell / WINDOW] + cell % WINDOW * PG;
}

/* The cell of an address, -1 if it lies outside every window. */
static int iova_cell(uint64_t iova)
{
	for (unsigned int w = 0; w < 3; w++)
		if (iova - cell_iova(w * WINDOW) < WINDOW * PG)
			return (int)(w * WINDOW + (iova - cell_iova(w * WINDOW)) / PG);
	return -1;
}

static const struct cell *cell_at(const struct space *s, uint64_t iova)
{
	int i = iova_cell(iova);

	return i < 0 ? NULL : &s->cell[i];
}

/* ---- operations ---- */

static void op_pages_new(struct model *m)
{
	struct object *o = &m->object[take(m, OBJECTS)], fresh = {0};
	unsigned int n = 1 + take(m, 3);
	struct page_slice s[3];
	int want = 0, err;

	for (unsigned int i = 0; i < n; i++) {
		unsigned int f = take(m, FILES), page = take(m, FILE_PAGES), len = 1 + take(m, 4);
		bool writable = take(m, 4);

		if (take(m, 16)) { /* mostly what is there */
			page %= MAX(m->file[f].pages, 4) - 3;
			writable &= f != FILES - 1;
		}

		s[i] = (struct page_slice){m->file[f].backing, page * PG, len * PG, writable};
		if (page + len > m->file[f].pages || (writable && f == FILES - 1))
			want = -EFAULT;
		for (unsigned int k = 0; k < len; k++, fresh.n++) {
			fresh.file[fresh.n] = f;
			fresh.page[fresh.n] = page + k;
			fresh.writable[fresh.n] = writable;
		}
	}
	if (o->pages)
		return;
	err = pages_new(0x10000000, s, n, &fresh.pages);
	check(err == want);
	if (!err) {
		check(pages_len(fresh.pages) == fresh.n * PG);
		*o = fresh;
	}
}

static void op_pages_put(struct model *m)
{
	struct object *o = &m->object[take(m, OBJECTS)];

	if (take(m, 4))
		return;
	pages_put(o->pages);
	o->pages = NULL;
}

static int map_expected(const struct model *m, const struct space *s, unsigned int cell, unsigned int n,
			const struct object *o, unsigned int off, int prot, unsigned int owner)
{
	bool reserved = false;

	if (!(prot & 3) || prot > 3 || !n || off + n > o->n)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++) {
		if (s->cell[cell + i].area)
			return -EEXIST;
		reserved |= s->cell[cell + i].reserved;
	}
	if (reserved)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++)
		if ((prot & IOMMU_WRITE) && !o->writable[off + i])
			return -EFAULT;
	if (m->limit[owner] != UINT64_MAX && m->charged[owner] + n > m->limit[owner] / PG)
		return -ENOMEM;
	return 0;
}

static void op_map(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int cell = take(m, CELLS), n = take(m, 8), off = take(m, OBJECT_PAGES), owner = take(m, OWNERS);
	struct object *o = &m->object[take(m, OBJECTS)];
	int prot = take(m, 32) ? 1 + take(m, 3) : (int)take(m, 8), err;

	if (!o->pages)
		return;
	if (take(m, 8)) { /* mostly what is there */
		off %= o->n;
		n = 1 + n % (o->n - off);
	}
	if (take(m, 16) == 0) { /* out of line in one way or another */
		unsigned int shift = take(m, 3), by = 1 + take(m, 255);

		err = ioas_map(s->ioas, IOVA(cell_iova(cell) + (shift == 0) * by), n * PG + (shift == 1) * by, o->pages,
			       off * PG + (shift == 2) * by, prot, m->owner[owner]);
		check(err == -EINVAL);
		return;
	}
	if (cell % WINDOW + n > WINDOW) {
		if (cell / WINDOW < 2)
			return;
		/* Past the top of the address space. */
		err = ioas_map(s->ioas, IOVA(cell_iova(cell)), n * PG, o->pages, off * PG, prot, m->owner[owner]);
		check(err == -EINVAL);
		return;
	}
	err = ioas_map(s->ioas, IOVA(cell_iova(cell)), n * PG, o->pages, off * PG, prot, m->owner[owner]);
	check(err == map_expected(m, s, cell, n, o, off, prot, owner));
	if (err)
		return;
	m->last_area++;
	m->charged[owner] += n;
	for (unsigned int i = 0; i < n; i++) {
		struct cell *c = &s->cell[cell + i];

		c->area = m->last_area;
		c->prot = prot;
		c->file = o->file[off + i];
		c->page = o->page[off + i];
		c->owner = owner;
		c->va = 0x10000000 + (off + i) * PG;
	}
}

/* Unmaps [first, last] in the model: 0 and the bytes, or -EINVAL and nothing. */
static int unmap_model(struct model *m, struct space *s, uint64_t first, uint64_t last, uint64_t *bytes)
{
	*bytes = 0;
	if (first > last)
		return -EINVAL;
	for (int undo = 1; undo >= 0; undo--) {
		for (unsigned int i = 0; i < CELLS; i++) {
			uint64_t a = cell_iova(i), z = a + (PG - 1);
			struct cell *c = &s->cell[i];
			bool in = c->area && a >= first && z <= last;

			if (undo) { /* the dry run: no area may be cut */
				for (unsigned int k = 0; c->area && k < CELLS; k++) {
					uint64_t ka = cell_iova(k), kz = ka + (PG - 1);
					bool touched = a <= last && z >= first;

					if (touched && s->cell[k].area == c->area && (ka < first || kz > last))
						return -EINVAL;
				}
			} else if (in) {
				m->charged[c->owner]--;
				*bytes += PG;
				c->area = 0;
			}
		}
	}
	return 0;
}

static void op_unmap(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	uint64_t first = cell_iova(take(m, CELLS)), last = cell_iova(take(m, CELLS)) + (PG - 1);
	unsigned int trim = take(m, 8);
	uint64_t got = 12345, want;
	int err;

	if (take(m, 10)) /* more often a short range than any */
		last = first + take(m, 6) * PG + (PG - 1);
	if (trim == 0)
		first += 1;
	if (trim == 1)
		last -= 1;
	err = unmap_model(m, s, first, last, &want);
	check(ioas_unmap(s->ioas, first, last, &got) == err);
	check(got == (err ? 12345 : want));
}

static void op_unmap_all(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	uint64_t got, want;

	if (take(m, 4))
		return;
	unmap_model(m, s, 0, UINT64_MAX, &want);
	ioas_unmap_all(s->ioas, &got);
	check(got == want);
}

/*
 * What the device may do at one address. 0 and the byte, or the reason for a fault.
 */
static int byte_at(struct model *m, const struct device *d, uint64_t iova, int need, uint8_t **byte)
{
	const struct cell *c;

	if (!d->master)
		return DMA_FAULT_MASTER;
	if (d->space < 0)
		return DMA_FAULT_DETACHED;
	c = cell_at(&m->space[d->space], iova);
	if (!c || !c->area)
		return DMA_FAULT_UNMAPPED;
	if (!(c->prot & need))
		return DMA_FAULT_PERMISSION;
	if (c->page >= m->file[c->file].pages)
		return DMA_FAULT_GONE;
	*byte = &m->file[c->file].bytes[c->page * PG + iova % PG];
	return 0;
}

/* How many bytes of the transfer arrive, and the reason why not more do. */
static size_t dma_model(struct model *m, const struct device *d, uint64_t iova, size_t len, bool write, uint8_t *buf,
			int *reason)
{
	uint8_t *b;

	*reason = 0;
	if (len && len - 1 > UINT64_MAX - iova) {
		*reason = DMA_FAULT_WRAP;
		return 0;
	}
	for (size_t i = 0; i < len; i++) {
		*reason = byte_at(m, d, iova + i, write ? IOMMU_WRITE : IOMMU_READ, &b);
		if (*reason)
			return i;
		if (write)
			*b = buf[i];
		else
			buf[i] = *b;
	}
	return len;
}

static void dma_address(struct model *m, const struct device *d, uint64_t *iova, size_t *len)
{
	unsigned int cell = take(m, CELLS);

	/* Mostly where something is mapped. */
	if (d->space >= 0 && take(m, 8))
		for (unsigned int i = 0; i < CELLS && !m->space[d->space].cell[cell].area; i++)
			cell = (cell + 1) % CELLS;
	*iova = cell_iova(cell) + take(m, 256) * 16;
	*len = take(m, 256);
	if (take(m, 2))
		*len = *len * 61 % COPY_MAX;
	if (take(m, 64) == 0)
		*iova ^= 1ULL << take(m, 64);
}

/* After a DMA of the model's outcome (done, reason): the fault event must say the same. */
static void check_fault(struct model *m, int err, unsigned int faults, uint64_t iova, size_t len, bool write,
			size_t done, int reason)
{
	check(err == (reason ? -EFAULT : 0));
	check(m->faults == faults + !!reason);
	if (!reason)
		return;
	check(m->fault.error == reason);
	check(m->fault.addr == iova + done);
	check(m->fault.len == len - done);
	check(!(m->fault.flags & EVENT_WRITE) == !write);
}

static void op_dma(struct model *m, bool write)
{
	static uint8_t buf[COPY_MAX], want[COPY_MAX];
	struct device *d = &m->device[take(m, DEVICES)];
	unsigned int faults = m->faults;
	uint64_t iova;
	size_t len, done;
	int err, reason;

	dma_address(m, d, &iova, &len);
	memset(buf, ++m->fill, len);
	memset(want, m->fill, len);
	done = dma_model(m, d, iova, len, write, want, &reason);
	if (write)
		err = dma_write(d->dev, IOVA(iova), buf, len, NULL);
	else
		err = dma_read(d->dev, IOVA(iova), buf, len, NULL);
	check_fault(m, err, faults, iova, len, write, done, reason);
	check(!memcmp(buf, want, done));
}

static void op_dma_iov(struct model *m)
{
	static uint8_t buf[COPY_MAX], want[COPY_MAX];
	struct device *d = &m->device[take(m, DEVICES)];
	unsigned int faults = m->faults, n, cap = take(m, 6);
	struct iovec iov[6];
	uint64_t iova;
	size_t len, done, got = 0;
	bool gone = false;
	int err, reason;

	dma_address(m, d, &iova, &len);
	done = dma_model(m, d, iova, len, false, want, &reason);
	/* A page that is gone is found by who uses the vector, not by who makes it. */
	for (size_t at = 0; at < len && at <= UINT64_MAX - iova; at += PG - (iova + at) % PG) {
		uint8_t *b;

		gone |= byte_at(m, d, iova + at, IOMMU_READ, &b) == DMA_FAULT_GONE;
	}
	n = cap;
	err = dma_iov(d->dev, IOVA(iova), len, false, iov, &n, NULL);
	if (err == -E2BIG) {
		check(m->faults == faults && n == cap && len > cap);
		return;
	}
	if (gone)
		return;
	check_fault(m, err, faults, iova, len, false, done, reason);
	if (err)
		return;
	check(n <= cap);
	for (unsigned int i = 0; i < n; i++) {
		check(iov[i].iov_len && iov[i].iov_len <= len - got);
		check(!i || (char *)iov[i - 1].iov_base + iov[i - 1].iov_len != iov[i].iov_base);
		check(!guard_copy(buf + got, iov[i].iov_base, iov[i].iov_len));
		got += iov[i].iov_len;
	}
	check(got == len && !memcmp(buf, want, len));
}

static void op_device(struct model *m)
{
	struct device *d = &m->device[take(m, DEVICES)];

	switch (take(m, 4)) {
	case 0:
		d->master = take(m, 4);
		dma_dev_set_master(d->dev, d->master);
		break;
	case 1:
		if (take(m, 4) == 0) {
			d->space = -1;
			dma_dev_detach(d->dev);
			break;
		}
		/* fall through */
	default:
		d->space = take(m, SPACES);
		dma_dev_attach(d->dev, m->space[d->space].ioas);
	}
}

/* The client changes the size of its file under us. */
static void op_truncate(struct model *m)
{
	struct file *f = &m->file[take(m, FILES)];
	unsigned int pages = take(m, FILE_PAGES + 1);

	if (take(m, 4)) /* mostly longer */
		pages = MAX(pages, 7);
	check(ftruncate(f->fd, pages * PG) == 0);
	if (pages < f->pages)
		memset(f->bytes + pages * PG, 0, (f->pages - pages) * PG);
	f->pages = pages;
}

/* And its contents. */
static void op_client_write(struct model *m)
{
	struct file *f = &m->file[take(m, FILES)];
	unsigned int at = take(m, FILE_PAGES) * PG + take(m, 250) * 16;
	uint8_t buf[16];

	if (at + sizeof(buf) > f->pages * PG)
		return;
	memset(buf, ++m->fill, sizeof(buf));
	check(pwrite(f->fd, buf, sizeof(buf), at) == sizeof(buf));
	memcpy(f->bytes + at, buf, sizeof(buf));
}

/* The references that the client's side holds come and go; what is idle may be let go of. */
static void op_backing(struct model *m)
{
	unsigned int i = take(m, FILES - 1), how = take(m, 4);
	struct file *f = &m->file[i];
	struct backing *b;
	struct stat st;

	check(fstat(f->fd, &st) == 0);
	b = backing_find(m->cache, st.st_dev, st.st_ino);
	check(b == f->backing);
	backing_put(b);
	if (how == 0)
		return;
	backing_put(f->backing);
	if (how == 1)
		backing_cache_trim(m->cache);
	check(backing_get_fd(m->cache, f->fd, &f->backing) == 0);
}

static void op_limit(struct model *m)
{
	unsigned int owner = take(m, OWNERS), pages = take(m, 64);

	m->limit[owner] = pages > 32 ? UINT64_MAX : pages * PG + take(m, 2);
}

static void op_reserve(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	unsigned int cell = take(m, CELLS), n = 1 + take(m, 3);
	int want = 0;

	if (s->reservations == 5 || take(m, 4) || cell % WINDOW + n > WINDOW)
		return;
	for (unsigned int i = 0; i < n; i++)
		if (s->cell[cell + i].area)
			want = -EADDRINUSE;
	check(ioas_reserve(s->ioas, cell_iova(cell), cell_iova(cell) + (n * PG - 1)) == want);
	s->reservations += !want;
	for (unsigned int i = 0; !want && i < n; i++)
		s->cell[cell + i].reserved = true;
}

/* ---- what can be asked ---- */

static void check_areas(struct space *s)
{
	struct ioas_area_info info = {0};
	uint64_t next = 0;
	unsigned int areas = 0, i = 0;

	while (ioas_next(s->ioas, next, &info)) {
		areas++;
		while (i < CELLS && !s->cell[i].area)
			i++;
		check(i < CELLS && cell_iova(i) == info.iova && s->cell[i].va == info.va);
		for (uint64_t at = 0; at < info.len; at += PG, i++)
			check(s->cell[i].area == cell_at(s, info.iova)->area && s->cell[i].prot == info.prot);
		if (info.iova + info.len == 0)
			break;
		next = info.iova + info.len;
	}
	while (i < CELLS)
		check(!s->cell[i++].area);
	check(areas == ioas_area_count(s->ioas));
}

struct range_walk {
	const struct space *s;
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

static void op_ask(struct model *m)
{
	struct space *s = &m->space[take(m, SPACES)];
	struct range_walk w = {.s = s};
	unsigned int a = take(m, CELLS), b = take(m, CELLS);
	bool overlaps = false;

	check_areas(s);
	ioas_ranges(s->ioas, range_seen, &w);
	for (unsigned int i = 0; i < CELLS; i++) {
		check(w.usable[i] == !s->cell[i].reserved);
		overlaps |= i >= a && i <= b && s->cell[i].area;
	}
	check(ioas_overlaps(s->ioas, cell_iova(a), cell_iova(b) + (PG - 1)) == overlaps);
}

/* ---- life ---- */

static void model_notify(struct event_listener *l, const struct event *ev)
{
	struct model *m = container_of(l, struct model, listener);
	char line[256];

	if (ev->type == EVENT_PIN)
		m->pin_events += ev->value;
	if (ev->type == EVENT_UNPIN)
		m->pin_events -= ev->value;
	if (ev->type != EVENT_FAULT)
		return;
	check(dma_fault_format(ev, line, sizeof(line)) < (int)sizeof(line));
	m->fault = *ev;
	m->faults++;
}

static uint64_t model_limit(void *ctx)
{
	return *(uint64_t *)ctx;
}

static void file_open(struct model *m, unsigned int i)
{
	struct file *f = &m->file[i];
	char path[64];
	int ro = -1;

	f->fd = memfd_create("model", MFD_CLOEXEC);
	check(f->fd >= 0);
	f->pages = 8;
	check(ftruncate(f->fd, 8 * PG) == 0);
	for (unsigned int p = 0; p < 8; p++)
		memset(f->bytes + p * PG, 'A' + i * 8 + p, PG);
	check(pwrite(f->fd, f->bytes, 8 * PG, 0) == 8 * PG);
	if (i == FILES - 1) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
		ro = open(path, O_RDONLY | O_CLOEXEC);
		check(ro >= 0);
	}
	check(backing_get_fd(m->cache, ro < 0 ? f->fd : ro, &f->backing) == 0);
	if (ro >= 0)
		close(ro);
}

static void model_open(struct model *m)
{
	static const struct mm_owner_ops ops = {.limit = model_limit};

	events_init(&m->evs);
	m->listener.mask = BIT(EVENT_FAULT) | BIT(EVENT_PIN) | BIT(EVENT_UNPIN);
	m->listener.notify = model_notify;
	events_listen(&m->evs, &m->listener);
	check(guard_install() == 0);
	check((m->cache = backing_cache_new(1 << 20, 4)));
	for (unsigned int i = 0; i < FILES; i++)
		file_open(m, i);
	for (unsigned int i = 0; i < OWNERS; i++) {
		m->limit[i] = i ? 40 * PG : UINT64_MAX;
		check((m->owner[i] = mm_owner_new(&ops, &m->limit[i], i, &m->evs)));
	}
	for (unsigned int i = 0; i < SPACES; i++)
		check((m->space[i].ioas = ioas_new(&m->evs)));
	for (unsigned int i = 0; i < DEVICES; i++) {
		check((m->device[i].dev = dma_dev_new(i << 3, &m->evs)));
		dma_dev_attach(m->device[i].dev, m->space[0].ioas);
		dma_dev_set_master(m->device[i].dev, true);
		m->device[i].master = true;
	}
}

static void model_close(struct model *m)
{
	for (unsigned int i = 0; i < OBJECTS; i++)
		pages_put(m->object[i].pages);
	for (unsigned int i = 0; i < FILES; i++) {
		backing_put(m->file[i].backing);
		close(m->file[i].fd);
	}
	for (unsigned int i = 0; i < SPACES; i++) {
		check_areas(&m->space[i]);
		ioas_free(m->space[i].ioas);
	}
	for (unsigned int i = 0; i < DEVICES; i++)
		dma_dev_free(m->device[i].dev);
	check(m->pin_events == 0);
	for (unsigned int i = 0; i < OWNERS; i++) {
		check(mm_charged(m->owner[i]) == 0);
		mm_owner_put(m->owner[i]);
	}
	backing_cache_free(m->cache);
}

void model_run(const uint8_t *program, size_t size)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	m.in = program;
	m.left = size;
	model_open(&m);
	while (m.left) {
		switch (take(&m, 21)) {
		case 0:
		case 1:
			op_pages_new(&m);
			break;
		case 2:
			op_pages_put(&m);
			break;
		case 3:
		case 4:
		case 5:
		case 6:
			op_map(&m);
			break;
		case 7:
		case 8:
			op_unmap(&m);
			break;
		case 9:
			op_unmap_all(&m);
			break;
		case 10:
		case 11:
			op_dma(&m, false);
			break;
		case 12:
		case 13:
			op_dma(&m, true);
			break;
		case 14:
			op_dma_iov(&m);
			break;
		case 15:
			op_device(&m);
			break;
		case 16:
			op_truncate(&m);
			break;
		case 17:
			op_client_write(&m);
			break;
		case 18:
			op_limit(&m);
			break;
		case 19:
			op_backing(&m);
			break;
		case 20:
			if (take(&m, 2))
				op_reserve(&m);
			else
				op_ask(&m);
			break;
		}
		for (unsigned int i = 0; i < OWNERS; i++)
			check(mm_charged(m.owner[i]) == m.charged[i]);
	}
	model_close(&m);
}
