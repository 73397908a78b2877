/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions that not every function has: areas that can be mapped and others, and regions of a device's own. */
#include "fake.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/channel.h"
#include "uapi/vfio_abi.h"
#include "vfio/internal.h"

#define AT(index, off) (REGION_OFFSET_MAGIC | (uint64_t)(index) << REGION_INDEX_SHIFT | (off))
#define EXTRA	       VFIO_PCI_NUM_REGIONS
#define EXTRA_SIZE     200

struct sparse {
	struct vfio_region_info i;
	struct vfio_region_info_cap_sparse_mmap cap;
	struct vfio_region_sparse_mmap_area area[2];
};

static struct sparse ask(struct fake *k, struct session *s, size_t argsz)
{
	struct sparse r;

	memset(&r, 0xee, sizeof(r));
	r.i = (struct vfio_region_info){.argsz = argsz, .cap_offset = 0xee};
	assert_int_equal(DO(s->device, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	assert_int_equal(r.i.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
					VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS);
	return r;
}

static void assert_areas(struct fake *k, struct session *s, uint64_t end, uint64_t next)
{
	size_t n = !!end + (next < TOY_BAR_SIZE), len = offsetof(struct sparse, area) + n * 16;
	struct sparse r = ask(k, s, len);
	unsigned int a = 0;

	assert_int_equal(r.i.argsz, len);
	assert_int_equal(r.i.cap_offset, sizeof(r.i));
	assert_int_equal(r.cap.header.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	assert_int_equal(r.cap.header.version, 1);
	assert_int_equal(r.cap.header.next, 0);
	assert_int_equal(r.cap.nr_areas, n);
	if (end) {
		assert_int_equal(r.area[a].offset, 0);
		assert_int_equal(r.area[a++].size, end);
	}
	if (next < TOY_BAR_SIZE) {
		assert_int_equal(r.area[a].offset, next);
		assert_int_equal(r.area[a].size, TOY_BAR_SIZE - next);
	}
	/* A byte short of it: how long it is, and nothing else. */
	r = ask(k, s, len - 1);
	assert_int_equal(r.i.argsz, len);
	assert_int_equal(r.i.cap_offset, 0);
	assert_int_equal(r.cap.nr_areas, 0xeeeeeeee);
}

static int map(struct session *s, uint64_t off, uint64_t len)
{
	struct umap m = {.fd = -1};

	return s->device->ops->mmap(s->device, off, len, PROT_READ | PROT_WRITE, true, &m);
}

/* Each page of the BAR by itself, and with its neighbour. */
static void assert_mappable(struct session *s, uint64_t first, uint64_t last)
{
	for (uint64_t off = 0; off < TOY_BAR_SIZE; off += PF_PAGE_SIZE)
		for (uint64_t n = PF_PAGE_SIZE; off + n <= TOY_BAR_SIZE; n += PF_PAGE_SIZE)
			assert_int_equal(map(s, AT(0, off), n), off <= last && off + n > first ? -EINVAL : 0);
}

static void table_apart(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct pci_func *f = &k->toy[0]->f;
	uint32_t byte;

	assert_mappable(&s, TOY_BAR_SIZE, TOY_BAR_SIZE);
	f->msix_apart = true;
	assert_areas(k, &s, TOY_TABLE, TOY_TABLE + PF_PAGE_SIZE);
	assert_mappable(&s, TOY_TABLE, TOY_TABLE + PF_PAGE_SIZE - 1);
	/* What cannot be mapped can be read and written as ever. */
	assert_int_equal(s.device->ops->pread(s.device, &byte, 4, AT(0, TOY_TABLE)), 4);
	assert_int_equal(byte, 0xffffffff);
	assert_int_equal(s.device->ops->pread(s.device, &byte, 4, AT(0, TOY_TABLE + 16 * TOY_VECTORS)), 4);
	/* A BAR without the table is as it was. */
	assert_int_equal(map(&s, AT(2, 0), PF_PAGE_SIZE), 0);
	fake_session_close(k, &s);
}

/* At either end, and over a border of pages: the numbers are all that GET_REGION_INFO and mmap look at. */
static void table_elsewhere(void **state)
{
	static const struct {
		uint32_t off;
		unsigned int n;
		uint64_t first, end;
	} at[] = {{0, 8, 0, 0x1000},
		  {0x3000, 8, 0x3000, 0x4000},
		  {0x1ff0, 2, 0x1000, 0x3000},
		  {0, 1024, 0, 0x4000},
		  {0x1010, 255, 0x1000, 0x2000}};
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct pci_func *f = &k->toy[0]->f;

	f->msix_apart = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(at); i++) {
		f->msix_table_off = at[i].off;
		f->msix_n = at[i].n;
		assert_areas(k, &s, at[i].first, at[i].end);
		assert_mappable(&s, at[i].first, at[i].end - 1);
	}
	f->msix_table_off = TOY_TABLE;
	f->msix_n = TOY_VECTORS;
	fake_session_close(k, &s);
}

static void extra_read(struct pci_func *f, uint64_t off, void *buf, size_t len)
{
	assert_true(len && off < EXTRA_SIZE && len <= EXTRA_SIZE - off);
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = off + i;
}

static void extra_region(void **state)
{
	struct fake *k = *state;
	struct session s = fake_session(k, VFIO_TYPE1v2_IOMMU);
	struct pci_func *f = &k->toy[0]->f;
	struct {
		struct vfio_region_info i;
		struct vfio_region_info_cap_type cap;
	} r = {.i = {.argsz = sizeof(r), .index = EXTRA}};
	struct vfio_device_info info = {.argsz = sizeof(info)};
	uint8_t b[EXTRA_SIZE + 1];
	uint16_t off = 0;

	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), -EINVAL);
	assert_int_equal(s.device->ops->pread(s.device, b, 1, AT(EXTRA, 0)), -EINVAL);
	f->region[0] = (struct pci_region){0x80008086, 7, EXTRA_SIZE, extra_read};
	f->nregions = 1;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_INFO, &info), 0);
	assert_int_equal(info.num_regions, EXTRA + 1);
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	assert_int_equal(r.i.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_CAPS);
	assert_int_equal(r.i.size, EXTRA_SIZE);
	assert_int_equal(r.i.offset, AT(EXTRA, 0));
	assert_int_equal(r.i.cap_offset, sizeof(r.i));
	assert_int_equal(r.cap.header.id, VFIO_REGION_INFO_CAP_TYPE);
	assert_int_equal(r.cap.type, 0x80000000u | 0x8086);
	assert_int_equal(r.cap.subtype, 7);
	r.i = (struct vfio_region_info){.argsz = sizeof(r.i), .index = EXTRA};
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	assert_int_equal(r.i.argsz, sizeof(r));
	assert_int_equal(r.i.cap_offset, 0);
	r.i.index++;
	assert_int_equal(DO(s.device, VFIO_DEVICE_GET_REGION_INFO, &r), -EINVAL);
	/* To its end, not behind it, and not before the next; it takes no writes and is not mapped. */
	assert_int_equal(s.device->ops->pread(s.device, b, sizeof(b), AT(EXTRA, 0)), EXTRA_SIZE);
	assert_int_equal(b[EXTRA_SIZE - 1], EXTRA_SIZE - 1);
	assert_int_equal(s.device->ops->pread(s.device, b, 9, AT(EXTRA, EXTRA_SIZE - 4)), 4);
	assert_int_equal(b[0], EXTRA_SIZE - 4);
	assert_int_equal(s.device->ops->pread(s.device, b, 1, AT(EXTRA, EXTRA_SIZE)), -EINVAL);
	assert_int_equal(s.device->ops->pread(s.device, b, 1, AT(EXTRA + 1, 0)), -EINVAL);
	assert_int_equal(s.device->ops->pwrite(s.device, b, 1, AT(EXTRA, 0)), -EINVAL);
	assert_int_equal(map(&s, AT(EXTRA, 0), PF_PAGE_SIZE), -EINVAL);
	/* Not on the bus: decode does not matter. */
	assert_int_equal(s.device->ops->pwrite(s.device, &off, 2, AT(VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND)), 2);
	assert_int_equal(s.device->ops->pread(s.device, b, 1, AT(EXTRA, 5)), 1);
	assert_int_equal(b[0], 5);
	fake_session_close(k, &s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(table_apart), T(table_elsewhere), T(extra_region)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
