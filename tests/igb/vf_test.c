/* SPDX-License-Identifier: BSD-3-Clause */
/* Virtual functions: their registers, their mailbox, their DMA, and the switch between them, the card and the cable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>
#include <string.h>

#include "vfs.h"
#include "pci/sriov.h"

#define VFS	  2
#define NOBODY	  "02:00:00:00:00:77"
#define EVERYBODY "ff:ff:ff:ff:ff:ff"

static struct host h;
static struct ring pf_rx;
static struct vf vf[VFS];

static int setup(void **state)
{
	host_open(&h, "vfs=2");
	for (unsigned int i = 0; i < VFS; i++)
		vf_plug(&vf[i], &h, i);
	host_settle(&h);
	for (unsigned int i = 0; i < VFS; i++)
		vf_rings(&vf[i]);
	return 0;
}

static void vfs_destroy(void)
{
	for (unsigned int i = 0; i < VFS; i++)
		vf[i].f->ops->destroy(vf[i].f);
}

static int teardown(void **state)
{
	vfs_destroy();
	host_close(&h);
	return 0;
}

/* ---- the mailbox ---- */

/* A message of n dwords. Returns the answer's first. */
static uint32_t ask(struct vf *v, unsigned int n, const uint32_t *msg)
{
	vwr(v, IGB_V2P, VFU);
	assert_true(vrd(v, IGB_V2P) & VFU);
	for (unsigned int i = 0; i < n; i++)
		vwr(v, IGB_VF_MEM + 4 * i, msg[i]);
	vwr(v, IGB_V2P, REQ);
	assert_int_equal(vrd(v, IGB_V2P), PFSTS | PFACK);
	assert_int_equal(vrd(v, IGB_V2P), 0);
	return vrd(v, IGB_VF_MEM);
}
#define ASK(v, ...) ask(v, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__})

