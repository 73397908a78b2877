/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The card's driver as the host of its virtual functions: mailboxes, who may send and receive, pools, and resets on
 * either side. Neither of the two believes the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "devices/igb/igb.h"
#include "pci/migrate.h"
#include "vfs.h"

#define VFS	  2
#define MINE	  VFS /* the card's own pool, and queue */
#define MAC0	  "02:00:00:00:00:aa"
#define MAC1	  "02:00:00:00:00:bb"
#define NOBODY	  "02:00:00:00:00:77"
#define GROUP	  "01:00:5e:00:00:01"
#define EVERYBODY "ff:ff:ff:ff:ff:ff"
#define RSTI	  0x40u
#define PFU	  0x08u
#define P2V_STS	  0x01u
#define P2V_ACK	  0x02u
#define P2V_RVFU  0x10u
#define OPEN	  (IGB_VMOLR_AUPE | IGB_VMOLR_BAM | 0x2600)

static struct host h;
static struct ring pf_rx;
static struct vf vf[VFS];

static void rar(unsigned int i, uint8_t last, uint32_t pools)
{
	wr(&h, IGB_RAL + 8 * i, 2);
	wr(&h, IGB_RAL + 8 * i + 4, (uint32_t)last << 8 | IGB_RAH_AV | pools << 18);
}

/* As drivers set it up: pools 0 and 1 are functions', 2 is the card's and the default. */
static void govern(void)
{
	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) | IGB_CTRL_RST);
	link_up(&h);
	rx_open(&pf_rx, &h, MINE, 16, 2);
	wr(&h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_BAM | IGB_RCTL_MPE | IGB_RCTL_SECRC | IGB_RCTL_VFE | IGB_RCTL_UPE);
	for (unsigned int i = 0; i < 128; i++)
		wr(&h, IGB_VFTA + 4 * i, ~0u);
	wr(&h, IGB_VT_CTL, MINE << 7 | IGB_VT_CTL_REPLICATION);
	wr(&h, IGB_MRQC, IGB_MRQC_VMDQ);
	wr(&h, IGB_DTXSWC, IGB_DTXSWC_LOOPBACK);
	rar(0, 0x01, BIT(MINE));
	rar(1, 0xaa, BIT(0));
	rar(2, 0xbb, BIT(1));
	for (unsigned int i = 0; i <= MINE; i++)
		wr(&h, IGB_VMOLR + 4 * i, OPEN);
	wr(&h, IGB_IMS, IGB_ICR_VMMB);
	wr(&h, IGB_VFRE, 7);
	wr(&h, IGB_VFTE, 7);
	wr(&h, IGB_CTRL_EXT, IGB_CTRL_EXT_PFRSTD);
	for (unsigned int i = 0; i < VFS; i++)
		vf_rings(&vf[i]);
	host_settle(&h);
	rd(&h, IGB_ICR);
	h.far.frames = 0;
}

static int setup(void **state)
{
	host_open(&h, "vfs=2");
	for (unsigned int i = 0; i < VFS; i++)
		vf_plug(&vf[i], &h, i);
	host_settle(&h);
	govern();
	return 0;
}

static int teardown(void **state)
{
	for (unsigned int i = 0; i < VFS; i++)
		vf[i].f->ops->destroy(vf[i].f);
	host_close(&h);
	return 0;
}

static void everywhere(unsigned int first, unsigned int second, unsigned int card, unsigned int cable)
{
	assert_int_equal(arrived(&vf[0]), first);
	assert_int_equal(arrived(&vf[1]), second);
	assert_int_equal(card_arrived(&pf_rx), card);
	assert_int_equal(h.far.frames, cable);
	h.far.frames = 0;
}

/* ---- the mailbox ---- */

