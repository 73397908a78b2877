/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include "base/event.h"
#include "iommu/iommu.h"

static const char *fault_reason(int reason)
{
	switch (reason) {
	case DMA_FAULT_UNMAPPED:
		return "not mapped";
	case DMA_FAULT_PERMISSION:
		return "mapped without this permission";
	case DMA_FAULT_MASTER:
		return "bus mastering is off";
	case DMA_FAULT_DETACHED:
		return "device has no IOVA space";
	case DMA_FAULT_GONE:
		return "mapped page is gone (its file was truncated)";
	case DMA_FAULT_LIMIT:
		return "page cannot be pinned: the process is at its limit (RLIMIT_MEMLOCK)";
	case DMA_FAULT_REVOKED:
		return "memory of a device that has been revoked";
	case DMA_FAULT_CONFIG:
		return "stream's configuration refuses it, or is wrong";
	case DMA_FAULT_WRAP:
		return "range runs past the end of the address space";
	}
	return "failed";
}

int dma_tag_format(const struct dma_tag *t, char *buf, size_t size)
{
	char queue[48] = "", id[48] = "", at[32] = "";

	if (t->queue_kind)
		snprintf(queue, sizeof(queue), " %s%u", t->queue_kind, t->queue);
	if (t->id_kind)
		snprintf(id, sizeof(id), " %s %u", t->id_kind, t->id);
	if (t->at)
		snprintf(at, sizeof(at), " at 0x%llx", (unsigned long long)t->at);
	return snprintf(buf, size, "%s%s%s%s%s", queue, id, at, t->part ? " " : "", t->part ? t->part : "");
}

static int access_format(const struct event *ev, const char *addr, char *buf, size_t size)
{
	char tag[192] = "", pasid[24] = "";

	if (ev->pasid)
		snprintf(pasid, sizeof(pasid), " PASID %#x", ev->pasid);
	if (ev->tag)
		dma_tag_format(ev->tag, tag, sizeof(tag));
	return snprintf(buf, size, "[DMA %s] %04x:%02x:%02x.%x%s %s 0x%llx (%llu bytes)%s%s",
			ev->flags & EVENT_WRITE ? "Write" : "Read", ev->who >> 16, ev->who >> 8 & 0xff,
			ev->who >> 3 & 0x1f, ev->who & 7, pasid, addr, (unsigned long long)ev->addr,
			(unsigned long long)ev->len, tag[0] ? "," : "", tag);
}

int dma_fault_format(const struct event *ev, char *buf, size_t size)
{
	char access[320];

	access_format(ev, "fault addr", access, sizeof(access));
	return snprintf(buf, size, "%s: %s", access, fault_reason(ev->error));
}

int dma_access_format(const struct event *ev, char *buf, size_t size)
{
	return access_format(ev, "addr", buf, size);
}
