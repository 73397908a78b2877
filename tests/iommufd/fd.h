/* SPDX-License-Identifier: BSD-3-Clause */
/* What the IOMMUFD tests stand on: a client with /dev/iommu open, and the ioctls that most of them make. */
#ifndef PINFOLD_TESTS_IOMMUFD_FD_H
#define PINFOLD_TESTS_IOMMUFD_FD_H

#include <errno.h>
#include <string.h>

#include "../lib/client.h"
#include "iommufd/iommufd.h"
#include "iommufd/mock_abi.h"
#include "uapi/iommufd_abi.h"

#define PAGE PF_PAGE_SIZE

int fd_setup(void **state);
int fd_teardown(void **state);
/* The open /dev/iommu of a test: the client's first file. */
#define FD (k->file[0])

/* Each fails the test where the kernel would have failed the call. */
uint32_t fd_ioas(struct fake *k);
struct mock {
	uint32_t stdev, hwpt, dev;
};
struct mock fd_mock(struct fake *k, uint32_t pt_id, uint32_t flags);
uint32_t fd_hwpt(struct fake *k, uint32_t dev, uint32_t pt_id, uint32_t flags);
uint32_t fd_nested(struct fake *k, uint32_t dev, uint32_t pt_id, uint32_t flags);
void fd_destroyed(struct fake *k, uint32_t id);

/* Result or -errno. */
long fd_destroy(struct fake *k, uint32_t id);
long fd_map(struct fake *k, uint32_t ioas, const void *va, uint64_t len, uint64_t iova);
/* Structures of the new ioctls: X(type, ...) with size filled in. */
#define CMD(type, ...) (&(struct type){.size = sizeof(struct type), ##__VA_ARGS__})
#define TEST(o, ...)   DO(FD, IOMMUFD_NR(IOMMUFD_CMD_TEST), CMD(mock_cmd, .op = (o), ##__VA_ARGS__))

#define T(f) cmocka_unit_test_setup_teardown(f, fd_setup, fd_teardown)

#endif
