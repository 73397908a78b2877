/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * answers BDF: asks VFIO's legacy interface many things and prints what it says, one line each. The function at BDF has
 * to be an NVMe controller bound to vfio-pci. What it prints on Linux 6.12 is in answers.expected. Left out is what may
 * differ between hosts and functions: where the aperture ends, INTx, capabilities' places.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	4096ul
#define RW	(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define UNKNOWN _IO(VFIO_TYPE, 99)

static const char *bdf;
static int container, group, device;
static char *mem, *hole;
static uint64_t config; /* the configuration region's offset */
static uint64_t bar;	/* BAR 0's */

static void show(const char *what, long ret)
{
	printf("%s: %s\n", what, ret < 0 ? strerrorname_np(-ret) : "ok");
}

static void show_value(const char *what, long ret, uint64_t v)
{
	if (ret < 0)
		show(what, ret);
	else
		printf("%s: %#lx\n", what, (unsigned long)v);
}

static long call(int fd, unsigned long cmd, const void *arg)
{
	long ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

static int open_group(void)
{
	char path[300], link[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') ? strrchr(link, '/') + 1 : "?");
	return open(path, O_RDWR);
}

static void begin(long kind)
{
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open_group();
	if (container < 0 || group < 0 || call(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    call(container, VFIO_SET_IOMMU, (void *)kind)) {
		perror("answers: no session");
		exit(1);
	}
	device = call(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
}

static void end(void)
{
	close(device);
	close(group);
	close(container);
}

/* ---- containers and groups ---- */

static void ask_containers(void)
{
	struct vfio_group_status st = {.argsz = sizeof(st)};
	int null = open("/dev/null", O_RDWR), again, closed = 999, i;
	char name[64];

	container = open("/dev/vfio/vfio", O_RDWR);
	group = open_group();
	show("a second open of the group", (again = open_group()) < 0 ? -errno : again);
	show_value("API version", 0, call(container, VFIO_GET_API_VERSION, NULL));
	show("SET_IOMMU without a group", call(container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU));
	show("an unknown ioctl of a fresh container", call(container, UNKNOWN, NULL));
	show("an unknown ioctl of a group", call(group, UNKNOWN, NULL));
	show("UNSET_CONTAINER of none", call(group, VFIO_GROUP_UNSET_CONTAINER, NULL));
	show("SET_CONTAINER from a hole", call(group, VFIO_GROUP_SET_CONTAINER, hole));
	show("SET_CONTAINER to a closed descriptor", call(group, VFIO_GROUP_SET_CONTAINER, &closed));
	show("SET_CONTAINER to /dev/null", call(group, VFIO_GROUP_SET_CONTAINER, &null));
	show("SET_CONTAINER to a group", call(group, VFIO_GROUP_SET_CONTAINER, &group));
	show("GET_DEVICE_FD without a container", call(group, VFIO_GROUP_GET_DEVICE_FD, bdf));
	call(group, VFIO_GROUP_GET_STATUS, &st);
	show_value("status without a container", 0, st.flags);
	show("SET_CONTAINER", call(group, VFIO_GROUP_SET_CONTAINER, &container));
	show("SET_CONTAINER again", call(group, VFIO_GROUP_SET_CONTAINER, &container));
	call(group, VFIO_GROUP_GET_STATUS, &st);
	show_value("status with a container", 0, st.flags);
	st.argsz--;
	show("GET_STATUS, short", call(group, VFIO_GROUP_GET_STATUS, &st));
	show("GET_DEVICE_FD without an IOMMU", call(group, VFIO_GROUP_GET_DEVICE_FD, bdf));
	for (i = 0; i < 12; i++) {
		if (i == VFIO_TYPE1_IOMMU || i == VFIO_TYPE1v2_IOMMU)
			continue;
		snprintf(name, sizeof(name), "SET_IOMMU %d", i);
		show(name, call(container, VFIO_SET_IOMMU, (void *)(long)i));
	}
	show("SET_IOMMU v2", call(container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU));
	show("SET_IOMMU again", call(container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU));
	show("an unknown ioctl of a container", call(container, UNKNOWN, NULL));
	for (i = 1; i <= 9; i++) {
		snprintf(name, sizeof(name), "extension %d", i);
		if (i != VFIO_DMA_CC_IOMMU)
			show_value(name, 0, call(container, VFIO_CHECK_EXTENSION, (void *)(long)i));
	}
	show("a device of another name", call(group, VFIO_GROUP_GET_DEVICE_FD, "0000:7f:00.0"));
	snprintf(name, sizeof(name), "%s foo", bdf);
	show("an unknown option behind the name", call(group, VFIO_GROUP_GET_DEVICE_FD, name));
	snprintf(name, sizeof(name), "%sx", bdf);
	show("a letter behind the name", call(group, VFIO_GROUP_GET_DEVICE_FD, name));
	snprintf(name, sizeof(name), "%s vf_token=2ab74924-c335-45f4-9b16-8569e5b08258", bdf);
	show("a token nobody asked for", call(group, VFIO_GROUP_GET_DEVICE_FD, name));
	device = call(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	show("GET_DEVICE_FD", device);
	show("UNSET_CONTAINER with a device open", call(group, VFIO_GROUP_UNSET_CONTAINER, NULL));
	show("a container's ioctl on a device", call(device, VFIO_GET_API_VERSION, NULL));
	show("a device's ioctl on a container", call(container, VFIO_DEVICE_RESET, NULL));
	close(device);
	show("UNSET_CONTAINER", call(group, VFIO_GROUP_UNSET_CONTAINER, NULL));
	show("GET_INFO of a container that was left", call(container, VFIO_IOMMU_GET_INFO, hole));
	close(group);
	close(container);
	close(null);
}

/* ---- type1 ---- */

static long map(uint64_t iova, void *va, uint64_t size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = flags, .vaddr = (uintptr_t)va, .iova = iova, .size = size};

	return call(container, VFIO_IOMMU_MAP_DMA, &m);
}

static long unmap(uint64_t iova, uint64_t *size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .flags = flags, .iova = iova, .size = *size};
	long ret = call(container, VFIO_IOMMU_UNMAP_DMA, &u);

	*size = u.size;
	return ret;
}

static void unmap_all(void)
{
	uint64_t size = 0;

	unmap(0, &size, VFIO_DMA_UNMAP_FLAG_ALL);
	printf("  left: %lu pages\n", (unsigned long)(size / PAGE));
}

static void ask_map(void)
{
	char *ro = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const struct {
		const char *what;
		uint64_t iova;
		void *va;
		uint64_t size;
		uint32_t flags;
	} t[] = {
	    {"no permission", 0, mem, PAGE, 0},
	    {"an unknown flag", 0, mem, PAGE, RW | 8},
	    {"nothing", 0, mem, 0, RW},
	    {"a crooked size", 0, mem, PAGE - 1, RW},
	    {"a crooked address", 0, mem + 1, PAGE, RW},
	    {"a crooked IOVA", 1, mem, PAGE, RW},
	    {"an IOVA that wraps", -PAGE, mem, 2 * PAGE, RW},
	    {"an address that wraps", 0, (void *)-PAGE, 2 * PAGE, RW},
	    {"the MSI window", 0xfee00000, mem, PAGE, RW},
	    {"into the MSI window", 0xfedff000, mem, 2 * PAGE, RW},
	    {"past the aperture", 1ull << 60, mem, PAGE, RW},
	    {"a hole past the aperture", 1ull << 60, hole, PAGE, RW},
	    {"a hole", 0, hole, PAGE, RW},
	    {"address 0", 0, NULL, PAGE, RW},
	    {"the kernel's half", 0, (void *)0xffff800000000000, PAGE, RW},
	    {"memory, then a hole", 0, hole - PAGE, 2 * PAGE, RW},
	    {"read-only memory, to write", 0, ro, PAGE, RW},
	    {"read-only memory, to read", 0, ro, PAGE, VFIO_DMA_MAP_FLAG_READ},
	    {"over another mapping", 0, mem, PAGE, RW},
	    {"over another mapping, from a hole", 0, hole, PAGE, RW},
	    {"write only", 0x10000, mem, PAGE, VFIO_DMA_MAP_FLAG_WRITE},
	    {"the last page before the MSI window", 0xfedff000, mem, PAGE, RW},
	    {"the first page behind it", 0xfef00000, mem, PAGE, RW},
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		printf("MAP_DMA ");
		show(t[i].what, map(t[i].iova, t[i].va, t[i].size, t[i].flags));
	}
	unmap_all();
	munmap(ro, PAGE);
}

static void ask_unmap(uint64_t first, uint64_t n)
{
	uint64_t size = n * PAGE;
	long ret;

	map(0, mem, 4 * PAGE, RW);
	map(4 * PAGE, mem, 2 * PAGE, RW);
	map(8 * PAGE, mem, PAGE, RW);
	ret = unmap(first * PAGE, &size, 0);
	printf("UNMAP_DMA of %lu pages from %lu: ", (unsigned long)n, (unsigned long)first);
	printf("%s, %lu pages\n", ret ? strerrorname_np(-ret) : "ok", (unsigned long)(size / PAGE));
	unmap_all();
}

static void ask_unmaps(void)
{
	static const uint8_t t[][2] = {{0, 4}, {0, 1},	 {0, 3}, {0, 5}, {0, 6}, {0, 7}, {0, 100}, {1, 1},
				       {1, 3}, {1, 100}, {3, 2}, {4, 1}, {4, 5}, {6, 2}, {6, 3},   {100, 1}};
	uint64_t size;
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ask_unmap(t[i][0], t[i][1]);
	show("UNMAP_DMA of nothing", unmap(0, (size = 0, &size), 0));
	show("UNMAP_DMA, crooked", unmap(1, (size = PAGE, &size), 0));
	show("UNMAP_DMA, an unknown flag", unmap(0, (size = PAGE, &size), 8));
	show("UNMAP_DMA, all and a size", unmap(0, (size = PAGE, &size), VFIO_DMA_UNMAP_FLAG_ALL));
	show("UNMAP_DMA, no bitmap", unmap(0, (size = PAGE, &size), VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP));
}

static void ask_dirty(void)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap h;
		struct vfio_iommu_type1_dirty_bitmap_get r;
	} q = {.h = {.argsz = sizeof(q.h)}};
	struct {
		struct vfio_iommu_type1_dma_unmap u;
		struct vfio_bitmap b;
	} un = {.u = {.argsz = sizeof(un), .flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, .size = 64 * PAGE}};
	uint64_t bits[3];
	uint32_t flags;

	for (flags = 0; flags <= 8; flags++)
		if (flags != 1 && flags != 2) {
			q.h.flags = flags;
			printf("DIRTY_PAGES %u: %s\n", flags,
			       strerrorname_np(-call(container, VFIO_IOMMU_DIRTY_PAGES, &q)));
		}
	un.b = (struct vfio_bitmap){PAGE, 8, (void *)bits};
	map(PAGE, mem, 3 * PAGE, RW);
	show("UNMAP_DMA with a bitmap, not tracking", call(container, VFIO_IOMMU_UNMAP_DMA, &un));
	q.h.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
	show("DIRTY_PAGES start", call(container, VFIO_IOMMU_DIRTY_PAGES, &q));
	unmap_all();
	map(0, mem, 3 * PAGE, RW);
	map(5 * PAGE, mem, PAGE, RW);
	map(60 * PAGE, mem, 8 * PAGE, RW);
	memset(bits, 0xaa, sizeof(bits));
	q.h = (struct vfio_iommu_type1_dirty_bitmap){sizeof(q), VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP};
	q.r.size = 128 * PAGE;
	q.r.bitmap = (struct vfio_bitmap){PAGE, 16, (void *)bits};
	show("DIRTY_PAGES get", call(container, VFIO_IOMMU_DIRTY_PAGES, &q));
	printf("  %016lx %016lx %016lx\n", (long)bits[0], (long)bits[1], (long)bits[2]);
	q.r.bitmap.size = 15;
	show("DIRTY_PAGES get, short bitmap", call(container, VFIO_IOMMU_DIRTY_PAGES, &q));
	q.r.bitmap.size = 16;
	q.r.bitmap.pgsize = 2 * PAGE;
	show("DIRTY_PAGES get, other page size", call(container, VFIO_IOMMU_DIRTY_PAGES, &q));
	q.r.bitmap.pgsize = PAGE;
	q.r.iova = PAGE;
	show("DIRTY_PAGES get, from inside a mapping", call(container, VFIO_IOMMU_DIRTY_PAGES, &q));
	unmap_all();
	map(PAGE, mem, 3 * PAGE, RW);
	bits[0] = 0;
	show("UNMAP_DMA with a bitmap", call(container, VFIO_IOMMU_UNMAP_DMA, &un));
	printf("  %lu pages, %016lx\n", (unsigned long)(un.u.size / PAGE), (long)bits[0]);
}

static void ask_type1(void)
{
	uint32_t info[64] = {24};

	begin(VFIO_TYPE1v2_IOMMU);
	show("GET_INFO", call(container, VFIO_IOMMU_GET_INFO, info));
	printf("  argsz %u flags %#x pgsizes %#x cap_offset %u\n", info[0], info[1], info[2], info[4]);
	show("GET_INFO, whole", call(container, VFIO_IOMMU_GET_INFO, info));
	printf("  cap_offset %u; %#x %u, %u entries; %#x %u; %#x, %u ranges, the second from %#x\n", info[4], info[6],
	       info[7], info[16], info[14], info[15], info[18], info[20], info[26]);
	info[0] = 15;
	show("GET_INFO, short", call(container, VFIO_IOMMU_GET_INFO, info));
	show("GET_INFO from a hole", call(container, VFIO_IOMMU_GET_INFO, hole));
	ask_map();
	ask_unmaps();
	ask_dirty();
	end();
	begin(VFIO_TYPE1_IOMMU);
	printf("v1\n");
	ask_unmaps();
	show("DIRTY_PAGES", call(container, VFIO_IOMMU_DIRTY_PAGES, hole));
	end();
}

/* ---- devices ---- */

static void ask_regions(void)
{
	struct {
		struct vfio_region_info r;
		struct vfio_info_cap_header cap;
	} i;
	uint32_t info[8];
	int n;

	memset(info, 0xee, sizeof(info));
	info[0] = sizeof(info);
	show("DEVICE_GET_INFO", call(device, VFIO_DEVICE_GET_INFO, info));
	printf("  argsz %u flags %#x regions %u irqs %u, %#x %#x %#x\n", info[0], info[1], info[2], info[3], info[4],
	       info[5], info[6]);
	for (n = 0; n < 10; n++) {
		i.r = (struct vfio_region_info){.argsz = sizeof(i), .index = n};
		printf("region %d: ", n);
		if (call(device, VFIO_DEVICE_GET_REGION_INFO, &i)) {
			printf("%s\n", strerrorname_np(errno));
			continue;
		}
		printf("flags %#x size %#lx cap_offset %u\n", i.r.flags, (long)i.r.size, i.r.cap_offset);
		if (n == 0)
			bar = i.r.offset;
		if (n == VFIO_PCI_CONFIG_REGION_INDEX)
			config = i.r.offset;
	}
	i.r = (struct vfio_region_info){.argsz = sizeof(i.r), .cap_offset = 7};
	show("region 0, no room for capabilities", call(device, VFIO_DEVICE_GET_REGION_INFO, &i));
	printf("  argsz %u cap_offset %u\n", i.r.argsz, i.r.cap_offset);
}

static void ask_io(const char *what, uint64_t off, size_t len)
{
	static char buf[8192];
	ssize_t n = pread(device, buf, len, off);

	printf("%s: ", what);
	if (n < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%zd\n", n);
}

static uint32_t cfg_read(unsigned int off, unsigned int size)
{
	uint32_t v = 0;

	if (pread(device, &v, size, config + off) != (ssize_t)size)
		printf("  configuration read of %#x: %s\n", off, strerrorname_np(errno));
	return v;
}

static void cfg_write(unsigned int off, unsigned int size, uint32_t v)
{
	if (pwrite(device, &v, size, config + off) != (ssize_t)size)
		printf("  configuration write of %#x: %s\n", off, strerrorname_np(errno));
}

static unsigned int find_cap(uint8_t id)
{
	unsigned int pos = cfg_read(PCI_CAPABILITY_LIST, 1);

	while (pos && cfg_read(pos, 1) != id)
		pos = cfg_read(pos + 1, 1);
	return pos;
}

static void ask_config(void)
{
	const uint16_t mm = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	unsigned int pm = find_cap(PCI_CAP_ID_PM), exp = find_cap(PCI_CAP_ID_EXP), msix = find_cap(PCI_CAP_ID_MSIX), i;
	uint32_t old;

	show_value("COMMAND at first", 0, cfg_read(PCI_COMMAND, 2) & mm);
	for (i = 0; i < 6; i++) {
		old = cfg_read(PCI_BASE_ADDRESS_0 + 4 * i, 4);
		cfg_write(PCI_BASE_ADDRESS_0 + 4 * i, 4, ~0u);
		printf("BAR %u sizes to %#x\n", i, cfg_read(PCI_BASE_ADDRESS_0 + 4 * i, 4));
		cfg_write(PCI_BASE_ADDRESS_0 + 4 * i, 4, old);
	}
	old = cfg_read(PCI_VENDOR_ID, 4);
	cfg_write(PCI_VENDOR_ID, 4, 0);
	printf("ids are %s\n", old == cfg_read(PCI_VENDOR_ID, 4) ? "read-only" : "writable");
	cfg_write(PCI_COMMAND, 2, 0xffff);
	show_value("COMMAND after ffff", 0, cfg_read(PCI_COMMAND, 2) & (mm | PCI_COMMAND_INTX_DISABLE));
	cfg_write(PCI_COMMAND, 2, 0);
	show_value("COMMAND after 0", 0, cfg_read(PCI_COMMAND, 2));
	ask_io("a BAR that does not decode", bar, 4);
	cfg_write(PCI_COMMAND, 2, mm);
	ask_io("a BAR that does", bar, 4);
	cfg_write(pm + PCI_PM_CTRL, 2, 3);
	ask_io("a BAR in D3hot", bar, 4);
	cfg_write(pm + PCI_PM_CTRL, 2, 0);
	show_value("COMMAND back in D0", 0, cfg_read(PCI_COMMAND, 2) & mm);
	cfg_write(pm + PCI_PM_CTRL, 2, 0xff00);
	show_value("PME bits after ff00", 0, cfg_read(pm + PCI_PM_CTRL, 2) & 0x8100);
	cfg_write(msix + PCI_MSIX_FLAGS, 2, 0xc000);
	show_value("MSI-X control after c000", 0, cfg_read(msix + PCI_MSIX_FLAGS, 2) & 0xc000);
	cfg_write(exp + PCI_EXP_LNKCTL, 2, 0xffff);
	show_value("link control after ffff", 0, cfg_read(exp + PCI_EXP_LNKCTL, 2));
	cfg_write(exp + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
	show_value("COMMAND after a function level reset", 0, cfg_read(PCI_COMMAND, 2) & mm);
	show("RESET", call(device, VFIO_DEVICE_RESET, NULL));
	show_value("COMMAND after it", 0, cfg_read(PCI_COMMAND, 2) & mm);
	ask_io("all of the configuration space", config, 4096);
	ask_io("more than that", config, 4097);
	ask_io("across its end", config + 4094, 4);
}

static void ask_bar(void)
{
	void *p;
	uint32_t v = 0;

	ask_io("past the BAR's end", bar + 0x4000, 4);
	ask_io("across the BAR's end", bar + 0x3ff8, 16);
	ask_io("a BAR that is not there", bar + (2ull << 40), 4);
	ask_io("the ROM", bar + (6ull << 40), 4);
	ask_io("VGA", bar + (8ull << 40), 4);
	ask_io("region 9", bar + (9ull << 40), 4);
	ask_io("nothing of region 9", bar + (9ull << 40), 0);
	show_value("the MSI-X table", pread(device, &v, 4, bar + 0x2000), v);
	p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, device, bar);
	show("a private mapping", p == MAP_FAILED ? -errno : 0);
	p = mmap(NULL, 0x5000, PROT_READ, MAP_SHARED, device, bar);
	show("a mapping past the end", p == MAP_FAILED ? -errno : 0);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, config);
	show("a mapping of the configuration space", p == MAP_FAILED ? -errno : 0);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, bar + (9ull << 40));
	show("a mapping of region 9", p == MAP_FAILED ? -errno : 0);
	p = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar);
	show("a mapping of the whole BAR", p == MAP_FAILED ? -errno : 0);
	if (p != MAP_FAILED) {
		printf("version register, mapped: %s\n", *(volatile uint32_t *)((char *)p + 8) ? "there" : "not there");
		munmap(p, 0x4000);
	}
}

