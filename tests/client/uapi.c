/* SPDX-License-Identifier: BSD-3-Clause */
/* What containers, groups and type1 answer, right and wrong calls. Linux 6.12: container.c, group.c, vfio_iommu_type1.c
 * of drivers/vfio. */
#include "client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

static void container_alone(void)
{
	struct vfio_iommu_type1_info info = {.argsz = sizeof(info)};
	struct stat st;
	int c = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	expect(c >= 0);
	expect(!fstat(c, &st) && S_ISCHR(st.st_mode));
	expect_eq(ioctl(c, VFIO_GET_API_VERSION), VFIO_API_VERSION);
	expect_eq(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
	expect_eq(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
	expect_eq(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL), 1);
	expect_eq(ioctl(c, VFIO_CHECK_EXTENSION, 4711), 0);
	expect_errno(ioctl(c, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), EINVAL); /* no group yet */
	expect_errno(ioctl(c, VFIO_IOMMU_GET_INFO, &info), EINVAL);
	close(c);
	expect_errno(ioctl(c, VFIO_GET_API_VERSION), EBADF);
}

static void group_life(void)
{
	struct vfio_group_status st = {.argsz = sizeof(st)}, small = {.argsz = sizeof(st) - 1};
	int c = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), g = group_open(), null = open("/dev/null", O_RDWR),
	    bad = 999;

	expect(c >= 0 && g >= 0 && null >= 0);
	expect_errno(group_open(), EBUSY);
	expect_eq(ioctl(g, VFIO_GROUP_GET_STATUS, &st), 0);
	expect_eq(st.flags, VFIO_GROUP_FLAGS_VIABLE);
	expect_errno(ioctl(g, VFIO_GROUP_GET_STATUS, &small), EINVAL);
	expect_errno(ioctl(g, VFIO_GROUP_GET_STATUS, NULL), EFAULT);
	expect_errno(ioctl(g, VFIO_GROUP_UNSET_CONTAINER), EINVAL);
	expect_errno(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, bdf), EINVAL);
	expect_errno(ioctl(g, VFIO_GROUP_SET_CONTAINER, &bad), EBADF);
	expect_errno(ioctl(g, VFIO_GROUP_SET_CONTAINER, &null), EBADFD);
	expect_errno(ioctl(g, VFIO_GROUP_SET_CONTAINER, NULL), EFAULT);
	expect_eq(ioctl(g, VFIO_GROUP_SET_CONTAINER, &c), 0);
	expect_errno(ioctl(g, VFIO_GROUP_SET_CONTAINER, &c), EINVAL);
	expect_eq(ioctl(g, VFIO_GROUP_GET_STATUS, &st), 0);
	expect_eq(st.flags, VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
	expect_errno(ioctl(c, VFIO_SET_IOMMU, 4711), ENODEV);
	expect_eq(ioctl(c, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	expect_errno(ioctl(c, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), EINVAL);
	expect_errno(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, "0000:ff:1f.7"), ENODEV);
	expect_errno(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, NULL), EFAULT);
	device = ioctl(g, VFIO_GROUP_GET_DEVICE_FD, bdf);
	expect(device >= 0);
	expect(fcntl(device, F_GETFD) & FD_CLOEXEC);
	expect_errno(ioctl(g, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
	close(device);
	expect_eq(ioctl(g, VFIO_GROUP_UNSET_CONTAINER), 0);
	close(g);
	g = group_open(); /* free again at once */
	expect(g >= 0);
}

static void type1_info(void)
{
	struct vfio_iommu_type1_info small = {.argsz = offsetof(struct vfio_iommu_type1_info, iova_pgsizes)}, *info;
	bool ranges = false, avail = false;
	char buf[1024] = {0};

	container_set(VFIO_TYPE1v2_IOMMU);
	expect_errno(ioctl(container, VFIO_IOMMU_GET_INFO, &small), EINVAL);
	info = (void *)buf;
	info->argsz = offsetof(struct vfio_iommu_type1_info, cap_offset) + 4;
	expect_eq(ioctl(container, VFIO_IOMMU_GET_INFO, info), 0);
	expect(info->argsz > sizeof(*info)); /* what it would take */
	expect(info->flags & VFIO_IOMMU_INFO_CAPS);
	expect_eq(info->cap_offset, 0);
	expect(info->flags & VFIO_IOMMU_INFO_PGSIZES && info->iova_pgsizes & PAGE);
	expect(info->argsz <= sizeof(buf));
	expect_eq(ioctl(container, VFIO_IOMMU_GET_INFO, info), 0);
	for (uint32_t off = info->cap_offset; off; off = ((struct vfio_info_cap_header *)(buf + off))->next) {
		struct vfio_info_cap_header *h = (void *)(buf + off);

		expect(off + sizeof(*h) <= info->argsz);
		if (h->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
			struct vfio_iommu_type1_info_cap_iova_range *r = (void *)h;

			ranges = true;
			expect(r->nr_iovas >= 2); /* the interrupt window splits them */
			for (uint32_t i = 0; i < r->nr_iovas; i++) {
				expect(r->iova_ranges[i].start < r->iova_ranges[i].end);
				expect(r->iova_ranges[i].end < 0xfee00000 || r->iova_ranges[i].start > 0xfeefffff);
			}
		}
		if (h->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
			avail = true;
			expect_eq(((struct vfio_iommu_type1_info_dma_avail *)h)->avail, 65535);
		}
	}
	expect(ranges && avail);
}

static void map_errors(void)
{
	struct vfio_iommu_type1_dma_map m = {.argsz = sizeof(m) - 1};
	uint8_t *p = pages_alloc(4 * PAGE), *gone = pages_alloc(PAGE), *none = pages_alloc(PAGE);

	munmap(gone, PAGE);
	expect_eq(mprotect(none, PAGE, PROT_NONE), 0);
	container_set(VFIO_TYPE1v2_IOMMU);
	expect_errno(ioctl(container, VFIO_IOMMU_MAP_DMA, &m), EINVAL);
	expect_errno(ioctl(container, VFIO_IOMMU_MAP_DMA, NULL), EFAULT);
	expect_errno(ioctl(container, VFIO_IOMMU_MAP_DMA, gone), EFAULT);
	expect_eq(dma_map(p, 0x10000, PAGE, 0), EINVAL);
	expect_eq(dma_map(p, 0x10000, PAGE, RW | 0x80), EINVAL);
	expect_eq(dma_map(p, 0x10000, 0, RW), EINVAL);
	expect_eq(dma_map(p + 1, 0x10000, PAGE, RW), EINVAL);
	expect_eq(dma_map(p, 0x10001, PAGE, RW), EINVAL);
	expect_eq(dma_map(p, 0x10000, PAGE - 1, RW), EINVAL);
	expect_eq(dma_map(p, -PAGE, 2 * PAGE, RW), EINVAL);
	expect_eq(dma_map((void *)-PAGE, 0x10000, 2 * PAGE, RW), EINVAL);
	expect_eq(dma_map(p, 0xfee00000, PAGE, RW), EINVAL);
	expect_eq(dma_map(gone, 0x10000, PAGE, RW), EFAULT);
	expect_eq(dma_map(none, 0x10000, PAGE, RW), EFAULT);
	expect_eq(dma_map(NULL, 0x10000, PAGE, RW), EFAULT);
	/* A hole in the middle: nothing of it stays. */
	munmap(p + 2 * PAGE, PAGE);
	expect_eq(dma_map(p, 0x10000, 4 * PAGE, RW), EFAULT);
	expect_eq(dma_map(p, 0x10000, 2 * PAGE, RW), 0);
	expect_eq(dma_map(p, 0x10000, PAGE, RW), EEXIST);
	expect_eq(dma_map(p, 0xf000, 2 * PAGE, RW), EEXIST);
	expect_eq(dma_map(p, 0x11000, 2 * PAGE, RW), EEXIST);
	expect_eq(dma_map(p, 0x12000, PAGE, RW), 0); /* the same page twice, next to it */
}

static void unmap_v2(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u) - 1};
	uint8_t *p = pages_alloc(8 * PAGE);
	uint64_t n;

	container_set(VFIO_TYPE1v2_IOMMU);
	expect_errno(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u), EINVAL);
	expect_eq(dma_map(p, 0x10000, 4 * PAGE, RW), 0);
	expect_eq(dma_map(p, 0x20000, PAGE, RW), 0);
	expect_eq(dma_map(p, 0x30000, PAGE, RW), 0);
	expect_eq(dma_unmap(0x10000, PAGE, 0, NULL), EINVAL); /* would cut a mapping */
	expect_eq(dma_unmap(0x11000, 3 * PAGE, 0, NULL), EINVAL);
	expect_eq(dma_unmap(0x10001, 4 * PAGE, 0, NULL), EINVAL);
	expect_eq(dma_unmap(0x10000, 0, 0, NULL), EINVAL);
	expect_eq(dma_unmap(-PAGE, 2 * PAGE, 0, NULL), EINVAL);
	expect_eq(dma_unmap(0x10000, 4 * PAGE, 0x80, NULL), EINVAL);
	expect_eq(dma_unmap(0x80000, PAGE, 0, &n), 0); /* nothing there is no error */
	expect_eq(n, 0);
	expect_eq(dma_unmap(0xf000, 0x12000, 0, &n), 0); /* two of three, with holes around */
	expect_eq(n, 5 * PAGE);
	expect_eq(dma_unmap(0x1000, 0x1000, VFIO_DMA_UNMAP_FLAG_ALL, NULL), EINVAL);
	expect_eq(dma_unmap(0, 0, VFIO_DMA_UNMAP_FLAG_ALL, &n), 0);
	expect_eq(n, PAGE);
	expect_eq(dma_map(p, 0x10000, 8 * PAGE, RW), 0); /* all free again */
}

