/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices: information, regions, reads and writes, mappings, reset, eventfds that write registers. */
#include "fake.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/loop.h"
#include "pci/barmem.h"
#include "proto/channel.h"

#define MAGIC(index, off) (REGION_OFFSET_MAGIC | (uint64_t)(index) << 40 | (off))
#define PLAIN(index, off) ((uint64_t)(index) << 40 | (off))

static ssize_t rd(struct ufile *f, void *buf, size_t len, uint64_t off)
{
	return f->ops->pread(f, buf, len, off);
}

static ssize_t wr(struct ufile *f, const void *buf, size_t len, uint64_t off)
{
	return f->ops->pwrite(f, buf, len, off);
}

static void get_info(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint32_t i[8];

	memset(i, 0xee, sizeof(i));
	i[0] = 16;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_INFO, i), 0);
	assert_int_equal(i[1], VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(i[2], 9);
	assert_int_equal(i[3], 5);
	assert_int_equal(i[4], 0xeeeeeeee);
	i[0] = sizeof(i);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_INFO, i), 0);
	assert_int_equal(i[0], sizeof(i));
	assert_int_equal(i[4], 0);
	assert_int_equal(i[5], 0);
	assert_int_equal(i[6], 0xeeeeeeee);
	i[0] = 15;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_INFO, i), -EINVAL);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_INFO, k->hole), -EFAULT);
	assert_int_equal(DO(s.device, _IO(VFIO_TYPE, 99), k->hole), -ENOTTY);
	assert_int_equal(DO(s.device, _IO(VFIO_TYPE, VFIO_BASE + 18), k->hole), -EFAULT);
	memset(i, 0, sizeof(i));
	i[0] = 16;
	assert_int_equal(DO(s.device, _IO(VFIO_TYPE, VFIO_BASE + 18), i), -EINVAL);
	assert_int_equal(DO(s.device, _IO(VFIO_TYPE, VFIO_BASE + 19), i), -ENOTTY);
	fake_session_close(k, &s);
}

struct region {
	struct vfio_region_info i;
	struct vfio_info_cap_header cap;
};

static void get_region_info(void **state)
{
	static const struct {
		long ret;
		uint64_t size;
		uint32_t flags;
	} want[] = {
	    {0, TOY_BAR_SIZE, 0xf}, {0, 0, 0}, {0, 4096, 7}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0},
	    {0, 4096, 3},	    {-EINVAL}, {-EINVAL},
	};
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct region r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		r.i = (struct vfio_region_info){.argsz = sizeof(r), .index = i, .cap_offset = 0xee};
		assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), want[i].ret);
		if (want[i].ret)
			continue;
		assert_int_equal(r.i.argsz, sizeof(r));
		assert_int_equal(r.i.size, want[i].size);
		assert_int_equal(r.i.flags, want[i].flags);
		assert_int_equal(r.i.offset, MAGIC(i, 0));
		assert_int_equal(r.i.cap_offset, i ? 0xee : 32);
	}
	r.i = (struct vfio_region_info){.argsz = sizeof(r)};
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	assert_int_equal(r.cap.id, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
	assert_int_equal(r.cap.version, 1);
	assert_int_equal(r.cap.next, 0);
	r.i.argsz = 32;
	r.cap.id = 0xee;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	assert_int_equal(r.i.argsz, 40);
	assert_int_equal(r.i.cap_offset, 0);
	assert_int_equal(r.cap.id, 0xee);
	r.i.argsz = 31;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), -EINVAL);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, k->hole), -EFAULT);
	r.i = (struct vfio_region_info){.argsz = sizeof(r), .index = UINT32_MAX};
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), -EINVAL);
	fake_session_close(k, &s);
}

