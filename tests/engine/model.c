/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/guard.h"
#include "model.h"
#include "model_private.h"

/* ---- the program ---- */

unsigned int take(struct model *m, unsigned int below)
{
	if (!m->left)
		return 0;
	m->left--;
	return *m->in++ % below;
}

/* ---- addresses ---- */

uint64_t cell_iova(unsigned int cell)
{
	static const uint64_t base[3] = {0, 0x7fff00000000, -(uint64_t)(WINDOW * PG)};

	return base[cell / WINDOW] + cell % WINDOW * PG;
}

int iova_cell(uint64_t iova)
{
	for (unsigned int w = 0; w < 3; w++)
		if (iova - cell_iova(w * WINDOW) < WINDOW * PG)
			return (int)(w * WINDOW + (iova - cell_iova(w * WINDOW)) / PG);
	return -1;
}

uint64_t cell_last(unsigned int cell)
{
	return cell_iova(cell) + (PG - 1);
}

/* ---- pins ---- */

unsigned int claimed(const struct model *m, int owner, int mode)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->objects; i++) {
		const struct object *o = &m->object[i];

		if ((owner >= 0 && o->owner != (unsigned int)owner) || (mode >= 0 && o->mode != (enum mm_account)mode))
			continue;
		for (unsigned int k = 0; k < o->n; k++)
			n += o->claims[k] > 0;
	}
	return n;
}

int object_pin(struct model *m, unsigned int object, unsigned int page, unsigned int n)
{
	struct object *o = &m->object[object];
	uint64_t limit = m->limit[o->owner];
	unsigned int fresh = 0, locked;

	for (unsigned int i = page; i < page + n; i++) {
		if (o->file[i] == HOLE || (o->write && !o->writable[i]))
			return -EFAULT;
		fresh += !o->claims[i];
	}
	if (fresh && !o->is_file && !m->alive[o->owner])
		return -EFAULT;
	/* The owners are one user. */
	locked = o->mode == MM_ACCOUNT_PROCESS ? claimed(m, o->owner, o->mode) : claimed(m, -1, o->mode);
	if (fresh && limit != UINT64_MAX && locked + fresh > limit / PG)
		return -ENOMEM;
	for (unsigned int i = page; i < page + n; i++)
		o->claims[i]++;
	return 0;
}

void object_unpin(struct model *m, unsigned int object, unsigned int page, unsigned int n)
{
	struct object *o = &m->object[object];

	for (unsigned int i = page; i < page + n; i++)
		o->claims[i]--;
}

uint8_t *object_bytes(struct model *m, unsigned int object, unsigned int page)
{
	const struct object *o = &m->object[object];
	struct file *f = o->file[page] == HOLE ? NULL : &m->file[o->file[page]];

	return f && o->page[page] < f->pages ? f->bytes + o->page[page] * PG : NULL;
}

/* ---- DMA ---- */

/*
 * What the device may do at one address. 0 and the byte, or the reason for a fault.
 */
static int byte_at(struct model *m, const struct device *d, uint64_t iova, int need, uint8_t **byte)
{
	struct dom *dom = d->dom < 0 ? NULL : &m->dom[d->dom];
	const struct cell *c;
	int i = iova_cell(iova);
	uint8_t *page;

	if (!d->master)
		return DMA_FAULT_MASTER;
	if (!dom)
		return DMA_FAULT_DETACHED;
	c = dom->space < 0 || i < 0 ? NULL : &m->space[dom->space].cell[i];
	if (!c || !c->area)
		return DMA_FAULT_UNMAPPED;
	if (!(c->prot & need))
		return DMA_FAULT_PERMISSION;
	/* Also where the page turns out to be gone: the translation was used. */
	if (need == IOMMU_WRITE && dom->tracking)
		dom->dirty[i] = true;
	page = object_bytes(m, c->object, c->page);
	if (!page)
		return DMA_FAULT_GONE;
	*byte = page + iova % PG;
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

	int space = d->dom < 0 ? -1 : m->dom[d->dom].space;

	/* Mostly where something is mapped. */
	if (space >= 0 && take(m, 8))
		for (unsigned int i = 0; i < CELLS && !m->space[space].cell[cell].area; i++)
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
			d->dom = -1;
			dma_dev_detach(d->dev);
			break;
		}
		/* fall through */
	default:
		d->dom = take(m, DOMAINS);
		dma_dev_attach(d->dev, m->dom[d->dom].d);
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

static void op_owner(struct model *m)
{
	unsigned int owner = take(m, OWNERS), pages = take(m, 64);

	m->limit[owner] = pages > 32 ? UINT64_MAX : pages * PG + take(m, 2);
	m->alive[owner] = take(m, 8);
}

static void dirty_seen(void *ctx, uint64_t iova, uint64_t len)
{
	bool *seen = ctx;

	for (uint64_t at = iova; at - iova < len; at += PG) {
		int i = iova_cell(at);

		check(i >= 0 && !seen[i]);
		seen[i] = true;
	}
}

