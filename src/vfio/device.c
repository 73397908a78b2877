/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's descriptor: its life, and the ioctls that are about the function as a whole. Answers follow Linux 6.12
 * drivers/vfio/pci/vfio_pci_core.c and vfio_main.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "iommu/log.h"
#include "iommufd/iommufd.h"
#include "vfio/internal.h"

static inline struct device_file *to_file(struct ufile *f)
{
	return container_of(f, struct device_file, file);
}

static inline struct vfio_dev *to_dev(struct ufile *f)
{
	return to_file(f)->dev;
}

/* ---- life ---- */

struct vfio_dev *device_new(struct vfio *v, struct vfio_group *g, struct pci_func *f)
{
	struct vfio_dev *d = mem_calloc(1, sizeof(*d));
	unsigned int n;

	if (!d)
		return NULL;
	n = MAX(f->msix_n, f->msi_n);
	d->msix = mem_calloc(MAX(n, 1U), sizeof(*d->msix));
	if (!d->msix) {
		free(d);
		return NULL;
	}
	d->v = v;
	d->group = g;
	d->f = f;
	pci_bdf_format(f, d->name);
	list_init(&d->ioeventfds);
	list_init(&d->dmabufs);
	loop_timer_init(&d->leave_timer, unbind_ask_again);
	irq_init(d);
	migration_init(d);
	power_init(d);
	return d;
}

void device_free(struct vfio_dev *d)
{
	if (d->v->loop)
		loop_timer_cancel(d->v->loop, &d->leave_timer);
	free(d->msix);
	free(d);
}

