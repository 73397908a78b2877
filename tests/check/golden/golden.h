/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Golden programs: drivers with one mistake each, of the class that the file is named after. The class's page in the
 * manual (doc/check) shows the program, and what the checker says about it.
 */
#ifndef PINFOLD_TESTS_GOLDEN_H
#define PINFOLD_TESTS_GOLDEN_H

#include "../../client/client.h"

#define MAP_RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

void driver_start(void);	 /* an NVMe controller, ready, with one pair of I/O queues; no interrupts */
void driver_start_msix(void);	 /* the same with an eventfd for each queue's vector */
void driver_start_iommufd(void); /* the same as the first, by its own node: container is an iommufd */
void driver_stop(void);

#endif