static long set_irqs(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, const void *data, size_t len)
{
	union {
		struct vfio_irq_set h;
		char bytes[256];
	} s = {.h = {.argsz = sizeof(s.h) + len, .flags = flags, .index = index, .start = start, .count = count}};

	if (len)
		memcpy(s.h.data, data, len);
	return call(device, VFIO_DEVICE_SET_IRQS, &s);
}

static void ask_irqs(void)
{
	int e = eventfd(0, EFD_NONBLOCK), null = open("/dev/null", O_RDWR), m1 = -1, m2 = -2;
	int fds[3] = {e, e, -1}, bad[3] = {e, 9999, e};
	const struct {
		uint32_t flags, index, start, count;
		const void *data;
		size_t len;
	} t[] = {
	    {0x24, 2, 0, 0, NULL, 0},	 {0x24, 2, 1, 0, NULL, 0},  {0x24, 2, 0, 3, bad, 12}, {0x24, 2, 0, 1, &null, 4},
	    {0x21, 2, 0, 0, NULL, 0},	 {0x21, 2, 0, 1, NULL, 0},  {0x22, 2, 0, 1, "\1", 1}, {0x24, 2, 0, 3, bad, 12},
	    {0x21, 2, 0, 1, NULL, 0},	 {0x24, 2, 0, 3, fds, 12},  {0x24, 2, 5, 2, fds, 8},  {0x21, 2, 0, 1, NULL, 0},
	    {0x22, 2, 0, 2, "\0\1", 2},	 {0x24, 2, 1, 1, &m1, 4},   {0x21, 2, 0, 3, NULL, 0}, {0x24, 1, 0, 1, fds, 4},
	    {0x09, 2, 0, 1, NULL, 0},	 {0x11, 2, 0, 1, NULL, 0},  {0x29, 2, 0, 1, NULL, 0}, {0x64, 2, 0, 1, fds, 4},
	    {0x04, 2, 0, 1, fds, 4},	 {0x25, 2, 0, 1, fds, 4},   {0x20, 2, 0, 1, fds, 4},  {0x24, 2, 0, 3, fds, 11},
	    {0x24, 2, 4000, 0, NULL, 0}, {0x24, 2, 1, ~0u, fds, 8}, {0x21, 2, 0, 0, NULL, 0}, {0x21, 2, 0, 0, NULL, 0},
	    {0x24, 3, 0, 1, fds, 4},	 {0x21, 3, 0, 1, NULL, 0},  {0x21, 3, 0, 0, NULL, 0}, {0x21, 3, 0, 0, NULL, 0},
	    {0x24, 4, 0, 1, fds, 4},	 {0x24, 4, 0, 1, &m2, 4},   {0x24, 4, 0, 1, &m1, 4},  {0x21, 4, 0, 1, NULL, 0},
	    {0x24, 4, 0, 1, &null, 4},	 {0x24, 4, 0, 0, NULL, 0},  {0x22, 4, 0, 1, "\1", 1}, {0x22, 4, 0, 0, NULL, 0},
	    {0x11, 4, 0, 1, NULL, 0},	 {0x24, 4, 1, 0, NULL, 0},  {0x21, 5, 0, 1, NULL, 0},
	};
	struct vfio_irq_info info;
	eventfd_t n;
	size_t i;

	for (i = 1; i < 6; i++) {
		info = (struct vfio_irq_info){.argsz = sizeof(info), .index = i};
		printf("irq %zu: ", i);
		if (call(device, VFIO_DEVICE_GET_IRQ_INFO, &info))
			printf("%s\n", strerrorname_np(errno));
		else
			printf("flags %#x, %s\n", info.flags, info.count ? "some" : "none");
	}
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		long ret = set_irqs(t[i].flags, t[i].index, t[i].start, t[i].count, t[i].data, t[i].len);

		printf("SET_IRQS %#x of %u, %u from %u: %s", t[i].flags, t[i].index, t[i].count, t[i].start,
		       ret ? strerrorname_np(-ret) : "ok");
		printf(", %lu signals\n", eventfd_read(e, &n) ? 0 : (unsigned long)n);
	}
	show("SET_IRQS from a hole", call(device, VFIO_DEVICE_SET_IRQS, hole));
	close(e);
	close(null);
}

