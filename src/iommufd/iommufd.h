/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * /dev/iommu, as the broker and vfio/ see it. Source for every answer: Linux 6.12 drivers/iommu/iommufd, and newer
 * kernels where the ioctl is newer.
 */
#ifndef PINFOLD_IOMMUFD_IOMMUFD_H
#define PINFOLD_IOMMUFD_IOMMUFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct backing_cache;
struct dma_dev;
struct events;
struct iommufd;
struct iommufd_ctx;
struct iommufd_device;
struct iommufd_unit;
struct mm_owner;
struct ucall;
struct ufile;
struct vfio_iommu_type1_dma_map;

/*
 * The interface of one broker, whose clients' memory is in cache. test: IOMMU_TEST_CMD is served. NULL: out of memory.
 */
struct iommufd *iommufd_new(struct events *evs, struct backing_cache *cache, bool test);
void iommufd_free(struct iommufd *m); /* every ufile must be gone */
/* open("/dev/iommu"): a context of its own. 0 or -ENOMEM. */
int iommufd_open(struct iommufd *m, struct ufile **f);
/* The context behind a descriptor; NULL: it is not an iommufd. The caller that keeps it holds the ufile. */
struct iommufd_ctx *iommufd_ctx(struct ufile *f);

/*
 * A process's address space changes at [first, last], or it may: what page tables that follow it have there is gone
 * when this returns (rule E3).
 */
void iommufd_forget(struct iommufd *m, const struct mm_owner *who, uint64_t first, uint64_t last);

/* ---- for vfio/: type1, which both sides serve ---- */

/* Copies in VFIO_IOMMU_MAP_DMA's argument; *prot: of IOMMU_READ, IOMMU_WRITE. -EINVAL: too short, unknown flags. */
int iommufd_map_args(struct ucall *c, uint64_t arg, struct vfio_iommu_type1_dma_map *map, int *prot);

/* ---- for vfio/: devices ---- */

/* Kinds of units that can stand before PCI functions, by name; the i-th: NULL past the end. The first is the default.
 */
const struct iommufd_unit *iommufd_unit_find(const char *name);
const struct iommufd_unit *iommufd_unit(unsigned int i);
const char *iommufd_unit_name(const struct iommufd_unit *u);
const char *iommufd_unit_text(const struct iommufd_unit *u);
/* The i-th range of IOVAs that never reach memory; false past the end. */
bool iommufd_unit_reserved(const struct iommufd_unit *u, unsigned int i, uint64_t *first, uint64_t *last);
/* The one that does, in this broker. */
void iommufd_set_pci_unit(struct iommufd *m, const struct iommufd_unit *u);
const struct iommufd_unit *iommufd_pci_unit(const struct iommufd_ctx *ctx);
/*
 * Binds a requester: a device object appears in the context. Requesters of one group (a pointer that only they share)
 * must translate through the same page table. 0, -EBUSY (bound already), -ENOMEM.
 */
int iommufd_device_bind(struct iommufd_ctx *ctx, struct dma_dev *dma, const void *group, const struct iommufd_unit *u,
			struct iommufd_device **dev, uint32_t *id);
void iommufd_device_unbind(struct iommufd_device *dev); /* detached */
/*
 * Attaches to an IOAS (a page table is found or made) or to a HWPT. *pt_id: the HWPT's id in the end. attach: -EINVAL
 * if attached (-EBUSY: to the same HWPT); replace: -EINVAL if not. -ENOENT (no such object), -EINVAL (of another kind,
 * incompatible), -EADDRINUSE, -EFAULT, -EREMOTEIO (the space holds memory of a device that this one may not reach, rule
 * B2), -ENOMEM: what was attached stays.
 */
int iommufd_device_attach(struct iommufd_device *dev, uint32_t *pt_id);
int iommufd_device_replace(struct iommufd_device *dev, uint32_t *pt_id);
void iommufd_device_detach(struct iommufd_device *dev);
/*
 * The same for one of the device's PASIDs, other than 0: attaches it, or replaces what it is attached to, which must be
 * a HWPT that was made for PASIDs (-EINVAL). -EINVAL (the device has no such PASID), -EBUSY, -ENOENT, -ENOMEM.
 */
int iommufd_device_pasid_attach(struct iommufd_device *dev, uint32_t pasid, uint32_t pt_id);
void iommufd_device_pasid_detach(struct iommufd_device *dev,
				 uint32_t pasid); /* nothing happens if it is not attached */
void iommufd_device_pasid_detach_all(struct iommufd_device *dev);

/* ---- for vfio/: the container that a context can stand for ---- */
/* The IOAS that VFIO's ioctls on the context use: made if there is none, 0 or -ENOMEM; or asked for, 0 or -ENODEV. */
int iommufd_compat_make(struct iommufd_ctx *ctx);
int iommufd_compat_ioas(struct iommufd_ctx *ctx, uint32_t *id);

#endif
