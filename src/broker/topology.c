/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From -d to a tree of functions: addresses, the bridges above, IOMMU groups. Groups are formed as Linux forms them
 * (drivers/iommu/iommu.c, pci_device_group; drivers/pci/pci.c, pci_acs_enabled): whatever can reach its neighbour
 * without passing the IOMMU is in its neighbour's group. In one point more strictly than 6.12: ports of a switch that
 * have no ACS reach each other on the bus inside it, and so share a group.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "broker/private.h"
#include "broker/shadow.h"
#include "devices/bridge.h"
#include "devices/device.h"
#include "pci/pci.h"
#include "pci/sriov.h"
#include "vfio/vfio.h"

#define BUSES 256

/* What is wrong with the thing that the user named is the user's to mend, like the name; what we lack is not. */
static int blame(int err)
{
	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
	case -EISDIR:
	case -ELOOP:
	case -ENAMETOOLONG:
	case -EACCES:
	case -EPERM:
	case -EROFS:
	case -ENODEV:
	case -ENXIO:
		return -EINVAL;
	default:
		return err;
	}
}

/* One line in err about a function. -EINVAL. */
static int wrong(const struct placed *p, char *err, size_t errlen, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static int wrong(const struct placed *p, char *err, size_t errlen, const char *fmt, ...)
{
	char bdf[16];
	va_list ap;
	int n;

	pci_bdf_format(p->f, bdf);
	n = snprintf(err, errlen, "%s at %s: ", p->f->name, bdf);
	va_start(ap, fmt);
	vsnprintf(err + MIN((size_t)n, errlen), errlen - MIN((size_t)n, errlen), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static unsigned int bus_of(const struct pci_func *f)
{
	return f->bdf >> 8;
}

static struct placed *placed_of(struct topology *t, const struct pci_func *f)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].f == f)
			return &t->v[i];
	return NULL;
}

/* ---- addresses ---- */

static bool taken(const struct topology *t, int domain, int bdf)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].f->domain == domain && t->v[i].f->bdf == bdf)
			return true;
	return false;
}

static const struct pci_func *bridge_to(const struct topology *t, int domain, unsigned int bus)
{
	for (size_t i = 0; bus && i < t->n; i++)
		if (t->v[i].f->domain == domain && bridge_secondary(t->v[i].f) == bus)
			return t->v[i].f;
	return NULL;
}

static bool is_switch(const struct pci_func *f)
{
	return f && bridge_type(f) == PCI_EXP_TYPE_UPSTREAM;
}

/* The first free place of 32 on a bus; -1: none. */
static int free_device(const struct topology *t, unsigned int bus, unsigned int from)
{
	for (unsigned int dev = from; dev < 32; dev++)
		if (!taken(t, 0, bus << 8 | dev << 3))
			return bus << 8 | dev << 3;
	return -1;
}

/* A bus of its own, which may be below a port, but not inside a switch. An upstream port needs one below a port. */
static int free_bus(const struct topology *t, bool below_port)
{
	for (unsigned int bus = 1; bus < 255; bus++) {
		const struct pci_func *above = bridge_to(t, 0, bus);

		if (!taken(t, 0, bus << 8) && !is_switch(above) && (above || !below_port))
			return bus << 8;
	}
	return -1;
}

static int inside_last_switch(const struct topology *t)
{
	for (size_t i = t->n; i-- > 0;)
		if (is_switch(t->v[i].f))
			return free_device(t, bridge_secondary(t->v[i].f), 0);
	return -1;
}

static int next_address(const struct topology *t, const struct pci_func *f)
{
	switch (bridge_type(f)) {
	case PCI_EXP_TYPE_ROOT_PORT:
		return free_device(t, 0, 1);
	case PCI_EXP_TYPE_UPSTREAM:
		return free_bus(t, true);
	case PCI_EXP_TYPE_DOWNSTREAM:
		return inside_last_switch(t);
	default:
		return free_bus(t, false);
	}
}

