/* SPDX-License-Identifier: BSD-3-Clause */
/* 3.1.11 to 3.1.14, 3.1.25 to 3.1.31, 4.8: a controller's own memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/device.h"
#include "host.h"
#include "pci/barmem.h"

#define CMB_BAR 2
#define PMR_BAR 4
#define CMBS	(1U << 25) /* in the upper half of CAP */
#define PMRS	(1U << 24)
#define CRE	1U
#define CMSE	2U

static void set64(struct host *h, unsigned int off, uint64_t v)
{
	CHECK(pci_bar_write(h->m.f, 0, off, 4, (uint32_t)v) == 0);
	CHECK(pci_bar_write(h->m.f, 0, off + 4, 4, v >> 32) == 0);
}

static uint64_t get64(struct host *h, unsigned int off)
{
	uint64_t v;

	CHECK(pci_bar_read(h->m.f, 0, off, 8, &v) == 0);
	return v;
}

static void reset(struct host *h)
{
	pci_func_reset(h->m.f);
	pci_cfg_write(h->m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void none(void **state)
{
	struct host h;

	host_open(&h, "");
	assert_int_equal(host_reg(&h, NVME_REG_CAP + 4) & (CMBS | PMRS), 0);
	for (unsigned int off = NVME_REG_CMBLOC; off <= NVME_REG_CMBSTS; off += 4) {
		host_set_reg(&h, off, UINT32_MAX);
		assert_int_equal(host_reg(&h, off), 0);
	}
	for (unsigned int off = NVME_REG_PMRCAP; off <= NVME_REG_PMRMSCU; off += 4) {
		host_set_reg(&h, off, UINT32_MAX);
		assert_int_equal(host_reg(&h, off), 0);
	}
	assert_int_equal(h.m.f->bar[CMB_BAR].size + h.m.f->bar[PMR_BAR].size, 0);
	host_close(&h);
}

static void registers(void **state)
{
	struct host h;

	host_open(&h, "cmb-size=1M");
	assert_int_equal(host_reg(&h, NVME_REG_CAP + 4) & (CMBS | PMRS), CMBS);
	assert_int_equal(h.m.f->bar[CMB_BAR].size, 1 << 20);
	/* Nothing is told before it is asked for. */
	assert_int_equal(host_reg(&h, NVME_REG_CMBLOC) | host_reg(&h, NVME_REG_CMBSZ), 0);
	set64(&h, NVME_REG_CMBMSC, CRE);
	assert_int_equal(host_reg(&h, NVME_REG_CMBLOC) & 7, CMB_BAR);
	assert_int_equal(host_reg(&h, NVME_REG_CMBLOC) >> 12, 0);
	assert_int_equal(host_reg(&h, NVME_REG_CMBSZ), 256 << 12 | 0x1f);
	set64(&h, NVME_REG_CMBMSC, 0x123456789abcdeffULL);
	assert_int_equal(get64(&h, NVME_REG_CMBMSC), 0x123456789abcd003ULL);
	assert_int_equal(host_reg(&h, NVME_REG_CMBSTS), 0);
	/* A range that would wrap is none. */
	set64(&h, NVME_REG_CMBMSC, (UINT64_MAX & ~0xfffULL) | CMSE | CRE);
	assert_int_equal(host_reg(&h, NVME_REG_CMBSTS), 1);
	set64(&h, NVME_REG_CMBMSC, (-(1ULL << 20)) | CMSE | CRE);
	assert_int_equal(host_reg(&h, NVME_REG_CMBSTS), 0);
	/* CC.EN leaves it alone, other resets do not. */
	host_enable(&h, 8, 0);
	host_disable(&h);
	assert_int_equal(get64(&h, NVME_REG_CMBMSC), (-(1ULL << 20)) | CMSE | CRE);
	reset(&h);
	assert_int_equal(get64(&h, NVME_REG_CMBMSC), 0);
	set64(&h, NVME_REG_CMBMSC, CRE);
	host_set_reg(&h, NVME_REG_NSSR, NVME_NSSR_MAGIC);
	assert_int_equal(get64(&h, NVME_REG_CMBMSC), 0);
	host_close(&h);
}

static bool disk_is(const uint8_t *p, uint64_t off, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != disk_byte(off + i))
			return false;
	return true;
}

/* All that the host has is in the buffer: the controller is never seen on the bus. */
static void everything_inside(void **state)
{
	uint64_t buf, list, *entry;
	struct nvme_cmd cmd;
	const struct dma_stats *st;
	struct host h;
	uint8_t *mem;

	host_open(&h, "cmb-size=16M");
	pci_cfg_write(h.m.f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	mem = h.m.mem;
	h.m.mem = barmem_base(h.m.f->bar[CMB_BAR].mem);
	set64(&h, NVME_REG_CMBMSC, HOST_IOVA | CMSE | CRE);
	host_enable(&h, 8, 0);
	host_io_queue(&h, 1, 16);
	buf = host_alloc(&h, 64 * MACHINE_PAGE, MACHINE_PAGE);
	list = host_alloc(&h, MACHINE_PAGE, MACHINE_PAGE);
	assert_int_equal(host_identify(&h, 1, 0, buf), 0);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 8, 8, buf), 0);
	assert_true(disk_is(host_ptr(&h, buf), 4096, 4096));
	/* A list, and what it leads to. */
	entry = host_ptr(&h, list);
	for (unsigned int i = 0; i < 16; i++)
		entry[i] = buf + (40 - 2 * i) * MACHINE_PAGE;
	cmd = rw_cmd(NVME_IO_READ, 64, 128, buf + 60 * MACHINE_PAGE, list);
	assert_int_equal(host_cmd(&h, 1, &cmd, NULL), 0);
	assert_true(disk_is(host_ptr(&h, buf + 60 * MACHINE_PAGE), 32768, 4096));
	for (unsigned int i = 0; i < 15; i++)
		assert_true(disk_is(host_ptr(&h, entry[i]), 32768 + (i + 1) * 4096, 4096));
	memset(host_ptr(&h, buf), 'c', MACHINE_PAGE);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 0, 8, buf), 0);
	memset(host_ptr(&h, buf), 0, MACHINE_PAGE);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 0, 8, buf), 0);
	assert_int_equal(*(uint8_t *)host_ptr(&h, buf + 4095), 'c');
	assert_int_equal(host_rw(&h, 1, NVME_IO_COMPARE, 0, 8, buf), 0);
	/* With FUA: by way of the disk, and back. */
	cmd = rw_cmd(NVME_IO_READ, 16, 8, buf, 0);
	cmd.cdw12 |= 1U << 30;
	assert_int_equal(host_cmd(&h, 1, &cmd, NULL), 0);
	assert_true(disk_is(host_ptr(&h, buf), 8192, 4096));
	st = dma_dev_stats(h.m.f->dma);
	assert_int_equal(st->reads + st->writes + st->faults, 0);
	/* An interrupt would leave the function, which may not master the bus. */
	assert_int_equal(h.m.irqs[1], 0);
	h.m.mem = mem;
	host_close(&h);
}

