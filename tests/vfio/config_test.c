/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration space that clients see. Expectations are Linux 6.12's answers for a real function of this shape. */
#include "fake.h"

#include <errno.h>
#include <string.h>

#define CFG(off) (7ull << 40 | (off))

static struct ufile *dev; /* of the test that runs */

static uint32_t rd(unsigned int off, unsigned int size)
{
	uint32_t v = 0;

	assert_int_equal(dev->ops->pread(dev, &v, size, CFG(off)), size);
	return v;
}

static void wr(unsigned int off, unsigned int size, uint32_t v)
{
	assert_int_equal(dev->ops->pwrite(dev, &v, size, CFG(off)), size);
}

static struct session begin(struct fake *k)
{
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);

	dev = s.device;
	return s;
}

static unsigned int find_cap(uint8_t id)
{
	unsigned int pos;

	for (pos = rd(PCI_CAPABILITY_LIST, 1); pos; pos = rd(pos + 1, 1))
		if (rd(pos, 1) == id)
			return pos;
	return 0;
}

static void command(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);
	struct pci_func *f = &k->toy[0]->f;

	/* As after pci_enable_device(): decoding, not mastering. */
	assert_int_equal(rd(PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	wr(PCI_COMMAND, 2, 0xffff);
	assert_int_equal(rd(PCI_COMMAND, 2) & ~(PCI_COMMAND_PARITY | PCI_COMMAND_SERR),
			 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	assert_true(pci_bus_master(f));
	assert_false(pci_cfg_read(f, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE); /* that bit is the host's */
	wr(PCI_COMMAND, 1, PCI_COMMAND_MASTER);
	assert_true(pci_bus_master(f));
	assert_false(pci_mem_enabled(f));
	assert_true(rd(PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
	wr(PCI_COMMAND, 2, 0);
	assert_int_equal(rd(PCI_COMMAND, 2), 0);
	assert_false(pci_bus_master(f));
	fake_session_close(k, &s);
}

/* A doubleword write of COMMAND does not clear STATUS's error bits by writing them back. */
static void status_survives(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);
	struct pci_func *f = &k->toy[0]->f;

	f->cfg[PCI_STATUS + 1] |= PCI_STATUS_SIG_SYSTEM_ERROR >> 8;
	wr(PCI_COMMAND, 4, 0xffff0000 | PCI_COMMAND_MEMORY);
	assert_true(rd(PCI_STATUS, 2) & PCI_STATUS_SIG_SYSTEM_ERROR);
	assert_true(rd(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	fake_session_close(k, &s);
}

static void header_is_read_only(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);

	wr(PCI_VENDOR_ID, 4, 0);
	assert_int_equal(rd(PCI_VENDOR_ID, 4), 0x56781234);
	wr(PCI_CLASS_REVISION, 4, 0);
	assert_int_equal(rd(PCI_CLASS_REVISION, 4), 0x01080201);
	wr(PCI_HEADER_TYPE, 1, 0xff);
	assert_int_equal(rd(PCI_HEADER_TYPE, 1), 0);
	wr(PCI_INTERRUPT_LINE, 2, 0x0234);
	assert_int_equal(rd(PCI_INTERRUPT_LINE, 2), 0x0134);
	assert_int_equal(k->toy[0]->f.cfg[PCI_INTERRUPT_LINE], 0);
	wr(PCI_CACHE_LINE_SIZE, 1, 0x10);
	assert_int_equal(k->toy[0]->f.cfg[PCI_CACHE_LINE_SIZE], 0x10);
	fake_session_close(k, &s);
}

static void bar_sizing(void **state)
{
	static const uint32_t want[7] = {0xffffc004, 0xffffffff, 0xfffff008};
	struct fake *k = *state;
	struct session s = begin(k);
	uint8_t real[28];
	unsigned int i;

	memcpy(real, k->toy[0]->f.cfg + PCI_BASE_ADDRESS_0, 28);
	for (i = 0; i < 6; i++) {
		uint32_t old = rd(PCI_BASE_ADDRESS_0 + 4 * i, 4);

		assert_memory_equal(&old, real + 4 * i, 4);
		wr(PCI_BASE_ADDRESS_0 + 4 * i, 4, 0xffffffff);
		assert_int_equal(rd(PCI_BASE_ADDRESS_0 + 4 * i, 4), want[i]);
		wr(PCI_BASE_ADDRESS_0 + 4 * i, 4, old);
		assert_int_equal(rd(PCI_BASE_ADDRESS_0 + 4 * i, 4), old);
	}
	wr(PCI_ROM_ADDRESS, 4, 0xffffffff);
	assert_int_equal(rd(PCI_ROM_ADDRESS, 4), 0);
	wr(PCI_BASE_ADDRESS_0 + 2, 2, 0x1234);
	wr(PCI_BASE_ADDRESS_0, 1, 0xff);
	assert_int_equal(rd(PCI_BASE_ADDRESS_0, 2) & 0xff, 0x04);
	assert_memory_equal(real, k->toy[0]->f.cfg + PCI_BASE_ADDRESS_0, 28);
	fake_session_close(k, &s);
}

static void express(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);
	unsigned int pos = find_cap(PCI_CAP_ID_EXP), resets = k->toy[0]->resets;
	uint32_t cap;

	assert_true(pos);
	cap = rd(pos, 4);
	wr(pos, 4, 0);
	assert_int_equal(rd(pos, 4), cap);
	/* The payload size is only a shadow. */
	wr(pos + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_PAYLOAD);
	assert_int_equal(rd(pos + PCI_EXP_DEVCTL, 2) & PCI_EXP_DEVCTL_PAYLOAD, PCI_EXP_DEVCTL_PAYLOAD);
	assert_false(pci_cfg_read(&k->toy[0]->f, pos + PCI_EXP_DEVCTL, 2) & PCI_EXP_DEVCTL_PAYLOAD);
	assert_int_equal(k->toy[0]->resets, resets);
	/* A function level reset: the bit reads as 0, the configuration comes back. */
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	wr(pos + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
	assert_int_equal(k->toy[0]->resets, resets + 1);
	assert_false(rd(pos + PCI_EXP_DEVCTL, 2) & PCI_EXP_DEVCTL_BCR_FLR);
	assert_int_equal(rd(PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fake_session_close(k, &s);
}

static void power(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);
	unsigned int pos = find_cap(PCI_CAP_ID_PM);
	uint32_t v;

	assert_true(pos);
	assert_false(rd(pos + PCI_PM_PMC, 2) & PCI_PM_CAP_PME_MASK);
	wr(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	wr(pos + PCI_PM_CTRL, 2, 3);
	assert_int_equal(rd(pos + PCI_PM_CTRL, 2) & 3, 3);
	assert_int_equal(dev->ops->pread(dev, &v, 4, 0), -EIO);
	assert_false(pci_bus_master(&k->toy[0]->f));
	wr(pos + PCI_PM_CTRL, 1, 0);
	assert_int_equal(rd(pos + PCI_PM_CTRL, 2) & 3, 0);
	/* Whether or not the function reset itself on the way, the client's configuration is back. */
	assert_int_equal(rd(PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(dev->ops->pread(dev, &v, 4, 0), 4);
	assert_true(pci_bus_master(&k->toy[0]->f));
	wr(pos + PCI_PM_CTRL, 2, 0xff00);
	assert_false(rd(pos + PCI_PM_CTRL, 2) & (PCI_PM_CTRL_PME_ENABLE | PCI_PM_CTRL_PME_STATUS));
	fake_session_close(k, &s);
}

static void msix_control_is_the_hosts(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);
	unsigned int pos = find_cap(PCI_CAP_ID_MSIX);

	assert_true(pos);
	wr(pos + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_int_equal(rd(pos + PCI_MSIX_FLAGS, 2), TOY_VECTORS - 1);
	wr(pos + PCI_MSIX_TABLE, 4, 0);
	assert_int_equal(rd(pos + PCI_MSIX_TABLE, 4), TOY_TABLE);
	fake_session_close(k, &s);
}

static void limits(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);
	uint8_t b[8192];

	assert_int_equal(dev->ops->pread(dev, b, 4096, CFG(0)), 4096);
	assert_int_equal(dev->ops->pread(dev, b, 4097, CFG(0)), -EFAULT);
	assert_int_equal(dev->ops->pread(dev, b, 4, CFG(4094)), -EFAULT);
	assert_int_equal(dev->ops->pwrite(dev, b, 1, CFG(4096)), -EFAULT);
	assert_int_equal(dev->ops->pread(dev, b, 1, CFG((1ull << 40) - 1)), -EFAULT);
	assert_int_equal(dev->ops->pread(dev, b, 257, CFG(0)), 257);
	assert_int_equal(b[0], 0x34);
	assert_int_equal(dev->ops->pread(dev, b, 3, CFG(1)), 3);
	assert_int_equal(b[0], 0x12);
	assert_int_equal(b[1], 0x78);
	fake_session_close(k, &s);
}

/* What one client left in the shadow is not seen by the next. */
static void fresh_for_the_next(void **state)
{
	struct fake *k = *state;
	struct session s = begin(k);

	wr(PCI_INTERRUPT_LINE, 1, 0x55);
	wr(PCI_COMMAND, 2, 0xffff);
	wr(PCI_BASE_ADDRESS_2, 4, 0xffffffff);
	fake_session_close(k, &s);
	s = begin(k);
	assert_int_equal(rd(PCI_INTERRUPT_LINE, 1), 0);
	assert_int_equal(rd(PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	assert_int_not_equal(rd(PCI_BASE_ADDRESS_2, 4), 0xfffff008);
	fake_session_close(k, &s);
}

/* A capability that clients shall not use is not in their list; a broken list does not hang anybody. */
static void hidden_and_broken_caps(void **state)
{
	struct fake *k = *state;
	struct pci_func *f = &k->toy[1]->f;
	struct ufile *c = fake_container(k), *g = fake_group(k, 7);
	int32_t fd = fake_fd_of(k, c);
	int hotswap = pci_add_cap(f, PCI_CAP_ID_CHSWP, 4), vendor = pci_add_cap(f, PCI_CAP_ID_VNDR, 8);

	assert_true(hotswap > 0 && vendor > 0);
	f->cfg[vendor + 2] = 8;
	f->cfg[vendor + 5] = 0x77;
	assert_int_equal(DO(g, VFIO_GROUP_SET_CONTAINER, &fd), 0);
	assert_int_equal(DO(c, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	dev = fake_device(k, g, "0000:02:00.0");
	assert_int_equal(find_cap(PCI_CAP_ID_CHSWP), 0);
	assert_int_equal(find_cap(PCI_CAP_ID_VNDR), vendor);
	assert_int_equal(rd(vendor + 5, 1), 0x77);
	fake_close(k, &dev);

	f->cfg[vendor + 1] = vendor; /* a loop */
	dev = fake_device(k, g, "0000:02:00.0");
	assert_int_equal(rd(PCI_VENDOR_ID, 2), 0x1234);
	fake_close(k, &dev);
	f->cfg[vendor + 1] = 0xfc; /* a capability that does not fit */
	f->cfg[0xfc] = PCI_CAP_ID_EXP;
	dev = fake_device(k, g, "0000:02:00.0");
	assert_int_equal(rd(vendor + 1, 1), 0);
	fake_close(k, &dev);
	fake_close(k, &g);
	fake_close(k, &c);
}

static void put_ext(struct pci_func *f, unsigned int pos, uint32_t header, uint32_t second)
{
	memcpy(f->cfg + pos, &header, 4);
	memcpy(f->cfg + pos + 4, &second, 4);
}

static void extended_caps(void **state)
{
	struct fake *k = *state;
	struct pci_func *f = &k->toy[0]->f;
	struct session s;

	/* An unknown one first, then a serial number, a PASID capability (not for clients), and vendor registers. */
	put_ext(f, 0x100, 0x7001 | 1 << 16 | 0x120 << 20, 0);
	put_ext(f, 0x120, PCI_EXT_CAP_ID_DSN | 1 << 16 | 0x140 << 20, 0x11223344);
	put_ext(f, 0x140, PCI_EXT_CAP_ID_PASID | 1 << 16 | 0x160 << 20, 0);
	put_ext(f, 0x160, PCI_EXT_CAP_ID_VNDR | 1 << 16 | 0x160u << 20, 12u << 20);
	memset(f->wmask + 0x168, 0xff, 4);
	s = begin(k);
	assert_int_equal(rd(0x100, 4), 0x120u << 20);
	assert_int_equal(rd(0x120, 4), PCI_EXT_CAP_ID_DSN | 1 << 16 | 0x160u << 20);
	assert_int_equal(rd(0x124, 4), 0x11223344);
	wr(0x124, 4, 0);
	assert_int_equal(rd(0x124, 4), 0x11223344);
	wr(0x168, 4, 0xcafe);
	assert_int_equal(rd(0x168, 4), 0xcafe);
	fake_session_close(k, &s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(command),
	    T(status_survives),
	    T(header_is_read_only),
	    T(bar_sizing),
	    T(express),
	    T(power),
	    T(msix_control_is_the_hosts),
	    T(limits),
	    T(fresh_for_the_next),
	    T(hidden_and_broken_caps),
	    T(extended_caps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
