/* SPDX-License-Identifier: BSD-3-Clause */
#include "func.h"

#include <stdlib.h>

#include "base/event.h"
#include "pci/pci.h"

static struct events evs;

static void must(int ret)
{
	if (ret < 0)
		abort();
}

static uint64_t no_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	return 0;
}

static void no_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
}

static void no_reset(struct pci_func *f)
{
}

static const struct pci_func_ops ops = {.bar_read = no_read, .bar_write = no_write, .reset = no_reset};

void func_make(struct pci_func *f, uint16_t bdf, unsigned int group)
{
	static const struct pci_ids ids = {0x1b36, 0x0010, 0x1af4, 0x1100, 0x010802, 2};

	if (!evs.listeners.next)
		events_init(&evs);
	must(pci_func_init(f, &ops, "nvme", &ids, &evs));
	must(pci_add_bar(f, 0, 16384, true, false));
	must(pci_add_bar(f, 2, 4096, false, true));
	must(pci_add_pm(f));
	must(pci_add_express(f));
	must(pci_add_msix(f, 4, 0, 0x2000, 0x3000));
	pci_func_place(f, 0, bdf, group);
}