static void requests(void **state)
{
	struct vf *v = &vf[1];

	assert_int_equal(vrd(v, IGB_V2P), RSTD);
	vwr(v, IGB_V2P, VFU);
	assert_int_equal(vrd(v, IGB_V2P), VFU);
	assert_int_equal(rd(&h, IGB_P2V + 4), VFU);
	assert_int_equal(rd(&h, IGB_P2V), 0);
	wr(&h, IGB_P2V + 4, PFU);
	assert_int_equal(rd(&h, IGB_P2V + 4), VFU); /* not while the function has it */
	vwr(v, IGB_VF_MEM + 60, 0x12345678);
	vwr(v, IGB_V2P, REQ);
	assert_int_equal(rd(&h, IGB_MBVFICR), IGB_MBVFICR_REQ(1));
	assert_true(rd(&h, IGB_ICR) & IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_VF_MEM + 64 + 60), 0x12345678);
	assert_int_equal(rd(&h, IGB_VF_MEM + 60), 0);
	wr(&h, IGB_MBVFICR, ~0u);
	assert_int_equal(rd(&h, IGB_MBVFICR), 0);
	assert_int_equal(vrd(v, IGB_V2P), 0); /* nobody answers but the driver */
	wr(&h, IGB_P2V + 4, PFU);
	assert_int_equal(rd(&h, IGB_P2V + 4), PFU);
	vwr(v, IGB_V2P, VFU);
	assert_int_equal(vrd(v, IGB_V2P), PFU);
	wr(&h, IGB_VF_MEM + 64, 0xabcdef);
	wr(&h, IGB_P2V + 4, P2V_STS | P2V_ACK);
	assert_int_equal(vrd(v, IGB_V2P), PFSTS | PFACK);
	assert_int_equal(vrd(v, IGB_V2P), 0);
	assert_int_equal(vrd(v, IGB_VF_MEM), 0xabcdef);
	wr(&h, IGB_MBVFIMR, 0);
	vwr(v, IGB_V2P, ACKED);
	assert_int_equal(rd(&h, IGB_MBVFICR), IGB_MBVFICR_ACK(1));
	assert_false(rd(&h, IGB_ICR) & IGB_ICR_VMMB);
}

/* A driver of a function tries eleven times, and gets it; but not before the other one could have answered. */
static void patience(void **state)
{
	struct vf *v = &vf[0];
	unsigned int asked = 0;

	vrd(v, IGB_V2P);
	vwr(v, IGB_V2P, ACKED);
	do {
		vwr(v, IGB_V2P, VFU);
		asked++;
	} while (!(vrd(v, IGB_V2P) & VFU));
	assert_in_range(asked, 5, 10);
	vwr(v, IGB_V2P, ACKED);
	wr(&h, IGB_MBVFICR, ~0u);
	for (asked = 0; !(vrd(v, IGB_V2P) & VFU); asked++)
		vwr(v, IGB_V2P, VFU);
	assert_in_range(asked, 2, 4);
	vwr(v, IGB_V2P, ACKED);
	wr(&h, IGB_P2V, P2V_STS);
	vwr(v, IGB_V2P, VFU);
	assert_true(vrd(v, IGB_V2P) & VFU);
	wr(&h, IGB_P2V, P2V_RVFU | PFU);
	assert_int_equal(rd(&h, IGB_P2V), PFU);
}

static void interrupt(void **state)
{
	vwr(&vf[0], IGB_VF_IVAR_MISC, IGB_IVAR_VALID | 1);
	vwr(&vf[0], IGB_EIMS, 2);
	wr(&h, IGB_P2V, P2V_STS);
	assert_int_equal(vf[0].irqs[1], 1);
	assert_int_equal(vf[1].irqs[1], 0);
}

/* ---- who may do what ---- */

static void enables(void **state)
{
	wr(&h, IGB_VFTE, BIT(MINE));
	wr(&h, IGB_VFRE, BIT(MINE) | BIT(0));
	tx(&vf[0], NOBODY, 100);
	tx(&vf[0], MAC1, 100);
	everywhere(0, 0, 0, 0);
	wr(&h, IGB_VFTE, 7);
	host_settle(&h);
	everywhere(0, 0, 0, 1);
	far_send_to(&h, MAC1, -1, 100);
	far_send_to(&h, MAC0, -1, 100);
	everywhere(1, 0, 0, 0);
	wr(&h, IGB_VFRE, 7);
	far_send_to(&h, EVERYBODY, -1, 100);
	everywhere(1, 1, 1, 0);
}

