/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capture files, through libpcap, each read or written by a thread of its own: a disk may take its time, the loop may
 * not. What is between the two is bounded.
 */
#ifndef PINFOLD_NET_CAPTURE_H
#define PINFOLD_NET_CAPTURE_H

#include <stddef.h>
#include <stdint.h>
#include "net/ring.h"

struct capture;

/*
 * Reads path times times over (0: for ever), or writes it anew, but for source, which is being read (or NULL). 0,
 * -EINVAL (not a capture of Ethernet), or -errno; with the reason in err.
 */
int capture_read(const char *path, uint64_t times, struct capture **out, char *err, size_t errlen);
int capture_write(const char *path, const struct capture *source, struct capture **out, char *err, size_t errlen);
/* Writes out what there is; waits for a slow disk, but not for a dead one. NULL is nothing to close. */
void capture_close(struct capture *c);

/* Whose other end the loop has; the loop's bell there does not block. */
struct ring *capture_ring(struct capture *c);

#endif
