/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VFIO_DEVICE_GET_REGION_INFO. Answers follow Linux 6.12 drivers/vfio/pci/vfio_pci_core.c, and of an MSI-X table apart
 * those of kernels before 4.16 (vfio_pci.c, msix_sparse_mmap_cap): the pages around it cannot be mapped then.
 */
#include <errno.h>
#include <string.h>

#include "vfio/internal.h"

/* What there can be at most: a table within a BAR leaves two areas. */
struct caps {
	uint32_t len;
	union {
		struct {
			struct vfio_region_info_cap_sparse_mmap head;
			struct vfio_region_sparse_mmap_area area[2];
		} sparse;
		struct vfio_region_info_cap_type type;
		struct vfio_info_cap_header mappable;
	};
};

bool region_msix_pages(const struct pci_func *f, unsigned int bar, uint64_t *first, uint64_t *last)
{
	if (!region_has_msix_table(f, bar))
		return false;
	*first = ALIGN_DOWN((uint64_t)f->msix_table_off, PF_PAGE_SIZE);
	*last = ALIGN_UP(f->msix_table_off + 16ull * f->msix_n, PF_PAGE_SIZE) - 1;
	return true;
}

static void add_area(struct caps *caps, uint64_t first, uint64_t end)
{
	if (first >= end)
		return;
	caps->sparse.area[caps->sparse.head.nr_areas++] =
	    (struct vfio_region_sparse_mmap_area){.offset = first, .size = end - first};
	caps->len += sizeof(caps->sparse.area[0]);
}

/* Without an area nothing can be mapped, and the flag is not set; as in Linux the capability says so too. */
static void sparse_cap(const struct pci_func *f, struct vfio_region_info *info, struct caps *caps)
{
	uint64_t first = 0, last = 0;

	region_msix_pages(f, info->index, &first, &last);
	caps->sparse.head.header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	caps->sparse.head.header.version = 1;
	caps->len = sizeof(caps->sparse.head);
	add_area(caps, 0, first);
	add_area(caps, last + 1, info->size);
}

static void bar_info(const struct pci_func *f, struct vfio_region_info *info, struct caps *caps)
{
	if (!f->bar[info->index].size)
		return;
	info->size = f->bar[info->index].size;
	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (!region_bar_mappable(f, info->index))
		return;
	info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
	if (!region_has_msix_table(f, info->index))
		return;
	if (f->msix_apart) {
		sparse_cap(f, info, caps);
	} else {
		caps->mappable = (struct vfio_info_cap_header){.id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, .version = 1};
		caps->len = sizeof(caps->mappable);
	}
}

static void extra_info(const struct pci_func *f, struct vfio_region_info *info, struct caps *caps)
{
	const struct pci_region *r = &f->region[info->index - VFIO_PCI_NUM_REGIONS];

	info->size = r->size;
	info->flags = VFIO_REGION_INFO_FLAG_READ;
	caps->type = (struct vfio_region_info_cap_type){
	    .header = {.id = VFIO_REGION_INFO_CAP_TYPE, .version = 1}, .type = r->type, .subtype = r->subtype};
	caps->len = sizeof(caps->type);
}

static void describe(const struct pci_func *f, struct vfio_region_info *info, struct caps *caps)
{
	info->offset = region_offset(info->index);
	info->flags = 0;
	info->size = 0;
	if (info->index <= VFIO_PCI_BAR5_REGION_INDEX) {
		bar_info(f, info, caps);
	} else if (info->index >= VFIO_PCI_NUM_REGIONS) {
		extra_info(f, info, caps);
	} else if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
		info->size = PCI_CFG_SIZE;
		info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	} else if (info->index == VFIO_PCI_ROM_REGION_INDEX && f->rom) {
		info->size = f->rom_size;
		info->flags = VFIO_REGION_INFO_FLAG_READ;
	}
}

long region_get_info(struct ufile *file, struct ucall *c, uint64_t arg)
{
	const struct pci_func *f = container_of(file, struct device_file, file)->dev->f;
	struct vfio_region_info info;
	struct caps caps = {0};
	int ret;

	ret = ucall_copy_in(c, arg, &info, sizeof(info));
	if (ret)
		return ret;
	if (info.argsz < sizeof(info))
		return -EINVAL;
	if (info.index >= VFIO_PCI_NUM_REGIONS + f->nregions || info.index == VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	describe(f, &info, &caps);
	if (caps.len) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		if (info.argsz < sizeof(info) + caps.len) {
			info.argsz = sizeof(info) + caps.len;
			info.cap_offset = 0;
		} else {
			info.cap_offset = sizeof(info);
			ret = ucall_copy_out(c, arg + sizeof(info), &caps.sparse, caps.len);
			if (ret)
				return ret;
		}
	}
	return ucall_copy_out(c, arg, &info, sizeof(info));
}
