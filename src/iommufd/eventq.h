/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What fault queues and queues of events have in common (drivers/iommu/iommufd/eventq.c in Linux 6.15): an object whose
 * descriptor carries bytes, and holds it and the context while it is open. What is to be read goes into the descriptor
 * as soon as there is room, one entry after the other.
 */
#ifndef PINFOLD_IOMMUFD_EVENTQ_H
#define PINFOLD_IOMMUFD_EVENTQ_H

#include "iommufd/internal.h"

struct eventq_entry {
	struct list node; /* eventq.waiting, until it has been sent as a whole */
	const void *bytes;
	size_t len, done;
};

struct eventq;
struct eventq_ops {
	struct ufile_ops file;
	/* The first byte is about to go: the last moment to change it. NULL: it stays as it is. */
	void (*begin)(struct eventq *q, struct eventq_entry *e);
	/* All of it has gone, and it is in no list any more. */
	void (*sent)(struct eventq *q, struct eventq_entry *e);
};

struct eventq {
	struct iommufd_object obj;
	struct ufile file;
	const struct eventq_ops *ops;
	struct iommufd_ctx *ctx;
	bool open;
	struct list waiting;
};

/* For eventq_ops.file; name and written are the queue's own. */
void eventq_drained(struct ufile *f);
void eventq_release(struct ufile *f);
static inline struct eventq *eventq_of(struct ufile *f)
{
	return container_of(f, struct eventq, file);
}

/* An object that nobody hears of yet. 0 or -ENOMEM. */
int eventq_init(struct eventq *q, struct iommufd_ctx *ctx, enum object_type type, const struct eventq_ops *ops);
/* Answers k, whose structure is size bytes and wants the descriptor at fd_at; then the queue is open for all. 0, or
 * -errno and the object is the caller's again. */
int eventq_open(struct eventq *q, struct ioctl_call *k, size_t size, size_t fd_at);
/* bytes and len are set. */
void eventq_add(struct eventq *q, struct eventq_entry *e);

#endif
