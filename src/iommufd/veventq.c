/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues of a virtual IOMMU's events, for the guest. Answers follow Linux 6.15 drivers/iommu/iommufd/eventq.c.
 *
 * The descriptor carries bytes: events go into it as soon as there is room. So, other than in Linux, read() may end
 * inside an event, and the header that says that events were lost cannot be taken back when a later event finds room:
 * it stays between those before and those after the gap, with the sequence number of the first that was lost.
 *
 * An event is waiting (not sent, or a part of it), then sent; it is forgotten when it is seen to have been read. Until
 * then it counts against the queue's depth.
 */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommufd/eventq.h"

#define EVENTS_MAX 65536u /* not read, in one queue, whatever depth it was made with */

struct vevent {
	struct eventq_entry entry;	     /* in q.waiting, then in sent */
	bool lost;			     /* says that some are missing */
	struct iommufd_vevent_header header; /* and the data */
	uint8_t data[];
};

struct veventq {
	struct eventq q;
	struct viommu *viommu; /* held */
	struct list node;      /* viommu->veventqs */
	uint32_t type, depth, sequence;
	struct list sent;
	unsigned int nsent, nevents; /* nevents: in both, but for those that say lost */
};

static struct veventq *queue_of(struct eventq *q)
{
	return container_of(q, struct veventq, q);
}

/* ---- events ---- */

static void event_end(struct veventq *q, struct vevent *e)
{
	list_del(&e->entry.node);
	q->nevents -= !e->lost;
	free(e);
}

/* Forgets what has been read. */
static void queue_look(struct veventq *q)
{
	size_t unread = ufile_unread(&q->q.file);

	while (q->nsent > unread) {
		q->nsent--;
		event_end(q, list_first(&q->sent, struct vevent, entry.node));
	}
}

static void event_sent(struct eventq *q, struct eventq_entry *e)
{
	list_add_tail(&queue_of(q)->sent, &e->node);
	queue_of(q)->nsent++;
}

static struct vevent *event_new(uint32_t sequence, uint32_t flags, const void *data, size_t len)
{
	struct vevent *e = mem_alloc(sizeof(*e) + len);

	if (!e)
		return NULL;
	_Static_assert(offsetof(struct vevent, data) == OFFSETOFEND(struct vevent, header), "sent together");
	*e = (struct vevent){
	    .lost = flags & IOMMU_VEVENTQ_FLAG_LOST_EVENTS,
	    .entry = {.bytes = &e->header, .len = sizeof(e->header) + len},
	    .header = {.flags = flags, .sequence = sequence},
	};
	if (len)
		memcpy(e->data, data, len);
	return e;
}

static const struct vevent *queue_last(const struct veventq *q)
{
	const struct list *l = list_empty(&q->q.waiting) ? &q->sent : &q->q.waiting;

	return list_empty(l) ? NULL : container_of(l->prev, struct vevent, entry.node);
}

static void queue_add(struct veventq *q, struct vevent *e)
{
	q->nevents += !e->lost;
	eventq_add(&q->q, &e->entry);
}

static void queue_lose(struct veventq *q, uint32_t sequence)
{
	const struct vevent *last = queue_last(q);
	struct vevent *e;

	if (last && last->lost)
		return;
	/* If there is no memory for this either, the gap in the sequence numbers still says it. */
	e = event_new(sequence, IOMMU_VEVENTQ_FLAG_LOST_EVENTS, NULL, 0);
	if (e)
		queue_add(q, e);
}

static struct veventq *queue_find(const struct viommu *v, uint32_t type)
{
	struct veventq *q;

	list_for_each (q, &v->veventqs, node)
		if (q->type == type)
			return q;
	return NULL;
}

int viommu_report_event(struct viommu *v, uint32_t type, const void *data, size_t len)
{
	struct veventq *q = queue_find(v, type);
	struct vevent *e;
	uint32_t sequence;
	bool room;

	if (!q)
		return -EOPNOTSUPP;
	sequence = q->sequence;
	q->sequence = (sequence + 1) & INT_MAX;
	if (!q->q.open)
		return 0;
	queue_look(q);
	room = q->nevents < MIN(q->depth, EVENTS_MAX);
	e = room ? event_new(sequence, 0, data, len) : NULL;
	if (e)
		queue_add(q, e);
	else
		queue_lose(q, sequence);
	return room && !e ? -ENOMEM : 0;
}

/* ---- the descriptor ---- */

/* Linux refuses to be written to. */
static void queue_written(struct ufile *f, const void *buf, size_t len)
{
}

static const struct eventq_ops queue_ops = {
    .file = {.name = "anon_inode:[iommufd-viommu-event]",
	     .written = queue_written,
	     .drained = eventq_drained,
	     .release = eventq_release},
    .sent = event_sent,
};

/* ---- the object ---- */

void veventq_destroy(struct iommufd_object *o)
{
	struct veventq *q = container_of(o, struct veventq, q.obj);

	assert(!q->q.open);
	while (!list_empty(&q->q.waiting))
		event_end(q, list_first(&q->q.waiting, struct vevent, entry.node));
	while (!list_empty(&q->sent))
		event_end(q, list_first(&q->sent, struct vevent, entry.node));
	list_del(&q->node);
	q->viommu->obj.users--;
	free(q);
}

static int queue_new(struct viommu *v, uint32_t type, uint32_t depth, struct veventq **out)
{
	struct veventq *q = mem_calloc(1, sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	err = eventq_init(&q->q, v->ctx, OBJECT_VEVENTQ, &queue_ops);
	if (err) {
		free(q);
		return err;
	}
	list_init(&q->sent);
	q->type = type;
	q->depth = depth;
	q->viommu = v;
	v->obj.users++;
	list_add_tail(&v->veventqs, &q->node);
	*out = q;
	return 0;
}

long ioctl_veventq_alloc(struct ioctl_call *k)
{
	struct iommu_veventq_alloc *cmd = k->cmd;
	struct veventq *q;
	struct viommu *v;
	int err;

	if (cmd->flags || cmd->__reserved || cmd->type == IOMMU_VEVENTQ_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->veventq_depth)
		return -EINVAL;
	v = viommu_find(k->ctx, cmd->viommu_id);
	if (!v)
		return -ENOENT;
	if (queue_find(v, cmd->type))
		return -EEXIST;
	err = queue_new(v, cmd->type, cmd->veventq_depth, &q);
	if (err)
		return err;
	cmd->out_veventq_id = q->q.obj.id;
	err = eventq_open(&q->q, k, sizeof(*cmd), offsetof(struct iommu_veventq_alloc, out_veventq_fd));
	if (err)
		veventq_destroy(&q->q.obj);
	return err;
}
