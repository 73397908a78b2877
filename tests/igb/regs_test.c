/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space, and what registers hold: identity, EEPROM, PHY, semaphores, reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/mii.h>
#include <linux/pci_regs.h>

#include "host.h"

static struct host h;

static int setup(void **state)
{
	host_open(&h, "");
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static unsigned int ext_cap_find(unsigned int id)
{
	unsigned int at = 0x100;

	while (at && (pci_cfg_read(h.m.f, at, 4) & 0xffff) != id)
		at = pci_cfg_read(h.m.f, at, 4) >> 20;
	return at;
}

static void identity(void **state)
{
	unsigned int dsn = ext_cap_find(PCI_EXT_CAP_ID_DSN);

	assert_int_equal(pci_cfg_read(h.m.f, PCI_VENDOR_ID, 4), 0x10c98086);
	assert_int_equal(pci_cfg_read(h.m.f, PCI_CLASS_REVISION, 4), 0x02000001);
	assert_int_equal(h.m.f->bar[0].size, 128 << 10);
	assert_int_equal(h.m.f->bar[3].size, 16 << 10);
	assert_int_equal(h.m.f->msix_n, 10);
	assert_int_equal(h.m.f->msix_table_bar, 3);
	assert_true(h.m.f->pm_cap && h.m.f->msi_cap && h.m.f->exp_cap);
	assert_int_equal(pci_cfg_read(h.m.f, dsn + 4, 4), 0xff000001);
	assert_int_equal(pci_cfg_read(h.m.f, dsn + 8, 4), 0x020000ff);
	host_close(&h);
	host_open(&h, "vectors=25");
	assert_int_equal(h.m.f->msix_n, 25);
}

static uint32_t nvm_read(uint32_t word)
{
	wr(&h, IGB_EERD, word << 2 | IGB_EERD_START);
	assert_true(rd(&h, IGB_EERD) & IGB_EERD_DONE);
	assert_int_equal(IGB_EERD_ADDR(rd(&h, IGB_EERD)), word & 0x3fff);
	return rd(&h, IGB_EERD) >> 16;
}

static void nvm(void **state)
{
	uint16_t sum = 0;

	assert_int_equal(rd(&h, IGB_EECD), 0x2710);
	wr(&h, IGB_EECD, rd(&h, IGB_EECD) | IGB_EECD_REQ);
	assert_true(rd(&h, IGB_EECD) & IGB_EECD_GNT);
	for (uint32_t i = 0; i <= IGB_NVM_CHECKSUM; i++)
		sum += (uint16_t)nvm_read(i);
	assert_int_equal(sum, IGB_NVM_SUM);
	assert_int_equal(nvm_read(0), 0x0002);
	assert_int_equal(nvm_read(2), 0x0100);
	assert_int_equal(nvm_read(0x3fff), 0xffff);
	wr(&h, IGB_EECD, 0);
	assert_false(rd(&h, IGB_EECD) & IGB_EECD_GNT);
}

static void station_address(void **state)
{
	assert_int_equal(rd(&h, IGB_RAL), 0x00000002);
	assert_int_equal(rd(&h, IGB_RAL + 4), 0x80000100);
	wr(&h, IGB_RAL, 0x12345678);
	assert_int_equal(rd(&h, IGB_RAL), 0x12345678);
	wr(&h, IGB_CTRL, IGB_CTRL_RST);
	assert_int_equal(rd(&h, IGB_RAL), 0x00000002);
}

/* 4.2.1.6 and 8.2.1. */
static void reset(void **state)
{
	static const uint32_t same[] = {IGB_RCTL, IGB_TCTL, IGB_RLPML, IGB_VET, IGB_GPIE, IGB_DTXTCPFLL, IGB_RETA};
	uint32_t was[ARRAY_SIZE(same)];
	struct ring r;

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		was[i] = rd(&h, same[i]);
		wr(&h, same[i], was[i] ^ 0xff);
		assert_int_not_equal(rd(&h, same[i]), was[i]);
	}
	tx_open(&r, &h, 3, 64);
	wr(&h, IGB_IMS, ~0u);
	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) | IGB_CTRL_RST);
	assert_false(rd(&h, IGB_CTRL) & IGB_CTRL_RST);
	assert_int_equal(rd(&h, IGB_IMS), 0);
	assert_int_equal(rd(&h, ring_reg(&r, IGB_TDLEN)), 0);
	assert_int_equal(rd(&h, ring_reg(&r, IGB_TXDCTL)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		assert_int_equal(rd(&h, same[i]), was[i]);
	assert_true(rd(&h, IGB_EECD) & IGB_EECD_AUTO_RD);
	assert_true(rd(&h, IGB_EEMNGCTL) & IGB_CFG_DONE0);
}

static void master_disable(void **state)
{
	assert_true(rd(&h, IGB_STATUS) & IGB_STATUS_GIO_MASTER);
	wr(&h, IGB_CTRL, rd(&h, IGB_CTRL) | IGB_CTRL_GIO_DISABLE);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_GIO_MASTER);
}

