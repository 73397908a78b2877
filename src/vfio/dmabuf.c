/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slices of BARs as dma-bufs (VFIO_DEVICE_FEATURE_DMA_BUF), and the address of a mapped BAR as memory to map, which
 * type1 takes (rule B3). Answers follow Linux 6.19 drivers/vfio/pci/vfio_pci_dmabuf.c.
 *
 * A dma-buf is good while its exporter has the device and the device's memory is on. What is mapped from it is gone for
 * good once memory has been off; a new mapping of the same dma-buf works when it is on again. With the exporter's last
 * descriptor of the device it ends (rule A5).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/event.h"
#include "iommufd/dmabuf.h"
#include "pci/peer.h"
#include "vfio/internal.h"

#define RANGES_MAX (1u << 18) /* 4 MiB of them is what a kernel allocates at a time */

struct bar_dmabuf {
	struct dmabuf buf;
	struct list node;     /* dev->dmabufs */
	struct vfio_dev *dev; /* NULL: the exporter has let the device go */
	unsigned int bar;
	uint64_t off; /* of the first range */
	uint32_t nr_ranges;
};

static int bar_dmabuf_pages(struct dmabuf *buf, uint64_t start, uint64_t len, struct mm_owner *who, struct pages **p)
{
	struct bar_dmabuf *b = container_of(buf, struct bar_dmabuf, buf);

	if (!b->dev || !pci_mem_enabled(b->dev->f))
		return -ENODEV;
	if (b->nr_ranges != 1)
		return -EOPNOTSUPP;
	return pci_bar_pages(b->dev->f, b->bar, b->off + start, len, start, false, who, p);
}

static void bar_dmabuf_release(struct dmabuf *buf)
{
	struct bar_dmabuf *b = container_of(buf, struct bar_dmabuf, buf);

	list_del(&b->node);
	free(b);
}

static const struct dmabuf_ops bar_dmabuf_ops = {.pages = bar_dmabuf_pages, .release = bar_dmabuf_release};

void dmabuf_cleanup(struct vfio_dev *d)
{
	while (!list_empty(&d->dmabufs)) {
		struct bar_dmabuf *b = list_first(&d->dmabufs, struct bar_dmabuf, node);

		list_del(&b->node);
		b->dev = NULL;
	}
}

/* Every range is whole pages, and all of them together have a size. */
static int ranges_check(const struct vfio_region_dma_range *r, uint32_t n, uint64_t *size)
{
	*size = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!r[i].length || !IS_ALIGNED(r[i].offset | r[i].length, PF_PAGE_SIZE))
			return -EINVAL;
		if (add_overflows(*size, r[i].length, size))
			return -EINVAL;
	}
	/* More than can be addressed by half of all addresses is more than a kernel can map. */
	return *size >> 63 ? -EINVAL : 0;
}

static int ranges_fit(const struct pci_func *f, unsigned int bar, const struct vfio_region_dma_range *r, uint32_t n)
{
	uint64_t start = pci_bar_address(f, bar), at, end;

	if (!f->bar[bar].size)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		if (add_overflows(start, r[i].offset, &at) || add_overflows(at, r[i].length, &end))
			return -EOVERFLOW;
		if (end > start + f->bar[bar].size)
			return -EINVAL;
	}
	return 0;
}

static int export_slices(struct vfio_dev *d, struct ucall *c, const struct vfio_device_feature_dma_buf *get,
			 const struct vfio_region_dma_range *r)
{
	struct bar_dmabuf *b;
	uint64_t size;
	int err;

	err = ranges_check(r, get->nr_ranges, &size);
	if (!err)
		err = ranges_fit(d->f, get->region_index, r, get->nr_ranges);
	if (err)
		return err;
	b = mem_calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	dmabuf_init(&b->buf, &bar_dmabuf_ops, size);
	b->dev = d;
	b->bar = get->region_index;
	b->off = r[0].offset;
	b->nr_ranges = get->nr_ranges;
	list_init(&b->node);
	list_add_tail(&d->dmabufs, &b->node);
	err = ucall_install(c, &b->buf.file);
	if (err)
		ufile_put(&b->buf.file);
	return err;
}

long dmabuf_feature(struct vfio_dev *d, struct feature_call *fc)
{
	struct vfio_device_feature_dma_buf get;
	struct vfio_region_dma_range *r;
	int err;

	err = ucall_copy_in(fc->c, fc->data, &get, sizeof(get));
	if (err)
		return err;
	if (!get.nr_ranges || get.flags)
		return -EINVAL;
	if (get.region_index >= VFIO_PCI_ROM_REGION_INDEX)
		return -ENODEV;
	r = get.nr_ranges <= RANGES_MAX ? mem_calloc(get.nr_ranges, sizeof(*r)) : NULL;
	if (!r)
		return -ENOMEM;
	err = ucall_copy_in(fc->c, fc->data + sizeof(get), r, get.nr_ranges * sizeof(*r));
	if (!err)
		err = export_slices(d, fc->c, &get, r);
	free(r);
	return err;
}

/* ---- the address of a mapped BAR ---- */

static void taint(struct vfio *v, const struct pci_func *f, uint64_t va)
{
	event_emit(v->evs, EVENT_TAINT, .who = (uint32_t)f->domain << 16 | f->bdf, .value = va,
		   .name = "a container maps the address of its BAR, which no policy is asked about");
	v->tainted = true;
}

int dmabuf_legacy_pages(struct vfio *v, struct ufile *file, uint64_t file_off, uint64_t len, uint64_t va,
			struct mm_owner *who, struct pages **p)
{
	struct pci_func *f;
	unsigned int bar;
	uint64_t off;
	int err;

	if (!device_is(file) || !region_locate(file_off, &bar, &off) || bar >= VFIO_PCI_ROM_REGION_INDEX)
		return -EFAULT;
	if (v->strict)
		return -EINVAL;
	f = container_of(file, struct device_file, file)->dev->f;
	/* Memory that is off cannot be faulted in (follow_fault_pfn). */
	err = pci_bar_pages(f, bar, off, len, va, true, who, p);
	if (err)
		return err == -ENOMEM ? err : -EFAULT;
	taint(v, f, va);
	return 0;
}
