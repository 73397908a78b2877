/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <stdarg.h>
#include <unistd.h>

#define PATIENCE_S 240

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

static void start(bool msix)
{
	alarm(PATIENCE_S);
	device_open(VFIO_TYPE1v2_IOMMU);
	nvme_start(msix);
}

void driver_start(void)
{
	start(false);
}

void driver_start_msix(void)
{
	start(true);
}

void driver_start_iommufd(void)
{
	alarm(PATIENCE_S);
	container = iommufd_open();
	expect(container >= 0);
	device = cdev_open();
	expect(device >= 0);
	expect_eq(cdev_bind(device, container, NULL), 0);
	dma_ioas = ioas_alloc(container);
	expect_eq(cdev_attach(device, &(uint32_t){dma_ioas}), 0);
	device_ready();
	nvme_start(false);
}

void driver_stop(void)
{
	struct vfio_iommu_type1_dma_unmap all = {.argsz = sizeof(all), .flags = VFIO_DMA_UNMAP_FLAG_ALL};

	nvme_stop();
	if (!dma_ioas)
		expect_eq(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &all), 0);
	device_close();
}