static void addresses(void **state)
{
	far_send_to(&h, MAC0, -1, 100);
	everywhere(1, 0, 0, 0);
	far_send_to(&h, MAC1, -1, 100);
	everywhere(0, 1, 0, 0);
	far_send_to(&h, NOBODY, -1, 100); /* passes as RCTL.UPE is set; nobody's, so the default's */
	everywhere(0, 0, 1, 0);
	wr(&h, IGB_VT_CTL, rd(&h, IGB_VT_CTL) | IGB_VT_CTL_NO_DEFAULT);
	far_send_to(&h, NOBODY, -1, 100);
	everywhere(0, 0, 0, 0);
	rar(1, 0xaa, BIT(0) | BIT(1));
	far_send_to(&h, MAC0, -1, 100);
	everywhere(1, 1, 0, 0);
	wr(&h, IGB_VMOLR, OPEN & ~IGB_VMOLR_BAM);
	far_send_to(&h, EVERYBODY, -1, 100);
	everywhere(0, 1, 1, 0);
	far_send_to(&h, GROUP, -1, 100);
	everywhere(0, 0, 0, 0);
	wr(&h, IGB_VMOLR, OPEN | IGB_VMOLR_ROMPE);
	wr(&h, IGB_MTA, BIT(16)); /* (0x00 | 0x01 << 8) >> 4 */
	far_send_to(&h, GROUP, -1, 100);
	everywhere(1, 0, 0, 0);
	wr(&h, IGB_VMOLR + 4, OPEN | IGB_VMOLR_MPME);
	far_send_to(&h, GROUP, -1, 100);
	everywhere(1, 1, 0, 0);
	wr(&h, IGB_VMOLR + 4, OPEN | IGB_VMOLR_ROPE);
	for (unsigned int i = 0; i < 128; i++)
		wr(&h, IGB_UTA + 4 * i, ~0u);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) & ~IGB_RCTL_UPE);
	far_send_to(&h, NOBODY, -1, 100);
	everywhere(0, 1, 0, 0);
	wr(&h, IGB_VT_CTL, MINE << 7); /* no replication */
	far_send_to(&h, EVERYBODY, -1, 100);
	everywhere(0, 0, 1, 0);
	far_send_to(&h, MAC0, -1, 100);
	everywhere(1, 0, 0, 0);
}

static void vlans(void **state)
{
	far_send_to(&h, MAC0, 5, 100);
	everywhere(0, 0, 1, 0); /* not its group's: the default's */
	wr(&h, IGB_VLVF + 4 * 31, 5 | BIT(12) | IGB_VLVF_ENABLE);
	far_send_to(&h, MAC0, 5, 100);
	everywhere(1, 0, 0, 0);
	far_send_to(&h, MAC1, 5, 100);
	everywhere(0, 0, 1, 0);
	wr(&h, IGB_VMOLR + 4, OPEN & ~IGB_VMOLR_AUPE);
	far_send_to(&h, MAC1, -1, 100);
	everywhere(0, 0, 1, 0);
	far_send_to(&h, EVERYBODY, 5, 100);
	everywhere(1, 0, 0, 0);
	wr(&h, IGB_VFTA, 0);
	far_send_to(&h, MAC0, 5, 100);
	everywhere(0, 0, 0, 0);
}

/* ---- the switch ---- */

