/* SPDX-License-Identifier: BSD-3-Clause */
#include "host.h"

#include <string.h>

#include "base/util.h"
#include "devices/ioat/ioat.h"

void host_open(struct host *h, const char *options)
{
	struct machine *m = &h->m;
	char spec[256];

	machine_open(m, HOST_MEM, UINT64_MAX);
	machine_map(m, PLAIN, 0, PLAIN_LEN, IOMMU_READ | IOMMU_WRITE);
	machine_map(m, READONLY, PLAIN_LEN, READONLY_LEN, IOMMU_READ);
	for (uint64_t at = 0; at < SCATTERED_LEN; at += MACHINE_PAGE)
		machine_map(m, SCATTERED + at, host_offset(SCATTERED + at, true), MACHINE_PAGE,
			    IOMMU_READ | IOMMU_WRITE);
	h->next = PLAIN;
	snprintf(spec, sizeof(spec), "ioat%s%s", *options ? "," : "", options);
	machine_plug(m, spec);
}

void host_close(struct host *h)
{
	machine_unplug(&h->m);
	machine_close(&h->m);
}

uint64_t host_alloc(struct host *h, uint64_t len, uint64_t align)
{
	uint64_t at = ALIGN_UP(h->next, align);

	CHECK(at + len <= PLAIN + PLAIN_LEN);
	h->next = at + len;
	return at;
}

int64_t host_offset(uint64_t iova, bool write)
{
	uint64_t page;

	if (iova - PLAIN < PLAIN_LEN)
		return iova - PLAIN;
	if (iova - READONLY < READONLY_LEN)
		return write ? -1 : (int64_t)(PLAIN_LEN + iova - READONLY);
	if (iova - SCATTERED >= SCATTERED_LEN)
		return -1;
	page = ALIGN_DOWN(iova - SCATTERED, MACHINE_PAGE);
	return HOST_MEM - MACHINE_PAGE - page + iova % MACHINE_PAGE;
}

uint8_t *host_ptr(struct host *h, uint64_t iova)
{
	int64_t off = host_offset(iova, false);

	CHECK(off >= 0);
	return h->m.mem + off;
}

uint64_t host_read(struct host *h, uint64_t off, unsigned int size)
{
	uint64_t v;

	CHECK(pci_bar_read(h->m.f, 0, off, size, &v) == 0);
	return v;
}

void host_write(struct host *h, uint64_t off, unsigned int size, uint64_t val)
{
	CHECK(pci_bar_write(h->m.f, 0, off, size, val) == 0);
}

/* ---- a channel ---- */
uint64_t ring_iova(const struct ring *r, unsigned int n)
{
	return r->base + n % r->size * sizeof(struct ioat_desc);
}

struct ioat_desc *ring_desc(struct ring *r, unsigned int n)
{
	return (struct ioat_desc *)host_ptr(r->h, ring_iova(r, n));
}

void ring_arm(struct ring *r)
{
	struct host *h = r->h;

	memset(ring_desc(r, 0), 0, r->size * sizeof(struct ioat_desc));
	for (unsigned int i = 0; i < r->size; i++)
		ring_desc(r, i)->next = ring_iova(r, i + 1);
	r->head = 0;
	memset(host_ptr(h, r->status), 0xff, 8);
	host_write(h, chan_reg(r->chan, IOAT_CHANERR), 4, ring_error(r));
	host_write(h, chan_reg(r->chan, IOAT_CHANCMD), 1, IOAT_CHANCMD_RESET);
	host_write(h, chan_reg(r->chan, IOAT_CHANCMP), 8, r->status);
	host_write(h, chan_reg(r->chan, IOAT_CHAINADDR), 8, r->base);
	CHECK(ring_state(r) == IOAT_ARMED);
}

void ring_hurry(struct ring *r)
{
	container_of(r->h->m.f, struct ioat, f)->chan[r->chan].failed = false;
}

void ring_open(struct ring *r, struct host *h, unsigned int chan, unsigned int size)
{
	*r = (struct ring){.h = h, .chan = chan, .size = size};
	r->base = host_alloc(h, size * sizeof(struct ioat_desc), IOAT_DESC_ALIGN);
	r->status = host_alloc(h, 8, 8);
	ring_arm(r);
}

void ring_put(struct ring *r, uint32_t ctl, uint64_t src, uint64_t dst, uint32_t size)
{
	struct ioat_desc *d = ring_desc(r, r->head++);

	d->size = size;
	d->ctl = ctl;
	d->src = src;
	d->dst = dst;
}

void ring_ring(struct ring *r)
{
	host_write(r->h, chan_reg(r->chan, IOAT_DMACOUNT), 2, r->head & 0xffff);
}

enum ioat_state ring_state(struct ring *r)
{
	return host_read(r->h, chan_reg(r->chan, IOAT_CHANSTS), 8) & IOAT_CHANSTS_STATE;
}

uint32_t ring_error(struct ring *r)
{
	return host_read(r->h, chan_reg(r->chan, IOAT_CHANERR), 4);
}

uint64_t ring_written(struct ring *r)
{
	uint64_t v;

	memcpy(&v, host_ptr(r->h, r->status), sizeof(v));
	return v;
}

enum ioat_state ring_wait(struct ring *r)
{
	while (ring_state(r) == IOAT_ACTIVE)
		loop_step(r->h->m.loop, true);
	return ring_state(r);
}

enum ioat_state ring_run(struct ring *r, uint32_t ctl, uint64_t src, uint64_t dst, uint32_t size)
{
	ring_put(r, ctl, src, dst, size);
	ring_ring(r);
	return ring_wait(r);
}