/* Beside each other, and over the edge: what begins or ends outside is refused, and nothing of it goes on the bus. */
static void edges(void **state)
{
	const uint64_t cba = HOST_IOVA + (8UL << 20), size = 1 << 20;
	struct nvme_cmd cmd;
	struct host h;
	uint8_t *cmb;
	uint64_t buf, reads;

	host_open(&h, "cmb-size=1M");
	cmb = barmem_base(h.m.f->bar[CMB_BAR].mem);
	set64(&h, NVME_REG_CMBMSC, cba | CMSE | CRE);
	host_enable(&h, 8, 0);
	host_io_queue(&h, 1, 16);
	buf = host_alloc(&h, 4 * MACHINE_PAGE, MACHINE_PAGE);
	assert_true(buf + 4 * MACHINE_PAGE < cba - 8 * MACHINE_PAGE);
	/* One page here, one there. */
	cmd = rw_cmd(NVME_IO_READ, 0, 16, buf, cba + size - MACHINE_PAGE);
	assert_int_equal(host_cmd(&h, 1, &cmd, NULL), 0);
	assert_true(disk_is(host_ptr(&h, buf), 0, 4096));
	assert_true(disk_is(cmb + size - MACHINE_PAGE, 4096, 4096));
	/* What lies beneath it is not touched. */
	assert_int_equal(*(uint8_t *)host_ptr(&h, cba + size - MACHINE_PAGE), 0);
	/* Neighbours are merged into one transfer, which then runs over an end. */
	reads = dma_dev_stats(h.m.f->dma)->writes;
	cmd = rw_cmd(NVME_IO_READ, 0, 16, cba + size - MACHINE_PAGE, cba + size);
	assert_int_equal(host_cmd(&h, 1, &cmd, NULL), NVME_DATA_TRANSFER_ERROR);
	cmd = rw_cmd(NVME_IO_READ, 0, 16, cba - MACHINE_PAGE, cba);
	assert_int_equal(host_cmd(&h, 1, &cmd, NULL), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(*(uint8_t *)host_ptr(&h, cba - MACHINE_PAGE), 0);
	assert_true(dma_dev_stats(h.m.f->dma)->writes > reads); /* completions */
	/* Off: it is an address like any other. */
	set64(&h, NVME_REG_CMBMSC, cba | CRE);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 8, 8, cba), 0);
	assert_true(disk_is(host_ptr(&h, cba), 4096, 4096));
	assert_int_equal(cmb[0], 0);
	host_close(&h);
}

/* What it holds is gone with a reset of the function, as with power. */
static void content(void **state)
{
	struct host h;
	uint64_t v;

	host_open(&h, "cmb-size=4K");
	assert_int_equal(pci_bar_write(h.m.f, CMB_BAR, 8, 8, 0x1122334455667788), 0);
	host_enable(&h, 8, 0);
	host_disable(&h);
	assert_int_equal(pci_bar_read(h.m.f, CMB_BAR, 12, 4, &v), 0);
	assert_int_equal(v, 0x11223344);
	reset(&h);
	assert_int_equal(pci_bar_read(h.m.f, CMB_BAR, 8, 8, &v), 0);
	assert_int_equal(v, 0);
	host_close(&h);
}

