/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A live page: one page of a BAR that is plain shared memory while it is open, and a trap while it is closed.
 *
 * Clients map it as they map the rest of the BAR. Open, their accesses cost nothing and the device looks at the page by
 * itself. Closed, an access faults and becomes a register access like any other, which wakes the device. Opening and
 * closing need nobody's help: the page is a file, closed is a file of length 0, and cutting a file down takes its pages
 * out of every mapping in every process before it returns.
 *
 * What a client stored last, an instant before the closing, is not lost: the page is put into a pipe first, which holds
 * it beyond its removal, and read from there.
 *
 * Trust: a client can get hold of the file and cut or extend it. The device's view is therefore read with guard_copy,
 * and content is never believed.
 */
#ifndef PINFOLD_PCI_LIVE_H
#define PINFOLD_PCI_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIVE_PAGE_SIZE 4096

struct live_page {
	int fd; /* for clients to map; -1: there is none */
	int pipe[2];
	const uint8_t *view;
	bool open;
};

int live_page_init(struct live_page *p); /* closed. 0 or -errno, and then fd is -1 */
void live_page_fini(struct live_page *p);
/* Opens with this content, all of it in place before the first access succeeds. 0 or -errno: still closed. */
int live_page_open(struct live_page *p, const void *content);
/* Closes; content gets what the page held in the end. -EIO: that could not be saved, and the page is still open. */
int live_page_close(struct live_page *p, void *content);
/* Closes and forgets. Cannot fail. */
void live_page_drop(struct live_page *p);
/* The first n bytes as they are now. False: the page is gone, by a client's doing. */
bool live_page_read(const struct live_page *p, void *dst, size_t n);

#endif
