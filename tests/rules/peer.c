/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules B2 and B3: a controller that reaches another one's memory, a Controller Memory Buffer, with leave and without.
 */
#include "peer.h"

#include <fcntl.h>
#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include "uapi/vfio_abi.h"

/* ---- the exporter ---- */

static int target_node(void)
{
	char path[128] = "/sys/bus/pci/devices/" TARGET "/vfio-dev";
	struct dirent *e;
	DIR *d = opendir(path);

	expect(d);
	while ((e = readdir(d)))
		if (!strncmp(e->d_name, "vfio", 4))
			snprintf(path, sizeof(path), "/dev/vfio/devices/%.31s", e->d_name);
	closedir(d);
	return open(path, O_RDWR | O_CLOEXEC);
}

static void target_regions(struct target *t)
{
	for (unsigned int i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		struct vfio_region_info r = {.argsz = sizeof(r), .index = i};

		if (i == VFIO_PCI_VGA_REGION_INDEX || ioctl(t->fd, VFIO_DEVICE_GET_REGION_INFO, &r))
			continue;
		t->offset[i] = r.offset;
		t->size[i] = r.size;
	}
	expect_eq(t->size[CMB_BAR] >= PEER_LEN, true);
}

uint8_t *target_map(const struct target *t, unsigned int bar, uint64_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, t->offset[bar]);

	expect(p != MAP_FAILED);
	return p;
}

struct target target_open(void)
{
	struct target t = {.iommufd = iommufd_open(), .fd = target_node()};
	int err;

	expect(t.iommufd >= 0 && t.fd >= 0);
	while ((err = cdev_bind(t.fd, t.iommufd, NULL)) == EINVAL || err == EBUSY)
		usleep(1000);
	expect_eq(err, 0);
	target_regions(&t);
	t.cmb = target_map(&t, CMB_BAR, PEER_LEN);
	return t;
}

void target_close(struct target *t)
{
	munmap(t->cmb, PEER_LEN);
	close(t->fd);
	close(t->iommufd);
}

uint16_t target_config(const struct target *t, unsigned int off)
{
	uint16_t v;

	expect_eq(pread(t->fd, &v, 2, t->offset[VFIO_PCI_CONFIG_REGION_INDEX] + off), 2);
	return v;
}

void target_config_write(const struct target *t, unsigned int off, uint16_t v)
{
	expect_eq(pwrite(t->fd, &v, 2, t->offset[VFIO_PCI_CONFIG_REGION_INDEX] + off), 2);
}

void target_memory(const struct target *t, bool on)
{
	uint16_t cmd = target_config(t, PCI_COMMAND);

	target_config_write(t, PCI_COMMAND, on ? cmd | PCI_COMMAND_MEMORY : cmd & ~PCI_COMMAND_MEMORY);
}

unsigned int target_capability(const struct target *t, uint8_t id)
{
	unsigned int at = target_config(t, PCI_CAPABILITY_LIST) & 0xff;

	while (at && (target_config(t, at) & 0xff) != id)
		at = target_config(t, at) >> 8;
	return at;
}

struct export_call {
	struct vfio_device_feature h;
	struct vfio_device_feature_dma_buf b;
	struct vfio_region_dma_range r[2];
};

int target_export(const struct target *t, unsigned int bar, uint64_t off, uint64_t len)
{
	struct export_call c = {
	    .h = {.argsz = sizeof(c), .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF},
	    .b = {.region_index = bar, .open_flags = O_CLOEXEC | O_RDWR, .nr_ranges = 1},
	    .r = {{off, len}},
	};
	int fd = ioctl(t->fd, VFIO_DEVICE_FEATURE, &c);

	return fd < 0 ? -errno : fd;
}

void target_mapped(const struct target *t)
{
	int fd = target_export(t, CMB_BAR, 0, PEER_LEN);

	expect(fd >= 0);
	expect_eq(space_map_file(dma_ioas, fd, 0, PEER_IOVA, PEER_LEN), 0);
	close(fd); /* what is mapped stays */
}

