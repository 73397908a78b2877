/* SPDX-License-Identifier: BSD-3-Clause */
#include "host.h"

#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "devices/device.h"
#include "devices/ioat/ioat.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "mm/mm.h"

static void notify(struct event_listener *l, const struct event *ev)
{
	struct host *h = container_of(l, struct host, listener);

	if (ev->type == EVENT_DMA) {
		h->written += ev->flags & EVENT_WRITE ? ev->len : 0;
		return;
	}
	h->faults++;
	dma_fault_format(ev, h->fault_line, sizeof(h->fault_line));
}

static void msix(struct pci_irq_sink *s, unsigned int vector)
{
	struct host *h = container_of(s, struct host, sink);

	CHECK(vector < IOAT_CHANS_MAX);
	h->irqs[vector]++;
}

static void intx(struct pci_irq_sink *s, bool level)
{
	struct host *h = container_of(s, struct host, sink);

	CHECK(h->line != level);
	h->line = level;
	h->edges += level;
}

static uint64_t no_limit(void *ctx)
{
	return UINT64_MAX;
}

static void open_memory(struct host *h)
{
	static const struct mm_owner_ops ops = {.limit = no_limit};
	const struct domain_config config = {.last = UINT64_MAX, .pgsizes = HOST_PAGE};
	struct page_slice slice = {.len = HOST_MEM, .writable = true};
	struct pages *p;

	h->memfd = memfd_create("host", MFD_CLOEXEC);
	CHECK(h->memfd >= 0 && ftruncate(h->memfd, HOST_MEM) == 0);
	h->mem = mmap(NULL, HOST_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, h->memfd, 0);
	CHECK(h->mem != MAP_FAILED);
	h->next = PLAIN;
	h->cache = backing_cache_new(0, 0);
	h->owner = mm_owner_new(&ops, h, NULL, 1, &h->evs);
	h->ioas = ioas_new(&h->evs);
	h->domain = domain_new(&config, &h->evs);
	CHECK(h->cache && h->owner && h->ioas && h->domain && ioas_add_domain(h->ioas, h->domain) == 0);
	CHECK(backing_get_fd(h->cache, h->memfd, &slice.backing) == 0);
	CHECK(pages_new((uintptr_t)h->mem, &slice, 1, h->owner, &p) == 0);
	backing_put(slice.backing);
	pages_configure(p, true, MM_ACCOUNT_USER, false);
	CHECK(ioas_map(h->ioas, IOVA(PLAIN), PLAIN_LEN, p, 0, IOMMU_READ | IOMMU_WRITE) == 0);
	CHECK(ioas_map(h->ioas, IOVA(READONLY), READONLY_LEN, p, PLAIN_LEN, IOMMU_READ) == 0);
	for (uint64_t at = 0; at < SCATTERED_LEN; at += HOST_PAGE)
		CHECK(ioas_map(h->ioas, IOVA(SCATTERED + at), HOST_PAGE, p, host_offset(SCATTERED + at, true),
			       IOMMU_READ | IOMMU_WRITE) == 0);
	pages_put(p);
}

static void open_function(struct host *h, const char *options)
{
	struct device_env env = {.loop = h->loop, .evs = &h->evs};
	struct device_place place;
	char spec[256], err[256];

	snprintf(spec, sizeof(spec), "ioat%s%s", *options ? "," : "", options);
	if (device_create(&env, spec, &h->f, &place, err, sizeof(err))) {
		fprintf(stderr, "%s: %s\n", spec, err);
		abort();
	}
	pci_func_place(h->f, 0, 0x100, 1);
	dma_dev_attach(h->f->dma, h->domain);
	pci_cfg_write(h->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	h->sink.msix = msix;
	h->sink.intx = intx;
	h->f->sink = &h->sink;
	pci_msix_enable(h->f, true);
	for (unsigned int v = 0; v < h->f->msix_n; v++)
		pci_msix_set_entry_masked(h->f, v, false);
}

void host_open(struct host *h, const char *options)
{
	memset(h, 0, sizeof(*h));
	CHECK(guard_install() == 0);
	events_init(&h->evs);
	h->listener.mask = BIT(EVENT_FAULT) | BIT(EVENT_DMA);
	h->listener.notify = notify;
	events_listen(&h->evs, &h->listener);
	h->loop = loop_new();
	CHECK(h->loop);
	open_memory(h);
	open_function(h, options);
}

void host_close(struct host *h)
{
	h->f->ops->destroy(h->f);
	ioas_remove_domain(h->ioas, h->domain);
	domain_free(h->domain);
	ioas_free(h->ioas);
	CHECK(mm_charged(h->owner) == 0);
	mm_owner_put(h->owner);
	backing_cache_free(h->cache);
	munmap(h->mem, HOST_MEM);
	close(h->memfd);
	loop_free(h->loop);
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
	page = ALIGN_DOWN(iova - SCATTERED, HOST_PAGE);
	return HOST_MEM - HOST_PAGE - page + iova % HOST_PAGE;
}

uint8_t *host_ptr(struct host *h, uint64_t iova)
{
	int64_t off = host_offset(iova, false);

	CHECK(off >= 0);
	return h->mem + off;
}

uint64_t host_read(struct host *h, uint64_t off, unsigned int size)
{
	uint64_t v;

	CHECK(pci_bar_read(h->f, 0, off, size, &v) == 0);
	return v;
}

void host_write(struct host *h, uint64_t off, unsigned int size, uint64_t val)
{
	CHECK(pci_bar_write(h->f, 0, off, size, val) == 0);
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
	container_of(r->h->f, struct ioat, f)->chan[r->chan].failed = false;
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
		loop_step(r->h->loop, true);
	return ring_state(r);
}

enum ioat_state ring_run(struct ring *r, uint32_t ctl, uint64_t src, uint64_t dst, uint32_t size)
{
	ring_put(r, ctl, src, dst, size);
	ring_ring(r);
	return ring_wait(r);
}
