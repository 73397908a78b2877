/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space: what reads show, what writes may change, BAR sizing, and what lspci makes of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "testdev.h"

static struct testdev t;

static int setup(void **state)
{
	testdev_init(&t);
	return 0;
}

static int teardown(void **state)
{
	testdev_fini(&t);
	return 0;
}

/* ---- the bits that software may change, written down a second time, from the specifications ---- */
struct field {
	unsigned int off, size;
	uint32_t rw, w1c;
};

static void expected_masks(uint8_t *rw, uint8_t *w1c)
{
	const unsigned int pm = t.f.pm_cap, exp = t.f.exp_cap, msix = t.f.msix_cap;
	const struct field fields[] = {
	    {0x04, 2, 0x0546, 0}, /* COMMAND: MEM, BME, parity, SERR, INTx disable */
	    {0x06, 2, 0, 0xf900},	 {0x0c, 1, 0xff, 0},
	    {0x10, 4, 0xffffc000, 0},				   /* 16 KiB, 64-bit */
	    {0x14, 4, 0xffffffff, 0},	 {0x18, 4, 0xfff00000, 0}, /* 1 MiB, 32-bit */
	    {0x3c, 1, 0xff, 0},		 {pm + 4, 2, 0x0003, 0},
	    {exp + 0x08, 2, 0x79ff, 0},	 /* DEVCTL without bits 15 (FLR), 10 (aux power), 9 (phantom functions) */
	    {exp + 0x0a, 2, 0, 0x000f},	 /* DEVSTA */
	    {exp + 0x10, 2, 0x00cb, 0},	 /* LNKCTL */
	    {exp + 0x28, 2, 0x0010, 0},	 /* DEVCTL2 */
	    {exp + 0x30, 2, 0x03bf, 0},	 /* LNKCTL2 */
	    {msix + 0x02, 2, 0xc000, 0}, /* enable, function mask */
	};

	memset(rw, 0, PCI_CFG_SIZE);
	memset(w1c, 0, PCI_CFG_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		for (unsigned int b = 0; b < fields[i].size; b++) {
			rw[fields[i].off + b] = fields[i].rw >> 8 * b;
			w1c[fields[i].off + b] = fields[i].w1c >> 8 * b;
		}
	}
}

/* Registers whose writes do more than set bits are left out where that would disturb the check. */
static bool byte_acts(unsigned int i)
{
	return i == t.f.pm_cap + PCI_PM_CTRL || i == t.f.exp_cap + PCI_EXP_DEVCTL + 1;
}

static void every_byte_obeys_its_masks(void **state)
{
	static uint8_t rw[PCI_CFG_SIZE], w1c[PCI_CFG_SIZE];
	static const uint8_t patterns[] = {0xff, 0x00, 0x55, 0xaa, 0x7f, 0x80};

	expected_masks(rw, w1c);
	for (unsigned int i = 0; i < PCI_CFG_SIZE; i++) {
		assert_int_equal(t.f.wmask[i], rw[i]);
		assert_int_equal(t.f.w1c[i], w1c[i]);
		if (byte_acts(i))
			continue;
		for (unsigned int p = 0; p < ARRAY_SIZE(patterns); p++) {
			uint8_t old, want;

			t.f.cfg[i] |= w1c[i]; /* as if the error had happened */
			old = pci_cfg_read(&t.f, i, 1);
			want = (old & ~rw[i]) | (patterns[p] & rw[i]);
			want &= ~(patterns[p] & w1c[i]);
			pci_cfg_write(&t.f, i, 1, patterns[p]);
			assert_int_equal(pci_cfg_read(&t.f, i, 1), want);
		}
	}
}

static uint32_t rnd(void)
{
	static uint64_t s = 0x9e3779b97f4a7c15;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s >> 16;
}