int target_legacy(struct target *t)
{
	char path[128] = "/sys/bus/pci/devices/" TARGET "/iommu_group", link[256];
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	int grp;

	expect(n > 0);
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%.31s", strrchr(link, '/') + 1);
	grp = open(path, O_RDWR | O_CLOEXEC);
	expect(grp >= 0);
	device_open(VFIO_TYPE1v2_IOMMU);
	expect_eq(ioctl(grp, VFIO_GROUP_SET_CONTAINER, &container), 0);
	*t = (struct target){.iommufd = -1, .fd = ioctl(grp, VFIO_GROUP_GET_DEVICE_FD, TARGET)};
	expect(t->fd >= 0);
	target_regions(t);
	t->cmb = target_map(t, CMB_BAR, PEER_LEN);
	return grp;
}

/* ---- cases without DMA ---- */

static void arguments(void)
{
	struct target t = target_open();
	struct export_call good =
			       {
				   .h = {.argsz = sizeof(good),
					 .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF},
				   .b = {.region_index = CMB_BAR, .nr_ranges = 1},
				   .r = {{0, PEER_LEN}},
			       },
			   c;
	uint64_t size = t.size[CMB_BAR];
	uint32_t ioas;
	int fd;

#define WANT(err, ...)                                                                                                 \
	do {                                                                                                           \
		c = good;                                                                                              \
		__VA_ARGS__;                                                                                           \
		expect_errno(ioctl(t.fd, VFIO_DEVICE_FEATURE, &c), err);                                               \
	} while (0)
	c = good;
	c.h.flags |= VFIO_DEVICE_FEATURE_PROBE;
	expect_eq(ioctl(t.fd, VFIO_DEVICE_FEATURE, &c), 0);
	WANT(EINVAL, c.h.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_BUF);
	WANT(EINVAL, c.h.flags = VFIO_DEVICE_FEATURE_DMA_BUF);
	WANT(EINVAL, c.h.argsz = sizeof(c.h) + sizeof(c.b) - 1);
	WANT(EINVAL, c.b.flags = 1);
	WANT(EINVAL, c.b.nr_ranges = 0);
	WANT(ENOMEM, c.b.nr_ranges = UINT32_MAX);
	WANT(ENODEV, c.b.region_index = VFIO_PCI_ROM_REGION_INDEX);
	WANT(ENODEV, c.b.region_index = VFIO_PCI_CONFIG_REGION_INDEX);
	WANT(ENODEV, c.b.region_index = UINT32_MAX);
	WANT(EINVAL, c.b.region_index = VFIO_PCI_BAR5_REGION_INDEX); /* there is none */
	WANT(EINVAL, c.r[0].length = 0);
	WANT(EINVAL, c.r[0].length = PAGE + 1);
	WANT(EINVAL, c.r[0].offset = 1);
	WANT(EINVAL, c.r[0].offset = size);
	WANT(EINVAL, c.r[0].length = size + PAGE);
	WANT(EINVAL, c.r[0].offset = PAGE; c.r[0].length = size);
	WANT(EINVAL, c.r[0].length = -PAGE);
	WANT(EOVERFLOW, c.r[0].offset = -PAGE);
	WANT(EINVAL, c.b.nr_ranges = 2; c.r[1].length = 0);
	/* Two slices are a dma-buf, and one that an IOAS cannot take. */
	c = good;
	c.b.nr_ranges = 2;
	c.r[0] = c.r[1] = (struct vfio_region_dma_range){0, PAGE};
	fd = ioctl(t.fd, VFIO_DEVICE_FEATURE, &c);
	expect(fd >= 0);
	container = iommufd_open();
	ioas = ioas_alloc(container);
	expect_eq(space_map_file(ioas, fd, 0, PEER_IOVA, PAGE), EOPNOTSUPP);
	close(fd);
	/* What an IOAS takes lies in the slice. */
	fd = target_export(&t, CMB_BAR, 4 * PAGE, 4 * PAGE);
	expect(fd >= 0);
	expect_eq(space_map_file(ioas, fd, 0, PEER_IOVA, 0), EINVAL);
	expect_eq(space_map_file(ioas, fd, 4 * PAGE, PEER_IOVA, PAGE), EINVAL);
	expect_eq(space_map_file(ioas, fd, 0, PEER_IOVA, 4 * PAGE + 1), EINVAL);
	expect_eq(space_map_file(ioas, fd, 3 * PAGE, PEER_IOVA, 2 * PAGE), EINVAL);
	expect_eq(space_map_file(ioas, fd, -PAGE, PEER_IOVA, PAGE), EOVERFLOW);
	expect_eq(space_map_file(ioas, fd, PAGE, PEER_IOVA, 3 * PAGE), 0);
	expect_eq(space_unmap(ioas, PEER_IOVA, 3 * PAGE), 0);
	/* Off, gone. */
	target_memory(&t, false);
	expect_eq(space_map_file(ioas, fd, 0, PEER_IOVA, PAGE), ENODEV);
	target_memory(&t, true);
	expect_eq(space_map_file(ioas, fd, 0, PEER_IOVA, PAGE), 0);
	target_close(&t);
	expect_eq(space_map_file(ioas, fd, 0, PEER_IOVA + PAGE, PAGE), ENODEV);
	/* The next owner's is another one. */
	t = target_open();
	expect_eq(space_map_file(ioas, fd, 0, PEER_IOVA + PAGE, PAGE), ENODEV);
	expect_eq(space_unmap(ioas, PEER_IOVA, PAGE), 0);
}

