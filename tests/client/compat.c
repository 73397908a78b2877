/* SPDX-License-Identifier: BSD-3-Clause */
/* A group whose container is an iommufd: VFIO's ioctls on /dev/iommu, and a device that came from the group. */
#include "client.h"

#include <fcntl.h>
#include <unistd.h>
#include "uapi/iommufd_abi.h"
#include "uapi/vfio_abi.h"

#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

static uint32_t group_flags(void)
{
	struct vfio_group_status s = {.argsz = sizeof(s)};

	expect_eq(ioctl(group, VFIO_GROUP_GET_STATUS, &s), 0);
	return s.flags;
}

static int compat_ioas(int op, uint32_t *id)
{
	struct iommu_vfio_ioas v = {.size = sizeof(v), .op = op, .ioas_id = *id};
	int err = ioctl_errno(container, IOMMU_VFIO_IOAS, &v);

	*id = v.ioas_id;
	return err;
}

static void life(void)
{
	uint32_t id = 0, other;

	container = iommufd_open();
	expect(container >= 0);
	expect_eq(ioctl(container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
	expect_eq(ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
	expect_eq(compat_ioas(IOMMU_VFIO_IOAS_GET, &id), ENODEV);
	group = group_open();
	expect(group >= 0);
	expect_eq(group_flags(), VFIO_GROUP_FLAGS_VIABLE);
	expect_errno(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf), EINVAL);
	expect_errno(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), EINVAL);
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	expect_eq(group_flags(), VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
	expect_errno(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), EINVAL);
	expect_eq(compat_ioas(IOMMU_VFIO_IOAS_GET, &id), 0);
	expect_eq(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), 0);
	expect_eq(group_flags(), VFIO_GROUP_FLAGS_VIABLE);
	expect_errno(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), EINVAL);
	/* The space that was made stays, and is taken the next time. */
	other = 0;
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	expect_eq(compat_ioas(IOMMU_VFIO_IOAS_GET, &other), 0);
	expect_eq(other, id);
	expect_eq(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
}

static void start(void)
{
	container = iommufd_open();
	expect(container >= 0);
	group = group_open();
	expect(group >= 0);
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	expect_eq(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	expect(device >= 0);
	device_ready();
}

static void dma(void)
{
	uint8_t *p = pages_alloc(PAGE);
	uint64_t n;

	start();
	nvme_start(false);
	expect_eq(dma_map(p, DATA_IOVA, PAGE, RW), 0);
	memset(p, 0x42, PAGE);
	expect_eq(nvme_rw(true, 7, PAGE, DATA_IOVA), 0);
	memset(p, 0, PAGE);
	expect_eq(nvme_rw(false, 7, PAGE, DATA_IOVA), 0);
	expect(p[0] == 0x42 && p[PAGE - 1] == 0x42);
	expect_eq(dma_unmap(DATA_IOVA, PAGE, 0, &n), 0);
	expect_eq(n, PAGE);
	/* Whatever the controller makes of it: nothing arrives. */
	memset(p, 0x24, PAGE);
	nvme_rw(false, 7, PAGE, DATA_IOVA);
	expect(p[0] == 0x24 && p[PAGE - 1] == 0x24);
	nvme_stop();
}

/* The group may leave its iommufd while a device is in use: the device stays there. */
static void leaves(void)
{
	int type1 = open("/dev/vfio/vfio", O_RDWR), other = iommufd_open(), cdev = cdev_open(), second;
	uint8_t *p = pages_alloc(PAGE);

	start();
	nvme_start(false);
	expect_eq(dma_map(p, DATA_IOVA, PAGE, RW), 0);
	second = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	expect(second >= 0);
	expect_eq(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), 0);
	expect_eq(nvme_rw(false, 7, PAGE, DATA_IOVA), 0);
	expect_errno(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf), EINVAL);
	expect_eq(group_flags(), 0);
	expect_errno(ioctl(group, VFIO_GROUP_SET_CONTAINER, &type1), EPERM);
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &other), 0);
	expect_eq(ioctl(group, VFIO_GROUP_UNSET_CONTAINER), 0);
	close(second);
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	second = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	expect(second >= 0);
	expect_eq(nvme_rw(false, 7, PAGE, DATA_IOVA), 0);
	close(group);
	expect_eq(nvme_rw(false, 7, PAGE, DATA_IOVA), 0);
	/* Nothing of the group's holds it open. */
	group = group_open();
	expect(group >= 0);
	expect_eq(group_flags(), 0);
	expect_errno(ioctl(group, VFIO_GROUP_SET_CONTAINER, &type1), EPERM);
	close(group);
	expect_eq(cdev_bind(cdev, container, NULL), EINVAL);
	close(container);
	expect_eq(nvme_rw(false, 7, PAGE, DATA_IOVA), 0);
	nvme_forget();
	close(device);
	close(second);
	group = group_open();
	expect(group >= 0);
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &type1), 0);
}

static void neither(void)
{
	struct vfio_device_bind_iommufd b = {.argsz = sizeof(b)};
	int cdev = cdev_open();

	start();
	b.iommufd = container;
	expect_errno(ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &b), EINVAL);
	expect_errno(ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &b), ENOTTY);
	expect_eq(cdev_bind(cdev, container, NULL), EBUSY);
	device_close();
	container = iommufd_open();
	expect_eq(cdev_bind(cdev, container, NULL), 0);
	expect_errno(group_open(), EBUSY);
}

/* No space to attach to, or one in which the device's own ranges are taken: the device is not to be had. */
static void refused(void)
{
	uint8_t *p = pages_alloc(PAGE);
	uint32_t id;

	container = iommufd_open();
	group = group_open();
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	expect_eq(dma_map(p, 0xfee00000, PAGE, RW), 0); /* where x86 has its interrupts */
	expect_errno(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf), EADDRINUSE);
	expect_eq(dma_unmap(0xfee00000, PAGE, 0, NULL), 0);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	expect(device >= 0);
	expect_eq(dma_map(p, 0xfee00000, PAGE, RW), EINVAL);
	close(device);
	/* Another space is taken when the device is opened again. */
	id = ioas_alloc(container);
	expect_eq(compat_ioas(IOMMU_VFIO_IOAS_SET, &id), 0);
	expect_eq(dma_map(p, 0xfee00000, PAGE, RW), 0);
	expect_errno(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf), EADDRINUSE);
}

const struct client_case compat_cases[] = {
    {"compat-group", "a group with an iommufd for its container", life},
    {"compat-dma", "DMA through VFIO's ioctls on an iommufd", dma},
    {"compat-leaves", "the group leaves its iommufd, the device stays", leaves},
    {"compat-one-owner", "a device of such a group is not to be had by its node", neither},
    {"compat-refused", "a device that cannot be attached is not opened", refused},
    {NULL, NULL, NULL},
};
