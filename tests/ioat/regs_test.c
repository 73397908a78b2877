/* SPDX-License-Identifier: BSD-3-Clause */
/* BAR 0 and configuration space: what registers hold, in accesses of every width. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/pci_regs.h>

#include "host.h"

static struct host h;

static int setup(void **state)
{
	host_open(&h, "channels=3,xfercap=16");
	return 0;
}

static int teardown(void **state)
{
	host_close(&h);
	return 0;
}

static void identity(void **state)
{
	assert_int_equal(pci_cfg_read(h.m.f, PCI_VENDOR_ID, 4), 0x20218086);
	assert_int_equal(pci_cfg_read(h.m.f, PCI_CLASS_REVISION, 4) >> 8, 0x088000);
	assert_int_equal(pci_cfg_read(h.m.f, PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(h.m.f->bar[0].size, 0x4000);
	assert_int_equal(h.m.f->msix_n, 3);
	assert_int_equal(h.m.f->msix_table_off, 0x2000);
	assert_int_equal(h.m.f->msix_pba_off, 0x3000);
	assert_int_equal(host_read(&h, IOAT_CHANCNT, 1), 3);
	assert_int_equal(host_read(&h, IOAT_XFERCAP, 1), 16);
	assert_int_equal(host_read(&h, IOAT_CBVER, 1), 0x32);
	assert_int_equal(host_read(&h, IOAT_DMACAP, 4), 0x40);
	assert_int_equal(host_read(&h, IOAT_INTRDELAY, 2), 0);
}

static void models(void **state)
{
	host_close(&h);
	host_open(&h, "model=icx");
	assert_int_equal(pci_cfg_read(h.m.f, PCI_VENDOR_ID, 4), 0x0b008086);
	assert_int_equal(host_read(&h, IOAT_CBVER, 1), 0x34);
	assert_int_equal(host_read(&h, IOAT_CHANCNT, 1), 1);
	assert_int_equal(host_read(&h, IOAT_XFERCAP, 1), 20);
}

static void read_only_stays(void **state)
{
	static const uint8_t regs[] = {IOAT_CHANCNT, IOAT_XFERCAP, IOAT_CBVER, IOAT_DMACAP, IOAT_CS_STATUS};

	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		uint64_t was = host_read(&h, regs[i], 1);

		host_write(&h, regs[i], 1, ~was);
		assert_int_equal(host_read(&h, regs[i], 1), was);
	}
	host_write(&h, chan_reg(0, IOAT_CHANSTS), 8, ~0ULL);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CHANSTS), 8), IOAT_HALTED);
	host_write(&h, chan_reg(0, IOAT_CDAR), 8, ~0ULL);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_CDAR), 8), 0);
	assert_int_equal(host_read(&h, chan_reg(0, IOAT_DMA_COMP), 2), 2);
}

/* A qword register in bytes, words, dwords, and in pieces that straddle it. */
static void widths(void **state)
{
	uint64_t reg = chan_reg(1, IOAT_CHANCMP), val = 0x1122334455667788ULL;

	for (unsigned int size = 1; size <= 8; size *= 2) {
		host_write(&h, reg, 8, 0);
		for (unsigned int at = 0; at < 8; at += size)
			host_write(&h, reg + at, size, val >> 8 * at);
		assert_int_equal(host_read(&h, reg, 8), val);
		for (unsigned int at = 0; at < 8; at += size)
			assert_int_equal(host_read(&h, reg + at, size),
					 val >> 8 * at & (size == 8 ? ~0ULL : (1ULL << 8 * size) - 1));
	}
	/* The upper half of CHAINADDR and the lower one of CHANCMP. */
	host_write(&h, reg - 4, 8, 0xaabbccdd00000000ULL);
	assert_int_equal(host_read(&h, reg, 8), 0x11223344aabbccddULL);
	assert_int_equal(host_read(&h, reg - 4, 8), 0xaabbccdd00000000ULL);
	assert_int_equal(host_read(&h, reg + 1, 8), 0x11223344aabbccULL);
	/* The general registers' first dword. */
	assert_int_equal(host_read(&h, 0, 4), 16 << 8 | 3);
	host_write(&h, IOAT_INTRDELAY + 1, 1, 0xff);
	assert_int_equal(host_read(&h, IOAT_INTRDELAY, 2), 0x3f00);
	host_write(&h, IOAT_INTRDELAY, 1, 0x12);
	assert_int_equal(host_read(&h, IOAT_INTRDELAY, 2), 0x3f12);
}

static void nothing_there(void **state)
{
	static const uint16_t offs[] = {0x14, 0x7f, 0x1b0, 0x200, 0x280, 0xff8, 0x1000, 0x1ff8};

	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		host_write(&h, offs[i], 8, ~0ULL);
		assert_int_equal(host_read(&h, offs[i], 8), 0);
	}
}

