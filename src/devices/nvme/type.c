/* SPDX-License-Identifier: BSD-3-Clause */
/* The device type "nvme": its options, and a controller made from them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/device.h"
#include "devices/nvme/ctrl.h"

enum {
	OPTION_PATH,
	OPTION_SIZE,
	OPTION_BLOCKSIZE,
	OPTION_READONLY,
	OPTION_CACHE,
	OPTION_AIO,
	OPTION_QUEUES,
	OPTION_MDTS,
	OPTION_SERIAL,
	OPTION_MODEL,
	OPTION_CMB_SIZE,
	OPTION_PMR_PATH,
	OPTION_PMR_SIZE,
	OPTION_SPARSE,
	OPTION_LOG_REGION,
};

#define CMB_SIZE_MAX (1ULL << 30) /* of its memory each byte is one of ours */
#define PMR_SIZE_MAX (64ULL << 30)

static const struct device_option options[] = {
    [OPTION_PATH] = {"path", OPT_STRING, NULL, true,
		     "disk image or block device; several, separated by colons, are namespaces 1, 2, ..."},
    [OPTION_SIZE] = {"size", OPT_SIZE, NULL, false, "create the image, or extend it, to this size (sparse)"},
    [OPTION_BLOCKSIZE] = {"blocksize", OPT_UINT, "512", false, "logical block size: 512 or 4096", 512, 4096},
    [OPTION_READONLY] = {"readonly", OPT_BOOL, "off", false, "write-protect all namespaces"},
    [OPTION_CACHE] = {"cache", OPT_STRING, "writeback", false, "writeback: through the page cache; none: direct I/O"},
    [OPTION_AIO] = {"aio", OPT_STRING, "io_uring", false, "io_uring (threads where it is not allowed) or threads"},
    [OPTION_QUEUES] = {"queues", OPT_UINT, "64", false, "I/O queue pairs offered", 1, NVME_QUEUES_MAX},
    [OPTION_MDTS] = {"mdts", OPT_UINT, "7", false, "largest transfer: 2^N pages of 4 KiB", 1, 10},
    [OPTION_SERIAL] = {"serial", OPT_STRING, NULL, false,
		       "serial number, up to 20 characters; by default made from the image's inode number"},
    [OPTION_MODEL] = {"model", OPT_STRING, "Pinfold NVMe", false, "model number, up to 40 characters"},
    [OPTION_CMB_SIZE] = {"cmb-size", OPT_SIZE, "0", false, "controller memory buffer in BAR 2, a power of two; 0: none",
			 0, CMB_SIZE_MAX},
    [OPTION_PMR_PATH] = {"pmr-path", OPT_STRING, NULL, false, "file that is the persistent memory region in BAR 4"},
    [OPTION_PMR_SIZE] = {"pmr-size", OPT_SIZE, "0", false,
			 "its size, a power of two (the file is extended to it); 0: the file's length", 0,
			 PMR_SIZE_MAX},
    [OPTION_SPARSE] = {"sparse", OPT_BOOL, "off", false,
		       "the MSI-X table's page of BAR 0 cannot be mapped: VFIO says which areas can"},
    [OPTION_LOG_REGION] = {"log-region", OPT_BOOL, "off", false,
			   "the SMART / health log as a VFIO region of the device's own, of vendor type"},
    {NULL},
};

/*
 * The numbers by which drivers and lspci know an emulated NVMe controller. Drivers bind by class code; Pinfold has no
 * vendor number of its own.
 */
static const struct pci_ids ids = {
    .vendor = 0x1b36,
    .device = 0x0010,
    .subvendor = 0x1b36,
    .subdevice = 0x0010,
    .class = 0x010802, /* 2.1.5: mass storage, non-volatile memory, NVM Express */
    .revision = 2,
};

static void ctrl_free(struct nvme *c)
{
	for (unsigned int i = 0; i < c->nns; i++)
		block_close(c->ns[i].blk);
	nvme_live_fini(c);
	nvme_shutdown_detach(c);
	if (c->pool)
		nvme_pool_detach(c->pool);
	pci_func_fini(&c->f);
	nvme_cmb_fini(c);
	free(c);
}

static void ctrl_reset(struct pci_func *f)
{
	struct nvme *c = container_of(f, struct nvme, f);

	nvme_power_on(c);
	nvme_cmb_forget(c);
	/* Rule A5: between two owners. */
	if (!f->sink)
		nvme_live_renew(c);
}

static void ctrl_command_changed(struct pci_func *f)
{
	/* Rule A4: gone from every mapping before the call that cleared the bit returns. */
	if (!pci_mem_enabled(f))
		nvme_live_close(container_of(f, struct nvme, f), false);
}

static void ctrl_destroy(struct pci_func *f)
{
	struct nvme *c = container_of(f, struct nvme, f);

	nvme_stop(c);
	ctrl_free(c);
}

static const struct pci_func_ops ops = {
    .bar_read = nvme_bar_read,
    .bar_write = nvme_bar_write,
    .reset = ctrl_reset,
    .closing = nvme_closing,
    .command_changed = ctrl_command_changed,
    .resume = nvme_resume,
    .quiesce = nvme_quiesce,
    .run = nvme_run,
    .save = nvme_save,
    .load = nvme_load,
    .destroy = ctrl_destroy,
};

/* ---- options ---- */
static int invalid(char *err, size_t errlen, const char *what)
{
	snprintf(err, errlen, "nvme: %s", what);
	return -EINVAL;
}

static bool printable(const char *s, size_t max)
{
	if (!*s || strlen(s) > max)
		return false;
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e)
			return false;
	return true;
}

