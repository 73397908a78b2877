/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the test interface. */
#ifndef PINFOLD_IOMMUFD_MOCK_H
#define PINFOLD_IOMMUFD_MOCK_H

#include "iommufd/internal.h"
#include "iommufd/mock_abi.h"

#include "iommufd/unit.h"

#define MOCK_BDF 0xffffu /* of mock devices, in events */

/* A mock device, and the object that stands for it; its own group. */
struct mock_dev {
	struct iommufd_object obj;
	struct iommufd_ctx *ctx;
	struct dma_dev *dma;
	uint32_t flags;
	uint32_t cache[MOCK_CACHE_NUM]; /* words that invalidation clears */
	bool pasid_fails;		/* the next change of MOCK_PASID_FAILING */
	struct iommufd_device *dev;
};
extern const struct iommufd_unit mock_unit;
/* The device behind a bound one of the mock unit. */
struct mock_dev *mock_of(const struct iommufd_device *dev);
int mock_nested_size(uint32_t type, uint32_t flags);
int mock_nested_new(struct domain *parent, const void *data, struct domain **d, void **state);

/* ---- mock_viommu.c, mock_pasid.c ---- */
extern const struct iommufd_viommu_ops mock_viommu_ops;

ioctl_fn mock_create_access, mock_destroy_access_pages, mock_access_pages, mock_access_rw, mock_access_replace_ioas,
    mock_dev_check_cache, mock_trigger_vevent, mock_pasid_attach, mock_pasid_replace, mock_pasid_detach,
    mock_pasid_check_hwpt, mock_dmabuf_get, mock_dmabuf_revoke;

#endif
