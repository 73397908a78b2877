/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/barfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/guard.h"
#include "base/lock.h"
#include "base/thread.h"
#include "base/util.h"

#define PIPE_BYTES  (1 << 20) /* what an unprivileged user may have */
#define CHUNK_BYTES (256UL << 10)
#define PIPES_MAX   8 /* of large memory */
#define EXACT_BYTES (4UL << 20)
#define NS_PER_MS   1000000L
#define LOOK_MS	    5 /* between two looks at a thread that does not get on */
/*
 * Asleep in the kernel, in one order: for who has to wait, and for who has other things to do. A busy system alone
 * keeps a page locked for tens of milliseconds now and then.
 */
#define PATIENCE_MS	 100
#define PATIENCE_IDLE_MS 2000

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

struct pipe {
	int end[2];
	uint64_t used;
};

/* A stretch of the file that a pipe holds. */
struct run {
	uint64_t off, len;
	const struct pipe *pipe;
};

#define ORDER_LEAVE BIT(31) /* in the word of orders: go, and free everything */

/*
 * What the owner and the thread share. Orders are numbered; `done` is the last that was carried out. One is outstanding
 * at most, and what it says is written before its number.
 */
struct barfile {
	int fd;
	uint64_t size;
	uint8_t *map;
	struct pipe pipe[PIPES_MAX];
	unsigned int npipes;
	size_t pipe_bytes; /* what each of them holds */
	struct run *run;   /* room for as many as the pipes hold pages */
	unsigned int nruns;
	_Atomic uint32_t order, done, progress, tid;
	_Atomic bool discard;
	enum barfile_order what;
	int store;
	/* The owner's: how the order is getting on. */
	uint64_t looked;
	uint32_t seen;
	unsigned int asleep_ms;
	int busy_store; /* to be closed on leaving */
	uint8_t *chunk;
};

