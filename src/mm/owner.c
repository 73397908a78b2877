/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/alloc.h"
#include "base/event.h"
#include "base/util.h"
#include "mm/mm.h"
#include "mm/owner.h"

struct mm_user {
	unsigned int refs;
	uint64_t locked; /* pages that its processes have charged in user mode */
};

struct mm_owner {
	unsigned int refs;
	uint32_t pid;
	const struct mm_owner_ops *ops; /* NULL once the process is gone */
	void *ctx;
	struct mm_user *user;
	uint64_t limit;	 /* bytes, as last answered */
	uint64_t locked; /* pages in process mode: the kernel's locked_vm */
	uint64_t charged, peak;
	struct events *evs;
};

/* ---- users ---- */

struct mm_user *mm_user_new(void)
{
	struct mm_user *u = mem_calloc(1, sizeof(*u));

	if (u)
		u->refs = 1;
	return u;
}

struct mm_user *mm_user_get(struct mm_user *u)
{
	u->refs++;
	return u;
}

void mm_user_put(struct mm_user *u)
{
	if (!u || --u->refs)
		return;
	assert(u->locked == 0);
	free(u);
}

/* ---- owners ---- */

struct mm_owner *mm_owner_new(const struct mm_owner_ops *ops, void *ctx, struct mm_user *user, uint32_t pid,
			      struct events *evs)
{
	struct mm_owner *o = mem_calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->user = user ? mm_user_get(user) : mm_user_new();
	if (!o->user) {
		free(o);
		return NULL;
	}
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
	mm_user_put(o->user);
	free(o);
}

void mm_owner_orphan(struct mm_owner *o)
{
	o->ops = NULL;
	o->ctx = NULL;
}

bool mm_owner_alive(const struct mm_owner *o)
{
	return o->ops && (!o->ops->alive || o->ops->alive(o->ctx));
}

bool mm_owner_capable(const struct mm_owner *o, int cap)
{
	return o->ops && o->ops->capable && o->ops->capable(o->ctx, cap);
}

/* ---- charges ---- */

static uint64_t *locked_count(struct mm_owner *o, enum mm_account mode)
{
	return mode == MM_ACCOUNT_PROCESS ? &o->locked : &o->user->locked;
}

int mm_charge(struct mm_owner *o, enum mm_account mode, uint64_t npages)
{
	uint64_t *locked = locked_count(o, mode), sum, total;

	if (o->ops)
		o->limit = o->ops->limit(o->ctx);
	if (add_overflows(*locked, npages, &sum) || add_overflows(o->charged, npages, &total))
		return -ENOMEM;
	if (o->limit != UINT64_MAX && sum > o->limit >> PF_PAGE_SHIFT)
		return -ENOMEM;
	*locked = sum;
	o->charged = total;
	o->peak = MAX(o->peak, total);
	return 0;
}

void mm_uncharge(struct mm_owner *o, enum mm_account mode, uint64_t npages)
{
	uint64_t *locked = locked_count(o, mode);

	assert(npages <= *locked && npages <= o->charged);
	*locked -= npages;
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

uint64_t mm_owner_held(const struct mm_owner *o, enum mm_account mode)
{
	return mode == MM_ACCOUNT_PROCESS ? o->locked : o->user->locked;
}

uint64_t mm_owner_limit(const struct mm_owner *o)
{
	return o->limit;
}

struct events *mm_owner_events(const struct mm_owner *o)
{
	return o->evs;
}
