/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a BAR: RAM of the device's that clients map (a controller memory buffer, a frame buffer, a persistent
 * memory region), and that can be taken away from all of them at once (rule A4) without losing what it holds.
 *
 * Two sides. The device's is `base`: it shows the content at one address from barmem_new to barmem_free, whatever state
 * the other side is in. The clients' is a file, one for each owner (rule A5), which is made when the first of them maps
 * it. While decode is on the file *is* the memory, and base a mapping of it. Revoked, the file is cut to length 0,
 * which takes its pages out of every mapping in every process (SIGBUS on touch) and needs nobody's help; the content
 * has moved into memory of ours that base shows instead. Restored, it moves back, and all mappings work again by
 * faulting.
 *
 * Nothing is lost on the way: the pages are held in pipes while they are cut off, and read from there, so that a store
 * that did not fault is in the content. (Of more than 4 MiB, untouched pages are not made first, for the time that
 * would take: the first store ever to one, in the instant of the cut, is lost.) They are cut from the end of the file,
 * and come back from its beginning.
 *
 * Trust: a client holds a descriptor of the file, and may write to it, cut it or extend it. So
 *   - base is touched with guard_copy, or given to system calls, which answer EFAULT: pages may be missing;
 *   - what it holds may change between two looks;
 *   - whoever changes the file's length waits for its lock, which a write() whose source does not arrive holds for as
 *     long as the client likes. A thread does that, and the caller waits only while it gets on (rule C1). A file that
 *     somebody holds is given up: it belongs to nobody from then on, and there is none for this owner any more
 *     (barmem_file is -1: accesses are trapped). Content is kept also then.
 */
#ifndef PINFOLD_PCI_BARMEM_H
#define PINFOLD_PCI_BARMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct barmem;

/* size: a multiple of the page size. All zero, revoked, no owner has a file. 0 or -ENOMEM. */
int barmem_new(uint64_t size, struct barmem **out);
void barmem_free(struct barmem *m); /* revokes; base is gone */

/* ---- the device's side: at any time ---- */
uint8_t *barmem_base(struct barmem *m); /* read and write; see Trust */
uint64_t barmem_size(const struct barmem *m);
/* [off, off + n) lies inside. 0, or -EIO: by a client's doing a page is not there. */
int barmem_read(struct barmem *m, uint64_t off, void *dst, size_t n);
int barmem_write(struct barmem *m, uint64_t off, const void *src, size_t n);
void barmem_clear(struct barmem *m);  /* all zero; only while revoked */
void barmem_forget(struct barmem *m); /* the next revocation may lose the content: it is zero then */

/* ---- the clients' side ---- */
/*
 * The file for the present owner to map, from offset 0; it stays ours to close. While revoked it has length 0. -1:
 * there is none. From this call on there is something to revoke.
 */
int barmem_file(struct barmem *m);
int barmem_file_now(const struct barmem *m);	    /* the same, but none is made. -1: there is none */
uint64_t barmem_generation(const struct barmem *m); /* changes when what was given out works no more */
bool barmem_open(const struct barmem *m);	    /* not revoked */
/*
 * Neither fails. When it moves no more, nothing that was given out reaches the content, or all does. It may go on to
 * move when they return, if it is large; else the caller has waited.
 */
void barmem_revoke(struct barmem *m);
void barmem_restore(struct barmem *m);
/*
 * Is content on its way? To be asked now and then, because it ends, or turns round, only when asked. The device's side
 * waits for it by itself.
 */
bool barmem_moving(struct barmem *m);
void barmem_settle(struct barmem *m); /* waits */
/* Between two owners, revoked: the next one gets a file of its own. Content stays; see barmem_clear. */
void barmem_renew(struct barmem *m);

#endif
