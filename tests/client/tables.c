/* SPDX-License-Identifier: BSD-3-Clause */
#include "client.h"

const struct client_case *const client_tables[] = {uapi_cases, device_cases, dma_cases, busy_cases,
						   cdev_cases, compat_cases, NULL};