static void ask_device(void)
{
	struct vfio_device_ioeventfd io = {.argsz = sizeof(io), .flags = 4, .data = 1, .fd = eventfd(0, 0)};
	struct vfio_device_feature f = {.argsz = sizeof(f), .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET};

	begin(VFIO_TYPE1v2_IOMMU);
	ask_regions();
	ask_config();
	ask_bar();
	ask_irqs();
	io.offset = bar + 0x1000;
	io.fd = -1;
	show("IOEVENTFD, removed before it was there", call(device, VFIO_DEVICE_IOEVENTFD, &io));
	io.offset = bar + 0x2000;
	show("IOEVENTFD on the MSI-X table", call(device, VFIO_DEVICE_IOEVENTFD, &io));
	io.offset = config;
	show("IOEVENTFD on the configuration space", call(device, VFIO_DEVICE_IOEVENTFD, &io));
	show("FEATURE, both ways", call(device, VFIO_DEVICE_FEATURE, &f));
	f.flags = VFIO_DEVICE_FEATURE_PROBE | 1000;
	show("FEATURE, unknown", call(device, VFIO_DEVICE_FEATURE, &f));
	show("BIND_IOMMUFD from a hole", call(device, _IO(VFIO_TYPE, VFIO_BASE + 18), hole));
	show("ATTACH_IOMMUFD_PT", call(device, _IO(VFIO_TYPE, VFIO_BASE + 19), hole));
	show("an unknown ioctl of a device", call(device, UNKNOWN, NULL));
	end();
}

