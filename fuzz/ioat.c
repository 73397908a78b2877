/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile driver of the copy engine: register accesses of any kind, and chains made of the fuzzer's bytes, in memory
 * that they may overwrite. A byte stream of operations; channels are usually armed first, so that the fuzzer need not
 * find out how.
 */
#include <string.h>
#include <linux/pci_regs.h>

#include "ioat/host.h"
#include "input.h"
#include "devices/ioat/ioat.h"

#define DESCS 64

/* Mostly an address in memory, often a descriptor's, sometimes the end of something, sometimes anything. */
static uint64_t take_addr(struct input *in)
{
	unsigned int how = take(in, 1);

	if (how < 100)
		return PLAIN + how % DESCS * sizeof(struct ioat_desc);
	if (how < 150)
		return PLAIN + take(in, 2);
	if (how < 200)
		return SCATTERED + take(in, 2);
	if (how < 220)
		return READONLY + take(in, 2);
	if (how < 240)
		return PLAIN + PLAIN_LEN - take(in, 2);
	return take(in, 8);
}

static void put_descriptor(struct host *h, struct input *in)
{
	unsigned int n = take(in, 1) % DESCS, how = take(in, 1);
	struct ioat_desc d = {.size = take(in, how & 1 ? 2 : 3), .ctl = how & 2 ? CTL_COPY : CTL_FILL};

	if (how & 4)
		d.ctl ^= take(in, 1);
	if (how & 8 && how & 16)
		d.ctl = take(in, 4);
	d.src = how & 32 ? take(in, 8) : take_addr(in);
	d.dst = take_addr(in);
	d.next = how & 64 ? PLAIN + (n + 1) % DESCS * sizeof(d) : take_addr(in);
	memcpy(h->m.mem + n * sizeof(d), &d, sizeof(d));
}

static uint64_t any_register(struct input *in)
{
	static const uint8_t regs[] = {IOAT_CHANCTRL,  IOAT_CHANCMD, IOAT_DMACOUNT, IOAT_CHANSTS,
				       IOAT_CHAINADDR, IOAT_CHANCMP, IOAT_CHANERR,  IOAT_ERRMASK};

	return chan_reg(take(in, 1) % 3, regs[take(in, 1) % sizeof(regs)]);
}

static void step(struct host *h, struct input *in)
{
	unsigned int chan = take(in, 1) % 3, len;
	uint64_t off, v;

	switch (take(in, 1) % 16) {
	case 0: /* any access anywhere in the BAR */
		len = 1 << take(in, 1) % 4;
		off = take(in, 2) % (IOAT_BAR_SIZE - len + 1);
		pci_bar_write(h->m.f, 0, off, len, take(in, 8));
		pci_bar_read(h->m.f, 0, off, len, &v);
		break;
	case 1:
		off = any_register(in);
		len = 1 << take(in, 1) % 4;
		pci_bar_write(h->m.f, 0, off, len, take(in, len));
		break;
	case 2:
		pci_bar_write(h->m.f, 0, take(in, 1) % 0x20, 1, take(in, 1));
		break;
	case 3:
		if (take(in, 1) < 16)
			pci_func_reset(h->m.f);
		/* Decode stays on, or the rest of the input would find nobody. */
		pci_cfg_write(h->m.f, PCI_COMMAND, 2, take(in, 2) | PCI_COMMAND_MEMORY);
		break;
	case 4:
		pci_bar_write(h->m.f, 0, chan_reg(chan, IOAT_CHANERR), 4, ~0U);
		pci_bar_write(h->m.f, 0, chan_reg(chan, IOAT_CHANCMD), 1, IOAT_CHANCMD_RESET);
		break;
	case 5:
		pci_bar_write(h->m.f, 0, chan_reg(chan, IOAT_CHANCMD), 1, take(in, 1));
		break;
	case 6:
		pci_bar_write(h->m.f, 0, chan_reg(chan, IOAT_CHANCMP), 8, take_addr(in));
		pci_bar_write(h->m.f, 0, chan_reg(chan, IOAT_CHANCTRL), 2, take(in, 2));
		break;
	case 7:
	case 8:
		pci_bar_write(h->m.f, 0, chan_reg(chan, IOAT_CHAINADDR), 8, take_addr(in));
		break;
	case 9:
	case 10:
		pci_bar_write(h->m.f, 0, chan_reg(chan, IOAT_DMACOUNT), 2, take(in, 1));
		break;
	case 11:
		for (len = take(in, 1) % 8; len; len--)
			loop_step(h->m.loop, false);
		break;
	default:
		put_descriptor(h, in);
	}
}

/* Making memory and files for every input would take most of the time. */
static struct host *host_get(void)
{
	static struct host h;

	if (!h.m.loop)
		host_open(&h, "channels=3,xfercap=20");
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	memset(h.m.mem, 0, 16 * MACHINE_PAGE);
	for (unsigned int i = 0; i < 3; i++) {
		host_write(&h, chan_reg(i, IOAT_CHANCMP), 8, PLAIN + 15 * MACHINE_PAGE + 8 * i);
		host_write(&h, chan_reg(i, IOAT_CHAINADDR), 8, PLAIN);
	}
	return &h;
}

/* What the registers say of a channel fits together. */
static void check(struct host *h)
{
	for (unsigned int i = 0; i < 3; i++) {
		struct ioat_chan *c = &container_of(h->m.f, struct ioat, f)->chan[i];

		CHECK(c->state == IOAT_ACTIVE || list_empty(&c->node));
		CHECK(c->state != IOAT_ACTIVE || list_empty(&c->node) == !!c->timer.deadline);
		CHECK(c->state != IOAT_IDLE || c->done == c->count);
		CHECK(c->state != IOAT_HALTED || !c->busy);
		CHECK(!c->unreported && c->moved <= c->desc.size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct host *h = host_get();

	for (unsigned int i = 0; in.n && i < 200; i++) {
		step(h, &in);
		check(h);
	}
	pci_func_reset(h->m.f);
	check(h);
	return 0;
}