/* [E7] 14.5.12: the first read finds it free and takes it; writing 0 releases it. */
static void in_use(void **state)
{
	uint64_t reg = chan_reg(2, IOAT_CHANCTRL);

	assert_int_equal(host_read(&h, reg, 2), 0);
	assert_int_equal(host_read(&h, reg, 2), IOAT_CHANCTRL_IN_USE);
	host_write(&h, reg, 2, IOAT_CHANCTRL_IN_USE | IOAT_CHANCTRL_ERR_COMP);
	assert_int_equal(host_read(&h, reg, 2), IOAT_CHANCTRL_IN_USE | IOAT_CHANCTRL_ERR_COMP);
	host_write(&h, reg, 1, 0);
	assert_int_equal(host_read(&h, reg, 2), IOAT_CHANCTRL_IN_USE);
	host_write(&h, reg, 2, 0);
	assert_int_equal(host_read(&h, reg, 2), 0);
}

static void intrctrl(void **state)
{
	host_write(&h, IOAT_INTRCTRL, 1, 0xff);
	assert_int_equal(host_read(&h, IOAT_INTRCTRL, 1), IOAT_INTRCTRL_MASTER | IOAT_INTRCTRL_MSIX);
	/* Reading turned the line off. */
	assert_int_equal(host_read(&h, IOAT_INTRCTRL, 1), IOAT_INTRCTRL_MSIX);
	host_write(&h, IOAT_GENCTRL, 1, 0xff);
	assert_int_equal(host_read(&h, IOAT_GENCTRL, 1), IOAT_GENCTRL_DEBUG);
}

static void config_errors(void **state)
{
	struct ring r;

	ring_open(&r, &h, 1, 4);
	assert_int_equal(ring_run(&r, 0xff000000, PLAIN, PLAIN, 1), IOAT_HALTED);
	assert_int_equal(ring_error(&r), IOAT_ERR_CONTROL);
	assert_int_equal(pci_cfg_read(h.m.f, IOAT_CFG_CHANERR_INT, 4), IOAT_ERR_CONTROL);
	host_write(&h, chan_reg(1, IOAT_CHANERR), 4, 0x1ff);
	assert_int_equal(ring_error(&r), IOAT_ERR_CONTROL);
	host_write(&h, chan_reg(1, IOAT_CHANERR) + 1, 1, IOAT_ERR_CONTROL >> 8);
	assert_int_equal(ring_error(&r), 0);
	assert_int_equal(pci_cfg_read(h.m.f, IOAT_CFG_CHANERR_INT, 4), IOAT_ERR_CONTROL);
	pci_cfg_write(h.m.f, IOAT_CFG_CHANERR_INT, 4, IOAT_ERR_CONTROL);
	assert_int_equal(pci_cfg_read(h.m.f, IOAT_CFG_CHANERR_INT, 4), 0);
	assert_int_equal(pci_cfg_read(h.m.f, IOAT_CFG_DMAUNCERRSTS, 4), 0);
}

static void function_reset(void **state)
{
	struct ring r;

	ring_open(&r, &h, 0, 4);
	host_write(&h, chan_reg(0, IOAT_CHANCTRL), 2, IOAT_CHANCTRL_ERR_INT | IOAT_CHANCTRL_ERR_COMP);
	host_write(&h, chan_reg(0, IOAT_ERRMASK), 4, 5);
	host_write(&h, IOAT_INTRCTRL, 1, IOAT_INTRCTRL_MSIX);
	assert_int_equal(ring_run(&r, 0xff000000, PLAIN, PLAIN, 1), IOAT_HALTED);
	pci_func_reset(h.m.f);
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned int reg = IOAT_CHANCTRL; reg < 0x80; reg += 8)
		assert_int_equal(host_read(&h, chan_reg(0, reg), 8), reg == IOAT_CHANSTS    ? IOAT_HALTED
								     : reg == IOAT_CHANCTRL ? IOAT_DMA_COMP_V2 << 16
											    : 0);
	assert_int_equal(host_read(&h, IOAT_INTRCTRL, 1), 0);
	assert_int_equal(host_read(&h, IOAT_ATTNSTATUS, 4), 0);
	assert_int_equal(pci_cfg_read(h.m.f, IOAT_CFG_CHANERR_INT, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(identity, setup, teardown),
	    cmocka_unit_test_setup_teardown(models, setup, teardown),
	    cmocka_unit_test_setup_teardown(read_only_stays, setup, teardown),
	    cmocka_unit_test_setup_teardown(widths, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_there, setup, teardown),
	    cmocka_unit_test_setup_teardown(in_use, setup, teardown),
	    cmocka_unit_test_setup_teardown(intrctrl, setup, teardown),
	    cmocka_unit_test_setup_teardown(config_errors, setup, teardown),
	    cmocka_unit_test_setup_teardown(function_reset, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