/* The next number above the bridge's own bus that nobody uses. 0: none. */
static unsigned int free_secondary(const struct topology *t, const struct pci_func *f)
{
	bool used[BUSES] = {false};
	unsigned int bus;

	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].f->domain != f->domain)
			continue;
		used[bus_of(t->v[i].f)] = true;
		used[bridge_secondary(t->v[i].f)] = true;
	}
	for (bus = bus_of(f) + 1; bus < BUSES && used[bus]; bus++)
		;
	return bus < BUSES ? bus : 0;
}

static int address_give(struct topology *t, struct placed *p, const struct device_place *place, char *err,
			size_t errlen)
{
	int bdf = place->bdf < 0 ? next_address(t, p->f) : place->bdf;
	unsigned int secondary = bridge_secondary(p->f);

	if (bdf < 0 && bridge_type(p->f) == PCI_EXP_TYPE_UPSTREAM)
		snprintf(err, errlen, "pcie-upstream: there is no free port above it; put -d pcie-root-port before it");
	else if (bdf < 0 && bridge_type(p->f) == PCI_EXP_TYPE_DOWNSTREAM)
		snprintf(err, errlen, "pcie-downstream: there is no switch with room; put -d pcie-upstream before it");
	else if (bdf < 0)
		snprintf(err, errlen, "%s: no bus number is left", p->f->name);
	if (bdf < 0)
		return -EINVAL;
	p->f->domain = place->domain;
	p->f->bdf = bdf;
	if (taken(t, place->domain, bdf))
		return wrong(p, err, errlen, "another one has the address");
	if (!bridge_is(p->f))
		return 0;
	if (!secondary)
		secondary = free_secondary(t, p->f);
	if (secondary <= bus_of(p->f))
		return wrong(p, err, errlen, "the bus below it needs a number above its own");
	if (bridge_to(t, place->domain, secondary))
		return wrong(p, err, errlen, "another bridge leads to bus %02x", secondary);
	bridge_set_buses(p->f, secondary, secondary);
	return 0;
}

/* ---- the tree ---- */

/* Virtual functions are never said to be parts of a multi-function device. */
static bool multifunction(const struct topology *t, const struct pci_func *f)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].f != f && !t->v[i].f->physfn && !f->physfn && t->v[i].f->domain == f->domain &&
		    (t->v[i].f->bdf ^ f->bdf) < 8)
			return true;
	return false;
}

static int parent_check(const struct topology *t, const struct placed *p, char *err, size_t errlen)
{
	const struct pci_func *above = p->parent;
	bool in_switch = is_switch(above);

	if (p->f->physfn)
		return 0;
	if (p->f->bdf & 7 && !taken(t, p->f->domain, p->f->bdf & ~7))
		return wrong(p, err, errlen, "without a function 0 beside it nobody finds it");
	switch (bridge_type(p->f)) {
	case PCI_EXP_TYPE_ROOT_PORT:
		return above ? wrong(p, err, errlen, "a root port has no bridge above it") : 0;
	case PCI_EXP_TYPE_UPSTREAM:
		if (!above || in_switch)
			return wrong(p, err, errlen, "an upstream port needs a port above it");
		break;
	case PCI_EXP_TYPE_DOWNSTREAM:
		return in_switch ? 0 : wrong(p, err, errlen, "a downstream port needs an upstream port above it");
	default:
		if (in_switch)
			return wrong(p, err, errlen, "inside a switch are downstream ports alone");
	}
	if (above && p->f->bdf & 0xf8)
		return wrong(p, err, errlen, "at the other end of a link there is device 0 alone");
	return 0;
}

/* The highest bus below: what hangs there has been given numbers above its own bridge's. */
static unsigned int subordinate(const struct topology *t, const struct pci_func *bridge)
{
	unsigned int max = bridge_secondary(bridge);

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].parent == bridge && bridge_is(t->v[i].f))
			max = MAX(max, subordinate(t, t->v[i].f));
	return max;
}

static bool below(struct topology *t, const struct placed *p, const struct pci_func *bridge)
{
	for (; p && p->parent; p = placed_of(t, p->parent))
		if (p->parent == bridge)
			return true;
	return false;
}

