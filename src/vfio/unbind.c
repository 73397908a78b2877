/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What others than its owner do to a function: unbinding, pulling it out, resetting it, its link. Answers follow Linux
 * 6.12 drivers/vfio/vfio_main.c (vfio_unregister_group_dev) and drivers/vfio/pci/vfio_pci_core.c.
 *
 * Nobody can open a function any more from the moment when it is to leave. Whoever has it open is asked to let go,
 * through the eventfd of VFIO_PCI_REQ_IRQ_INDEX, at once and every ten seconds; and only his letting go ends the wait,
 * in which nobody else takes part (rules B4 and C1).
 */
#include <errno.h>
#include <string.h>

#include "vfio/internal.h"

#define ASK_EVERY_NS 10000000000ull

static struct vfio_dev *find(struct vfio *v, const struct pci_func *f)
{
	for (size_t i = 0; i < v->ndev; i++)
		if (v->dev[i]->f == f)
			return v->dev[i];
	return NULL;
}

/* ---- leaving ---- */

static void ask(struct vfio_dev *d)
{
	irq_request(d);
	if (d->v->loop)
		loop_timer_arm(d->v->loop, &d->leave_timer, ASK_EVERY_NS);
}

void unbind_ask_again(struct loop_timer *t)
{
	ask(container_of(t, struct vfio_dev, leave_timer));
}

bool unbind_group_gone(const struct vfio_group *g)
{
	for (size_t i = 0; i < g->v->ndev; i++)
		if (g->v->dev[i]->group == g && g->v->dev[i]->state != DEVICE_UNBOUND)
			return false;
	return true;
}

static void left(struct vfio_dev *d)
{
	struct vfio *v = d->v;

	if (v->loop)
		loop_timer_cancel(v->loop, &d->leave_timer);
	d->state = DEVICE_UNBOUND;
	/* Nothing holds the group then but, perhaps, its own descriptor. */
	if (unbind_group_gone(d->group))
		group_lose_iommu(d->group);
	if (v->unbound)
		v->unbound(v->unbound_arg, d->f);
}

void unbind_file_opened(struct vfio_dev *d)
{
	d->files++;
}

void unbind_file_closed(struct vfio_dev *d)
{
	d->files--;
	if (!d->files && d->state == DEVICE_LEAVING)
		left(d);
}

void vfio_on_unbound(struct vfio *v, void (*unbound)(void *arg, struct pci_func *f), void *arg)
{
	v->unbound = unbound;
	v->unbound_arg = arg;
}

int vfio_unbind(struct vfio *v, struct pci_func *f)
{
	struct vfio_dev *d = find(v, f);

	if (!d || d->state == DEVICE_UNBOUND)
		return -ENODEV;
	if (d->state == DEVICE_LEAVING)
		return -EALREADY;
	d->state = DEVICE_LEAVING;
	if (d->files)
		ask(d);
	else
		left(d);
	return 0;
}

int vfio_bind(struct vfio *v, struct pci_func *f)
{
	struct vfio_dev *d = find(v, f);

	if (!d)
		return -ENODEV;
	if (d->state != DEVICE_UNBOUND)
		return -EBUSY;
	d->state = DEVICE_BOUND;
	return 0;
}

void vfio_group_in_host_use(struct vfio *v, unsigned int group)
{
	struct vfio_group *g;

	list_for_each (g, &v->groups, node)
		if (g->number == group)
			g->host_use = true;
}

enum vfio_binding vfio_binding(struct vfio *v, const struct pci_func *f)
{
	const struct vfio_dev *d = find(v, f);

	if (!d || d->state == DEVICE_UNBOUND)
		return VFIO_UNBOUND;
	if (d->state == DEVICE_LEAVING)
		return VFIO_LEAVING;
	return d->open_count ? VFIO_IN_USE : VFIO_BOUND;
}

/* ---- reset, link ---- */

/* pci_reset_function(): whoever has the function open is not told, and finds its configuration as it was. */
void vfio_reset_func(struct vfio *v, struct pci_func *f)
{
	struct vfio_dev *d = find(v, f);

	f->behind = true;
	if (d && d->open_count)
		device_reset(d);
	else
		pci_func_reset(f);
}

/* A link that goes down is a fatal error (vfio_pci_core_aer_err_detected); recovery restores the configuration. */
void vfio_set_link(struct vfio *v, struct pci_func *f, bool up)
{
	struct vfio_dev *d = find(v, f);
	uint8_t saved[PCI_CFG_SIZE];

	if (f->away != up)
		return;
	if (d && !d->open_count)
		d = NULL;
	if (d) {
		power_wake(d);
		device_settle(d);
	}
	if (!up) {
		pci_func_set_away(f, true);
		if (d)
			irq_error(d);
		return;
	}
	memcpy(saved, f->cfg, sizeof(saved));
	f->behind = true;
	pci_func_reset(f);
	pci_func_set_away(f, false);
	if (!d)
		return;
	device_restore(d, saved);
	migration_reset(d);
	power_rest(d);
}
