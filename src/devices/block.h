/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk image: a regular file or a block device, read and written without ever blocking the loop for long.
 *
 * Two ways lead in. block_try_readv and block_try_writev finish at once with what the page cache holds, straight from
 * and into the caller's memory, or say -EAGAIN. block_submit takes a request with a buffer of its own, goes through
 * io_uring (through worker threads where io_uring is denied, and for what may need several system calls) and calls
 * done from the loop.
 *
 * A write is stable after a flush that was submitted after the write's completion, or at its own completion with fua.
 */
#ifndef PINFOLD_DEVICES_BLOCK_H
#define PINFOLD_DEVICES_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"

struct block;
struct loop;

struct block_config {
	const char *path;
	uint64_t size;		 /* not 0: create the file, or extend it (sparse), to this many bytes */
	unsigned int block_size; /* the size is rounded down to a multiple; smallest unit of direct I/O */
	bool readonly;
	bool direct;  /* O_DIRECT: no page cache; block_try_* always say -EAGAIN */
	bool threads; /* never io_uring */
};

/* 0 or -errno, and one line without newline in err. */
int block_open(struct loop *loop, const struct block_config *cfg, struct block **out, char *err, size_t errlen);
/* Requests in flight still complete and call done; the last of them frees b. */
void block_close(struct block *b);

uint64_t block_size(const struct block *b); /* bytes */
bool block_readonly(const struct block *b);
uint64_t block_identity(const struct block *b);	    /* made from the file's device and inode number */
unsigned int block_inflight(const struct block *b); /* requests submitted and not done */

/*
 * The whole transfer now, or nothing that counts: 0, -EAGAIN (it would have to wait for the disk, or the file ended
 * early: submit a request), another -errno of the transfer itself (-EFAULT: the memory went away).
 */
int block_try_readv(struct block *b, const struct iovec *iov, unsigned int n, uint64_t off, size_t len);
int block_try_writev(struct block *b, const struct iovec *iov, unsigned int n, uint64_t off, size_t len);

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,
	BLOCK_DISCARD, /* advice: the range may read as anything of its own past or as zeros */
	BLOCK_ZERO,    /* reads as zeros afterwards */
};

struct block_req {
	enum block_op op;
	bool fua;   /* BLOCK_WRITE, BLOCK_ZERO */
	bool punch; /* BLOCK_ZERO: give the space back */
	void *buf;  /* len bytes, aligned to 4096, untouched by the caller until done */
	uint64_t off, len;
	int error; /* in done: 0 or -errno; -ENODATA: the file ended before the range did */
	void (*done)(struct block_req *r);
	/* private */
	struct block *b;
	struct list node;
	struct block_req *next;
	uint64_t progress;
};

/* Never fails and never calls done itself. */
void block_submit(struct block *b, struct block_req *r);

#endif
