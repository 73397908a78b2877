/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The structs and numbers of IOMMUFD's ABI as Linux 6.12 has them (Documentation/userspace-api/iommufd.rst names the
 * calls), and of its mock interface (CONFIG_IOMMUFD_TEST). Written down apart from what Pinfold itself uses, so that a
 * mistake there is not repeated here.
 */
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

#define CALL(nr) _IO(';', nr)

enum call_nr {
	NR_DESTROY = 0x80,
	NR_IOAS_ALLOC,
	NR_ALLOW_IOVAS,
	NR_COPY,
	NR_IOVA_RANGES,
	NR_MAP,
	NR_UNMAP,
	NR_OPTION,
	NR_VFIO_IOAS,
	NR_HWPT_ALLOC,
	NR_HW_INFO,
	NR_SET_DIRTY,
	NR_GET_DIRTY,
	NR_INVALIDATE,
	NR_FAULT_ALLOC,
	NR_TEST = 0xa0,
};

enum test_op {
	TEST_ADD_RESERVED = 1,
	TEST_MOCK_DOMAIN,
	TEST_CHECK_MAP,
	TEST_CHECK_REFS,
	TEST_CREATE_ACCESS,
	TEST_DESTROY_PAGES,
	TEST_ACCESS_PAGES,
	TEST_ACCESS_RW,
	TEST_MEMORY_LIMIT,
	TEST_REPLACE,
	TEST_ACCESS_REPLACE,
	TEST_MOCK_FLAGS,
	TEST_DIRTY,
	TEST_CHECK_IOTLB,
	TEST_IOPF,
};

enum {
	MAP_FIXED_IOVA = 1,
	MAP_WRITEABLE = 2,
	MAP_READABLE = 4,
	HWPT_NEST_PARENT = 1,
	HWPT_DIRTY = 2,
	HWPT_FAULT_ID = 4,
	MOCK_NO_DIRTY = 1,
	MOCK_HUGE = 2,
	ACCESS_PIN = 1,
	RW_WRITE = 1,
	RW_SLOW = 4,
};

#define DATA_SELFTEST	    0xdeadU
#define INVALIDATE_SELFTEST 0xdeadbeefU
#define IOTLB_DEFAULT	    0xbadbeefU
#define APERTURE_START	    0x1000000UL
#define APERTURE_LAST	    0x7fffffffUL
#define MOCK_PAGE	    0x800UL

struct abi_destroy {
	uint32_t size, id;
};
struct abi_ioas_alloc {
	uint32_t size, flags, out_id;
};
struct abi_range {
	uint64_t start, last;
};
struct abi_iova_ranges {
	uint32_t size, ioas, num, reserved;
	uint64_t ranges, out_alignment;
};
struct abi_allow {
	uint32_t size, ioas, num, reserved;
	uint64_t ranges;
};
struct abi_map {
	uint32_t size, flags, ioas, reserved;
	uint64_t va, length, iova;
};
struct abi_copy {
	uint32_t size, flags, dst, src;
	uint64_t length, dst_iova, src_iova;
};
struct abi_unmap {
	uint32_t size, ioas;
	uint64_t iova, length;
};
struct abi_option {
	uint32_t size, option;
	uint16_t op, reserved;
	uint32_t object;
	uint64_t val;
};
struct abi_vfio_ioas {
	uint32_t size, ioas;
	uint16_t op, reserved;
};
struct abi_hwpt_alloc {
	uint32_t size, flags, dev, pt, out_id, reserved, data_type, data_len;
	uint64_t data;
	uint32_t fault, reserved2;
};
struct abi_hw_info {
	uint32_t size, flags, dev, data_len;
	uint64_t data;
	uint32_t out_type;
	uint8_t out_pasid_log2, reserved[3];
	uint64_t out_capabilities;
};
struct abi_set_dirty {
	uint32_t size, flags, hwpt, reserved;
};
struct abi_get_dirty {
	uint32_t size, hwpt, flags, reserved;
	uint64_t iova, length, page_size, data;
};
struct abi_invalidate {
	uint32_t size, hwpt;
	uint64_t data;
	uint32_t type, entry_len, entry_num, reserved;
};
struct abi_invalidate_entry {
	uint32_t flags, iotlb;
};
struct abi_fault_alloc {
	uint32_t size, flags, out_id, out_fd;
};
struct abi_fault {
	uint32_t flags, dev, pasid, grpid, perm;
	uint32_t pad;
	uint64_t addr;
	uint32_t length, cookie;
};
struct abi_response {
	uint32_t cookie, code;
};
/* The operations' arguments overlap; as 64-bit and as 32-bit words. */
struct abi_test {
	uint32_t size, op, id, reserved;
	union {
		uint64_t q[6];
		uint32_t w[12];
	};
	uint32_t last, pad;
};

_Static_assert(sizeof(struct abi_iova_ranges) == 32, "ABI");
_Static_assert(sizeof(struct abi_map) == 40, "ABI");
_Static_assert(sizeof(struct abi_copy) == 40, "ABI");
_Static_assert(sizeof(struct abi_option) == 24, "ABI");
_Static_assert(sizeof(struct abi_hwpt_alloc) == 48, "ABI");
_Static_assert(sizeof(struct abi_hw_info) == 40, "ABI");
_Static_assert(sizeof(struct abi_get_dirty) == 48, "ABI");
_Static_assert(sizeof(struct abi_invalidate) == 32, "ABI");
_Static_assert(sizeof(struct abi_fault) == 40, "ABI");
_Static_assert(sizeof(struct abi_test) == 72, "ABI");