/* Until the word is no longer val, or the time is over (NULL: no limit), or for no reason. */
static void futex_wait(_Atomic uint32_t *word, uint32_t val, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, val, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* Writes the pages of buf that are not zero; where nothing was written before, the others read as zero. */
static void write_nonzero(int fd, const uint8_t *buf, size_t n, uint64_t off)
{
	size_t from = 0, to;

	while (from < n) {
		if (is_zero(buf + from, PF_PAGE_SIZE)) {
			from += PF_PAGE_SIZE;
			continue;
		}
		for (to = from + PF_PAGE_SIZE; to < n && !is_zero(buf + to, PF_PAGE_SIZE); to += PF_PAGE_SIZE)
			;
		if (pwrite(fd, buf + from, to - from, off + from) < 0)
			return; /* no memory */
		from = to;
	}
}

void barfile_copy(int from, int to, uint64_t size)
{
	uint8_t buf[16 * PF_PAGE_SIZE];

	for (uint64_t off = 0; off < size;) {
		ssize_t n = pread(from, buf, MIN(sizeof(buf), size - off), off);

		if (n < (ssize_t)PF_PAGE_SIZE)
			break;
		n = ALIGN_DOWN(n, PF_PAGE_SIZE);
		write_nonzero(to, buf, n, off);
		off += n;
	}
}

/* ---- the thread ---- */

static void cut_to(struct barfile *f, uint64_t len)
{
	/* Of a memfd without seals this cannot fail. */
	if (ftruncate(f->fd, len))
		return;
}

static void store_empty(struct barfile *f)
{
	if (ftruncate(f->store, 0) || ftruncate(f->store, f->size))
		return;
}

/* The next stretch of fd from *to on that may hold something, up to limit. */
static bool next_data(int fd, uint64_t *from, uint64_t *to, uint64_t limit)
{
	off_t start = lseek(fd, *to, SEEK_DATA);
	off_t end = start < 0 ? -1 : lseek(fd, start, SEEK_HOLE);

	if (end <= start || (uint64_t)start >= limit)
		return false;
	*from = start;
	*to = MIN((uint64_t)end, limit);
	return true;
}

static void pipe_empty(struct barfile *f, const struct pipe *p)
{
	while (read(p->end[0], f->chunk, CHUNK_BYTES) > 0)
		;
}

/* The file grows when a page is filled in, not before: who looks finds the content or nothing. */
static void file_fill(struct barfile *f)
{
	const struct pipe *p = &f->pipe[0];
	uint64_t from, to = 0;

	cut_to(f, 0);
	while (next_data(f->store, &from, &to, f->size)) {
		/* A hole in front of it shows zeros, which is what is there. */
		for (off_t in = from, out = from; (uint64_t)out < to;) {
			if (splice(f->store, &in, p->end[1], NULL, to - in, SPLICE_F_NONBLOCK) <= 0 && in == out)
				break;
			if (splice(p->end[0], NULL, f->fd, &out, in - out, SPLICE_F_NONBLOCK) <= 0)
				break;
			atomic_fetch_add(&f->progress, 1);
		}
		pipe_empty(f, p);
	}
	cut_to(f, f->size);
}

/*
 * Makes pages be there that are not: one that a client touches for the first time after the pipe has taken the others
 * would be lost, with what he stored. A page that is merely allocated would not do.
 */
static void populate(struct barfile *f, uint64_t off, uint64_t len)
{
	uint8_t byte;

	if (!madvise(f->map + off, len, MADV_POPULATE_READ) || errno != EINVAL)
		return;
	for (uint64_t i = 0; i < len; i += PF_PAGE_SIZE)
		guard_copy(&byte, f->map + off + i, 1);
}

/* Puts the file's pages in [off, off + len) into the pipe. Less than len: a client has cut the file. */
static uint64_t hold(struct barfile *f, const struct pipe *p, uint64_t off, uint64_t len)
{
	off_t at = off;

	while ((uint64_t)at < off + len)
		if (splice(f->fd, &at, p->end[1], NULL, off + len - at, SPLICE_F_NONBLOCK) <= 0)
			break;
	return at - off;
}

/*
 * Adds what has to be taken out of [off, off + len) to the runs; returns its size. All of it if the memory is small. Of
 * large memory the pages that are there: one that is stored to for the first time ever in the instant of the cut is
 * lost.
 */
static uint64_t runs_find(struct barfile *f, uint64_t off, uint64_t len)
{
	uint64_t from, to = off, sum = 0;

	if (f->size <= EXACT_BYTES) {
		populate(f, off, len);
		f->run[f->nruns++] = (struct run){.off = off, .len = len};
		return len;
	}
	while (next_data(f->fd, &from, &to, off + len)) {
		f->run[f->nruns++] = (struct run){.off = from, .len = to - from};
		sum += to - from;
	}
	return sum;
}

static void run_move(struct barfile *f, const struct run *r)
{
	for (uint64_t done = 0; done < r->len;) {
		size_t want = MIN(CHUNK_BYTES, r->len - done), got = 0;

		while (got < want) {
			ssize_t n = read(r->pipe->end[0], f->chunk + got, want - got);

			if (n <= 0)
				return;
			got += n;
		}
		write_nonzero(f->store, f->chunk, ALIGN_DOWN(want, PF_PAGE_SIZE), r->off + done);
		done += want;
	}
}

/* The cut, and then what it has cut off and the pipes hold. */
static void runs_move(struct barfile *f, uint64_t end)
{
	cut_to(f, end);
	for (unsigned int i = 0; i < f->nruns; i++)
		run_move(f, &f->run[i]);
	f->nruns = 0;
	for (unsigned int i = 0; i < f->npipes; i++) {
		pipe_empty(f, &f->pipe[i]);
		f->pipe[i].used = 0;
	}
}

/*
 * From the end, as much at a time as the pipes hold: each cut looks at all that is mapped behind it, in every process.
 */
static void file_cut(struct barfile *f)
{
	uint64_t end = f->size, len;
	struct pipe *p = f->pipe;

	for (; end && !atomic_load(&f->discard); end -= len) {
		unsigned int first = f->nruns;
		uint64_t sum;

		len = MIN(end, f->pipe_bytes);
		sum = runs_find(f, end - len, len);
		if (p->used + sum > f->pipe_bytes && ++p == f->pipe + f->npipes) {
			f->nruns = first;
			runs_move(f, end);
			p = f->pipe;
			first = 0;
			sum = runs_find(f, end - len, len);
		}
		p->used += sum;
		for (unsigned int i = first; i < f->nruns; i++) {
			f->run[i].pipe = p;
			f->run[i].len = hold(f, p, f->run[i].off, f->run[i].len);
		}
		atomic_fetch_add(&f->progress, 1);
	}
	runs_move(f, 0);
}

static void file_free(struct barfile *f)
{
	if (f->map)
		munmap(f->map, f->size);
	for (unsigned int i = 0; i < f->npipes; i++) {
		close(f->pipe[i].end[0]);
		close(f->pipe[i].end[1]);
	}
	if (f->busy_store >= 0)
		close(f->busy_store);
	if (f->fd >= 0)
		close(f->fd);
	free(f->run);
	free(f->chunk);
	free(f);
}

static void *file_thread(void *arg)
{
	struct barfile *f = arg;
	uint32_t order, done = 0;

	atomic_store(&f->tid, syscall(SYS_gettid));
	for (;;) {
		order = atomic_load(&f->order);
		if (order & ORDER_LEAVE)
			break;
		if (order == done) {
			futex_wait(&f->order, order, NULL);
			continue;
		}
		if (f->what == BARFILE_FILL)
			file_fill(f);
		else if (f->what == BARFILE_CUT)
			file_cut(f);
		else
			store_empty(f);
		done = order;
		atomic_store(&f->done, done);
		futex_wake(&f->done);
	}
	cut_to(f, 0);
	file_free(f);
	return NULL;
}

/* ---- the owner's side ---- */

/* The pipe has to hold the page itself: a copy made at the time of the splice misses what is stored until the cut. */
static bool pipe_holds_pages(struct barfile *f)
{
	uint8_t byte = 0, seen = 0;
	off_t off = 0;
	bool held =
	    pwrite(f->fd, "", 1, 0) == 1 && splice(f->fd, &off, f->pipe[0].end[1], NULL, 1, SPLICE_F_NONBLOCK) == 1;

	byte = 1;
	if (held && !guard_copy(f->map, &byte, 1))
		held = read(f->pipe[0].end[0], &seen, 1) == 1 && seen == 1;
	cut_to(f, 0);
	return held;
}

/* All hold as much as the first; one that does not is not used. */
static void pipe_add(struct barfile *f)
{
	struct pipe *p = &f->pipe[f->npipes];
	long bytes;

	if (pipe2(p->end, O_CLOEXEC | O_NONBLOCK))
		return;
	fcntl(p->end[1], F_SETPIPE_SZ, MIN(f->size, (uint64_t)PIPE_BYTES)); /* else what it has */
	bytes = fcntl(p->end[1], F_GETPIPE_SZ);
	if (!f->npipes)
		f->pipe_bytes = MAX(bytes, (long)PF_PAGE_SIZE);
	if (bytes >= (long)f->pipe_bytes) {
		f->npipes++;
		return;
	}
	close(p->end[0]);
	close(p->end[1]);
}

static bool file_setup(struct barfile *f)
{
	unsigned int pipes = f->size > EXACT_BYTES ? PIPES_MAX : 1;
	void *p;

	f->chunk = malloc(CHUNK_BYTES);
	f->fd = memfd_create("pinfold-bar", MFD_CLOEXEC);
	if (!f->chunk || f->fd < 0)
		return false;
	p = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, f->fd, 0);
	if (p == MAP_FAILED)
		return false;
	f->map = p;
	while (pipes--)
		pipe_add(f);
	if (!f->npipes)
		return false;
	f->run = calloc((f->npipes + 1) * (f->pipe_bytes / PF_PAGE_SIZE), sizeof(*f->run));
	return f->run && pipe_holds_pages(f) && !thread_start(NULL, file_thread, f);
}