/* 8.7.1: the first to read it has it. */
static void semaphores(void **state)
{
	assert_int_equal(rd(&h, IGB_SWSM) & IGB_SWSM_SMBI, 0);
	assert_int_equal(rd(&h, IGB_SWSM) & IGB_SWSM_SMBI, 1);
	wr(&h, IGB_SWSM, IGB_SWSM_SMBI | IGB_SWSM_SWESMBI);
	assert_int_equal(rd(&h, IGB_SWSM), 3);
	wr(&h, IGB_SWSM, 0);
	assert_int_equal(rd(&h, IGB_SWSM), 0);
	wr(&h, IGB_SW_FW_SYNC, 0x10001);
	assert_int_equal(rd(&h, IGB_SW_FW_SYNC), 0x10001);
	assert_int_equal(rd(&h, IGB_FWSM), 0);
}

static uint32_t mdic(uint32_t val)
{
	wr(&h, IGB_MDIC, val);
	assert_true(rd(&h, IGB_MDIC) & IGB_MDIC_READY);
	return rd(&h, IGB_MDIC);
}

static uint32_t phy_read(uint32_t reg)
{
	return mdic(reg << 16 | 1 << 21 | IGB_MDIC_READ) & 0xffff;
}

static void phy_write(uint32_t reg, uint32_t val)
{
	mdic(reg << 16 | 1 << 21 | IGB_MDIC_WRITE | val);
}

static void phy(void **state)
{
	assert_int_equal(phy_read(MII_PHYSID1), 0x02a8);
	assert_int_equal(phy_read(MII_PHYSID2), 0x0391);
	phy_write(MII_PHYSID1, 5);
	assert_int_equal(phy_read(MII_PHYSID1), 0x02a8);
	phy_write(MII_ADVERTISE, 0x123);
	assert_int_equal(phy_read(MII_ADVERTISE), 0x123);
	phy_write(MII_BMCR, BMCR_RESET);
	assert_int_equal(phy_read(MII_ADVERTISE), 0xde1);
	assert_int_equal(phy_read(MII_BMCR), 0x1140);
	assert_true(mdic(2 << 21 | IGB_MDIC_READ) & IGB_MDIC_ERROR);
	/* Pages: the registers below 16 are in all of them. */
	phy_write(0x1f, 0x11b1);
	assert_int_equal(phy_read(0x11), 0x2000);
	assert_int_equal(phy_read(MII_PHYSID1), 0x02a8);
	assert_int_equal(phy_read(0x1f), 0x11b1);
	wr(&h, IGB_CTRL, IGB_CTRL_PHY_RST);
	assert_int_equal(phy_read(0x1f), 0);
}

