/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/guard.h"
#include "devices/device.h"
#include "iommu/domain.h"
#include "iommu/ioas.h"
#include "mm/mm.h"
#include "pci/migrate.h"

static void notify(struct event_listener *l, const struct event *ev)
{
	struct machine *m = container_of(l, struct machine, listener);

	if (ev->type == EVENT_DMA) {
		m->written += ev->flags & EVENT_WRITE ? ev->len : 0;
		return;
	}
	m->faults++;
	dma_fault_format(ev, m->fault_line, sizeof(m->fault_line));
	m->fault_old = ev->tag && ev->tag->old;
}

static void msix(struct pci_irq_sink *s, unsigned int vector)
{
	struct machine *m = container_of(s, struct machine, sink);

	CHECK(vector < m->f->msix_n && vector < MACHINE_VECTORS);
	m->irqs[vector]++;
}

static void intx(struct pci_irq_sink *s, bool level)
{
	struct machine *m = container_of(s, struct machine, sink);

	CHECK(m->line != level);
	m->line = level;
	m->edges += level;
}

static uint64_t no_limit(void *ctx)
{
	return UINT64_MAX;
}

static void open_memory(struct machine *m, uint64_t len, uint64_t last)
{
	static const struct mm_owner_ops ops = {.limit = no_limit};
	const struct domain_config config = {.last = last, .pgsizes = MACHINE_PAGE};
	struct page_slice slice = {.len = len, .writable = true};

	m->len = len;
	m->memfd = memfd_create("machine", MFD_CLOEXEC);
	CHECK(m->memfd >= 0 && ftruncate(m->memfd, len) == 0);
	m->mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, m->memfd, 0);
	CHECK(m->mem != MAP_FAILED);
	m->cache = backing_cache_new(0, 0);
	m->owner = mm_owner_new(&ops, m, NULL, 1, &m->evs);
	m->ioas = ioas_new(&m->evs);
	m->domain = domain_new(&config, &m->evs);
	CHECK(m->cache && m->owner && m->ioas && m->domain && ioas_add_domain(m->ioas, m->domain) == 0);
	CHECK(backing_get_fd(m->cache, m->memfd, &slice.backing) == 0);
	CHECK(pages_new((uintptr_t)m->mem, &slice, 1, m->owner, &m->pages) == 0);
	backing_put(slice.backing);
	pages_configure(m->pages, true, MM_ACCOUNT_USER, false);
}

void machine_open(struct machine *m, uint64_t len, uint64_t last)
{
	memset(m, 0, sizeof(*m));
	CHECK(guard_install() == 0);
	events_init(&m->evs);
	m->listener.mask = BIT(EVENT_FAULT) | BIT(EVENT_DMA);
	m->listener.notify = notify;
	events_listen(&m->evs, &m->listener);
	m->loop = loop_new();
	CHECK(m->loop);
	open_memory(m, len, last);
}

void machine_map(struct machine *m, uint64_t iova, uint64_t off, uint64_t len, int prot)
{
	CHECK(ioas_map(m->ioas, IOVA(iova), len, m->pages, off, prot) == 0);
}

void machine_plug(struct machine *m, const char *spec)
{
	struct device_env env = {.loop = m->loop, .evs = &m->evs};
	struct device_place place;
	char err[256];

	if (device_create(&env, spec, &m->f, &place, err, sizeof(err))) {
		fprintf(stderr, "%s: %s\n", spec, err);
		abort();
	}
	pci_func_place(m->f, 0, 0x100, 1);
	dma_dev_attach(m->f->dma, m->domain);
	pci_cfg_write(m->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	m->sink.msix = msix;
	m->sink.intx = intx;
	m->f->sink = &m->sink;
	pci_msix_enable(m->f, true);
	for (unsigned int v = 0; v < m->f->msix_n; v++)
		pci_msix_set_entry_masked(m->f, v, false);
}

void machine_stop(struct machine *m)
{
	int err;

	while ((err = pci_quiesce(m->f)) == -EAGAIN)
		loop_step(m->loop, false);
	CHECK(!err);
	pci_stop(m->f);
}

size_t machine_save(struct machine *m, uint8_t *blob, size_t max)
{
	struct state_out o;
	size_t len;

	state_out_init(&o, false);
	pci_save_identity(m->f, &o);
	CHECK(!pci_save(m->f, &o));
	len = o.len;
	CHECK(len <= max);
	memcpy(blob, o.buf, len);
	state_out_fini(&o);
	return len;
}

void machine_unplug(struct machine *m)
{
	m->f->ops->destroy(m->f);
	m->f = NULL;
}

void machine_close(struct machine *m)
{
	ioas_remove_domain(m->ioas, m->domain);
	domain_free(m->domain);
	pages_put(m->pages);
	ioas_free(m->ioas);
	CHECK(mm_charged(m->owner) == 0);
	mm_owner_put(m->owner);
	backing_cache_free(m->cache);
	munmap(m->mem, m->len);
	close(m->memfd);
	loop_free(m->loop);
}
