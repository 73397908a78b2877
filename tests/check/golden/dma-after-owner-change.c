/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"
#include "uapi/vfio_abi.h"

static void other_space_attach(void)
{
	struct vfio_device_attach_iommufd_pt a = {.argsz = sizeof(a), .pt_id = ioas_alloc(container)};

	ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &a);
}

int main(void)
{
	driver_start_iommufd();
	other_space_attach(); /* nothing is mapped there, and the controller is still at work */
	nvme_put_read(0, NVME_IOVA + 4 * PAGE);
	nvme_ring();
	driver_stop();
}
