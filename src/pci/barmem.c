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

/*
 * Invariants. The content is in the file if in_file, else in the store, and base is a mapping of where it is. in_file
 * only while open. file is NULL until clients ask for it, and again when it had to be given up (dead).
 */
struct barmem {
	uint64_t size;
	uint8_t *base;
	int store, spare; /* spare: the next store, for when a busy file takes this one with it */
	struct barfile *file;
	bool open, in_file, dead;
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
	barmem_revoke(m);
	if (m->file)
		barfile_leave(m->file, -1);
	munmap(m->base, m->size);
	close(m->store);
	if (m->spare >= 0)
		close(m->spare);
	free(m);
}

uint8_t *barmem_base(const struct barmem *m)
{
	return m->base;
}

uint64_t barmem_size(const struct barmem *m)
{
	return m->size;
}

int barmem_read(const struct barmem *m, uint64_t off, void *dst, size_t n)
{
	return guard_copy(dst, m->base + off, n) ? -EIO : 0;
}

int barmem_write(struct barmem *m, uint64_t off, const void *src, size_t n)
{
	return guard_copy(m->base + off, src, n) ? -EIO : 0;
}

static void store_empty(struct barmem *m)
{
	/* Of a memfd without seals this cannot fail. */
	if (ftruncate(m->store, 0) || ftruncate(m->store, m->size))
		return;
}

void barmem_clear(struct barmem *m)
{
	assert(!m->in_file);
	store_empty(m);
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

static void move_out(struct barmem *m)
{
	if (barfile_cut(m->file, m->store)) {
		give_up(m);
		return;
	}
	m->in_file = false;
	base_show(m, m->store);
}

static void move_in(struct barmem *m)
{
	if (barfile_fill(m->file, m->store)) {
		give_up(m);
		return;
	}
	m->in_file = true;
	base_show(m, barfile_fd(m->file));
	store_empty(m);
}

int barmem_file(struct barmem *m)
{
	if (!m->file && !m->dead) {
		if (m->spare < 0)
			m->spare = store_new(m->size);
		m->file = m->spare < 0 ? NULL : barfile_new(m->size);
		m->dead = !m->file;
		if (m->file && m->open)
			move_in(m);
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
	if (m->in_file)
		move_out(m);
}

void barmem_restore(struct barmem *m)
{
	m->open = true;
	if (m->file && !m->in_file)
		move_in(m);
}

void barmem_renew(struct barmem *m)
{
	assert(!m->open);
	if (m->file)
		barfile_leave(m->file, -1);
	m->file = NULL;
	m->dead = false;
	m->generation++;
}