static int buses_check(struct topology *t, struct placed *p, char *err, size_t errlen)
{
	unsigned int first = bridge_secondary(p->f), last = subordinate(t, p->f);

	for (size_t i = 0; i < t->n; i++) {
		const struct placed *q = &t->v[i];
		unsigned int bus = bus_of(q->f), under = bridge_secondary(q->f);

		if (q->f->domain != p->f->domain || q == p || below(t, q, p->f))
			continue;
		if ((bus >= first && bus <= last) || (under >= first && under <= last))
			return wrong(q, err, errlen, "its bus is among those of another bridge, %02x to %02x", first,
				     last);
	}
	bridge_set_buses(p->f, first, last);
	return 0;
}

static int tree_build(struct topology *t, char *err, size_t errlen)
{
	int ret = 0;

	for (size_t i = 0; i < t->n; i++)
		t->v[i].parent = (struct pci_func *)bridge_to(t, t->v[i].f->domain, bus_of(t->v[i].f));
	for (size_t i = 0; !ret && i < t->n; i++)
		ret = parent_check(t, &t->v[i], err, errlen);
	for (size_t i = 0; !ret && i < t->n; i++)
		if (bridge_is(t->v[i].f))
			ret = buses_check(t, &t->v[i], err, errlen);
	for (size_t i = 0; !ret && i < t->n; i++)
		if (multifunction(t, t->v[i].f))
			t->v[i].f->cfg[PCI_HEADER_TYPE] |= 0x80;
	return ret;
}

/* ---- groups ---- */

/* pci_acs_enabled(): nothing passes from it to a peer. */
static bool acs_enabled(const struct topology *t, const struct pci_func *f)
{
	unsigned int type = bridge_type(f);

	if (type == PCI_EXP_TYPE_ROOT_PORT || type == PCI_EXP_TYPE_DOWNSTREAM)
		return f->acs_cap;
	return f->acs_cap || !multifunction(t, f);
}

static bool acs_path_enabled(struct topology *t, const struct pci_func *f)
{
	for (; f; f = placed_of(t, f)->parent)
		if (!acs_enabled(t, f))
			return false;
	return true;
}

/* Functions of one slot, and ports of one switch, that nothing keeps apart. */
static bool reach_each_other(const struct topology *t, const struct placed *p, const struct placed *q)
{
	bool ports = bridge_type(p->f) == PCI_EXP_TYPE_DOWNSTREAM && bridge_type(q->f) == PCI_EXP_TYPE_DOWNSTREAM;

	if (p == q || p->f->domain != q->f->domain || bus_of(p->f) != bus_of(q->f))
		return false;
	if (!ports && (p->f->bdf ^ q->f->bdf) >= 8)
		return false;
	return !acs_enabled(t, p->f) && !acs_enabled(t, q->f);
}

static int fresh_group(const struct topology *t)
{
	int group = 1;

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].group == group) {
			group++;
			i = (size_t)-1;
		}
	return group;
}

static void group_form(struct topology *t, struct placed *p)
{
	struct placed *above = p->parent ? placed_of(t, p->parent) : NULL;

	if (p->group >= 0)
		return;
	if (above)
		group_form(t, above);
	if (above && !acs_path_enabled(t, above->f)) {
		p->group = above->group;
		return;
	}
	for (size_t i = 0; i < t->n && p->group < 0; i++)
		if (t->v[i].group >= 0 && reach_each_other(t, p, &t->v[i]))
			p->group = t->v[i].group;
	if (p->group < 0)
		p->group = fresh_group(t);
}

/* ---- building ---- */

