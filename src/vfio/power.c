/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that comes and goes: what is under way when decode changes, and the low-power features. Answers follow Linux
 * 6.12 drivers/vfio/pci/vfio_pci_core.c (vfio_pci_core_pm_entry and what follows).
 *
 * Low power. An owner who enters it lets the function sleep whenever no call of his is under way; each call wakes it.
 * Mappings are SIGBUS from the entry to the exit, also while it is awake for a call. With a wake-up eventfd the first
 * waking is the exit, and rings.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vfio/internal.h"

/*
 * Stores and signals that were made while decode was as it still is take place before it changes, as on a bus and as
 * eventfds do in the kernel: none of them shows on the other side of the change (rule A4).
 */
void device_settle(struct vfio_dev *d)
{
	if (d->v->flush)
		d->v->flush(d->v->flush_arg);
	ioeventfd_settle(d);
}

bool device_memory_on(const struct vfio_dev *d)
{
	return pci_mem_enabled(d->f) && !d->power.engaged;
}

void vfio_set_flush(struct vfio *v, void (*flush)(void *arg), void *arg)
{
	v->flush = flush;
	v->flush_arg = arg;
}

void vfio_set_waits(struct vfio *v)
{
	v->waits = true;
}

bool vfio_moving(const struct vfio *v)
{
	return v->moving;
}

/* ---- low power ---- */

static void set_state(struct vfio_dev *d, unsigned int state)
{
	unsigned int at = d->f->pm_cap + PCI_PM_CTRL;

	if (d->f->pm_cap)
		pci_cfg_write(d->f, at, 2, (pci_cfg_read(d->f, at, 2) & ~PCI_PM_CTRL_STATE_MASK) | state);
}

static void forget(struct vfio_dev *d)
{
	struct low_power *p = &d->power;

	p->engaged = false;
	if (p->wake >= 0)
		close(p->wake);
	p->wake = -1;
	pci_mem_hold(d->f, false);
}

void power_init(struct vfio_dev *d)
{
	d->power = (struct low_power){.wake = -1};
}

void power_wake(struct vfio_dev *d)
{
	struct low_power *p = &d->power;

	if (likely(!p->asleep))
		return;
	p->asleep = false;
	/* The function has reset itself on the way, unless it says that it does not. */
	set_state(d, 0);
	device_restore(d, p->saved);
	if (p->wake >= 0) {
		eventfd_ring(&d->v->ringer, p->wake);
		forget(d);
	}
	if (p->masked_intx)
		irq_intx_unmask(d);
}

void power_rest(struct vfio_dev *d)
{
	struct low_power *p = &d->power;

	if (likely(!p->engaged) || p->asleep)
		return;
	device_settle(d);
	config_set_d0(d);
	memcpy(p->saved, d->f->cfg, sizeof(p->saved));
	p->masked_intx = irq_intx_mask(d);
	set_state(d, 3);
	p->asleep = true;
}

/* No eventfd rings: nobody woke it, its owner has gone. */
void power_shutdown(struct vfio_dev *d)
{
	forget(d);
	d->power.asleep = false;
}

/* Takes over wake. */
static long enter(struct vfio_dev *d, int wake)
{
	if (d->power.engaged) {
		if (wake >= 0)
			close(wake);
		return -EINVAL;
	}
	d->power.engaged = true;
	d->power.wake = wake;
	pci_mem_hold(d->f, true);
	return 0;
}

long power_enter(struct vfio_dev *d, struct feature_call *fc)
{
	return enter(d, -1);
}

long power_enter_with_wakeup(struct vfio_dev *d, struct feature_call *fc)
{
	struct vfio_device_low_power_entry_with_wakeup e;
	int ret, fd;

	ret = ucall_copy_in(fc->c, fc->data, &e, sizeof(e));
	if (ret)
		return ret;
	if (e.wakeup_eventfd < 0)
		return -EINVAL;
	ret = ucall_get_fd(fc->c, e.wakeup_eventfd, &fd);
	if (ret)
		return ret;
	ret = eventfd_check(fd);
	if (ret) {
		close(fd);
		return ret;
	}
	return enter(d, fd);
}

long power_exit(struct vfio_dev *d, struct feature_call *fc)
{
	forget(d);
	return 0;
}