/* ---- low power: what a host's kernel says that has no power management, too (nothing ever wakes up there) ---- */

static long feature(uint32_t flags, const void *data, size_t len)
{
	struct {
		struct vfio_device_feature h;
		uint8_t data[16];
	} f = {{.argsz = sizeof(f.h) + len, .flags = flags}, {0}};

	memcpy(f.data, data, len);
	return call(device, VFIO_DEVICE_FEATURE, &f);
}

static sigjmp_buf fault;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	printf("signal %d, code %d\n", sig, si->si_code);
	siglongjmp(fault, 1);
}

/* The kernel puts the function to sleep a little after it was asked to. */
static void ask_mapping(const char *when, const volatile uint32_t *map)
{
	usleep(300000);
	printf("a load %s: ", when);
	if (!sigsetjmp(fault, 1))
		printf("%#x\n", map[2]);
}

static void show_events(const char *when, int e)
{
	eventfd_t n = 0;

	usleep(100000);
	if (eventfd_read(e, &n))
		n = 0;
	printf("wake-ups %s: %lu\n", when, (unsigned long)n);
}

static void ask_low_power(void)
{
	const uint32_t set = VFIO_DEVICE_FEATURE_SET, probe = VFIO_DEVICE_FEATURE_PROBE;
	const uint32_t enter = set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
	const uint32_t wakeup = set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
	const uint32_t leave = set | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT;
	static const unsigned int features[] = {0, 3, 4, 5, 10};
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	struct vfio_device_low_power_entry_with_wakeup e = {.wakeup_eventfd = eventfd(0, EFD_NONBLOCK)};
	uint32_t v = 0, bad[2] = {-1};
	volatile uint32_t *map;
	uint16_t command = 0;
	char what[64];

	begin(VFIO_TYPE1v2_IOMMU);
	for (unsigned int i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		snprintf(what, sizeof(what), "FEATURE %u, probe of SET", features[i]);
		show(what, feature(probe | set | features[i], NULL, 0));
		snprintf(what, sizeof(what), "FEATURE %u, probe of GET", features[i]);
		show(what, feature(probe | VFIO_DEVICE_FEATURE_GET | features[i], NULL, 0));
	}
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, bar);
	sigaction(SIGBUS, &sa, NULL);
	ask_mapping("awake", map);
	show("LOW_POWER_ENTRY", feature(enter, NULL, 0));
	ask_mapping("asleep", map);
	pread(device, &command, 2, config + PCI_COMMAND);
	printf("COMMAND & MEMORY: %d\n", command & PCI_COMMAND_MEMORY);
	show("pread of a BAR, asleep", pread(device, &v, 4, bar + 8) < 0 ? -errno : 0);
	ask_mapping("asleep, after calls", map);
	show("LOW_POWER_ENTRY again", feature(enter, NULL, 0));
	show("LOW_POWER_EXIT", feature(leave, NULL, 0));
	ask_mapping("after the exit", map);
	show("LOW_POWER_EXIT again", feature(leave, NULL, 0));
	show("WITH_WAKEUP, too short", feature(wakeup, &e, 4));
	show("WITH_WAKEUP, no eventfd", feature(wakeup, bad, 8));
	show("WITH_WAKEUP", feature(wakeup, &e, 8));
	ask_mapping("asleep", map);
	show_events("before a call", e.wakeup_eventfd);
	munmap((void *)map, PAGE);
	end();
	close(e.wakeup_eventfd);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: answers BDF\n");
		return 2;
	}
	bdf = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	mem = mmap(NULL, 65 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	hole = mem + 64 * PAGE;
	munmap(hole, PAGE);
	ask_containers();
	ask_type1();
	ask_device();
	ask_low_power();
	return 0;
}