/* No address of a BAR is memory to an iommufd, nor the file that shows it, whoever has a descriptor of that. */
static void native_refuses(void)
{
	struct target t = target_open();
	uint8_t *bar0 = target_map(&t, 0, t.size[0]);

	device_started();
	expect_eq(space_map(dma_ioas, t.cmb, PEER_IOVA, PAGE, RW), EFAULT);
	expect_eq(space_map(dma_ioas, bar0, PEER_IOVA, t.size[0], RW), EFAULT);
	expect_eq(space_map(dma_ioas, nvme_bar() ? (void *)nvme_bar() : bar0, PEER_IOVA, PAGE, RW), EFAULT);
	expect_unreachable(PEER_IOVA);
}

/* ---- B2 ---- */

static void denied(void)
{
	struct target t = target_open();
	int fd = target_export(&t, CMB_BAR, 0, PEER_LEN);
	uint32_t later;

	expect(fd >= 0);
	memset(t.cmb, 't', PEER_LEN);
	device_started();
	expect_eq(space_map_file(dma_ioas, fd, 0, PEER_IOVA, PEER_LEN), EREMOTEIO);
	expect_unreachable(PEER_IOVA);
	/* A space that has it already: who may not reach it does not get in. */
	later = space_with_rings();
	expect_eq(space_map_file(later, fd, 0, PEER_IOVA, PEER_LEN), 0);
	expect_eq(attach_to(later), EREMOTEIO);
	expect_eq(space_copy(dma_ioas, PEER_IOVA, later, PEER_IOVA, PAGE), EREMOTEIO);
	expect_unreachable(PEER_IOVA);
	expect_page(t.cmb, 't', "what nobody may reach");
	/* Without it it does. */
	expect_eq(space_unmap(later, PEER_IOVA, PEER_LEN), 0);
	expect_eq(attach_to(later), 0);
	expect_eq(space_map_file(later, fd, 0, PEER_IOVA, PEER_LEN), EREMOTEIO);
	expect_unreachable(PEER_IOVA);
}

/* ---- with leave ---- */

