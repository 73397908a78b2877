/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/bridge.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "devices/device.h"

#define LINK_WIDTH_1 (1 << PCI_EXP_LNKSTA_NLW_SHIFT)

enum { OPTION_BUS };

static const struct device_option options[] = {
    [OPTION_BUS] = {"bus", OPT_UINT, NULL, false, "number of the bus below it; default: the next free", 1, 255},
    {NULL},
};

/* The numbers by which drivers and lspci know emulated ports, and a switch that can be bought. */
static const struct port {
	unsigned int type;
	uint16_t vendor, device;
} ports[] = {
    {PCI_EXP_TYPE_ROOT_PORT, 0x1b36, 0x000c},
    {PCI_EXP_TYPE_UPSTREAM, 0x104c, 0x8232},
    {PCI_EXP_TYPE_DOWNSTREAM, 0x104c, 0x8233},
};

/* Nothing of a port can be opened, so that only its configuration is ever read. */
static void port_reset(struct pci_func *f)
{
}

static void port_destroy(struct pci_func *f)
{
	pci_func_fini(f);
	free(f);
}

static const struct pci_func_ops ops = {.reset = port_reset, .destroy = port_destroy};

bool bridge_is(const struct pci_func *f)
{
	return f->ops == &ops;
}

unsigned int bridge_type(const struct pci_func *f)
{
	if (!bridge_is(f))
		return PCI_EXP_TYPE_ENDPOINT;
	return (f->cfg[f->exp_cap + PCI_EXP_FLAGS] & PCI_EXP_FLAGS_TYPE) >> 4;
}

unsigned int bridge_secondary(const struct pci_func *f)
{
	return bridge_is(f) ? f->cfg[PCI_SECONDARY_BUS] : 0;
}

/* PCI-to-PCI Bridge 1.2 section 3.2.5; windows that are shut have a base above their limit. */
static void windows_shut(struct pci_func *f)
{
	pci_cfg_define(f, PCI_IO_BASE, 2, 0x00f0, 0, 0);
	pci_cfg_define(f, PCI_MEMORY_BASE, 4, 0x0000fff0, 0, 0);
	pci_cfg_define(f, PCI_PREF_MEMORY_BASE, 4, 0x0001fff1, 0, 0);
	pci_cfg_define(f, PCI_PREF_BASE_UPPER32, 4, 0, 0, 0);
	pci_cfg_define(f, PCI_PREF_LIMIT_UPPER32, 4, 0, 0, 0);
}

static void header_define(struct pci_func *f)
{
	pci_cfg_define(f, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_BRIDGE, 0, 0);
	pci_cfg_define(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0, 0);
	windows_shut(f);
	pci_cfg_define(f, PCI_BRIDGE_CONTROL, 2, 0, 0, 0);
}

static int capabilities_add(struct pci_func *f, const struct port *p)
{
	bool downstream = p->type != PCI_EXP_TYPE_UPSTREAM;
	uint32_t lnkcap;
	int rc = pci_add_pm(f), off;

	if (!rc)
		rc = pci_add_express(f);
	if (rc)
		return rc;
	off = f->exp_cap;
	pci_cfg_define(f, off + PCI_EXP_FLAGS, 2, 2 | p->type << 4 | (downstream ? PCI_EXP_FLAGS_SLOT : 0), 0, 0);
	pci_cfg_define(f, off + PCI_EXP_DEVCAP, 4, 1 | PCI_EXP_DEVCAP_EXT_TAG | PCI_EXP_DEVCAP_RBER, 0, 0);
	if (downstream) {
		memcpy(&lnkcap, f->cfg + off + PCI_EXP_LNKCAP, sizeof(lnkcap));
		pci_cfg_define(f, off + PCI_EXP_LNKCAP, 4, lnkcap | PCI_EXP_LNKCAP_DLLLARC, 0, 0);
		pci_cfg_define(f, off + PCI_EXP_LNKSTA, 2, PCI_EXP_LNKSTA_CLS_2_5GB | LINK_WIDTH_1, 0, 0);
		pci_cfg_define(f, off + PCI_EXP_SLTCAP, 4, PCI_EXP_SLTCAP_HPC | PCI_EXP_SLTCAP_HPS, 0, 0);
	}
	off = pci_add_cap(f, PCI_CAP_ID_SSVID, 8);
	if (off < 0)
		return off;
	pci_cfg_define(f, off + PCI_SSVID_VENDOR_ID, 4, (uint32_t)p->device << 16 | p->vendor, 0, 0);
	return 0;
}

