/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/barmem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/util.h"
#include "pci/barfile.h"

#define LARGE_BYTES (4UL << 20) /* from here on it is worth not to wait for the thread */
#define SHORT_NS    1000000

/* What the thread is at. */
enum move { STILL, FILLING, CUTTING, EMPTYING };

/*
 * Invariants. The content is in the file if in_file, else in the store, and base is a mapping of where it is; of that
 * nothing is known while it moves. Still, it is in_file if, and only if, open with a file. file is NULL until clients
 * ask for it, and again when it had to be given up (dead).
 */
struct barmem {
	uint64_t size;
	uint8_t *base;
	int store, spare; /* spare: the next store, for when a busy file takes this one with it */
	struct barfile *file;
	bool open, in_file, dead;
	enum move move;
	bool lost;  /* the content is of no use: what is in the file goes when it is cut */
	bool stale; /* what is in the store is of no use */
	uint64_t generation;
};

static int store_new(uint64_t size)
{
	int fd = memfd_create("pinfold-store", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, size)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Replaces one mapping by one as long, which needs nothing that could be short. */
static void base_show(struct barmem *m, int fd)
{
	void *p = mmap(m->base, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);

	assert(p == m->base);
}

int barmem_new(uint64_t size, struct barmem **out)
{
	struct barmem *m = calloc(1, sizeof(*m));
	void *p;

	if (!m)
		return -ENOMEM;
	m->size = size;
	m->spare = -1;
	m->store = store_new(size);
	p = m->store < 0 ? MAP_FAILED
			 : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->store, 0);
	if (p == MAP_FAILED) {
		if (m->store >= 0)
			close(m->store);
		free(m);
		return -ENOMEM;
	}
	m->base = p;
	*out = m;
	return 0;
}

void barmem_free(struct barmem *m)
{
	barmem_forget(m);
	barmem_revoke(m);
	barmem_settle(m);
	if (m->file)
		barfile_leave(m->file, -1);
	munmap(m->base, m->size);
	close(m->store);
	if (m->spare >= 0)
		close(m->spare);
	free(m);
}

uint8_t *barmem_base(struct barmem *m)
{
	barmem_settle(m);
	return m->base;
}

uint64_t barmem_size(const struct barmem *m)
{
	return m->size;
}

int barmem_read(struct barmem *m, uint64_t off, void *dst, size_t n)
{
	barmem_settle(m);
	return guard_copy(dst, m->base + off, n) ? -EIO : 0;
}

int barmem_write(struct barmem *m, uint64_t off, const void *src, size_t n)
{
	barmem_settle(m);
	return guard_copy(m->base + off, src, n) ? -EIO : 0;
}

static void store_empty(struct barmem *m)
{
	/* Of a memfd without seals this cannot fail. */
	if (ftruncate(m->store, 0) || ftruncate(m->store, m->size))
		return;
}

/* ---- the clients' side ---- */

/* The thread may go on with the file and the store once it can; what the store holds later is not for it to see. */
static void give_up(struct barmem *m)
{
	int old = m->store;

	/* What was cut off is in the store, what was not still in the file. */
	if (m->in_file)
		barfile_copy(barfile_fd(m->file), m->spare, m->size);
	barfile_copy(old, m->spare, m->size);
	m->store = m->spare;
	m->spare = -1;
	m->in_file = false;
	m->dead = true;
	m->generation++;
	base_show(m, m->store);
	barfile_leave(m->file, old);
	m->file = NULL;
}

static void begin(struct barmem *m, enum move what)
{
	static const enum barfile_order order[] = {
	    [FILLING] = BARFILE_FILL, [CUTTING] = BARFILE_CUT, [EMPTYING] = BARFILE_EMPTY};

	barfile_begin(m->file, order[what], m->store);
	if (what == CUTTING && m->lost)
		barfile_discard(m->file);
	m->move = what;
}

static void end(struct barmem *m, int err)
{
	enum move was = m->move;

	m->move = STILL;
	if (err) {
		give_up(m);
		return;
	}
	if (was == EMPTYING) {
		m->stale = false;
		return;
	}
	m->in_file = was == FILLING;
	base_show(m, m->in_file ? barfile_fd(m->file) : m->store);
	m->stale = m->in_file;
}

/* From one thing to the next; false: there is none. */
static bool next(struct barmem *m)
{
	if (m->lost && !m->in_file) {
		m->lost = false;
		m->stale = true;
	}
	if (m->stale && m->file && m->size > LARGE_BYTES) {
		begin(m, EMPTYING);
	} else if (m->stale) {
		store_empty(m);
		m->stale = false;
		return next(m);
	} else if (m->in_file && (!m->open || m->lost)) {
		begin(m, CUTTING);
	} else if (m->open && m->file && !m->in_file) {
		begin(m, FILLING);
	}
	return m->move != STILL;
}

/* True: all is where it belongs. */
static bool moved(struct barmem *m, uint64_t ns)
{
	while (m->move != STILL || next(m)) {
		int err = barfile_wait(m->file, ns);

		if (err == -EAGAIN)
			return false;
		end(m, err);
	}
	return true;
}

bool barmem_moving(struct barmem *m)
{
	return unlikely(m->move != STILL) && !moved(m, 0);
}

void barmem_settle(struct barmem *m)
{
	if (unlikely(m->move != STILL))
		moved(m, UINT64_MAX);
}

void barmem_forget(struct barmem *m)
{
	m->lost = true;
	if (m->move == CUTTING)
		barfile_discard(m->file);
}

void barmem_clear(struct barmem *m)
{
	assert(!m->open);
	barmem_forget(m);
	moved(m, m->size > LARGE_BYTES ? 0 : UINT64_MAX);
}

/* Begins what is to be done. Of large memory the rest is left to who asks later. */
static void move(struct barmem *m)
{
	moved(m, m->size > LARGE_BYTES ? SHORT_NS : UINT64_MAX);
}

int barmem_file(struct barmem *m)
{
	if (!m->file && !m->dead) {
		if (m->spare < 0)
			m->spare = store_new(m->size);
		m->file = m->spare < 0 ? NULL : barfile_new(m->size);
		m->dead = !m->file;
		move(m);
	}
	return m->file ? barfile_fd(m->file) : -1;
}

int barmem_file_now(const struct barmem *m)
{
	return m->file ? barfile_fd(m->file) : -1;
}

uint64_t barmem_generation(const struct barmem *m)
{
	return m->generation;
}

bool barmem_open(const struct barmem *m)
{
	return m->open;
}

void barmem_revoke(struct barmem *m)
{
	m->open = false;
	move(m);
}

void barmem_restore(struct barmem *m)
{
	m->open = true;
	move(m);
}

void barmem_renew(struct barmem *m)
{
	assert(!m->open);
	barmem_settle(m);
	if (m->file)
		barfile_leave(m->file, -1);
	m->file = NULL;
	m->dead = false;
	m->generation++;
}
