/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IOMMUFD's ioctls as programs make them: numbers, structures, flags. Debian 12's kernel headers lack them.
 *
 * Layout and values are Linux's (6.12, and up to 6.17 where marked); tests/iommufd compares them with a kernel's own
 * header where one is at hand.
 *
 * Every structure starts with its size. out_* is written, the rest is read, iova where the kernel chooses is both.
 */
#ifndef PINFOLD_UAPI_IOMMUFD_ABI_H
#define PINFOLD_UAPI_IOMMUFD_ABI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IOMMUFD_TYPE ';'

enum {
	IOMMUFD_CMD_BASE = 0x80,
	IOMMUFD_CMD_DESTROY = 0x80,
	IOMMUFD_CMD_IOAS_ALLOC,
	IOMMUFD_CMD_IOAS_ALLOW_IOVAS,
	IOMMUFD_CMD_IOAS_COPY,
	IOMMUFD_CMD_IOAS_IOVA_RANGES,
	IOMMUFD_CMD_IOAS_MAP,
	IOMMUFD_CMD_IOAS_UNMAP,
	IOMMUFD_CMD_OPTION,
	IOMMUFD_CMD_VFIO_IOAS,
	IOMMUFD_CMD_HWPT_ALLOC,
	IOMMUFD_CMD_GET_HW_INFO,
	IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING,
	IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP,
	IOMMUFD_CMD_HWPT_INVALIDATE,
	IOMMUFD_CMD_FAULT_QUEUE_ALLOC,
	IOMMUFD_CMD_IOAS_MAP_FILE, /* 6.13 */
	IOMMUFD_CMD_VIOMMU_ALLOC,
	IOMMUFD_CMD_VDEVICE_ALLOC,
	IOMMUFD_CMD_IOAS_CHANGE_PROCESS, /* 6.14 */
	IOMMUFD_CMD_VEVENTQ_ALLOC,	 /* 6.15 */
	IOMMUFD_CMD_HW_QUEUE_ALLOC,	 /* 6.17 */
	IOMMUFD_CMD_TEST = 0xa0,
};
#define IOMMUFD_NR(cmd) _IO(IOMMUFD_TYPE, cmd)

struct iommu_destroy {
	__u32 size, id;
};
#define IOMMU_DESTROY IOMMUFD_NR(IOMMUFD_CMD_DESTROY)

struct iommu_ioas_alloc {
	__u32 size, flags;
	__u32 out_ioas_id;
};
#define IOMMU_IOAS_ALLOC IOMMUFD_NR(IOMMUFD_CMD_IOAS_ALLOC)

struct iommu_iova_range {
	__aligned_u64 start, last; /* inclusive */
};

struct iommu_ioas_iova_ranges {
	__u32 size, ioas_id;
	__u32 num_iovas; /* in: room in allowed_iovas; out: how many there are */
	__u32 __reserved;
	__aligned_u64 allowed_iovas;
	__aligned_u64 out_iova_alignment;
};
#define IOMMU_IOAS_IOVA_RANGES IOMMUFD_NR(IOMMUFD_CMD_IOAS_IOVA_RANGES)

struct iommu_ioas_allow_iovas {
	__u32 size, ioas_id, num_iovas, __reserved;
	__aligned_u64 allowed_iovas;
};
#define IOMMU_IOAS_ALLOW_IOVAS IOMMUFD_NR(IOMMUFD_CMD_IOAS_ALLOW_IOVAS)

enum { /* flags of MAP, MAP_FILE and COPY */
       IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0,
       IOMMU_IOAS_MAP_WRITEABLE = 1 << 1,
       IOMMU_IOAS_MAP_READABLE = 1 << 2,
};

struct iommu_ioas_map {
	__u32 size, flags, ioas_id, __reserved;
	__aligned_u64 user_va, length, iova;
};
#define IOMMU_IOAS_MAP IOMMUFD_NR(IOMMUFD_CMD_IOAS_MAP)