struct barfile *barfile_new(uint64_t size)
{
	struct barfile *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->fd = f->store = f->busy_store = -1;
	f->size = size;
	if (file_setup(f))
		return f;
	file_free(f);
	return NULL;
}

void barfile_leave(struct barfile *f, int store)
{
	f->busy_store = store;
	/* The last touch: who reads it frees all this. That the wake-up comes too late then, and to an address that may
	 * be another's, disturbs nobody. */
	atomic_fetch_or(&f->order, ORDER_LEAVE);
	futex_wake(&f->order);
}

int barfile_fd(const struct barfile *f)
{
	return f->fd;
}

/* Is the thread asleep in the kernel? One that only waits for its turn on a busy machine is not. */
static bool thread_asleep(struct barfile *f)
{
	char path[48], stat[128], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%u/stat", atomic_load(&f->tid));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	stat[MAX(n, 0)] = 0;
	p = strrchr(stat, ')');
	return p && p[1] && p[2] != 'R';
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

void barfile_begin(struct barfile *f, enum barfile_order what, int store)
{
	f->what = what;
	f->store = store;
	f->looked = now_ns();
	f->seen = atomic_load(&f->progress);
	f->asleep_ms = 0;
	atomic_store(&f->discard, false);
	atomic_fetch_add(&f->order, 1);
	futex_wake(&f->order);
}

void barfile_discard(struct barfile *f)
{
	atomic_store(&f->discard, true);
}

/* However seldom the owner looks, one look counts for two at most. */
static void look(struct barfile *f, uint64_t now)
{
	uint64_t ms = (now - f->looked) / NS_PER_MS;
	uint32_t progress = atomic_load(&f->progress);

	if (ms < LOOK_MS)
		return;
	/* A store is nobody else's: what it waits for there is the system. */
	if (progress == f->seen && f->what != BARFILE_EMPTY && thread_asleep(f))
		f->asleep_ms += MIN(ms, 2ull * LOOK_MS);
	f->seen = progress;
	f->looked = now;
}

int barfile_wait(struct barfile *f, uint64_t ns)
{
	uint64_t now = now_ns(), end = ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
	uint32_t done, order = atomic_load(&f->order);

	lock_assert_none();
	while (done = atomic_load(&f->done), done != order) {
		const struct timespec t = {.tv_nsec = MIN(end - now, (uint64_t)(LOOK_MS * NS_PER_MS))};

		look(f, now);
		if (f->asleep_ms >= (ns < UINT64_MAX ? PATIENCE_IDLE_MS : PATIENCE_MS))
			return -EBUSY;
		if (now >= end)
			return -EAGAIN;
		futex_wait(&f->done, done, &t);
		now = now_ns();
	}
	return 0;
}
