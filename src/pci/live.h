/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A live page: a page of a BAR, or a few, that is plain shared memory while it is open, and a trap while it is closed.
 *
 * Clients map it as they map the rest of the BAR. Open, their accesses cost nothing and the device looks at the page by
 * itself. Closed, an access faults and becomes a register access like any other, which wakes the device. Opening and
 * closing need nobody's help: the page is a file, closed is a file of length 0, and cutting a file down takes its pages
 * out of every mapping in every process.
 *
 * What a client stored last, an instant before the closing, is not lost: the page is put into a pipe first, which holds
 * it beyond its removal, and read from there.
 *
 * Trust: a client holds a descriptor of the file, and may write to it, cut it or extend it. The device's view is
 * therefore read with guard_copy, and content is never believed. Worse, a write() whose source does not arrive holds
 * the lock of the file for as long as the client likes, and whoever cuts the file waits for it. So that is left to a
 * thread, for which the caller waits a moment and no longer (rule C1): a page that cannot be cut in that time is still
 * open (live_page_close) or given up (live_page_drop).
 */
#ifndef PINFOLD_PCI_LIVE_H
#define PINFOLD_PCI_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIVE_PAGE_SIZE 4096
#define LIVE_PAGES_MAX 4
#define LIVE_PAGE_FILL 0xff /* each byte of a page that has just been opened */

struct live_file;

struct live_page {
	int fd;		  /* for clients to map; -1: there is none */
	size_t size;	  /* bytes */
	bool open;	  /* from the call that opens it to the one that has closed it */
	bool saved;	  /* what it held is in the pipe: it is being closed */
	bool no_patience; /* it has been waited for in vain */
	int pipe[2];
	int peek[2]; /* a pipe, to look at what is in the other */
	uint8_t *view;
	struct live_file *file;
};

/* Closed, of so many pages. 0 or -errno, and then fd is -1. */
int live_page_init(struct live_page *p, unsigned int pages);
void live_page_fini(struct live_page *p);
/*
 * Of a closed page. Clients can use it from some moment soon, when it holds content, or the fill if that is NULL. 0, or
 * -errno: still closed.
 */
int live_page_open(struct live_page *p, const void *content);
/* Open, and clients can use it. */
bool live_page_ready(const struct live_page *p);
/*
 * 0: closed; content gets what the page held in the end. -EAGAIN: still open, may be closed at any moment, and the call
 * is to be repeated. -EIO: dropped; what it held is lost, by a client's doing.
 */
int live_page_close(struct live_page *p, void *content);
/*
 * Closes and forgets. Cannot fail: a page that cannot be closed now is closed when that is possible, and meanwhile
 * belongs to nobody. There is none any more then (fd is -1).
 */
void live_page_drop(struct live_page *p);
/* n bytes at off as they are now. 0, -EAGAIN (not at hand at this moment), -EIO (gone, by a client's doing). */
int live_page_read(const struct live_page *p, size_t off, void *dst, size_t n);
/* Puts the fill back in place of the n <= 64 bytes at off. False: the page is not at hand, and untouched. */
bool live_page_refill(struct live_page *p, size_t off, size_t n);
/* Puts new in place of the aligned word at off, if it is old. False: it is not, or the page is not at hand. */
bool live_page_replace(struct live_page *p, size_t off, uint32_t old, uint32_t new);

#endif
