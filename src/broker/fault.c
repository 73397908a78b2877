/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults on purpose (pci/inject.h): who gets which, and the part of them that is the host's. */
#include <errno.h>
#include <stdio.h>

#include "broker/private.h"
#include "broker/shadow.h"
#include "devices/fault.h"
#include "pci/pci.h"
#include "pci/sriov.h"
#include "vfio/vfio.h"

struct pci_func *func_at(struct broker *b, int domain, int bdf)
{
	struct pci_func *f;

	for (size_t i = 0; (f = vfio_func(b->vfio, i)); i++)
		if (f->domain == domain && f->bdf == bdf && !f->pulled)
			return f;
	return NULL;
}

/* ---- what the host does ---- */

/* Nobody has the function open any more, or ever had. */
static void on_unbound(void *arg, struct pci_func *f)
{
	struct broker *b = arg;

	if (f->pulled)
		shadow_remove(b->shadow, f);
	else
		shadow_unbind(b->shadow, f);
	ctl_unbound(b, f);
	sriov_unbound(b, f);
}

/* It is gone at once; what the host shows of it goes when nobody has it open. */
static void func_pull(struct broker *b, struct pci_func *f)
{
	bool unbound = vfio_binding(b->vfio, f) == VFIO_UNBOUND;

	f->pulled = true;
	pci_func_set_away(f, true);
	if (unbound)
		shadow_remove(b->shadow, f);
	else
		vfio_unbind(b->vfio, f); /* which may be under way already */
}

int func_insert(struct broker *b, struct pci_func *f)
{
	int ret;

	if (!f->pulled || vfio_binding(b->vfio, f) != VFIO_UNBOUND)
		return -EBUSY;
	if (f->physfn && (f->virtfn >= f->physfn->sriov->n || f->physfn->sriov->leaving))
		return -ENODEV;
	pci_func_reset(f);
	pci_func_set_away(f, false);
	ret = topology_show(b, f);
	if (ret)
		return ret;
	f->pulled = false;
	topology_update(b, f);
	if (!topology_has_driver(b, f))
		return 0;
	return vfio_bind(b->vfio, f);
}

static void act(struct inject_host *h, struct pci_func *f, enum inject_kind kind)
{
	struct broker *b = container_of(h, struct broker, inject);

	if (f->pulled)
		return;
	if (kind == INJECT_REMOVE)
		func_pull(b, f);
	else if (kind == INJECT_RESET)
		vfio_reset_func(b->vfio, f);
	else if (f->ops->set_link)
		f->ops->set_link(f, kind == INJECT_LINK_UP);
	else
		vfio_set_link(b->vfio, f, kind == INJECT_LINK_UP);
	topology_update(b, f);
}

void faults_init(struct broker *b)
{
	b->inject.act = act;
	vfio_on_unbound(b->vfio, on_unbound, b);
}

/* ---- setting up ---- */

int fault_add(struct broker *b, const char *text, unsigned int *id, char *err, size_t errlen)
{
	struct inject_spec spec;
	unsigned int hit = 0;
	struct pci_func *f;
	int ret;

	ret = fault_parse(text, &spec, err, errlen);
	if (ret)
		return ret;
	for (size_t i = 0; (f = vfio_func(b->vfio, i)); i++) {
		if (f->pulled || (spec.bdf != INJECT_ANY && (spec.domain != f->domain || spec.bdf != f->bdf)))
			continue;
		ret = inject_add(f, &spec, b->nfaults + 1, b->loop, &b->inject);
		if (ret) {
			fault_drop(b, b->nfaults + 1);
			snprintf(err, errlen, "out of memory");
			return ret;
		}
		hit++;
	}
	if (!hit) {
		if (spec.bdf == INJECT_ANY)
			snprintf(err, errlen, "fault '%s': there is no device", text);
		else
			snprintf(err, errlen, "fault '%s': there is no device at %04x:%02x:%02x.%x", text, spec.domain,
				 spec.bdf >> 8, spec.bdf >> 3 & 0x1f, spec.bdf & 7);
		return -EINVAL;
	}
	*id = ++b->nfaults;
	return 0;
}

bool fault_drop(struct broker *b, unsigned int id)
{
	struct pci_func *f;
	bool found = !id;

	for (size_t i = 0; (f = vfio_func(b->vfio, i)); i++)
		found |= inject_drop(f, id);
	return found;
}
