/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernel's test interface to IOMMUFD (CONFIG_IOMMUFD_TEST), as its own tests use it: layout and values of
 * Linux 6.12, and up to 6.19 where marked. */
#ifndef PINFOLD_IOMMUFD_MOCK_ABI_H
#define PINFOLD_IOMMUFD_MOCK_ABI_H

#include <linux/types.h>

enum mock_op {
	MOCK_OP_ADD_RESERVED = 1,
	MOCK_OP_MOCK_DOMAIN,
	MOCK_OP_MD_CHECK_MAP,
	MOCK_OP_MD_CHECK_REFS,
	MOCK_OP_CREATE_ACCESS,
	MOCK_OP_DESTROY_ACCESS_PAGES,
	MOCK_OP_ACCESS_PAGES,
	MOCK_OP_ACCESS_RW,
	MOCK_OP_SET_TEMP_MEMORY_LIMIT,
	MOCK_OP_MOCK_DOMAIN_REPLACE,
	MOCK_OP_ACCESS_REPLACE_IOAS,
	MOCK_OP_MOCK_DOMAIN_FLAGS,
	MOCK_OP_DIRTY,
	MOCK_OP_MD_CHECK_IOTLB,
	MOCK_OP_TRIGGER_IOPF,
	MOCK_OP_DEV_CHECK_CACHE, /* 6.13 */
	MOCK_OP_TRIGGER_VEVENT,	 /* 6.15 */
	MOCK_OP_PASID_ATTACH,
	MOCK_OP_PASID_REPLACE,
	MOCK_OP_PASID_DETACH,
	MOCK_OP_PASID_CHECK_HWPT,
	MOCK_OP_DMABUF_GET, /* 6.19 */
	MOCK_OP_DMABUF_REVOKE,
	MOCK_OPS
};

#define MOCK_APERTURE_FIRST (1ull << 24)
#define MOCK_APERTURE_LAST  ((1ull << 31) - 1)
#define MOCK_PAGE_SHIFT	    11 /* half a page of the CPU's */
#define MOCK_HUGE_SHIFT	    (MOCK_PAGE_SHIFT + 9)
#define MOCK_IOTLB_NUM	    4
#define MOCK_CACHE_NUM	    4
#define MOCK_CACHE_DEFAULT  0xbaddadu
#define MOCK_PASID_WIDTH    20
#define MOCK_PASID_FAILING  1024 /* every second change of what it is attached to fails */

enum { MOCK_ACCESS_PAGES_WRITE = 1 << 0, MOCK_ACCESS_SYZ = 1 << 16 };
enum { MOCK_ACCESS_RW_WRITE = 1 << 0, MOCK_ACCESS_RW_SLOW_PATH = 1 << 2 };
enum { MOCK_ACCESS_NEEDS_PIN_PAGES = 1 << 0 };
enum { MOCK_DEVICE_NO_DIRTY = 1 << 0, MOCK_DEVICE_HUGE_IOVA = 1 << 1, MOCK_DEVICE_PASID = 1 << 2 /* 6.15 */ };

struct mock_cmd {
	__u32 size, op, id, __reserved;
	union {
		struct {
			__aligned_u64 start, length;
		} add_reserved;
		struct { /* of MOCK_DOMAIN and MOCK_DOMAIN_FLAGS */
			__u32 out_stdev_id, out_hwpt_id, out_idev_id, dev_flags;
		} domain;
		struct {
			__u32 pt_id;
		} replace;
		struct {
			__aligned_u64 iova, length, uptr;
		} check_map;
		struct {
			__aligned_u64 length, uptr;
			__u32 refs;
		} check_refs;
		struct {
			__u32 out_access_fd, flags;
		} create_access;
		struct {
			__u32 id;
		} destroy_pages;
		struct {
			__u32 flags, out_id;
			__aligned_u64 iova, length, uptr;
		} access_pages;
		struct {
			__aligned_u64 iova, length, uptr;
			__u32 flags;
		} access_rw;
		struct {
			__u32 limit;
		} memory_limit;
		struct {
			__u32 ioas_id;
		} access_replace;
		struct {
			__u32 flags;
			__aligned_u64 iova, length, page_size, uptr, out_nr_dirty;
		} dirty;
		struct {
			__u32 id, iotlb;
		} check_iotlb;
		struct {
			__u32 dev_id, pasid, grpid, perm;
			__u64 addr;
		} iopf;
		struct {
			__u32 id, cache;
		} check_dev_cache;
		struct {
			__u32 dev_id;
		} vevent;
		struct {
			__u32 pasid, pt_id;
		} pasid;
		struct {
			__u32 length, open_flags;
		} dmabuf_get;
		struct {
			__s32 dmabuf_fd;
			__u32 revoked;
		} dmabuf_revoke;
	};
	__u32 last;
};

#define MOCK_HW_INFO_TYPE   0xfeedbeefu
#define MOCK_HW_INFO_REGVAL 0xdeadbeefu
struct mock_hw_info {
	__u32 flags, test_reg;
};

#define MOCK_HWPT_DATA 0xdeadu
struct mock_hwpt_data {
	__u32 iotlb;
};

#define MOCK_INVALIDATE_DATA 0xdeadbeefu
enum { MOCK_INVALIDATE_ALL = 1 << 0 };
struct mock_invalidate {
	__u32 flags, iotlb_id;
};

/* ---- 6.13 and later ---- */
#define MOCK_VIOMMU_TYPE 0xdeadbeefu
struct mock_viommu_data { /* 6.17 */
	__u32 in_data, out_data;
	__aligned_u64 out_mmap_offset, out_mmap_length;
};
#define MOCK_VIOMMU_INVALIDATE_DATA 0xdeadbeefu
struct mock_viommu_invalidate { /* flags: MOCK_INVALIDATE_ALL */
	__u32 flags, vdev_id, cache_id;
};
#define MOCK_VEVENTQ_TYPE 0xbeefbeefu
struct mock_vevent {
	__u32 virt_id;
};
#define MOCK_HW_QUEUE_TYPE 0xdeadbeefu
#define MOCK_HW_QUEUE_MAX  2

#endif
