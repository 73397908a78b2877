/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file behind a BAR's memory (pci/barmem.h), as the clients of one owner map it, and the thread that fills and cuts
 * it. Content moves between it and a store, a file of ours that nobody else has.
 */
#ifndef PINFOLD_PCI_BARFILE_H
#define PINFOLD_PCI_BARFILE_H

#include <stdbool.h>
#include <stdint.h>

struct barfile;

/* Empty. NULL: out of memory, descriptors or threads, or the kernel cannot hold pages that are cut off. */
struct barfile *barfile_new(uint64_t size);
/* The file is cut and closed as soon as its lock can be had; store, if not -1, is closed with it. Does not wait. */
void barfile_leave(struct barfile *f, int store);
int barfile_fd(const struct barfile *f);

/* Filled: store is as it was. Cut: store was empty, the file has length 0, store all that it held. */
enum barfile_order { BARFILE_FILL, BARFILE_CUT, BARFILE_EMPTY /* the store, not the file */ };

/* One order at a time. */
void barfile_begin(struct barfile *f, enum barfile_order what, int store);
/*
 * Is it carried out? Waits for that, but not longer than ns. 0, -EAGAIN, or -EBUSY: somebody holds the lock of the
 * file. Then the thread may use store for as long as that lasts, and nothing but barfile_leave may follow.
 */
int barfile_wait(struct barfile *f, uint64_t ns);
/* What is still in a file that is being cut need not be kept. */
void barfile_discard(struct barfile *f);

/* Copies all that is not zero. On the way out of a busy file: what has been moved is there twice, or not at all. */
void barfile_copy(int from, int to, uint64_t size);

#endif
