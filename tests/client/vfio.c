/* SPDX-License-Identifier: BSD-3-Clause */
/* The common way to a device: container, group, device. */
#include "client.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include "uapi/iommufd_abi.h"

int container = -1, group = -1, device = -1;
uint32_t dma_ioas;

static uint64_t config_offset;

int group_open(void)
{
	char path[256], link[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		fail("%s: %s", path, strerror(errno));
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

void container_set(int iommu_type)
{
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	expect(container >= 0);
	group = group_open();
	expect(group >= 0);
	expect_eq(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container), 0);
	expect_eq(ioctl(container, VFIO_SET_IOMMU, iommu_type), 0);
}

void device_open(int iommu_type)
{
	container_set(iommu_type);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	device_ready();
}

void device_ready(void)
{
	expect(device >= 0);
	config_offset = region_info(VFIO_PCI_CONFIG_REGION_INDEX).offset;
	config_write(PCI_COMMAND, 2, config_read(PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void device_close(void)
{
	close(device);
	close(group);
	close(container);
	device = group = container = -1;
}

static int ioas_map(void *va, uint64_t iova, uint64_t len, uint32_t flags)
{
	struct iommu_ioas_map m = {
	    .size = sizeof(m),
	    .flags = IOMMU_IOAS_MAP_FIXED_IOVA,
	    .ioas_id = dma_ioas,
	    .user_va = (uintptr_t)va,
	    .length = len,
	    .iova = iova,
	};

	if (flags & VFIO_DMA_MAP_FLAG_READ)
		m.flags |= IOMMU_IOAS_MAP_READABLE;
	if (flags & VFIO_DMA_MAP_FLAG_WRITE)
		m.flags |= IOMMU_IOAS_MAP_WRITEABLE;
	return ioctl(container, IOMMU_IOAS_MAP, &m) ? errno : 0;
}

static int ioas_unmap(uint64_t iova, uint64_t len, uint64_t *unmapped)
{
	struct iommu_ioas_unmap u = {.size = sizeof(u), .ioas_id = dma_ioas, .iova = iova, .length = len};
	int err = ioctl(container, IOMMU_IOAS_UNMAP, &u) ? errno : 0;

	if (unmapped)
		*unmapped = u.length;
	return err;
}

int dma_map(void *va, uint64_t iova, uint64_t len, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = flags, .vaddr = (uintptr_t)va, .iova = iova, .size = len};

	if (dma_ioas)
		return ioas_map(va, iova, len, flags);
	return ioctl(container, VFIO_IOMMU_MAP_DMA, &m) ? errno : 0;
}

int dma_unmap(uint64_t iova, uint64_t len, uint32_t flags, uint64_t *unmapped)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .flags = flags, .iova = iova, .size = len};
	int err;

	if (dma_ioas)
		return ioas_unmap(iova, len, unmapped);
	err = ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) ? errno : 0;
	if (unmapped)
		*unmapped = u.size;
	return err;
}

void *pages_alloc(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(p != MAP_FAILED);
	return p;
}

uint32_t config_read(unsigned int off, unsigned int size)
{
	uint32_t v = 0;

	expect_eq(pread(device, &v, size, config_offset + off), size);
	return v;
}

void config_write(unsigned int off, unsigned int size, uint32_t val)
{
	expect_eq(pwrite(device, &val, size, config_offset + off), size);
}

struct vfio_region_info region_info(unsigned int index)
{
	struct vfio_region_info r = {.argsz = sizeof(r), .index = index};

	expect_eq(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	return r;
}
