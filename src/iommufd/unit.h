/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the IOMMU before a device can do: the counterpart of a kernel IOMMU driver's ops. One for the mock devices of
 * the test interface, and those that can stand before PCI functions, of which a broker has one.
 *
 * Sizes of the user's data: bytes of the structure as it is known here, or -errno: there is none of that type.
 */
#ifndef PINFOLD_IOMMUFD_UNIT_H
#define PINFOLD_IOMMUFD_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "iommu/domain.h"

struct hw_queue;
struct hwpt;
struct iommufd_device;
struct viommu;

/* What a unit does for its virtual IOMMUs of one type. NULL where nothing is said: -EOPNOTSUPP to the user. */
struct iommufd_viommu_ops {
	/* The user's data: at least data_min bytes of data_size. Written back after init as far as the user has it.
	 * Both 0: it is not looked at. */
	size_t data_min, data_size;
	int (*init)(struct viommu *v, void *data); /* data NULL: the user has none. Sets state. NULL: nothing to do */
	void (*destroy)(struct viommu *v);	   /* after a successful init. NULL: nothing to do */
	/* As the unit's: a nested domain below the virtual IOMMU's parent. flags: IOMMU_HWPT_ALLOC_*. */
	int (*nested_size)(uint32_t type, uint32_t flags);
	int (*nested)(struct viommu *v, uint32_t type, const void *data, struct domain **d, void **state);
	int (*invalidate_size)(uint32_t type);
	bool invalidate_some; /* no entries are -EINVAL, and not a question for the type */
	int (*invalidate)(struct viommu *v, uint32_t type, const void *entry);
	bool (*hw_queue_type)(uint32_t type);
	/* Its memory is there already. May set needs (not held yet). */
	int (*hw_queue_init)(struct hw_queue *q);
};

struct iommufd_unit {
	const char *name, *text; /* as the user of `pinfold run --iommu` knows it */
	uint32_t hw_info_type;	 /* IOMMU_HW_INFO_TYPE_* */
	bool cache_coherent;	 /* every domain can enforce coherency */
	bool follows;		 /* page tables that follow an address space, and page requests of paging ones */
	bool user_pasids;	 /* without a page table of its own, a PASID's requests are those of the nested one */
	/* Fills at most size bytes; returns the whole length. */
	size_t (*hw_info)(const struct iommufd_device *dev, void *buf, size_t size);
	/* Can the device ask for pages? 0, or the errno for who attaches it to a page table with a fault queue. */
	int (*pri)(const struct iommufd_device *dev);
	/* How many bits of PASID the device has. NULL: none. */
	uint8_t (*pasid_bits)(const struct iommufd_device *dev);
	/* d (NULL: nothing any more) is to be attached to a PASID of the device; errors keep what was. NULL: no PASIDs.
	 */
	int (*attach_pasid)(const struct iommufd_device *dev, const struct domain *d, uint32_t pasid);
	/* flags: IOMMU_HWPT_ALLOC_*. 0 or -EOPNOTSUPP (a flag that it does not know or cannot honour). */
	int (*paging)(const struct iommufd_device *dev, uint32_t flags, struct domain_config *cfg);
	/*
	 * A nested domain from nested_size bytes of the user's data of that type. state (may stay NULL) is the unit's
	 * own, freed with nested_free, which those of virtual IOMMUs are, too. 0, -EOPNOTSUPP, -EINVAL, -ENOMEM.
	 */
	int (*nested_size)(uint32_t type, uint32_t flags); /* NULL: no nesting without a virtual IOMMU */
	int (*nested)(const struct iommufd_device *dev, struct domain *parent, uint32_t type, const void *data,
		      struct domain **d, void **state);
	void (*nested_free)(void *state);
	/* One invalidation request for a nested domain; invalidate_size as nested_size. */
	int (*invalidate_size)(uint32_t type);
	int (*invalidate)(struct domain *d, void *state, uint32_t type, const void *entry);
	/* The i-th range of IOVAs that never reach memory (the MSI window); false past the end. */
	bool (*reserved)(unsigned int i, uint64_t *first, uint64_t *last);
	/* May this device be attached to this page table (-EINVAL: dirty tracking that it lacks ...)? NULL: any. */
	int (*attach)(const struct iommufd_device *dev, const struct hwpt *h);
	/* Virtual IOMMUs of that type; NULL: there are none. NULL: of no type. */
	const struct iommufd_viommu_ops *(*viommu)(const struct iommufd_device *dev, uint32_t type);
};

/* Those that can stand before PCI functions. */
extern const struct iommufd_unit vtd_unit, smmuv3_unit;

#endif