static int check_options(const struct device_value *v, char *err, size_t errlen)
{
	if (v[OPTION_BLOCKSIZE].num != 512 && v[OPTION_BLOCKSIZE].num != 4096)
		return invalid(err, errlen, "blocksize is 512 or 4096");
	if (strcmp(v[OPTION_CACHE].str, "writeback") && strcmp(v[OPTION_CACHE].str, "none"))
		return invalid(err, errlen, "cache is writeback or none");
	if (strcmp(v[OPTION_AIO].str, "io_uring") && strcmp(v[OPTION_AIO].str, "threads"))
		return invalid(err, errlen, "aio is io_uring or threads");
	if (v[OPTION_SERIAL].str && !printable(v[OPTION_SERIAL].str, 20))
		return invalid(err, errlen, "serial is 1 to 20 printable ASCII characters");
	if (!printable(v[OPTION_MODEL].str, 40))
		return invalid(err, errlen, "model is 1 to 40 printable ASCII characters");
	return 0;
}

static int open_namespace(struct nvme *c, struct block_config *cfg, char *err, size_t errlen)
{
	struct nvme_ns *ns = &c->ns[c->nns];
	int rc;

	if (c->nns == NVME_NS_MAX)
		return invalid(err, errlen, "more than 16 namespaces");
	rc = block_open(c->loop, cfg, &ns->blk, err, errlen);
	if (rc)
		return rc;
	ns->id = ++c->nns;
	ns->shift = cfg->block_size == 512 ? 9 : 12;
	ns->nlb = block_size(ns->blk) >> ns->shift;
	ns->readonly = cfg->readonly;
	return 0;
}

static int open_namespaces(struct nvme *c, const struct device_value *v, char *err, size_t errlen)
{
	struct block_config cfg = {
	    .path = v[OPTION_PATH].str,
	    .size = v[OPTION_SIZE].num,
	    .block_size = (unsigned int)v[OPTION_BLOCKSIZE].num,
	    .readonly = v[OPTION_READONLY].num,
	    .direct = !strcmp(v[OPTION_CACHE].str, "none"),
	    .threads = !strcmp(v[OPTION_AIO].str, "threads"),
	};
	char *paths, *rest;
	int rc = 0;

	/* Names under /dev/disk have colons of their own. */
	if (access(cfg.path, F_OK) == 0)
		return open_namespace(c, &cfg, err, errlen);
	paths = rest = strdup(cfg.path);
	if (!paths)
		return -ENOMEM;
	while (!rc && (cfg.path = strsep(&rest, ":")))
		rc = open_namespace(c, &cfg, err, errlen);
	free(paths);
	return rc;
}

static int add_capabilities(struct pci_func *f, unsigned int vectors)
{
	int rc = pci_add_bar(f, 0, NVME_BAR_SIZE, true, false);

	if (!rc)
		rc = pci_add_pm(f);
	if (!rc)
		rc = pci_add_express(f);
	if (!rc)
		pci_add_intx(f);
	if (!rc)
		rc = pci_add_msix(f, vectors, 0, NVME_MSIX_TABLE, NVME_MSIX_PBA);
	return rc;
}

static int create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		  size_t errlen)
{
	struct nvme *c;
	int rc = check_options(v, err, errlen);

	if (rc)
		return rc;
	snprintf(err, errlen, "nvme: %s", strerror(ENOMEM));
	c = aligned_alloc(64, ALIGN_UP(sizeof(*c), 64));
	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	rc = pci_func_init(&c->f, &ops, "nvme", &ids, env->evs);
	if (rc) {
		snprintf(err, errlen, "nvme: %s", strerror(-rc));
		free(c);
		return rc;
	}
	c->f.admin_queues = 1;
	c->loop = env->loop;
	c->work.run = nvme_turn_run;
	list_init(&c->work.node);
	c->queues = (unsigned int)v[OPTION_QUEUES].num;
	c->mdts = (unsigned int)v[OPTION_MDTS].num;
	c->max_bytes = 4096ULL << c->mdts;
	c->born = loop_now();
	snprintf(c->model, sizeof(c->model), "%s", v[OPTION_MODEL].str);
	nvme_queue_init(c);
	nvme_features_reset(c);
	rc = add_capabilities(&c->f, c->queues + 1);
	c->pool = nvme_pool_new(c);
	if (!rc && !c->pool)
		rc = -ENOMEM;
	if (!rc)
		rc = nvme_shutdown_new(c);
	if (rc)
		snprintf(err, errlen, "nvme: %s", strerror(-rc));
	if (!rc)
		rc = nvme_cmb_init(c, v[OPTION_CMB_SIZE].num, err, errlen);
	if (!rc)
		rc = nvme_pmr_init(c, v[OPTION_PMR_PATH].str, v[OPTION_PMR_SIZE].num, err, errlen);
	if (!rc)
		rc = open_namespaces(c, v, err, errlen);
	if (rc) {
		ctrl_free(c);
		return rc;
	}
	c->f.msix_apart = v[OPTION_SPARSE].num;
	if (v[OPTION_LOG_REGION].num)
		c->f.region[c->f.nregions++] = nvme_log_region;
	nvme_live_init(c);
	/* Two controllers of one serial number would pass for one subsystem (7.9). */
	if (v[OPTION_SERIAL].str)
		snprintf(c->serial, sizeof(c->serial), "%s", v[OPTION_SERIAL].str);
	else
		snprintf(c->serial, sizeof(c->serial), "PF%016" PRIX64, block_identity(c->ns[0].blk));
	*f = &c->f;
	return 0;
}

const struct device_type device_nvme = {
    .name = "nvme",
    .summary = "NVM Express 1.4 controller with disk images as namespaces",
    .options = options,
    .create = create,
};