static void local(void **state)
{
	tx(&vf[0], MAC1, 100);
	everywhere(0, 1, 0, 0);
	tx(&vf[0], HOST_MAC, 100);
	everywhere(0, 0, 1, 0);
	tx(&vf[1], EVERYBODY, 100);
	everywhere(1, 0, 1, 1);
	tx(&vf[0], NOBODY, 100);
	everywhere(0, 0, 0, 1);
	tx(&vf[0], MAC0, 100);
	everywhere(0, 0, 0, 0);
	wr(&h, IGB_DTXSWC, IGB_DTXSWC_LOOPBACK | BIT(16));
	tx(&vf[0], MAC0, 100);
	everywhere(1, 0, 0, 0);
	wr(&h, IGB_DTXSWC, 0);
	tx(&vf[0], MAC1, 100);
	tx(&vf[0], EVERYBODY, 100);
	everywhere(0, 0, 0, 2);
	wr(&h, IGB_DTXSWC, IGB_DTXSWC_LOOPBACK);
	wr(&h, IGB_MRQC, 0);
	tx(&vf[0], MAC1, 100);
	everywhere(0, 0, 0, 1);
}

static void frame(uint8_t *p, const char *dst, const char *src, int vlan)
{
	frame_make(p, 100, 1);
	CHECK(sscanf(dst, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", p, p + 1, p + 2, p + 3, p + 4, p + 5) == 6);
	CHECK(sscanf(src, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", p + 6, p + 7, p + 8, p + 9, p + 10, p + 11) == 6);
	if (vlan >= 0)
		memcpy(p + 12, (uint8_t[]){0x81, 0, (uint8_t)(vlan >> 8), (uint8_t)vlan}, 4);
}

static void spoofing(void **state)
{
	uint8_t p[100];

	vf_queue(&vf[1], 1);
	wr(&h, IGB_DTXSWC, IGB_DTXSWC_LOOPBACK | BIT(1) | BIT(9));
	frame(p, NOBODY, MAC0, -1);
	tx_bytes(&vf[1], 1, p, 100);
	everywhere(0, 0, 0, 0);
	assert_int_equal(rd(&h, IGB_WVBR), BIT(9));
	assert_int_equal(rd(&h, IGB_WVBR), 0);
	frame(p, NOBODY, MAC1, -1);
	tx_bytes(&vf[1], 0, p, 100);
	everywhere(0, 0, 0, 1);
	frame(p, NOBODY, MAC1, 7);
	tx_bytes(&vf[1], 0, p, 100);
	everywhere(0, 0, 0, 0);
	assert_int_equal(rd(&h, IGB_WVBR), BIT(1));
	wr(&h, IGB_VLVF, 7 | BIT(13) | IGB_VLVF_ENABLE);
	tx_bytes(&vf[1], 0, p, 100);
	everywhere(0, 0, 0, 1);
	wr(&h, IGB_VLVF, 7 | BIT(13) | IGB_VLVF_ENABLE | IGB_VLVF_LOCAL);
	tx_bytes(&vf[1], 0, p, 100);
	everywhere(0, 0, 0, 0);
	frame(p, NOBODY, MAC0, 7);
	tx_bytes(&vf[0], 0, p, 100); /* nobody asked about this one */
	everywhere(0, 0, 0, 0);
	assert_int_equal(rd(&h, IGB_WVBR), 0);
}

static void offloads(void **state)
{
	wr(&h, IGB_VLVF, 5 | 7 << 12 | IGB_VLVF_ENABLE);
	wr(&h, IGB_VMOLR, OPEN | IGB_VMOLR_STRVLAN);
	far_send_to(&h, MAC0, 5, 100);
	everywhere(1, 0, 0, 0);
	assert_int_equal(vf[0].queue[0].last.d[3], 96 | 5 << 16);
	far_send_to(&h, EVERYBODY, 5, 100);
	everywhere(1, 1, 1, 0);
	assert_int_equal(vf[0].queue[0].last.d[3], 100); /* a copy: as RPLOLR has it */
	wr(&h, IGB_RPLOLR, IGB_VMOLR_STRVLAN);
	far_send_to(&h, EVERYBODY, 5, 100);
	everywhere(1, 1, 1, 0);
	assert_int_equal(vf[1].queue[0].last.d[3], 96 | 5 << 16);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) & ~IGB_RCTL_SECRC);
	far_send_to(&h, MAC1, -1, 100);
	everywhere(0, 1, 0, 0);
	assert_int_equal(vf[1].queue[0].last.d[3], 104);
	wr(&h, IGB_VMOLR + 4, OPEN | IGB_VMOLR_STRCRC);
	far_send_to(&h, MAC1, -1, 100);
	everywhere(0, 1, 0, 0);
	assert_int_equal(vf[1].queue[0].last.d[3], 100);
	wr(&h, IGB_RCTL, rd(&h, IGB_RCTL) | IGB_RCTL_LPE);
	far_send_to(&h, MAC0, -1, 1600);
	everywhere(0, 0, 0, 0);
	wr(&h, IGB_VMOLR, (OPEN & ~0x3fffu) | IGB_VMOLR_LPE | 1604);
	far_send_to(&h, MAC0, -1, 1600);
	everywhere(1, 0, 0, 0);
	far_send_to(&h, MAC0, -1, 1601);
	everywhere(0, 0, 0, 0);
}

static void tags(void **state)
{
	wr(&h, IGB_VMVIR, IGB_VMVIR_ALWAYS | 0x2005);
	tx(&vf[0], NOBODY, 100);
	everywhere(0, 0, 0, 1);
	assert_int_equal(h.far.len, 104);
	assert_memory_equal(h.far.frame + 12, "\x81\x00\x20\x05", 4);
	tx(&vf[1], NOBODY, 100);
	everywhere(0, 0, 0, 1);
	assert_int_equal(h.far.len, 100);
}

/* A UDP packet of flow n. */
static void flow(uint8_t *p, unsigned int n)
{
	static const uint8_t head[] = {0x02, 0, 0, 0, 0, 0xbb, 0x02, 0, 0, 0,  0, 0xaa, 8, 0,  0x45, 0, 0,
				       86,   0, 0, 0, 0, 64,   17,   0, 0, 10, 0, 0,	1, 10, 0,    0, 2};

	memset(p, 0, 100);
	memcpy(p, head, sizeof(head));
	p[29] = (uint8_t)n;
}

static void two_queues(bool governed)
{
	unsigned int got[2] = {0};
	uint8_t p[100];

	vf_queue(&vf[0], 1);
	vf_queue(&vf[1], 1);
	for (unsigned int i = 0; i < 24; i++) {
		flow(p, i);
		if (!governed)
			p[5] = 0x03;
		tx_bytes(&vf[0], i & 1, p, 100);
		got[0] += arrived_on(&vf[1], 0);
		got[1] += arrived_on(&vf[1], 1);
	}
	assert_int_equal(got[0] + got[1], 24);
	assert_in_range(got[0], 4, 20);
	assert_int_equal(vrd(&vf[0], 0x0f14), 24);
	assert_int_equal(vrd(&vf[1], 0x0f10), 24);
}

static void spreading(void **state)
{
	wr(&h, IGB_MRQC, IGB_MRQC_VMDQ_RSS | 0x00ff0000);
	for (unsigned int i = 0; i < 32; i++)
		wr(&h, IGB_RETA + 4 * i, 0x08000800);
	for (unsigned int i = 0; i < 10; i++)
		wr(&h, IGB_RSSRK + 4 * i, 0x6d5a0000 + i * 0x1234567);
	wr(&h, IGB_VMOLR + 4, OPEN | IGB_VMOLR_RSSE);
	two_queues(true);
	wr(&h, IGB_VMOLR + 4, OPEN);
	for (unsigned int i = 0; i < 8; i++) {
		uint8_t p[100];

		flow(p, i);
		tx_bytes(&vf[0], 0, p, 100);
		assert_int_equal(arrived_on(&vf[1], 0), 1);
	}
}

static void spreading_by_the_card(void **state)
{
	pci_func_reset(h.m.f);
	host_settle(&h);
	for (unsigned int i = 0; i < VFS; i++)
		vf_rings(&vf[i]);
	two_queues(false);
	/* One that has one queue gets all there. */
	vwr(&vf[1], VF_RXQ + 0x100 + IGB_RXDCTL, 0);
	for (unsigned int i = 0; i < 8; i++) {
		uint8_t p[100];

		flow(p, i);
		p[5] = 0x03;
		tx_bytes(&vf[0], 0, p, 100);
		assert_int_equal(arrived_on(&vf[1], 0), 1);
	}
}

/* Each queue and direction has the vector that VTIVAR says. */
static void vectors(void **state)
{
	uint8_t p[100];

	vf_queue(&vf[0], 1);
	vwr(&vf[0], IGB_IVAR, 0x81 << 8 | 0x82u << 24 | 0x80);
	vwr(&vf[0], IGB_EIAC, 7);
	vwr(&vf[0], IGB_EIMS, 7);
	flow(p, 1);
	tx_bytes(&vf[0], 0, p, 100);
	assert_int_equal(vf[0].irqs[1], 1);
	tx_bytes(&vf[0], 1, p, 100);
	assert_int_equal(vf[0].irqs[2], 1);
	assert_int_equal(vf[0].irqs[1], 1);
	far_send_to(&h, MAC0, -1, 100);
	assert_int_equal(vf[0].irqs[0], 1);
	vwr(&vf[0], IGB_EIMC, 4);
	tx_bytes(&vf[0], 1, p, 100);
	assert_int_equal(vf[0].irqs[2], 1);
	assert_int_equal(vrd(&vf[0], IGB_EICR), 4);
}

/* ---- resets ---- */

static void the_cards(void **state)
{
	vrd(&vf[0], IGB_V2P);
	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) | IGB_CTRL_RST);
	assert_int_equal(vrd(&vf[0], IGB_V2P), RSTI);
	assert_int_equal(vrd(&vf[0], IGB_V2P), RSTI);
	assert_int_equal(vrd(&vf[0], VF_RXQ + IGB_RXDCTL), 0);
	assert_int_equal(rd(&h, IGB_VFRE) | rd(&h, IGB_VFTE), 0);
	vwr(&vf[0], IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(vrd(&vf[0], IGB_V2P), RSTI);
	vwr(&vf[0], IGB_VF_MEM, 1);
	vwr(&vf[0], IGB_V2P, REQ);
	assert_int_equal(vrd(&vf[0], IGB_V2P), RSTI); /* the card itself does not answer meanwhile */
	wr(&h, IGB_CTRL_EXT, IGB_CTRL_EXT_PFRSTD);
	assert_int_equal(vrd(&vf[0], IGB_V2P), RSTD);
	assert_int_equal(vrd(&vf[0], IGB_V2P), 0);
	govern();
	tx(&vf[0], MAC1, 100);
	everywhere(0, 1, 0, 0);
}

static void a_functions(void **state)
{
	tx(&vf[0], MAC1, 100);
	everywhere(0, 1, 0, 0);
	pci_func_reset(vf[1].f);
	assert_int_equal(rd(&h, IGB_VFLRE), BIT(1));
	assert_true(rd(&h, IGB_ICR) & IGB_ICR_VMMB);
	assert_int_equal(rd(&h, IGB_VFRE), 5);
	assert_int_equal(rd(&h, IGB_VFTE), 5);
	wr(&h, IGB_VFLRE, BIT(1));
	assert_int_equal(rd(&h, IGB_VFLRE), 0);
	tx(&vf[0], MAC1, 100);
	everywhere(0, 0, 0, 0);
	tx(&vf[0], HOST_MAC, 100);
	everywhere(0, 0, 1, 0);
	pci_cfg_write(vf[1].f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	vwr(&vf[0], IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(rd(&h, IGB_VFLRE), BIT(0));
	wr(&h, IGB_VFRE, 7);
	wr(&h, IGB_VFTE, 7);
	vf_rings(&vf[1]);
	tx(&vf[1], HOST_MAC, 100);
	everywhere(0, 0, 1, 0);
}

/* In the midst of traffic from the other one, the card, and the cable. */
static void under_traffic(void **state)
{
	for (unsigned int i = 0; i < 40; i++) {
		tx(&vf[0], i & 1 ? MAC1 : EVERYBODY, 100);
		far_send_to(&h, MAC1, -1, 100);
		if (i % 3 == 0) {
			pci_func_reset(vf[1].f);
			pci_cfg_write(vf[1].f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
			wr(&h, IGB_VFRE, 7);
			wr(&h, IGB_VFTE, 7);
			vf_rings(&vf[1]);
		}
		if (i == 20)
			govern();
		card_arrived(&pf_rx);
		arrived(&vf[0]);
		arrived(&vf[1]);
	}
	h.far.frames = 0;
	tx(&vf[0], MAC1, 100);
	everywhere(0, 1, 0, 0);
	assert_int_equal(h.m.faults, 0);
	assert_int_equal(h.misuses, 0);
}

/* Between two owners of the card its functions work by themselves, and are told. */
static void on_their_own(void **state)
{
	vwr(&vf[0], IGB_VF_IVAR_MISC, IGB_IVAR_VALID | 1);
	pci_func_reset(h.m.f);
	host_settle(&h);
	assert_int_equal(vrd(&vf[0], IGB_V2P), RSTD | PFSTS);
	assert_int_equal(vrd(&vf[0], IGB_VF_MEM), 0x100);
	assert_int_equal(vrd(&vf[0], IGB_STATUS) & IGB_STATUS_LU, IGB_STATUS_LU);
	for (unsigned int i = 0; i < VFS; i++)
		vf_rings(&vf[i]);
	tx(&vf[0], "02:00:00:00:00:03", 100);
	assert_int_equal(arrived(&vf[1]), 1);
	vwr(&vf[0], IGB_VF_MEM, 1);
	vwr(&vf[0], IGB_V2P, REQ);
	assert_int_equal(vrd(&vf[0], IGB_V2P), PFSTS | PFACK);
	/* A driver that knows nothing of them. */
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	link_up(&h);
	wr(&h, IGB_CTRL_EXT, IGB_CTRL_EXT_DRV_LOAD | IGB_CTRL_EXT_PFRSTD);
	wr(&h, IGB_VFRE, 0);
	wr(&h, IGB_P2V, PFU);
	assert_int_equal(rd(&h, IGB_P2V), 0);
	wr(&h, IGB_VF_MEM, 7);
	assert_int_equal(rd(&h, IGB_VF_MEM), 0);
	assert_int_equal(vrd(&vf[0], IGB_V2P), 0);
	tx(&vf[0], "02:00:00:00:00:03", 100);
	assert_int_equal(arrived(&vf[1]), 1);
}

/* ---- neither is believed ---- */

static void hostile_function(void **state)
{
	static const uint32_t values[] = {~0u, 0x55555555, 0, 0x80000001, IGB_CTRL_RST};

	for (unsigned int i = 0; i < ARRAY_SIZE(values); i++)
		for (uint32_t off = 0; off < IGB_VF_BAR_SIZE; off += 4) {
			vwr(&vf[0], off, values[i]);
			vrd(&vf[0], off);
		}
	host_settle(&h);
	rd(&h, IGB_MBVFICR);
	far_send_to(&h, MAC1, -1, 100);
	far_send_to(&h, HOST_MAC, -1, 100);
	assert_int_equal(arrived(&vf[1]), 1);
	assert_int_equal(card_arrived(&pf_rx), 1);
	assert_int_equal(rd(&h, IGB_VMOLR + 4), OPEN);
	assert_int_equal(rd(&h, IGB_P2V + 4), 0);
}

static void hostile_driver(void **state)
{
	srand(1);
	for (unsigned int i = 0; i < 20000; i++) {
		static const uint32_t places[] = {IGB_VF_MEM, IGB_P2V,	  IGB_MBVFICR, IGB_DTXSWC,
						  IGB_VMVIR,  IGB_VT_CTL, IGB_VMOLR,   IGB_VLVF,
						  IGB_MRQC,   IGB_RAL,	  IGB_UTA,     IGB_CTRL_EXT};
		uint32_t off = places[(unsigned int)rand() % ARRAY_SIZE(places)] + 4 * ((unsigned int)rand() % 40);

		wr(&h, off % IGB_BAR_SIZE, (uint32_t)rand() * 3u);
		rd(&h, off % IGB_BAR_SIZE);
		if (i % 64)
			continue;
		far_send_to(&h, i & 64 ? MAC0 : GROUP, i & 128 ? 5 : -1, 100);
		vwr(&vf[1], VF_TXQ + IGB_TDT, i / 64 % DESCS);
		vwr(&vf[1], IGB_V2P, i / 64 % 8);
		host_settle(&h);
	}
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	host_settle(&h);
	govern();
	tx(&vf[0], MAC1, 100);
	everywhere(0, 1, 0, 0);
}

/* ---- migration ---- */

static void migration(void **state)
{
	static uint8_t blob[1 << 16];
	struct state_out o;

	assert_int_equal(pci_quiesce(vf[0].f), -EOPNOTSUPP);
	pci_run(vf[0].f);
	assert_int_equal(pci_quiesce(h.m.f), -EOPNOTSUPP);
	pci_run(h.m.f);
	pci_func_reset(h.m.f);
	host_settle(&h);
	vf_rings(&vf[0]);
	vf_rings(&vf[1]);
	/* The first one's address and rings go to the second one, where its memory is already. */
	vwr(&vf[0], IGB_VF_MEM, 1);
	vwr(&vf[0], IGB_V2P, REQ);
	vrd(&vf[0], IGB_V2P);
	assert_int_equal(pci_quiesce(vf[0].f), 0);
	pci_stop(vf[0].f);
	state_out_init(&o, false);
	pci_save_identity(vf[0].f, &o);
	assert_int_equal(pci_save(vf[0].f, &o), 0);
	assert_in_range(o.len, 100, sizeof(blob));
	memcpy(blob, o.buf, o.len);
	assert_int_equal(pci_quiesce(vf[1].f), 0);
	pci_stop(vf[1].f);
	assert_int_equal(pci_load(vf[1].f, blob, o.len - 1), -EINVAL);
	assert_int_equal(pci_load(vf[1].f, blob, o.len), 0);
	state_out_fini(&o);
	pci_run(vf[1].f);
	vf[1].queue[0] = vf[0].queue[0];
	assert_int_equal(vrd(&vf[1], IGB_VF_MEM), 1 | ACK);
	vwr(&vf[1], IGB_VF_MEM, 2);
	vwr(&vf[1], IGB_VF_MEM + 4, 0x33000002);
	vwr(&vf[1], IGB_VF_MEM + 8, 0x4433);
	vwr(&vf[1], IGB_V2P, REQ);
	assert_int_equal(vrd(&vf[1], IGB_VF_MEM), 2 | ACK | CTS);
	far_send_to(&h, "02:00:00:33:33:44", -1, 100);
	assert_int_equal(arrived(&vf[1]), 1);
	h.far.frames = 0;
	tx(&vf[1], NOBODY, 100);
	assert_int_equal(h.far.frames, 1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(requests),	  CASE(patience),     CASE(interrupt),
	    CASE(enables),	  CASE(addresses),    CASE(vlans),
	    CASE(local),	  CASE(spoofing),     CASE(offloads),
	    CASE(tags),		  CASE(spreading),    CASE(spreading_by_the_card),
	    CASE(vectors),	  CASE(the_cards),    CASE(a_functions),
	    CASE(under_traffic),  CASE(on_their_own), CASE(hostile_function),
	    CASE(hostile_driver), CASE(migration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