void bridge_set_buses(struct pci_func *f, unsigned int secondary, unsigned int subordinate)
{
	uint64_t base = BIT64(45) + ((uint64_t)f->domain << 45) + ((uint64_t)secondary << 37);
	uint64_t last = BIT64(45) + ((uint64_t)f->domain << 45) + ((uint64_t)(subordinate + 1) << 37) - 1;

	pci_cfg_define(f, PCI_PRIMARY_BUS, 4, f->bdf >> 8 | secondary << 8 | subordinate << 16, 0, 0);
	/* Where pci_func_place puts the 64-bit BARs of those buses. */
	pci_cfg_define(f, PCI_PREF_MEMORY_BASE, 4,
		       ((base >> 16 & 0xfff0) | 1) | ((uint32_t)((last >> 16 & 0xfff0) | 1) << 16), 0, 0);
	pci_cfg_define(f, PCI_PREF_BASE_UPPER32, 4, base >> 32, 0, 0);
	pci_cfg_define(f, PCI_PREF_LIMIT_UPPER32, 4, last >> 32, 0, 0);
}

void bridge_set_link(struct pci_func *f, bool present, bool up)
{
	unsigned int off = f->exp_cap;

	if (bridge_type(f) == PCI_EXP_TYPE_UPSTREAM || !bridge_is(f))
		return;
	pci_cfg_define(f, off + PCI_EXP_LNKSTA, 2,
		       up ? PCI_EXP_LNKSTA_CLS_8_0GB | 4 * LINK_WIDTH_1 | PCI_EXP_LNKSTA_DLLLA | PCI_EXP_LNKSTA_SLC
			  : PCI_EXP_LNKSTA_CLS_2_5GB | LINK_WIDTH_1,
		       0, 0);
	pci_cfg_define(f, off + PCI_EXP_SLTSTA, 2, present ? PCI_EXP_SLTSTA_PDS : 0, 0, 0);
}

static int port_create(const struct port *p, const char *name, const struct device_env *env,
		       const struct device_value *v, struct pci_func **out, char *err, size_t errlen)
{
	const struct pci_ids ids = {.vendor = p->vendor, .device = p->device, .class = 0x060400, .revision = 1};
	struct pci_func *f = calloc(1, sizeof(*f));
	int rc = f ? pci_func_init(f, &ops, name, &ids, env->evs) : -ENOMEM;

	if (!rc) {
		header_define(f);
		rc = capabilities_add(f, p);
		if (!rc) {
			f->cfg[PCI_SECONDARY_BUS] = v[OPTION_BUS].num;
			*out = f;
			return 0;
		}
		pci_func_fini(f);
	}
	free(f);
	snprintf(err, errlen, "%s: %s", name, strerror(-rc));
	return rc;
}

static int root_port_create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
			    size_t errlen)
{
	return port_create(&ports[0], "pcie-root-port", env, v, f, err, errlen);
}

static int upstream_create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
			   size_t errlen)
{
	return port_create(&ports[1], "pcie-upstream", env, v, f, err, errlen);
}

static int downstream_create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
			     size_t errlen)
{
	return port_create(&ports[2], "pcie-downstream", env, v, f, err, errlen);
}

const struct device_type device_root_port = {
    .name = "pcie-root-port",
    .summary = "PCI Express root port; what has an address on its bus is below it",
    .options = options,
    .create = root_port_create,
};

const struct device_type device_upstream = {
    .name = "pcie-upstream",
    .summary = "upstream port of a PCI Express switch, below a port",
    .options = options,
    .create = upstream_create,
};

const struct device_type device_downstream = {
    .name = "pcie-downstream",
    .summary = "downstream port of a switch: of the last upstream port, unless addr says otherwise",
    .options = options,
    .create = downstream_create,
};