/* Version 1 unmaps the whole mapping that the range starts with, and nothing from its middle. */
static void unmap_v1(void)
{
	uint8_t *p = pages_alloc(4 * PAGE);
	uint64_t n;

	container_set(VFIO_TYPE1_IOMMU);
	expect_eq(dma_map(p, 0x10000, 4 * PAGE, RW), 0);
	expect_eq(dma_unmap(0x11000, PAGE, 0, &n), 0);
	expect_eq(n, 0);
	expect_eq(dma_unmap(0x10000, PAGE, 0, &n), 0);
	expect_eq(n, 4 * PAGE);
	expect_eq(dma_map(p, 0x10000, 4 * PAGE, RW), 0);
}

/* dma_entry_limit: one mapping more than 65535 is ENOSPC, and room comes back. */
static void entry_limit(void)
{
	uint8_t *p = pages_alloc(PAGE);
	unsigned int i;
	int err = 0;

	container_set(VFIO_TYPE1v2_IOMMU);
	for (i = 0; i < 65535 && !err; i++)
		err = dma_map(p, 0x10000000 + i * 2 * PAGE, PAGE, RW);
	if (err == ENOMEM)
		skip_case("RLIMIT_MEMLOCK, which counts each mapping of a page, is lower");
	expect_eq(err, 0);
	expect_eq(dma_map(p, 0x1000, PAGE, RW), ENOSPC);
	expect_eq(dma_unmap(0x10000000, PAGE, 0, NULL), 0);
	expect_eq(dma_map(p, 0x1000, PAGE, RW), 0);
}

