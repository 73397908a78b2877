/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inline writes. A buffered write is a copy into the page cache: at 4 KiB 2 us inline, 10 to 30 us through io_uring,
 * which hands buffered ext4 writes to a kernel thread; at 512 KiB 150 against 360. It blocks only when the kernel
 * throttles a writer (too many dirty pages) or a page must be read first. So: write inline and look at the clock. After
 * a write that took longer than SLOW_NS the next ones go through the asynchronous path for four times as long as it
 * took (it may only have been preempted), and each time the first inline write after that is slow again for four times
 * longer still. File systems that know RWF_NOWAIT for buffered writes are asked that way first.
 */
#include "devices/block.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/loop.h"
#include "base/thread.h"
#include "base/util.h"

#define RING_ENTRIES   256
#define WORKERS	       3
#define INLINE_MAX     (512 * 1024)
#define SLOW_NS	       2000000ULL
#define SLOW_PAUSE_MAX 10000000000ULL
#define ZERO_CHUNK     (64 * 1024)
#define RING_UNTRIED   0
#define RING_READY     1
#define RING_FORBIDDEN 2

struct block {
	struct loop *loop;
	int fd;
	uint64_t size, identity;
	bool readonly, direct;
	bool nowait_read, nowait_write; /* cleared for good once the file system says EOPNOTSUPP */
	uint64_t slow_until, slow_pause;

	unsigned int inflight; /* submitted, not yet done */
	bool polling, closed, reaping;
	struct loop_poll poller; /* in the loop while inflight */
	struct loop_fd bell;
	struct loop_work submit_work;
	uint64_t ended; /* completions so far */

	struct io_uring ring;
	int ring_state;
	unsigned int ring_inflight;
	struct list backlog; /* waits for room in the ring */

	pthread_t worker[WORKERS];
	unsigned int workers;
	struct lock lock; /* todo and quit */
	pthread_cond_t cond;
	struct list todo;
	bool quit;
	_Atomic(struct block_req *) finished; /* a stack: workers push, the loop takes all */
	atomic_bool need_bell;
};

/* ---- the work itself, where blocking is allowed ---- */
static int exec_transfer(struct block *b, struct block_req *r)
{
	while (r->progress < r->len) {
		struct iovec iov = {(char *)r->buf + r->progress, r->len - r->progress};
		off_t off = (off_t)(r->off + r->progress);
		ssize_t n = r->op == BLOCK_READ ? preadv2(b->fd, &iov, 1, off, 0)
						: pwritev2(b->fd, &iov, 1, off, r->fua ? RWF_DSYNC : 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		r->progress += (uint64_t)n;
	}
	return 0;
}

static int punch_hole(int fd, uint64_t off, uint64_t len)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) < 0 ? -errno : 0;
}

static int zero_range(int fd, uint64_t off, uint64_t len)
{
	return fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len) < 0 ? -errno : 0;
}

