/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the test interface. */
#ifndef PINFOLD_IOMMUFD_MOCK_H
#define PINFOLD_IOMMUFD_MOCK_H

#include "iommufd/internal.h"
#include "iommufd/mock_abi.h"

#define MOCK_BDF 0xffffu /* of mock devices, in events */

ioctl_fn mock_create_access, mock_destroy_access_pages, mock_access_pages, mock_access_rw, mock_access_replace_ioas;

#endif
