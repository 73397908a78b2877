/* SPDX-License-Identifier: BSD-3-Clause */
/* 3 and 7.6: registers; enable, shutdown and the resets. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "devices/nvme/ctrl.h"

/*
 * BAR 0. Pages of their own for the registers, the doorbells, the MSI-X table and the PBA, so that any of them can be
 * handed out alone.
 */
#define DOORBELLS_SIZE (2 * 4 * (NVME_QUEUES_MAX + 1))

static const uint64_t cap = NVME_CAP_MQES(NVME_QSIZE_MAX - 1) | NVME_CAP_CQR | NVME_CAP_TO(40) | NVME_CAP_NSSRS |
			    NVME_CAP_CSS_NVM | NVME_CAP_MPSMAX(NVME_MPSMAX);

void nvme_fatal(struct nvme *c, const char *why)
{
	char bdf[16];

	pci_bdf_format(&c->f, bdf);
	log_debug("nvme %s: fatal: %s", bdf, why);
	c->csts |= NVME_CSTS_CFS;
}

/* ---- shutdown (7.6.2): every namespace is flushed ---- */
/* One for each controller, which it may outlive: however often a client asks, no more than one round is at the disk. */
struct nvme_shutdown {
	struct nvme *c; /* NULL: freed when nothing is left */
	unsigned int left;
	bool wanted; /* CSTS.SHST is to say so in the end */
	bool again;  /* asked for while an older round was under way */
	int error;   /* of this round, or the last */
	struct block_req req[NVME_NS_MAX];
	struct nvme_shutdown *self[NVME_NS_MAX];
};

static void shutdown_one_done(struct block_req *r);

static void shutdown_submit(struct nvme_shutdown *s)
{
	struct nvme *c = s->c;

	s->again = false;
	s->error = 0;
	s->left = c->nns;
	for (unsigned int i = 0; i < c->nns; i++) {
		s->self[i] = s;
		s->req[i] = (struct block_req){.op = BLOCK_FLUSH, .buf = &s->self[i], .done = shutdown_one_done};
		block_submit(c->ns[i].blk, &s->req[i]);
	}
}

static void shutdown_one_done(struct block_req *r)
{
	struct nvme_shutdown *s = *(struct nvme_shutdown **)r->buf;

	if (r->error)
		s->error = r->error;
	if (--s->left)
		return;
	if (!s->c) {
		free(s);
	} else if (s->again) {
		shutdown_submit(s);
	} else if (s->wanted) {
		s->wanted = false;
		s->c->csts = (s->c->csts & ~NVME_CSTS_SHST) | NVME_CSTS_SHST_DONE;
	}
}

static void shutdown_begin(struct nvme *c)
{
	struct nvme_shutdown *s = c->shutdown;

	c->csts = (c->csts & ~NVME_CSTS_SHST) | NVME_CSTS_SHST_BUSY;
	s->wanted = true;
	if (s->left)
		s->again = true;
	else
		shutdown_submit(s);
}

void nvme_flush_all(struct nvme *c)
{
	if (c->shutdown->left)
		c->shutdown->again = true;
	else
		shutdown_submit(c->shutdown);
}

int nvme_flush_error(const struct nvme *c)
{
	return c->shutdown->error;
}

bool nvme_shutdown_pending(const struct nvme *c)
{
	return c->shutdown->wanted;
}

void nvme_shutdown_go_on(struct nvme *c)
{
	shutdown_begin(c);
}

static void shutdown_forget(struct nvme *c)
{
	c->shutdown->wanted = c->shutdown->again = false;
}

int nvme_shutdown_new(struct nvme *c)
{
	c->shutdown = calloc(1, sizeof(*c->shutdown));
	if (!c->shutdown)
		return -ENOMEM;
	c->shutdown->c = c;
	return 0;
}

void nvme_shutdown_detach(struct nvme *c)
{
	if (!c->shutdown)
		return;
	c->shutdown->c = NULL;
	if (!c->shutdown->left)
		free(c->shutdown);
}

/* ---- enable and disable (7.3.1, 7.6.1) ---- */
/* All queues are gone; requests at the disk become orphans. Nothing reaches the client's memory afterwards. */
void nvme_stop(struct nvme *c)
{
	nvme_live_close(c, false);
	loop_work_cancel(c->loop, &c->work);
	nvme_req_orphan_all(c);
	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++)
		nvme_sq_stop(c, &c->sq[i]);
	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++)
		nvme_cq_stop(c, &c->cq[i]);
	loop_work_cancel(c->loop, &c->work);
	nvme_aer_reset(c);
	nvme_features_reset(c);
	shutdown_forget(c);
	c->io_created = c->stable = false;
	c->csts &= NVME_CSTS_NSSRO;
}

static void misuse(struct nvme *c, uint64_t off, const char *text)
{
	pci_misuse(&c->f, MISUSE_PROTOCOL, 0, off, 4, true, text);
}

static void never_taken(struct nvme *c, const struct nvme_sq *sq)
{
	misuse(c, NVME_REG_DOORBELLS + 4 * (2 * sq->cqid + 1),
	       "commands were never taken: nobody had made room in their completion queue");
}

