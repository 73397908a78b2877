/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/event.h"
#include "base/util.h"
#include "mm/mm.h"
#include "mm/owner.h"

struct mm_owner {
	unsigned int refs;
	uint32_t pid;
	const struct mm_owner_ops *ops; /* NULL once the process is gone */
	void *ctx;
	uint64_t limit; /* bytes, as last answered */
	uint64_t charged, peak;
	struct events *evs;
};

struct mm_owner *mm_owner_new(const struct mm_owner_ops *ops, void *ctx, uint32_t pid, struct events *evs)
{
	struct mm_owner *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->refs = 1;
	o->ops = ops;
	o->ctx = ctx;
	o->pid = pid;
	o->evs = evs;
	return o;
}

struct mm_owner *mm_owner_get(struct mm_owner *o)
{
	o->refs++;
	return o;
}

void mm_owner_put(struct mm_owner *o)
{
	if (!o || --o->refs)
		return;
	assert(o->charged == 0);
	free(o);
}

void mm_owner_orphan(struct mm_owner *o)
{
	o->ops = NULL;
	o->ctx = NULL;
}

int mm_charge(struct mm_owner *o, uint64_t npages)
{
	uint64_t sum;

	if (o->ops)
		o->limit = o->ops->limit(o->ctx);
	if (add_overflows(o->charged, npages, &sum))
		return -ENOMEM;
	if (o->limit != UINT64_MAX && sum > o->limit >> PF_PAGE_SHIFT)
		return -ENOMEM;
	o->charged = sum;
	o->peak = MAX(o->peak, sum);
	return 0;
}

void mm_uncharge(struct mm_owner *o, uint64_t npages)
{
	assert(npages <= o->charged);
	o->charged -= npages;
}

uint64_t mm_charged(const struct mm_owner *o)
{
	return o->charged;
}

uint64_t mm_charged_peak(const struct mm_owner *o)
{
	return o->peak;
}

uint32_t mm_owner_pid(const struct mm_owner *o)
{
	return o->pid;
}

struct events *mm_owner_events(const struct mm_owner *o)
{
	return o->evs;
}
