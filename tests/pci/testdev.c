/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "testdev.h"

struct dma_dev {
	uint32_t bdf;
	bool master;
};

struct dma_dev *dma_dev_new(uint32_t bdf, struct events *evs)
{
	struct dma_dev *d = calloc(1, sizeof(*d));

	if (!d)
		abort();
	d->bdf = bdf;
	d->master = true;
	return d;
}

void dma_dev_free(struct dma_dev *d)
{
	free(d);
}

void dma_dev_set_master(struct dma_dev *d, bool on)
{
	d->master = on;
}

void dma_dev_set_owner(struct dma_dev *d, const void *owner)
{
}

bool dma_dev_in_peer(const struct dma_dev *d)
{
	return false;
}

int dma_dev_set_pasid_bits(struct dma_dev *d, unsigned int bits)
{
	return 0;
}

void dma_dev_set_pri(struct dma_dev *d, bool on)
{
}

bool testdev_dma_master(const struct dma_dev *d)
{
	return d->master;
}

uint32_t testdev_dma_bdf(const struct dma_dev *d)
{
	return d->bdf;
}

static struct testdev *testdev(struct pci_func *f)
{
	return container_of(f, struct testdev, f);
}

static uint64_t bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	struct testdev *t = testdev(f);

	t->reads++;
	t->last_bar = bar;
	t->last_off = off;
	t->last_size = size;
	return 0x1122334455667788; /* more than the access asks for */
}

static void bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct testdev *t = testdev(f);

	t->writes++;
	t->last_bar = bar;
	t->last_off = off;
	t->last_size = size;
	t->last_val = val;
}

static void reset(struct pci_func *f)
{
	struct testdev *t = testdev(f);

	t->resets++;
	t->master_in_reset = testdev_dma_master(f->dma) || pci_bus_master(f);
	pci_msix_raise(f, 0); /* a completion that was under way: must go nowhere */
}

static void command_changed(struct pci_func *f)
{
	testdev(f)->command_changes++;
}

static const struct pci_func_ops ops = {
    .bar_read = bar_read,
    .bar_write = bar_write,
    .reset = reset,
    .command_changed = command_changed,
};

static void sink_msix(struct pci_irq_sink *s, unsigned int v)
{
	container_of(s, struct testdev, sink)->irqs[v]++;
}

static void notify(struct event_listener *l, const struct event *ev)
{
	struct testdev *t = container_of(l, struct testdev, listener);

	if (ev->type == EVENT_MMIO) {
		t->events_mmio++;
		t->last_mmio = *ev;
	} else if (ev->error) {
		t->events_dropped++;
	} else {
		t->events_irq++;
	}
}

void testdev_init(struct testdev *t)
{
	static const struct pci_ids ids = {
	    .vendor = 0x1b36,
	    .device = 0x0010,
	    .subvendor = 0x1af4,
	    .subdevice = 0x1100,
	    .class = 0x010802,
	    .revision = 2,
	};

	memset(t, 0, sizeof(*t));
	events_init(&t->evs);
	if (pci_func_init(&t->f, &ops, "testdev", &ids, &t->evs) ||
	    pci_add_bar(&t->f, 0, TESTDEV_BAR0_SIZE, true, false) || pci_add_bar(&t->f, 2, 1 << 20, false, true) ||
	    pci_add_pm(&t->f) || pci_add_express(&t->f) ||
	    pci_add_msix(&t->f, TESTDEV_VECTORS, 0, TESTDEV_TABLE, TESTDEV_PBA))
		abort();
	pci_func_place(&t->f, 0, 0x0100, 7);
	t->sink.msix = sink_msix;
	t->f.sink = &t->sink;
}

void testdev_fini(struct testdev *t)
{
	pci_func_fini(&t->f);
}

void testdev_command(struct testdev *t, uint16_t command)
{
	pci_cfg_write(&t->f, PCI_COMMAND, 2, command);
}

void testdev_listen(struct testdev *t)
{
	t->listener.mask = BIT(EVENT_IRQ) | BIT(EVENT_MMIO);
	t->listener.notify = notify;
	events_listen(&t->evs, &t->listener);
}
