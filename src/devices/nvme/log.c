/* SPDX-License-Identifier: BSD-3-Clause */
/* 5.14: Get Log Page, and the error log itself. */
#include <string.h>

#include "devices/nvme/nvme.h"

enum { LID_ERROR = 1, LID_SMART = 2, LID_FIRMWARE = 3, LID_EFFECTS = 5 };

#define EFFECT_SUPPORTED BIT(0)
#define EFFECT_CONTENT	 BIT(1)
#define SECONDS(ns)	 ((ns) / 1000000000ULL)

/* ---- the error log ---- */
static void log_error(struct nvme *c, struct nvme_error_entry e)
{
	e.count = ++c->error_count;
	c->errors[(e.count - 1) % NVME_ERRORS] = e;
}

/* 4.6.1: another try may go better when the disk, the memory behind an address or the moment was at fault. */
static bool may_retry(uint16_t status)
{
	switch (status & NVME_SC_CODE) {
	case NVME_DATA_TRANSFER_ERROR:
	case NVME_INTERNAL_ERROR:
	case NVME_ABORT_REQUESTED:
	case NVME_CAPACITY_EXCEEDED:
	case NVME_AER_LIMIT:
	case NVME_WRITE_FAULT:
	case NVME_READ_ERROR:
		return true;
	default:
		return false;
	}
}

uint16_t nvme_error(struct nvme *c, const struct nvme_cmd *cmd, uint16_t sqid, uint16_t status)
{
	if (!may_retry(status))
		status |= NVME_SC_DNR;
	status |= NVME_SC_MORE;
	log_error(c, (struct nvme_error_entry){
			 .sqid = sqid,
			 .cid = cmd->cid,
			 .status = (uint16_t)(status << 1),
			 .location = 0xffff,
			 .nsid = cmd->nsid,
			 .lba = sqid ? (uint64_t)cmd->cdw11 << 32 | cmd->cdw10 : 0,
		     });
	return status;
}

void nvme_aer_error(struct nvme *c, uint8_t info)
{
	log_error(c, (struct nvme_error_entry){.sqid = 0xffff, .cid = 0xffff, .location = 0xffff});
	nvme_aer_event(c, NVME_AER_ERROR, info, LID_ERROR);
}

/* ---- the pages; each fills c->page and returns its size ---- */
static size_t fill_error(struct nvme *c)
{
	struct nvme_error_entry *e = (struct nvme_error_entry *)c->page;

	_Static_assert(NVME_ERRORS * sizeof(*e) <= sizeof(c->page), "the whole log fits the page buffer");
	for (uint64_t n = c->error_count; n && c->error_count - n < NVME_ERRORS; n--)
		*e++ = c->errors[(n - 1) % NVME_ERRORS];
	return NVME_ERRORS * sizeof(*e);
}

static size_t fill_smart(struct nvme *c)
{
	struct nvme_smart *s = (struct nvme_smart *)c->page;
	uint16_t t = nvme_temperature(c);

	s->critical = nvme_too_warm_or_cold(c) ? BIT(1) : 0;
	memcpy(s->temperature, &t, 2);
	s->spare = 100;
	s->spare_threshold = 10;
	s->units_read[0] = (c->count.read_blocks + 999) / 1000;
	s->units_written[0] = (c->count.written_blocks + 999) / 1000;
	s->host_reads[0] = c->count.reads;
	s->host_writes[0] = c->count.writes;
	s->power_cycles[0] = 1;
	s->power_on_hours[0] = SECONDS(loop_now() - c->born) / 3600;
	s->media_errors[0] = c->count.media_errors;
	s->error_entries[0] = c->error_count;
	return sizeof(*s);
}

static size_t fill_firmware(struct nvme *c)
{
	struct nvme_fw_slot *f = (struct nvme_fw_slot *)c->page;

	f->afi = 1;
	memset(f->frs[0], ' ', sizeof(f->frs[0]));
	memcpy(f->frs[0], NVME_FIRMWARE, strlen(NVME_FIRMWARE));
	return sizeof(*f);
}