static void random_writes_keep_read_only_bits(void **state)
{
	static uint8_t first[PCI_CFG_SIZE];
	unsigned int resets = 0;

	memcpy(first, t.f.cfg, sizeof(first));
	for (unsigned int i = 0; i < 200000; i++) {
		unsigned int size = 1U << rnd() % 3, off = rnd() % (i & 1 ? 0x100 : PCI_CFG_SIZE) & ~(size - 1);

		pci_cfg_write(&t.f, off, size, rnd());
		assert_true(t.f.d0 == !(t.f.cfg[t.f.pm_cap + PCI_PM_CTRL] & 3));
		assert_int_equal(t.f.decode, t.f.d0 && (t.f.cfg[PCI_COMMAND] & PCI_COMMAND_MEMORY));
		assert_int_equal(t.f.master, t.f.d0 && (t.f.cfg[PCI_COMMAND] & PCI_COMMAND_MASTER));
		assert_int_equal(testdev_dma_master(t.f.dma), t.f.master);
		if (t.resets == resets && i % 64)
			continue;
		resets = t.resets;
		for (unsigned int b = 0; b < PCI_CFG_SIZE; b++)
			assert_int_equal((t.f.cfg[b] ^ first[b]) & ~t.f.wmask[b], 0);
	}
	assert_true(resets > 10);
	pci_func_reset(&t.f);
	assert_memory_equal(t.f.cfg, first, sizeof(first));
}

static void wide_accesses_equal_narrow_ones(void **state)
{
	for (unsigned int off = 0; off < PCI_CFG_SIZE; off += 4) {
		uint32_t v = pci_cfg_read(&t.f, off, 4);

		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(pci_cfg_read(&t.f, off + i, 1), v >> 8 * i & 0xff);
		assert_int_equal(pci_cfg_read(&t.f, off, 2), v & 0xffff);
		assert_int_equal(pci_cfg_read(&t.f, off + 2, 2), v >> 16);
	}
	pci_cfg_write(&t.f, 0x10, 1, 0xff);
	pci_cfg_write(&t.f, 0x11, 1, 0x40);
	pci_cfg_write(&t.f, 0x12, 2, 0xabcd);
	assert_int_equal(pci_cfg_read(&t.f, 0x10, 4), 0xabcd4004);
}

static void bad_accesses_do_nothing(void **state)
{
	static const struct {
		unsigned int off, size;
	} bad[] = {{0x10, 0}, {0x10, 3}, {0x10, 8}, {0x11, 2}, {0x12, 4},
		   {4096, 1}, {4095, 2}, {4094, 4}, {~0U, 1},  {~0U - 3, 4}};
	static uint8_t first[PCI_CFG_SIZE];

	memcpy(first, t.f.cfg, sizeof(first));
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(pci_cfg_read(&t.f, bad[i].off, bad[i].size), ~0U);
		pci_cfg_write(&t.f, bad[i].off, bad[i].size, 0x5a5a5a5a);
	}
	assert_memory_equal(t.f.cfg, first, sizeof(first));
}