static int write_zeros(int fd, uint64_t off, uint64_t len)
{
	static const char zeros[ZERO_CHUNK] __attribute__((aligned(4096)));

	while (len) {
		ssize_t n = pwrite(fd, zeros, MIN(len, (uint64_t)ZERO_CHUNK), (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int exec_zero(struct block *b, struct block_req *r)
{
	int rc = r->punch ? punch_hole(b->fd, r->off, r->len) : zero_range(b->fd, r->off, r->len);

	if (rc == -EOPNOTSUPP || rc == -ENOSYS)
		rc = r->punch ? zero_range(b->fd, r->off, r->len) : punch_hole(b->fd, r->off, r->len);
	if (rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL)
		rc = write_zeros(b->fd, r->off, r->len);
	if (!rc && r->fua && fdatasync(b->fd) < 0)
		rc = -errno;
	return rc;
}

static int exec(struct block *b, struct block_req *r)
{
	int rc;

	switch (r->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		return exec_transfer(b, r);
	case BLOCK_FLUSH:
		return fdatasync(b->fd) < 0 ? -errno : 0;
	case BLOCK_DISCARD:
		rc = punch_hole(b->fd, r->off, r->len);
		return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL ? 0 : rc;
	case BLOCK_ZERO:
		return exec_zero(b, r);
	}
	return -EINVAL;
}

/* ---- worker threads ---- */
static void worker_finish(struct block *b, struct block_req *r)
{
	r->next = atomic_load_explicit(&b->finished, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&b->finished, &r->next, r))
		;
	if (atomic_exchange(&b->need_bell, false))
		eventfd_write(b->bell.fd, 1);
}

static void *worker_main(void *arg)
{
	struct block *b = arg;

	lock_take(&b->lock);
	for (;;) {
		struct block_req *r;

		while (list_empty(&b->todo) && !b->quit)
			lock_wait(&b->lock, &b->cond, NULL);
		if (b->quit)
			break;
		r = list_first(&b->todo, struct block_req, node);
		list_del(&r->node);
		lock_drop(&b->lock);
		lock_assert_none();
		r->error = exec(b, r);
		worker_finish(b, r);
		lock_take(&b->lock);
	}
	lock_drop(&b->lock);
	return NULL;
}

static void workers_start(struct block *b)
{
	if (b->workers)
		return;
	while (b->workers < WORKERS && !thread_start(&b->worker[b->workers], worker_main, b))
		b->workers++;
}

static void workers_submit(struct block *b, struct block_req *r)
{
	workers_start(b);
	if (!b->workers) {
		/* No thread to be had. Late is better than lost. */
		r->error = exec(b, r);
		worker_finish(b, r);
		return;
	}
	lock_take(&b->lock);
	list_add_tail(&b->todo, &r->node);
	lock_drop(&b->lock);
	pthread_cond_signal(&b->cond);
}

/* ---- io_uring ---- */
static bool ring_ready(struct block *b)
{
	if (b->ring_state == RING_UNTRIED) {
		b->ring_state = RING_FORBIDDEN;
		if (io_uring_queue_init(RING_ENTRIES, &b->ring, 0) == 0) {
			if (io_uring_register_eventfd(&b->ring, b->bell.fd) == 0)
				b->ring_state = RING_READY;
			else
				io_uring_queue_exit(&b->ring);
		}
		if (b->ring_state == RING_READY)
			io_uring_cq_eventfd_toggle(&b->ring, false);
	}
	return b->ring_state == RING_READY;
}

static bool ring_prepare(struct block *b, struct block_req *r)
{
	struct io_uring_sqe *sqe;
	void *buf = r->buf ? (char *)r->buf + r->progress : NULL; /* a flush has none */
	unsigned int len = (unsigned int)(r->len - r->progress);

	if (b->ring_inflight >= RING_ENTRIES)
		return false;
	sqe = io_uring_get_sqe(&b->ring);
	if (!sqe)
		return false;
	if (r->op == BLOCK_FLUSH) {
		io_uring_prep_fsync(sqe, b->fd, IORING_FSYNC_DATASYNC);
	} else if (r->op == BLOCK_READ) {
		io_uring_prep_read(sqe, b->fd, buf, len, r->off + r->progress);
	} else {
		io_uring_prep_write(sqe, b->fd, buf, len, r->off + r->progress);
		sqe->rw_flags = r->fua ? RWF_DSYNC : 0;
	}
	io_uring_sqe_set_data(sqe, r);
	b->ring_inflight++;
	loop_work_queue(b->loop, &b->submit_work);
	return true;
}

static void ring_submit(struct block *b, struct block_req *r)
{
	if (!list_empty(&b->backlog) || !ring_prepare(b, r))
		list_add_tail(&b->backlog, &r->node);
}

static void ring_refill(struct block *b)
{
	while (!list_empty(&b->backlog)) {
		struct block_req *r = list_first(&b->backlog, struct block_req, node);

		if (!ring_prepare(b, r))
			return;
		list_del(&r->node);
	}
}

static void req_end(struct block *b, struct block_req *r, int error)
{
	r->error = error;
	b->inflight--;
	b->ended++;
	r->done(r);
}

static void ring_end(struct block *b, struct block_req *r, int res)
{
	b->ring_inflight--;
	if (res == -EINTR || res == -EAGAIN) {
		ring_submit(b, r);
	} else if (res < 0 || r->op == BLOCK_FLUSH) {
		req_end(b, r, res < 0 ? res : 0);
	} else {
		r->progress += (uint64_t)res;
		if (r->progress >= r->len)
			req_end(b, r, 0);
		else if (res == 0)
			req_end(b, r, -ENODATA);
		else
			ring_submit(b, r);
	}
}

static void ring_reap(struct block *b)
{
	struct io_uring_cqe *cqe;

	while (b->ring_inflight && io_uring_peek_cqe(&b->ring, &cqe) == 0) {
		struct block_req *r = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&b->ring, cqe);
		ring_end(b, r, res);
	}
	ring_refill(b);
}

/* ---- completion ---- */
static void block_free(struct block *b)
{
	lock_take(&b->lock);
	b->quit = true;
	lock_drop(&b->lock);
	pthread_cond_broadcast(&b->cond);
	lock_assert_none();
	for (unsigned int i = 0; i < b->workers; i++)
		pthread_join(b->worker[i], NULL);
	loop_work_cancel(b->loop, &b->submit_work);
	if (b->ring_state == RING_READY)
		io_uring_queue_exit(&b->ring);
	loop_fd_del(b->loop, &b->bell);
	close(b->bell.fd);
	close(b->fd);
	lock_fini(&b->lock);
	pthread_cond_destroy(&b->cond);
	free(b);
}

static bool block_reap(struct block *b)
{
	uint64_t before = b->ended;
	struct block_req *r, *next;

	b->reaping = true;
	if (b->ring_state == RING_READY)
		ring_reap(b);
	r = atomic_load_explicit(&b->finished, memory_order_relaxed);
	if (r)
		r = atomic_exchange(&b->finished, NULL);
	for (; r; r = next) {
		next = r->next;
		req_end(b, r, r->error);
	}
	b->reaping = false;
	if (b->inflight || !b->polling)
		return b->ended != before;
	loop_poll_del(b->loop, &b->poller);
	b->polling = false;
	if (b->closed)
		block_free(b);
	return true;
}

static bool block_poll(struct loop_poll *p)
{
	return block_reap(container_of(p, struct block, poller));
}

static bool block_prepare_sleep(struct loop_poll *p)
{
	struct block *b = container_of(p, struct block, poller);

	atomic_store(&b->need_bell, true);
	if (b->ring_state == RING_READY) {
		io_uring_cq_eventfd_toggle(&b->ring, true);
		atomic_thread_fence(memory_order_seq_cst);
		if (io_uring_cq_ready(&b->ring))
			return false;
	}
	return !atomic_load(&b->finished);
}

static void block_cancel_sleep(struct loop_poll *p)
{
	struct block *b = container_of(p, struct block, poller);

	atomic_store(&b->need_bell, false);
	if (b->ring_state == RING_READY)
		io_uring_cq_eventfd_toggle(&b->ring, false);
}

/* The poller does the work; the bell only ends the sleep. */
static void block_bell(struct loop_fd *w, uint32_t events)
{
	eventfd_t v;

	eventfd_read(w->fd, &v);
}

static void block_submit_run(struct loop_work *w)
{
	struct block *b = container_of(w, struct block, submit_work);
	int rc = io_uring_submit(&b->ring);

	/* Refused for now (out of kernel memory, completions to be reaped first): the entries stay in the ring. */
	if (rc < 0 || io_uring_sq_ready(&b->ring))
		loop_work_queue(b->loop, &b->submit_work);
	block_reap(b);
}

void block_submit(struct block *b, struct block_req *r)
{
	r->b = b;
	r->progress = 0;
	r->error = 0;
	list_init(&r->node);
	b->inflight++;
	if (!b->polling) {
		loop_poll_add(b->loop, &b->poller);
		b->polling = true;
	}
	if (r->op == BLOCK_DISCARD || r->op == BLOCK_ZERO || !ring_ready(b))
		workers_submit(b, r);
	else
		ring_submit(b, r);
}

/* ---- at once ---- */
int block_try_readv(struct block *b, const struct iovec *iov, unsigned int n, uint64_t off, size_t len)
{
	ssize_t got;

	if (b->direct || !b->nowait_read)
		return -EAGAIN;
	got = preadv2(b->fd, iov, (int)n, (off_t)off, RWF_NOWAIT);
	if (got == (ssize_t)len)
		return 0;
	if (got < 0 && errno == EOPNOTSUPP)
		b->nowait_read = false;
	return got < 0 && errno == EFAULT ? -EFAULT : -EAGAIN;
}

static int write_inline(struct block *b, const struct iovec *iov, unsigned int n, uint64_t off, size_t len)
{
	uint64_t begin = loop_now(), end;
	ssize_t put;
	int err;

	if (len > INLINE_MAX || begin < b->slow_until)
		return -EAGAIN;
	put = pwritev(b->fd, iov, (int)n, (off_t)off);
	err = errno;
	end = loop_now();
	if (unlikely(end - begin > SLOW_NS)) {
		b->slow_pause = MIN(4 * MAX(end - begin, b->slow_pause), SLOW_PAUSE_MAX);
		b->slow_until = end + b->slow_pause;
	} else {
		b->slow_pause = 0;
	}
	if (put == (ssize_t)len)
		return 0;
	/* A short write: the asynchronous path repeats it and learns the reason. */
	return put < 0 && err != EINTR ? -err : -EAGAIN;
}

int block_try_writev(struct block *b, const struct iovec *iov, unsigned int n, uint64_t off, size_t len)
{
	ssize_t put;

	if (b->direct)
		return -EAGAIN;
	if (!b->nowait_write)
		return write_inline(b, iov, n, off, len);
	put = pwritev2(b->fd, iov, (int)n, (off_t)off, RWF_NOWAIT);
	if (put == (ssize_t)len)
		return 0;
	if (put < 0 && errno == EOPNOTSUPP) {
		b->nowait_write = false;
		return write_inline(b, iov, n, off, len);
	}
	return put < 0 && errno != EINTR ? -errno : -EAGAIN;
}

/* ---- opening ---- */
uint64_t block_size(const struct block *b)
{
	return b->size;
}

bool block_readonly(const struct block *b)
{
	return b->readonly;
}

uint64_t block_identity(const struct block *b)
{
	return b->identity;
}

unsigned int block_inflight(const struct block *b)
{
	return b->inflight;
}

static int fail(char *err, size_t errlen, const char *path, const char *what, int rc)
{
	snprintf(err, errlen, "%s: %s%s%s", path, what, rc == -EINVAL ? "" : ": ", rc == -EINVAL ? "" : strerror(-rc));
	return rc;
}

static int open_file(const struct block_config *cfg, char *err, size_t errlen)
{
	int flags = O_CLOEXEC | (cfg->readonly ? O_RDONLY : O_RDWR) | (cfg->direct ? O_DIRECT : 0);
	/* O_NONBLOCK: a FIFO must not make us wait for its other end. */
	int fd = open(cfg->path, flags | O_NONBLOCK | (cfg->size && !cfg->readonly ? O_CREAT : 0), 0666);
	int rc = -errno;

	if (fd >= 0)
		return fd;
	if (rc == -EINVAL && cfg->direct)
		return fail(err, errlen, cfg->path, "this file system cannot do direct I/O (cache=none)", rc);
	if (rc == -EACCES && !cfg->readonly && access(cfg->path, R_OK) == 0)
		return fail(err, errlen, cfg->path, "cannot open for writing (add readonly=on?)", rc);
	if (rc == -ENOENT && !cfg->size)
		return fail(err, errlen, cfg->path, "cannot open (give size= to create it)", rc);
	return fail(err, errlen, cfg->path, "cannot open", rc);
}

/* Direct I/O in smaller units than the file system or the disk can do would fail request by request. */
static int check_direct(int fd, const struct block_config *cfg, char *err, size_t errlen)
{
	struct statx stx;

	if (!cfg->direct || statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 || !(stx.stx_mask & STATX_DIOALIGN))
		return 0;
	if (!stx.stx_dio_offset_align)
		return fail(err, errlen, cfg->path, "this file cannot do direct I/O (cache=none)", -EINVAL);
	if (cfg->block_size % stx.stx_dio_offset_align)
		return fail(err, errlen, cfg->path, "direct I/O (cache=none) needs blocksize=4096 here", -EINVAL);
	return 0;
}

static int find_size(int fd, const struct block_config *cfg, uint64_t *size, uint64_t *identity, char *err,
		     size_t errlen)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(err, errlen, cfg->path, "stat", -errno);
	*identity = ((uint64_t)st.st_dev << 40 | st.st_dev >> 24) ^ st.st_ino;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, size) < 0)
			return fail(err, errlen, cfg->path, "size of block device", -errno);
	} else if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		if (cfg->size > *size && !cfg->readonly) {
			if (ftruncate(fd, (off_t)cfg->size) < 0)
				return fail(err, errlen, cfg->path, "cannot extend to the size given", -errno);
			*size = cfg->size;
		}
	} else {
		return fail(err, errlen, cfg->path, "neither a regular file nor a block device", -EINVAL);
	}
	if (*size > INT64_MAX)
		return fail(err, errlen, cfg->path, "too large", -EINVAL);
	*size = ALIGN_DOWN(*size, (uint64_t)cfg->block_size);
	if (!*size)
		return fail(err, errlen, cfg->path, "smaller than one block (give size= to create or extend it)",
			    -EINVAL);
	return 0;
}