struct iommu_ioas_map_file {
	__u32 size, flags, ioas_id;
	__s32 fd;
	__aligned_u64 start, length, iova;
};
#define IOMMU_IOAS_MAP_FILE IOMMUFD_NR(IOMMUFD_CMD_IOAS_MAP_FILE)

struct iommu_ioas_copy {
	__u32 size, flags, dst_ioas_id, src_ioas_id;
	__aligned_u64 length, dst_iova, src_iova;
};
#define IOMMU_IOAS_COPY IOMMUFD_NR(IOMMUFD_CMD_IOAS_COPY)

struct iommu_ioas_unmap {
	__u32 size, ioas_id;
	__aligned_u64 iova, length; /* out: the bytes unmapped */
};
#define IOMMU_IOAS_UNMAP IOMMUFD_NR(IOMMUFD_CMD_IOAS_UNMAP)

enum { IOMMU_OPTION_RLIMIT_MODE = 0, IOMMU_OPTION_HUGE_PAGES = 1 };
enum { IOMMU_OPTION_OP_SET = 0, IOMMU_OPTION_OP_GET = 1 };
struct iommu_option {
	__u32 size, option_id;
	__u16 op, __reserved;
	__u32 object_id;
	__aligned_u64 val64;
};
#define IOMMU_OPTION IOMMUFD_NR(IOMMUFD_CMD_OPTION)

enum { IOMMU_VFIO_IOAS_GET = 0, IOMMU_VFIO_IOAS_SET = 1, IOMMU_VFIO_IOAS_CLEAR = 2 };
struct iommu_vfio_ioas {
	__u32 size, ioas_id;
	__u16 op, __reserved;
};
#define IOMMU_VFIO_IOAS IOMMUFD_NR(IOMMUFD_CMD_VFIO_IOAS)

enum { /* flags of HWPT_ALLOC */
       IOMMU_HWPT_ALLOC_NEST_PARENT = 1 << 0,
       IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 1 << 1,
       IOMMU_HWPT_FAULT_ID_VALID = 1 << 2,
       IOMMU_HWPT_ALLOC_PASID = 1 << 3, /* 6.15 */
};
enum { /* data_type of HWPT_ALLOC */
       IOMMU_HWPT_DATA_NONE = 0,
       IOMMU_HWPT_DATA_VTD_S1 = 1,
       IOMMU_HWPT_DATA_ARM_SMMUV3 = 2, /* 6.13 */
       /*
	* No kernel's. pt_id is an IOAS in which nothing is mapped yet: it follows the address spaces of the processes
	* that map into it, from then on (rule E3; pinfold(1), "Following an address space").
	*/
       IOMMU_HWPT_DATA_PINFOLD_FOLLOW = 0x50460001,
};
struct iommu_hwpt_arm_smmuv3 { /* 6.13 */
	__aligned_le64 ste[2];
};
struct iommu_hwpt_pinfold_follow {
	__u32 flags, __reserved; /* both 0 */
};
struct iommu_hwpt_alloc {
	__u32 size, flags, dev_id, pt_id;
	__u32 out_hwpt_id, __reserved, data_type, data_len;
	__aligned_u64 data_uptr;
	__u32 fault_id, __reserved2;
};
#define IOMMU_HWPT_ALLOC IOMMUFD_NR(IOMMUFD_CMD_HWPT_ALLOC)

enum { IOMMU_VTD_S1_SRE = 1 << 0, IOMMU_VTD_S1_EAFE = 1 << 1, IOMMU_VTD_S1_WPE = 1 << 2 };
struct iommu_hwpt_vtd_s1 {
	__aligned_u64 flags, pgtbl_addr;
	__u32 addr_width, __reserved;
};

