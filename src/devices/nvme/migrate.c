/* SPDX-License-Identifier: BSD-3-Clause */
/* Becoming quiet before the controller's state is saved, and going on afterwards. */
#include <errno.h>

#include "devices/nvme/ctrl.h"

static bool disks_busy(const struct nvme *c)
{
	for (unsigned int i = 0; i < c->nns; i++)
		if (block_inflight(c->ns[i].blk))
			return true;
	return false;
}

/*
 * No entry is fetched any more. What has been fetched ends, with its data, its completion and its interrupt; what a
 * reset has left at the disk does too, because a write that arrives late would overwrite a newer one of whoever goes on
 * with the disk. Then all that was written is made stable.
 */
int nvme_quiesce(struct pci_func *f)
{
	struct nvme *c = container_of(f, struct nvme, f);

	if (c->live.page.open)
		nvme_live_close(c, true);
	if (c->live.page.open || c->live.have_found)
		return -EAGAIN;
	nvme_turn_end(c);
	if (!list_empty(&c->inflight) || !list_empty(&c->late) || disks_busy(c))
		return -EAGAIN;
	if (!c->stable) {
		c->stable = true;
		nvme_flush_all(c);
		return -EAGAIN;
	}
	return nvme_flush_error(c) ? -EIO : 0;
}

void nvme_run(struct pci_func *f)
{
	struct nvme *c = container_of(f, struct nvme, f);

	c->stable = false;
	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++) {
		struct nvme_cq *cq = &c->cq[i];

		if (!cq->live)
			continue;
		cq->stalled = false;
		nvme_cq_post_waiting(c, cq);
	}
	if (!pci_msix_enabled(f))
		nvme_pin_update(c);
	nvme_resume(f);
}