/* Who goes without a reset may be in the midst of it all: what has been waiting for long counts. */
void nvme_closing(struct pci_func *f)
{
	struct nvme *c = container_of(f, struct nvme, f);

	nvme_live_close(c, false);
	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++)
		if (nvme_sq_left(c, &c->sq[i]))
			never_taken(c, &c->sq[i]);
	nvme_untaken_tell(c);
}

/* 7.6.2: AQA, ASQ and ACQ survive a reset through CC.EN. */
static void controller_reset(struct nvme *c)
{
	event_emit(c->f.evs, EVENT_RESET, .who = c->f.bdf, .name = "the controller, through CC.EN,");
	for (unsigned int i = 0; i <= NVME_QUEUES_MAX; i++)
		if (c->sq[i].live && c->cq[c->sq[i].cqid].stalled && c->sq[i].head != c->sq[i].tail)
			never_taken(c, &c->sq[i]);
	nvme_untaken_tell(c);
	nvme_stop(c);
	c->intm = 0;
	c->asq_old = c->acq_old = true;
}

void nvme_power_on(struct nvme *c)
{
	nvme_stop(c);
	c->cc = c->csts = c->aqa = c->intm = 0;
	c->asq = c->acq = 0;
	c->asq_old = c->acq_old = false;
	nvme_cmb_reset(c);
}

static bool config_valid(const struct nvme *c, uint32_t cc)
{
	uint64_t offset = (1ULL << (12 + NVME_CC_MPS(cc))) - 1;
	uint32_t asqs = c->aqa & 0xfff, acqs = (c->aqa >> 16) & 0xfff;

	if (NVME_CC_CSS(cc) || NVME_CC_AMS(cc) || NVME_CC_MPS(cc) > NVME_MPSMAX)
		return false;
	return asqs >= 1 && acqs >= 1 && !(c->asq & offset) && !(c->acq & offset);
}

static void enable(struct nvme *c)
{
	c->csts &= ~NVME_CSTS_SHST;
	if (!config_valid(c, c->cc)) {
		misuse(c, NVME_REG_CC, "enabled with a configuration that CAP does not offer, or without admin queues");
		nvme_fatal(c, "enabled with a configuration that CAP does not offer");
		return;
	}
	c->page_shift = 12 + NVME_CC_MPS(c->cc);
	nvme_cq_start(c, 0, c->acq, ((c->aqa >> 16) & 0xfff) + 1, true, 0);
	nvme_sq_start(c, 0, 0, c->asq, (c->aqa & 0xfff) + 1, 0);
	c->csts |= NVME_CSTS_RDY;
	c->f.behind = false;
}

/* Of an enabled controller only the entry sizes and the shutdown may change (3.1.5). */
#define CC_ENABLED_MASK (NVME_CC_EN | 3U << 14 | 0xffU << 16)

static void cc_write(struct nvme *c, uint32_t val)
{
	uint32_t old = c->cc;

	val &= NVME_CC_MASK;
	if ((old & NVME_CC_EN) && (val & NVME_CC_EN) && (old ^ val) & ~CC_ENABLED_MASK)
		misuse(c, NVME_REG_CC, "page size, command set or arbitration of an enabled controller");
	if ((old & NVME_CC_EN) && (val & NVME_CC_EN))
		val = (old & ~CC_ENABLED_MASK) | (val & CC_ENABLED_MASK);
	c->cc = val;
	if ((old & NVME_CC_EN) && !(val & NVME_CC_EN))
		controller_reset(c);
	else if (!(old & NVME_CC_EN) && (val & NVME_CC_EN))
		enable(c);
	if (NVME_CC_SHN(val) && !NVME_CC_SHN(old) && !(c->csts & NVME_CSTS_SHST))
		shutdown_begin(c);
}

/* 3.1.3: with MSI-X, which has masks of its own, these registers mean nothing. */
static void intm_write(struct nvme *c, uint32_t val)
{
	c->intm = val;
	if (!pci_msix_enabled(&c->f))
		nvme_pin_update(c);
}

/* 7.3.1: the NVM subsystem is this controller. */
static void nssr_write(struct nvme *c, uint32_t val)
{
	if (val != NVME_NSSR_MAGIC)
		return;
	nvme_power_on(c);
	c->csts |= NVME_CSTS_NSSRO;
}

/* ---- register access ---- */
static uint32_t reg_read(const struct nvme *c, uint64_t off)
{
	switch (off) {
	case NVME_REG_CAP:
		return (uint32_t)cap;
	case NVME_REG_CAP + 4:
		return (uint32_t)((cap | nvme_cmb_cap(c)) >> 32);
	case NVME_REG_VS:
		return NVME_VERSION;
	case NVME_REG_INTMS:
	case NVME_REG_INTMC:
		return c->intm;
	case NVME_REG_CC:
		return c->cc;
	case NVME_REG_CSTS:
		return c->csts;
	case NVME_REG_AQA:
		return c->aqa;
	case NVME_REG_ASQ:
		return (uint32_t)c->asq;
	case NVME_REG_ASQ + 4:
		return (uint32_t)(c->asq >> 32);
	case NVME_REG_ACQ:
		return (uint32_t)c->acq;
	case NVME_REG_ACQ + 4:
		return (uint32_t)(c->acq >> 32);
	default:
		/* NSSR, doorbells and what is reserved are 0. */
		return nvme_cmb_reg_read(c, off);
	}
}