static void link_state(void **state)
{
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	link_up(&h);
	assert_int_equal(rd(&h, IGB_STATUS) & 0xff, 0x83);
	assert_true(rd(&h, IGB_ICR) & IGB_ICR_LSC);
	assert_true(net_link(h.far.net));
	/* The status latches: it has been down. */
	phy_read(MII_BMSR);
	assert_int_equal(phy_read(MII_BMSR) & (BMSR_LSTATUS | BMSR_ANEGCOMPLETE), BMSR_LSTATUS | BMSR_ANEGCOMPLETE);
	net_set_up(h.far.net, false);
	host_settle(&h);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	assert_true(rd(&h, IGB_ICR) & IGB_ICR_LSC);
	net_set_up(h.far.net, true);
	host_settle(&h);
	assert_true(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	assert_false(phy_read(MII_BMSR) & BMSR_LSTATUS);
	assert_true(phy_read(MII_BMSR) & BMSR_LSTATUS);
	phy_write(MII_BMCR, BMCR_PDOWN);
	host_settle(&h);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	assert_false(net_link(h.far.net));
}

/* 8.1.1: dwords. */
static void widths(void **state)
{
	uint64_t v;

	wr(&h, IGB_VET, 0x12345678);
	assert_int_equal(pci_bar_read(h.m.f, 0, IGB_VET + 1, 1, &v), 0);
	assert_int_equal(v, 0x56);
	assert_int_equal(pci_bar_read(h.m.f, 0, IGB_VET + 2, 2, &v), 0);
	assert_int_equal(v, 0x1234);
	assert_int_equal(pci_bar_read(h.m.f, 0, IGB_VET, 8, &v), 0);
	assert_int_equal(v, 0x12345678);
	pci_bar_write(h.m.f, 0, IGB_VET, 2, 0);
	assert_int_equal(h.misuses, 1);
	assert_int_equal(rd(&h, IGB_VET), 0x12345678);
	pci_bar_write(h.m.f, 0, IGB_RAL, 8, 0x1122334455667788);
	assert_int_equal(rd(&h, IGB_RAL), 0x55667788);
	assert_int_equal(rd(&h, IGB_RAL + 4), 0x11223344);
	assert_int_equal(pci_bar_read(h.m.f, 0, IGB_BAR_SIZE - 4, 4, &v), 0);
	wr(&h, IGB_STATUS, ~0u);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
	wr(&h, 0x6000, ~0u);
	assert_int_equal(rd(&h, 0x6000), 0);
}

/* The first four queues are in two places. */
static void aliases(void **state)
{
	for (unsigned int q = 0; q < 4; q++) {
		wr(&h, IGB_RXQ_OLD + 0x100 * q + IGB_RDLEN, 0x400 + 0x80 * q);
		wr(&h, IGB_TXQ_OLD + 0x100 * q + IGB_TDBAL, 0x1000 * (q + 1));
	}
	for (unsigned int q = 0; q < 4; q++) {
		assert_int_equal(rd(&h, IGB_RXQ + 0x40 * q + IGB_RDLEN), 0x400 + 0x80 * q);
		assert_int_equal(rd(&h, IGB_TXQ + 0x40 * q + IGB_TDBAL), 0x1000 * (q + 1));
	}
	wr(&h, IGB_RXQ + 0x40 * 15 + IGB_RDLEN, ~0u);
	assert_int_equal(rd(&h, IGB_RXQ + 0x40 * 15 + IGB_RDLEN), 0xfff80);
	wr(&h, IGB_IMS, 4);
	assert_int_equal(rd(&h, IGB_IMS_OLD), 4);
}

static void function_reset(void **state)
{
	link_up(&h);
	phy_write(MII_ADVERTISE, 0x123);
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(phy_read(MII_ADVERTISE), 0xde1);
	assert_false(rd(&h, IGB_STATUS) & IGB_STATUS_LU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(identity, setup, teardown),
	    cmocka_unit_test_setup_teardown(nvm, setup, teardown),
	    cmocka_unit_test_setup_teardown(station_address, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset, setup, teardown),
	    cmocka_unit_test_setup_teardown(master_disable, setup, teardown),
	    cmocka_unit_test_setup_teardown(semaphores, setup, teardown),
	    cmocka_unit_test_setup_teardown(phy, setup, teardown),
	    cmocka_unit_test_setup_teardown(link_state, setup, teardown),
	    cmocka_unit_test_setup_teardown(widths, setup, teardown),
	    cmocka_unit_test_setup_teardown(aliases, setup, teardown),
	    cmocka_unit_test_setup_teardown(function_reset, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
