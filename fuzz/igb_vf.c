/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hostile drivers of two virtual functions of the network card, and of the card as their host: register accesses of any
 * kind, messages, and rings of the fuzzer's bytes, at a cable that leads back to the card. A byte stream of operations;
 * queues are usually running first.
 */
#include <string.h>
#include <linux/pci_regs.h>

#include "../tests/igb/host.h"
#include "input.h"
#include "pci/sriov.h"

#define VFS    2
#define DESCS  16
#define VF_RXQ 0x2800
#define VF_TXQ 0x3800

#define RING(vf, tx) (PLAIN + ((vf)*2 + (tx)) * MACHINE_PAGE)
#define DATA(n)	     (PLAIN + 0x10000 + (n)*2048ull)

static struct pci_func *function(struct host *h, unsigned int i)
{
	return h->m.f->sriov->vf[i % VFS];
}

static void put(struct pci_func *f, uint32_t off, uint32_t val)
{
	pci_bar_write(f, 0, off, 4, val);
}

static void start(struct host *h, unsigned int i)
{
	struct pci_func *f = function(h, i);

	pci_cfg_write(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned int tx = 0; tx < 2; tx++) {
		uint32_t at = tx ? VF_TXQ : VF_RXQ;

		for (unsigned int n = 0; n < DESCS; n++) {
			union igb_desc d = {.q = {DATA(i * 32 + tx * 16 + n)}};

			if (tx) {
				d.d[2] = CMD_ONE | 100;
				d.d[3] = 100 << 14;
			}
			memcpy(host_ptr(h, RING(i, tx) + n * sizeof(d)), &d, sizeof(d));
		}
		put(f, at + IGB_RDBAL, (uint32_t)RING(i, tx));
		put(f, at + IGB_RDLEN, DESCS * 16);
		if (!tx)
			put(f, at + IGB_SRRCTL, 2 | IGB_RX_ADVANCED << 25);
		put(f, at + IGB_RXDCTL, IGB_DCTL_ENABLE);
	}
	put(f, VF_RXQ + IGB_RDT, DESCS - 1);
}

static void message(struct host *h, struct input *in)
{
	struct pci_func *f = function(h, take(in, 1));
	unsigned int n = take(in, 1) % 17;

	put(f, IGB_VF_MEM, take(in, 1) & 7);
	for (unsigned int i = 0; i < n; i++)
		put(f, IGB_VF_MEM + 4 * i, take(in, 4));
	put(f, IGB_V2P, 1);
}

static void frame(struct host *h, struct input *in)
{
	unsigned int i = take(in, 1) % VFS, n = take(in, 1) % DESCS;
	uint8_t *p = host_ptr(h, DATA(i * 32 + 16 + n));

	frame_make(p, 100, n);
	p[0] = take(in, 1);
	p[5] = take(in, 1);
	put(function(h, i), VF_TXQ + IGB_TDT, take(in, 1) % (DESCS + 1));
}

static void descriptor(struct host *h, struct input *in)
{
	union igb_desc d = {.q = {DATA(take(in, 1)), take(in, 8)}};

	memcpy(host_ptr(h, RING(take(in, 1) % VFS, take(in, 1) % 2) + take(in, 1) % DESCS * sizeof(d)), &d, sizeof(d));
}

static void any_access(struct host *h, struct input *in)
{
	struct pci_func *f = function(h, take(in, 1));
	unsigned int len = 1 << take(in, 1) % 4;
	uint64_t off = take(in, 2) % (IGB_VF_BAR_SIZE - len + 1), v;

	pci_bar_write(f, 0, off, len, take(in, 8));
	pci_bar_read(f, 0, off, len, &v);
}

/* What the card's driver has of its functions: any of it, or a set-up that makes sense, in which some of it is any. */
static void govern(struct host *h, struct input *in)
{
	static const struct {
		uint32_t off, n;
	} regs[] = {{IGB_VF_MEM, 128}, {IGB_P2V, 8},   {IGB_MBVFICR, 5}, {IGB_DTXSWC, 1},   {IGB_VMVIR, 8},
		    {IGB_VT_CTL, 1},   {IGB_VMOLR, 8}, {IGB_RPLOLR, 1},	 {IGB_VLVF, 32},    {IGB_MRQC, 1},
		    {IGB_RAL, 32},     {IGB_UTA, 128}, {IGB_RETA, 32},	 {IGB_CTRL_EXT, 1}, {IGB_WVBR, 1},
		    {IGB_IMS, 1},      {IGB_RCTL, 1}};
	unsigned int i = take(in, 1) % (ARRAY_SIZE(regs) + 1);

	if (i < ARRAY_SIZE(regs)) {
		uint32_t off = regs[i].off + 4 * (uint32_t)(take(in, 1) % regs[i].n);

		wr(h, off, (uint32_t)take(in, 4));
		rd(h, off);
		return;
	}
	wr(h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_BAM | IGB_RCTL_UPE | IGB_RCTL_MPE | IGB_RCTL_SECRC);
	wr(h, IGB_MRQC, IGB_MRQC_VMDQ | (uint32_t)take(in, 1) << 1);
	wr(h, IGB_VT_CTL, (uint32_t)take(in, 1) << 7 | IGB_VT_CTL_REPLICATION);
	wr(h, IGB_DTXSWC, IGB_DTXSWC_LOOPBACK | (uint32_t)take(in, 3));
	for (unsigned int n = 0; n < 3; n++)
		wr(h, IGB_VMOLR + 4 * n, (uint32_t)take(in, 4));
	wr(h, IGB_VFRE, 0xff);
	wr(h, IGB_VFTE, 0xff);
}

static void step(struct host *h, struct input *in)
{
	switch (take(in, 1) % 9) {
	case 8:
		govern(h, in);
		break;
	case 0:
		any_access(h, in);
		break;
	case 1:
	case 2:
		message(h, in);
		break;
	case 3:
	case 4:
		frame(h, in);
		break;
	case 5:
		descriptor(h, in);
		break;
	case 6:
		if (take(in, 1) == 255)
			pci_sriov_set(h->m.f, take(in, 1) % (VFS + 1));
		else if (take(in, 1) < 16)
			pci_func_reset(take(in, 1) & 1 ? h->m.f : function(h, take(in, 1)));
		else
			wr(h, IGB_CTRL_EXT, (uint32_t)take(in, 1) << 24);
		pci_cfg_write(h->m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		break;
	default:
		loop_step(h->m.loop, false);
	}
}

static struct host *host_get(void)
{
	static struct host h;

	if (h.m.f)
		return &h;
	host_open_net(&h, "loopback", "vfs=2");
	for (unsigned int i = 0; i < VFS; i++) {
		pci_func_place(function(&h, i), 0, pci_vf_bdf(h.m.f, i), 2 + i);
		dma_dev_attach(function(&h, i)->dma, h.m.domain);
	}
	return &h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct host *h = host_get();

	link_up(h);
	for (unsigned int i = 0; i < VFS; i++)
		start(h, i);
	for (unsigned int i = 0; in.n && i < 300; i++)
		step(h, &in);
	host_settle(h);
	for (unsigned int i = 0; i < VFS; i++)
		pci_func_reset(function(h, i));
	pci_func_reset(h->m.f);
	pci_cfg_write(h->m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_sriov_set(h->m.f, VFS);
	return 0;
}