static void set_low(uint64_t *reg, uint32_t val)
{
	*reg = (*reg & ~0xffffffffULL) | (val & ~0xfffU);
}

static void set_high(uint64_t *reg, uint32_t val)
{
	*reg = (*reg & 0xffffffffULL) | (uint64_t)val << 32;
}

/* 3.1.8 to 3.1.10. */
static void admin_queues_written(struct nvme *c, uint64_t off)
{
	if (c->cc & NVME_CC_EN)
		misuse(c, off, "an admin queue was moved or resized while the controller is enabled");
	c->asq_old &= (off & ~4u) != NVME_REG_ASQ;
	c->acq_old &= (off & ~4u) != NVME_REG_ACQ;
}

/* What no version of the specification has a register at. */
static bool reserved(uint64_t off)
{
	return off == NVME_REG_CC + 4 || (off >= NVME_REG_CMBSTS + 4 && off < NVME_REG_PMRCAP) ||
	       (off >= NVME_REG_PMRMSCU + 4 && off < NVME_REG_DOORBELLS) || off >= NVME_REG_DOORBELLS + PF_PAGE_SIZE;
}

static void reg_write(struct nvme *c, uint64_t off, uint32_t val)
{
	if (off >= NVME_REG_AQA && off < NVME_REG_ACQ + 8)
		admin_queues_written(c, off);
	switch (off) {
	case NVME_REG_INTMS:
		intm_write(c, c->intm | val);
		break;
	case NVME_REG_INTMC:
		intm_write(c, c->intm & ~val);
		break;
	case NVME_REG_CC:
		cc_write(c, val);
		break;
	case NVME_REG_CSTS:
		c->csts &= ~(val & NVME_CSTS_NSSRO); /* RW1C */
		break;
	case NVME_REG_NSSR:
		nssr_write(c, val);
		break;
	case NVME_REG_AQA:
		c->aqa = val & 0x0fff0fff;
		break;
	case NVME_REG_ASQ:
		set_low(&c->asq, val);
		break;
	case NVME_REG_ASQ + 4:
		set_high(&c->asq, val);
		break;
	case NVME_REG_ACQ:
		set_low(&c->acq, val);
		break;
	case NVME_REG_ACQ + 4:
		set_high(&c->acq, val);
		break;
	case NVME_REG_CAP:
	case NVME_REG_CAP + 4:
	case NVME_REG_VS:
	case NVME_REG_CMBLOC:
	case NVME_REG_CMBSZ:
	case NVME_REG_CMBSTS:
	case NVME_REG_PMRCAP:
		pci_misuse(&c->f, MISUSE_READ_ONLY, 0, off, 4, true, "the register is read-only");
		break;
	default:
		if (reserved(off))
			pci_misuse(&c->f, MISUSE_RANGE, 0, off, 4, true, "there is no register");
		nvme_cmb_reg_write(c, off, val);
		break;
	}
}

#define WIDTHS "registers are read and written as aligned dwords or qwords"

uint64_t nvme_bar_read(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size)
{
	const struct nvme *c = container_of(f, struct nvme, f);
	uint64_t base = off & ~3ULL, val;
	unsigned int shift = 8 * (off & 3);

	if (size < 4 || off % size)
		pci_misuse(f, MISUSE_WIDTH, bar, off, size, false, WIDTHS);
	val = reg_read(c, base) | (uint64_t)reg_read(c, base + 4) << 32;
	if (shift) {
		val >>= shift;
		if (size == 8)
			val |= (uint64_t)reg_read(c, base + 8) << (64 - shift);
	}
	return size == 8 ? val : val & ((1ULL << 8 * size) - 1);
}

static void dword_write(struct nvme *c, uint64_t off, uint32_t val)
{
	if (off >= NVME_REG_DOORBELLS && off < NVME_REG_DOORBELLS + PF_PAGE_SIZE) {
		unsigned int index = (unsigned int)(off - NVME_REG_DOORBELLS) / 4;

		if (nvme_live_trapped(c, index, val))
			nvme_doorbell(c, index, val);
	} else {
		reg_write(c, off, val);
	}
}

/* 3.1: aligned dwords and qwords; what other accesses do is left to us, and is nothing. */
void nvme_bar_write(struct pci_func *f, unsigned int bar, uint64_t off, unsigned int size, uint64_t val)
{
	struct nvme *c = container_of(f, struct nvme, f);

	if (size < 4 || off % size) {
		pci_misuse(f, MISUSE_WIDTH, bar, off, size, true, WIDTHS);
		return;
	}
	dword_write(c, off, (uint32_t)val);
	if (size == 8)
		dword_write(c, off + 4, (uint32_t)(val >> 32));
}
