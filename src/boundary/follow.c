/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that devices reach at the program's own addresses (rule E3): what the broker was told of it holds until the
 * program changes its mappings there, and not longer. So before a change is made the broker is told to forget, and
 * whoever describes memory that is followed does so, and hands it over, while nothing is being changed.
 *
 * What changes mappings takes the lock first and holds it until it is done, whether or not anything is followed: it
 * could begin to be in between. Calls that nothing else asks for (mprotect, brk ...) are trapped from the first
 * description on; one that another thread has in the kernel at that very moment is not seen.
 *
 * Who waits for the lock holds no slot of the channel and no scratch area: who has it needs both.
 */
#include "boundary/boundary.h"

#include <sys/mman.h>
#include <sys/shm.h>

#include "boundary/maps.h"

static _Atomic uint32_t lock;

/* With the lock held. Every address that was described to be followed lies in [low, high). */
static uint64_t low = UINT64_MAX, high;
static bool armed;

static void forget(uint64_t start, uint64_t last)
{
	struct rpc r;

	if (rpc_begin(&r, RPC_FORGET, 0))
		return; /* and with the session all that was followed has gone */
	r.slot->a[0] = start;
	r.slot->a[1] = last;
	rpc_call(&r);
	rpc_end(&r);
}

bool follow_change(bool held, uint64_t start, uint64_t len)
{
	uint64_t last = len && start + (len - 1) >= start ? start + (len - 1) : UINT64_MAX;
	bool child = process_is_vfork_child();

	/* It changes its parent's memory, but may be killed with the lock: then the parent would wait for ever. */
	if (!held && !child)
		spin_lock(&lock, LOCK_FOLLOW);
	if (start < high && last >= low)
		forget(start, last);
	return !child;
}

void follow_changed(bool held)
{
	if (held)
		spin_unlock(&lock, LOCK_FOLLOW);
}

bool follow_change_all(void)
{
	if (process_is_vfork_child()) /* it leaves its parent's memory as it is */
		return false;
	return follow_change(false, 0, UINT64_MAX);
}

int follow_begin(void)
{
	int err = 0;

	if (process_is_vfork_child())
		return -EIO;
	spin_lock(&lock, LOCK_FOLLOW);
	if (!armed)
		err = filter_install(FILTER_FOLLOW);
	if (err)
		spin_unlock(&lock, LOCK_FOLLOW);
	else
		armed = true;
	return err;
}

void follow_add(uint64_t start, uint64_t len)
{
	low = MIN(low, start);
	high = MAX(high, start + len);
}

void follow_end(void)
{
	spin_unlock(&lock, LOCK_FOLLOW);
}

void follow_lock(void)
{
	spin_lock(&lock, LOCK_FOLLOW);
}

void follow_unlock(void)
{
	spin_unlock(&lock, LOCK_FOLLOW);
}

/* What the parent described is the parent's. The filter stays. */
void follow_after_fork(void)
{
	low = UINT64_MAX;
	high = 0;
}

/* ---- calls that are trapped for this alone ---- */

static void change_by_call(ucontext_t *uc, long nr, uint64_t start, uint64_t len)
{
	bool held = follow_change(false, start, len);

	UC_RET(uc) = sys4(nr, UC_ARG1(uc), UC_ARG2(uc), UC_ARG3(uc), UC_ARG4(uc));
	follow_changed(held);
}

static void change_break(ucontext_t *uc)
{
	uint64_t now = sys1(__NR_brk, 0), to = UC_ARG1(uc), end = ALIGN_UP(to, PF_PAGE_SIZE);

	if (to && end < now)
		watch_gone(uc, CHANGE_UNMAPPED, end, now - end);
	/* A break that grows changes nothing that there was. */
	if (to && to < now)
		change_by_call(uc, __NR_brk, ALIGN_DOWN(to, PF_PAGE_SIZE), now - ALIGN_DOWN(to, PF_PAGE_SIZE));
	else
		trap_resume(uc);
}

/* As far as the mappings from there on are of the same segment. */
static uint64_t segment_len(uint64_t start)
{
	struct vma first, v;

	if (maps_find(start, &first) || first.start > start)
		return PF_PAGE_SIZE;
	for (uint64_t end = first.end;; end = v.end)
		if (maps_find(end, &v) || v.dev != first.dev || v.ino != first.ino)
			return end - start;
}

void follow_syscall(ucontext_t *uc, long nr)
{
	switch (nr) {
	case __NR_brk:
		change_break(uc);
		return;
	case __NR_shmdt:
		change_by_call(uc, nr, UC_ARG1(uc), segment_len(UC_ARG1(uc)));
		return;
	case __NR_shmat:
		/* How much it replaces, only the kernel knows. */
		if (UC_ARG3(uc) & SHM_REMAP)
			change_by_call(uc, nr, 0, UINT64_MAX);
		else
			trap_resume(uc);
		return;
	case __NR_exit_group:
		follow_changed(follow_change_all());
		trap_resume(uc);
		return;
	default:
		change_by_call(uc, nr, UC_ARG1(uc), ALIGN_UP((uint64_t)UC_ARG2(uc), PF_PAGE_SIZE));
	}
}