static void header_tells_who_it_is(void **state)
{
	assert_int_equal(pci_cfg_read(&t.f, PCI_VENDOR_ID, 4), 0x00101b36);
	assert_int_equal(pci_cfg_read(&t.f, PCI_CLASS_REVISION, 4), 0x01080202);
	assert_int_equal(pci_cfg_read(&t.f, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	assert_int_equal(pci_cfg_read(&t.f, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(pci_cfg_read(&t.f, PCI_INTERRUPT_PIN, 1), 0);
	assert_int_equal(pci_cfg_read(&t.f, PCI_COMMAND, 2), 0);
	assert_int_equal(pci_cfg_read(&t.f, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	assert_int_equal(testdev_dma_bdf(t.f.dma), 0x0100);
	assert_int_equal(t.f.group, 7);
}

/* ---- capabilities ---- */
static void capability_list_is_sound(void **state)
{
	static const uint8_t ids[] = {PCI_CAP_ID_PM, PCI_CAP_ID_EXP, PCI_CAP_ID_MSIX};
	unsigned int off = pci_cfg_read(&t.f, PCI_CAPABILITY_LIST, 1), last = 0x3f;

	for (unsigned int i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_true(off > last && !(off & 3));
		assert_int_equal(pci_cfg_read(&t.f, off, 1), ids[i]);
		last = off;
		off = pci_cfg_read(&t.f, off + 1, 1);
	}
	assert_int_equal(off, 0);
	assert_int_equal(pci_cfg_read(&t.f, 0x100, 4), 0);
}

static void capabilities_fill_256_bytes_and_no_more(void **state)
{
	unsigned int n = 0;
	int off;

	assert_int_equal(pci_add_cap(&t.f, PCI_CAP_ID_VNDR, 0), -ENOSPC);
	assert_int_equal(pci_add_cap(&t.f, PCI_CAP_ID_VNDR, 1), -ENOSPC);
	assert_int_equal(pci_add_cap(&t.f, PCI_CAP_ID_VNDR, ~0U), -ENOSPC);
	while ((off = pci_add_cap(&t.f, PCI_CAP_ID_VNDR, 17)) > 0) {
		assert_int_equal(off % 4, 0);
		assert_true(off + 17 <= 256);
		n++;
	}
	assert_int_equal(off, -ENOSPC);
	assert_true(n > 2);
	off = pci_cfg_read(&t.f, PCI_CAPABILITY_LIST, 1);
	for (unsigned int i = 0; i < n + 3; i++)
		off = pci_cfg_read(&t.f, off + 1, 1);
	assert_int_equal(off, 0);
}

/* ---- BARs ---- */
static void sizing_reads_back_the_size(void **state)
{
	uint32_t lo = pci_cfg_read(&t.f, 0x10, 4), hi = pci_cfg_read(&t.f, 0x14, 4);

	pci_cfg_write(&t.f, 0x10, 4, ~0U);
	pci_cfg_write(&t.f, 0x14, 4, ~0U);
	assert_int_equal(pci_cfg_read(&t.f, 0x10, 4), 0xffffc004);
	assert_int_equal(pci_cfg_read(&t.f, 0x14, 4), 0xffffffff);
	pci_cfg_write(&t.f, 0x10, 4, lo);
	pci_cfg_write(&t.f, 0x14, 4, hi);
	assert_int_equal(pci_cfg_read(&t.f, 0x10, 4), lo);

	pci_cfg_write(&t.f, 0x18, 4, ~0U);
	assert_int_equal(pci_cfg_read(&t.f, 0x18, 4), 0xfff00008);
	pci_cfg_write(&t.f, 0x1c, 4, ~0U);
	assert_int_equal(pci_cfg_read(&t.f, 0x1c, 4), 0);
	pci_cfg_write(&t.f, PCI_ROM_ADDRESS, 4, ~0U);
	assert_int_equal(pci_cfg_read(&t.f, PCI_ROM_ADDRESS, 4), 0);
}

static void sizing_works_for_every_size(void **state)
{
	static const struct pci_ids ids = {};
	static struct pci_func f;

	for (unsigned int shift = 12; shift < 64; shift++) {
		uint64_t size = 1ULL << shift, mask;

		assert_int_equal(pci_func_init(&f, t.f.ops, "x", &ids, &t.evs), 0);
		assert_int_equal(pci_add_bar(&f, 4, size, true, true), 0);
		assert_int_equal(pci_add_bar(&f, 0, size, false, false), shift < 32 ? 0 : -EINVAL);
		pci_cfg_write(&f, 0x20, 4, ~0U);
		pci_cfg_write(&f, 0x24, 4, ~0U);
		mask = pci_cfg_read(&f, 0x20, 4) | (uint64_t)pci_cfg_read(&f, 0x24, 4) << 32;
		assert_int_equal(mask & 0xf, 0xc);
		assert_true(~(mask & ~0xfULL) + 1 == size);
		if (shift < 32) {
			pci_cfg_write(&f, 0x10, 4, ~0U);
			assert_int_equal(-pci_cfg_read(&f, 0x10, 4), size);
		}
		pci_func_fini(&f);
	}
}

static void impossible_bars_are_refused(void **state)
{
	assert_int_equal(pci_add_bar(&t.f, 0, 4096, false, false), -EINVAL); /* taken */
	assert_int_equal(pci_add_bar(&t.f, 1, 4096, false, false), -EINVAL); /* upper half of 0 */
	assert_int_equal(pci_add_bar(&t.f, 6, 4096, false, false), -EINVAL);
	assert_int_equal(pci_add_bar(&t.f, 5, 4096, true, false), -EINVAL); /* no room for its upper half */
	assert_int_equal(pci_add_bar(&t.f, 3, 2048, false, false), -EINVAL);
	assert_int_equal(pci_add_bar(&t.f, 3, 4096 * 3, false, false), -EINVAL);
	assert_int_equal(pci_add_bar(&t.f, 3, 0, false, false), -EINVAL);
	assert_int_equal(pci_add_bar(&t.f, 3, 1ULL << 32, false, false), -EINVAL);
	assert_int_equal(pci_add_bar(&t.f, 3, 4096, false, false), 0);
	assert_int_equal(pci_add_bar(&t.f, 4, 4096, false, false), 0);
}

static void addresses_are_aligned_and_apart(void **state)
{
	uint64_t a0 = pci_bar_address(&t.f, 0), a2 = pci_bar_address(&t.f, 2);
	struct testdev u;

	assert_true(a0 && !(a0 & (TESTDEV_BAR0_SIZE - 1)));
	assert_true(a2 && a2 < 1ULL << 32 && !(a2 & 0xfffff));
	assert_int_equal(pci_bar_address(&t.f, 1), 0);
	assert_int_equal(pci_bar_address(&t.f, 3), 0);
	assert_int_equal(pci_bar_address(&t.f, 99), 0);
	testdev_init(&u);
	pci_func_place(&u.f, 0, 0x0108, 8);
	assert_true(pci_bar_address(&u.f, 0) != a0);
	assert_true(pci_bar_address(&u.f, 2) != a2);
	testdev_fini(&u);

	pci_cfg_write(&t.f, 0x10, 4, 0xdead0000);
	pci_cfg_write(&t.f, 0x14, 4, 0x17);
	assert_true(pci_bar_address(&t.f, 0) == 0x17dead0000);
	pci_func_reset(&t.f);
	assert_true(pci_bar_address(&t.f, 0) == a0);
}

/* ---- lspci ---- */
static char *lspci_output(const char *dump)
{
	char cmd[256];
	char *out = calloc(1, 65536);
	FILE *p;

	snprintf(cmd, sizeof(cmd), "lspci -F %s -vvv -nn 2>&1", dump);
	p = popen(cmd, "r");
	assert_non_null(p);
	assert_true(fread(out, 1, 65535, p) > 0);
	assert_int_equal(pclose(p), 0);
	return out;
}

static void lspci_understands_every_byte(void **state)
{
	static const char *const wanted[] = {
	    "01:00.0",
	    "[1b36:0010]",
	    "[0108]",
	    "Mem+",
	    "BusMaster+",
	    "Region 0: Memory at",
	    "64-bit",
	    "Power Management version 3",
	    "Status: D0 NoSoftRst-",
	    "Express (v2) Endpoint",
	    "FLReset+",
	    "MaxPayload 128 bytes, MaxReadReq 512 bytes",
	    "Speed 8GT/s",
	    "Width x4",
	    "MSI-X: Enable+ Count=70 Masked-",
	    "Vector table: BAR=0 offset=00002000",
	    "PBA: BAR=0 offset=00003000",
	};
	static const char *const unwanted[] = {"!!!",		"<?>",		 "unknown", "Unknown cap", "invalid",
					       "chain looping", "access denied", "PME(D0+", "TAbort+",	   "MAbort+"};
	char path[] = "/tmp/pinfold-lspci-XXXXXX", *out;
	FILE *fp;
	int fd;

	if (access("/usr/bin/lspci", X_OK))
		skip();
	fd = mkstemp(path);
	assert_true(fd >= 0);
	testdev_command(&t, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_msix_enable(&t.f, true);
	fp = fdopen(fd, "w");
	fprintf(fp, "01:00.0 0108: 1b36:0010\n");
	for (unsigned int i = 0; i < PCI_CFG_SIZE; i++) {
		if (i % 16 == 0)
			fprintf(fp, "%s%02x:", i ? "\n" : "", i);
		fprintf(fp, " %02x", t.f.cfg[i]);
	}
	fputc('\n', fp);
	fclose(fp);
	out = lspci_output(path);
	unlink(path);
	for (unsigned int i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!strstr(out, wanted[i]))
			fail_msg("no '%s' in:\n%s", wanted[i], out);
	for (unsigned int i = 0; i < ARRAY_SIZE(unwanted); i++)
		if (strstr(out, unwanted[i]))
			fail_msg("'%s' in:\n%s", unwanted[i], out);
	free(out);
}

/* PCI Express Base 4.0 sections 7.6.3, 7.8.8, 10.5.1 and 10.5.2: on, whatever software writes, and after a reset. */
static void extended_capabilities_are_linked(void **state)
{
	static const uint8_t ids[] = {0x0f, 0x13, 0x1b};
	unsigned int at[3] = {0x100};

	assert_int_equal(pci_add_ats(&t.f), 0);
	assert_int_equal(pci_add_pri(&t.f, 3), 0);
	assert_int_equal(pci_add_pasid(&t.f, 20), 0);
	for (unsigned int i = 0; i < 3; i++) {
		uint32_t h = pci_cfg_read(&t.f, at[i], 4);

		assert_int_equal(h & 0xfffff, 0x10000 | ids[i]);
		if (i < 2)
			at[i + 1] = h >> 20;
		else
			assert_int_equal(h >> 20, 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(pci_cfg_read(&t.f, at[0] + 4, 4), 0x80000020);
		assert_int_equal(pci_cfg_read(&t.f, at[1] + 4, 4), 0x80000001);
		assert_int_equal(pci_cfg_read(&t.f, at[1] + 8, 4), 3);
		assert_int_equal(pci_cfg_read(&t.f, at[2] + 4, 4), 0x00011400);
		for (unsigned int k = 0; k < 3 && !i; k++)
			pci_cfg_write(&t.f, at[k] + 4, 4, 0x5a5a5a5a);
		if (i)
			pci_func_reset(&t.f);
	}
	for (unsigned int i = 0; i < 59; i++)
		assert_true(pci_add_ext_cap(&t.f, 1, 1, 64) > 0);
	assert_int_equal(pci_add_ext_cap(&t.f, 1, 1, 64), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(every_byte_obeys_its_masks, setup, teardown),
	    cmocka_unit_test_setup_teardown(random_writes_keep_read_only_bits, setup, teardown),
	    cmocka_unit_test_setup_teardown(wide_accesses_equal_narrow_ones, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_accesses_do_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(header_tells_who_it_is, setup, teardown),
	    cmocka_unit_test_setup_teardown(capability_list_is_sound, setup, teardown),
	    cmocka_unit_test_setup_teardown(capabilities_fill_256_bytes_and_no_more, setup, teardown),
	    cmocka_unit_test_setup_teardown(extended_capabilities_are_linked, setup, teardown),
	    cmocka_unit_test_setup_teardown(sizing_reads_back_the_size, setup, teardown),
	    cmocka_unit_test_setup_teardown(sizing_works_for_every_size, setup, teardown),
	    cmocka_unit_test_setup_teardown(impossible_bars_are_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(addresses_are_aligned_and_apart, setup, teardown),
	    cmocka_unit_test_setup_teardown(lspci_understands_every_byte, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
