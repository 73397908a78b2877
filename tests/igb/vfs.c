/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/pci_regs.h>
#include <string.h>

#include "pci/sriov.h"
#include "vfs.h"

uint32_t vrd(struct vf *v, uint32_t off)
{
	uint64_t val;

	CHECK(!pci_bar_read(v->f, 0, off, 4, &val));
	return (uint32_t)val;
}

void vwr(struct vf *v, uint32_t off, uint32_t val)
{
	CHECK(!pci_bar_write(v->f, 0, off, 4, val));
}

static void vf_msix(struct pci_irq_sink *s, unsigned int vector)
{
	container_of(s, struct vf, sink)->irqs[vector]++;
}

void vf_plug(struct vf *v, struct host *h, unsigned int i)
{
	*v = (struct vf){.h = h, .f = h->m.f->sriov->vf[i], .sink.msix = vf_msix};
	pci_func_place(v->f, 0, pci_vf_bdf(h->m.f, i), 2 + i);
	dma_dev_attach(v->f->dma, h->m.domain);
	pci_cfg_write(v->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	v->f->sink = &v->sink;
	pci_msix_enable(v->f, true);
	for (unsigned int n = 0; n < IGB_VF_VECTORS; n++)
		pci_msix_set_entry_masked(v->f, n, false);
}

void vf_queue(struct vf *v, unsigned int q)
{
	struct vf_rings *r = &v->queue[q];

	*r = (struct vf_rings){.rx = host_alloc(v->h, DESCS * 16, 128), .tx = host_alloc(v->h, DESCS * 16, 128)};
	r->data = host_alloc(v->h, DESCS * BUFFER, 64);
	memset(host_ptr(v->h, r->rx), 0, DESCS * 16);
	for (unsigned int i = 0; i < DESCS; i++)
		((union igb_desc *)host_ptr(v->h, r->rx))[i].q[0] = r->data + i * BUFFER;
	for (unsigned int tx = 0; tx < 2; tx++) {
		uint32_t at = (tx ? VF_TXQ : VF_RXQ) + 0x100 * q;

		vwr(v, at + IGB_RDBAL, (uint32_t)(tx ? r->tx : r->rx));
		vwr(v, at + IGB_RDLEN, DESCS * 16);
		if (!tx)
			vwr(v, at + IGB_SRRCTL, BUFFER / 1024 | IGB_RX_ADVANCED << 25);
		vwr(v, at + IGB_RXDCTL, IGB_DCTL_ENABLE);
	}
	vwr(v, VF_RXQ + 0x100 * q + IGB_RDT, DESCS - 1);
}

void vf_rings(struct vf *v)
{
	vf_queue(v, 0);
}

void tx_bytes(struct vf *v, unsigned int q, const uint8_t *bytes, size_t len)
{
	struct vf_rings *r = &v->queue[q];
	union igb_desc *t = (union igb_desc *)host_ptr(v->h, r->tx) + r->tx_tail;
	uint64_t at = host_alloc(v->h, len, 8);

	memcpy(host_ptr(v->h, at), bytes, len);
	t->q[0] = at;
	t->d[2] = CMD_ONE | (uint32_t)len;
	t->d[3] = (uint32_t)len << 14;
	r->tx_tail = (r->tx_tail + 1) % DESCS;
	vwr(v, VF_TXQ + 0x100 * q + IGB_TDT, r->tx_tail);
	host_settle(v->h);
}

void tx(struct vf *v, const char *dst, size_t len)
{
	uint8_t p[2048];

	frame_make(p, len, 3);
	CHECK(sscanf(dst, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", p, p + 1, p + 2, p + 3, p + 4, p + 5) == 6);
	tx_bytes(v, 0, p, len);
}

unsigned int arrived_on(struct vf *v, unsigned int q)
{
	struct vf_rings *r = &v->queue[q];
	union igb_desc *t = (union igb_desc *)host_ptr(v->h, r->rx);
	unsigned int n = 0;

	for (; t[r->rx_seen].d[2] & IGB_RXD_DD; n++) {
		r->last = t[r->rx_seen];
		t[r->rx_seen].q[0] = r->data + r->rx_seen * BUFFER;
		t[r->rx_seen].q[1] = 0;
		r->rx_seen = (r->rx_seen + 1) % DESCS;
		vwr(v, VF_RXQ + 0x100 * q + IGB_RDT, (r->rx_seen + DESCS - 1) % DESCS);
	}
	return n;
}

unsigned int arrived(struct vf *v)
{
	return arrived_on(v, 0);
}

unsigned int card_arrived(struct ring *rx)
{
	unsigned int n = 0;

	while (ring_seen(rx)) {
		rx_give(rx, 1);
		n++;
	}
	return n;
}