static void introduction(void **state)
{
	struct vf *v = &vf[1];

	assert_int_equal(vrd(v, IGB_V2P), RSTD);
	assert_int_equal(vrd(v, IGB_V2P), 0);
	assert_int_equal(ASK(v, 5, 9018), 5 | NACK); /* who are you? */
	assert_int_equal(ASK(v, 1), 1 | ACK);
	assert_int_equal(vrd(v, IGB_VF_MEM + 4), 0x00000002);
	assert_int_equal(vrd(v, IGB_VF_MEM + 8), 0x0300);
	assert_int_equal(ASK(v, 5, 9018), 5 | ACK | CTS);
	/* An answer is answered with nothing. */
	vwr(v, IGB_VF_MEM, 1 | ACK);
	vwr(v, IGB_V2P, REQ);
	assert_int_equal(vrd(v, IGB_V2P), PFACK);
	vwr(v, IGB_V2P, ACKED);
	assert_int_equal(vrd(v, IGB_V2P), 0);
	/* A reset of its own, and it is a stranger again. */
	vwr(v, IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(vrd(v, IGB_V2P), RSTD);
	assert_int_equal(ASK(v, 5, 9018), 5 | NACK);
	assert_int_equal(vrd(&vf[0], IGB_V2P), RSTD); /* the other one's is its own */
}

static void mailbox_interrupt(void **state)
{
	struct vf *v = &vf[0];

	vrd(v, IGB_V2P);
	vwr(v, IGB_VF_IVAR_MISC, IGB_IVAR_VALID | 2);
	assert_int_equal(vrd(v, IGB_VF_IVAR_MISC), IGB_IVAR_VALID | 2);
	vwr(v, IGB_EIAC, 4);
	vwr(v, IGB_EIMS, 4);
	ASK(v, 1);
	assert_int_equal(v->irqs[2], 1);
	ASK(v, 1);
	assert_int_equal(v->irqs[2], 2);
	vwr(v, IGB_EIMC, 4);
	ASK(v, 1);
	assert_int_equal(v->irqs[2], 2);
	assert_int_equal(vf[1].irqs[2], 0);
}

static void refusals(void **state)
{
	struct vf *v = &vf[0];

	vrd(v, IGB_V2P);
	ASK(v, 1);
	assert_int_equal(ASK(v, 2, 0, 0), 2 | NACK | CTS);
	assert_int_equal(ASK(v, 2, 0x01, 0), 2 | NACK | CTS); /* a group's address */
	assert_int_equal(ASK(v, 2, 0x02, 0x5500), 2 | ACK | CTS);
	assert_int_equal(ASK(v, 5, 0x2601), 5 | NACK | CTS);
	assert_int_equal(ASK(v, 5, ~0u), 5 | NACK | CTS);
	assert_int_equal(ASK(v, 6 | 1 << 16), 6 | 1 << 16 | NACK | CTS);
	assert_int_equal(ASK(v, 0), 0 | NACK | CTS);
	assert_int_equal(ASK(v, 0xffff), 0xffff | NACK | CTS);
	assert_int_equal(ASK(v, 3 | 0xff << 16, ~0u, ~0u), 3 | 0xff << 16 | ACK | CTS);
	for (uint32_t vid = 100; vid < 132; vid++)
		assert_int_equal(ASK(v, 4 | 1 << 16, vid), 4 | 1 << 16 | ACK | CTS);
	assert_int_equal(ASK(v, 4 | 1 << 16, 132), 4 | 1 << 16 | NACK | CTS);
	assert_int_equal(ASK(v, 4 | 1 << 16, 131), 4 | 1 << 16 | ACK | CTS);
	assert_int_equal(ASK(v, 4, 100), 4 | ACK | CTS);
	assert_int_equal(ASK(v, 4 | 1 << 16, 0xfffff084), 4 | 1 << 16 | ACK | CTS);
}

/* ---- frames ---- */

static void everywhere(unsigned int first, unsigned int second, unsigned int card, unsigned int cable)
{
	assert_int_equal(arrived(&vf[0]), first);
	assert_int_equal(arrived(&vf[1]), second);
	assert_int_equal(card_arrived(&pf_rx), card);
	assert_int_equal(h.far.frames, cable);
	h.far.frames = 0;
}

static void card_up(void)
{
	link_up(&h);
	rx_open(&pf_rx, &h, 0, 16, 2);
	wr(&h, IGB_RCTL, IGB_RCTL_EN | IGB_RCTL_BAM | IGB_RCTL_SECRC);
	h.far.frames = 0;
}

static void switching(void **state)
{
	card_up();
	tx(&vf[0], "02:00:00:00:00:03", 100);
	everywhere(0, 1, 0, 0);
	tx(&vf[1], "02:00:00:00:00:02", 100);
	everywhere(1, 0, 0, 0);
	tx(&vf[0], HOST_MAC, 100);
	everywhere(0, 0, 1, 0);
	tx(&vf[0], NOBODY, 100);
	everywhere(0, 0, 0, 1);
	tx(&vf[0], "02:00:00:00:00:02", 100); /* its own: to whoever else has it */
	everywhere(0, 0, 0, 1);
	tx(&vf[0], EVERYBODY, 100);
	everywhere(0, 1, 1, 1);
	far_send_to(&h, "02:00:00:00:00:03", -1, 100);
	everywhere(0, 1, 0, 0);
	far_send_to(&h, HOST_MAC, -1, 100);
	everywhere(0, 0, 1, 0);
	far_send_to(&h, EVERYBODY, -1, 100);
	everywhere(1, 1, 1, 0);
	far_send_to(&h, NOBODY, -1, 100);
	everywhere(0, 0, 0, 0);
	assert_int_equal(vrd(&vf[0], 0x0f14), 5);
	assert_int_equal(vrd(&vf[1], 0x0f10), 4);
	assert_int_equal(vrd(&vf[1], 0x0f10), 4); /* reading leaves it */
}

static void filters(void **state)
{
	struct vf *v = &vf[1];

	card_up();
	vrd(v, IGB_V2P);
	ASK(v, 1);
	far_send_to(&h, "02:00:00:00:00:03", 5, 100);
	everywhere(0, 0, 0, 0);
	ASK(v, 4 | 1 << 16, 5);
	far_send_to(&h, "02:00:00:00:00:03", 5, 100);
	everywhere(0, 1, 0, 0);
	ASK(v, 4, 5);
	far_send_to(&h, "02:00:00:00:00:03", 5, 100);
	everywhere(0, 0, 0, 0);
	ASK(v, 2, 0x33000002, 0x4433);
	far_send_to(&h, "02:00:00:33:33:44", -1, 100);
	everywhere(0, 1, 0, 0);
	far_send_to(&h, "02:00:00:00:00:03", -1, 100);
	everywhere(0, 0, 0, 0);
	far_send_to(&h, "01:00:5e:00:00:01", -1, 100);
	everywhere(0, 0, 0, 0);
	ASK(v, 3 | 1 << 16, 0x0010); /* (0x00 | 0x01 << 8) >> 4 */
	far_send_to(&h, "01:00:5e:00:00:01", -1, 100);
	everywhere(0, 1, 0, 0);
	far_send_to(&h, "01:00:5e:00:00:02", -1, 100);
	everywhere(0, 0, 0, 0);
	ASK(v, 6 | 2 << 16);
	far_send_to(&h, "01:00:5e:00:00:02", -1, 100);
	everywhere(0, 1, 0, 0);
	far_send_to(&h, "02:00:00:33:33:44", -1, 1600);
	everywhere(0, 0, 0, 0);
	ASK(v, 5, 2000);
	far_send_to(&h, "02:00:00:33:33:44", -1, 1600);
	everywhere(0, 1, 0, 0);
}

/* One that takes nothing stops nobody, on the cable or beside it. */
static void no_room(void **state)
{
	card_up();
	vwr(&vf[1], VF_RXQ + IGB_RXDCTL, 0);
	for (unsigned int i = 0; i < 3 * DESCS; i++) {
		assert_int_equal(far_send_to(&h, "02:00:00:00:00:03", -1, 100), NET_DROPPED);
		assert_int_equal(far_send_to(&h, "02:00:00:00:00:02", -1, 100),
				 i < DESCS - 1 ? NET_TAKEN : NET_DROPPED);
		assert_int_equal(far_send_to(&h, HOST_MAC, -1, 100), NET_TAKEN);
		assert_int_equal(card_arrived(&pf_rx), 1);
	}
	assert_int_equal(arrived(&vf[0]), DESCS - 1);
	tx(&vf[0], "02:00:00:00:00:03", 100);
	tx(&vf[0], EVERYBODY, 100);
	everywhere(0, 0, 1, 1);
}

static void dma_of_its_own(void **state)
{
	unsigned int faults = h.m.faults;

	card_up();
	pci_cfg_write(vf[0].f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	tx(&vf[0], NOBODY, 100);
	assert_int_equal(h.m.faults, faults + 1);
	assert_non_null(strstr(h.m.fault_line, "0000:01:10.0"));
	everywhere(0, 0, 0, 0);
	tx(&vf[1], NOBODY, 100);
	everywhere(0, 0, 0, 1);
}

/* ---- registers ---- */

/* Whatever it writes wherever it can: it gets nobody's frames but its own, and the others go on. */
static void every_register(void **state)
{
	static const uint32_t values[] = {~0u, 0x55555555, 0, 0x80000001};

	card_up();
	for (unsigned int i = 0; i < ARRAY_SIZE(values); i++)
		for (uint32_t off = 0; off < IGB_VF_BAR_SIZE; off += 4) {
			vwr(&vf[0], off, values[i]);
			vrd(&vf[0], off);
		}
	host_settle(&h);
	pci_func_reset(vf[0].f);
	pci_cfg_write(vf[0].f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	h.far.frames = 0;
	arrived(&vf[1]);
	card_arrived(&pf_rx);
	vf_rings(&vf[0]);
	for (uint32_t off = 0x4000 - 4; off; off -= 4)
		if (off < 0x2800 || off >= 0x3a00)
			vwr(&vf[0], off, off == IGB_CTRL ? 0 : ~0u);
	host_settle(&h);
	far_send_to(&h, HOST_MAC, -1, 100);
	everywhere(0, 0, 1, 0);
	far_send_to(&h, "02:00:00:00:00:03", -1, 100);
	everywhere(0, 1, 0, 0);
	assert_int_equal(vrd(&vf[0], 0x0100), 0);
	assert_int_equal(vrd(&vf[0], 0x1500), 0);
	assert_int_equal(rd(&h, IGB_RCTL), IGB_RCTL_EN | IGB_RCTL_BAM | IGB_RCTL_SECRC);
}

static void identity(void **state)
{
	assert_int_equal(pci_cfg_read(vf[0].f, 0, 4), 0xffffffff);
	assert_int_equal(pci_func_vendor(vf[0].f), 0x8086);
	assert_int_equal(pci_func_device(vf[0].f), IGB_VF_DEVICE);
	assert_int_equal(vf[1].f->bdf, 0x182);
	assert_int_equal(pci_bar_address(vf[1].f, 0), pci_bar_address(vf[0].f, 0) + IGB_VF_BAR_SIZE);
	assert_int_equal(pci_cfg_read(h.m.f, h.m.f->sriov->cap + PCI_SRIOV_BAR, 4) & ~15u,
			 (uint32_t)pci_bar_address(vf[0].f, 0));
	assert_int_equal(vrd(&vf[0], IGB_STATUS) & IGB_STATUS_LU, IGB_STATUS_LU);
}

/* The card's own driver has the link; and what is done to the card does not end the others' work. */
static void beside_the_card(void **state)
{
	wr(&h, IGB_CTRL_EXT, IGB_CTRL_EXT_DRV_LOAD);
	host_settle(&h);
	assert_int_equal(vrd(&vf[0], IGB_STATUS) & IGB_STATUS_LU, 0);
	link_up(&h);
	assert_int_equal(vrd(&vf[0], IGB_STATUS) & IGB_STATUS_LU, IGB_STATUS_LU);
	pci_func_reset(h.m.f);
	host_settle(&h);
	assert_int_equal(vrd(&vf[0], IGB_STATUS) & IGB_STATUS_LU, IGB_STATUS_LU);
	tx(&vf[0], "02:00:00:00:00:03", 100);
	assert_int_equal(arrived(&vf[1]), 1);
	pci_func_reset(vf[1].f);
	tx(&vf[0], "02:00:00:00:00:03", 100);
	assert_int_equal(arrived(&vf[1]), 0);
	tx(&vf[0], NOBODY, 100);
	assert_int_equal(h.far.frames, 1);
}

/* The card may go first. */
static void order(void **state)
{
	host_open(&h, "vfs=2");
	for (unsigned int i = 0; i < VFS; i++)
		vf_plug(&vf[i], &h, i);
	host_settle(&h);
	vf_rings(&vf[0]);
	net_close(h.far.net);
	machine_unplug(&h.m);
	vfs_destroy();
	machine_close(&h.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(introduction, setup, teardown),
	    cmocka_unit_test_setup_teardown(mailbox_interrupt, setup, teardown),
	    cmocka_unit_test_setup_teardown(refusals, setup, teardown),
	    cmocka_unit_test_setup_teardown(switching, setup, teardown),
	    cmocka_unit_test_setup_teardown(filters, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_room, setup, teardown),
	    cmocka_unit_test_setup_teardown(dma_of_its_own, setup, teardown),
	    cmocka_unit_test_setup_teardown(every_register, setup, teardown),
	    cmocka_unit_test_setup_teardown(identity, setup, teardown),
	    cmocka_unit_test_setup_teardown(beside_the_card, setup, teardown),
	    cmocka_unit_test(order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
