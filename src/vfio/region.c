/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's regions: reads and writes of them, mappings. Answers follow Linux 6.12
 * drivers/vfio/pci/vfio_pci_core.c and vfio_pci_rdwr.c. */
#include <errno.h>
#include <string.h>

#include "proto/channel.h"
#include "pci/barmem.h"
#include "pci/live.h"
#include "vfio/internal.h"

#define OFFSET_MASK ((1ull << REGION_INDEX_SHIFT) - 1)

_Static_assert(VFIO_PCI_NUM_REGIONS == 9, "region indices are part of the kernel's interface");

static inline struct vfio_dev *to_dev(struct ufile *f)
{
	return container_of(f, struct device_file, file)->dev;
}

uint64_t region_offset(unsigned int index)
{
	return REGION_OFFSET_MAGIC | (uint64_t)index << REGION_INDEX_SHIFT;
}

bool region_locate(uint64_t file_off, unsigned int *index, uint64_t *off)
{
	uint64_t magic = file_off & ~(BIT64(48) - 1), i;

	if (magic && magic != REGION_OFFSET_MAGIC)
		return false;
	i = (file_off & ~magic) >> REGION_INDEX_SHIFT;
	if (i >= VFIO_PCI_NUM_REGIONS + PCI_REGIONS_MAX)
		return false;
	*index = i;
	*off = file_off & OFFSET_MASK;
	return true;
}

static bool is_bar(unsigned int index)
{
	return index <= VFIO_PCI_BAR5_REGION_INDEX;
}

bool region_bar_mappable(const struct pci_func *f, unsigned int bar)
{
	return f->bar[bar].size >= PF_PAGE_SIZE;
}

bool region_has_msix_table(const struct pci_func *f, unsigned int bar)
{
	return f->msix_cap && f->msix_table_bar == bar;
}

/* ---- read and write ---- */

bool region_hits_msix_table(const struct pci_func *f, unsigned int bar, uint64_t off, uint64_t len)
{
	uint64_t first = f->msix_table_off, end = first + 16ull * f->msix_n;

	return region_has_msix_table(f, bar) && off < end && off + len > first;
}

/* How far the bytes at off are alike: all of the MSI-X table (*hidden), or none. */
static uint64_t stretch(const struct pci_func *f, unsigned int bar, uint64_t off, uint64_t len, bool *hidden)
{
	uint64_t first = f->msix_table_off, end = first + 16ull * f->msix_n;

	*hidden = region_has_msix_table(f, bar) && off >= first && off < end;
	if (*hidden)
		return MIN(len, end - off);
	if (region_has_msix_table(f, bar) && off < first)
		return MIN(len, first - off);
	return len;
}

/* The widest naturally aligned access that fits. */
static unsigned int access_size(uint64_t off, uint64_t len)
{
	unsigned int size = 8;

	while (size > 1 && (off % size || len < size))
		size /= 2;
	return size;
}

static void say_memory_off(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, bool write)
{
	pci_misuse(f, MISUSE_MEMORY_OFF, bar, off, size, write, "its memory does not decode");
}

static void say_out_of_range(struct pci_func *f, unsigned int index, uint64_t off, size_t len, bool write)
{
	pci_misuse(f, MISUSE_RANGE, index, off, MIN(len, (size_t)UINT32_MAX), write,
		   "it goes past the end of the region");
}

static int bar_access(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint8_t *rd,
		      const uint8_t *wr)
{
	uint64_t val = 0;
	int ret;

	if (wr) {
		memcpy(&val, wr, size);
		return pci_bar_write(f, bar, off, size, val);
	}
	ret = pci_bar_read(f, bar, off, size, &val);
	if (!ret)
		memcpy(rd, &val, size);
	return ret;
}

/* Reads into rd, or writes from wr. The MSI-X table belongs to the host: it reads as ones and ignores writes. */
static ssize_t bar_rw(struct pci_func *f, unsigned int bar, uint8_t *rd, const uint8_t *wr, size_t len, uint64_t off)
{
	size_t done = 0;

	if (off >= f->bar[bar].size || len > f->bar[bar].size - off)
		say_out_of_range(f, bar, off, len, wr);
	if (off >= f->bar[bar].size)
		return -EINVAL;
	len = MIN((uint64_t)len, f->bar[bar].size - off);
	while (done < len) {
		bool hidden;
		uint64_t n = stretch(f, bar, off + done, len - done, &hidden);

		if (hidden) {
			if (rd)
				memset(rd + done, 0xff, n);
			else
				pci_misuse(f, MISUSE_READ_ONLY, bar, off + done, n, true,
					   "the MSI-X table is VFIO's, which has SET_IRQS for it");
		} else {
			int ret;

			n = access_size(off + done, n);
			ret = bar_access(f, bar, off + done, n, rd ? rd + done : NULL, wr ? wr + done : NULL);
			if (ret == -EIO)
				say_memory_off(f, bar, off + done, n, wr);
			if (ret)
				return ret;
		}
		done += n;
	}
	return done;
}

static ssize_t rom_read(struct pci_func *f, void *buf, size_t len, uint64_t off)
{
	int ret;

	if (!f->rom || off >= f->rom_size)
		return -EINVAL;
	len = MIN((uint64_t)len, f->rom_size - off);
	ret = pci_rom_read(f, off, buf, len);
	return ret ? ret : (ssize_t)len;
}