static int append(struct topology *t, const struct placed *p)
{
	struct placed *v = realloc(t->v, (t->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	t->v = v;
	t->v[t->n++] = *p;
	return 0;
}

/* It and its virtual functions. */
static void destroy(struct pci_func *f)
{
	for (unsigned int i = 0; f->sriov && i < f->sriov->total; i++)
		if (f->sriov->vf[i])
			f->sriov->vf[i]->ops->destroy(f->sriov->vf[i]);
	f->ops->destroy(f);
}

/* In a place of its own, and in the group that was asked for, if one was. What has a driver is vfio-pci's. */
static int virtual_function_add(struct topology *t, struct pci_func *vf, int group, char *err, size_t errlen)
{
	struct placed p = {.f = vf, .vfio = -1, .group = group, .asked = group, .driver = "vfio-pci"};

	vf->domain = vf->physfn->domain;
	vf->bdf = pci_vf_bdf(vf->physfn, vf->virtfn);
	if (taken(t, vf->domain, vf->bdf))
		return wrong(&p, err, errlen, "another one has the address");
	return append(t, &p);
}

static int virtual_functions_add(struct topology *t, struct pci_func *pf, int group, char *err, size_t errlen)
{
	int ret = 0;

	for (unsigned int i = 0; pf->sriov && !ret && i < pf->sriov->n; i++)
		ret = virtual_function_add(t, pf->sriov->vf[i], group, err, errlen);
	return ret;
}

static int create(struct broker *b, const char *spec, char *err, size_t errlen)
{
	struct device_env env = {b->loop, &b->events};
	struct topology *t = &b->topo;
	struct device_place place;
	struct placed p = {.vfio = -1};
	size_t first;
	bool acs;
	int ret = device_create(&env, spec, &p.f, &place, err, errlen);

	if (ret)
		return blame(ret);
	err[0] = 0; /* what a type may have noted for the case of a failure */
	p.group = p.asked = place.group;
	if (!bridge_is(p.f) && strcmp(place.driver, "none"))
		strcpy(p.driver, place.driver);
	else if (bridge_is(p.f))
		strcpy(p.driver, "pcieport");
	acs = place.acs < 0 ? bridge_is(p.f) && !is_switch(p.f) : place.acs;
	ret = address_give(t, &p, &place, err, errlen);
	if (!ret && acs)
		ret = pci_add_acs(p.f);
	first = t->n;
	if (!ret)
		ret = append(t, &p);
	if (!ret)
		ret = virtual_functions_add(t, p.f, place.group, err, errlen);
	if (ret) {
		t->n = first;
		destroy(p.f);
	}
	return ret;
}

/* Whose drivers are not vfio-pci stay ours; one without a driver may get vfio-pci later. */
static int hand_over(struct broker *b, struct placed *p, int *number)
{
	bool ours = bridge_is(p->f) || (*p->driver && strcmp(p->driver, "vfio-pci"));
	int ret;

	pci_func_place(p->f, p->f->domain, p->f->bdf, p->group);
	p->f->p2p = &b->p2p;
	if (ours)
		return vfio_add_other(b->vfio, p->f);
	ret = vfio_add(b->vfio, p->f);
	if (ret)
		return ret;
	p->vfio = (*number)++;
	return *p->driver ? 0 : vfio_unbind(b->vfio, p->f);
}

int topology_show(struct broker *b, struct pci_func *f)
{
	const struct placed *p = placed_of(&b->topo, f);
	const struct shadow_place at = {.parent = p->parent, .driver = *p->driver ? p->driver : NULL, .vfio = p->vfio};

	return shadow_add_at(b->shadow, f, &at);
}

bool topology_has_driver(struct broker *b, const struct pci_func *f)
{
	return *placed_of(&b->topo, f)->driver;
}

/* Bridges first. */
static int show(struct broker *b, struct placed *p, bool *shown)
{
	struct topology *t = &b->topo;
	int ret = 0;

	if (shown[p - t->v])
		return 0;
	if (p->parent)
		ret = show(b, placed_of(t, p->parent), shown);
	if (ret)
		return ret;
	shown[p - t->v] = true;
	return topology_show(b, p->f);
}

static int show_all(struct broker *b)
{
	struct topology *t = &b->topo;
	bool *shown = calloc(t->n + 1, sizeof(*shown));
	int ret = shown ? 0 : -ENOMEM;

	for (size_t i = 0; !ret && i < t->n; i++)
		ret = show(b, &t->v[i], shown);
	free(shown);
	return ret;
}

void topology_update(struct broker *b, const struct pci_func *f)
{
	struct topology *t = &b->topo;
	struct placed *p = placed_of(t, f);
	bool present = false, up = false;

	if (!p || !p->parent)
		return;
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].parent != p->parent)
			continue;
		present |= !t->v[i].f->pulled;
		up |= !t->v[i].f->away;
	}
	bridge_set_link(p->parent, present, up);
}

