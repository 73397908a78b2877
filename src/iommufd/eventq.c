/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommufd/eventq.h"

static void queue_send(struct eventq *q)
{
	while (q->open && !list_empty(&q->waiting)) {
		struct eventq_entry *e = list_first(&q->waiting, struct eventq_entry, node);

		if (!e->done && q->ops->begin)
			q->ops->begin(q, e);
		e->done += ufile_send(&q->file, (const char *)e->bytes + e->done, e->len - e->done);
		if (e->done < e->len)
			return;
		list_del(&e->node);
		q->ops->sent(q, e);
	}
}

void eventq_add(struct eventq *q, struct eventq_entry *e)
{
	e->done = 0;
	list_add_tail(&q->waiting, &e->node);
	queue_send(q);
}

void eventq_drained(struct ufile *f)
{
	queue_send(eventq_of(f));
}

void eventq_release(struct ufile *f)
{
	struct eventq *q = eventq_of(f);
	struct iommufd_ctx *ctx = q->ctx;

	q->open = false;
	q->obj.users--;
	ufile_put(&ctx->file);
}

int eventq_init(struct eventq *q, struct iommufd_ctx *ctx, enum object_type type, const struct eventq_ops *ops)
{
	list_init(&q->waiting);
	q->ctx = ctx;
	q->ops = ops;
	ufile_init(&q->file, &ops->file);
	return iommufd_object_add(ctx, &q->obj, type);
}

int eventq_open(struct eventq *q, struct ioctl_call *k, size_t size, size_t fd_at)
{
	int err = ioctl_respond(k, size);

	if (!err)
		err = ucall_install_at(k->c, &q->file, k->arg + fd_at);
	if (err) {
		iommufd_object_abort(q->ctx, &q->obj);
		return err;
	}
	q->open = true;
	q->obj.users++;
	ufile_get(&q->ctx->file);
	iommufd_object_ready(&q->obj);
	return 0;
}
