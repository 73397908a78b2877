/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buggy CLASS: a driver with one mistake, of that class. Where a report shall point is marked at the end of the line:
 * "class: role", in a comment, is what check_test.py looks for.
 */
#include "../client/client.h"

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>
#include <linux/pci_regs.h>

const char *bdf = "0000:01:00.0";

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%s:%d: ", file, line);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void skip_case(const char *why)
{
	fail("%s", why);
}

#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

static void device_start(void)
{
	device_open(VFIO_TYPE1v2_IOMMU);
	nvme_start(false);
}

/* Calls that are to be found in a report are made where they are marked, and are not the function's last. */
static int done;

static __attribute__((noinline)) void buffer_map(void)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = RW, .vaddr = (uintptr_t)pages_alloc(PAGE), .iova = DATA_IOVA, .size = PAGE};

	done += ioctl(container, VFIO_IOMMU_MAP_DMA, &m) == 0; /* dma-use-after-unmap: mapped */
}

static __attribute__((noinline)) void buffer_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = DATA_IOVA, .size = PAGE};

	done += ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) == 0; /* dma-use-after-unmap: unmapped */
}

static void dma_use_after_unmap(void)
{
	buffer_map();
	buffer_unmap();
	nvme_rw(false, 0, PAGE, DATA_IOVA);
}

static void dma_unmapped(void)
{
	nvme_rw(false, 0, PAGE, 16 * DATA_IOVA);
}

static __attribute__((noinline)) void small_map(void)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = RW, .vaddr = (uintptr_t)pages_alloc(PAGE), .iova = DATA_IOVA, .size = PAGE};

	done += ioctl(container, VFIO_IOMMU_MAP_DMA, &m) == 0; /* dma-out-of-bounds: mapped */
}

static void dma_out_of_bounds(void)
{
	small_map();
	nvme_rw(false, 0, PAGE, DATA_IOVA + PAGE); /* a length that was not checked */
}

static __attribute__((noinline)) void read_only_map(void)
{
	struct vfio_iommu_type1_dma_map m = {.argsz = sizeof(m),
					     .flags = VFIO_DMA_MAP_FLAG_READ,
					     .vaddr = (uintptr_t)pages_alloc(PAGE),
					     .iova = DATA_IOVA,
					     .size = PAGE};

	done += ioctl(container, VFIO_IOMMU_MAP_DMA, &m) == 0; /* dma-permission: mapped */
}

static void dma_permission(void)
{
	read_only_map();
	nvme_rw(false, 0, PAGE, DATA_IOVA);
}

/* UNMAP does not match the map, and says so by size 0; the next MAP fails with EEXIST; I/O goes to the old buffer. */
static __attribute__((noinline)) void first_map(void)
{
	struct vfio_iommu_type1_dma_map m = {.argsz = sizeof(m),
					     .flags = RW,
					     .vaddr = (uintptr_t)pages_alloc(4 * PAGE),
					     .iova = DATA_IOVA,
					     .size = 4 * PAGE};

	done += ioctl(container, VFIO_IOMMU_MAP_DMA, &m) == 0; /* map-overlap-ignored: there */
}

static __attribute__((noinline)) void wrong_unmap(void)
{
	struct vfio_iommu_type1_dma_unmap u = {.argsz = sizeof(u), .iova = DATA_IOVA + 16 * PAGE, .size = 4 * PAGE};

	done += ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) == 0; /* unmap-mismatch: call */
}

static __attribute__((noinline)) void second_map(void)
{
	struct vfio_iommu_type1_dma_map m = {
	    .argsz = sizeof(m), .flags = RW, .vaddr = (uintptr_t)pages_alloc(PAGE), .iova = DATA_IOVA, .size = PAGE};

	done += ioctl(container, VFIO_IOMMU_MAP_DMA, &m) == 0; /* map-overlap-ignored: call */
}

static void map_overlap_ignored(void)
{
	first_map();
	second_map();
	nvme_rw(false, 0, PAGE, DATA_IOVA);
}

static void unmap_mismatch(void)
{
	first_map();
	wrong_unmap();
}

static __attribute__((noinline)) void register_poke(void)
{
	*(volatile uint8_t *)((volatile char *)nvme_bar() + 0x14) = 1; /* mmio-width: call */
	done++;
}

static void mmio_width(void)
{
	register_poke();
}

static __attribute__((noinline)) void version_write(void)
{
	*(volatile uint32_t *)((volatile char *)nvme_bar() + 8) = 1; /* mmio-read-only-write: call */
	done++;
}

static void mmio_read_only_write(void)
{
	version_write();
}

static __attribute__((noinline)) void doorbell_of_nobody(void)
{
	*(volatile uint32_t *)((volatile char *)nvme_bar() + 0x1000 + 8 * 9) = 1; /* device-protocol: call */
	done++;
}

static void device_protocol(void)
{
	doorbell_of_nobody();
	(void)*(volatile uint32_t *)nvme_bar();
}

static __attribute__((noinline)) void registers_of_nothing(void)
{
	uint32_t v;

	done += pread(device, &v, sizeof(v), region_info(0).offset) == sizeof(v); /* mmio-disabled: call */
}

static void mmio_disabled(void)
{
	uint32_t cmd = config_read(PCI_COMMAND, 2);

	config_write(PCI_COMMAND, 2, cmd & ~PCI_COMMAND_MEMORY);
	registers_of_nothing();
	config_write(PCI_COMMAND, 2, cmd);
}

static void crash(void)
{
	dma_unmapped();
	raise(SIGSEGV);
}

static const struct {
	const char *class;
	void (*run)(void);
} table[] = {
    {"dma-unmapped", dma_unmapped},
    {"dma-use-after-unmap", dma_use_after_unmap},
    {"dma-out-of-bounds", dma_out_of_bounds},
    {"dma-permission", dma_permission},
    {"map-overlap-ignored", map_overlap_ignored},
    {"unmap-mismatch", unmap_mismatch},
    {"mmio-width", mmio_width},
    {"mmio-read-only-write", mmio_read_only_write},
    {"device-protocol", device_protocol},
    {"mmio-disabled", mmio_disabled},
    {"crash", crash},
};

int main(int argc, char **argv)
{
	alarm(240);
	for (size_t i = 0; i < COUNT(table); i++) {
		if (argc > 1 && !strcmp(argv[1], table[i].class)) {
			device_start();
			table[i].run();
			nvme_stop();
			return 0;
		}
	}
	return 2;
}