int topology_build(struct broker *b, char *err, size_t errlen)
{
	struct topology *t = &b->topo;
	int ret = 0, number = 0;

	for (size_t i = 0; !ret && i < b->opt.ndevices; i++)
		ret = create(b, b->opt.devices[i], err, errlen);
	if (!ret)
		ret = tree_build(t, err, errlen);
	if (ret)
		return ret;
	for (size_t i = 0; i < t->n; i++)
		group_form(t, &t->v[i]);
	for (size_t i = 0; !ret && i < t->n; i++)
		ret = hand_over(b, &t->v[i], &number);
	for (size_t i = 0; i < t->n; i++) {
		if (!bridge_is(t->v[i].f) && *t->v[i].driver && strcmp(t->v[i].driver, "vfio-pci"))
			vfio_group_in_host_use(b->vfio, t->v[i].group);
		topology_update(b, t->v[i].f);
	}
	return ret ? ret : show_all(b);
}

/* ---- later ---- */

const char *topology_driver(struct broker *b, const struct pci_func *f)
{
	const struct placed *p = placed_of(&b->topo, f);

	/* Its driver may have been taken away since. */
	return p->vfio >= 0 && vfio_binding(b->vfio, f) == VFIO_UNBOUND ? "" : p->driver;
}

static int vf_make(struct broker *b, struct pci_func *pf, unsigned int i)
{
	struct topology *t = &b->topo;
	int ret = pf->sriov->make ? pf->sriov->make(pf, i) : -ENODEV, number = 0;
	char err[128];

	if (ret)
		return ret;
	ret = virtual_function_add(t, pf->sriov->vf[i], placed_of(t, pf)->asked, err, sizeof(err));
	if (ret) {
		pf->sriov->vf[i]->ops->destroy(pf->sriov->vf[i]);
		pf->sriov->vf[i] = NULL;
		return ret == -EINVAL ? -EBUSY : ret;
	}
	t->v[t->n - 1].parent = placed_of(t, pf)->parent;
	group_form(t, &t->v[t->n - 1]);
	for (size_t j = 0; j < t->n; j++)
		number += t->v[j].vfio >= 0;
	return hand_over(b, &t->v[t->n - 1], &number);
}

int topology_add_vf(struct broker *b, struct pci_func *pf, unsigned int i)
{
	int ret = pf->sriov->vf[i] ? 0 : vf_make(b, pf, i);
	struct pci_func *vf = pf->sriov->vf[i];
	struct placed *p;

	if (ret)
		return ret;
	p = placed_of(&b->topo, vf);
	if (p->vfio < 0)
		return -ENOMEM;
	vf->pulled = false;
	pci_func_reset(vf);
	pci_func_set_away(vf, false);
	strcpy(p->driver, pf->sriov->no_autoprobe ? "" : "vfio-pci");
	if (*p->driver && vfio_binding(b->vfio, vf) == VFIO_UNBOUND)
		ret = vfio_bind(b->vfio, vf);
	else if (!*p->driver && vfio_binding(b->vfio, vf) == VFIO_BOUND)
		ret = vfio_unbind(b->vfio, vf);
	return ret ? ret : topology_show(b, vf);
}

/* After VFIO's. */
void topology_free(struct broker *b)
{
	for (size_t i = 0; i < b->topo.n; i++)
		if (b->topo.v[i].vfio < 0)
			b->topo.v[i].f->ops->destroy(b->topo.v[i].f);
	free(b->topo.v);
}