/* As Linux serves its own: vfio_pci_igd_rw. */
static ssize_t extra_read(struct pci_func *f, unsigned int i, void *buf, size_t len, uint64_t off)
{
	if (i >= f->nregions || off >= f->region[i].size)
		return -EINVAL;
	len = MIN((uint64_t)len, f->region[i].size - off);
	if (f->away)
		memset(buf, 0xff, len);
	else
		f->region[i].read(f, off, buf, len);
	return (ssize_t)len;
}

static ssize_t do_pread(struct vfio_dev *d, void *buf, size_t len, uint64_t file_off)
{
	unsigned int index;
	uint64_t off;

	if (!region_locate(file_off, &index, &off))
		return -EINVAL;
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		return config_read(d, buf, len, off);
	if (index == VFIO_PCI_ROM_REGION_INDEX)
		return rom_read(d->f, buf, len, off);
	if (index >= VFIO_PCI_NUM_REGIONS)
		return extra_read(d->f, index - VFIO_PCI_NUM_REGIONS, buf, len, off);
	return is_bar(index) ? bar_rw(d->f, index, buf, NULL, len, off) : -EINVAL;
}

ssize_t region_pread(struct ufile *file, void *buf, size_t len, uint64_t file_off)
{
	struct vfio_dev *d = to_dev(file);
	ssize_t ret;

	if (!len)
		return 0;
	device_call_begin(d);
	ret = do_pread(d, buf, len, file_off);
	device_call_end(d);
	return ret;
}

static ssize_t do_pwrite(struct vfio_dev *d, const void *buf, size_t len, uint64_t file_off)
{
	unsigned int index;
	uint64_t off;

	if (!region_locate(file_off, &index, &off))
		return -EINVAL;
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		return config_write(d, buf, len, off);
	/* A region of the device's own is for reading, as the ones that Linux offers are (vfio_pci_igd_rw). */
	return is_bar(index) ? bar_rw(d->f, index, NULL, buf, len, off) : -EINVAL;
}

ssize_t region_pwrite(struct ufile *file, const void *buf, size_t len, uint64_t file_off)
{
	struct vfio_dev *d = to_dev(file);
	ssize_t ret;

	if (!len)
		return 0;
	device_call_begin(d);
	ret = do_pwrite(d, buf, len, file_off);
	device_call_end(d);
	return ret;
}

/* A mapping shows the whole BAR, the MSI-X table included (VFIO_REGION_INFO_CAP_MSIX_MAPPABLE). */
static struct pci_func *locate_mmio(struct ufile *file, uint64_t file_off, unsigned int size, unsigned int *bar,
				    uint64_t *off)
{
	struct pci_func *f = to_dev(file)->f;

	if (!size || size > 8 || !region_locate(file_off, bar, off) || !is_bar(*bar) || *off + size > f->bar[*bar].size)
		return NULL;
	return f;
}

int region_mmio_read(struct ufile *file, uint64_t file_off, unsigned int size, uint64_t *val)
{
	unsigned int bar;
	uint64_t off;
	struct pci_func *f = locate_mmio(file, file_off, size, &bar, &off);

	if (!f)
		return -EINVAL;
	if (device_memory_on(to_dev(file)))
		return pci_bar_read(f, bar, off, size, val);
	say_memory_off(f, bar, off, size, false);
	return -EIO;
}

int region_mmio_write(struct ufile *file, uint64_t file_off, unsigned int size, uint64_t val)
{
	unsigned int bar;
	uint64_t off;
	struct pci_func *f = locate_mmio(file, file_off, size, &bar, &off);

	if (!f)
		return -EINVAL;
	if (device_memory_on(to_dev(file)))
		return pci_bar_write(f, bar, off, size, val);
	say_memory_off(f, bar, off, size, true);
	return -EIO;
}

/* Of the file that is mapped now; never 0. */
static uint64_t file_generation(const struct pci_bar *b)
{
	return barmem_generation(b->mem) + 1;
}

int region_mmio_test(struct ufile *file, uint64_t file_off, uint64_t generation)
{
	unsigned int bar;
	uint64_t off;
	struct pci_func *f = locate_mmio(file, file_off, 1, &bar, &off);

	if (!f || !device_memory_on(to_dev(file)) || (f->away && f->bar[bar].mem))
		return -EIO;
	if (generation && (!f->bar[bar].mem || generation != file_generation(&f->bar[bar])))
		return -EIO;
	return 0;
}

int region_mmap(struct ufile *file, uint64_t file_off, uint64_t len, int prot, bool shared, struct umap *m)
{
	struct pci_func *f = to_dev(file)->f;
	uint64_t off, end, first, last;
	unsigned int index;

	if (!region_locate(file_off, &index, &off) || !shared || !is_bar(index) || !region_bar_mappable(f, index))
		return -EINVAL;
	if (!len || !IS_ALIGNED(off | len, PF_PAGE_SIZE) || add_overflows(off, len, &end) || end > f->bar[index].size)
		return -EINVAL;
	if (f->msix_apart && region_msix_pages(f, index, &first, &last) && off <= last && end > first)
		return -EINVAL;
	*m = (struct umap){.kind = UMAP_TRAP, .fd = f->bar[index].mem ? barmem_file(f->bar[index].mem) : -1};
	if (m->fd >= 0) {
		m->kind = UMAP_FILE;
		m->fd_off = off;
		m->generation = file_generation(&f->bar[index]);
	}
	if (f->bar[index].live && f->bar[index].live_off >= off && f->bar[index].live_off < end) {
		m->fd = f->bar[index].live->fd;
		m->fd_off = f->bar[index].live_off - off;
		m->fd_len = MIN(f->bar[index].live->size, end - f->bar[index].live_off);
	}
	return 0;
}