static void op_dirty(struct model *m)
{
	struct dom *d = &m->dom[take(m, DOMAINS)];
	unsigned int cell = take(m, CELLS), n = 1 + take(m, WINDOW), how = take(m, 4);
	bool seen[CELLS] = {0}, keep = how == 1;

	n = MIN(n, WINDOW - cell % WINDOW);
	if (how == 0) {
		d->tracking = take(m, 4);
		check(domain_set_dirty_tracking(d->d, d->tracking) == 0);
		check(domain_dirty_tracking(d->d) == d->tracking);
		if (d->tracking)
			memset(d->dirty, 0, sizeof(d->dirty));
		return;
	}
	domain_read_dirty(d->d, cell_iova(cell), n * PG, keep, dirty_seen, seen);
	for (unsigned int i = 0; i < CELLS; i++) {
		bool in = i >= cell && i < cell + n;

		check(seen[i] == (in && d->dirty[i]));
		if (in && !keep)
			d->dirty[i] = false;
	}
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

static struct model *model_of_owner; /* owners are told apart by their index */

static uint64_t model_limit(void *ctx)
{
	return model_of_owner->limit[(uintptr_t)ctx];
}

static bool model_alive(void *ctx)
{
	return model_of_owner->alive[(uintptr_t)ctx];
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

/* What lies outside the windows is reserved. */
static void space_open(struct model *m, unsigned int i)
{
	struct space *s = &m->space[i];

	s->m = m;
	check((s->ioas = ioas_new(&m->evs)));
	check((s->access = access_new(&model_access_ops, s)));
	check(ioas_reserve(s->ioas, cell_last(WINDOW - 1) + 1, cell_iova(WINDOW) - 1, m) == 0);
	check(ioas_reserve(s->ioas, cell_last(2 * WINDOW - 1) + 1, cell_iova(2 * WINDOW) - 1, m) == 0);
	s->small = i == 0;
	check(ioas_set_large_pages(s->ioas, !s->small) == 0);
	check(access_attach(s->access, s->ioas) == 0);
}

static void model_open(struct model *m)
{
	static const struct mm_owner_ops ops = {.limit = model_limit, .alive = model_alive};
	struct domain_config config = {.last = UINT64_MAX, .pgsizes = PG | 2UL << 20, .dirty = true};

	model_of_owner = m;
	events_init(&m->evs);
	m->listener.mask = BIT(EVENT_FAULT) | BIT(EVENT_PIN) | BIT(EVENT_UNPIN);
	m->listener.notify = model_notify;
	events_listen(&m->evs, &m->listener);
	check(guard_install() == 0);
	check((m->cache = backing_cache_new(1 << 20, 4)));
	check((m->user = mm_user_new()));
	for (unsigned int i = 0; i < FILES; i++)
		file_open(m, i);
	for (unsigned int i = 0; i < OWNERS; i++) {
		m->limit[i] = i ? 40 * PG : UINT64_MAX;
		m->alive[i] = true;
		check((m->owner[i] = mm_owner_new(&ops, (void *)(uintptr_t)i, m->user, i, &m->evs)));
	}
	for (unsigned int i = 0; i < SPACES; i++)
		space_open(m, i);
	for (unsigned int i = 0; i < DOMAINS; i++) {
		m->dom[i].space = -1;
		if (i == DOMAINS - 1) { /* without the top window, nor the first page */
			config.first = PG;
			config.last = cell_last(2 * WINDOW - 1);
		}
		check((m->dom[i].d = domain_new(&config, &m->evs)));
	}
	for (unsigned int i = 0; i < DEVICES; i++) {
		m->device[i] = (struct device){dma_dev_new(i << 3, &m->evs), i, true};
		check(m->device[i].dev);
		dma_dev_attach(m->device[i].dev, m->dom[i].d);
		dma_dev_set_master(m->device[i].dev, true);
		check(ioas_add_domain(m->space[i % SPACES].ioas, m->dom[i].d) == 0);
		m->dom[i].space = i % SPACES;
		m->space[i % SPACES].domains++;
	}
}

static void model_close(struct model *m)
{
	for (unsigned int i = 0; i < m->objects; i++)
		if (m->object[i].held)
			pages_put(m->object[i].pages);
	for (unsigned int i = 0; i < FILES; i++) {
		backing_put(m->file[i].backing);
		close(m->file[i].fd);
	}
	for (unsigned int i = 0; i < DEVICES; i++)
		dma_dev_free(m->device[i].dev);
	for (unsigned int i = 0; i < SPACES; i++)
		access_free(m->space[i].access);
	for (unsigned int i = 0; i < DOMAINS; i++) {
		if (m->dom[i].space >= 0)
			ioas_remove_domain(m->space[m->dom[i].space].ioas, m->dom[i].d);
		domain_free(m->dom[i].d);
	}
	for (unsigned int i = 0; i < SPACES; i++) {
		check_areas(&m->space[i]);
		ioas_free(m->space[i].ioas);
	}
	check(m->pin_events == 0);
	for (unsigned int i = 0; i < OWNERS; i++) {
		check(mm_charged(m->owner[i]) == 0);
		mm_owner_put(m->owner[i]);
	}
	mm_user_put(m->user);
	backing_cache_free(m->cache);
}

static void step(struct model *m)
{
	static void (*const op[])(struct model *) = {
	    op_pages_new,  op_pages_new,  op_pages_put,	   op_map,	 op_map,     op_map,
	    op_map_auto,   op_copy,	  op_copy,	   op_cut,	 op_unmap,   op_unmap,
	    op_device,	   op_truncate,	  op_client_write, op_owner,	 op_backing, op_reserve,
	    op_allow,	   op_domain,	  op_domain,	   op_dirty,	 op_dirty,   op_move,
	    op_access_pin, op_access_pin, op_access_unpin, op_access_rw, op_ask,
	};
	unsigned int n = take(m, ARRAY_SIZE(op) + 7);

	if (n < ARRAY_SIZE(op))
		op[n](m);
	else if (n < ARRAY_SIZE(op) + 6)
		op_dma(m, n % 2);
	else
		op_dma_iov(m);
}

void model_run(const uint8_t *program, size_t size)
{
	static struct model m;

	memset(&m, 0, sizeof(m));
	m.in = program;
	m.left = size;
	model_open(&m);
	while (m.left) {
		step(&m);
		for (unsigned int i = 0; i < OWNERS; i++)
			check(mm_charged(m.owner[i]) == claimed(&m, i, -1));
	}
	model_close(&m);
}
