/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device type "ats": one that asks for pages. It moves 4 KiB between an address and a buffer of its own; what is
 * not mapped, it asks for (PCI Express Base 4.0 chapter 10), waits, and tries again. It may do so under a PASID.
 *
 * ADDR and CMD are those of the "pcie-ats-testdev" that tests of IOMMUs know by the same identity, the registers behind
 * them are not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/event.h"
#include "base/loop.h"
#include "base/util.h"
#include "devices/device.h"
#include "pci/pci.h"

enum {
	REG_ADDR = 0x00,   /* 8 bytes */
	REG_CMD = 0x08,	   /* CMD_*; RUN is set until the transfer is over. Clearing it gives the transfer up */
	REG_STATUS = 0x10, /* enum status, of the last transfer */
	REG_PASID = 0x14,  /* PASID_USE | number */
	MSIX_TABLE = 0x800,
	MSIX_PBA = 0xc00,
	BAR_SIZE = 0x1000,
};
enum { CMD_RUN = 1, CMD_TO_DEVICE = 2 };
enum status { STATUS_DONE, STATUS_FAULT, STATUS_WAITING };
#define PASID_USE  BIT(31)
#define PASID_MASK 0xfffffu

#define BUF_SIZE 4096

static const struct pci_ids ids = {
    .vendor = 0x1234, .device = 0x11e9, .class = 0xff0000, .revision = 2, /* a device that fits no class */
};

struct ats {
	struct pci_func f;
	struct loop *loop;
	struct loop_work work;
	struct dma_request request;
	uint64_t addr;
	uint32_t cmd, pasid;
	enum status status;
	bool refused; /* the page that was asked for will not come */
	uint8_t buf[BUF_SIZE];
};

static struct ats *to_ats(struct pci_func *f)
{
	return container_of(f, struct ats, f);
}

/* ---- a transfer ---- */

static void finish(struct ats *a, enum status status)
{
	a->cmd &= ~(uint32_t)CMD_RUN;
	a->status = status;
	pci_msix_raise(&a->f, 0);
}

static void give_up(struct ats *a)
{
	dma_request_cancel(&a->request);
	loop_work_cancel(a->loop, &a->work);
	a->cmd &= ~(uint32_t)CMD_RUN;
}

static struct dma_dev *requester(struct ats *a)
{
	if (!(a->pasid & PASID_USE) || !a->f.pasid_bits)
		return a->f.dma;
	return dma_dev_pasid(a->f.dma, a->pasid & PASID_MASK);
}

static bool ask(struct ats *a, struct dma_dev *d, iova_t at, bool write, int reason)
{
	if (a->refused || (reason != DMA_FAULT_UNMAPPED && reason != DMA_FAULT_PERMISSION) ||
	    dma_request_page(d, at, write ? IOMMU_WRITE : IOMMU_READ, &a->request))
		return false;
	a->status = STATUS_WAITING;
	return true;
}

/* What is asked for comes page by page, in order, and may be gone again before the last is there. */
static void transfer(struct loop_work *w)
{
	struct ats *a = container_of(w, struct ats, work);
	const struct dma_tag tag = {.part = "buffer"};
	bool write = !(a->cmd & CMD_TO_DEVICE);
	struct dma_dev *d = requester(a);
	int reason, err;
	iova_t at;

	reason = dma_probe(d, IOVA(a->addr), BUF_SIZE, write, &at);
	if (reason && ask(a, d, at, write, reason))
		return;
	if (reason)
		err = dma_fault_emit(d, at, BUF_SIZE - (at.a - a->addr), write, reason, &tag);
	else if (write)
		err = dma_write(d, IOVA(a->addr), a->buf, BUF_SIZE, &tag);
	else
		err = dma_read(d, IOVA(a->addr), a->buf, BUF_SIZE, &tag);
	finish(a, err ? STATUS_FAULT : STATUS_DONE);
}

static void answered(struct dma_request *r, bool ok)
{
	struct ats *a = container_of(r, struct ats, request);

	a->refused = !ok;
	loop_work_queue(a->loop, &a->work);
}