/* The accesses that an odd range is made of: as wide as alignment and length allow, as the kernel splits it. */
static void bar_split(void **state)
{
	static const struct {
		uint64_t off;
		unsigned int size;
	} want[] = {{0x101, 1}, {0x102, 2}, {0x104, 4}, {0x108, 8}, {0x110, 4}, {0x114, 2}, {0x116, 1}};
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint8_t out[22], in[22];
	unsigned int i, n;

	for (i = 0; i < sizeof(out); i++)
		out[i] = i + 1;
	assert_int_equal(wr(s.device, out, sizeof(out), MAGIC(0, 0x101)), sizeof(out));
	assert_int_equal(rd(s.device, in, sizeof(in), PLAIN(0, 0x101)), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	n = ARRAY_SIZE(want);
	assert_int_equal(k->toy[0]->nlog, 2 * n);
	for (i = 0; i < 2 * n; i++) {
		assert_int_equal(k->toy[0]->log[i].off, want[i % n].off);
		assert_int_equal(k->toy[0]->log[i].size, want[i % n].size);
		assert_int_equal(k->toy[0]->log[i].write, i < n);
	}
	fake_session_close(k, &s);
}

static void bar_limits(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	uint8_t b[64] = {0};
	uint16_t cmd = 0;

	assert_int_equal(rd(s.device, b, 0, MAGIC(9, 0)), 0);
	assert_int_equal(rd(s.device, b, 4, MAGIC(9, 0)), -EINVAL);
	assert_int_equal(rd(s.device, b, 4, MAGIC(255, 0)), -EINVAL);
	assert_int_equal(rd(s.device, b, 4, 0x5047000000000000), -EINVAL);
	assert_int_equal(rd(s.device, b, 4, MAGIC(0, 0) | 1ull << 63), -EINVAL);
	assert_int_equal(rd(s.device, b, 4, MAGIC(0, TOY_BAR_SIZE)), -EINVAL);
	assert_int_equal(rd(s.device, b, 16, MAGIC(0, TOY_BAR_SIZE - 8)), 8);
	assert_int_equal(rd(s.device, b, 4, MAGIC(1, 0)), -EINVAL);
	assert_int_equal(rd(s.device, b, 4, MAGIC(6, 0)), -EINVAL);
	assert_int_equal(wr(s.device, b, 4, MAGIC(6, 0)), -EINVAL);
	assert_int_equal(rd(s.device, b, 4, MAGIC(8, 0)), -EINVAL);
	assert_int_equal(rd(s.device, b, 4, MAGIC(2, 0)), 4);
	assert_int_equal(wr(s.device, &cmd, 2, MAGIC(7, PCI_COMMAND)), 2);
	assert_int_equal(rd(s.device, b, 4, MAGIC(0, 0)), -EIO);
	assert_int_equal(wr(s.device, b, 4, MAGIC(0, 0)), -EIO);
	assert_int_equal(rd(s.device, b, 4, MAGIC(0, TOY_BAR_SIZE)), -EINVAL);
	cmd = PCI_COMMAND_MEMORY;
	assert_int_equal(wr(s.device, &cmd, 2, PLAIN(7, PCI_COMMAND)), 2);
	assert_int_equal(rd(s.device, b, 4, MAGIC(0, 0)), 4);
	fake_session_close(k, &s);
}

/* The table is the host's: ones, and writes are lost, also in an access that reaches in from either side. */
static void msix_table_hidden(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	const unsigned int len = 16 * TOY_VECTORS;
	uint8_t b[16 * TOY_VECTORS + 32], ones[16 * TOY_VECTORS];

	memset(ones, 0xff, sizeof(ones));
	memset(b, 0x11, sizeof(b));
	assert_int_equal(wr(s.device, b, sizeof(b), MAGIC(0, TOY_TABLE - 16)), sizeof(b));
	memset(b, 0, sizeof(b));
	assert_int_equal(rd(s.device, b, sizeof(b), MAGIC(0, TOY_TABLE - 16)), sizeof(b));
	assert_int_equal(b[15], 0x11);
	assert_memory_equal(b + 16, ones, len);
	assert_int_equal(b[16 + len], 0x11);
	assert_int_equal(k->toy[0]->f.msix_table[0].addr, 0);
	assert_int_equal(k->toy[0]->f.msix_table[0].ctrl, 1);
	assert_int_equal(rd(s.device, b, 3, MAGIC(0, TOY_TABLE + 5)), 3);
	assert_memory_equal(b, ones, 3);
	fake_session_close(k, &s);
}

/* A mapping shows the whole BAR, the table included; accesses arrive as they are. */
static void mapped_access(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	const struct ufile_ops *ops = s.device->ops;
	uint64_t v = 0;

	assert_int_equal(ops->mmio_write(s.device, MAGIC(0, 0x10), 4, 0xffffffff12345678), 0);
	assert_int_equal(ops->mmio_read(s.device, MAGIC(0, 0x10), 8, &v), 0);
	assert_int_equal(v, 0x12345678);
	assert_int_equal(k->toy[0]->log[0].size, 4);
	assert_int_equal(k->toy[0]->log[1].size, 8);
	assert_int_equal(ops->mmio_read(s.device, MAGIC(0, TOY_TABLE + 12), 4, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(ops->mmio_read(s.device, MAGIC(0, TOY_BAR_SIZE), 1, &v), -EINVAL);
	assert_int_equal(ops->mmio_read(s.device, MAGIC(0, TOY_BAR_SIZE - 4), 8, &v), -EINVAL);
	assert_int_equal(ops->mmio_read(s.device, MAGIC(7, 0), 4, &v), -EINVAL);
	assert_int_equal(ops->mmio_write(s.device, MAGIC(1, 0), 4, 0), -EINVAL);
	assert_int_equal(ops->mmio_write(s.device, MAGIC(9, 0), 4, 0), -EINVAL);
	pci_cfg_write(&k->toy[0]->f, PCI_COMMAND, 2, 0);
	assert_int_equal(ops->mmio_read(s.device, MAGIC(0, 0), 4, &v), -EIO);
	fake_session_close(k, &s);
}

static void map_regions(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	int (*map)(struct ufile *, uint64_t, uint64_t, int, bool, struct umap *) = s.device->ops->mmap;
	struct umap m;

	assert_int_equal(map(s.device, MAGIC(0, 0), TOY_BAR_SIZE, PROT_READ | PROT_WRITE, true, &m), 0);
	assert_int_equal(m.kind, UMAP_TRAP);
	assert_int_equal(map(s.device, PLAIN(0, 0x1000), 0x1000, PROT_READ, true, &m), 0);
	assert_int_equal(map(s.device, MAGIC(2, 0), 0x1000, PROT_READ | PROT_WRITE, true, &m), 0);
	assert_int_equal(m.kind, UMAP_FILE);
	assert_int_equal(m.fd, barmem_file(k->toy[0]->f.bar[2].mem));
	assert_int_equal(m.fd_off, 0);
	assert_int_equal(map(s.device, MAGIC(0, 0), 0x1000, PROT_READ, false, &m), -EINVAL);
	assert_int_equal(map(s.device, MAGIC(0, 0x1000), TOY_BAR_SIZE, PROT_READ, true, &m), -EINVAL);
	assert_int_equal(map(s.device, MAGIC(0, 0), 0, PROT_READ, true, &m), -EINVAL);
	assert_int_equal(map(s.device, MAGIC(0, 0x800), 0x1000, PROT_READ, true, &m), -EINVAL);
	assert_int_equal(map(s.device, MAGIC(0, 0x1000), -0x1000ull, PROT_READ, true, &m), -EINVAL);
	assert_int_equal(map(s.device, MAGIC(1, 0), 0x1000, PROT_READ, true, &m), -EINVAL);
	assert_int_equal(map(s.device, MAGIC(7, 0), 0x1000, PROT_READ, true, &m), -EINVAL);
	assert_int_equal(map(s.device, MAGIC(9, 0), 0x1000, PROT_READ, true, &m), -EINVAL);
	fake_session_close(k, &s);
}

static void reset(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct pci_func *f = &k->toy[0]->f;
	uint16_t cmd = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	uint32_t v = 0x1234, bar = f->cfg[PCI_BASE_ADDRESS_1];
	uint8_t cls = 16;

	assert_int_equal(wr(s.device, &cmd, 2, MAGIC(7, PCI_COMMAND)), 2);
	assert_int_equal(wr(s.device, &cls, 1, MAGIC(7, PCI_CACHE_LINE_SIZE)), 1);
	assert_int_equal(wr(s.device, &v, 4, MAGIC(0, 0x10)), 4);
	assert_int_equal(k->toy[0]->resets, 1);
	assert_int_equal(DO(s.device, VFIO_DEVICE_RESET, 0), 0);
	assert_int_equal(k->toy[0]->resets, 2);
	/* The function forgot, but the host gave its configuration back. */
	assert_true(pci_bus_master(f) && pci_mem_enabled(f));
	assert_int_equal(pci_cfg_read(f, PCI_CACHE_LINE_SIZE, 1), 16);
	assert_int_equal(f->cfg[PCI_BASE_ADDRESS_1], bar);
	assert_int_equal(rd(s.device, &v, 4, MAGIC(0, 0x10)), 4);
	assert_int_equal(v, 0);
	fake_session_close(k, &s);
	assert_int_equal(k->toy[0]->resets, 3);
	assert_false(pci_bus_master(f) || pci_mem_enabled(f));
	assert_null(f->sink);
}

struct hot_info {
	struct vfio_pci_hot_reset_info h;
	struct vfio_pci_dependent_device dep[4];
};

static void hot_reset(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct ufile *g9 = fake_group(k, 9);
	unsigned int before = k->toy[0]->resets;
	struct hot_info i = {.h = {.argsz = sizeof(i.h)}};
	struct {
		struct vfio_pci_hot_reset h;
		int32_t fd[4];
	} r = {.h = {.argsz = sizeof(r), .count = 1}, .fd = {fake_fd_of(k, s.group)}};

	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &i), -ENOSPC);
	assert_int_equal(i.h.count, 2);
	i.h.argsz = sizeof(i);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &i), 0);
	assert_int_equal(i.h.count, 2);
	assert_int_equal(i.dep[0].group_id, 7);
	assert_int_equal(i.dep[0].bus, 1);
	assert_int_equal(i.dep[0].devfn, 0);
	assert_int_equal(i.dep[1].group_id, 9);
	assert_int_equal(i.dep[1].devfn, 1);
	i.h.argsz = sizeof(i.h) - 1;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &i), -EINVAL);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, k->hole), -EFAULT);

	assert_int_equal(DO(s.device, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL); /* the neighbour is not ours */
	r.h.count = 2;
	r.fd[1] = 999;
	assert_int_equal(DO(s.device, VFIO_DEVICE_PCI_HOT_RESET, &r), -EBADF);
	r.fd[1] = fake_fd_of(k, s.container);
	assert_int_equal(DO(s.device, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	r.h.count = 3;
	assert_int_equal(DO(s.device, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	r.h.count = 0;
	assert_int_equal(DO(s.device, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	r.h.count = 2;
	r.h.flags = 1;
	assert_int_equal(DO(s.device, VFIO_DEVICE_PCI_HOT_RESET, &r), -EINVAL);
	r.h.flags = 0;
	assert_int_equal(k->toy[0]->resets, before);
	assert_int_equal(k->toy[2]->resets, 0);
	r.fd[1] = fake_fd_of(k, g9);
	assert_int_equal(DO(s.device, VFIO_DEVICE_PCI_HOT_RESET, &r), 0);
	assert_int_equal(k->toy[0]->resets, before + 1);
	assert_int_equal(k->toy[1]->resets, 0); /* another bus */
	assert_int_equal(k->toy[2]->resets, 1);
	fake_close(k, &g9);
	fake_session_close(k, &s);
}

static void features(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct vfio_device_feature f = {.argsz = sizeof(f)};
	unsigned int i;

	for (i = 0; i < 20; i++) {
		f.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET | i;
		/* Low power and dma-bufs do not go both ways. BUS_MASTER (10) and the VF token (0) are not for such
		 * functions. */
		assert_int_equal(DO(s.device, VFIO_DEVICE_FEATURE, &f),
				 (i >= 3 && i <= 5) || i == VFIO_DEVICE_FEATURE_DMA_BUF ? -EINVAL : -ENOTTY);
	}
	f.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
	assert_int_equal(DO(s.device, VFIO_DEVICE_FEATURE, &f), -EINVAL);
	f.flags = VFIO_DEVICE_FEATURE_GET | 1u << 30;
	assert_int_equal(DO(s.device, VFIO_DEVICE_FEATURE, &f), -EINVAL);
	f.flags = VFIO_DEVICE_FEATURE_GET;
	f.argsz = 7;
	assert_int_equal(DO(s.device, VFIO_DEVICE_FEATURE, &f), -EINVAL);
	assert_int_equal(DO(s.device, VFIO_DEVICE_FEATURE, k->hole), -EFAULT);
	fake_session_close(k, &s);
}

/* Two images, the second the last one, and something behind them that belongs to neither. */
static size_t rom_image(uint8_t *rom, size_t size)
{
	memset(rom, 0x11, size);
	for (unsigned int at = 0; at < 2048; at += 1024) {
		uint8_t *image = rom + at;

		memcpy(image, "\x55\xaa", 2);
		memcpy(image + 0x18, "\x40\x00", 2);
		memcpy(image + 0x40, "PCIR", 4);
		memcpy(image + 0x50, "\x02\x00", 2);
		image[0x55] = at ? 0x80 : 0;
	}
	return 2048;
}

static void rom(void **state)
{
	struct fake *k = *state;
	struct pci_func *f = &k->toy[0]->f;
	uint8_t image[3000], b[4096];
	struct session s;
	struct region r;
	uint32_t v;

	rom_image(image, sizeof(image));
	image[0x40]++;
	assert_int_equal(pci_add_rom(f, image, sizeof(image)), -EINVAL);
	image[0x40]--;
	assert_int_equal(pci_add_rom(f, image, 0x41), -EINVAL);
	assert_int_equal(pci_rom_length(image, 1040), 1024);
	assert_int_equal(pci_add_rom(f, image, sizeof(image)), 0);
	assert_int_equal(pci_add_rom(f, image, sizeof(image)), -EINVAL);
	pci_func_place(f, 0, 0x100, 7);
	s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	r.i = (struct vfio_region_info){.argsz = sizeof(r), .index = VFIO_PCI_ROM_REGION_INDEX};
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	assert_int_equal(r.i.size, 4096);
	assert_int_equal(r.i.flags, VFIO_REGION_INFO_FLAG_READ);
	assert_int_equal(rd(s.device, b, 4096, MAGIC(6, 0)), 4096);
	assert_memory_equal(b, image, 2048);
	assert_int_equal(b[2048], 0xff); /* no image, though the file goes on */
	assert_int_equal(b[4095], 0xff);
	assert_int_equal(rd(s.device, b, 100, MAGIC(6, 4090)), 6);
	assert_int_equal(rd(s.device, b, 1, MAGIC(6, 4096)), -EINVAL);
	assert_int_equal(wr(s.device, b, 1, MAGIC(6, 0)), -EINVAL);
	/* Its BAR is sized like any other. */
	v = 0xffffffff;
	assert_int_equal(wr(s.device, &v, 4, MAGIC(7, PCI_ROM_ADDRESS)), 4);
	assert_int_equal(rd(s.device, &v, 4, MAGIC(7, PCI_ROM_ADDRESS)), 4);
	assert_int_equal(v, 0xfffff001);
	v = 0;
	assert_int_equal(wr(s.device, &v, 2, MAGIC(7, PCI_COMMAND)), 2);
	assert_int_equal(rd(s.device, b, 4, MAGIC(6, 0)), -EIO);
	assert_int_equal(rd(s.device, b, 4, MAGIC(6, 2048)), 4); /* takes no access */
	fake_session_close(k, &s);
	/* Without one there is nothing. */
	assert_int_equal(k->toy[1]->f.cfg[PCI_ROM_ADDRESS], 0);
}

static void turn(struct loop *l)
{
	while (loop_step(l, false))
		;
}

static void ioeventfd(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct loop *l = loop_new();
	int efd = eventfd(0, 0), pipefd[2];
	struct vfio_device_ioeventfd r = {
	    .argsz = sizeof(r), .flags = 4, .offset = MAGIC(0, 0x100), .data = 0xabcd, .fd = efd};

	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -ENODEV); /* nobody to listen */
	vfio_set_loop(k->v, l);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), 0);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EEXIST);
	eventfd_write(efd, 5);
	turn(l);
	assert_int_equal(k->toy[0]->nlog, 1);
	assert_int_equal(k->toy[0]->log[0].off, 0x100);
	assert_int_equal(k->toy[0]->log[0].size, 4);
	assert_int_equal(k->toy[0]->log[0].val, 0xabcd);
	r.fd = -1;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), 0);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -ENODEV);
	eventfd_write(efd, 1);
	turn(l);
	assert_int_equal(k->toy[0]->nlog, 1);

	r.fd = pipefd[0];
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.fd = 999;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EBADF);
	r.fd = -2;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.fd = efd;
	r.flags = 5;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.flags = 0;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.flags = 16;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.flags = 8;
	r.offset = MAGIC(0, TOY_TABLE - 4);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.offset = MAGIC(0, TOY_BAR_SIZE - 4);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.offset = MAGIC(7, 0);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	r.argsz--;
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), -EINVAL);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, k->hole), -EFAULT);
	/* Closing with one registered. */
	r.argsz = sizeof(r);
	r.offset = PLAIN(0, 0x100);
	assert_int_equal(DO(s.device, VFIO_DEVICE_IOEVENTFD, &r), 0);
	fake_session_close(k, &s);
	/* It had been signalled before it was registered: that counts, as in Linux. */
	assert_int_equal(k->toy[0]->nlog, 2);
	eventfd_write(efd, 1);
	turn(l);
	assert_int_equal(k->toy[0]->nlog, 2);
	vfio_set_loop(k->v, NULL);
	loop_free(l);
	close(efd);
	close(pipefd[0]);
	close(pipefd[1]);
}

static void restartable(void **state)
{
	struct fake *k = *state;

	k->again = true;
	get_info(state);
	get_region_info(state);
	hot_reset(state);
	features(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(get_info),    T(get_region_info), T(bar_split), T(bar_limits), T(msix_table_hidden), T(mapped_access),
	    T(map_regions), T(reset),		T(hot_reset), T(features),   T(ioeventfd),	   T(rom),
	    T(restartable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
