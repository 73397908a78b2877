/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What newer kernels have added to VFIO's ioctls since Debian 12's <linux/vfio.h>: the device's own node (Linux 6.6;
 * the PASIDs 6.15), and of migration what came after 6.1: saving while the device runs, the state's size (6.2). Layout
 * and values are Linux's.
 */
#ifndef PINFOLD_UAPI_VFIO_ABI_H
#define PINFOLD_UAPI_VFIO_ABI_H

#include <linux/types.h>
#include <linux/vfio.h>
#include <stddef.h>

#ifndef VFIO_DEVICE_BIND_IOMMUFD
struct vfio_device_bind_iommufd {
	__u32 argsz;
	__u32 flags;
	__s32 iommufd;
	__u32 out_devid;
};
#define VFIO_DEVICE_BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)

struct vfio_device_attach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
#define VFIO_DEVICE_ATTACH_PASID (1 << 0)
	__u32 pt_id; /* in and out */
	__u32 pasid;
};
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)

struct vfio_device_detach_iommufd_pt {
	__u32 argsz;
	__u32 flags;
#define VFIO_DEVICE_DETACH_PASID (1 << 0)
	__u32 pasid;
};
#define VFIO_DEVICE_DETACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 20)

/* struct vfio_pci_hot_reset_info, flags: group_id of each entry is the device's id in the caller's iommufd instead. */
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID	     (1 << 0)
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED (1 << 1)
#define VFIO_PCI_DEVID_OWNED		     0
#define VFIO_PCI_DEVID_NOT_OWNED	     -1
#endif

#ifndef VFIO_MIGRATION_PRE_COPY
#define VFIO_MIGRATION_PRE_COPY (1 << 2)

enum {
	VFIO_DEVICE_STATE_PRE_COPY = 6,
	VFIO_DEVICE_STATE_PRE_COPY_P2P = 7,
	VFIO_DEVICE_STATE_NR,
};

struct vfio_precopy_info {
	__u32 argsz;
	__u32 flags;
	__aligned_u64 initial_bytes;
	__aligned_u64 dirty_bytes;
};
#define VFIO_MIG_GET_PRECOPY_INFO _IO(VFIO_TYPE, VFIO_BASE + 21)

struct vfio_device_feature_mig_data_size {
	__aligned_u64 stop_copy_length;
};
#define VFIO_DEVICE_FEATURE_MIG_DATA_SIZE 9
#endif

_Static_assert(sizeof(struct vfio_precopy_info) == 24, "struct vfio_precopy_info");
_Static_assert(offsetof(struct vfio_precopy_info, dirty_bytes) == 16, "struct vfio_precopy_info");
_Static_assert(VFIO_MIG_GET_PRECOPY_INFO == 0x3b79, "ioctl numbers");
_Static_assert(sizeof(struct vfio_device_feature_mig_state) == 8, "struct vfio_device_feature_mig_state");
_Static_assert(VFIO_DEVICE_STATE_RUNNING_P2P == 5 && VFIO_DEVICE_STATE_NR == 8, "enum vfio_device_mig_state");
_Static_assert(sizeof(struct vfio_device_feature_dma_logging_range) == 16, "a range to be logged");
_Static_assert(sizeof(struct vfio_device_feature_dma_logging_report) == 32, "struct ..._dma_logging_report");
#ifndef VFIO_DEVICE_FEATURE_DMA_BUF
/* Linux 6.19. GET: slices of a region as a dma-buf, whose descriptor is the result. */
#define VFIO_DEVICE_FEATURE_DMA_BUF 11
struct vfio_region_dma_range {
	__u64 offset;
	__u64 length;
};
struct vfio_device_feature_dma_buf {
	__u32 region_index;
	__u32 open_flags;
	__u32 flags; /* 0 */
	__u32 nr_ranges;
	struct vfio_region_dma_range dma_ranges[];
};
#endif

_Static_assert(sizeof(struct vfio_device_bind_iommufd) == 16, "struct vfio_device_bind_iommufd");
_Static_assert(offsetof(struct vfio_device_bind_iommufd, out_devid) == 12, "struct vfio_device_bind_iommufd");
_Static_assert(offsetof(struct vfio_device_attach_iommufd_pt, pt_id) == 8, "struct vfio_device_attach_iommufd_pt");
_Static_assert(offsetof(struct vfio_device_detach_iommufd_pt, flags) == 4, "struct vfio_device_detach_iommufd_pt");
_Static_assert(VFIO_DEVICE_BIND_IOMMUFD == 0x3b76 && VFIO_DEVICE_DETACH_IOMMUFD_PT == 0x3b78, "ioctl numbers");
_Static_assert(sizeof(struct vfio_pci_dependent_device) == 8, "struct vfio_pci_dependent_device");
_Static_assert(sizeof(struct vfio_device_feature_dma_buf) == 16, "struct vfio_device_feature_dma_buf");
_Static_assert(sizeof(struct vfio_region_dma_range) == 16, "struct vfio_region_dma_range");

#endif