static void allowed(void)
{
	struct target t = target_open();
	int fd;

	device_started();
	target_mapped(&t);
	fill_page(t.cmb + PAGE, 'c');
	expect_sees(PEER_IOVA + PAGE, 'c');
	expect(device_writes(PEER_IOVA + 2 * PAGE, 'd'));
	expect_page(t.cmb + 2 * PAGE, 'd', "the other one's memory");
	expect_page(t.cmb + PAGE, 'c', "the page beside it");
	/* A slice begins where it says. */
	fd = target_export(&t, CMB_BAR, 2 * PAGE, PAGE);
	expect(fd >= 0);
	expect_eq(space_map_file(dma_ioas, fd, 0, PEER_IOVA + 0x100000, PAGE), 0);
	expect_sees(PEER_IOVA + 0x100000, 'd');
	expect_eq(space_unmap(dma_ioas, PEER_IOVA, PEER_LEN), 0);
	expect_unreachable(PEER_IOVA + PAGE);
}

/* Registers: read at once, written when the writer's own work is done. */
static void registers(void)
{
	uint32_t *page = pages_alloc(PAGE);
	struct target t = target_open();
	volatile uint32_t *bar = (volatile uint32_t *)target_map(&t, 0, t.size[0]);
	int fd = target_export(&t, 0, 0, t.size[0]);

	expect(fd >= 0);
	device_started();
	expect_eq(dma_map(page, DATA_IOVA, PAGE, RW), 0);
	expect_eq(space_map_file(dma_ioas, fd, 0, PEER_IOVA, t.size[0]), 0);
	/* VS, and AQA as it has been written here: through the disk into memory. */
	bar[0x24 / 4] = 0x00070007;
	expect_eq(nvme_rw(true, 3, PAGE, PEER_IOVA), 0);
	expect_eq(nvme_rw(false, 3, PAGE, DATA_IOVA), 0);
	expect_eq(page[8 / 4], 0x00010400);
	expect_eq(page[0x24 / 4], 0x00070007);
	/* The same way back, with another AQA and ASQ: nothing else of the page means anything to a disabled
	 * controller. */
	memset(page, 0, PAGE);
	page[0x24 / 4] = 0x001f001f;
	page[0x28 / 4] = 0xabcd0000;
	expect_eq(nvme_rw(true, 3, PAGE, DATA_IOVA), 0);
	expect_eq(nvme_rw(false, 3, PAGE, PEER_IOVA), 0);
	while (bar[0x24 / 4] != 0x001f001f || bar[0x28 / 4] != 0xabcd0000)
		usleep(100);
	expect_eq(space_unmap(dma_ioas, PEER_IOVA, t.size[0]), 0);
}

/* ---- B3 ---- */

static void legacy_strict(void)
{
	struct target t;

	target_legacy(&t);
	controller_start();
	memset(t.cmb, 's', PEER_LEN);
	expect_eq(dma_map(t.cmb, PEER_IOVA, PEER_LEN, RW), EINVAL);
	expect_eq(dma_map((void *)nvme_bar(), PEER_IOVA, PAGE, RW), EINVAL);
	expect_unreachable(PEER_IOVA);
	for (unsigned int i = 0; i < PEER_LEN; i += PAGE)
		expect_page(t.cmb + i, 's', "memory that was refused");
}

const struct client_case peer_cases[] = {
    {"rule-peer-arguments", "what can be exported, and what of it mapped", arguments},
    {"rule-peer-native", "B3: iommufd takes no address of a BAR", native_refuses},
    {"rule-peer-denied", "B2: nobody has said that it may", denied},
    {"rule-peer-allowed", "B2: with leave", allowed},
    {"rule-peer-registers", "registers of another device", registers},
    {"rule-peer-legacy-strict", "B3: the address of a BAR in a container, refused", legacy_strict},
    {NULL, NULL, NULL},
};
