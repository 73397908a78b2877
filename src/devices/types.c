/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/device.h"

const struct device_type *const device_types[] = {
    &device_nvme,      &device_ioat,	 &device_ats,	     &device_igb, /* endpoints */
    &device_root_port, &device_upstream, &device_downstream, NULL,
};