static void wrong_calls(void)
{
	device_open(VFIO_TYPE1v2_IOMMU);
	/* Calls that belong to another kind of descriptor, or to nobody. */
	expect_errno(ioctl(container, VFIO_GROUP_GET_STATUS, 0), ENOTTY);
	expect_errno(ioctl(group, VFIO_GET_API_VERSION, 0), ENOTTY);
	expect_errno(ioctl(group, _IO(VFIO_TYPE, VFIO_BASE + 99), 0), ENOTTY);
	expect_errno(ioctl(device, VFIO_GROUP_GET_STATUS, 0), ENOTTY);
	expect_errno(ioctl(device, _IO(VFIO_TYPE, VFIO_BASE + 99), 0), ENOTTY);
	expect_errno(ioctl(container, _IO(VFIO_TYPE, VFIO_BASE + 99), 0), ENOTTY);
	expect_errno(ioctl(device, 0x5401, 0), ENOTTY);
}

/* The node's number, as sysfs has it: "MAJOR:MINOR". */
static dev_t sysfs_dev(const char *name)
{
	char path[128], text[32] = "";
	unsigned int major, minor;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/vfio/%s/dev", name);
	f = fopen(path, "re");
	if (!f || !fgets(text, sizeof(text), f) || sscanf(text, "%u:%u", &major, &minor) != 2)
		fail("%s: %s", path, text);
	fclose(f);
	return makedev(major, minor);
}