static void command(struct ats *a, uint32_t cmd)
{
	bool running = a->cmd & CMD_RUN;

	if (!(cmd & CMD_RUN))
		give_up(a);
	if (!running)
		a->cmd = cmd & (CMD_RUN | CMD_TO_DEVICE);
	if (running || !(cmd & CMD_RUN))
		return;
	a->refused = false;
	loop_work_queue(a->loop, &a->work);
}

/* ---- registers ---- */

static uint64_t bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	struct ats *a = to_ats(f);
	uint64_t v = 0;

	if (off < REG_CMD && size <= REG_CMD - off) {
		memcpy(&v, (char *)&a->addr + off, size);
		return v;
	}
	switch (off) {
	case REG_CMD:
		return a->cmd;
	case REG_STATUS:
		return a->status;
	case REG_PASID:
		return a->pasid;
	}
	return 0;
}

static void bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct ats *a = to_ats(f);

	if (off == REG_STATUS)
		pci_misuse(f, MISUSE_READ_ONLY, bar, off, size, true, "the register is read-only");
	if (off == REG_CMD) {
		command(a, val);
		return;
	}
	/* The transfer that is under way goes where it was sent. */
	if (a->cmd & CMD_RUN) {
		pci_misuse(f, MISUSE_PROTOCOL, bar, off, size, true,
			   "a transfer is under way, and goes on as it was begun");
		return;
	}
	if (off < REG_CMD && size <= REG_CMD - off)
		memcpy((char *)&a->addr + off, &val, size);
	else if (off == REG_PASID)
		a->pasid = val & (PASID_USE | PASID_MASK);
}

static void reset(struct pci_func *f)
{
	struct ats *a = to_ats(f);

	give_up(a);
	a->addr = 0;
	a->cmd = a->pasid = 0;
	a->status = STATUS_DONE;
	memset(a->buf, 0, sizeof(a->buf)); /* rule A5 */
}

static void destroy(struct pci_func *f)
{
	struct ats *a = to_ats(f);

	give_up(a);
	pci_func_fini(f);
	free(a);
}

static const struct pci_func_ops ops = {
    .bar_read = bar_read,
    .bar_write = bar_write,
    .reset = reset,
    .destroy = destroy,
};

/* ---- the type ---- */

enum { OPTION_PASID, OPTION_PRI };

static const struct device_option options[] = {
    [OPTION_PASID] = {"pasid", OPT_UINT, "20", false, "bits of PASID; 0: none", 0, 20},
    [OPTION_PRI] = {"pri", OPT_BOOL, "on", false, "ask for pages that are not mapped"},
    {NULL},
};

static int add_capabilities(struct pci_func *f, const struct device_value *v)
{
	int rc = pci_add_bar(f, 0, BAR_SIZE, true, false);

	if (!rc)
		rc = pci_add_pm(f);
	if (!rc)
		rc = pci_add_express(f);
	if (!rc)
		rc = pci_add_msix(f, 1, 0, MSIX_TABLE, MSIX_PBA);
	if (!rc)
		rc = pci_add_ats(f);
	if (!rc && v[OPTION_PRI].num)
		rc = pci_add_pri(f, 1);
	if (!rc && v[OPTION_PASID].num)
		rc = pci_add_pasid(f, v[OPTION_PASID].num);
	return rc;
}

static int create(const struct device_env *env, const struct device_value *v, struct pci_func **f, char *err,
		  size_t errlen)
{
	struct ats *a = calloc(1, sizeof(*a));
	int rc = a ? pci_func_init(&a->f, &ops, "ats", &ids, env->evs) : -ENOMEM;

	if (!rc) {
		rc = add_capabilities(&a->f, v);
		if (rc)
			pci_func_fini(&a->f);
	}
	if (rc) {
		snprintf(err, errlen, "ats: %s", strerror(-rc));
		free(a);
		return rc;
	}
	a->loop = env->loop;
	a->request.done = answered;
	a->work.run = transfer;
	list_init(&a->work.node);
	*f = &a->f;
	return 0;
}

const struct device_type device_ats = {
    .name = "ats",
    .summary = "test device that moves a page, under a PASID, and asks for pages that are not there",
    .options = options,
    .create = create,
};