enum {				    /* hw_info's types */
       IOMMU_HW_INFO_TYPE_NONE = 0, /* asked for: whichever there is */
       IOMMU_HW_INFO_TYPE_INTEL_VTD = 1,
       IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = 2, /* 6.13 */
};
struct iommu_hw_info_vtd {
	__u32 flags, __reserved;
	__aligned_u64 cap_reg, ecap_reg;
};
struct iommu_hw_info_arm_smmuv3 { /* 6.13 */
	__u32 flags, __reserved, idr[6], iidr, aidr;
};
enum { /* out_capabilities */
       IOMMU_HW_CAP_DIRTY_TRACKING = 1 << 0,
       IOMMU_HW_CAP_PCI_PASID_EXEC = 1 << 1,
       IOMMU_HW_CAP_PCI_PASID_PRIV = 1 << 2,
};
enum { IOMMU_HW_INFO_FLAG_INPUT_TYPE = 1 << 0 }; /* 6.17 */
struct iommu_hw_info {
	__u32 size, flags, dev_id, data_len;
	__aligned_u64 data_uptr;
	__u32 out_data_type;	 /* 6.17: also the type asked for */
	__u8 out_max_pasid_log2; /* 6.15 */
	__u8 __reserved[3];
	__aligned_u64 out_capabilities;
};
#define IOMMU_GET_HW_INFO IOMMUFD_NR(IOMMUFD_CMD_GET_HW_INFO)

enum { IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 1 };
struct iommu_hwpt_set_dirty_tracking {
	__u32 size, flags, hwpt_id, __reserved;
};
#define IOMMU_HWPT_SET_DIRTY_TRACKING IOMMUFD_NR(IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING)

enum { IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1 };
struct iommu_hwpt_get_dirty_bitmap {
	__u32 size, hwpt_id, flags, __reserved;
	__aligned_u64 iova, length, page_size, data;
};
#define IOMMU_HWPT_GET_DIRTY_BITMAP IOMMUFD_NR(IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP)

enum { IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 = 0, IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 = 1 };
enum { IOMMU_VTD_INV_FLAGS_LEAF = 1 << 0 };
struct iommu_hwpt_vtd_s1_invalidate {
	__aligned_u64 addr, npages;
	__u32 flags, __reserved;
};
struct iommu_viommu_arm_smmuv3_invalidate { /* 6.13: a command, as in the command queue */
	__aligned_le64 cmd[2];
};
struct iommu_hwpt_invalidate {
	__u32 size, hwpt_id;
	__aligned_u64 data_uptr;
	__u32 data_type, entry_len, entry_num, __reserved;
};
#define IOMMU_HWPT_INVALIDATE IOMMUFD_NR(IOMMUFD_CMD_HWPT_INVALIDATE)

enum { IOMMU_PGFAULT_FLAGS_PASID_VALID = 1 << 0, IOMMU_PGFAULT_FLAGS_LAST_PAGE = 1 << 1 };
enum {
	IOMMU_PGFAULT_PERM_READ = 1 << 0,
	IOMMU_PGFAULT_PERM_WRITE = 1 << 1,
	IOMMU_PGFAULT_PERM_EXEC = 1 << 2,
	IOMMU_PGFAULT_PERM_PRIV = 1 << 3,
};
struct iommu_hwpt_pgfault { /* read from a fault queue */
	__u32 flags, dev_id, pasid, grpid, perm, __reserved;
	__aligned_u64 addr;
	__u32 length, cookie;
};
enum { IOMMUFD_PAGE_RESP_SUCCESS = 0, IOMMUFD_PAGE_RESP_INVALID = 1 };
struct iommu_hwpt_page_response { /* written to it */
	__u32 cookie, code;
};
struct iommu_fault_alloc {
	__u32 size, flags, out_fault_id, out_fault_fd;
};
#define IOMMU_FAULT_QUEUE_ALLOC IOMMUFD_NR(IOMMUFD_CMD_FAULT_QUEUE_ALLOC)

/* ---- 6.13 and later ---- */
enum {
	IOMMU_VIOMMU_TYPE_DEFAULT = 0,
	IOMMU_VIOMMU_TYPE_ARM_SMMUV3 = 1,
	IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV = 2, /* 6.17 */
};
struct iommu_viommu_alloc {
	__u32 size, flags, type, dev_id, hwpt_id, out_viommu_id;
	__u32 data_len, __reserved; /* 6.17 */
	__aligned_u64 data_uptr;
};
#define IOMMU_VIOMMU_ALLOC IOMMUFD_NR(IOMMUFD_CMD_VIOMMU_ALLOC)

