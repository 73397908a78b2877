/* SPDX-License-Identifier: BSD-3-Clause */
/* The device type "ioat": its options, and an engine made from them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/device.h"
#include "devices/ioat/ioat.h"

enum { OPTION_MODEL, OPTION_CHANNELS, OPTION_XFERCAP };

static const struct device_option options[] = {
    [OPTION_MODEL] = {"model", OPT_STRING, "skx", false, "skx: 8086:2021, version 3.2; icx: 8086:0b00, version 3.4"},
    [OPTION_CHANNELS] = {"channels", OPT_UINT, "1", false, "DMA channels, each with an MSI-X vector", 1,
			 IOAT_CHANS_MAX},
    [OPTION_XFERCAP] = {"xfercap", OPT_UINT, "20", false, "largest transfer of one descriptor: 2^N bytes", 12, 31},
    {NULL},
};

/* Drivers know the engine by these numbers alone. skx is the one that Linux, its VFIO selftests, DPDK and SPDK share.
 */
static const struct model {
	const char *name;
	uint16_t device;
	uint8_t version;
} models[] = {{"skx", 0x2021, 0x32}, {"icx", 0x0b00, 0x34}};

static void ioat_power_on(struct ioat *d)
{
	loop_work_cancel(d->loop, &d->work);
	for (unsigned int i = 0; i < d->nchans; i++)
		ioat_chan_power_on(&d->chan[i]);
	d->genctrl = d->intrctrl = 0;
	d->intrdelay = 0;
	d->attn = 0;
	ioat_line_update(d);
}

static void func_reset(struct pci_func *f)
{
	ioat_power_on(container_of(f, struct ioat, f));
}

static void func_destroy(struct pci_func *f)
{
	struct ioat *d = container_of(f, struct ioat, f);

	ioat_power_on(d);
	pci_func_fini(f);
	free(d);
}

static const struct pci_func_ops ops = {
    .bar_read = ioat_bar_read,
    .bar_write = ioat_bar_write,
    .reset = func_reset,
    .resume = ioat_resume,
    .destroy = func_destroy,
    .quiesce = ioat_quiesce,
    .run = ioat_run,
    .save = ioat_save,
    .load = ioat_load,
};

static int add_capabilities(struct pci_func *f, unsigned int vectors)
{
	int rc = pci_add_bar(f, 0, IOAT_BAR_SIZE, true, false);

	if (!rc)
		rc = pci_add_pm(f);
	if (!rc)
		rc = pci_add_express(f);
	if (!rc)
		rc = pci_add_msix(f, vectors, 0, IOAT_MSIX_TABLE, IOAT_MSIX_PBA);
	if (!rc)
		rc = pci_add_msi(f, 1);
	if (rc)
		return rc;
	pci_add_intx(f);
	pci_cfg_define(f, IOAT_CFG_DMAUNCERRSTS, 4, 0, 0, ~0U);
	pci_cfg_define(f, IOAT_CFG_CHANERR_INT, 4, 0, 0, ~0U);
	pci_cfg_define(f, IOAT_CFG_ERRMASK_INT, 4, 0, ~0U, 0);
	return 0;
}

static const struct model *model_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		if (!strcmp(models[i].name, name))
			return &models[i];
	return NULL;
}

static int create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		  size_t errlen)
{
	const struct model *m = model_find(v[OPTION_MODEL].str);
	struct pci_ids ids = {.vendor = 0x8086, .subvendor = 0x8086, .class = 0x088000, .revision = 4};
	struct ioat *d;
	int rc;

	if (!m) {
		snprintf(err, errlen, "ioat: model is skx or icx");
		return -EINVAL;
	}
	ids.device = ids.subdevice = m->device;
	snprintf(err, errlen, "ioat: %s", strerror(ENOMEM));
	d = aligned_alloc(64, ALIGN_UP(sizeof(*d), 64));
	if (!d)
		return -ENOMEM;
	memset(d, 0, sizeof(*d));
	rc = pci_func_init(&d->f, &ops, "ioat", &ids, env->evs);
	if (rc) {
		free(d);
		return rc;
	}
	d->loop = env->loop;
	d->work.run = ioat_turn_run;
	list_init(&d->work.node);
	list_init(&d->running);
	d->version = m->version;
	d->xfercap = (unsigned int)v[OPTION_XFERCAP].num;
	d->nchans = (unsigned int)v[OPTION_CHANNELS].num;
	for (unsigned int i = 0; i < d->nchans; i++)
		ioat_chan_init(&d->chan[i], d, i);
	rc = add_capabilities(&d->f, d->nchans);
	if (rc) {
		snprintf(err, errlen, "ioat: %s", strerror(-rc));
		pci_func_fini(&d->f);
		free(d);
		return rc;
	}
	*f = &d->f;
	return 0;
}

const struct device_type device_ioat = {
    .name = "ioat",
    .summary = "Intel I/OAT copy engine: copies and fills",
    .options = options,
    .create = create,
};