/* ---- PMR ---- */

static void persistent(void **state)
{
	char path[] = "/tmp/pinfold-pmr-XXXXXX", options[128];
	int fd = mkstemp(path);
	uint64_t base = HOST_IOVA + (8UL << 20), v;
	struct host h;
	uint8_t byte;

	assert_true(fd >= 0);
	snprintf(options, sizeof(options), "pmr-path=%s,pmr-size=64K", path);
	host_open(&h, options);
	assert_int_equal(host_reg(&h, NVME_REG_CAP + 4) & (CMBS | PMRS), PMRS);
	assert_int_equal(host_reg(&h, NVME_REG_PMRCAP) >> 5 & 7, PMR_BAR);
	assert_int_equal(host_reg(&h, NVME_REG_PMRSTS), 1 << 8); /* not ready */
	host_set_reg(&h, NVME_REG_PMRCTL, 1);
	assert_int_equal(host_reg(&h, NVME_REG_PMRSTS), 0);
	host_set_reg(&h, NVME_REG_PMRMSCU, base >> 32);
	host_set_reg(&h, NVME_REG_PMRMSCL, (uint32_t)base | CMSE);
	host_enable(&h, 8, 0);
	host_io_queue(&h, 1, 16);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 8, 8, base + 4 * MACHINE_PAGE), 0);
	assert_int_equal(pci_bar_write(h.m.f, PMR_BAR, 0xfffc, 4, 0xcafe), 0);
	/* A reset does not take it away. */
	reset(&h);
	assert_int_equal(host_reg(&h, NVME_REG_PMRCTL), 0);
	assert_int_equal(pci_bar_read(h.m.f, PMR_BAR, 4 * MACHINE_PAGE + 1, 1, &v), 0);
	assert_int_equal(v, disk_byte(4097));
	host_close(&h);
	assert_int_equal(pread(fd, &byte, 1, 4 * MACHINE_PAGE + 7), 1);
	assert_int_equal(byte, disk_byte(4096 + 7));
	/* The file tells the size. */
	snprintf(options, sizeof(options), "pmr-path=%s", path);
	host_open(&h, options);
	assert_int_equal(h.m.f->bar[PMR_BAR].size, 65536);
	assert_int_equal(pci_bar_read(h.m.f, PMR_BAR, 0xfffc, 4, &v), 0);
	assert_int_equal(v, 0xcafe);
	/* Cut short by somebody: no answer, and nobody dies of it. */
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(pci_bar_read(h.m.f, PMR_BAR, 0xfffc, 4, &v), -EIO);
	assert_int_equal(pci_bar_write(h.m.f, PMR_BAR, 0xfffc, 4, 1), -EIO);
	host_set_reg(&h, NVME_REG_PMRCTL, 1);
	host_set_reg(&h, NVME_REG_PMRMSCL, (uint32_t)base | CMSE);
	host_enable(&h, 8, 0);
	host_io_queue(&h, 1, 16);
	assert_int_equal(host_rw(&h, 1, NVME_IO_READ, 8, 8, base + 4 * MACHINE_PAGE), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(host_rw(&h, 1, NVME_IO_WRITE, 8, 8, base + 4 * MACHINE_PAGE), NVME_DATA_TRANSFER_ERROR);
	host_close(&h);
	close(fd);
	unlink(path);
}

static void options(void **state)
{
	static const char *const bad[] = {
	    "cmb-size=5000",
	    "cmb-size=2G",
	    "cmb-size=2K",
	    "pmr-size=1M",
	    "pmr-path=/dev/null,pmr-size=4K",
	    "pmr-path=/nonexistent/x,pmr-size=4K",
	    "pmr-path=/tmp/pinfold-no-such-file",
	};
	struct events evs;
	struct loop *l = loop_new();
	struct device_env env = {.loop = l, .evs = &evs};
	char path[] = "/tmp/pinfold-nvme-XXXXXX", spec[256], err[256];
	int fd = mkstemp(path);
	struct device_place place;
	struct pci_func *f;

	assert_non_null(l);
	assert_true(fd >= 0 && !ftruncate(fd, 1 << 20));
	events_init(&evs);
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(spec, sizeof(spec), "nvme,path=%s,%s", path, bad[i]);
		err[0] = 0;
		assert_true(device_create(&env, spec, &f, &place, err, sizeof(err)) < 0);
		assert_true(err[0]);
	}
	assert_int_not_equal(access("/tmp/pinfold-no-such-file", F_OK), 0);
	loop_free(l);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(none),    cmocka_unit_test(registers), cmocka_unit_test(everything_inside),
	    cmocka_unit_test(edges),   cmocka_unit_test(content),   cmocka_unit_test(persistent),
	    cmocka_unit_test(options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
