/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

static void read_start(uint64_t iova)
{
	nvme_put_read(0, iova);
	*nvme_doorbell_at() = nvme_tail();
}

int main(void)
{
	driver_start();
	read_start(16 * DATA_IOVA); /* an address that nothing was mapped at */
	nvme_collect();
	driver_stop();
}
