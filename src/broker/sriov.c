/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Virtual functions that come and go while programs run: sriov_numvfs and sriov_drivers_autoprobe of a physical
 * function. Answers follow Linux 6.12 drivers/pci/iov.c (sriov_numvfs_store), and drivers/vfio/pci/vfio_pci_core.c and
 * drivers/net/ethernet/intel/igb/igb_main.c for what a driver says to it.
 *
 * As there, functions leave one after the other, each when its owner has let go of it, and meanwhile whoever writes
 * waits. Nobody else does: the writer comes back and asks (rule C1), and what it has begun goes on without it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "broker/private.h"
#include "broker/shadow.h"
#include "pci/pci.h"
#include "pci/sriov.h"
#include "vfio/vfio.h"

#define IGB_MOST 7 /* that Linux's driver of the card takes: the last pool is its own */

/* ---- out ---- */

static void vf_remove(struct broker *b, struct pci_func *pf, unsigned int i)
{
	struct pci_func *vf = pf->sriov->vf[i];

	shadow_set_vf(b->shadow, pf, i, false);
	shadow_remove(b->shadow, vf);
	vf->pulled = true;
	pci_func_set_away(vf, true);
	topology_update(b, vf);
}

/* As far as it goes for now. */
static void leave(struct broker *b, struct pci_func *pf)
{
	struct pci_sriov *s = pf->sriov;

	s->waiting = false;
	for (; s->gone < s->n; s->gone++) {
		struct pci_func *vf = s->vf[s->gone];

		if (vfio_binding(b->vfio, vf) == VFIO_BOUND || vfio_binding(b->vfio, vf) == VFIO_IN_USE)
			vfio_unbind(b->vfio, vf);
		s->waiting = vfio_binding(b->vfio, vf) != VFIO_UNBOUND;
		if (s->waiting)
			return;
		vf_remove(b, pf, s->gone);
	}
	s->leaving = false;
	pci_sriov_set(pf, 0);
}

void sriov_unbound(struct broker *b, struct pci_func *f)
{
	const struct pci_sriov *s = f->physfn ? f->physfn->sriov : NULL;

	/* One that leaves at once is left by who asked it to. */
	if (s && s->leaving && s->vf[s->gone] == f && s->waiting)
		leave(b, f->physfn);
}

/* ---- in ---- */

static int come(struct broker *b, struct pci_func *pf, unsigned int n)
{
	int ret = 0;

	pci_sriov_set(pf, n);
	for (unsigned int i = 0; !ret && i < n; i++) {
		ret = topology_add_vf(b, pf, i);
		if (!ret)
			ret = shadow_set_vf(b->shadow, pf, i, true);
	}
	for (unsigned int i = 0; ret && i < n; i++) {
		struct pci_func *vf = pf->sriov->vf[i];

		if (vf && vfio_binding(b->vfio, vf) == VFIO_BOUND)
			vfio_unbind(b->vfio, vf);
		if (vf)
			vf_remove(b, pf, i);
	}
	if (ret)
		pci_sriov_set(pf, 0);
	return ret;
}

/* ---- what is written ---- */

/* kstrtou16(), base 0. */
static bool number_parse(const char *text, unsigned int *n)
{
	const char *digits = text + (*text == '+');
	unsigned long long v;
	char *end;

	if (*digits < '0' || *digits > '9')
		return false;
	errno = 0;
	v = strtoull(digits, &end, 0);
	*n = (unsigned int)v;
	return !errno && v <= UINT16_MAX && (!*end || (*end == '\n' && !end[1]));
}

static int driver_allows(struct broker *b, struct pci_func *pf, unsigned int n)
{
	const char *driver = topology_driver(b, pf);

	if (!strcmp(driver, "igb"))
		return n > IGB_MOST ? -EPERM : 0;
	return strcmp(driver, "vfio-pci") ? -ENOENT : 0;
}

static int numvfs_write(struct broker *b, struct pci_func *pf, const char *text)
{
	struct pci_sriov *s = pf->sriov;
	unsigned int n;
	int ret;

	if (!number_parse(text, &n))
		return -EINVAL;
	if (n > s->total)
		return -ERANGE;
	if (s->leaving)
		return -EAGAIN;
	if (n == s->n)
		return 0;
	ret = driver_allows(b, pf, n);
	if (ret)
		return ret;
	if (n)
		return s->n ? -EBUSY : come(b, pf, n);
	s->leaving = true;
	s->gone = 0;
	leave(b, pf);
	return s->leaving ? -EAGAIN : 0;
}

/* kstrtobool(). */
static int autoprobe_write(struct pci_func *pf, const char *text)
{
	bool on = strchr("yYtT1", *text) || ((*text | 32) == 'o' && (text[1] | 32) == 'n');
	bool off = strchr("nNfF0", *text) || ((*text | 32) == 'o' && (text[1] | 32) == 'f');

	if (!*text || on == off)
		return -EINVAL;
	pf->sriov->no_autoprobe = off;
	return 0;
}

/* ---- the files ---- */

struct attribute {
	struct ufile file;
	struct broker *b;
	struct pci_func *pf;
	bool numvfs;
};

static long attribute_write(struct ufile *f, const void *buf, size_t len)
{
	struct attribute *a = container_of(f, struct attribute, file);
	char text[WRITE_MAX + 1];
	int ret;

	if (!len)
		return 0;
	if (a->pf->pulled)
		return -ENODEV;
	memcpy(text, buf, len);
	text[len] = 0;
	ret = a->numvfs ? numvfs_write(a->b, a->pf, text) : autoprobe_write(a->pf, text);
	return ret ? ret : (long)len;
}

static void attribute_release(struct ufile *f)
{
	free(container_of(f, struct attribute, file));
}

static const struct ufile_ops attribute_ops = {
    .name = "/sys/bus/pci/devices/sriov",
    .write = attribute_write,
    .release = attribute_release,
};

bool sriov_open(struct broker *b, const char *path, struct ufile **f, int *err)
{
	const char *name;
	struct pci_func *pf = shadow_attribute(b->shadow, path, &name);
	struct attribute *a;

	if (!pf || !pf->sriov || (strcmp(name, "sriov_numvfs") && strcmp(name, "sriov_drivers_autoprobe")))
		return false;
	a = mem_alloc(sizeof(*a));
	*err = a ? 0 : -ENOMEM;
	if (!a)
		return true;
	ufile_init(&a->file, &attribute_ops);
	a->b = b;
	a->pf = pf;
	a->numvfs = !strcmp(name, "sriov_numvfs");
	*f = &a->file;
	return true;
}
