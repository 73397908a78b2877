/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients' eventfds. A client may leave its eventfd blocking and fill or empty it at any moment, so neither write(2)
 * nor read(2) on one is safe for a thread that must not wait (rule C1), not even after poll(2).
 */
#ifndef PINFOLD_VFIO_EVENTFD_H
#define PINFOLD_VFIO_EVENTFD_H

#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

#define EVENTFD_BATCH_MAX 32

/* Adds 1 to eventfds without ever waiting. What it needs is set up when the first one rings: taking it down again, or
 * exiting with it, costs tens of milliseconds in the kernel. */
struct eventfd_ringer {
	bool tried;
	aio_context_t aio; /* 0: not to be had here */
	int empty;	   /* a file whose reads end at once */
	unsigned int unreaped;
	uint64_t rung; /* how often, for who wonders whether anybody was woken */
	bool batching;
	unsigned int nheld;
	int held[EVENTFD_BATCH_MAX]; /* to be rung when the batch ends */
};

void eventfd_ringer_init(struct eventfd_ringer *r);
void eventfd_ringer_fini(struct eventfd_ringer *r);
void eventfd_ring(struct eventfd_ringer *r, int fd);
/* Between the two, an eventfd that is rung several times rings once, at the end. None may be closed meanwhile. */
void eventfd_batch_begin(struct eventfd_ringer *r);
void eventfd_batch_end(struct eventfd_ringer *r);

int eventfd_check(int fd);	 /* 0, or -EINVAL: not an eventfd */
uint64_t eventfd_unread(int fd); /* what a read would find, which is not taken; 0 if that is not known */

/* Calls fire from the loop, once per read of a non-zero counter. */
struct eventfd_listener {
	struct loop_fd w;
	struct loop *loop;
	void (*fire)(struct eventfd_listener *l);
};

/* Takes over fd on success. 0, -EINVAL (not an eventfd), -ENOMEM, -ENOSPC (the host's limit of watches). */
int eventfd_listen(struct eventfd_listener *l, struct loop *loop, int fd, void (*fire)(struct eventfd_listener *l));
void eventfd_listener_look(struct eventfd_listener *l); /* calls fire now if it has been signalled */
void eventfd_unlisten(struct eventfd_listener *l);

#endif
