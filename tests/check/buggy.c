/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * buggy CLASS: a driver with one mistake, of that class. Where a report shall point is marked at the end of the line:
 * "class: role", in a comment, is what check_test.py looks for.
 */
#include "../client/client.h"

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

static const struct {
	const char *class;
	void (*run)(void);
} table[] = {
    {"dma-unmapped", dma_unmapped},
    {"dma-use-after-unmap", dma_use_after_unmap},
    {"dma-out-of-bounds", dma_out_of_bounds},
    {"dma-permission", dma_permission},
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