struct iommu_vdevice_alloc {
	__u32 size, viommu_id, dev_id, out_vdevice_id;
	__aligned_u64 virt_id;
};
#define IOMMU_VDEVICE_ALLOC IOMMUFD_NR(IOMMUFD_CMD_VDEVICE_ALLOC)

struct iommu_ioas_change_process {
	__u32 size, __reserved;
};
#define IOMMU_IOAS_CHANGE_PROCESS IOMMUFD_NR(IOMMUFD_CMD_IOAS_CHANGE_PROCESS)

enum {
	IOMMU_VEVENTQ_TYPE_DEFAULT = 0,
	IOMMU_VEVENTQ_TYPE_ARM_SMMUV3 = 1,
	IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV = 2, /* 6.17 */
};
enum { IOMMU_VEVENTQ_FLAG_LOST_EVENTS = 1u << 0 };
struct iommufd_vevent_header {
	__u32 flags, sequence;
};
struct iommu_vevent_arm_smmuv3 { /* an event record with the virtual StreamID */
	__aligned_le64 evt[4];
};
struct iommu_veventq_alloc {
	__u32 size, flags, viommu_id, type, veventq_depth, out_veventq_id, out_veventq_fd, __reserved;
};
#define IOMMU_VEVENTQ_ALLOC IOMMUFD_NR(IOMMUFD_CMD_VEVENTQ_ALLOC)

enum { IOMMU_HW_QUEUE_TYPE_DEFAULT = 0, IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV = 1 };
struct iommu_hw_queue_alloc {
	__u32 size, flags, viommu_id, type, index, out_hw_queue_id;
	__aligned_u64 nesting_parent_iova, length;
};
#define IOMMU_HW_QUEUE_ALLOC IOMMUFD_NR(IOMMUFD_CMD_HW_QUEUE_ALLOC)

#define ABI_SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), "struct " #type)
ABI_SIZE(iommu_destroy, 8);
ABI_SIZE(iommu_ioas_alloc, 12);
ABI_SIZE(iommu_ioas_iova_ranges, 32);
ABI_SIZE(iommu_ioas_allow_iovas, 24);
ABI_SIZE(iommu_ioas_map, 40);
ABI_SIZE(iommu_ioas_map_file, 40);
ABI_SIZE(iommu_ioas_copy, 40);
ABI_SIZE(iommu_ioas_unmap, 24);
ABI_SIZE(iommu_option, 24);
ABI_SIZE(iommu_vfio_ioas, 12);
ABI_SIZE(iommu_hwpt_alloc, 48);
ABI_SIZE(iommu_hwpt_vtd_s1, 24);
ABI_SIZE(iommu_hw_info_vtd, 24);
ABI_SIZE(iommu_hwpt_arm_smmuv3, 16);
ABI_SIZE(iommu_hw_info_arm_smmuv3, 40);
ABI_SIZE(iommu_viommu_arm_smmuv3_invalidate, 16);
ABI_SIZE(iommu_vevent_arm_smmuv3, 32);
ABI_SIZE(iommu_hw_info, 40);
ABI_SIZE(iommu_hwpt_set_dirty_tracking, 16);
ABI_SIZE(iommu_hwpt_get_dirty_bitmap, 48);
ABI_SIZE(iommu_hwpt_vtd_s1_invalidate, 24);
ABI_SIZE(iommu_hwpt_invalidate, 32);
ABI_SIZE(iommu_hwpt_pgfault, 40);
ABI_SIZE(iommu_hwpt_page_response, 8);
ABI_SIZE(iommu_fault_alloc, 16);
ABI_SIZE(iommu_viommu_alloc, 40);
ABI_SIZE(iommu_vdevice_alloc, 24);
ABI_SIZE(iommu_ioas_change_process, 8);
ABI_SIZE(iommufd_vevent_header, 8);
ABI_SIZE(iommu_veventq_alloc, 32);
ABI_SIZE(iommu_hw_queue_alloc, 40);
#undef ABI_SIZE

#endif