static void expect_node(int fd, mode_t mode, dev_t dev)
{
	char path[64], link[64] = "";
	struct stat st, by_path;
	struct statx stx;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	expect(readlink(path, link, sizeof(link) - 1) > 0);
	expect_eq(stat(link, &by_path), 0);
	expect_eq(fstat(fd, &st), 0);
	expect_eq(st.st_mode, S_IFCHR | mode);
	expect_eq(st.st_rdev, dev);
	expect_eq(st.st_size, 0);
	expect_eq(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stx), 0);
	expect_eq(stx.stx_mode, S_IFCHR | mode);
	expect_eq(makedev(stx.stx_rdev_major, stx.stx_rdev_minor), dev);
	expect(by_path.st_mode == st.st_mode && by_path.st_rdev == dev && by_path.st_size == 0);
	expect(by_path.st_dev == st.st_dev && by_path.st_ino == st.st_ino && stx.stx_ino == st.st_ino);
	expect_eq(statx(AT_FDCWD, link, 0, STATX_BASIC_STATS, &stx), 0);
	expect_eq(makedev(stx.stx_rdev_major, stx.stx_rdev_minor), dev);
}

static void nodes(void)
{
	char link[64] = "", path[64];
	struct stat st;

	device_open(VFIO_TYPE1v2_IOMMU);
	expect_node(container, 0666, makedev(10, 196));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", group);
	expect(readlink(path, link, sizeof(link) - 1) > 10);
	expect_node(group, 0600, sysfs_dev(link + 10));
	/* The device's is an anonymous inode. */
	expect_eq(fstat(device, &st), 0);
	expect_eq(st.st_mode, 0600);
	expect_eq(st.st_rdev, 0);
	expect_eq(st.st_size, 0);
}

static void expect_no_stream(int fd)
{
	char c;

	expect_errno(read(fd, &c, 1), EINVAL);
	expect_errno(syscall(SYS_read, fd, &c, 1), EINVAL);
	/* Pinfold's descriptors are sockets, and their errno is the machine's own. */
	expect(write(fd, "x", 1) < 0 && (errno == EINVAL || errno == ENOTCONN));
	expect(syscall(SYS_write, fd, "x", 1) < 0 && (errno == EINVAL || errno == ENOTCONN));
	expect_errno(lseek(fd, 0, SEEK_SET), ESPIPE);
}

/* None of them has read or write without an offset that names a region; above all, none waits for anything. */
static void plain_read_write(void)
{
	container_set(VFIO_TYPE1v2_IOMMU);
	expect_no_stream(group);
	expect_no_stream(container);
}

const struct client_case uapi_cases[] = {
    {"container", "a container without a group", container_alone},
    {"group", "opening, attaching and detaching a group", group_life},
    {"type1-info", "GET_INFO, its argsz and its capabilities", type1_info},
    {"map-errors", "every wrong MAP_DMA has its errno and leaves nothing", map_errors},
    {"unmap-v2", "UNMAP_DMA of type1 v2", unmap_v2},
    {"unmap-v1", "UNMAP_DMA of type1 v1", unmap_v1},
    {"entry-limit", "65535 mappings and no more", entry_limit},
    {"wrong-calls", "calls to the wrong descriptor", wrong_calls},
    {"nodes", "what stat says of devices", nodes},
    {"plain-read-write", "read and write on containers and groups", plain_read_write},
    {NULL},
};