static size_t fill_effects(struct nvme *c)
{
	static const uint8_t admin[] = {
	    NVME_ADM_DELETE_SQ, NVME_ADM_CREATE_SQ, NVME_ADM_GET_LOG,	   NVME_ADM_DELETE_CQ,	  NVME_ADM_CREATE_CQ,
	    NVME_ADM_IDENTIFY,	NVME_ADM_ABORT,	    NVME_ADM_SET_FEATURES, NVME_ADM_GET_FEATURES, NVME_ADM_AER};
	static const uint8_t io[] = {NVME_IO_FLUSH, NVME_IO_READ, NVME_IO_COMPARE, NVME_IO_VERIFY};
	static const uint8_t io_content[] = {NVME_IO_WRITE, NVME_IO_WRITE_ZEROES, NVME_IO_DSM};
	struct nvme_effects *e = (struct nvme_effects *)c->page;

	for (unsigned int i = 0; i < ARRAY_SIZE(admin); i++)
		e->admin[admin[i]] = EFFECT_SUPPORTED;
	for (unsigned int i = 0; i < ARRAY_SIZE(io); i++)
		e->io[io[i]] = EFFECT_SUPPORTED;
	for (unsigned int i = 0; i < ARRAY_SIZE(io_content); i++)
		e->io[io_content[i]] = EFFECT_SUPPORTED | EFFECT_CONTENT;
	return sizeof(*e);
}

/* 5.2: reading the page, unless it is asked to retain the event, lets events of its type be reported again. */
static void page_was_read(struct nvme *c, unsigned int lid)
{
	if (lid == LID_ERROR)
		nvme_aer_unmask(c, NVME_AER_ERROR);
	else if (lid == LID_SMART)
		nvme_aer_unmask(c, NVME_AER_SMART);
	else if (lid == LID_FIRMWARE)
		nvme_aer_unmask(c, NVME_AER_NOTICE);
}

uint16_t nvme_get_log(struct nvme *c, const struct nvme_cmd *cmd)
{
	unsigned int lid = cmd->cdw10 & 0xff;
	uint64_t off = (uint64_t)cmd->cdw13 << 32 | cmd->cdw12;
	uint64_t dwords = (uint64_t)(cmd->cdw11 & 0xffff) << 16 | cmd->cdw10 >> 16;
	uint64_t len = (dwords + 1) * 4;
	uint16_t status;
	size_t size;

	/* LPA: SMART is of the whole controller. */
	if (lid == LID_SMART && cmd->nsid && cmd->nsid != NVME_NSID_ALL)
		return NVME_INVALID_FIELD;
	memset(c->page, 0, sizeof(c->page));
	switch (lid) {
	case LID_ERROR:
		size = fill_error(c);
		break;
	case LID_SMART:
		size = fill_smart(c);
		break;
	case LID_FIRMWARE:
		size = fill_firmware(c);
		break;
	case LID_EFFECTS:
		size = fill_effects(c);
		break;
	default:
		return NVME_INVALID_LOG;
	}
	if ((off & 3) || off > size)
		return NVME_INVALID_FIELD;
	/* What is asked for beyond the page stays as it was. */
	status = nvme_admin_to_host(c, cmd, len, c->page + off, MIN(len, (uint64_t)(size - off)));
	if (!status && !(cmd->cdw10 & BIT(15)))
		page_was_read(c, lid);
	return status;
}

/* ---- the log as a region ---- */

static void region_read(struct pci_func *f, uint64_t off, void *buf, size_t len)
{
	struct nvme *c = container_of(f, struct nvme, f);

	memset(c->page, 0, sizeof(struct nvme_smart));
	fill_smart(c);
	memcpy(buf, c->page + off, len);
}

/* The type that vfio.h has for a PCI vendor's own; the vendor's number is the controller's. */
const struct pci_region nvme_log_region = {
    .type = 0x80000000 | 0x1b36, .subtype = LID_SMART, .size = sizeof(struct nvme_smart), .read = region_read};
