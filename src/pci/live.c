/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/live.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
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

/* A cut takes some 10 us, and a busy machine may keep the thread waiting. */
#define NS_PER_SEC	  1000000000L
#define CLOSE_PATIENCE_NS 20000000L
#define DROP_PATIENCE_NS  50000000L

#define ORDER_LEAVE BIT(31)

/*
 * What the page and its thread share. Orders are numbered: an odd one opens, an even one cuts, and `done` is the last
 * that was carried out; ORDER_LEAVE is the last of all. The thread, once there is one, closes the descriptor and frees
 * this.
 */
struct live_file {
	int fd;
	size_t size;
	bool started; /* the page's alone */
	_Atomic uint32_t order, done;
	uint8_t content[LIVE_PAGES_MAX * LIVE_PAGE_SIZE]; /* the thread's, while an opening has not been carried out */
};

/* Until the word is no longer val, or the time (NULL: none) has come, or for no reason. */
static void futex_wait(_Atomic uint32_t *word, uint32_t val, const struct timespec *until)
{
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, val, until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* The file grows when its pages are filled in, not before: an access to one finds all of it or nothing. */
static void file_fill(struct live_file *f)
{
	if (pwrite(f->fd, f->content, f->size, 0) < 0)
		return; /* no memory: whoever looks finds nothing there */
}

static void file_cut(int fd)
{
	/* Of a memfd without seals this cannot fail. */
	if (ftruncate(fd, 0))
		return;
}

static void *file_thread(void *arg)
{
	struct live_file *f = arg;
	uint32_t order, done = 0;

	/* At most one order is outstanding. */
	for (;;) {
		order = atomic_load(&f->order);
		if (order == done) {
			futex_wait(&f->order, order, NULL);
			continue;
		}
		if (order & ORDER_LEAVE)
			break;
		if (order & 1)
			file_fill(f);
		else
			file_cut(f->fd);
		done = order;
		atomic_store(&f->done, done);
		futex_wake(&f->done);
	}
	file_cut(f->fd);
	close(f->fd);
	free(f);
	return NULL;
}

static int file_start(struct live_file *f)
{
	int err = thread_start(NULL, file_thread, f);

	if (err)
		return err;
	f->started = true;
	return 0;
}

static bool file_idle(struct live_file *f)
{
	return atomic_load(&f->done) == atomic_load(&f->order);
}

static void file_order(struct live_file *f)
{
	atomic_fetch_add(&f->order, 1);
	futex_wake(&f->order);
}

static bool file_wait(struct live_file *f, long ns)
{
	struct timespec ts, now;
	uint32_t done;

	lock_assert_none();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts;
	ts.tv_nsec += ns;
	ts.tv_sec += ts.tv_nsec / NS_PER_SEC;
	ts.tv_nsec %= NS_PER_SEC;
	while (done = atomic_load(&f->done), done != atomic_load(&f->order)) {
		if (now.tv_sec > ts.tv_sec || (now.tv_sec == ts.tv_sec && now.tv_nsec >= ts.tv_nsec))
			return false;
		futex_wait(&f->done, done, &ts);
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	return true;
}

/* ---- the page ---- */
/*
 * The pipe has to hold the page itself. A copy made at the time of the splice would miss what is stored between that
 * and the cut.
 */
static bool pipe_holds_pages(struct live_page *p)
{
	uint8_t byte = 0, seen = 0;
	off_t off = 0;
	bool held = pwrite(p->fd, "", 1, 0) == 1 && splice(p->fd, &off, p->pipe[1], NULL, 1, SPLICE_F_NONBLOCK) == 1;

	byte = 1;
	if (held && !guard_copy(p->view, &byte, 1))
		held = read(p->pipe[0], &seen, 1) == 1 && seen == 1;
	file_cut(p->fd);
	return held;
}

int live_page_init(struct live_page *p, unsigned int pages)
{
	void *view;
	int err;

	*p = (struct live_page){.fd = -1, .size = pages * LIVE_PAGE_SIZE, .pipe = {-1, -1}, .peek = {-1, -1}};
	if (!pages || pages > LIVE_PAGES_MAX)
		return -EINVAL;
	p->file = calloc(1, sizeof(*p->file));
	if (!p->file)
		return -ENOMEM;
	p->file->size = p->size;
	p->file->fd = p->fd = memfd_create("pinfold-live", MFD_CLOEXEC);
	if (p->fd < 0 || pipe2(p->pipe, O_CLOEXEC | O_NONBLOCK) || pipe2(p->peek, O_CLOEXEC | O_NONBLOCK))
		goto fail;
	view = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (view == MAP_FAILED)
		goto fail;
	p->view = view;
	errno = EOPNOTSUPP;
	if (pipe_holds_pages(p))
		return 0;
fail:
	err = -errno;
	live_page_fini(p);
	return err;
}

/* The file is left to the thread. */
static void give_up(struct live_page *p)
{
	if (p->view)
		munmap(p->view, p->size);
	for (int i = 0; i < 2; i++) {
		if (p->pipe[i] >= 0)
			close(p->pipe[i]);
		if (p->peek[i] >= 0)
			close(p->peek[i]);
	}
	if (p->file && p->file->started) {
		/* The last touch: who reads it frees the file. */
		atomic_fetch_or(&p->file->order, ORDER_LEAVE);
		futex_wake(&p->file->order);
	} else {
		if (p->fd >= 0)
			close(p->fd);
		free(p->file);
	}
	*p = (struct live_page){.fd = -1, .pipe = {-1, -1}, .peek = {-1, -1}};
}

void live_page_fini(struct live_page *p)
{
	live_page_drop(p);
	if (p->file)
		give_up(p);
}

int live_page_open(struct live_page *p, const void *content)
{
	int err;

	if (p->fd < 0)
		return -ENODEV;
	err = p->file->started ? 0 : file_start(p->file);
	if (err)
		return err;
	if (content)
		memcpy(p->file->content, content, p->size);
	else
		memset(p->file->content, LIVE_PAGE_FILL, p->size);
	file_order(p->file);
	p->open = true;
	return 0;
}

bool live_page_ready(const struct live_page *p)
{
	return p->open && !p->saved && file_idle(p->file);
}

static void pipe_empty(int end)
{
	uint8_t rest[LIVE_PAGE_SIZE];

	while (read(end, rest, sizeof(rest)) > 0)
		;
}

static int page_save(struct live_page *p)
{
	off_t off = 0;
	ssize_t n = splice(p->fd, &off, p->pipe[1], NULL, p->size, SPLICE_F_NONBLOCK);

	if (n < 0 && errno == ENOMEM)
		return -EAGAIN;
	/* A client that cut the file leaves less than a page to save. */
	if (n != (ssize_t)p->size)
		return -EIO;
	p->saved = true;
	file_order(p->file);
	return 0;
}

static bool page_wait(struct live_page *p)
{
	bool done = file_wait(p->file, p->no_patience ? 0 : CLOSE_PATIENCE_NS);

	p->no_patience = !done;
	return done;
}

int live_page_close(struct live_page *p, void *content)
{
	int err;

	if (!p->saved) {
		/* The opening comes first. */
		if (!page_wait(p))
			return -EAGAIN;
		err = page_save(p);
		if (err == -EIO)
			live_page_drop(p);
		if (err)
			return err;
	}
	if (!page_wait(p))
		return -EAGAIN;
	p->saved = p->open = false;
	if (read(p->pipe[0], content, p->size) != (ssize_t)p->size)
		memset(content, LIVE_PAGE_FILL, p->size);
	return 0;
}

void live_page_drop(struct live_page *p)
{
	if (!p->open)
		return;
	if (!p->saved && file_wait(p->file, DROP_PATIENCE_NS)) {
		file_order(p->file);
		p->saved = true;
	}
	if (!p->saved || !file_wait(p->file, DROP_PATIENCE_NS)) {
		give_up(p);
		return;
	}
	pipe_empty(p->pipe[0]);
	p->saved = p->open = p->no_patience = false;
}

/* What the pages hold that have been cut off and are in the pipe: there they stay. */
static bool page_peek(const struct live_page *p, size_t off, void *dst, size_t n)
{
	uint8_t content[LIVE_PAGES_MAX * LIVE_PAGE_SIZE];
	bool all = tee(p->pipe[0], p->peek[1], p->size, SPLICE_F_NONBLOCK) == (ssize_t)p->size &&
		   read(p->peek[0], content, p->size) == (ssize_t)p->size;

	if (all)
		memcpy(dst, content + off, n);
	else
		pipe_empty(p->peek[0]);
	return all;
}

int live_page_read(const struct live_page *p, size_t off, void *dst, size_t n)
{
	if (!p->saved && !file_idle(p->file))
		return -EAGAIN;
	if (!guard_copy(dst, p->view + off, n))
		return 0;
	if (!p->saved)
		return -EIO;
	/* Cut, though it has not been said yet: who traps now must not come before what he has stored. */
	return page_peek(p, off, dst, n) ? 0 : -EAGAIN;
}

bool live_page_refill(struct live_page *p, size_t off, size_t n)
{
	uint8_t fill[64];

	memset(fill, LIVE_PAGE_FILL, sizeof(fill));
	if (!p->open || (!p->saved && !file_idle(p->file)))
		return false;
	return !guard_copy(p->view + off, fill, MIN(n, sizeof(fill)));
}

static bool replace_word(struct live_page *p, size_t off, uint64_t both, uint32_t val)
{
	uint64_t changed = both;

	memcpy((char *)&changed + (off & 4), &val, sizeof(val));
	return guard_cas((uint64_t *)(p->view + (off & ~7ul)), both, changed) == GUARD_CAS_DONE;
}

bool live_page_replace(struct live_page *p, size_t off, uint32_t old, uint32_t new)
{
	uint64_t both;
	uint32_t now;

	/* The word's neighbour is somebody else's, and may change: then once more, and not for ever. */
	for (unsigned int tries = 0; tries < 8; tries++) {
		if (!p->open || live_page_read(p, off & ~7ul, &both, sizeof(both)))
			return false;
		memcpy(&now, (char *)&both + (off & 4), sizeof(now));
		if (now != old)
			return false;
		if (replace_word(p, off, both, new))
			return true;
	}
	return false;
}