/* RLIMIT_FSIZE should end a write with EFBIG and not the process with SIGXFSZ. */
static void ignore_sigxfsz(void)
{
	struct sigaction sa;

	if (sigaction(SIGXFSZ, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
		signal(SIGXFSZ, SIG_IGN);
}

int block_open(struct loop *loop, const struct block_config *cfg, struct block **out, char *err, size_t errlen)
{
	struct block *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return fail(err, errlen, cfg->path, "open", -ENOMEM);
	b->fd = open_file(cfg, err, errlen);
	if (b->fd < 0) {
		rc = b->fd;
		goto err_free;
	}
	rc = find_size(b->fd, cfg, &b->size, &b->identity, err, errlen);
	if (!rc)
		rc = check_direct(b->fd, cfg, err, errlen);
	if (rc)
		goto err_fd;
	b->bell =
	    (struct loop_fd){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .events = EPOLLIN, .ready = block_bell};
	rc = b->bell.fd < 0 ? -errno : loop_fd_add(loop, &b->bell);
	if (rc) {
		fail(err, errlen, cfg->path, "eventfd", rc);
		goto err_bell;
	}
	b->loop = loop;
	b->readonly = cfg->readonly;
	b->direct = cfg->direct;
	b->nowait_read = b->nowait_write = true;
	b->ring_state = cfg->threads ? RING_FORBIDDEN : RING_UNTRIED;
	b->poller = (struct loop_poll){
	    .poll = block_poll, .prepare_sleep = block_prepare_sleep, .cancel_sleep = block_cancel_sleep};
	b->submit_work.run = block_submit_run;
	list_init(&b->submit_work.node);
	list_init(&b->backlog);
	list_init(&b->todo);
	lock_init(&b->lock, LOCK_BLOCK);
	pthread_cond_init(&b->cond, NULL);
	ignore_sigxfsz();
	*out = b;
	return 0;
err_bell:
	if (b->bell.fd >= 0)
		close(b->bell.fd);
err_fd:
	close(b->fd);
err_free:
	free(b);
	return rc;
}

void block_close(struct block *b)
{
	if (!b)
		return;
	b->closed = true;
	if (!b->inflight && !b->reaping)
		block_free(b);
}