/* Fresh from reset, memory decoding on as after pci_enable_device(), bus mastering off. */
static void device_enable(struct vfio_dev *d)
{
	pci_func_reset(d->f);
	pci_msix_enable(d->f, false);
	pci_msi_enable(d->f, 0);
	pci_cfg_write(d->f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	config_open(d);
	irq_init(d);
	d->f->sink = &d->sink;
}

/* DMA first, then interrupts, so that nothing of the function's is under way when the sink goes. */
static void device_disable(struct vfio_dev *d)
{
	device_settle(d);
	if (d->f->ops->closing)
		d->f->ops->closing(d->f);
	pci_mem_forget(d->f);
	pci_cfg_write(d->f, PCI_COMMAND, 2, 0);
	migration_reset(d);
	power_shutdown(d);
	dmabuf_cleanup(d);
	irq_shutdown(d);
	ioeventfd_clear(d);
	pci_func_reset(d->f);
	pci_msix_enable(d->f, false);
	pci_msi_enable(d->f, 0);
	pci_mem_renew(d->f);
	d->f->sink = NULL;
}

/* Restores what software can write, but for the registers whose writing is an action. */
static void restore_config(struct pci_func *f, const uint8_t *saved)
{
	unsigned int off;

	for (off = 0; off < PCI_CFG_SIZE; off += 2) {
		uint16_t mask, w1c, old, now;

		if (off == PCI_COMMAND || (f->pm_cap && off == f->pm_cap + PCI_PM_CTRL) ||
		    (f->msix_cap && off == f->msix_cap + PCI_MSIX_FLAGS) ||
		    (f->msi_cap && off == f->msi_cap + PCI_MSI_FLAGS))
			continue;
		memcpy(&mask, f->wmask + off, 2);
		memcpy(&w1c, f->w1c + off, 2);
		memcpy(&old, saved + off, 2);
		memcpy(&now, f->cfg + off, 2);
		mask &= ~w1c;
		if ((old ^ now) & mask)
			pci_cfg_write(f, off, 2, (now & ~mask & ~w1c) | (old & mask));
	}
}

void device_restore(struct vfio_dev *d, const uint8_t *saved)
{
	uint16_t command;

	memcpy(&command, saved + PCI_COMMAND, 2);
	restore_config(d->f, saved);
	irq_restore(d);
	pci_cfg_write(d->f, PCI_COMMAND, 2, command);
}

void device_reset(struct vfio_dev *d)
{
	uint8_t saved[PCI_CFG_SIZE];

	power_wake(d);
	device_settle(d);
	memcpy(saved, d->f->cfg, sizeof(saved));
	pci_func_reset(d->f);
	device_restore(d, saved);
	migration_reset(d);
	power_rest(d);
}

int device_enter(struct vfio_dev *d, struct ufile *iommufd)
{
	int err;

	if (d->open_count++)
		return 0;
	err = iommufd ? binding_bind(d, iommufd) : 0;
	if (err) {
		d->open_count--;
		return err;
	}
	token_entered(d);
	device_enable(d);
	return 0;
}

/* The function is quiet before what it could reach goes (rule A3). */
void device_leave(struct vfio_dev *d)
{
	if (--d->open_count)
		return;
	device_disable(d);
	token_left(d);
	binding_unbind(d);
}

/* A device of a group in a container keeps the group; what an iommufd's needs is the iommufd. */
static void device_release(struct ufile *f)
{
	struct vfio_dev *d = to_file(f)->dev;
	struct vfio_group *g = d->bound ? NULL : d->group;

	device_leave(d);
	free(to_file(f));
	if (g)
		g->users--;
	unbind_file_closed(d);
	if (g)
		ufile_put(&g->file);
}

/* ---- ioctls ---- */

/* Today's struct vfio_device_info; older headers lack the trailing pad. */
struct device_info {
	uint32_t argsz, flags, num_regions, num_irqs, cap_offset, pad;
};
_Static_assert(sizeof(struct device_info) == 24, "struct vfio_device_info");

static long device_get_info(struct ufile *f, struct ucall *c, uint64_t arg)
{
	const size_t minsz = OFFSETOFEND(struct device_info, num_irqs);
	struct device_info info = {0};
	int ret;

	ret = ucall_copy_in(c, arg, &info, minsz);
	if (ret)
		return ret;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info.num_regions = VFIO_PCI_NUM_REGIONS + to_dev(f)->f->nregions;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return ucall_copy_out(c, arg, &info, MIN((size_t)info.argsz, sizeof(info)));
}

static long device_do_reset(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_dev *d = to_dev(f);

	if (d->f->away)
		return -ENOTTY; /* as from pci_try_reset_function(), which finds nobody there */
	device_reset(d);
	return 0;
}

/* Only the device's own node can be bound (cdev.c). */
static long device_bind_iommufd(struct ufile *f, struct ucall *c, uint64_t arg)
{
	struct vfio_device_bind_iommufd b;
	int ret = ucall_copy_in(c, arg, &b, sizeof(b));

	return ret ? ret : -EINVAL;
}

static const struct vfio_ioctl device_ioctls[] = {
    {VFIO_DEVICE_GET_INFO, device_get_info},  {VFIO_DEVICE_GET_REGION_INFO, region_get_info},
    {VFIO_DEVICE_GET_IRQ_INFO, irq_get_info}, {VFIO_DEVICE_SET_IRQS, irq_set},
    {VFIO_DEVICE_RESET, device_do_reset},     {VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, hotreset_get_info},
    {VFIO_DEVICE_PCI_HOT_RESET, hotreset_do}, {VFIO_DEVICE_IOEVENTFD, ioeventfd_set},
    {VFIO_DEVICE_FEATURE, feature_ioctl},     {VFIO_DEVICE_BIND_IOMMUFD, device_bind_iommufd},
};

void device_call_begin(struct vfio_dev *d)
{
	power_wake(d);
	d->f->mem_lazy = d->v->waits;
}

void device_call_end(struct vfio_dev *d)
{
	power_rest(d);
	d->f->mem_lazy = false;
	d->v->moving |= d->v->waits && pci_mem_moving(d->f);
}

/* The device's memory, or that of one which is reset with it. */
bool device_busy(struct ufile *f)
{
	struct vfio_dev *mine = to_dev(f);
	struct vfio *v = mine->v;
	bool busy = false;

	if (likely(!v->moving))
		return false;
	v->moving = false;
	for (size_t i = 0; i < v->ndev; i++) {
		struct vfio_dev *d = v->dev[i];

		if (!pci_mem_moving(d->f))
			continue;
		v->moving = true;
		busy |= d->group == mine->group || hotreset_together(d, mine);
	}
	return busy;
}

long device_ioctl(struct ufile *f, struct ucall *c, unsigned int cmd, uint64_t arg)
{
	struct vfio_dev *d = to_dev(f);
	long ret;

	device_call_begin(d);
	ret = vfio_dispatch(device_ioctls, ARRAY_SIZE(device_ioctls), f, c, cmd, arg, -ENOTTY);
	device_call_end(d);
	return ret;
}

static const struct ufile_ops device_ops = {
    .name = "[vfio-device]",
    .ioctl = device_ioctl,
    .pread = region_pread,
    .pwrite = region_pwrite,
    .mmio_read = region_mmio_read,
    .mmio_write = region_mmio_write,
    .mmio_test = region_mmio_test,
    .mmap = region_mmap,
    .busy = device_busy,
    .release = device_release,
};

bool device_is(const struct ufile *f)
{
	return f->ops == &device_ops || cdev_is_bound(f);
}

static int attach_compat(struct vfio_dev *d)
{
	uint32_t id;
	int err = iommufd_compat_ioas(iommufd_ctx(d->iommufd), &id);

	return err ? err : binding_attach(d, BINDING_DEVICE, &id);
}

static int enter_from_group(struct vfio_dev *d)
{
	struct ufile *iommufd = d->group->iommufd;
	int err;

	/*
	 * The group may have been opened anew, by somebody else, since the device was. Linux 6.12 lets him have the
	 * device, which reaches the memory of the first one's iommufd; here he has to be the same owner (rule B4).
	 */
	if (d->bound && d->iommufd != iommufd)
		return -EPERM;
	err = device_enter(d, iommufd);
	if (!err && d->bound && d->open_count == 1) {
		err = attach_compat(d);
		if (err)
			device_leave(d);
	}
	return err;
}

int device_open(struct vfio_dev *d, struct ufile **f)
{
	struct device_file *df = mem_calloc(1, sizeof(*df));
	int err;

	if (!df)
		return -ENOMEM;
	err = enter_from_group(d);
	if (err) {
		free(df);
		return err;
	}
	ufile_init(&df->file, &device_ops);
	df->dev = d;
	unbind_file_opened(d);
	if (!d->bound) {
		ufile_get(&d->group->file);
		d->group->users++;
	}
	*f = &df->file;
	return 0;
}
