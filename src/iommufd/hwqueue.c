/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Queues in guest memory that a unit reads by itself. Answers follow Linux 6.17 drivers/iommu/iommufd/viommu.c.
 *
 * The unit finds the memory by its place, not through a page table: so it must be one stretch, and an access holds it,
 * which nobody can tell to let go. Unmapping it is EBUSY.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "iommu/access.h"
#include "iommufd/internal.h"
#include "iommufd/unit.h"

#define QUEUE_PAGES_MAX (1u << 20) /* more in one queue is ENOMEM */

static const struct access_ops queue_access = {.pins = true};

struct hw_queue *viommu_hw_queue(const struct viommu *v, uint32_t type, uint32_t index)
{
	struct hw_queue *q;

	list_for_each (q, &v->hw_queues, node)
		if (q->type == type && q->index == index)
			return q;
	return NULL;
}

/* ---- its memory ---- */

struct span {
	uint64_t first, len; /* whole pages */
};

static int span_of(uint64_t iova, uint64_t len, struct span *s)
{
	uint64_t end;

	if (add_overflows(iova % PF_PAGE_SIZE, len, &end) || add_overflows(end, PF_PAGE_SIZE - 1, &end))
		return -ERANGE;
	*s = (struct span){ALIGN_DOWN(iova, PF_PAGE_SIZE), ALIGN_DOWN(end, PF_PAGE_SIZE)};
	return 0;
}

static int pin_contiguous(struct access *a, const struct span *s)
{
	uint64_t n = s->len / PF_PAGE_SIZE;
	struct page_ref *refs = n <= QUEUE_PAGES_MAX ? mem_calloc(n, sizeof(*refs)) : NULL;
	int err;

	if (!refs)
		return -ENOMEM;
	err = access_pin(a, IOVA(s->first), s->len, refs, 0);
	if (!err) {
		for (uint64_t i = 1; !err && i < n; i++)
			if (refs[i].backing != refs[0].backing || refs[i].index != refs[0].index + i)
				err = -EFAULT;
		if (err)
			access_unpin(a, IOVA(s->first), s->len);
	}
	free(refs);
	return err;
}

static int memory_get(struct viommu *v, uint64_t iova, uint64_t len, struct access **out)
{
	struct access *a;
	struct span s;
	int err;

	err = span_of(iova, len, &s);
	if (err)
		return err;
	a = access_new(&queue_access, NULL);
	if (!a)
		return -ENOMEM;
	err = access_attach(a, v->hwpt->ioas->io);
	if (!err)
		err = pin_contiguous(a, &s);
	if (err)
		access_free(a);
	else
		*out = a;
	return err;
}

static void memory_put(struct hw_queue *q)
{
	struct span s;
	int err = span_of(q->iova, q->len, &s);

	assert(!err);
	access_unpin(q->access, IOVA(s.first), s.len);
	access_free(q->access);
}

/* ---- life ---- */

void hw_queue_destroy(struct iommufd_object *o)
{
	struct hw_queue *q = container_of(o, struct hw_queue, obj);

	memory_put(q);
	list_del(&q->node);
	if (q->needs)
		q->needs->obj.users--;
	q->viommu->obj.users--;
	free(q);
}

static int hw_queue_new(struct viommu *v, const struct iommu_hw_queue_alloc *cmd, struct hw_queue **out)
{
	struct hw_queue *q = mem_calloc(1, sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	err = memory_get(v, cmd->nesting_parent_iova, cmd->length, &q->access);
	if (err) {
		free(q);
		return err;
	}
	q->viommu = v;
	q->type = cmd->type;
	q->index = cmd->index;
	q->iova = cmd->nesting_parent_iova;
	q->len = cmd->length;
	err = v->ops->hw_queue_init ? v->ops->hw_queue_init(q) : 0;
	if (!err)
		err = iommufd_object_add(v->ctx, &q->obj, OBJECT_HW_QUEUE);
	if (err) {
		memory_put(q);
		free(q);
		return err;
	}
	v->obj.users++;
	if (q->needs)
		q->needs->obj.users++;
	list_add_tail(&v->hw_queues, &q->node);
	*out = q;
	return 0;
}

long ioctl_hw_queue_alloc(struct ioctl_call *k)
{
	struct iommu_hw_queue_alloc *cmd = k->cmd;
	struct hw_queue *q;
	struct viommu *v;
	uint64_t last;
	int err;

	if (cmd->flags || cmd->type == IOMMU_HW_QUEUE_TYPE_DEFAULT)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	if (add_overflows(cmd->nesting_parent_iova, cmd->length - 1, &last))
		return -EOVERFLOW;
	v = viommu_find(k->ctx, cmd->viommu_id);
	if (!v)
		return -ENOENT;
	if (!v->ops->hw_queue_type || !v->ops->hw_queue_type(cmd->type))
		return -EOPNOTSUPP;
	err = hw_queue_new(v, cmd, &q);
	if (err)
		return err;
	cmd->out_hw_queue_id = q->obj.id;
	err = ioctl_respond(k, sizeof(*cmd));
	if (err) {
		iommufd_object_abort(k->ctx, &q->obj);
		hw_queue_destroy(&q->obj);
		return err;
	}
	iommufd_object_ready(&q->obj);
	return 0;
}
